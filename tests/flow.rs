//! Tasks together, plain calls, and blocking code: `corering::flow`.
//!
//! What does not depend on threads or on real time runs twice: on a real ring, and in the
//! simulation under many seeds.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::flow::{
    When, as_completed, call_at, call_later, call_soon, call_when_done, gather, task_group,
    try_gather, try_wait, wait,
};
use corering::task::{self, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{Runtime, spawn};
use futures::StreamExt;
use harness::{Case, everywhere, panic_of};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::new().expect("io_uring works here")
}

type Log = Rc<RefCell<Vec<&'static str>>>;

/// Says that it was dropped.
struct OnDrop(Rc<Cell<usize>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

// ---------------------------------------------------------------------------------------------
// Tasks together

async fn gathered() {
    let squares = gather((0..10_u64).map(|n| async move {
        sleep(Duration::from_millis(10 - n)).await;
        n * n
    }));
    let squares: Vec<u64> = squares.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(squares, (0..10).map(|n| n * n).collect::<Vec<_>>());
    assert!(
        gather(Vec::<std::future::Ready<()>>::new())
            .await
            .is_empty()
    );
    // Two groups of ten, and an error that is a value.
    let group = |at: u32| gather((0..10).map(move |n| async move { Ok::<_, ()>(at + n) }));
    let both = gather([group(0), group(10)]).await;
    let total: u32 = both
        .into_iter()
        .flat_map(|group| group.unwrap())
        .map(|n| n.unwrap().unwrap())
        .sum();
    assert_eq!(total, 190);
    // Dropping it ends its tasks.
    let drops = Rc::new(Cell::new(0));
    let tasks = (0..3).map(|_| {
        let guard = OnDrop(drops.clone());
        async move {
            pending::<()>().await;
            drop(guard);
        }
    });
    assert!(timeout(MS, gather(tasks)).await.is_err());
    yield_now().await;
    assert_eq!(drops.get(), 3);
}

#[test]
fn f18_gather() {
    everywhere("f18_gather", gathered);
}

async fn failed_gather() {
    let drops = Rc::new(Cell::new(0));
    let tasks = (0..5_u32).map(|n| {
        let guard = OnDrop(drops.clone());
        async move {
            if n == 3 {
                sleep(MS).await;
                return Err("three");
            }
            pending::<()>().await;
            drop(guard);
            Ok(n)
        }
    });
    assert_eq!(try_gather(tasks).await, Err("three"));
    assert_eq!(drops.get(), 5, "no loser is left behind");
    let all = try_gather((0..5).map(|n| async move { Ok::<_, ()>(n) })).await;
    assert_eq!(all, Ok(vec![0, 1, 2, 3, 4]));
}

#[test]
fn f18_try_gather() {
    everywhere("f18_try_gather", failed_gather);
}

async fn waited() {
    let nap = |ms: u64| {
        spawn(async move {
            sleep(Duration::from_millis(ms)).await;
            ms
        })
    };
    let first = wait([nap(500), nap(1), nap(700)], None, When::First).await;
    assert_eq!(*first.done[0].1.as_ref().unwrap(), 1);
    let limited = wait(first.pending, Some(5 * MS), When::All).await;
    assert_eq!((limited.done.len(), limited.pending.len()), (0, 2));
    let all = wait(limited.pending, None, When::All).await;
    let order: Vec<u64> = all.done.into_iter().map(|(_, ms)| ms.unwrap()).collect();
    assert_eq!((order, all.pending.len()), (vec![500, 700], 0));
    // Those that have ended before count, and none at all is all.
    let ended = nap(0);
    sleep(5 * MS).await;
    assert_eq!(wait([ended], None, When::First).await.done.len(), 1);
    assert_eq!(
        wait(Vec::<task::JoinHandle<()>>::new(), None, When::First)
            .await
            .done
            .len(),
        0
    );
    // The first error, of either kind.
    let fails = spawn(async { Err::<(), _>("no") });
    let waits = spawn(pending::<Result<(), &str>>());
    let stop = waits.abort_handle();
    let found = try_wait([waits, fails], None, When::FirstError).await;
    assert_eq!((found.done.len(), found.pending.len()), (1, 1));
    stop.abort();
    let found = wait(found.pending, None, When::FirstError).await;
    assert!(found.done[0].1.as_ref().unwrap_err().is_cancelled());
    // Dropping it leaves the tasks alone.
    let ran = Rc::new(Cell::new(false));
    let flag = ran.clone();
    let task = spawn(async move {
        sleep(100 * MS).await;
        flag.set(true);
    });
    assert!(timeout(MS, wait([task], None, When::All)).await.is_err());
    sleep(500 * MS).await;
    assert!(ran.get());
}

#[test]
fn f18_wait() {
    everywhere("f18_wait", waited);
}

async fn completed() {
    let naps = as_completed([600_u64, 200, 400].map(|ms| async move {
        sleep(Duration::from_millis(ms)).await;
        ms
    }));
    let order: Vec<u64> = naps.map(Result::unwrap).collect().await;
    assert_eq!(order, [200, 400, 600]);
}

#[test]
fn f18_as_completed() {
    everywhere("f18_as_completed", completed);
}

async fn grouped() {
    let answer = task_group(async |group| {
        let parts: Vec<_> = (0..4_u32)
            .map(|n| {
                let inner = group.clone();
                group.spawn(async move {
                    sleep(MS).await;
                    drop(inner.spawn(async { Ok(()) }));
                    Ok(n)
                })
            })
            .collect();
        group.join().await;
        assert!(group.is_empty());
        Ok::<u32, &str>(parts.iter().filter_map(|part| part.take()).sum())
    });
    assert_eq!(answer.await, Ok(6));
    // The scope waits for what the body has left.
    let done = Rc::new(Cell::new(false));
    let flag = done.clone();
    let scope = task_group(async |group| {
        group.spawn(async move {
            sleep(5 * MS).await;
            flag.set(true);
            Ok(())
        });
        let aborted = group.spawn(pending::<Result<(), ()>>());
        aborted.abort();
        Ok::<(), ()>(())
    });
    assert_eq!(scope.await, Ok(()));
    assert!(done.get());
}

#[test]
fn f18_task_group() {
    everywhere("f18_task_group", grouped);
}

async fn failed_group() {
    let log = Log::default();
    let drops = Rc::new(Cell::new(0));
    let (told, guard, body_guard) = (log.clone(), OnDrop(drops.clone()), OnDrop(drops.clone()));
    let late = Rc::new(RefCell::new(None));
    let escaped = late.clone();
    let result = task_group(async move |group| {
        *escaped.borrow_mut() = Some(group.clone());
        group.spawn_cooperative(async move {
            task::cancelled().await;
            sleep(5 * MS).await;
            told.borrow_mut().push("cleaned up");
            Ok(())
        });
        group.spawn(async move {
            pending::<()>().await;
            drop(guard);
            Ok(())
        });
        group.spawn(async {
            sleep(MS).await;
            Err::<(), _>("first")
        });
        pending::<()>().await;
        drop(body_guard);
        Ok::<(), &str>(())
    });
    assert_eq!(result.await, Err("first"));
    assert_eq!(*log.borrow(), ["cleaned up"]);
    assert_eq!(drops.get(), 2);
    // A group that has ended starts nothing.
    let group = late.borrow_mut().take().unwrap();
    let never = group.spawn(async { Ok(1) });
    assert!(never.is_finished() && never.id().is_none() && never.take().is_none());
    // Dropped from outside.
    let drops = Rc::new(Cell::new(0));
    let guard = OnDrop(drops.clone());
    let scope = task_group(async |group| {
        group.spawn_cooperative(async move {
            pending::<()>().await;
            drop(guard);
            Ok::<(), ()>(())
        });
        pending::<Result<(), ()>>().await
    });
    assert!(timeout(MS, scope).await.is_err());
    yield_now().await;
    assert_eq!(drops.get(), 1);
}

#[test]
fn f18_a_failing_child_ends_its_group() {
    everywhere("f18_a_failing_child_ends_its_group", failed_group);
}

async fn asked_group() {
    let outer = spawn(async {
        task_group(async |group| {
            let member = group.spawn_cooperative(async {
                task::cancelled().await;
                Ok("asked")
            });
            group.join().await;
            Ok::<_, ()>(member.take())
        })
        .await
    });
    yield_now().await;
    yield_now().await;
    outer.cancel();
    assert_eq!(outer.await.unwrap(), Ok(Some("asked")));
}

#[test]
fn a_group_is_asked_with_its_task() {
    everywhere("a_group_is_asked_with_its_task", asked_group);
}

#[test]
fn e10_panics_of_many() {
    Case::new("e10_panics_of_many").run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let outputs = gather((0..3).map(|n| async move {
                assert_ne!(n, 1, "one");
                n
            }));
            let outputs = outputs.await;
            assert!(outputs[1].as_ref().unwrap_err().is_panic());
            assert_eq!(*outputs[2].as_ref().unwrap(), 2);
        });
        let drops = Arc::new(Mutex::new(0));
        let count = drops.clone();
        let text = panic_of(|| {
            runtime.block_on(task_group(async |group| {
                group.spawn_cooperative(async move {
                    task::cancelled().await;
                    *count.lock().unwrap() += 1;
                    Ok(())
                });
                group.spawn::<()>(async { panic!("a member") });
                pending::<Result<(), ()>>().await
            }))
        });
        assert_eq!(text.as_deref(), Some("a member"));
        assert_eq!(*drops.lock().unwrap(), 1, "it was awaited first");
        let text = panic_of(|| {
            runtime.block_on(task_group(
                async |_: corering::flow::TaskGroup<()>| -> Result<(), ()> { panic!("the body") },
            ))
        });
        assert_eq!(text.as_deref(), Some("the body"));
        let text = panic_of(|| {
            let one = async { panic!("one of them") };
            runtime.block_on(async { try_gather::<_, (), ()>([one]).await })
        });
        assert_eq!(text.as_deref(), Some("one of them"));
        // The core goes on.
        assert_eq!(
            runtime.block_on(async { spawn(async { 1 }).await.unwrap() }),
            1
        );
    });
}

// ---------------------------------------------------------------------------------------------
// Calls

/// Waits until so much was logged.
async fn filled(log: &Log, len: usize) {
    while log.borrow().len() < len {
        sleep(MS).await;
    }
}

async fn calls() {
    let log = Log::default();
    let note = |text: &'static str| {
        let log = log.clone();
        move || log.borrow_mut().push(text)
    };
    let (inner, again) = (note("from a call"), log.clone());
    call_soon(note("a"));
    call_soon(move || {
        again.borrow_mut().push("b");
        call_soon(inner);
        again.borrow_mut().push("still b");
    });
    call_soon(note("c"));
    let prevented = call_soon(note("never"));
    prevented.cancel();
    assert!(prevented.is_cancelled() && log.borrow().is_empty());
    filled(&log, 5).await;
    assert_eq!(*log.borrow(), ["a", "b", "still b", "c", "from a call"]);
    assert!(prevented.is_finished());
    log.borrow_mut().clear();
    let now = Instant::now();
    call_at(now + 20 * MS, note("20"));
    call_later(30 * MS, note("30"));
    call_at(now + 10 * MS, note("10, first"));
    call_at(now + 10 * MS, note("10, second"));
    let prevented = call_later(15 * MS, note("never"));
    call_at(now, note("late"));
    assert_eq!(
        prevented.when().unwrap().max(now),
        prevented.when().unwrap()
    );
    prevented.cancel();
    assert!(log.borrow().is_empty());
    filled(&log, 5).await;
    assert!(now.elapsed() >= 30 * MS);
    assert_eq!(
        *log.borrow(),
        ["late", "10, first", "10, second", "20", "30"]
    );
    log.borrow_mut().clear();
    let told = log.clone();
    call_when_done(spawn(async { "done" }), move |output| {
        told.borrow_mut().push(output.unwrap());
    });
    filled(&log, 1).await;
    assert_eq!(*log.borrow(), ["done"]);
}

#[test]
fn f17_loop_calls() {
    everywhere("f17_loop_calls", calls);
}

#[test]
fn f17_calls_that_are_overdue_keep_their_order() {
    Case::new("f17_calls_that_are_overdue_keep_their_order").run(|| {
        runtime().block_on(async {
            let log = Rc::new(RefCell::new(Vec::new()));
            let now = Instant::now();
            let at = |ms: u32| {
                let log = log.clone();
                call_at(now + ms * MS, move || log.borrow_mut().push(ms))
            };
            at(3);
            yield_now().await;
            std::thread::sleep(10 * MS);
            at(5);
            at(2);
            sleep(10 * MS).await;
            assert_eq!(*log.borrow(), [2, 3, 5]);
        });
    });
}

#[test]
fn f17_a_thread_calls_into_a_loop_that_sleeps() {
    Case::new("f17_a_thread_calls_into_a_loop_that_sleeps").run(|| {
        let mut runtime = runtime();
        let handle = runtime.handle();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(20 * MS);
            let begin = std::time::Instant::now();
            let calls: Vec<_> = (0..10)
                .map(|n| handle.call_soon_threadsafe(move || (n, corering::core_id())))
                .collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.wait().unwrap(), (n, 0));
            }
            let took = begin.elapsed();
            let mut never = handle.spawn(pending::<()>);
            assert!(never.wait_timeout(MS).is_none());
            never.abort();
            assert!(
                never
                    .wait_timeout(1000 * MS)
                    .unwrap()
                    .unwrap_err()
                    .is_cancelled()
            );
            handle.stop();
            took
        });
        runtime.run_forever();
        let took = thread.join().unwrap();
        assert!(took < 500 * MS, "{took:?}");
        assert!(runtime.handle().is_stopping());
        runtime.run_forever();
        assert!(runtime.shutdown(MS).is_clean());
    });
}

// ---------------------------------------------------------------------------------------------
// Blocking code

#[cfg(feature = "blocking")]
#[test]
fn e17_offloaded_closures() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static DONE: AtomicUsize = AtomicUsize::new(0);
    Case::new("e17_offloaded_closures").run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let loop_thread = std::thread::current().id();
            let there = corering::spawn_blocking(|| std::thread::current().id());
            assert_ne!(there.await.unwrap(), loop_thread);
            let panics = corering::spawn_blocking(|| panic!("no disk"));
            let error: corering::JoinError = panics.await.map(|(): ()| ()).unwrap_err();
            assert!(error.to_string().ends_with("no disk"), "{error}");
            // The loop goes on meanwhile, and a dropped handle changes nothing.
            drop(corering::spawn_blocking(|| {
                std::thread::sleep(20 * MS);
                DONE.fetch_add(1, Ordering::SeqCst);
            }));
            let ticks = Rc::new(Cell::new(0));
            let count = ticks.clone();
            let ticker = spawn(async move {
                loop {
                    sleep(MS).await;
                    count.set(count.get() + 1);
                }
            });
            corering::spawn_blocking(|| std::thread::sleep(30 * MS))
                .await
                .unwrap();
            assert!(ticks.get() > 2);
            ticker.abort();
            while DONE.load(Ordering::SeqCst) == 0 {
                sleep(MS).await;
            }
            // One that outlives the runtime, with an output that is dropped elsewhere.
            drop(corering::spawn_blocking(|| {
                std::thread::sleep(30 * MS);
                DONE.fetch_add(1, Ordering::SeqCst);
                vec![1; 100]
            }));
            sleep(5 * MS).await;
        });
        drop(runtime);
        while DONE.load(Ordering::SeqCst) < 2 {
            std::thread::sleep(MS);
        }
        std::thread::sleep(5 * MS);
    });
}

#[cfg(all(feature = "blocking", feature = "sim"))]
#[test]
fn a_simulation_calls_blocking_code_on_the_spot() {
    corering::sim::seeds(0..10, |sim| {
        let host = sim.host("alone").boot(|_core| async {});
        let answer = sim.block_on(&host, async {
            corering::spawn_blocking(|| 42).await.unwrap()
        });
        assert_eq!(answer, 42);
    });
}
