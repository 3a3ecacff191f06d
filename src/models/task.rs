//! References of tasks: the memory goes exactly once, whoever is last, and late wakes do nothing.

use super::*;
use crate::task::spawn;
use loom::thread;

/// A task that waits at a gate and holds a tracked value, and a waker of it.
fn waiting_task() -> (crate::task::JoinHandle<()>, Rc<GateState>) {
    let (gate, state) = Gate::new();
    let held = tracked();
    let task = spawn(async move {
        gate.await;
        drop(held);
    });
    (task, state)
}

/// Another thread wakes and clones while the task ends by itself.
#[test]
fn a_task_ends_while_it_is_woken() {
    model(|| {
        let core = Core::new();
        core.run_until(async {
            let (task, gate) = waiting_task();
            crate::task::yield_now().await;
            let waker = gate.waker.take().expect("the task was polled");
            let other = waker.clone();
            let thread = thread::spawn(move || {
                other.wake_by_ref();
                drop(other.clone());
            });
            gate.open.set(true);
            waker.wake();
            task.await.expect("it ends");
            thread.join().unwrap();
        });
    });
}

/// Two threads hold the last references of a task that has ended, and the core may be gone.
#[test]
fn wakers_outlive_the_core() {
    model(|| {
        let core = Core::new();
        let (first, second) = core.run_until(async {
            let (task, gate) = waiting_task();
            crate::task::yield_now().await;
            drop(task);
            let waker = gate.waker.take().expect("the task was polled");
            (waker.clone(), waker)
        });
        let threads = [first, second].map(|waker| thread::spawn(move || waker.wake()));
        drop(core);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

/// A waker is dropped elsewhere while the core drops its own reference, and frees or does not.
#[test]
fn the_last_reference_frees() {
    model(|| {
        let core = Core::new();
        core.run_until(async {
            let (task, gate) = waiting_task();
            crate::task::yield_now().await;
            let waker = gate.waker.take().expect("the task was polled");
            let thread = thread::spawn(move || drop(waker));
            task.abort();
            assert!(task.await.is_err());
            thread.join().unwrap();
        });
    });
}
