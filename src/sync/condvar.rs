//! Waiting for a condition of what a mutex guards, on one core.
//!
//! Rules
//! 1. A waiter is in the line before its mutex is unlocked: no notification falls in between.
//! 2. A notification without a waiter is lost: whoever waits has looked at the condition before.
//! 3. A waiter that was chosen, and goes before it has its mutex again, passes the notification on.

use super::mutex::MutexGuard;
use super::waiters::{Ticket, Waiters, wake_all};
use crate::task::{self, noted};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Tells tasks that wait with a [`Mutex`](super::Mutex) that its value has changed; asyncio's
/// `Condition`. For the tasks of one core.
///
/// # Examples
/// ```no_run
/// use corering::sync::{Condvar, Mutex};
/// use std::rc::Rc;
///
/// corering::block_on(async {
///     let shared = Rc::new((Mutex::new(0), Condvar::new()));
///     let counts = shared.clone();
///     corering::spawn(async move {
///         for _ in 0..3 {
///             *counts.0.lock().await += 1;
///             counts.1.notify_one();
///         }
///     });
///     let (count, changed) = &*shared;
///     let three = changed.wait_for(count.lock().await, |count| *count == 3).await;
///     assert_eq!(*three, 3);
/// });
/// ```
#[derive(Default)]
pub struct Condvar {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    waiting: Waiters<()>,
    /// Tickets that `notify` chose and that do not have their mutex yet.
    chosen: BTreeSet<Ticket>,
}

impl State {
    /// Chooses up to `count` waiters, who are to be woken.
    fn notify(&mut self, count: usize) -> Vec<Waker> {
        let mut woken = Vec::new();
        while woken.len() < count {
            let Some((ticket, waker)) = self.waiting.pop() else {
                break;
            };
            self.chosen.insert(ticket);
            woken.push(waker);
        }
        woken
    }
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[must_use]
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// Unlocks the mutex, waits for a notification, and waits for the mutex again.
    ///
    /// The condition may have changed once more by then: look again, or use
    /// [`wait_for`](Self::wait_for).
    ///
    /// # Cancel safety
    /// Dropping it unlocks the mutex, if it was not unlocked yet; a notification that had chosen it
    /// goes to the next.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = MutexGuard::mutex(&guard);
        let mut wait = Wait {
            condvar: self,
            guard: Some(guard),
            ticket: None,
        };
        noted(|_| task::Wait::plain("sync::Condvar::wait"), 0, &mut wait).await;
        let guard = mutex.lock().await;
        wait.done();
        guard
    }

    /// Waits until `condition` holds; at once if it does. It is asked with the mutex locked.
    ///
    /// # Cancel safety
    /// Dropping it unlocks the mutex; a notification that had chosen it goes to the next.
    pub async fn wait_for<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while !condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes the longest waiter, if there is one.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes up to `count` waiters, the longest first.
    pub fn notify(&self, count: usize) {
        let woken = self.state.borrow_mut().notify(count);
        wake_all(woken);
    }

    /// Wakes everybody who waits.
    pub fn notify_all(&self) {
        let woken = self.state.borrow_mut().waiting.take_all();
        wake_all(woken);
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.state.borrow().waiting.len())
            .finish()
    }
}

/// The wait for a notification.
struct Wait<'c, 'a, T: ?Sized> {
    condvar: &'c Condvar,
    /// Until it is in the line.
    guard: Option<MutexGuard<'a, T>>,
    ticket: Option<Ticket>,
}

impl<T: ?Sized> Wait<'_, '_, T> {
    /// It has seen its notification.
    fn done(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.condvar.state.borrow_mut().chosen.remove(&ticket);
        }
    }
}

impl<T: ?Sized> Future for Wait<'_, '_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let condvar = self.condvar;
        let mut state = condvar.state.borrow_mut();
        let Some(ticket) = self.ticket else {
            self.ticket = Some(state.waiting.enter((), cx.waker().clone()));
            drop(state);
            // In the line first: whoever gets the mutex now may notify at once.
            self.guard = None;
            return Poll::Pending;
        };
        if !state.waiting.contains(ticket) {
            return Poll::Ready(());
        }
        let old = state.waiting.update(ticket, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T: ?Sized> Drop for Wait<'_, '_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut state = self.condvar.state.borrow_mut();
        let own = state.waiting.leave(ticket);
        let passed_on = usize::from(state.chosen.remove(&ticket));
        let woken = state.notify(passed_on);
        drop(state);
        drop(own);
        wake_all(woken);
    }
}
