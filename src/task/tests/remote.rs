//! Tasks sent to a core by other threads.

use super::*;
use crate::task::{RemoteHandle, current_id, yield_now};
use futures::executor::block_on;
use std::thread;

#[test]
fn it_travels() {
    fn check<T: Send>(_: &T) {}
    fn share<T: Send + Sync + Clone>(_: &T) {}
    let executor = executor();
    share(&executor.remote());
    let handle = executor.remote().spawn(|| async { 1 });
    check(&handle);
    drop(handle);
    let sent = crate::task::JoinError::cancelled(crate::task::Id::unique());
    fn error<T: Send + Sync + std::error::Error>(_: &T) {}
    error(&sent);
}

#[test]
fn joined_from_another_thread() {
    let (executor, bell) = executor_and_bell();
    let remote = executor.remote();
    let owner = thread::current().id();
    let done = Arc::new(AtomicUsize::new(0));
    let thread = {
        let done = done.clone();
        thread::spawn(move || {
            for n in 0..100 {
                let handle = remote.spawn(move || {
                    let local = Rc::new(n);
                    async move {
                        yield_now().await;
                        (*local, thread::current().id(), current_id())
                    }
                });
                let id = handle.id();
                assert_eq!(block_on(handle).unwrap(), (n, owner, Some(id)));
            }
            done.store(1, Ordering::SeqCst);
        })
    };
    while done.load(Ordering::SeqCst) == 0 {
        executor.run(&mut unlimited());
        thread::yield_now();
    }
    thread.join().unwrap();
    assert!(bell.0.load(Ordering::SeqCst) >= 100);
    assert_eq!(executor.stats().spawned, 100);
}

#[test]
fn aborted_at_any_time() {
    let executor = executor();
    let (sender, receiver) = std::sync::mpsc::channel();
    let start = || {
        let sender = sender.clone();
        executor.remote().spawn(move || async move {
            let _guard = OnDrop(move || sender.send(()).unwrap());
            std::future::pending::<()>().await;
        })
    };
    let before = start();
    before.abort();
    run(&executor);
    assert!(receiver.try_recv().is_err(), "the future was never made");
    assert!(ready(before).unwrap_err().is_cancelled());
    let waiting = start();
    run(&executor);
    assert!(!waiting.is_finished());
    thread::scope(|scope| scope.spawn(|| waiting.abort()).join().unwrap());
    run(&executor);
    receiver.try_recv().unwrap();
    assert!(waiting.is_finished());
    assert!(ready(waiting).unwrap_err().is_cancelled());
    let finished = executor.remote().spawn(|| async { 4 });
    run(&executor);
    finished.abort();
    assert_eq!(ready(finished).unwrap(), 4);
    assert_eq!(executor.live(), 0);
}

#[test]
fn the_core_goes() {
    let executor = executor();
    let remote = executor.remote();
    let started = remote.spawn(std::future::pending::<()>);
    run(&executor);
    let queued = remote.spawn(|| async { 1 });
    assert!(!remote.is_closed());
    drop(executor);
    assert!(remote.is_closed());
    assert!(ready(started).unwrap_err().is_cancelled());
    assert!(ready(queued).unwrap_err().is_cancelled());
    assert!(
        ready(remote.spawn(|| async { 1 }))
            .unwrap_err()
            .is_cancelled()
    );
}

#[test]
fn the_core_goes_while_threads_spawn() {
    for _ in 0..if cfg!(miri) { 2 } else { 200 } {
        let executor = executor();
        let remote = executor.remote();
        let thread = thread::spawn(move || {
            let handles: Vec<RemoteHandle<u32>> = (0..50)
                .map(|n| remote.spawn(move || async move { n }))
                .collect();
            handles
                .into_iter()
                .filter(|_| true)
                .map(block_on)
                .filter(Result::is_ok)
                .count()
        });
        executor.run(&mut unlimited());
        let spawned = executor.stats().spawned as usize;
        drop(executor);
        assert_eq!(thread.join().unwrap(), spawned);
    }
}

#[test]
fn panics_travel() {
    let executor = executor();
    let remote = executor.remote();
    let polled = remote.spawn(|| async { panic!("far away") });
    let made = remote.spawn(|| -> std::future::Ready<()> { panic!("not even made") });
    let dropped = remote.spawn(|| async {
        let guard = OnDrop(|| panic!("in the end"));
        std::future::poll_fn(|_| Poll::Ready(())).await;
        drop(guard);
    });
    run(&executor);
    assert!(
        ready::<RemoteHandle<()>>(polled)
            .unwrap_err()
            .to_string()
            .ends_with("far away")
    );
    assert!(
        ready(made)
            .unwrap_err()
            .to_string()
            .ends_with("not even made")
    );
    assert!(
        ready(dropped)
            .unwrap_err()
            .to_string()
            .ends_with("in the end")
    );
    assert_eq!(executor.stats().panics, 3);
}

#[test]
fn an_output_without_taker_is_dropped_on_its_core() {
    let executor = executor();
    let (sender, receiver) = std::sync::mpsc::channel();
    let output = move || OnDrop(move || sender.send(thread::current().id()).unwrap());
    let handle = executor.remote().spawn(move || async move { output() });
    thread::spawn(move || drop(handle)).join().unwrap();
    run(&executor);
    assert_eq!(receiver.recv().unwrap(), thread::current().id());
    let handle = executor.remote().spawn(|| async { 1 });
    run(&executor);
    drop(handle);
}

#[test]
#[should_panic(expected = "a RemoteHandle was polled after it gave the task's output")]
fn a_second_join_is_a_clear_panic() {
    let executor = executor();
    let mut handle = executor.remote().spawn(|| async { 1 });
    run(&executor);
    assert!(poll_once(&mut handle).is_ready());
    let _ = poll_once(&mut handle);
}
