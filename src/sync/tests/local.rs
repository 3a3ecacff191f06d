//! The semaphore and the notification of one core.

use super::*;
use crate::sync::{AcquireError, Notify, Permit, Semaphore, TryAcquireError};
use std::rc::Rc;

#[test]
fn first_come_first_served() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire().unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| Waiter::new(semaphore.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    drop(held);
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::NoPermits
    );
    let woken: Vec<_> = waiters.iter().map(Waiter::woken).collect();
    assert_eq!(woken, [true, false, false]);
    // Dropped with its permit unseen: the next one's.
    drop(waiters.remove(0));
    assert!(waiters[0].woken() && !waiters[1].woken());
    let Poll::Ready(Ok(permit)) = waiters[0].poll() else {
        panic!("not served")
    };
    permit.forget();
    semaphore.add_permits(2);
    assert!(waiters[1].poll().is_ready());
    assert_eq!(semaphore.available_permits(), 2);
}

#[test]
fn a_large_need_is_not_overtaken() {
    let semaphore = Semaphore::new(3);
    let held = semaphore.try_acquire().unwrap();
    let mut large = Waiter::new(semaphore.acquire_many(3));
    assert!(large.poll().is_pending());
    let mut small = Waiter::new(semaphore.acquire());
    assert!(small.poll().is_pending());
    // Stepping out of the line lets the others through.
    drop(large);
    assert!(small.woken());
    drop(held);
    let Poll::Ready(Ok(permit)) = small.poll() else {
        panic!("not served")
    };
    assert_eq!(semaphore.available_permits(), 2);
    drop(permit);
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
fn closing_refuses_all_but_those_served() {
    let semaphore = Rc::new(Semaphore::new(1));
    let owned = semaphore.clone().try_acquire_owned().unwrap();
    let mut served = Waiter::new(semaphore.clone().acquire_owned());
    let mut waiting = Waiter::new(semaphore.acquire());
    assert!(served.poll().is_pending() && waiting.poll().is_pending());
    drop(owned);
    semaphore.close();
    assert!(served.woken() && waiting.woken() && semaphore.is_closed());
    assert!(matches!(waiting.poll(), Poll::Ready(Err(AcquireError))));
    let Poll::Ready(Ok(permit)) = served.poll() else {
        panic!("had its permit")
    };
    assert_eq!(semaphore.available_permits(), 0);
    drop(permit);
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::Closed
    );
}

type Acquired<'a> = Result<Permit<'a>, AcquireError>;

#[test]
fn cancelled_acquires_against_a_model() {
    const PERMITS: usize = 5;
    let mut random = Random::new("semaphore");
    let semaphore = Semaphore::new(PERMITS);
    let mut held: Vec<(usize, Permit<'_>)> = Vec::new();
    let mut waiting: Vec<(usize, Waiter<'_, Acquired<'_>>)> = Vec::new();
    for _ in 0..10_000 {
        match random.below(5) {
            0 | 1 => {
                let need = 1 + random.below(PERMITS);
                let mut waiter = Waiter::new(semaphore.acquire_many(need));
                match waiter.poll() {
                    Poll::Ready(permit) => held.push((need, permit.unwrap())),
                    Poll::Pending => waiting.push((need, waiter)),
                }
            }
            2 if !held.is_empty() => drop(held.swap_remove(random.below(held.len()))),
            3 if !waiting.is_empty() => drop(waiting.remove(random.below(waiting.len()))),
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting[n].1.woken();
                let polled = waiting[n].1.poll();
                assert_eq!(polled.is_ready(), woken);
                if let Poll::Ready(permit) = polled {
                    held.push((waiting.remove(n).0, permit.unwrap()));
                }
            }
            _ => {}
        }
        let served: Vec<_> = waiting
            .iter()
            .take_while(|(_, waiter)| waiter.woken())
            .map(|(need, _)| need)
            .collect();
        let used = held
            .iter()
            .map(|(need, _)| need)
            .chain(served.iter().copied())
            .sum::<usize>();
        assert_eq!(
            semaphore.available_permits(),
            PERMITS - used,
            "a permit is lost or made up"
        );
        let mut rest = waiting.iter().skip(served.len());
        assert!(
            rest.clone().all(|(_, waiter)| !waiter.woken()),
            "out of turn"
        );
        assert!(
            rest.next().is_none_or(|(need, _)| *need > PERMITS - used),
            "the first could go"
        );
    }
}

#[test]
fn one_notification_is_stored() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    assert!(Waiter::new(notify.notified()).poll().is_ready());
    let mut waiter = Waiter::new(notify.notified());
    assert!(waiter.poll().is_pending());
    notify.notify_one();
    assert!(waiter.woken());
    assert!(waiter.poll().is_ready());
    drop(waiter);
    assert!(Waiter::new(notify.notified()).poll().is_pending());
}

#[test]
fn a_chosen_waiter_that_goes_passes_it_on() {
    let notify = Notify::new();
    let mut first = Waiter::new(notify.notified());
    let mut second = Waiter::new(notify.notified());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    notify.notify_one();
    assert!(first.woken() && !second.woken());
    drop(first);
    assert!(second.woken());
    drop(second);
    assert!(
        Waiter::new(notify.notified()).poll().is_ready(),
        "nobody was left: stored"
    );
}

#[test]
fn all_waiters_from_their_making_on() {
    let notify = Notify::new();
    let mut polled = Waiter::new(notify.notified());
    assert!(polled.poll().is_pending());
    let mut unpolled = Waiter::new(notify.notified());
    notify.notify_waiters();
    let mut later = Waiter::new(notify.notified());
    assert!(polled.woken());
    assert!(polled.poll().is_ready() && unpolled.poll().is_ready() && later.poll().is_pending());
    // Dropping one that all were told about passes nothing on.
    let mut other = Waiter::new(notify.notified());
    assert!(other.poll().is_pending());
    notify.notify_waiters();
    drop(other);
    assert!(later.poll().is_ready());
    assert!(Waiter::new(notify.notified()).poll().is_pending());
}

#[test]
fn cancelled_notified_against_a_model() {
    let mut random = Random::new("notify");
    let notify = Notify::new();
    // Notifications given, minus those seen: with no wait cancelled unseen, none is ever lost.
    let mut stored = false;
    let mut waiting: Vec<Waiter<'_, ()>> = Vec::new();
    for _ in 0..10_000 {
        match random.below(5) {
            0 | 1 => {
                let mut waiter = Waiter::new(notify.notified());
                let ready = waiter.poll().is_ready();
                assert_eq!(ready, std::mem::take(&mut stored));
                if !ready {
                    waiting.push(waiter);
                }
            }
            2 => {
                let woken = waiting.iter().filter(|waiter| waiter.woken()).count();
                notify.notify_one();
                let now = waiting.iter().filter(|waiter| waiter.woken()).count();
                assert_eq!(now, (woken + 1).min(waiting.len()));
                stored |= now == woken;
            }
            3 if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting.iter().filter(|waiter| waiter.woken()).count();
                let passes = waiting[n].woken();
                drop(waiting.remove(n));
                let now = waiting.iter().filter(|waiter| waiter.woken()).count();
                assert_eq!(
                    now,
                    if passes {
                        woken.min(waiting.len())
                    } else {
                        woken
                    }
                );
                stored |= passes && now < woken;
            }
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting[n].woken();
                assert_eq!(waiting[n].poll().is_ready(), woken);
                if woken {
                    waiting.remove(n);
                }
            }
            _ => {}
        }
    }
}
