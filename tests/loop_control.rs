//! The control of a loop: calls, calls from other cores, stopping, running again, and what is
//! asked of a loop that is closed.
//!
//! One body, run by a runtime on real rings and by a host of the simulation, there under many
//! seeds: what the seeds may choose is who runs when, not the order that a loop promises.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::flow::{CallHandle, call_at, call_later, call_soon};
use corering::sync::local::oneshot;
use corering::task::{JoinError, RemoteHandle, yield_now};
use corering::time::{Instant, sleep};
use corering::{Handle, Runtime, core_id, is_stopping, spawn, spawn_on, stopping};
use futures::FutureExt;
use harness::{Case, Rng};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "sim")]
use corering::sim::{Host, Sim};

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);

/// What runs the loops of a body.
enum Loop<'a> {
    Real(&'a mut Option<Runtime>),
    #[cfg(feature = "sim")]
    Simulated(&'a mut Sim, Host),
}

impl Loop<'_> {
    fn block_on<F: Future + 'static>(&mut self, future: F) -> F::Output
    where
        F::Output: 'static,
    {
        match self {
            Loop::Real(runtime) => runtime.as_mut().expect("it is open").block_on(future),
            #[cfg(feature = "sim")]
            Loop::Simulated(sim, host) => sim.block_on(host, future),
        }
    }

    fn run_forever(&mut self) {
        match self {
            Loop::Real(runtime) => runtime.as_mut().expect("it is open").run_forever(),
            #[cfg(feature = "sim")]
            Loop::Simulated(sim, host) => sim.block_on(host, stopping()),
        }
    }

    fn close(&mut self) {
        match self {
            Loop::Real(runtime) => drop(runtime.take()),
            #[cfg(feature = "sim")]
            Loop::Simulated(sim, host) => sim.kill(host),
        }
    }

    fn handle(&mut self) -> Handle {
        self.block_on(async { Handle::current() })
    }
}

/// Runs a body on both, with so many cores.
fn twin(name: &'static str, cores: usize, body: fn(&mut Loop<'_>, Rng)) {
    Case::new(name).run(|| {
        let runtime = Runtime::builder().cores(cores).pin(false).build();
        let mut runtime = Some(runtime.expect("io_uring works here"));
        body(&mut Loop::Real(&mut runtime), Rng::new());
    });
    #[cfg(feature = "sim")]
    if !Case::is_child() {
        corering::sim::seeds(0..100, |sim: &mut Sim| {
            let host = sim.host("alone").cores(cores).boot(|_core| async {});
            let rng = Rng::from_seed(sim.random());
            body(&mut Loop::Simulated(sim, host), rng);
        });
    }
}

type Log<T> = Rc<RefCell<Vec<T>>>;

fn is_cancelled<T>(result: Option<Result<T, JoinError>>) -> bool {
    matches!(result, Some(Err(error)) if error.is_cancelled())
}

// ---------------------------------------------------------------------------------------------
// Calls

/// Calls that are due as soon as they can be run in the order of the asking, wherever they were
/// asked for; what a call asks for runs behind what was asked before; a cancelled one never runs.
fn soon(it: &mut Loop<'_>, mut rng: Rng) {
    let log: Log<u64> = Rc::default();
    let expected: Log<u64> = Rc::default();
    let (told, wanted) = (log.clone(), expected.clone());
    it.block_on(async move {
        let mut calls: Vec<(u64, CallHandle)> = Vec::new();
        for number in 0..50 {
            let (log, later) = (told.clone(), wanted.clone());
            let again = rng.once_in(4);
            let call = call_soon(move || {
                log.borrow_mut().push(number);
                if again {
                    let inner = log.clone();
                    call_soon(move || inner.borrow_mut().push(number + 100));
                    later.borrow_mut().push(number + 100);
                }
            });
            calls.push((number, call));
            if rng.once_in(8) {
                let (number, victim) = &calls[rng.below(calls.len() as u64) as usize];
                victim.cancel();
                assert!(victim.is_cancelled(), "{number} was not made yet");
            }
        }
        let kept = calls.iter().filter(|(_, call)| !call.is_cancelled());
        wanted
            .borrow_mut()
            .splice(0..0, kept.map(|(number, _)| *number));
        assert!(told.borrow().is_empty(), "no call is made on the spot");
        while calls.iter().any(|(_, call)| !call.is_finished()) {
            yield_now().await;
        }
        sleep(MS).await;
        let last = calls.last().expect("there are some");
        last.1.cancel();
        let done = told.borrow().contains(&last.0);
        assert_eq!(done, !last.1.is_cancelled(), "it is too late to cancel");
    });
    assert_eq!(*log.borrow(), *expected.borrow());
}

#[test]
fn calls_run_in_the_order_of_the_asking() {
    twin("calls_run_in_the_order_of_the_asking", 1, soon);
}

/// Calls with a time: none early, in the order of the times, equal ones in that of the asking.
fn timed(it: &mut Loop<'_>, mut rng: Rng) {
    it.block_on(async move {
        let log: Log<u64> = Rc::default();
        let begin = Instant::now();
        let mut expected = Vec::new();
        let mut calls = Vec::new();
        for number in 0..60 {
            let when = begin + rng.below(12) as u32 * MS;
            let log = log.clone();
            let call = call_at(when, move || {
                assert!(Instant::now() >= when, "{number} is early");
                log.borrow_mut().push(number);
            });
            assert_eq!(call.when(), Some(when));
            match rng.once_in(6) {
                true => call.cancel(),
                false => expected.push((when, number)),
            }
            calls.push(call);
        }
        let from = Instant::now();
        let last = call_later(20 * MS, || {});
        assert!(last.when().expect("it has one") >= from + 20 * MS);
        while !last.is_finished() {
            sleep(MS).await;
        }
        expected.sort();
        let expected: Vec<u64> = expected.into_iter().map(|(_, number)| number).collect();
        assert_eq!(*log.borrow(), expected);
        assert!(calls.iter().all(CallHandle::is_finished));
        assert!(call_soon(|| {}).when().is_none());
    });
}

#[test]
fn calls_with_a_time_run_in_the_order_of_the_times() {
    twin("calls_with_a_time_run_in_the_order_of_the_times", 1, timed);
}

// ---------------------------------------------------------------------------------------------
// From other cores

/// Calls of one core into another run there in their order, also while that sleeps.
fn threadsafe(it: &mut Loop<'_>, _rng: Rng) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let numbers = log.clone();
    let results = it.block_on(async move {
        let home = Handle::current();
        let there = spawn_on(1, move || async move {
            assert_eq!(core_id(), 1);
            sleep(5 * MS).await; // core 0 sleeps by now
            let calls: Vec<RemoteHandle<(u32, usize)>> = (0..20)
                .map(|number| {
                    let log = numbers.clone();
                    home.call_soon_threadsafe(move || {
                        log.lock().unwrap().push(number);
                        (number, core_id())
                    })
                })
                .collect();
            let mut results = Vec::new();
            for call in calls {
                results.push(call.await.expect("it was made"));
            }
            results
        });
        there.await.expect("no panic")
    });
    let expected: Vec<u32> = (0..20).collect();
    assert_eq!(*log.lock().unwrap(), expected);
    assert!(results.into_iter().eq(expected.into_iter().map(|n| (n, 0))));
}

#[test]
fn calls_from_another_core_run_in_their_order() {
    twin("calls_from_another_core_run_in_their_order", 2, threadsafe);
}

/// A coroutine that one core hands to another: its output comes back, it can be aborted, asked to
/// end and left alone, and its panic is whoever's who waits.
fn coroutines(it: &mut Loop<'_>, _rng: Rng) {
    it.block_on(async {
        let home = Handle::current();
        let there = spawn_on(1, move || async move {
            let answer = home.spawn(|| async {
                sleep(MS).await;
                (6 * 7, core_id())
            });
            assert_eq!(answer.await.unwrap(), (42, 0));
            let aborted = home.spawn(pending::<()>);
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_cancelled());
            let asked = home.spawn(|| async {
                corering::task::cancelled().await;
                sleep(MS).await;
                "in its own time"
            });
            asked.cancel();
            assert_eq!(asked.await.unwrap(), "in its own time");
            let panics = home.spawn(|| async { std::panic::resume_unwind(Box::new(7_u8)) });
            let error: Result<(), _> = panics.await;
            assert_eq!(
                *error.unwrap_err().into_panic().downcast::<u8>().unwrap(),
                7
            );
            // Dropping the handle leaves the task alone.
            let (told, hears) = corering::sync::oneshot();
            drop(home.spawn(|| async { told.send("detached").unwrap() }));
            assert_eq!(hears.await.unwrap(), "detached");
        });
        there.await.expect("all of that holds");
    });
}

#[test]
fn a_coroutine_goes_to_another_core_and_its_output_comes_back() {
    let name = "a_coroutine_goes_to_another_core_and_its_output_comes_back";
    twin(name, 2, coroutines);
}

// ---------------------------------------------------------------------------------------------
// Stopping, running again, closing

/// A loop runs until it is stopped from inside; its tasks live on, and go on at the next run.
fn stopped(it: &mut Loop<'_>, mut rng: Rng) {
    let steps = Rc::new(Cell::new(0));
    let counted = steps.clone();
    let way = rng.below(3);
    it.block_on(async move {
        assert!(!is_stopping());
        drop(spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                sleep(MS).await;
            }
        }));
        let handle = Handle::current();
        match way {
            0 => drop(call_later(5 * MS, move || handle.stop())),
            1 => drop(spawn(async move {
                sleep(5 * MS).await;
                handle.stop();
                // Stopping ends nothing by itself: this task goes on, too.
                pending::<()>().await
            })),
            _ => drop(spawn_on(1, || async {
                sleep(5 * MS).await;
                Handle::current().stop();
            })),
        }
    });
    it.run_forever();
    let handle = it.handle();
    assert!(handle.is_stopping() && !handle.is_closed());
    // A stopped loop stays so, and can be run all the same.
    let before = steps.get();
    it.run_forever();
    it.block_on(async { sleep(10 * MS).await });
    assert!(steps.get() > before, "the task goes on");
    // Every core has been told.
    it.block_on(async { spawn_on(1, stopping).await.expect("no panic") });
    assert!(it.block_on(async { is_stopping() }));
}

#[test]
fn a_loop_runs_until_it_is_stopped_from_inside() {
    twin("a_loop_runs_until_it_is_stopped_from_inside", 2, stopped);
}

/// What one run leaves, tasks, calls and values, is there in the next.
fn repeated(it: &mut Loop<'_>, _rng: Rng) {
    let log: Log<u32> = Rc::default();
    let (tell, hear) = oneshot::channel::<u32>();
    let asked = log.clone();
    let call = it.block_on(async move {
        let late = asked.clone();
        drop(spawn(async move {
            if let Ok(value) = hear.await {
                asked.borrow_mut().push(value);
            }
        }));
        call_later(10 * MS, move || late.borrow_mut().push(2))
    });
    for round in 0..20 {
        assert_eq!(it.block_on(async move { round }), round);
    }
    assert!(!log.borrow().contains(&1), "its task still waits");
    it.block_on(async move {
        tell.send(1).expect("the task of the first run waits");
        sleep(MS).await;
    });
    assert!(log.borrow().contains(&1));
    it.block_on(async move {
        while !call.is_finished() {
            sleep(MS).await;
        }
    });
    log.borrow_mut().sort();
    assert_eq!(*log.borrow(), [1, 2]);
}

#[test]
fn a_loop_runs_again_and_again() {
    twin("a_loop_runs_again_and_again", 1, repeated);
}

/// What waits in a loop that is closed is cancelled, and so is what is asked of it afterwards.
fn closed(it: &mut Loop<'_>, _rng: Rng) {
    let log: Log<&str> = Rc::default();
    let (soon, later) = (log.clone(), log.clone());
    let handle = it.handle();
    let (pending_task, calls) = it.block_on(async move {
        let task = Handle::current().spawn(pending::<()>);
        sleep(MS).await;
        let calls = [
            call_soon(move || soon.borrow_mut().push("soon")),
            call_later(1_000 * MS, move || later.borrow_mut().push("later")),
        ];
        calls[0].cancel();
        (task, calls)
    });
    assert!(!handle.is_closed());
    it.close();
    assert!(handle.is_closed());
    assert!(log.borrow().is_empty(), "closing makes no calls");
    assert_eq!(Rc::strong_count(&log), 1, "their closures are dropped");
    assert!(calls.iter().all(CallHandle::is_finished));
    calls[1].cancel();
    assert!(!calls[1].is_cancelled(), "there is nothing to cancel");
    assert!(is_cancelled(pending_task.now_or_never()));
    let never = handle.call_soon_threadsafe(|| unreachable!("the loop is closed"));
    assert!(is_cancelled::<()>(never.now_or_never()));
    assert!(is_cancelled(handle.spawn(|| async { 1 }).now_or_never()));
    handle.stop();
    assert!(handle.is_stopping() && Handle::try_current().is_none());
}

#[test]
fn what_is_asked_of_a_closed_loop_is_cancelled() {
    twin("what_is_asked_of_a_closed_loop_is_cancelled", 1, closed);
}

/// What runs is the thread's current loop, and nothing is afterwards.
fn current(it: &mut Loop<'_>, _rng: Rng) {
    assert!(Handle::try_current().is_none());
    let cores = it.block_on(async {
        assert!(Handle::try_current().is_some());
        let other = spawn_on(1, || async { core_id() }).await.unwrap();
        (Handle::current().cores(), core_id(), other)
    });
    assert_eq!(cores, (2, 0, 1));
    assert!(Handle::try_current().is_none());
}

#[test]
fn a_loop_is_current_while_it_runs() {
    twin("a_loop_is_current_while_it_runs", 2, current);
}
