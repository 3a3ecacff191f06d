//! "Something has changed", on one core.
//!
//! Rules
//! 1. `notify_one` wakes the longest waiter; without one it is kept for the next to come, once.
//! 2. `notify_waiters` wakes all that were made before it, also those that were not polled yet, and
//!    keeps nothing.
//! 3. A waiter that is dropped after `notify_one` chose it passes the notification on.

use super::waiters::{Ticket, Waiters};
use crate::task::{self, Note, What};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Tells tasks of one core that something has changed. It carries no data.
///
/// # Examples
/// ```no_run
/// use corering::sync::Notify;
/// use std::{cell::Cell, rc::Rc};
///
/// corering::block_on(async {
///     let (ready, changed) = (Rc::new(Cell::new(false)), Rc::new(Notify::new()));
///     let (flag, told) = (ready.clone(), changed.clone());
///     corering::spawn(async move {
///         flag.set(true);
///         told.notify_one();
///     });
///     while !ready.get() {
///         changed.notified().await;
///     }
/// });
/// ```
#[derive(Default)]
pub struct Notify {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// A `notify_one` that found nobody.
    stored: bool,
    waiting: Waiters<()>,
    /// Tickets that `notify_one` chose and that have not seen it yet.
    chosen: BTreeSet<Ticket>,
    /// How often `notify_waiters` was called.
    rounds: u64,
}

impl State {
    /// One notification: for the longest waiter, who is to be woken, or stored.
    fn notify_one(&mut self) -> Option<Waker> {
        let Some((ticket, waker)) = self.waiting.pop() else {
            self.stored = true;
            return None;
        };
        self.chosen.insert(ticket);
        Some(waker)
    }
}

impl Notify {
    /// A `Notify` without a stored notification.
    #[must_use]
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the longest waiter; if nobody waits, the next to wait goes on at once.
    ///
    /// At most one notification is stored.
    pub fn notify_one(&self) {
        let woken = self.state.borrow_mut().notify_one();
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// Wakes everybody who waits now; stores nothing.
    pub fn notify_waiters(&self) {
        let mut state = self.state.borrow_mut();
        state.rounds += 1;
        let woken = state.waiting.take_all();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Waits for a notification.
    ///
    /// [`notify_waiters`](Self::notify_waiters) reaches the future from this call on,
    /// [`notify_one`](Self::notify_one) from its first poll on (before, it is stored).
    pub fn notified(&self) -> Notified<'_> {
        let made_in = self.state.borrow().rounds;
        Notified {
            notify: self,
            made_in,
            wait: Wait::New,
            note: Note::default(),
        }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify")
            .field("stored", &self.state.borrow().stored)
            .finish()
    }
}

/// The future that [`Notify::notified`] returns.
///
/// # Cancel safety
/// Safe: a notification that had chosen it goes to the next, but its place in the line is lost.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::{Notified, Notify};
///
/// let notify = Notify::new();
/// let waiting: Notified<'_> = notify.notified();
/// notify.notify_waiters();
/// waiting.await;
/// # });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    /// `rounds` when it was made: a later round has notified it.
    made_in: u64,
    wait: Wait,
    note: Note,
}

/// What the wait is called.
const WHAT: What = |_| task::Wait::plain("sync::Notify::notified");

#[derive(Clone, Copy)]
enum Wait {
    New,
    /// In the line, or taken out of it by a notification.
    InLine(Ticket),
    Done,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        let mut state = notify.state.borrow_mut();
        match self.wait {
            Wait::New if state.rounds == self.made_in => {
                if !std::mem::take(&mut state.stored) {
                    self.wait = Wait::InLine(state.waiting.enter((), cx.waker().clone()));
                    self.note.set(WHAT, 0);
                    return Poll::Pending;
                }
            }
            Wait::InLine(ticket) if state.waiting.contains(ticket) => {
                let old = state.waiting.update(ticket, cx.waker());
                drop(state);
                drop(old);
                self.note.set(WHAT, 0);
                return Poll::Pending;
            }
            Wait::InLine(ticket) => {
                state.chosen.remove(&ticket);
            }
            Wait::New | Wait::Done => {}
        }
        self.wait = Wait::Done;
        self.note.clear();
        Poll::Ready(())
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Wait::InLine(ticket) = self.wait else {
            return;
        };
        let mut state = self.notify.state.borrow_mut();
        let own = state.waiting.leave(ticket);
        let next = if state.chosen.remove(&ticket) {
            state.notify_one()
        } else {
            None
        };
        drop(state);
        drop(own);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}
