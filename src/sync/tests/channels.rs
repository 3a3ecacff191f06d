//! The channels of one core, and what they have in common with those between cores.

use super::*;
use crate::sync::local::broadcast::{self, RecvError, TryRecvError as TryBroadcastError};
use crate::sync::local::{mpsc, oneshot, watch};
use crate::sync::{SendError, TryRecvError, TrySendError, channel};
use futures::StreamExt;
use futures::executor::block_on;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

#[test]
fn a_channel_of_one_core_from_end_to_end() {
    let (sender, mut receiver) = mpsc::channel(1);
    let mut first = Waiter::new(receiver.recv());
    assert!(first.poll().is_pending());
    sender.try_send(1).unwrap();
    assert!(first.woken());
    assert_eq!(first.poll(), Poll::Ready(Some(1)));
    drop(first);
    sender.try_send(2).unwrap();
    let other = sender.clone();
    let mut late = Waiter::new(other.send(3));
    assert!(late.poll().is_pending());
    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(late.poll(), Poll::Ready(Ok(())));
    drop(late);
    assert_eq!(
        (sender.strong_count(), sender.same_channel(&other)),
        (2, true)
    );
    drop((sender, other));
    assert_eq!(block_on(receiver.by_ref().collect::<Vec<_>>()), [3]);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn without_a_bound_it_never_waits() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for n in 0..1_000 {
        sender.send(n).unwrap();
    }
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    let mut values = Vec::new();
    assert_eq!(block_on(receiver.recv_many(&mut values, 600)), 600);
    assert_eq!((sender.len(), values[599]), (400, 599));
    drop(receiver);
    assert!(closed.woken() && closed.poll().is_ready());
    assert_eq!(sender.send(1), Err(SendError(1)));
}

/// The same for the channel between cores, which has the same rules.
#[test]
fn room_is_kept_for_a_permit() {
    let (sender, mut receiver) = channel(2);
    let one = sender.try_reserve().unwrap();
    let other = sender.clone().try_reserve_owned().unwrap();
    assert!(matches!(sender.try_reserve(), Err(TrySendError::Full(()))));
    let Err(TrySendError::Full(back)) = sender.clone().try_reserve_owned() else {
        panic!("it is full")
    };
    assert!(back.same_channel(&sender));
    let mut waits = Waiter::new(sender.reserve());
    let mut sends = Waiter::new(sender.send(3));
    assert!(waits.poll().is_pending() && sends.poll().is_pending());
    one.send(1);
    assert!(!waits.woken() && sender.capacity() == 0);
    drop(other.release());
    assert!(waits.woken() && !sends.woken());
    let Poll::Ready(Ok(permit)) = waits.poll() else {
        panic!("it was granted")
    };
    // Given up unused: the next one's.
    drop(permit);
    assert!(sends.woken());
    assert_eq!(sends.poll(), Poll::Ready(Ok(())));
    let mut values = Vec::new();
    assert_eq!(block_on(receiver.recv_many(&mut values, 9)), 2);
    assert_eq!((values, sender.capacity()), (vec![1, 3], 2));
}

#[test]
fn many_are_received_at_once_and_as_many_wait_no_more() {
    let (sender, mut receiver) = mpsc::channel(2);
    let mut none = Vec::new();
    assert_eq!(block_on(receiver.recv_many(&mut none, 0)), 0);
    let mut sends: Vec<_> = (0..5).map(|n| Waiter::new(sender.send(n))).collect();
    let ready: Vec<_> = sends
        .iter_mut()
        .map(|send| send.poll().is_ready())
        .collect();
    assert_eq!(ready, [true, true, false, false, false]);
    assert_eq!(block_on(receiver.recv_many(&mut none, 9)), 2);
    let woken: Vec<_> = sends[2..].iter().map(Waiter::woken).collect();
    assert_eq!(woken, [true, true, false]);
    let mut receive = Waiter::new(receiver.recv_many(&mut none, 9));
    assert!(receive.poll().is_pending());
    assert!(sends[2].poll().is_ready() && receive.woken());
    assert_eq!(receive.poll(), Poll::Ready(1));
}

#[test]
fn a_permit_outlives_the_close_but_not_the_receiver() {
    let value = Arc::new(());
    let (sender, mut receiver) = mpsc::channel(2);
    let (used, unused) = (sender.try_reserve().unwrap(), sender.try_reserve().unwrap());
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    receiver.close();
    assert!(closed.woken() && closed.poll().is_ready());
    assert_eq!(sender.try_reserve().unwrap_err(), TrySendError::Closed(()));
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    used.send(value.clone());
    assert_eq!(block_on(receiver.recv()), Some(value.clone()));
    drop(unused);
    assert_eq!(block_on(receiver.recv()), None);

    let (sender, receiver) = mpsc::channel(1);
    let permit = sender.reserve();
    let permit = block_on(permit).unwrap();
    drop(receiver);
    permit.send(value.clone());
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(block_on(sender.reserve()).unwrap_err(), SendError(()));
}

#[test]
fn a_receiver_learns_that_the_last_permit_is_gone() {
    let (sender, mut receiver) = channel::<u8>(1);
    let permit = sender.try_reserve().unwrap();
    receiver.close();
    let mut receive = Waiter::new(receiver.recv());
    assert!(receive.poll().is_pending());
    drop(permit);
    assert!(receive.woken());
    assert_eq!(receive.poll(), Poll::Ready(None));
}

type Reserved<'a> = Result<mpsc::SendPermit<'a, u64>, SendError<()>>;

#[test]
fn cancelled_reservations_against_a_model() {
    const CAPACITY: usize = 4;
    let mut random = Random::new("reserve");
    let (sender, mut receiver) = mpsc::channel(CAPACITY);
    let mut queued = VecDeque::new();
    let mut permits: Vec<mpsc::SendPermit<'_, u64>> = Vec::new();
    let mut waiting: Vec<Waiter<'_, Reserved<'_>>> = Vec::new();
    for n in 0..20_000 {
        match random.below(7) {
            0 | 1 => {
                let mut waiter = Waiter::new(sender.reserve());
                match waiter.poll() {
                    Poll::Ready(permit) => permits.push(permit.unwrap()),
                    Poll::Pending => waiting.push(waiter),
                }
            }
            2 if !permits.is_empty() => {
                permits.swap_remove(random.below(permits.len())).send(n);
                queued.push_back(n);
            }
            3 if !permits.is_empty() => drop(permits.swap_remove(random.below(permits.len()))),
            4 => assert_eq!(receiver.try_recv().ok(), queued.pop_front()),
            5 if !waiting.is_empty() => drop(waiting.remove(random.below(waiting.len()))),
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting[n].woken();
                let polled = waiting[n].poll();
                assert_eq!(polled.is_ready(), woken);
                if let Poll::Ready(permit) = polled {
                    waiting.remove(n);
                    permits.push(permit.unwrap());
                }
            }
            _ => {}
        }
        let served = waiting.iter().filter(|waiter| waiter.woken()).count();
        assert!(
            waiting.iter().take(served).all(Waiter::woken),
            "out of turn"
        );
        let free = CAPACITY - queued.len() - permits.len();
        assert_eq!(served, waiting.len().min(free), "a slot is lost or made up");
        assert_eq!(
            (sender.len(), sender.capacity()),
            (queued.len(), free - served)
        );
    }
}

#[test]
fn a_oneshot_of_one_core() {
    let (sender, receiver) = oneshot::channel();
    let mut waiter = Waiter::new(receiver);
    assert!(waiter.poll().is_pending());
    sender.send(Rc::new(5)).unwrap();
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Ok(Rc::new(5))));

    let (sender, receiver) = oneshot::channel::<u8>();
    let mut waiter = Waiter::new(receiver);
    assert!(waiter.poll().is_pending());
    drop(sender);
    assert_eq!(waiter.poll(), Poll::Ready(Err(oneshot::RecvError)));

    let (mut sender, mut receiver) = oneshot::channel();
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    receiver.close();
    assert!(closed.woken() && closed.poll().is_ready());
    drop(closed);
    assert_eq!(sender.send(1), Err(1));
    assert_eq!(receiver.try_recv(), Err(oneshot::TryRecvError::Closed));

    let value = Rc::new(());
    let (sender, receiver) = oneshot::channel();
    sender.send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn everybody_gets_every_value_and_the_slow_learn_what_they_missed() {
    let (sender, mut quick) = broadcast::channel(2);
    let mut slow = sender.subscribe();
    let mut waiter = Waiter::new(quick.recv());
    assert!(waiter.poll().is_pending());
    assert_eq!(sender.send(0), Ok(2));
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Ok(0)));
    drop(waiter);
    for n in 1..5 {
        sender.send(n).unwrap();
        assert_eq!(quick.try_recv(), Ok(n));
    }
    assert_eq!(quick.try_recv(), Err(TryBroadcastError::Empty));
    let mut late = slow.resubscribe();
    assert_eq!((slow.len(), late.len(), sender.len()), (5, 0, 2));
    drop(sender);
    assert_eq!(block_on(slow.recv()), Err(RecvError::Lagged(3)));
    assert_eq!(block_on(slow.recv()), Ok(3));
    assert_eq!(block_on(slow.recv()), Ok(4));
    assert_eq!(block_on(slow.recv()), Err(RecvError::Closed));
    assert_eq!(late.try_recv(), Err(TryBroadcastError::Closed));
}

#[test]
fn what_everybody_has_seen_or_nobody_will_see_is_dropped() {
    let value = Rc::new(());
    let held = || Rc::strong_count(&value) - 1;
    let (sender, mut one) = broadcast::channel(8);
    let mut other = sender.subscribe();
    for _ in 0..3 {
        sender.send(value.clone()).unwrap();
    }
    drop(one.try_recv());
    assert_eq!(held(), 3);
    drop((other.try_recv(), other.try_recv()));
    assert_eq!(held(), 2);
    drop(one);
    assert_eq!(held(), 1, "only `other`'s last");
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    drop(other);
    assert!(closed.woken() && closed.poll().is_ready());
    assert_eq!(held(), 0);
    assert!(sender.send(value.clone()).is_err());
    let mut again = sender.subscribe();
    sender.send(value.clone()).unwrap();
    assert!(again.try_recv().is_ok());
}

#[test]
fn receivers_that_come_and_go_against_a_model() {
    const CAPACITY: usize = 4;
    let mut random = Random::new("broadcast");
    let (sender, first) = broadcast::channel(CAPACITY);
    // Each with the number that it must see next.
    let mut receivers = vec![(0, first)];
    let mut sent = 0_u64;
    for _ in 0..20_000 {
        match random.below(8) {
            0..3 => {
                let result = sender.send(sent);
                assert_eq!(result.is_ok(), !receivers.is_empty());
                sent += u64::from(result.is_ok());
            }
            3 if receivers.len() < 6 => receivers.push((sent, sender.subscribe())),
            4 if !receivers.is_empty() => {
                receivers.swap_remove(random.below(receivers.len()));
            }
            _ if !receivers.is_empty() => {
                let n = random.below(receivers.len());
                let (next, receiver) = &mut receivers[n];
                let oldest = sent.saturating_sub(CAPACITY as u64);
                // A wait that is given up has seen nothing.
                let mut waiter = Waiter::new(receiver.recv());
                let polled = if random.below(3) == 0 {
                    assert_eq!(waiter.poll().is_ready(), *next < sent);
                    continue_after(next, sent, oldest);
                    continue;
                } else {
                    waiter.poll()
                };
                match polled {
                    Poll::Pending => assert_eq!(*next, sent),
                    Poll::Ready(Ok(value)) => {
                        assert_eq!(value, *next);
                        *next += 1;
                    }
                    Poll::Ready(Err(RecvError::Lagged(missed))) => {
                        assert_eq!(*next + missed, oldest);
                        *next = oldest;
                    }
                    Poll::Ready(Err(RecvError::Closed)) => panic!("the sender is there"),
                }
            }
            _ => {}
        }
        let unseen = receivers.iter().map(|(next, _)| sent - next).max();
        let kept = unseen.unwrap_or(0).min(CAPACITY as u64);
        assert_eq!(sender.len() as u64, kept);
    }
}

/// What a receiver sees next whose poll was ready and whose result was thrown away.
fn continue_after(next: &mut u64, sent: u64, oldest: u64) {
    if *next < oldest {
        *next = oldest;
    } else if *next < sent {
        *next += 1;
    }
}

#[test]
fn a_watch_shows_the_newest() {
    let (sender, mut receiver) = watch::channel(0);
    let mut other = receiver.clone();
    assert!(sender.same_channel(&sender.clone()) && receiver.same_channel(&other));
    let mut waiter = Waiter::new(receiver.changed());
    assert!(waiter.poll().is_pending());
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Ok(())));
    drop(waiter);
    let mut waiter = Waiter::new(receiver.changed());
    assert!(waiter.poll().is_pending(), "it has seen it");
    drop(waiter);
    assert!(other.borrow().has_changed() && other.borrow_and_update().has_changed());
    assert!(!other.borrow().has_changed());
    other.mark_changed();
    assert_eq!(other.has_changed(), Ok(true));
    other.mark_unchanged();
    assert!(!sender.send_if_modified(|_| false));
    assert_eq!(other.has_changed(), Ok(false));
    sender.send_modify(|value| *value += 1);
    let mut waiter = Waiter::new(async { *other.wait_for(|value| *value >= 5).await.unwrap() });
    assert!(waiter.poll().is_pending());
    sender.send(4).unwrap();
    assert!(waiter.woken() && waiter.poll().is_pending());
    sender.send(5).unwrap();
    assert_eq!(waiter.poll(), Poll::Ready(5));
}

#[test]
fn a_watch_of_which_one_side_is_gone() {
    let (sender, mut receiver) = watch::channel(0);
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    let mut unseen = receiver.clone();
    sender.send(1).unwrap();
    receiver.mark_unchanged();
    drop(receiver);
    assert!(!closed.woken());
    let mut last = sender.subscribe();
    let mut waiter = Waiter::new(last.changed());
    assert!(waiter.poll().is_pending());
    drop(closed);
    drop(sender);
    assert!(waiter.woken());
    assert_eq!(waiter.poll(), Poll::Ready(Err(watch::RecvError)));
    // The last value is there to be seen.
    assert_eq!(block_on(unseen.changed()), Ok(()));
    assert_eq!(*unseen.borrow(), 1);
    assert_eq!(unseen.has_changed(), Err(watch::RecvError));
    assert!(block_on(unseen.wait_for(|value| *value == 1)).is_ok());

    let (sender, receiver) = watch::channel(0);
    let mut closed = Waiter::new(sender.closed());
    assert!(closed.poll().is_pending());
    drop(receiver);
    assert!(closed.woken() && closed.poll().is_ready());
    assert_eq!(sender.send(1), Err(SendError(1)));
    assert_eq!(sender.send_replace(2), 0);
    assert_eq!(*sender.subscribe().borrow(), 2);
}

#[test]
#[should_panic(expected = "drop what `borrow` has returned")]
fn a_watch_is_not_changed_under_a_look() {
    let (sender, receiver) = watch::channel(0);
    let _look = receiver.borrow();
    let _ = sender.send(1);
}

#[test]
#[should_panic(expected = "use the reference that they give")]
fn a_watch_is_not_looked_at_while_it_is_changed() {
    let (sender, receiver) = watch::channel(0);
    sender.send_modify(|_| assert_eq!(*receiver.borrow(), 0));
}

#[test]
fn a_change_that_panics_tells_nobody() {
    let (sender, mut receiver) = watch::channel(0);
    let polls = Cell::new(0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sender.send_modify(|_| panic!("in the change"));
    }));
    assert!(panicked.is_err());
    assert_eq!(receiver.has_changed(), Ok(false));
    sender.send(1).unwrap();
    block_on(async {
        receiver.changed().await.unwrap();
        polls.set(1);
    });
    assert_eq!((*receiver.borrow(), polls.get()), (1, 1));
}
