//! The bounded channel.

use super::*;
use crate::sync::{Receiver, SendError, Sender, TryRecvError, TrySendError, channel};
use futures::StreamExt;
use futures::executor::block_on;
use std::collections::VecDeque;
use std::thread;

#[test]
fn ends_are_send() {
    fn send<T: Send>(_: &T) {}
    fn sync<T: Sync>(_: &T) {}
    let (sender, receiver) = channel(1);
    send(&sender);
    sync(&sender);
    send(&receiver);
    send(&sender.send(1));
    let (_, receiver) = channel::<std::cell::Cell<u8>>(1);
    sync(&receiver);
}

#[test]
fn full_then_first_come_first_served() {
    let (sender, mut receiver) = channel(1);
    sender.try_send(0).unwrap();
    let mut waiters: Vec<_> = (1..4).map(|n| Waiter::new(sender.send(n))).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(receiver.try_recv(), Ok(0));
    assert_eq!(
        sender.try_send(9),
        Err(TrySendError::Full(9)),
        "the slot is the first waiter's"
    );
    assert_eq!(
        (sender.capacity(), sender.max_capacity(), sender.len()),
        (0, 1, 0)
    );
    let woken: Vec<_> = waiters.iter().map(Waiter::woken).collect();
    assert_eq!(woken, [true, false, false]);
    // The one that was served goes without sending: the next one's.
    drop(waiters.remove(0));
    assert!(waiters[0].woken() && !waiters[1].woken());
    assert!(waiters[1].poll().is_pending());
    assert_eq!(waiters[0].poll(), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(waiters[1].poll(), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(3));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(waiters);
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn closing_gives_values_back_and_keeps_the_queue() {
    let (sender, mut receiver) = channel(1);
    let mut early = Waiter::new(sender.send("early"));
    assert_eq!(early.poll(), Poll::Ready(Ok(())));
    let mut late = Waiter::new(sender.send("late"));
    assert!(late.poll().is_pending());
    receiver.close();
    assert!(late.woken() && sender.is_closed() && receiver.is_closed());
    assert_eq!(late.poll(), Poll::Ready(Err(SendError("late"))));
    assert_eq!(sender.try_send("no"), Err(TrySendError::Closed("no")));
    assert_eq!(block_on(receiver.recv()), Some("early"));
    assert_eq!(block_on(receiver.recv()), None);
}

#[test]
fn a_dropped_receiver_drops_what_is_queued() {
    let value = Arc::new(());
    let (sender, mut receiver) = channel(4);
    for _ in 0..3 {
        sender.try_send(value.clone()).unwrap();
    }
    drop(receiver.try_recv());
    sender.try_send(value.clone()).unwrap();
    assert_eq!((sender.len(), Arc::strong_count(&value)), (3, 4));
    drop(receiver);
    assert_eq!((sender.len(), Arc::strong_count(&value)), (0, 1));
    assert!(block_on(sender.send(value)).is_err());
}

#[test]
fn every_value_that_is_received_makes_room_at_once() {
    let (sender, mut receiver) = channel(3);
    let counts = |sender: &Sender<u64>| (sender.len(), sender.capacity());
    for n in 0..3 {
        sender.try_send(n).unwrap();
    }
    for n in 0..10 {
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        assert_eq!(receiver.try_recv(), Ok(n));
        assert_eq!(counts(&sender), (2, 1));
        sender.try_send(n + 3).unwrap();
        assert_eq!(counts(&sender), (3, 0));
    }
    let mut values = Vec::new();
    assert_eq!(receiver.try_recv(), Ok(10));
    assert_eq!(block_on(receiver.recv_many(&mut values, 1)), 1);
    sender.try_send(13).unwrap();
    receiver.close();
    assert_eq!(block_on(receiver.recv_many(&mut values, 9)), 2);
    assert_eq!(values, [11, 12, 13]);
    assert_eq!(block_on(receiver.recv_many(&mut values, 9)), 0);
}

#[test]
fn the_last_sender_wakes_the_receiver() {
    let (sender, mut receiver) = channel::<u8>(1);
    let other = sender.clone();
    let mut waiter = Waiter::new(receiver.recv());
    assert!(waiter.poll().is_pending());
    drop(sender);
    assert!(!waiter.woken());
    drop(other);
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(None));
}

#[test]
fn a_value_may_own_its_own_channel() {
    // Destructors run when nothing is locked.
    struct Loop(#[expect(dead_code, reason = "it is there to be dropped")] Sender<Loop>);
    let (sender, receiver) = channel(2);
    sender.try_send(Loop(sender.clone())).unwrap();
    drop(sender);
    drop(receiver);
}

#[test]
fn a_stream_until_the_end() {
    let (sender, receiver) = channel(4);
    for n in 0..4 {
        sender.try_send(n).unwrap();
    }
    drop(sender);
    assert_eq!(block_on(receiver.collect::<Vec<_>>()), [0, 1, 2, 3]);
}

#[test]
#[should_panic(expected = "room for at least one value")]
fn no_room_at_all() {
    let _ = channel::<u8>(0);
}

type Sent = Result<(), SendError<u64>>;

#[test]
fn cancelled_senders_against_a_model() {
    let mut random = Random::new("channel");
    let (sender, mut receiver): (Sender<u64>, Receiver<u64>) = channel(3);
    // What is in the channel, and who waits for it, in order.
    let (mut queued, mut sent) = (VecDeque::new(), 0);
    let mut waiting: Vec<(u64, Waiter<'_, Sent>)> = Vec::new();
    for _ in 0..10_000 {
        match random.below(6) {
            0 | 1 => {
                sent += 1;
                let mut waiter = Waiter::new(sender.send(sent));
                match waiter.poll() {
                    Poll::Ready(result) => {
                        result.unwrap();
                        // Those that were served have their slot and may use it later.
                        let unserved = waiting.iter().any(|(_, waiter)| !waiter.woken());
                        assert!(!unserved, "overtaken");
                        queued.push_back(sent);
                    }
                    Poll::Pending => waiting.push((sent, waiter)),
                }
            }
            2 => {
                assert_eq!(receiver.try_recv().ok(), queued.pop_front());
            }
            3 => {
                let (mut values, limit) = (Vec::new(), random.below(4));
                let count = limit.min(queued.len());
                let ready = Waiter::new(receiver.recv_many(&mut values, limit)).poll();
                let expected = match count == 0 && limit > 0 {
                    true => Poll::Pending,
                    false => Poll::Ready(count),
                };
                assert_eq!(ready, expected);
                assert!(queued.drain(..count).eq(values));
            }
            4 if !waiting.is_empty() => {
                drop(waiting.remove(random.below(waiting.len())));
            }
            _ => {
                // Poll one, woken or not.
                if !waiting.is_empty() {
                    let n = random.below(waiting.len());
                    let woken = waiting[n].1.woken();
                    let ready = waiting[n].1.poll().is_ready();
                    assert_eq!(ready, woken);
                    if ready {
                        queued.push_back(waiting.remove(n).0);
                    }
                }
            }
        }
        assert_eq!(sender.len(), queued.len());
        let served = waiting.iter().filter(|(_, waiter)| waiter.woken()).count();
        assert!(
            waiting
                .iter()
                .take(served)
                .all(|(_, waiter)| waiter.woken()),
            "out of turn"
        );
        assert_eq!(
            served,
            waiting.len().min(3 - queued.len()),
            "a slot is lost or made up"
        );
        assert_eq!(sender.capacity(), 3 - queued.len() - served);
    }
}

#[test]
fn many_threads() {
    const SENDERS: u64 = 4;
    const VALUES: u64 = 20_000;
    let (sender, mut receiver) = channel(16);
    let threads: Vec<_> = (0..SENDERS)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for n in 0..VALUES {
                    // Some sends are given up while they wait.
                    if n % 7 == 0 {
                        let mut given_up: Boxed<'_, _> = Box::pin(sender.send(u64::MAX));
                        if poll(&mut given_up).is_pending() {
                            drop(given_up);
                        }
                    }
                    block_on(sender.send(thread * VALUES + n)).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; SENDERS as usize];
    block_on(async {
        while let Some(value) = receiver.recv().await {
            if value != u64::MAX {
                let thread = value / VALUES;
                assert_eq!(value % VALUES, next[thread as usize], "out of order");
                next[thread as usize] += 1;
            }
        }
    });
    assert_eq!(next, [VALUES; SENDERS as usize]);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}
