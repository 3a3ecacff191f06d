//! Aborting in every state, and the end of an executor.

use super::*;
use crate::task::{JoinHandle, spawn, yield_now};

fn cancelled<T: std::fmt::Debug>(task: JoinHandle<T>) {
    let id = task.id();
    let error = ready(task).unwrap_err();
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.id(), id);
    assert_eq!(error.to_string(), format!("task {id} was cancelled"));
}

#[test]
fn never_polled() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    let task = executor.spawn(probe);
    task.abort();
    assert!(!task.is_finished());
    run(&executor);
    assert_eq!((counts.polls.get(), counts.drops.get()), (0, 1));
    cancelled(task);
}

#[test]
fn waiting() {
    for entered in [false, true] {
        let executor = executor();
        let (probe, counts) = Probe::new();
        let task = executor.spawn(probe);
        run(&executor);
        let guard = entered.then(|| executor.enter());
        let abort = task.abort_handle();
        abort.clone().abort();
        abort.abort();
        drop(guard);
        run(&executor);
        assert_eq!((counts.polls.get(), counts.drops.get()), (1, 1));
        assert!(abort.is_finished());
        cancelled(task);
        abort.abort();
    }
}

#[test]
fn queued() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    let task = executor.spawn(probe);
    run(&executor);
    let guard = executor.enter();
    counts.waker().wake();
    task.abort();
    drop(guard);
    run(&executor);
    assert_eq!((counts.polls.get(), counts.drops.get()), (1, 1));
    cancelled(task);
}

#[test]
fn finished() {
    let executor = executor();
    let task = executor.spawn(async { 5 });
    run(&executor);
    task.abort();
    run(&executor);
    assert_eq!(ready(task).unwrap(), 5);
}

#[test]
fn itself() {
    let executor = executor();
    let abort = Rc::<RefCell<Option<crate::task::AbortHandle>>>::default();
    let reached = Rc::new(Cell::new(0));
    let task = executor.spawn({
        let (abort, reached) = (abort.clone(), reached.clone());
        async move {
            abort.borrow().as_ref().unwrap().abort();
            reached.set(1);
            yield_now().await;
            reached.set(2);
        }
    });
    *abort.borrow_mut() = Some(task.abort_handle());
    run(&executor);
    assert_eq!(reached.get(), 1);
    cancelled(task);
}

#[test]
fn itself_and_then_ready() {
    let executor = executor();
    let abort = Rc::<RefCell<Option<crate::task::AbortHandle>>>::default();
    let task = executor.spawn({
        let abort = abort.clone();
        async move {
            abort.borrow().as_ref().unwrap().abort();
            8
        }
    });
    *abort.borrow_mut() = Some(task.abort_handle());
    run(&executor);
    assert_eq!(ready(task).unwrap(), 8);
}

#[test]
fn a_task_owns_its_own_handle() {
    let executor = executor();
    let own = Rc::<RefCell<Option<JoinHandle<OnDrop<fn()>>>>>::default();
    let task = executor.spawn({
        let own = own.clone();
        async move {
            yield_now().await;
            let handle = own.borrow_mut().take();
            drop(handle);
            OnDrop::<fn()>(|| {})
        }
    });
    *own.borrow_mut() = Some(task);
    run(&executor);
    assert_eq!(executor.live(), 0);
    // And one whose future drops the handle as it is dropped.
    let own = Rc::<RefCell<Option<JoinHandle<()>>>>::default();
    let inner = own.clone();
    let guard = OnDrop(move || drop(inner.borrow_mut().take()));
    *own.borrow_mut() = Some(executor.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    }));
    run(&executor);
    own.borrow().as_ref().unwrap().abort();
    run(&executor);
    assert!(own.borrow().is_none());
}

#[test]
fn all_of_them() {
    let executor = executor();
    let probes: Vec<_> = (0..100).map(|_| Probe::new()).collect();
    let counts: Vec<_> = probes.iter().map(|(_, counts)| counts.clone()).collect();
    let tasks: Vec<_> = probes
        .into_iter()
        .map(|(probe, _)| executor.spawn(probe))
        .collect();
    executor.run(&mut Budget::new(50, 0, || 0));
    assert_eq!(executor.abort_all(), 100);
    assert_eq!(executor.live(), 0);
    assert!(counts.iter().all(|counts| counts.drops.get() == 1));
    assert!(!executor.has_ready());
    tasks.into_iter().for_each(cancelled);
    assert_eq!(executor.abort_all(), 0);
}

#[test]
fn destructors_spawn_during_abort_all() {
    let executor = executor();
    let dropped = Rc::new(Cell::new(0));
    fn chain(left: u32, dropped: Rc<Cell<u32>>) -> impl Future<Output = ()> + 'static {
        let guard = OnDrop(move || {
            dropped.set(dropped.get() + 1);
            if left > 0 {
                let boxed: Pin<Box<dyn Future<Output = ()>>> =
                    Box::pin(chain(left - 1, dropped.clone()));
                drop(spawn(boxed));
            }
        });
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }
    }
    drop(executor.spawn(chain(9, dropped.clone())));
    run(&executor);
    assert_eq!(executor.abort_all(), 10);
    assert_eq!(dropped.get(), 10);
    // And the same when the executor just goes.
    drop(executor.spawn(chain(9, dropped.clone())));
    drop(executor);
    assert_eq!(dropped.get(), 20);
}

#[test]
fn a_destructor_that_always_spawns_ends_too() {
    struct Hydra(Rc<Cell<u64>>);
    impl Future for Hydra {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
    impl Drop for Hydra {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if self.0.get() < 200_000 {
                drop(spawn(Hydra(self.0.clone())));
            }
        }
    }
    let executor = executor();
    let heads = Rc::new(Cell::new(0));
    drop(executor.spawn(Hydra(heads.clone())));
    assert_eq!(executor.abort_all(), 65_537);
    assert_eq!(executor.live(), 1);
    while executor.live() > 0 {
        executor.abort_all();
    }
    assert_eq!(heads.get(), 200_000);
}

#[test]
fn a_task_aborts_all() {
    let executor = executor();
    let inner = executor.clone();
    let (probe, counts) = Probe::new();
    let other = executor.spawn(probe);
    let task = executor.spawn(async move {
        let dropped = inner.abort_all();
        drop(inner);
        assert_eq!(dropped, 1);
        yield_now().await;
    });
    run(&executor);
    assert_eq!(counts.drops.get(), 1);
    cancelled(other);
    cancelled(task);
}

#[test]
fn destructors_of_aborted_tasks_join_and_wake_others() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    let waiting = executor.spawn(probe);
    run(&executor);
    let waker = counts.waker();
    let abort = waiting.abort_handle();
    let guard = OnDrop(move || {
        waker.wake_by_ref();
        abort.abort();
    });
    let task = executor.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    run(&executor);
    task.abort();
    run(&executor);
    cancelled(task);
    cancelled(waiting);
    assert_eq!(counts.drops.get(), 1);
}

#[test]
fn a_destructor_cannot_make_a_turn() {
    let executor = executor();
    let inner = executor.clone();
    let guard = OnDrop(move || {
        inner.run(&mut unlimited());
    });
    let task = executor.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    assert_eq!(executor.abort_all(), 1);
    assert!(ready(task).unwrap_err().is_panic());
    run(&executor);
}
