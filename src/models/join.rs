//! Handles across cores: each answer arrives once, whatever comes in between.

use super::*;
use loom::future::block_on;
use loom::thread;

/// A thread starts a task on the core and waits for it, in an executor of its own.
#[test]
fn an_answer_comes_back() {
    model(|| {
        let core = Core::new();
        let remote = core.executor.remote();
        let (end, ended) = End::of(&core);
        let thread = thread::spawn(move || {
            let held = tracked();
            let output = block_on(remote.spawn(move || async move { held }));
            drop(output.expect("the task has ended"));
            end.say();
        });
        core.run_until(ended.said());
        thread.join().unwrap();
    });
}

/// The task is aborted while it may be running, may have ended, or may not have begun.
#[test]
fn an_abort_is_answered() {
    model(|| {
        let core = Core::new();
        let remote = core.executor.remote();
        let (end, ended) = End::of(&core);
        let thread = thread::spawn(move || {
            let held = tracked();
            let handle = remote.spawn(move || async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            handle.abort();
            assert!(block_on(handle).expect_err("it never ends").is_cancelled());
            end.say();
        });
        core.run_until(ended.said());
        thread.join().unwrap();
    });
}

/// The handle is dropped while the answer may be on its way: the output is dropped by one of them.
#[test]
fn a_dropped_handle_drops_the_output() {
    model(|| {
        let core = Core::new();
        let handle = core.executor.remote().spawn(|| async { tracked() });
        let thread = thread::spawn(move || drop(handle));
        core.executor.run(&mut Budget::new(u32::MAX, 0, || 0));
        thread.join().unwrap();
    });
}

/// The core ends while a task is sent to it: the handle answers all the same.
#[test]
fn the_end_of_the_core_answers() {
    model(|| {
        let core = Core::new();
        let remote = core.executor.remote();
        let thread = thread::spawn(move || {
            let held = tracked();
            let handle = remote.spawn(move || async move { drop(held) });
            let _either = block_on(handle);
        });
        core.executor.run(&mut Budget::new(u32::MAX, 0, || 0));
        drop(core);
        thread.join().unwrap();
    });
}
