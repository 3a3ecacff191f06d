//! Mutex, read-write lock, condition variable and the cell that is filled once.

use super::*;
use crate::sync::{
    Condvar, Mutex, MutexGuard, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard, SetError,
    TryLockError,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

fn ready<T>(polled: Poll<T>) -> T {
    match polled {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("not ready"),
    }
}

#[test]
fn a_mutex_goes_in_turn() {
    let mutex = Mutex::new(0);
    let held = mutex.try_lock().unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| Waiter::new(mutex.lock())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    drop(held);
    assert_eq!(mutex.try_lock().unwrap_err(), TryLockError, "it is granted");
    let woken: Vec<_> = waiters.iter().map(Waiter::woken).collect();
    assert_eq!(woken, [true, false, false]);
    // Dropped with its turn unseen: the next one's.
    drop(waiters.remove(0));
    let mut guard = ready(waiters[0].poll());
    *guard += 1;
    assert!(!waiters[1].woken());
    drop(guard);
    assert_eq!(*ready(waiters[1].poll()), 1);
}

#[test]
fn guards_that_own_their_lock() {
    let mutex = Rc::new(Mutex::new(vec![1]));
    let mut guard = mutex.clone().try_lock_owned().unwrap();
    guard.push(2);
    let mut waiter = Waiter::new(mutex.clone().lock_owned());
    assert!(waiter.poll().is_pending());
    assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked> }");
    drop(guard);
    let guard = ready(waiter.poll());
    drop((waiter, mutex));
    assert_eq!(*guard, [1, 2]);

    let lock = Rc::new(RwLock::new(1));
    let read = lock.clone().try_read_owned().unwrap();
    let mut write = Waiter::new(lock.clone().write_owned());
    assert!(write.poll().is_pending());
    drop(read);
    let mut write = ready(write.poll());
    *write += 1;
    let read = write.downgrade();
    drop(lock);
    assert_eq!(*read, 2);
}

#[test]
fn unsized_values_and_their_ends() {
    let mutex: Rc<Mutex<[u8]>> = Rc::new(Mutex::new([1, 2, 3]));
    mutex.try_lock().unwrap()[0] = 9;
    assert_eq!(mutex.clone().try_lock_owned().unwrap().len(), 3);
    let mut lock = RwLock::from(5);
    *lock.get_mut() += 1;
    assert_eq!(lock.into_inner(), 6);
    let value = Arc::new(());
    drop(Mutex::new(value.clone()));
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn a_panic_unlocks_and_poisons_nothing() {
    let mutex = Mutex::new(0);
    let mut waiter = Waiter::new(mutex.lock());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = mutex.try_lock().unwrap();
        assert!(waiter.poll().is_pending());
        *guard = 1;
        panic!("while it is locked");
    }));
    assert!(panicked.is_err() && waiter.woken());
    assert_eq!(*ready(waiter.poll()), 1);
}

#[test]
fn a_writer_is_not_overtaken_by_readers() {
    let lock = RwLock::new(0);
    let (one, other) = (lock.try_read().unwrap(), lock.try_read().unwrap());
    let mut writer = Waiter::new(lock.write());
    assert!(writer.poll().is_pending());
    assert_eq!(lock.try_read().unwrap_err(), TryLockError);
    let mut reader = Waiter::new(lock.read());
    assert!(reader.poll().is_pending());
    drop(one);
    assert!(!writer.woken());
    drop(other);
    assert!(writer.woken() && !reader.woken());
    let mut guard = ready(writer.poll());
    *guard = 1;
    assert!(lock.try_write().is_err());
    // No other writer comes between a downgrade.
    let mut second = Waiter::new(lock.write());
    assert!(second.poll().is_pending());
    let guard = guard.downgrade();
    assert!(reader.woken() && !second.woken());
    assert_eq!((*guard, *ready(reader.poll())), (1, 1));
    assert!(!second.woken(), "the first reader is still there");
    drop(guard);
    assert_eq!(*ready(second.poll()), 1);
}

#[test]
fn a_writer_that_goes_lets_readers_through() {
    let lock = RwLock::new(());
    let held = lock.try_read().unwrap();
    let mut writer = Waiter::new(lock.write());
    let mut reader = Waiter::new(lock.read());
    assert!(writer.poll().is_pending() && reader.poll().is_pending());
    drop(writer);
    assert!(reader.woken());
    drop((ready(reader.poll()), held));
}

enum Held<'a> {
    Reading(RwLockReadGuard<'a, usize>),
    Writing(RwLockWriteGuard<'a, usize>),
}

#[test]
fn cancelled_locks_against_a_model() {
    let mut random = Random::new("rwlock");
    let lock = RwLock::new(0);
    let mut writes = 0;
    let mut held: Vec<Held<'_>> = Vec::new();
    let mut waiting: Vec<(bool, Waiter<'_, Held<'_>>)> = Vec::new();
    for _ in 0..10_000 {
        match random.below(6) {
            0 | 1 => {
                let writes = random.below(3) == 0;
                let lock = &lock;
                let mut waiter = Waiter::new(async move {
                    match writes {
                        true => Held::Writing(lock.write().await),
                        false => Held::Reading(lock.read().await),
                    }
                });
                match waiter.poll() {
                    Poll::Ready(guard) => held.push(guard),
                    Poll::Pending => waiting.push((writes, waiter)),
                }
            }
            2 if !held.is_empty() => drop(held.swap_remove(random.below(held.len()))),
            3 if !waiting.is_empty() => drop(waiting.remove(random.below(waiting.len()))),
            4 if matches!(held[..], [Held::Writing(_)]) => {
                let Some(Held::Writing(mut guard)) = held.pop() else {
                    unreachable!("it was matched")
                };
                writes += 1;
                *guard += 1;
                held.push(Held::Reading(guard.downgrade()));
            }
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let woken = waiting[n].1.woken();
                let polled = waiting[n].1.poll();
                assert_eq!(polled.is_ready(), woken);
                if let Poll::Ready(guard) = polled {
                    waiting.remove(n);
                    held.push(guard);
                }
            }
            _ => {}
        }
        let served = waiting.iter().take_while(|(_, waiter)| waiter.woken());
        let served: Vec<_> = served.map(|(writes, _)| *writes).collect();
        let rest = &waiting[served.len()..];
        assert!(rest.iter().all(|(_, w)| !w.woken()), "out of turn");
        let is_write = |held: &Held<'_>| matches!(held, Held::Writing(_));
        let all = held.iter().map(is_write).chain(served.iter().copied());
        let all: Vec<_> = all.collect();
        assert!(all.len() == 1 || !all.contains(&true), "a writer is alone");
        if let Some((writes, _)) = rest.first() {
            let could = if *writes {
                all.is_empty()
            } else {
                !all.contains(&true)
            };
            assert!(!could, "the first could go");
        }
        for guard in &held {
            match guard {
                Held::Reading(guard) => assert_eq!(**guard, writes),
                Held::Writing(guard) => assert_eq!(**guard, writes),
            }
        }
    }
}

#[test]
fn a_condition_is_waited_for_without_the_lock() {
    let (mutex, changed) = (Mutex::new(0), Condvar::new());
    let guard = mutex.try_lock().unwrap();
    let mut waiter = Waiter::new(changed.wait_for(guard, |n| *n == 2));
    assert!(waiter.poll().is_pending());
    for n in 1..=2 {
        *mutex.try_lock().expect("unlocked while it waits") = n;
        changed.notify_one();
        assert!(waiter.woken());
        if n == 1 {
            assert!(waiter.poll().is_pending(), "it looked, and waits on");
        }
    }
    assert_eq!(*ready(waiter.poll()), 2);
}

#[test]
fn a_chosen_waiter_that_goes_passes_it_on() {
    let (mutex, changed) = (Mutex::new(()), Condvar::new());
    let mut waiters: Vec<_> = (0..3)
        .map(|_| Waiter::new(changed.wait(mutex.try_lock().unwrap())))
        .map(|mut waiter| {
            assert!(waiter.poll().is_pending());
            waiter
        })
        .collect();
    changed.notify(1);
    assert!(waiters[0].woken() && !waiters[1].woken());
    // Chosen, and waiting for the mutex.
    let held = mutex.try_lock().unwrap();
    assert!(waiters[0].poll().is_pending());
    drop(waiters.remove(0));
    assert!(waiters[0].woken() && !waiters[1].woken());
    drop(held);
    drop(ready(waiters[0].poll()));
    changed.notify_all();
    drop(ready(waiters[1].poll()));
    // Nothing is kept for those who come later.
    changed.notify_one();
    let mut late = Waiter::new(changed.wait(mutex.try_lock().unwrap()));
    assert!(late.poll().is_pending() && !late.woken());
}

type Waited<'a> = MutexGuard<'a, u32>;

/// Every notification wakes one waiter that is there, whoever goes meanwhile.
#[test]
fn cancelled_condition_waits_against_a_model() {
    let mut random = Random::new("condvar");
    let (mutex, changed) = (Mutex::new(0), Condvar::new());
    let mut waiting: Vec<Waiter<'_, Waited<'_>>> = Vec::new();
    let woken = |waiting: &[Waiter<'_, Waited<'_>>]| waiting.iter().filter(|w| w.woken()).count();
    for _ in 0..10_000 {
        let before = woken(&waiting);
        match random.below(5) {
            0 | 1 => {
                let mut waiter = Waiter::new(changed.wait(mutex.try_lock().unwrap()));
                assert!(waiter.poll().is_pending());
                waiting.push(waiter);
            }
            2 => {
                let count = 1 + random.below(3);
                changed.notify(count);
                assert_eq!(woken(&waiting), (before + count).min(waiting.len()));
            }
            3 if !waiting.is_empty() => {
                drop(waiting.remove(random.below(waiting.len())));
                assert_eq!(woken(&waiting), before.min(waiting.len()));
            }
            _ if !waiting.is_empty() => {
                let n = random.below(waiting.len());
                let was_woken = waiting[n].woken();
                let is_ready = waiting[n].poll().is_ready();
                assert_eq!(is_ready, was_woken);
                if is_ready {
                    waiting.remove(n);
                }
            }
            _ => {}
        }
        let first = woken(&waiting);
        assert!(waiting.iter().take(first).all(Waiter::woken), "out of turn");
    }
}

#[test]
fn a_cell_is_filled_once_and_by_the_next_if_the_first_goes() {
    let cell = OnceCell::new();
    let made = Cell::new(0);
    let make = async |value: u32| {
        made.set(made.get() + 1);
        if value == 0 {
            std::future::pending::<()>().await;
        }
        value
    };
    let mut first = Waiter::new(cell.get_or_init(|| make(0)));
    let mut others: Vec<_> = (1..4)
        .map(|n| Waiter::new(cell.get_or_init(move || make(n))))
        .collect();
    assert!(first.poll().is_pending());
    assert!(others.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert_eq!((made.get(), cell.get()), (1, None));
    assert_eq!(cell.set(9), Err(SetError::Initializing(9)));
    drop(first);
    assert!(others[0].woken() && !others[1].woken());
    assert_eq!(others[0].poll(), Poll::Ready(&1));
    assert!(
        others[1].woken() && others[2].woken(),
        "it is there for all"
    );
    assert_eq!(others[2].poll(), Poll::Ready(&1));
    assert_eq!(others[1].poll(), Poll::Ready(&1));
    assert_eq!(made.get(), 2);
    assert_eq!(cell.set(9), Err(SetError::AlreadyInitialized(9)));
    drop(others);
    let mut cell = cell;
    assert_eq!(cell.take(), Some(1));
    assert!(!cell.initialized());
    assert_eq!(cell.set(5), Ok(()));
    assert_eq!(cell.into_inner(), Some(5));
}

#[test]
fn a_maker_that_fails_or_panics_leaves_the_cell_to_the_next() {
    let cell = OnceCell::new();
    let mut fails = Waiter::new(cell.get_or_try_init(async || Err::<u32, _>("no")));
    assert_eq!(fails.poll(), Poll::Ready(Err("no")));
    let mut panics = Waiter::new(cell.get_or_init(async || panic!("in the maker")));
    assert!(catch_unwind(AssertUnwindSafe(|| panics.poll())).is_err());
    let mut next = Waiter::new(cell.get_or_try_init(async || Ok::<_, ()>(3)));
    drop(panics);
    assert_eq!(next.poll(), Poll::Ready(Ok(&3)));
}

#[test]
fn what_can_be_shared_with_a_thread_is_what_refers_to_nothing() {
    fn send<T: Send>(_: T) {}
    send(Mutex::new(1));
    send(RwLock::new(1));
    // A guard is not: it would not compile. What is checked here is that a lock can be moved.
}
