//! Channels between cores: what is sent arrives once, and whoever waits is woken.

use super::tracked;
use crate::sync::{channel, oneshot};
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
