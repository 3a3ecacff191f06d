//! The channel for one value.

use super::*;
use crate::sync::oneshot;
use crate::sync::oneshot::{RecvError, TryRecvError};
use futures::executor::block_on;
use std::thread;

#[test]
fn sent_before_and_after_the_wait() {
    let (sender, receiver) = oneshot();
    sender.send(1).unwrap();
    assert_eq!(block_on(receiver), Ok(1));
    let (sender, receiver) = oneshot();
    let mut waiter = Waiter::new(receiver);
    assert!(waiter.poll().is_pending());
    sender.send(2).unwrap();
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Ok(2)));
}

#[test]
fn nobody_sends() {
    let (sender, receiver) = oneshot::<u8>();
    let mut waiter = Waiter::new(receiver);
    assert!(waiter.poll().is_pending());
    drop(sender);
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Err(RecvError)));
}

#[test]
fn nobody_receives() {
    let (mut sender, receiver) = oneshot();
    {
        let mut waiter = Waiter::new(sender.closed());
        assert!(waiter.poll().is_pending());
        drop(receiver);
        assert!(waiter.woken());
        assert!(waiter.poll().is_ready());
    }
    assert!(sender.is_closed());
    assert_eq!(sender.send(5), Err(5));
}

#[test]
fn closed_with_a_value_inside() {
    let (sender, mut receiver) = oneshot();
    sender.send(1).unwrap();
    receiver.close();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    let (sender, mut receiver) = oneshot();
    receiver.close();
    assert_eq!(sender.send(1), Err(1));
    assert_eq!(block_on(receiver), Err(RecvError));
    let value = Arc::new(());
    let (sender, receiver) = oneshot();
    sender.send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
#[should_panic(expected = "after it gave the value")]
fn a_second_await_is_a_clear_panic() {
    let (sender, mut receiver) = oneshot();
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    let _ = block_on(receiver);
}

#[test]
fn many_threads() {
    for n in 0..2_000 {
        let (sender, receiver) = oneshot();
        let thread = thread::spawn(move || sender.send(n));
        if n % 3 == 0 {
            drop(receiver);
            let _ = thread.join().unwrap();
        } else {
            assert_eq!(block_on(receiver), Ok(n));
            thread.join().unwrap().unwrap();
        }
    }
}
