//! The life of a runtime: building, running, spawning across cores, panics, and the end.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::task::{JoinSet, yield_now};
use corering::time::sleep;
use corering::{Handle, Metrics, Runtime, ShutdownReport, spawn, spawn_on};
use harness::{Case, Census, panic_of};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

fn runtime(cores: usize) -> Runtime {
    let runtime = Runtime::builder().cores(cores).pin(false).build();
    runtime.expect("io_uring works here")
}

#[test]
fn e01_drop_idle() {
    Case::new("e01_drop_idle").run(|| {
        // The first one tries the kernel's features.
        drop(runtime(1));
        let census = Census::take();
        for cores in [1, 2] {
            let mut best = Duration::MAX;
            for _ in 0..5 {
                let begin = Instant::now();
                drop(runtime(cores));
                best = best.min(begin.elapsed());
            }
            assert!(best < 50 * MS, "{cores} cores: {best:?}");
        }
        census.assert_same();
        harness::oracle::assert_threads(2);
    });
}

#[test]
fn block_on_many_times() {
    Case::new("block_on_many_times").run(|| {
        let census = Census::take();
        let mut runtime = runtime(1);
        let steps = Rc::new(Cell::new(0));
        let task = steps.clone();
        // A task rests while nobody runs the core, and goes on at the next call.
        runtime.block_on(async {
            spawn(async move {
                loop {
                    task.set(task.get() + 1);
                    yield_now().await;
                }
            });
        });
        let before = steps.get();
        std::thread::sleep(5 * MS);
        assert_eq!(steps.get(), before, "nothing runs outside of block_on");
        for i in 0..10_000 {
            assert_eq!(runtime.block_on(async move { i }), i);
        }
        assert!(steps.get() > before);
        let borrowed = String::from("not static, not Send");
        let text: &str = runtime.block_on(async { &borrowed });
        assert_eq!(text, borrowed);
        assert_eq!(runtime.metrics().tasks, 1);
        drop(runtime);
        census.assert_same();
    });
}

#[test]
fn runtimes_in_a_row_and_side_by_side() {
    Case::new("runtimes_in_a_row_and_side_by_side").run(|| {
        drop(runtime(1));
        let census = Census::take();
        for i in 0..20 {
            assert_eq!(
                corering::block_on(async move {
                    sleep(MS).await;
                    i
                }),
                i
            );
        }
        let threads: Vec<_> = (0..4)
            .map(|i| {
                std::thread::spawn(move || {
                    let mut runtime = runtime(1 + i % 2);
                    let task = runtime.handle().spawn_on(i % 2, || async {
                        sleep(MS).await;
                        7
                    });
                    runtime.block_on(async move { task.await.expect("no panic") })
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), 7);
        }
        census.assert_same();
    });
}

#[test]
fn two_runtimes_take_turns_on_one_thread() {
    Case::new("two_runtimes_take_turns_on_one_thread").run(|| {
        let (mut a, mut b) = (runtime(1), runtime(1));
        for _ in 0..50 {
            let task = a.block_on(async {
                let task = spawn(async {
                    sleep(MS / 2).await;
                    1
                });
                Some(task)
            });
            assert_eq!(
                b.block_on(async { spawn(async { 2 }).await })
                    .expect("joined"),
                2
            );
            assert_eq!(a.block_on(task.expect("spawned")).expect("joined"), 1);
        }
        // One is built and dropped inside of the other, which goes on.
        a.block_on(async {
            let inner = runtime(2);
            let task = inner.handle().spawn_on(1, || async { corering::core_id() });
            assert_eq!(task.await.expect("joined"), 1);
            drop(inner);
            drop(b);
            sleep(MS).await;
            assert_eq!(corering::core_id(), 0);
            assert_eq!(spawn(async { 3 }).await.expect("joined"), 3);
        });
    });
}

/// Notes on which thread it is dropped, and whether the runtime was there.
struct Witness {
    drops: Rc<RefCell<Vec<(ThreadId, bool)>>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        let has_context = panic_of(Metrics::current).is_none();
        let entry = (std::thread::current().id(), has_context);
        self.drops.borrow_mut().push(entry);
    }
}

#[test]
fn e04_tasks_dropped_on_owner() {
    Case::new("e04_tasks_dropped_on_owner").run(|| {
        let drops = Rc::new(RefCell::new(Vec::new()));
        let mut runtime = runtime(1);
        runtime.block_on(async {
            for i in 0..100 {
                let witness = Witness {
                    drops: drops.clone(),
                };
                spawn(async move {
                    let _witness = witness;
                    if i % 2 == 0 {
                        sleep(Duration::from_secs(3600)).await;
                    }
                    pending::<()>().await;
                });
            }
            sleep(MS).await;
        });
        assert!(drops.borrow().is_empty());
        drop(runtime);
        let here = std::thread::current().id();
        assert_eq!(drops.borrow().len(), 100, "each is dropped once");
        assert!(drops.borrow().iter().all(|&drop| drop == (here, true)));
        assert!(panic_of(Metrics::current).is_some(), "the thread is free");
    });
}

/// As above on another core: the drop happens on the core's own thread, with its context.
#[test]
fn e04_tasks_of_other_cores_are_dropped_there() {
    struct Sent(Arc<Mutex<Vec<(ThreadId, bool)>>>);
    impl Drop for Sent {
        fn drop(&mut self) {
            let here = std::thread::current().id();
            let has_context = panic_of(corering::core_id).is_none();
            self.0.lock().expect("no panic").push((here, has_context));
        }
    }
    Case::new("e04_tasks_of_other_cores_are_dropped_there").run(|| {
        let drops = Arc::new(Mutex::new(Vec::new()));
        let mut runtime = runtime(2);
        let theirs = runtime.block_on(async {
            for _ in 0..50 {
                let sent = Sent(drops.clone());
                spawn_on(1, move || async move {
                    let _sent = sent;
                    pending::<()>().await;
                });
            }
            let thread = spawn_on(1, || async {
                sleep(MS).await;
                std::thread::current().id()
            });
            thread.await.expect("joined")
        });
        drop(runtime);
        let drops = drops.lock().expect("no panic");
        assert_eq!(drops.len(), 50);
        assert!(
            drops.iter().all(|&drop| drop == (theirs, true)),
            "{drops:?}"
        );
    });
}

#[test]
fn e07_nested_block_on() {
    Case::new("e07_nested_block_on").run(|| {
        let mut outer = runtime(1);
        outer.block_on(async {
            let text = panic_of(|| corering::block_on(async {})).expect("it must panic");
            assert!(text.contains("inside of a runtime"), "{text}");
            let mut other = runtime(1);
            let text = panic_of(|| other.block_on(async {})).expect("it must panic");
            assert!(text.contains("Await the future instead"), "{text}");
            // In a task it is the task's panic.
            let error = spawn(async { corering::block_on(async {}) }).await;
            assert!(error.expect_err("it must panic").is_panic());
            // On another thread it is fine.
            let thread = std::thread::spawn(|| {
                corering::block_on(async {
                    sleep(MS).await;
                    5
                })
            });
            assert_eq!(thread.join().expect("no panic"), 5);
            sleep(MS).await;
        });
        assert_eq!(outer.block_on(async { 6 }), 6);
        assert_eq!(corering::block_on(async { 7 }), 7);
    });
}

#[test]
fn e09_panic_in_main_future() {
    Case::new("e09_panic_in_main_future").run(|| {
        drop(runtime(1));
        let census = Census::take();
        let dropped = Rc::new(Cell::new(false));
        let flag = dropped.clone();
        struct OnDrop(Rc<Cell<bool>>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let text = panic_of(|| {
            corering::block_on(async move {
                spawn(async move {
                    let _on_drop = OnDrop(flag);
                    pending::<()>().await
                });
                sleep(MS).await;
                panic!("the main future panics");
            })
        });
        assert_eq!(text.as_deref(), Some("the main future panics"));
        assert!(dropped.get(), "tasks were dropped on the way");
        census.assert_same();
        // A runtime survives the panic of a future that it ran.
        let mut runtime = runtime(2);
        assert!(panic_of(|| runtime.block_on(async { panic!("again") })).is_some());
        assert_eq!(
            runtime.block_on(async {
                sleep(MS).await;
                1
            }),
            1
        );
        let text = panic_of(|| {
            runtime.run(|core| async move {
                assert_ne!(core, 1, "core 1 panics");
                pending::<()>().await
            })
        });
        assert!(text.expect("it must panic").contains("core 1 panics"));
        assert_eq!(runtime.run(|core| async move { core }), [0, 1]);
    });
}

#[test]
fn e10_panic_in_task() {
    Case::new("e10_panic_in_task").run(|| {
        let mut runtime = runtime(2);
        runtime.block_on(async {
            let sibling = spawn(async {
                sleep(5 * MS).await;
                1
            });
            let error = spawn(async { std::panic::panic_any(42_u8) }).await;
            let payload = error.expect_err("it must panic").into_panic();
            assert_eq!(*payload.downcast::<u8>().expect("the payload"), 42);
            let there = spawn_on(1, || async {
                sleep(MS).await;
                panic!("on core 1")
            });
            let error: corering::JoinError = match there.await {
                Ok(()) => unreachable!("it panics"),
                Err(error) => error,
            };
            assert!(error.to_string().contains("on core 1"), "{error}");
            // A destructor that panics while its task is aborted.
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("the destructor panics");
                }
            }
            let bomb = spawn(async {
                let _bomb = Bomb;
                pending::<()>().await
            });
            yield_now().await;
            bomb.abort();
            assert!(bomb.await.expect_err("aborted").is_panic());
            assert_eq!(sibling.await.expect("untouched"), 1);
            assert_eq!(spawn_on(1, || async { 2 }).await.expect("untouched"), 2);
        });
        assert_eq!(runtime.metrics().panics, 2);
    });
}

/// A waker of the program's own, polled by hand inside of a task, that panics when it is woken.
struct PanickingWaker(AtomicUsize);

impl std::task::Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("the waker panics");
    }
}

async fn poll_once_with(waker: std::task::Waker, millis: u64) {
    let mut nap = std::pin::pin!(sleep(Duration::from_millis(millis)));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(nap.as_mut().poll(&mut cx).is_pending());
    sleep(Duration::from_millis(millis + 20)).await;
}

#[test]
fn e10_panic_in_a_foreign_waker_core_0() {
    Case::new("e10_panic_in_a_foreign_waker_core_0")
        .seconds(10)
        .run(|| {
            let mut runtime = runtime(1);
            let waker = Arc::new(PanickingWaker(AtomicUsize::new(0)));
            let text = panic_of(|| {
                runtime.block_on(async {
                    let sibling = spawn(async {
                        sleep(10 * MS).await;
                        1
                    });
                    spawn(poll_once_with(waker.clone().into(), 2));
                    assert_eq!(sibling.await.expect("untouched"), 1);
                })
            });
            assert_eq!(waker.0.load(Ordering::SeqCst), 1);
            assert_eq!(text, None, "the panic is the waker's, not the loop's");
        });
}

/// The same on a worker, where nobody catches what leaves the loop.
#[test]
fn e10_panic_in_a_foreign_waker_core_1() {
    Case::new("e10_panic_in_a_foreign_waker_core_1")
        .seconds(30)
        .run(|| {
            let mut runtime = runtime(2);
            let waker = Arc::new(PanickingWaker(AtomicUsize::new(0)));
            let woken = waker.clone();
            let alive = runtime.block_on(async {
                spawn_on(1, move || poll_once_with(woken.into(), 2));
                sleep(30 * MS).await;
                // Slow where the panic's backtrace is looked up under a sanitizer.
                corering::time::timeout(Duration::from_secs(15), spawn_on(1, || async { 7 })).await
            });
            assert_eq!(waker.0.load(Ordering::SeqCst), 1);
            let alive = alive.expect("the handle must not wait for a core that is gone");
            assert_eq!(alive.expect("core 1 goes on"), 7);
            assert_eq!(runtime.shutdown(Duration::ZERO).panicked_cores, []);
        });
}

/// A waker whose destructor uses the runtime: it holds a sleep that is set.
struct WakerWithSleep {
    _sleep: std::pin::Pin<Box<dyn Future<Output = ()>>>,
}

// SAFETY: this test never lets the waker leave its thread.
unsafe impl Send for WakerWithSleep {}
// SAFETY: as above.
unsafe impl Sync for WakerWithSleep {}

impl std::task::Wake for WakerWithSleep {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a14_reentrant_waker_drop() {
    Case::new("a14_reentrant_waker_drop").seconds(10).run(|| {
        corering::block_on(async {
            let mut inner: std::pin::Pin<Box<dyn Future<Output = ()>>> =
                Box::pin(sleep(Duration::from_secs(50)));
            poll_fn(|cx| {
                assert!(inner.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            let waker: std::task::Waker = Arc::new(WakerWithSleep { _sleep: inner }).into();
            let mut nap = Box::pin(sleep(5 * MS));
            let mut cx = std::task::Context::from_waker(&waker);
            assert!(nap.as_mut().poll(&mut cx).is_pending());
            drop(waker);
            // The nap holds the last clone; the next poll stores another waker in its place.
            nap.await;
        });
    });
}

/// A task that spawns another in its destructor, for ever: the end must still come.
#[test]
fn destructors_that_spawn_for_ever() {
    struct Hydra(Arc<AtomicUsize>);
    impl Drop for Hydra {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            let again = Hydra(self.0.clone());
            spawn(async move {
                let _again = again;
                pending::<()>().await
            });
        }
    }
    Case::new("destructors_that_spawn_for_ever")
        .seconds(30)
        .run(|| {
            let census = Census::take();
            let heads = Arc::new(AtomicUsize::new(0));
            let mut runtime = runtime(1);
            let first = Hydra(heads.clone());
            runtime.block_on(async {
                spawn(async move {
                    let _first = first;
                    pending::<()>().await
                });
                sleep(MS).await;
            });
            drop(runtime);
            println!("{} heads", heads.load(Ordering::Relaxed));
            census.assert_same();
        });
}

#[test]
fn spawn_on_reaches_every_core() {
    Case::new("spawn_on_reaches_every_core").run(|| {
        let mut runtime = runtime(3);
        let handle = runtime.handle();
        assert_eq!(handle.cores(), 3);
        // From a foreign thread, before the first block_on.
        let early = std::thread::spawn({
            let handle = handle.clone();
            move || {
                (0..3)
                    .map(|core| handle.spawn_on(core, corering_core))
                    .collect::<Vec<_>>()
            }
        });
        let early = early.join().expect("no panic");
        let cores = runtime.block_on(async {
            let mut cores = Vec::new();
            for task in early {
                cores.push(task.await.expect("joined"));
            }
            // From a core to the next, and back to this one.
            let there = spawn_on(1, || async {
                spawn_on(2, || spawn_on(0, corering_core)).await
            });
            let back = there.await.expect("joined").expect("joined");
            cores.push(back.expect("joined"));
            cores
        });
        assert_eq!(cores, [0, 1, 2, 0]);
        let text = panic_of(|| handle.spawn_on(3, corering_core)).expect("it must panic");
        assert!(text.contains("no core 3"), "{text}");
        // Abort, from the other side.
        let dropped = Arc::new(AtomicBool::new(false));
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Flag(dropped.clone());
        runtime.block_on(async {
            let task = spawn_on(2, move || async move {
                let _flag = flag;
                pending::<()>().await
            });
            sleep(2 * MS).await;
            task.abort();
            assert!(task.await.expect_err("aborted").is_cancelled());
        });
        assert!(
            dropped.load(Ordering::SeqCst),
            "the future is dropped before the answer"
        );
        drop(runtime);
        let late = handle.spawn_on(1, corering_core);
        let answer = futures::executor::block_on(late);
        assert!(answer.expect_err("the runtime is gone").is_cancelled());
    });
}

async fn corering_core() -> usize {
    corering::core_id()
}

#[test]
fn run_gives_outputs_in_order() {
    Case::new("run_gives_outputs_in_order").run(|| {
        let mut runtime = runtime(3);
        let outputs = runtime.run(|core| async move {
            sleep(MS * (3 - core as u32)).await;
            (core, corering::core_id())
        });
        assert_eq!(outputs, [(0, 0), (1, 1), (2, 2)]);
    });
}

#[test]
fn shutdown_waits_and_reports() {
    Case::new("shutdown_waits_and_reports").run(|| {
        drop(runtime(1));
        let census = Census::take();
        // Those that listen for the end finish; nothing is abandoned.
        let mut clean = runtime(2);
        let finished = Arc::new(AtomicUsize::new(0));
        for core in 0..2 {
            for _ in 0..10 {
                let finished = finished.clone();
                clean.handle().spawn_on(core, || async move {
                    corering::stopping().await;
                    sleep(5 * MS).await;
                    finished.fetch_add(1, Ordering::SeqCst);
                });
            }
        }
        clean.block_on(sleep(MS));
        let begin = Instant::now();
        let report = clean.shutdown(Duration::from_secs(10));
        assert_eq!(report, ShutdownReport::default());
        assert!(report.is_clean() && begin.elapsed() < Duration::from_secs(5));
        assert_eq!(finished.load(Ordering::SeqCst), 20);
        // Those that do not are counted and dropped at the deadline.
        let mut stubborn = runtime(2);
        for core in 0..2 {
            for _ in 0..3 {
                drop(stubborn.handle().spawn_on(core, pending::<()>));
            }
        }
        stubborn.block_on(sleep(2 * MS));
        let begin = Instant::now();
        let report = stubborn.shutdown(50 * MS);
        assert_eq!(report.abandoned_tasks, 6, "{report:?}");
        assert_eq!(report.leaked_operations, 0);
        assert!(!report.is_clean() && begin.elapsed() >= 50 * MS);
        census.assert_same();
    });
}

#[test]
fn stop_from_a_foreign_thread() {
    Case::new("stop_from_a_foreign_thread").seconds(20).run(|| {
        let mut runtime = runtime(2);
        let handle = runtime.handle();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(20 * MS);
            handle.stop();
            handle.stop();
            assert!(handle.is_stopping());
        });
        let outputs = runtime.run(|core| async move {
            assert!(!corering::is_stopping());
            corering::stopping().await;
            corering::stopping().await;
            assert!(corering::is_stopping());
            core
        });
        assert_eq!(outputs, [0, 1]);
        thread.join().expect("no panic");
        // Stopping ends nothing by itself.
        assert_eq!(
            runtime
                .block_on(async { spawn(async { 1 }).await })
                .expect("joined"),
            1
        );
        let report = runtime.shutdown(MS);
        assert!(report.is_clean(), "{report:?}");
    });
}

/// A long-lived server has each of its connections wait for the end, too; they come and go.
#[test]
fn stopping_forgets_those_who_left() {
    Case::new("stopping_forgets_those_who_left")
        .seconds(60)
        .run(|| {
            let mut runtime = runtime(1);
            let round = |runtime: &mut Runtime| {
                runtime.block_on(async {
                    let mut set = JoinSet::new();
                    for _ in 0..2_000 {
                        set.spawn(async {
                            let room = [0u8; 4096];
                            let stop = std::pin::pin!(corering::stopping());
                            futures::future::select(stop, std::pin::pin!(yield_now())).await;
                            std::hint::black_box(&room);
                        });
                    }
                    while set.join_next().await.is_some() {}
                });
            };
            round(&mut runtime);
            let before = harness::memory_kib();
            (0..5).for_each(|_| round(&mut runtime));
            let grown = harness::memory_kib().saturating_sub(before);
            assert!(
                grown < 10 * 1024,
                "10,000 connections that are gone keep {grown} KiB"
            );
        });
}

#[test]
fn a_runtime_in_a_thread_local() {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    Case::new("a_runtime_in_a_thread_local")
        .seconds(20)
        .run(|| {
            drop(runtime(1));
            let census = Census::take();
            let thread = std::thread::spawn(|| {
                RUNTIME.with_borrow_mut(|slot| {
                    let runtime = slot.insert(runtime(2));
                    runtime.block_on(async {
                        spawn(pending::<()>());
                        spawn(sleep(Duration::from_secs(50)));
                        sleep(MS).await;
                    });
                });
            });
            thread.join().expect("the thread ends in peace");
            census.assert_same();
        });
}

#[test]
fn shutdown_inside_of_another_runtime() {
    Case::new("shutdown_inside_of_another_runtime")
        .seconds(20)
        .run(|| {
            let mut outer = runtime(1);
            let census = Census::take();
            let mut inner = runtime(2);
            inner.block_on(async {
                spawn(pending::<()>());
                spawn_on(1, pending::<()>);
                sleep(MS).await;
            });
            outer.block_on(async {
                // Either it works or it says that it cannot; in both cases nothing is left behind.
                let text = panic_of(|| inner.shutdown(5 * MS));
                println!("{text:?}");
                sleep(MS).await;
            });
            census.assert_same();
            harness::oracle::assert_threads(2);
        });
}

#[test]
fn outside_of_a_runtime_the_message_helps() {
    let texts = [
        panic_of(|| spawn(async {})),
        panic_of(Handle::current),
        panic_of(corering::core_id),
        panic_of(corering::is_stopping),
        panic_of(Metrics::current),
        panic_of(|| futures::executor::block_on(sleep(MS))),
    ];
    for text in texts {
        let text = text.expect("it must panic");
        assert!(text.contains("block_on"), "{text}");
    }
}

#[test]
fn a_runtime_stays_on_its_thread_and_a_handle_travels() {
    fn travels<T: Send + Sync + Clone + 'static>() {}
    travels::<Handle>();
    fn is_send<T: Send>() {}
    is_send::<corering::task::RemoteHandle<u8>>();
    is_send::<corering::JoinError>();
    is_send::<corering::BuildError>();
}

#[test]
fn metrics_come_back_to_rest() {
    Case::new("metrics_come_back_to_rest").run(|| {
        let mut runtime = runtime(1);
        runtime.block_on(async {
            let mut set = JoinSet::new();
            for i in 0..1_000 {
                set.spawn(async move { sleep(MS * (i % 5)).await });
            }
            while set.join_next().await.is_some() {}
            // Where a turn takes longer than the naps, the loop never sleeps in the kernel.
            corering::nop()
                .await
                .expect("an operation that does nothing");
        });
        let metrics = runtime.metrics();
        assert_eq!((metrics.tasks, metrics.timers), (0, 0));
        assert_eq!((metrics.in_flight, metrics.backlog), (0, 0));
        assert_eq!(
            (metrics.stale_completions, metrics.destructor_panics),
            (0, 0)
        );
        assert!(metrics.spawned >= 1_000 && metrics.enters > 0);
    });
}

/// Pinning is undone with the runtime.
#[test]
fn pinning_is_undone() {
    fn cpus() -> Vec<usize> {
        // SAFETY: an all-zero set is an empty one.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one set.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
        // SAFETY: the index is below the size of the set.
        (0..1024)
            .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
            .collect()
    }
    Case::new("pinning_is_undone").run(|| {
        let before = cpus();
        let mut runtime = Runtime::builder()
            .cores(2)
            .pin(true)
            .build()
            .expect("io_uring");
        let during = runtime.run(|_| async { cpus().len() });
        assert_eq!(during, [1, 1]);
        drop(runtime);
        assert_eq!(cpus(), before);
        let error = Runtime::builder().cpus([before[0], 5000]).cores(2).build();
        assert_eq!(
            error.expect_err("there is no such CPU").kind(),
            corering::BuildErrorKind::Thread
        );
        assert_eq!(cpus(), before, "also after a build that failed");
    });
}
