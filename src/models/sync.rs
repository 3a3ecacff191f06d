//! Channels between cores: what is sent arrives once, and whoever waits is woken.

use super::tracked;
use crate::sync::{Receiver, Sender, channel, oneshot};
use futures::FutureExt;
use loom::future::block_on;
use loom::thread;

/// Two senders wait for the one slot.
#[test]
fn values_of_two_senders_arrive() {
    super::model(|| {
        let (sender, mut receiver) = channel(1);
        let threads = [1, 2].map(|value| {
            let sender = sender.clone();
            thread::spawn(move || block_on(sender.send((value, tracked()))).unwrap())
        });
        drop(sender);
        let sum = block_on(async {
            let mut sum = 0;
            while let Some((value, _held)) = receiver.recv().await {
                sum += value;
            }
            sum
        });
        assert_eq!(sum, 3);
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

/// A sender gives up while it may have been granted the slot: whoever is behind it gets it.
#[test]
fn a_cancelled_sender_passes_the_slot_on() {
    super::model(|| {
        let (sender, mut receiver) = channel(1);
        sender.try_send(1).unwrap();
        let first = sender.clone();
        let first = thread::spawn(move || first.send(2).now_or_never().is_some());
        let second = thread::spawn(move || block_on(sender.send(3)).unwrap());
        let mut values = block_on(async {
            let mut values = Vec::new();
            while let Some(value) = receiver.recv().await {
                values.push(value);
            }
            values
        });
        values.sort_unstable();
        let expected: &[i32] = match first.join().unwrap() {
            true => &[1, 2, 3],
            false => &[1, 3],
        };
        assert_eq!(values, expected);
        second.join().unwrap();
    });
}

/// A channel of two that is full: the receiver has taken 2 out of the queue, 3 is queued.
fn full_with_one_taken() -> (Sender<i32>, Receiver<i32>) {
    let (sender, mut receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));
    sender.try_send(3).unwrap();
    (sender, receiver)
}

/// The last value that was taken is returned while a sender finds no room and goes to sleep.
#[test]
fn a_taken_value_that_is_returned_wakes_a_sender() {
    super::model(|| {
        let (sender, mut receiver) = full_with_one_taken();
        let thread = thread::spawn(move || block_on(sender.send(4)).unwrap());
        assert_eq!(receiver.try_recv(), Ok(2));
        // Nothing more is received until the sender has come through.
        thread.join().unwrap();
        assert_eq!(receiver.len(), 2);
        assert_eq!(receiver.try_recv(), Ok(3));
        assert_eq!(receiver.try_recv(), Ok(4));
    });
}

/// The same while a third one wants the slot: whoever gets it, no slot is lost or made up.
#[test]
fn a_taken_value_that_is_returned_makes_room_for_one() {
    super::model(|| {
        let (sender, mut receiver) = full_with_one_taken();
        let (second, third) = (sender.clone(), sender.clone());
        let second = thread::spawn(move || block_on(second.send(4)).unwrap());
        let third = thread::spawn(move || third.try_send(5).is_ok());
        assert_eq!(receiver.try_recv(), Ok(2));
        let mut sum = block_on(receiver.recv()).unwrap();
        second.join().unwrap();
        let expected = 3 + 4 + if third.join().unwrap() { 5 } else { 0 };
        while let Ok(value) = receiver.try_recv() {
            sum += value;
        }
        assert_eq!((sum, sender.capacity()), (expected, 2));
    });
}

/// The sender gives up while the slot is granted to it: it is free again at once.
#[test]
fn a_sender_gives_up_while_a_taken_value_is_returned() {
    super::model(|| {
        let (sender, mut receiver) = full_with_one_taken();
        let other = sender.clone();
        let thread = thread::spawn(move || other.send(4).now_or_never().is_some());
        assert_eq!(receiver.try_recv(), Ok(2));
        let sent = thread.join().unwrap();
        assert_eq!(sender.try_send(5).is_ok(), !sent);
        assert_eq!(receiver.len(), 2);
        let last = if sent { 4 } else { 5 };
        assert_eq!(
            (receiver.try_recv(), receiver.try_recv()),
            (Ok(3), Ok(last))
        );
        assert_eq!(sender.capacity(), 2);
    });
}

/// The receiver goes while a sender may be waiting: it gets its value back, or it was dropped.
#[test]
fn a_receiver_that_goes_wakes_the_senders() {
    super::model(|| {
        let (sender, receiver) = channel(1);
        sender.try_send(tracked()).unwrap();
        let thread = thread::spawn(move || block_on(sender.send(tracked())).is_ok());
        drop(receiver);
        assert!(
            !thread.join().unwrap(),
            "the channel was full until it was closed"
        );
    });
}

#[test]
fn a_oneshot_arrives_or_comes_back() {
    super::model(|| {
        let (sender, receiver) = oneshot();
        let thread = thread::spawn(move || sender.send(tracked()).is_ok());
        let received = block_on(receiver).is_ok();
        assert_eq!(thread.join().unwrap(), received);
    });
}

#[test]
fn a_oneshot_whose_sender_goes_says_so() {
    super::model(|| {
        let (sender, receiver) = oneshot::<()>();
        let thread = thread::spawn(move || drop(sender));
        assert!(block_on(receiver).is_err());
        thread.join().unwrap();
    });
}

/// The sender waits for the close and sends, while the receiver takes or goes: nothing is lost.
#[test]
fn a_oneshot_that_is_closed_wakes_its_sender() {
    super::model(|| {
        let (mut sender, mut receiver) = oneshot();
        let thread = thread::spawn(move || {
            block_on(sender.closed());
            assert!(sender.send(tracked()).is_err());
        });
        receiver.close();
        assert!(block_on(receiver).is_err());
        thread.join().unwrap();
    });
}

/// A permit is used or given up while the receiver closes and takes what is left.
#[test]
fn a_permit_is_used_or_given_up_while_the_channel_closes() {
    for uses_it in [true, false] {
        super::model(move || {
            let (sender, mut receiver) = channel(1);
            let thread = thread::spawn(move || {
                let permit = sender.try_reserve().ok();
                let reserved = permit.is_some();
                match permit {
                    Some(permit) if uses_it => permit.send(tracked()),
                    given_up => drop(given_up),
                }
                block_on(sender.closed());
                reserved
            });
            receiver.close();
            let received = block_on(receiver.recv()).is_some();
            assert_eq!(thread.join().unwrap() && uses_it, received);
        });
    }
}

/// Room that comes back from a permit reaches the sender that waits.
#[test]
fn a_permit_that_goes_wakes_the_next() {
    super::model(|| {
        let (sender, mut receiver) = channel(1);
        let permit = sender.clone().try_reserve_owned().ok();
        let thread = thread::spawn(move || block_on(sender.reserve()).unwrap().send(tracked()));
        drop(permit);
        assert!(block_on(receiver.recv()).is_some());
        thread.join().unwrap();
    });
}
