//! Event, barrier and the bounded semaphore; permits that are split and forgotten.

use super::*;
use crate::sync::{Barrier, BarrierWaitResult, BoundedSemaphore, Event, Semaphore};
use std::rc::Rc;

#[test]
fn an_event_lets_all_go_who_waited_when_it_was_set() {
    let event = Event::new();
    let mut waiters: Vec<_> = (0..3).map(|_| Waiter::new(event.wait())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    drop(waiters.remove(1));
    event.set();
    event.clear();
    assert!(waiters.iter().all(Waiter::woken));
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_ready()));
    let mut late = Waiter::new(event.wait());
    assert!(late.poll().is_pending() && !event.is_set());
    event.set();
    event.set();
    assert!(Waiter::new(event.wait()).poll().is_ready(), "it stays set");
    assert!(late.poll().is_ready());
}

#[test]
fn the_last_to_arrive_leads_and_who_goes_has_not_arrived() {
    let barrier = Barrier::new(3);
    for _round in 0..3 {
        let mut first = Waiter::new(barrier.wait());
        let mut gone = Waiter::new(barrier.wait());
        assert!(first.poll().is_pending() && gone.poll().is_pending());
        drop(gone);
        assert_eq!(barrier.waiting(), 1);
        let mut second = Waiter::new(barrier.wait());
        assert!(second.poll().is_pending());
        let mut last = Waiter::new(barrier.wait());
        assert!(matches!(last.poll(), Poll::Ready(it) if it.is_leader()));
        assert!(first.woken() && second.woken());
        // The next round's first does not count with those that have not looked yet.
        let mut next = Waiter::new(barrier.wait());
        assert!(next.poll().is_pending());
        assert!(matches!(first.poll(), Poll::Ready(it) if !it.is_leader()));
        assert!(matches!(second.poll(), Poll::Ready(it) if !it.is_leader()));
    }
    assert!(Waiter::new(Barrier::new(0).wait()).poll().is_ready());
}

#[test]
fn cancelled_arrivals_against_a_model() {
    const PARTIES: usize = 4;
    let mut random = Random::new("barrier");
    let barrier = Barrier::new(PARTIES);
    let mut arrived = 0;
    let mut waiting: Vec<Waiter<'_, BarrierWaitResult>> = Vec::new();
    for _ in 0..10_000 {
        match random.below(4) {
            0 | 1 => {
                let mut waiter = Waiter::new(barrier.wait());
                arrived += 1;
                match waiter.poll() {
                    Poll::Ready(result) => {
                        assert!(result.is_leader() && arrived == PARTIES);
                        assert!(waiting.iter().all(Waiter::woken));
                        arrived = 0;
                    }
                    Poll::Pending => waiting.push(waiter),
                }
            }
            2 if !waiting.is_empty() => {
                let gone = waiting.swap_remove(random.below(waiting.len()));
                arrived -= usize::from(!gone.woken());
            }
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting[n].woken();
                assert_eq!(waiting[n].poll().is_ready(), woken);
                if woken {
                    waiting.swap_remove(n);
                }
            }
            _ => {}
        }
        assert_eq!(barrier.waiting(), arrived);
    }
}

#[test]
fn no_more_is_given_back_than_was_taken() {
    let semaphore = BoundedSemaphore::new(2);
    assert_eq!(semaphore.add_permits(1).unwrap_err().bound(), 2);
    let held = semaphore.try_acquire().unwrap();
    assert!(semaphore.add_permits(1).is_err(), "it comes back by itself");
    let owned = semaphore.try_acquire_owned().unwrap();
    let mut waiter = Waiter::new(semaphore.acquire());
    assert!(waiter.poll().is_pending());
    held.forget();
    assert!(semaphore.add_permits(2).is_err());
    assert!(!waiter.woken(), "an error adds nothing");
    semaphore.add_permits(1).unwrap();
    assert!(waiter.woken());
    // Granted, not seen, and given back.
    drop(waiter);
    drop(owned);
    assert_eq!(semaphore.available_permits(), 2);
    assert!(semaphore.add_permits(1).is_err());
    semaphore.close();
    assert!(semaphore.try_acquire().is_err() && semaphore.is_closed());
}

#[test]
fn permits_are_split_merged_and_forgotten() {
    let semaphore = Rc::new(Semaphore::new(5));
    let mut three = semaphore.try_acquire_many(3).unwrap();
    assert!(three.split(4).is_none());
    let one = three.split(1).unwrap();
    assert_eq!((one.num_permits(), three.num_permits()), (1, 2));
    drop(one);
    assert_eq!(semaphore.available_permits(), 3);
    three.merge(semaphore.try_acquire().unwrap());
    assert_eq!(three.num_permits(), 3);
    drop(three);
    let mut owned = semaphore.clone().try_acquire_many_owned(4).unwrap();
    owned.split(2).unwrap().forget();
    drop(owned);
    assert_eq!(semaphore.available_permits(), 3);
    assert_eq!(semaphore.forget_permits(9), 3);
    // Those that were forgotten may come again, up to the most that a count can say.
    semaphore.add_permits(usize::MAX);
}

#[test]
#[should_panic(expected = "different semaphores")]
fn permits_of_two_semaphores() {
    let (one, other) = (Semaphore::new(1), Semaphore::new(1));
    let mut permit = one.try_acquire().unwrap();
    permit.merge(other.try_acquire().unwrap());
}

#[test]
#[should_panic(expected = "more than usize::MAX permits")]
fn permits_that_are_held_count() {
    let semaphore = Semaphore::new(1);
    let _held = semaphore.try_acquire().unwrap();
    semaphore.add_permits(usize::MAX);
}
