//! Joining, detaching, and who drops the output.

use super::*;
use crate::task::JoinHandle;

#[test]
fn the_joiner_is_woken_after_the_drop() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    let task = executor.spawn(probe);
    let inner = counts.clone();
    let joined = executor.spawn(async move {
        let output = task.await.unwrap();
        assert_eq!(
            inner.drops.get(),
            1,
            "the future is dropped before the join"
        );
        output
    });
    run(&executor);
    counts.open.set(true);
    counts.waker().wake();
    run(&executor);
    assert_eq!(ready(joined).unwrap(), 2);
}

#[test]
fn the_last_waker_is_the_one_that_is_woken() {
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let executor = executor();
    let (probe, counts) = Probe::new();
    let mut task = executor.spawn(probe);
    let wakers = [
        Arc::new(Count(AtomicUsize::new(0))),
        Arc::new(Count(AtomicUsize::new(0))),
    ];
    for n in [0, 0, 1, 1] {
        let waker = Waker::from(wakers[n].clone());
        assert!(
            Pin::new(&mut task)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    counts.open.set(true);
    run(&executor);
    assert_eq!(wakers[0].0.load(Ordering::SeqCst), 0);
    assert_eq!(wakers[1].0.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&wakers[1]), 1, "no waker is kept");
    assert_eq!(ready(task).unwrap(), 1);
}

#[test]
fn outputs_are_dropped_once() {
    let executor = executor();
    let drops = Rc::new(Cell::new(0));
    let output = || {
        let drops = drops.clone();
        OnDrop(move || drops.set(drops.get() + 1))
    };
    let count = |expected| assert_eq!(drops.replace(0), expected);
    // Detached before the end.
    let value = output();
    drop(executor.spawn(async move { value }));
    run(&executor);
    count(1);
    // Detached after the end.
    let value = output();
    let task = executor.spawn(async move { value });
    run(&executor);
    count(0);
    drop(task);
    count(1);
    // Taken.
    let value = output();
    let task = executor.spawn(async move { value });
    run(&executor);
    let value = ready(task).unwrap();
    count(0);
    drop(value);
    count(1);
    // Ended after the executor went: never.
    let value = output();
    let task = executor.spawn(async move {
        std::future::pending::<()>().await;
        value
    });
    drop(executor);
    count(1);
    assert!(ready(task).is_err());
}

#[test]
fn a_handle_outlives_its_executor_with_the_output() {
    let executor = executor();
    let task = executor.spawn(async { String::from("kept") });
    let unread = executor.spawn(async { String::from("dropped") });
    run(&executor);
    drop(executor);
    assert_eq!(ready(task).unwrap(), "kept");
    drop(unread);
}

#[test]
#[should_panic(expected = "a JoinHandle was polled after it gave the task's output")]
fn a_second_join_is_a_clear_panic() {
    let executor = executor();
    let mut task = executor.spawn(async {});
    run(&executor);
    assert!(poll_once(&mut task).is_ready());
    let _ = poll_once(&mut task);
}

#[test]
fn tasks_join_in_a_ring() {
    // Each task owns the handle of the next; the last owns the first's: a cycle of tasks.
    let executor = executor();
    let slot = Rc::<RefCell<Option<JoinHandle<()>>>>::default();
    let inner = slot.clone();
    let a = executor.spawn(async move {
        crate::task::yield_now().await;
        let other = inner.borrow_mut().take();
        drop(other.unwrap().await);
    });
    let b = executor.spawn(async move { drop(a.await) });
    *slot.borrow_mut() = Some(b);
    run(&executor);
    assert_eq!(executor.live(), 2);
    drop(executor);
    assert!(slot.borrow().is_none());
}
