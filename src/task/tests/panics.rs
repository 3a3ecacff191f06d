//! Panics reach the handle and nothing else, whoever's they are.

use super::*;
use std::io;
use std::panic::{panic_any, resume_unwind};

/// Panics when it is dropped, without a message on the terminal.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new("bomb"));
    }
}

fn still_works(executor: &Executor) {
    let task = executor.spawn(async { 1 });
    run(executor);
    assert_eq!(ready(task).unwrap(), 1);
    assert_eq!(executor.live(), 0);
}

#[test]
fn in_poll() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    let task = executor.spawn(async move {
        let _probe = probe;
        panic!("number {}", 7);
    });
    drop(executor.spawn(async { resume_unwind(Box::new(())) }));
    run(&executor);
    assert_eq!(counts.drops.get(), 1);
    let id = task.id();
    let error: crate::task::JoinError = ready::<crate::task::JoinHandle<()>>(task).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.to_string(), format!("task {id} panicked: number 7"));
    let error = io::Error::from(error);
    assert!(error.to_string().ends_with("number 7"));
    assert_eq!(executor.stats().panics, 2);
    still_works(&executor);
}

#[test]
fn payloads_come_back() {
    let executor = executor();
    let number = executor.spawn(async { panic_any(7_u8) });
    let text = executor.spawn(async { resume_unwind(Box::new("text")) });
    let aborted = executor.spawn(std::future::pending::<()>());
    aborted.abort();
    run(&executor);
    let error = ready::<crate::task::JoinHandle<()>>(number).unwrap_err();
    assert!(error.to_string().ends_with("panicked"));
    assert_eq!(*error.into_panic().downcast::<u8>().unwrap(), 7);
    let error = ready::<crate::task::JoinHandle<()>>(text).unwrap_err();
    assert!(error.to_string().ends_with("panicked: text"));
    assert!(error.try_into_panic().is_ok());
    assert!(
        ready(aborted)
            .unwrap_err()
            .try_into_panic()
            .unwrap_err()
            .is_cancelled()
    );
}

#[test]
fn in_the_futures_destructor() {
    let executor = executor();
    // After an output, after a panic, and on abort.
    struct Ends(Bomb);
    impl Future for Ends {
        type Output = Bomb;
        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Bomb> {
            let _here = &self.0;
            Poll::Ready(Bomb)
        }
    }
    let ended = executor.spawn(Ends(Bomb));
    let bomb = Bomb;
    let pending = executor.spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    });
    run(&executor);
    pending.abort();
    run(&executor);
    assert!(ready(ended).err().unwrap().is_panic());
    assert!(ready(pending).unwrap_err().is_panic());
    let bomb = Bomb;
    let dropped = executor.spawn(async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    });
    assert_eq!(executor.abort_all(), 1);
    assert!(ready(dropped).unwrap_err().is_panic());
    assert_eq!(executor.stats().panics, 3);
    still_works(&executor);
    drop(executor.spawn(Ends(Bomb)));
    drop(executor);
}

#[test]
fn in_the_outputs_destructor() {
    let executor = executor();
    drop(executor.spawn(async { Bomb }));
    run(&executor);
    let task = executor.spawn(async { Bomb });
    run(&executor);
    drop(task);
    assert_eq!(executor.stats().panics, 0);
    still_works(&executor);
}

#[test]
fn in_the_payloads_destructor() {
    let executor = executor();
    struct Chain(u32);
    impl Drop for Chain {
        fn drop(&mut self) {
            if self.0 > 0 {
                resume_unwind(Box::new(Chain(self.0 - 1)));
            }
        }
    }
    drop(executor.spawn(async { resume_unwind(Box::new(Chain(1))) }));
    let held = executor.spawn(async { resume_unwind(Box::new(Chain(1))) });
    run(&executor);
    drop::<crate::task::JoinHandle<()>>(held);
    still_works(&executor);
}

#[test]
fn in_the_joiners_waker() {
    struct Rude;
    impl std::task::Wake for Rude {
        fn wake(self: Arc<Self>) {
            resume_unwind(Box::new("rude"));
        }
    }
    let executor = executor();
    let mut task = executor.spawn(async { 3 });
    let waker = Waker::from(Arc::new(Rude));
    assert!(
        Pin::new(&mut task)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    run(&executor);
    assert_eq!(ready(task).unwrap(), 3);
    still_works(&executor);
}
