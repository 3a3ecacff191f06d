//! Wake-ups from anywhere, fairness, and the clock.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::task::yield_now;
use corering::time::{
    Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout,
};
use corering::{Runtime, spawn, spawn_on};
use futures::FutureExt;
use futures::future::{Either, select};
use harness::{Case, Census, Rng, panic_of, scaled};
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime(cores: usize) -> Runtime {
    let runtime = Runtime::builder().cores(cores).pin(false).build();
    runtime.expect("io_uring works here")
}

/// A counter that a task watches and foreign threads raise.
#[derive(Default)]
struct Watched {
    count: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Watched {
    fn raise(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let waker = self.waker.lock().expect("no panic").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn reaches(&self, goal: u64) {
        poll_fn(|cx| {
            *self.waker.lock().expect("no panic") = Some(cx.waker().clone());
            match self.count.load(Ordering::SeqCst) >= goal {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

/// Threads hand over one wake at a time, so each one that is lost stops its pair for good.
#[test]
fn f01_wake_storm() {
    const THREADS: usize = 8;
    let rounds = scaled(3_000, 1_000_000);
    Case::new("f01_wake_storm").seconds(120).run(|| {
        let mut runtime = runtime(2);
        let pairs: Vec<_> = (0..THREADS)
            .map(|_| (Arc::new(Watched::default()), Arc::new(Watched::default())))
            .collect();
        let threads = pairs.iter().cloned().enumerate().map(|(i, (to, back))| {
            std::thread::spawn(move || {
                let mut worst = Duration::ZERO;
                for round in 1..=rounds {
                    to.raise();
                    if i % 2 == 0 {
                        // Half of them wait for the answer, half flood.
                        let begin = std::time::Instant::now();
                        futures::executor::block_on(back.reaches(round));
                        worst = worst.max(begin.elapsed());
                    }
                }
                worst
            })
        });
        let threads: Vec<_> = threads.collect();
        runtime.block_on(async {
            let mut here = Vec::new();
            let mut there = Vec::new();
            for (i, (to, back)) in pairs.iter().cloned().enumerate() {
                let answer = move || async move {
                    for round in 1..=rounds {
                        to.reaches(round).await;
                        back.raise();
                    }
                };
                match i % 4 < 2 {
                    true => here.push(spawn(answer())),
                    false => there.push(spawn_on(1, answer)),
                }
            }
            for task in here {
                task.await.expect("joined");
            }
            for task in there {
                task.await.expect("joined");
            }
        });
        for thread in threads {
            let worst = thread.join().expect("no panic");
            assert!(worst < Duration::from_secs(2), "an answer took {worst:?}");
        }
    });
}

#[test]
fn f01_wakes_of_the_main_future() {
    Case::new("f01_wakes_of_the_main_future").run(|| {
        let watched = Arc::new(Watched::default());
        let thread = std::thread::spawn({
            let watched = watched.clone();
            move || (0..20_000).for_each(|_| watched.raise())
        });
        let mut runtime = runtime(1);
        for goal in (0..=20_000).step_by(40) {
            runtime.block_on(watched.reaches(goal));
        }
        thread.join().expect("no panic");
    });
}

#[test]
fn f04_wake_after_drop() {
    Case::new("f04_wake_after_drop").quarantine().run(|| {
        let census = Census::take();
        let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
        let dropped = Rc::new(Cell::new(0));
        struct OnDrop(Rc<Cell<u32>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        for _ in 0..50 {
            let mut runtime = runtime(2);
            let keep = |wakers: Arc<Mutex<Vec<Waker>>>| {
                poll_fn(move |cx| {
                    wakers.lock().expect("no panic").push(cx.waker().clone());
                    Poll::<()>::Pending
                })
            };
            let theirs = wakers.clone();
            let remote = runtime.handle().spawn_on(1, move || keep(theirs));
            runtime.block_on(async {
                for _ in 0..20 {
                    let (on_drop, keep) = (OnDrop(dropped.clone()), keep(wakers.clone()));
                    spawn(async move {
                        let _on_drop = on_drop;
                        keep.await;
                    });
                }
                poll_fn(|cx| {
                    wakers.lock().expect("no panic").push(cx.waker().clone());
                    Poll::Ready(())
                })
                .await;
                sleep(MS).await;
            });
            // They wake while the runtime is being dropped, and after.
            let racing = std::thread::spawn({
                let wakers = wakers.clone();
                move || {
                    for _ in 0..200 {
                        let some: Vec<_> = wakers.lock().expect("no panic").clone();
                        some.iter().for_each(Waker::wake_by_ref);
                    }
                }
            });
            drop(runtime);
            racing.join().expect("no panic");
            assert!(remote.now_or_never().expect("answered").is_err());
            wakers
                .lock()
                .expect("no panic")
                .drain(..)
                .for_each(Waker::wake);
        }
        assert_eq!(dropped.get(), 50 * 20);
        census.assert_same();
    });
}

#[test]
fn f06_join_from_a_foreign_executor() {
    Case::new("f06_join_from_a_foreign_executor").run(|| {
        let mut runtime = runtime(2);
        let handle = runtime.handle();
        let thread = std::thread::spawn(move || {
            let tasks = (0..100).map(|i| {
                handle.spawn_on(i % 2, move || async move {
                    sleep(MS * (i as u32 % 7)).await;
                    i
                })
            });
            let all = futures::future::join_all(tasks.collect::<Vec<_>>());
            let sum: usize = futures::executor::block_on(all)
                .into_iter()
                .map(|i| i.expect("ok"))
                .sum();
            // A panic arrives there, too, and an abort.
            let panic = handle.spawn_on(1, || async { panic!("over there") });
            let error = futures::executor::block_on(panic)
                .map(|(): ()| ())
                .expect_err("a panic");
            assert!(error.to_string().contains("over there"));
            let task = handle.spawn_on(0, pending::<()>);
            task.abort();
            assert!(
                futures::executor::block_on(task)
                    .expect_err("aborted")
                    .is_cancelled()
            );
            sum
        });
        // And from a core of another runtime.
        let theirs = runtime.handle();
        let other = std::thread::spawn(move || {
            corering::block_on(async move { theirs.spawn_on(1, || async { 9 }).await })
        });
        while !(thread.is_finished() && other.is_finished()) {
            runtime.block_on(sleep(MS));
        }
        assert_eq!(thread.join().expect("no panic"), (0..100).sum());
        assert_eq!(other.join().expect("no panic").expect("joined"), 9);
    });
}

/// Tasks that are always ready starve neither timers, nor the main future, nor other threads.
#[test]
fn f07_yield_loops_starve_nobody() {
    Case::new("f07_yield_loops_starve_nobody")
        .seconds(30)
        .run(|| {
            let mut runtime = runtime(1);
            let handle = runtime.handle();
            runtime.block_on(async {
                for _ in 0..50 {
                    spawn(async {
                        loop {
                            yield_now().await;
                        }
                    });
                }
                let mut late = Vec::new();
                for _ in 0..50 {
                    let deadline = Instant::now() + 2 * MS;
                    sleep_until(deadline).await;
                    late.push(Instant::now() - deadline);
                }
                late.sort();
                println!("median lateness {:?}, worst {:?}", late[25], late[49]);
                assert!(late[25] < 20 * MS, "{late:?}");
                let thread = std::thread::spawn(move || {
                    futures::executor::block_on(handle.spawn_on(0, || async { 1 }))
                });
                while !thread.is_finished() {
                    yield_now().await;
                }
                assert_eq!(thread.join().expect("no panic").expect("joined"), 1);
            });
        });
}

/// The same for a task that never waits inside of one poll because its ticks are always due.
#[test]
fn f07_a_zero_interval_starves_nobody() {
    Case::new("f07_a_zero_interval_starves_nobody")
        .seconds(10)
        .run(|| {
            let mut runtime = runtime(1);
            runtime.block_on(async {
                spawn(async {
                    let mut ticks = interval(Duration::ZERO);
                    loop {
                        ticks.tick().await;
                    }
                });
                sleep(20 * MS).await;
            });
        });
}

#[test]
fn f11_idle_lateness() {
    Case::new("f11_idle_lateness").run(|| {
        corering::block_on(async {
            let mut late = Vec::new();
            for i in 0..200 {
                let deadline = Instant::now() + MS + Duration::from_micros(i * 7);
                sleep_until(deadline).await;
                late.push(
                    Instant::now()
                        .checked_duration_since(deadline)
                        .expect("never early"),
                );
            }
            late.sort();
            println!("lateness: median {:?}, p99 {:?}", late[100], late[197]);
            // Half of them: a busy machine may delay any single one.
            assert!(late[100] < 10 * MS, "{late:?}");
        });
    });
}

/// The loop itself waits with each of them as its nearest deadline. (What else there is to such
/// times is in tests/contract.)
#[test]
fn f12_the_loop_sleeps_for_any_time() {
    Case::new("f12_the_loop_sleeps_for_any_time")
        .seconds(20)
        .run(|| {
            for time in [
                Duration::MAX,
                Duration::from_secs(u64::MAX),
                Duration::from_nanos(u64::MAX),
                Duration::from_nanos(u64::MAX - 1),
                Duration::from_secs(i64::MAX as u64),
                Duration::from_nanos(i64::MAX as u64),
                Duration::from_secs(600 * 365 * 86_400),
                Duration::from_secs(300 * 365 * 86_400),
            ] {
                corering::block_on(async move {
                    let wait = pin!(sleep(time));
                    let thread = pin!(spawn_after(5 * MS));
                    let first = select(wait, thread).await;
                    assert!(matches!(first, Either::Right(_)), "{time:?}");
                });
            }
        });
}

/// Ready when a foreign thread has slept so long: no timer of the core is involved.
async fn spawn_after(time: Duration) {
    let watched = Arc::new(Watched::default());
    let raise = watched.clone();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        raise.raise();
    });
    watched.reaches(1).await;
}

#[test]
fn f13_timer_churn() {
    Case::new("f13_timer_churn").seconds(120).run(|| {
        let mut runtime = runtime(1);
        let mut rng = Rng::new();
        runtime.block_on(async {
            let strays = Rc::new(Cell::new(0));
            let base = harness::memory_kib();
            for round in 0..300_000_u32 {
                let far = Duration::from_millis(1_000 + rng.below(100_000));
                let mut nap = pin!(sleep(far));
                assert!(nap.as_mut().now_or_never().is_none());
                // Its slot is used again at once by one that fires.
                if round % 1_000 == 0 {
                    let strays = strays.clone();
                    let begin = Instant::now();
                    let deadline = begin + MS;
                    spawn(async move {
                        sleep_until(deadline).await;
                        strays.set(strays.get() + u32::from(Instant::now() < deadline));
                    });
                    yield_now().await;
                }
            }
            sleep(10 * MS).await;
            assert_eq!(strays.get(), 0);
            assert_eq!(corering::Metrics::current().timers, 0);
            let grown = harness::memory_kib().saturating_sub(base);
            assert!(grown < 4 * 1024, "{grown} KiB");
        });
    });
}

#[test]
fn f13_timeouts_in_a_race() {
    Case::new("f13_timeouts_in_a_race").quarantine().run(|| {
        let mut runtime = runtime(1);
        let mut rng = Rng::new();
        runtime.block_on(async {
            let mut set = corering::task::JoinSet::new();
            for _ in 0..5_000 {
                let (limit, work) = (rng.below(3_000), rng.below(3_000));
                set.spawn(async move {
                    let begin = Instant::now();
                    let limit = Duration::from_micros(limit);
                    let work = Duration::from_micros(work);
                    match timeout(limit, sleep(work)).await {
                        Ok(()) => assert!(begin.elapsed() >= work),
                        Err(_) => assert!(begin.elapsed() >= limit),
                    }
                });
            }
            while let Some(result) = set.join_next().await {
                result.expect("never early");
            }
            assert_eq!(corering::Metrics::current().timers, 0);
        });
    });
}

#[test]
fn f15_short_sleeps() {
    Case::new("f15_short_sleeps").seconds(120).run(|| {
        corering::block_on(async {
            for (micros, rounds) in [(1, 5_000), (50, 3_000), (1_000, 200)] {
                let begin = Instant::now();
                for _ in 0..rounds {
                    sleep(Duration::from_micros(micros)).await;
                }
                let took = begin.elapsed();
                assert!(took >= Duration::from_micros(micros) * rounds);
                println!("{rounds} x {micros} us: {took:?}");
            }
        });
    });
}

#[test]
fn o6_idle_costs_nothing() {
    Case::new("o6_idle_costs_nothing").run(|| {
        let mut runtime = runtime(2);
        runtime.block_on(async {
            spawn(sleep(Duration::from_secs(3600)));
            spawn_on(1, || sleep(Duration::MAX));
            spawn(pending::<()>());
            sleep(10 * MS).await;
            let (cpu, enters) = (harness::cpu_time(), corering::Metrics::current().enters);
            sleep(Duration::from_millis(700)).await;
            let used = harness::cpu_time() - cpu;
            let enters = corering::Metrics::current().enters - enters;
            assert!(used < 70 * MS, "{used:?} in 700 ms of nothing");
            assert!(enters < 20, "{enters} system calls in 700 ms of nothing");
        });
    });
}

#[test]
fn intervals_keep_their_schedule() {
    Case::new("intervals_keep_their_schedule").run(|| {
        corering::block_on(async {
            let begin = Instant::now();
            let mut ticks = interval_at(begin + 2 * MS, 2 * MS);
            for i in 1..=20 {
                let due = ticks.tick().await;
                assert_eq!(due, begin + 2 * MS * i);
                assert!(Instant::now() >= due);
            }
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            std::thread::sleep(11 * MS);
            ticks.tick().await;
            let due = ticks.tick().await;
            assert_eq!(
                ((due - begin).as_nanos() % (2 * MS).as_nanos()),
                0,
                "the old schedule"
            );
            assert!(due > begin + 50 * MS, "the missed ticks were left out");
        });
    });
}

/// Dropping half-done futures in every state, from outside of any runtime.
#[test]
fn futures_are_dropped_outside_of_the_runtime() {
    Case::new("futures_are_dropped_outside_of_the_runtime")
        .quarantine()
        .run(|| {
            let mut runtime = runtime(1);
            let (mut nap, task, set) = runtime.block_on(async {
                let mut nap = Box::pin(sleep(Duration::from_secs(9)));
                assert!(nap.as_mut().now_or_never().is_none());
                let mut set = corering::task::JoinSet::new();
                set.spawn(pending::<()>());
                (nap, spawn(pending::<()>()), set)
            });
            drop(runtime);
            assert!(
                nap.as_mut().now_or_never().is_none(),
                "no panic, and never ready"
            );
            drop(nap);
            assert!(task.is_finished());
            assert!(
                task.now_or_never()
                    .expect("answered")
                    .expect_err("gone")
                    .is_cancelled()
            );
            drop(set);
            let text = panic_of(|| sleep(MS).now_or_never());
            assert!(text.expect("no runtime").contains("no timers"));
        });
}

/// A foreign thread wakes the loop out of its sleep, quickly and once.
#[test]
fn a_foreign_wake_ends_the_sleep() {
    Case::new("a_foreign_wake_ends_the_sleep").run(|| {
        let mut runtime = runtime(1);
        let took = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            for _ in 0..50 {
                let begin = std::time::Instant::now();
                spawn_after(MS).await;
                let micros = (begin.elapsed().as_micros() as usize).saturating_sub(1_000);
                took.fetch_add(micros, Ordering::Relaxed);
            }
        });
        println!("{} us a wake", took.load(Ordering::Relaxed) / 50);
        assert!(took.load(Ordering::Relaxed) < 50 * 20_000);
    });
}
