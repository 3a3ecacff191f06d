//! The pieces that wait for each other, together: on the real ring, and in the simulation with the
//! same bodies.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::sync::local::{broadcast, mpsc, oneshot, watch};
use corering::sync::queue::{PriorityQueue, Queue};
use corering::sync::{
    Barrier, Condvar, Event, Mutex, OnceCell, RwLock, Semaphore, TrySendError, channel,
};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{JoinHandle, Runtime, spawn, spawn_on};
use harness::{Case, Rng};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);

/// Runs the body on the real ring, in a child process, and in the simulation.
fn both<Fut: Future<Output = ()> + 'static>(name: &'static str, body: fn() -> Fut) {
    Case::new(name).run(|| {
        let runtime = Runtime::builder().cores(2).pin(false).build();
        runtime.expect("io_uring works here").block_on(body());
    });
    #[cfg(feature = "sim")]
    if !Case::is_child() {
        corering::sim::seeds(0..50, |sim: &mut corering::sim::Sim| {
            let host = sim.host("host").cores(2).boot(|_core| async {});
            sim.block_on(&host, body());
        });
    }
}

/// Random choices that a simulation's seed decides: it decides std's hashing too.
fn random() -> Rng {
    let seed = RandomState::new().hash_one(0);
    println!("random choices of seed {seed}");
    Rng::from_seed(seed | 1)
}

async fn all<T: 'static>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

#[test]
fn a_lock_guards_a_cache() {
    both("a_lock_guards_a_cache", || async {
        let mut random = random();
        let cache = Rc::new(Mutex::new(HashMap::new()));
        let made = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for n in 0..60_u64 {
            let (cache, made) = (cache.clone(), made.clone());
            let patience = micros(random.below(4_000));
            tasks.push(spawn(async move {
                // Some give up while they wait, or while they make the value.
                let look_up = async {
                    let mut cache = cache.lock().await;
                    if let Some(&value) = cache.get(&(n % 5)) {
                        return value;
                    }
                    sleep(micros(300)).await;
                    made.set(made.get() + 1);
                    *cache.entry(n % 5).or_insert(n % 5 * 10)
                };
                match n % 3 {
                    0 => timeout(patience, look_up).await.ok(),
                    _ => Some(look_up.await),
                }
            }));
        }
        for (n, value) in all(tasks).await.into_iter().enumerate() {
            assert!(value.is_none_or(|value| value == n as u64 % 5 * 10));
            assert!(value.is_some() || n % 3 == 0);
        }
        assert_eq!(made.get(), 5, "each was made once");
        let cache = cache.try_lock().expect("everybody has unlocked it");
        assert_eq!(cache.len(), 5);
    });
}

#[test]
fn producers_and_consumers_on_a_queue() {
    both("producers_and_consumers_on_a_queue", || async {
        let queue = Rc::new(Queue::bounded(3));
        let mut consumers = Vec::new();
        for n in 0..4 {
            let queue = queue.clone();
            consumers.push(spawn(async move {
                let mut got = Vec::new();
                loop {
                    // Consumer 0 is impatient: what it gives up for loses nothing.
                    let item = match n {
                        0 => match timeout(micros(50), queue.get()).await {
                            Ok(item) => item,
                            Err(_) => continue,
                        },
                        _ => queue.get().await,
                    };
                    let Ok(item) = item else {
                        return got;
                    };
                    got.push(item);
                    sleep(micros(20)).await;
                    queue.task_done().expect("one for each item");
                }
            }));
        }
        let mut producers = Vec::new();
        for n in 0..3_u64 {
            let queue = queue.clone();
            producers.push(spawn(async move {
                for item in 0..40 {
                    queue.put(n * 100 + item).await.expect("it is open");
                }
            }));
        }
        all(producers).await;
        queue.join().await;
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
        queue.shutdown(false);
        let mut got = all(consumers).await.concat();
        got.sort_unstable();
        let put = (0..3).flat_map(|n| (0..40).map(move |item| n * 100 + item));
        assert_eq!(got, put.collect::<Vec<_>>());
    });
}

#[test]
fn the_most_urgent_job_is_next() {
    both("the_most_urgent_job_is_next", || async {
        let jobs = Rc::new(PriorityQueue::unbounded());
        for job in [(3, "sweep"), (1, "put the fire out"), (2, "cook")] {
            jobs.put(job).await.expect("it is open");
        }
        let worker = spawn({
            let jobs = jobs.clone();
            async move {
                let mut done = Vec::new();
                while let Ok((_, job)) = jobs.get().await {
                    done.push(job);
                    jobs.task_done().expect("one for each job");
                }
                done
            }
        });
        jobs.join().await;
        jobs.shutdown(false);
        let done = worker.await.expect("it does not panic");
        assert_eq!(done, ["put the fire out", "cook", "sweep"]);
    });
}

#[test]
fn readers_and_a_writer() {
    both("readers_and_a_writer", || async {
        let table = Rc::new(RwLock::new([0_u64; 2]));
        let mut tasks = Vec::new();
        for n in 0..40 {
            let table = table.clone();
            tasks.push(spawn(async move {
                if n % 4 > 0 {
                    let table = table.read().await;
                    let before = *table;
                    sleep(micros(30)).await;
                    assert_eq!(before, *table, "nobody writes meanwhile");
                    assert_eq!(table[0], table[1], "nothing is seen half done");
                    return;
                }
                let mut table = table.write().await;
                table[0] += 1;
                yield_now().await;
                table[1] += 1;
                let table = table.downgrade();
                let before = *table;
                yield_now().await;
                assert_eq!(before, *table);
            }));
        }
        all(tasks).await;
        assert_eq!(*table.read().await, [10, 10]);
    });
}

#[test]
fn a_buffer_with_conditions() {
    struct Buffer {
        items: Mutex<VecDeque<u32>>,
        room: Condvar,
        filled: Condvar,
    }
    both("a_buffer_with_conditions", || async {
        let buffer = Rc::new(Buffer {
            items: Mutex::default(),
            room: Condvar::new(),
            filled: Condvar::new(),
        });
        let mut tasks = Vec::new();
        for task in 0..6 {
            let buffer = buffer.clone();
            tasks.push(spawn(async move {
                let mut sum = 0;
                for n in 0..50 {
                    if task % 2 == 0 {
                        let items = buffer.items.lock().await;
                        let wait = buffer.room.wait_for(items, |items| items.len() < 2);
                        wait.await.push_back(n);
                        buffer.filled.notify_one();
                        continue;
                    }
                    let item = loop {
                        let take = async {
                            let items = buffer.items.lock().await;
                            let wait = buffer.filled.wait_for(items, |items| !items.is_empty());
                            let item = wait.await.pop_front();
                            buffer.room.notify_one();
                            item.expect("that was waited for")
                        };
                        // Who gives up must not take a notification away.
                        match timeout(micros(100), take).await {
                            Ok(item) => break item,
                            Err(_) => continue,
                        }
                    };
                    sum += item;
                }
                sum
            }));
        }
        let sums = all(tasks).await;
        assert_eq!(sums.iter().sum::<u32>(), 3 * (0..50).sum::<u32>());
    });
}

#[test]
fn off_together_round_by_round() {
    both("off_together_round_by_round", || async {
        let mut random = random();
        let (start, barrier) = (Rc::new(Event::new()), Rc::new(Barrier::new(5)));
        let round = Rc::new(Cell::new(0));
        let track = Rc::new(OnceCell::new());
        let mut tasks = Vec::new();
        for _ in 0..5 {
            let (start, barrier) = (start.clone(), barrier.clone());
            let (round, track) = (round.clone(), track.clone());
            let pace = micros(random.below(200));
            tasks.push(spawn(async move {
                start.wait().await;
                let build = async || {
                    sleep(micros(50)).await;
                    Rc::new("built once")
                };
                let track = track.get_or_init(build).await;
                let mut led = 0;
                for n in 0..10 {
                    assert_eq!(round.get(), n);
                    sleep(pace).await;
                    if barrier.wait().await.is_leader() {
                        led += 1;
                        round.set(n + 1);
                    }
                    barrier.wait().await;
                }
                (led, Rc::strong_count(track))
            }));
        }
        assert_eq!(round.get(), 0);
        start.set();
        let results = all(tasks).await;
        assert_eq!(results.iter().map(|(led, _)| led).sum::<u32>(), 10);
        assert!(results.iter().all(|(_, tracks)| *tracks == 1));
    });
}

#[test]
fn workers_with_permits_report_to_everybody() {
    both("workers_with_permits_report_to_everybody", || async {
        let at_most_three = Rc::new(Semaphore::new(3));
        let (working, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (report, mut reports) = mpsc::channel(2);
        let (log, mut reader) = broadcast::channel(64);
        let (level, mut levels) = watch::channel(0_u64);
        let mut tasks = Vec::new();
        for n in 0..30_u64 {
            let permits = at_most_three.clone();
            let (working, most, report) = (working.clone(), most.clone(), report.clone());
            tasks.push(spawn(async move {
                let _permit = permits.acquire_owned().await.expect("it is open");
                working.set(working.get() + 1);
                most.set(most.get().max(working.get()));
                sleep(micros(50)).await;
                working.set(working.get() - 1);
                // Room that is waited for with a limit loses nothing.
                let room = loop {
                    if let Ok(room) = timeout(micros(20), report.reserve()).await {
                        break room.expect("it is open");
                    }
                };
                let (answer, answered) = oneshot::channel();
                room.send((n, answer));
                answered.await.expect("an answer")
            }));
        }
        drop(report);
        let listener = spawn(async move {
            let wait = levels.wait_for(|level| *level == 30);
            *wait.await.expect("it comes so far")
        });
        let collector = spawn(async move {
            while let Some((n, answer)) = reports.recv().await {
                log.send(n).expect("the reader is there");
                level.send_modify(|level| *level += 1);
                answer.send(n * 2).expect("it waits");
            }
        });
        let answers = all(tasks).await;
        assert!(answers.into_iter().eq((0..30).map(|n| n * 2)));
        collector.await.expect("it does not panic");
        assert_eq!(listener.await.expect("it does not panic"), 30);
        assert_eq!((most.get(), at_most_three.available_permits()), (3, 3));
        let mut seen = Vec::new();
        while let Ok(n) = reader.recv().await {
            seen.push(n);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..30));
    });
}

/// Tasks that are aborted while they wait, or hold what others wait for.
#[test]
fn aborted_tasks_hold_up_nobody() {
    both("aborted_tasks_hold_up_nobody", || async {
        let mut random = random();
        let lock = Rc::new(RwLock::new(0_u32));
        let permits = Rc::new(Semaphore::new(2));
        let queue = Rc::new(Queue::bounded(1));
        let mut tasks = VecDeque::new();
        for n in 0..200_u32 {
            let (lock, permits, queue) = (lock.clone(), permits.clone(), queue.clone());
            tasks.push_back(spawn(async move {
                let _permit = permits.acquire().await.expect("it is open");
                match n % 4 {
                    0 => *lock.write().await += 1,
                    1 => drop(lock.read().await),
                    2 => _ = queue.put(n).await,
                    _ => _ = queue.get().await,
                }
                yield_now().await;
            }));
            if random.once_in(2) {
                let at = random.below(tasks.len() as u64) as usize;
                tasks[at].abort();
            }
            if random.once_in(3) {
                yield_now().await;
            }
        }
        // Whoever still waits for an item or for room waits for one that was aborted.
        queue.shutdown(true);
        for task in tasks {
            let ended = timeout(Duration::from_secs(20), task).await;
            let result = ended.expect("nobody waits for ever");
            assert!(result.is_ok() || result.is_err_and(|error| error.is_cancelled()));
        }
        assert_eq!(permits.available_permits(), 2);
        drop(lock.try_write().expect("nobody holds it"));
    });
}

#[test]
fn room_between_two_cores() {
    both("room_between_two_cores", || async {
        let (sender, mut receiver) = channel(2);
        let permit = sender.clone().reserve_owned().await.expect("there is room");
        let there = spawn_on(1, move || async move {
            let sender = permit.send(0);
            for n in 1..200 {
                // Given up now and then, while it waits.
                let room = loop {
                    match timeout(micros(30), sender.reserve()).await {
                        Ok(room) => break room.expect("it is open"),
                        Err(_) => continue,
                    }
                };
                room.send(n);
            }
            sender.closed().await;
            matches!(sender.try_send(0), Err(TrySendError::Closed(0)))
        });
        drop(sender);
        let mut values = Vec::new();
        while values.len() < 200 {
            let more = receiver.recv_many(&mut values, 3).await;
            assert!((1..=3).contains(&more));
            if values.len() % 50 == 0 {
                sleep(MS).await;
            }
        }
        receiver.close();
        assert!(there.await.expect("it does not panic"));
        assert!(values.into_iter().eq(0..200));
    });
}

/// A poll of one who waits already allocates nothing.
#[test]
fn waiting_allocates_nothing_more() {
    Case::new("waiting_allocates_nothing_more").run(|| {
        use std::task::{Context, Waker};
        let (mutex, event) = (Mutex::new(()), Event::new());
        let (notify, queue) = (Semaphore::new(0), Queue::<u32>::bounded(1));
        let (sender, mut receiver) = broadcast::channel::<u32>(1);
        let held = mutex.try_lock().expect("it is free");
        let mut waits: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = vec![
            Box::pin(async { drop(mutex.lock().await) }),
            Box::pin(event.wait()),
            Box::pin(async { drop(notify.acquire().await) }),
            Box::pin(async { _ = queue.get().await }),
            Box::pin(async { _ = receiver.recv().await }),
        ];
        let mut cx = Context::from_waker(Waker::noop());
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut cx).is_pending());
        }
        let before = harness::alloc::allocations();
        for _ in 0..100 {
            for wait in &mut waits {
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            }
        }
        assert_eq!(harness::alloc::allocations(), before);
        drop(waits);
        drop((held, sender));
    });
}
