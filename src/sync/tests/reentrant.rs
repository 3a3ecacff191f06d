//! Wakers, destructors and clones that come back to the very thing that runs them.
//!
//! A waker here calls `again` when it is woken and when its last clone is dropped; so does a value
//! when it is dropped. None may find anything borrowed.

use super::*;
use crate::sync::local::{broadcast, mpsc, oneshot, watch};
use crate::sync::queue::Queue;
use crate::sync::{Barrier, Condvar, Event, Mutex, Notify, OnceCell, RwLock, Semaphore};
use futures::FutureExt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

thread_local! {
    /// What wakers and values run.
    static AGAIN: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
    static RUNS: Cell<usize> = const { Cell::new(0) };
}

fn again() {
    // At the thread's end, after a failure, there is none any more.
    let run = AGAIN.try_with(|again| again.borrow().clone());
    if let Ok(Some(run)) = run {
        RUNS.set(RUNS.get() + 1);
        run();
    }
}

/// Calls `run` from every wake and drop until `act` has returned; `act` must cause at least one.
fn coming_back(run: impl Fn() + 'static, act: impl FnOnce()) {
    RUNS.set(0);
    AGAIN.with(|again| *again.borrow_mut() = Some(Rc::new(run)));
    act();
    let run = AGAIN.with(|again| again.borrow_mut().take());
    drop(run);
    assert!(RUNS.get() > 0, "nothing came back");
}

struct Again;

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        again();
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        again();
    }
}

/// A value that comes back when it is dropped or cloned.
struct Value;

impl Clone for Value {
    fn clone(&self) -> Value {
        again();
        Value
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        again();
    }
}

/// What runs in between may have completed it already: a poll after that is allowed.
fn boxed<'a, T: 'a>(future: impl Future<Output = T> + 'a) -> Boxed<'a, T> {
    Box::pin(future.fuse())
}

/// Polls with a waker of its own each time, so that a second poll drops the first one's.
fn poll<T>(future: &mut Boxed<'_, T>) -> Poll<T> {
    let waker = Waker::from(Arc::new(Again));
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

/// Polls, whatever comes of it.
fn look<T>(future: &mut Boxed<'_, T>) {
    let _ = poll(future);
}

/// Waits, has its waker replaced, is given what it waits for by `give`, and is dropped; once it has
/// seen it, once before.
fn wait<'a, T>(make: impl Fn() -> Boxed<'a, T>, mut give: impl FnMut()) {
    for seen in [true, false] {
        let (mut first, mut second) = (make(), make());
        look(&mut first);
        look(&mut second);
        look(&mut first);
        give();
        if seen {
            look(&mut first);
        }
        drop(first);
        give();
        look(&mut second);
    }
    // Given up while it waits.
    let mut waits = make();
    look(&mut waits);
    drop(waits);
}

#[test]
fn permits_events_and_notifications() {
    let semaphore = Rc::new(Semaphore::new(0));
    let again = semaphore.clone();
    let run = move || drop((again.try_acquire(), again.available_permits()));
    coming_back(run, || {
        wait(|| boxed(semaphore.acquire()), || semaphore.add_permits(1));
        let mut last = boxed(semaphore.acquire_many(9));
        look(&mut last);
        semaphore.close();
    });
    let event = Rc::new(Event::new());
    let again = event.clone();
    coming_back(
        move || again.clear(),
        || {
            wait(|| boxed(event.wait()), || event.set());
        },
    );
    let notify = Rc::new(Notify::new());
    let again = notify.clone();
    let run = move || {
        let _ = super::poll(&mut boxed(again.notified()));
    };
    coming_back(run, || {
        wait(|| boxed(notify.notified()), || notify.notify_one());
        wait(|| boxed(notify.notified()), || notify.notify_waiters());
    });
    let barrier = Rc::new(Barrier::new(3));
    let again = barrier.clone();
    let run = move || {
        let _ = super::poll(&mut boxed(again.wait()));
    };
    coming_back(run, || {
        for _ in 0..5 {
            let mut waits: Vec<Boxed<'_, _>> = Vec::new();
            for _ in 0..4 {
                waits.push(boxed(barrier.wait()));
                waits.iter_mut().for_each(look);
            }
        }
    });
}

#[test]
fn locks() {
    let mutex = Rc::new(Mutex::new(()));
    let again = mutex.clone();
    coming_back(
        move || drop(again.try_lock()),
        || {
            let held = mutex.try_lock().unwrap();
            let mut waits: Vec<Boxed<'_, _>> = Vec::new();
            for _ in 0..4 {
                waits.push(boxed(mutex.lock()));
                waits.iter_mut().for_each(look);
            }
            drop(held);
            drop(waits.remove(0));
            look(&mut waits[0]);
        },
    );
    let lock = Rc::new(RwLock::new(()));
    let again = lock.clone();
    coming_back(
        move || drop((again.try_read(), again.try_write())),
        || {
            let held = lock.try_write().unwrap();
            let mut reads: Vec<Boxed<'_, _>> = Vec::new();
            for _ in 0..4 {
                reads.push(boxed(lock.read()));
                reads.iter_mut().for_each(look);
            }
            let read = held.downgrade();
            reads.pop();
            drop(read);
        },
    );
    let pair = Rc::new((Mutex::new(()), Condvar::new()));
    let again = pair.clone();
    let run = move || {
        again.1.notify_one();
        drop(again.0.try_lock());
    };
    coming_back(run, || {
        let (mutex, changed) = &*pair;
        let mut waits: Vec<Boxed<'_, _>> = Vec::new();
        for _ in 0..4 {
            waits.push(boxed(changed.wait(mutex.try_lock().unwrap())));
            look(waits.last_mut().unwrap());
        }
        changed.notify_one();
        drop(waits.remove(0));
        changed.notify_all();
        waits.iter_mut().for_each(look);
    });
    let cell = Rc::new(OnceCell::new());
    let again = cell.clone();
    let run = move || assert!(again.set(1).is_ok() || again.get().is_none_or(|&n| n > 0));
    coming_back(run, || {
        let mut makes: Vec<Boxed<'_, _>> = Vec::new();
        for _ in 0..3 {
            makes.push(boxed(cell.get_or_init(std::future::pending)));
            makes.iter_mut().for_each(look);
        }
        drop(makes.remove(0));
        drop(makes);
        assert!(cell.initialized() || cell.set(2).is_ok());
    });
}

#[test]
fn queues_and_channels() {
    let queue = Rc::new(Queue::bounded(1));
    let again = queue.clone();
    let run = move || {
        assert!(again.len() <= 1);
        again.task_done().ok();
    };
    coming_back(run, || {
        wait(|| boxed(queue.get()), || drop(queue.try_put(Value)));
        let _ = queue.try_put(Value);
        wait(|| boxed(queue.put(Value)), || drop(queue.try_get()));
        let mut waits = boxed(queue.put(Value));
        look(&mut waits);
        queue.shutdown(true);
    });

    let (sender, mut receiver) = mpsc::channel(1);
    let again = sender.clone();
    coming_back(
        move || drop((again.len(), again.clone(), again.is_closed())),
        || {
            let mut receive = boxed(receiver.recv());
            look(&mut receive);
            look(&mut receive);
            sender.try_send(Value).ok();
            drop(receive);
            for _ in 0..2 {
                wait(|| boxed(sender.send(Value)), || drop(receiver.try_recv()));
            }
            let mut closed = boxed(sender.closed());
            look(&mut closed);
            look(&mut closed);
            let _ = sender.try_send(Value);
            let mut waits = boxed(sender.send(Value));
            look(&mut waits);
            drop(receiver);
            look(&mut waits);
        },
    );

    let (sender, receiver) = oneshot::channel();
    let end = Rc::new(RefCell::new(Some(receiver)));
    let again = end.clone();
    coming_back(
        move || drop(again.take()),
        || {
            sender.send(Value).ok();
            drop(end.take());
        },
    );
}

#[test]
fn broadcast_and_watch() {
    let (sender, mut receiver) = broadcast::channel(1);
    let again = sender.clone();
    coming_back(
        move || drop((again.len(), again.subscribe())),
        || {
            let mut other = sender.subscribe();
            for _ in 0..3 {
                let mut receive = boxed(receiver.recv());
                let _ = (
                    poll(&mut receive).is_pending(),
                    poll(&mut receive).is_pending(),
                );
                drop(sender.send(Value));
                drop(sender.send(Value));
                drop(receive);
                let _ = (receiver.try_recv().is_ok(), other.try_recv().is_ok());
            }
            let mut closed = boxed(sender.closed());
            look(&mut closed);
            drop(sender.send(Value));
            drop((receiver, other));
        },
    );

    let (sender, mut receiver) = watch::channel(Value);
    let again = sender.clone();
    let run = move || drop((again.borrow().has_changed(), again.subscribe()));
    coming_back(run, || {
        let mut changed = boxed(receiver.changed());
        look(&mut changed);
        look(&mut changed);
        sender.send(Value).ok();
        look(&mut changed);
        drop(changed);
        let mut closed = boxed(sender.closed());
        look(&mut closed);
        drop(sender.send_replace(Value));
        drop(receiver);
    });
}
