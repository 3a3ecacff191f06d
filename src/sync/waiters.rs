//! A first-in first-out queue of wakers, from which any waiter can step out.
//!
//! Rules
//! 1. A waiter knows its ticket. While the ticket is in the queue it waits; when somebody has taken
//!    it out, what it waited for has been given to it.
//! 2. Wakers that leave are returned, never dropped or woken here: the caller has a lock.
//! 3. Waiting allocates when the queue grows, never at a poll of one who waits already.

use crate::task::{Noted, What, noted};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A place in the queue; never used twice.
pub(super) type Ticket = u64;

/// The queue. Tickets grow, so the first key is who has waited longest.
#[derive(Debug, Default)]
pub(super) struct Waiters<N> {
    next: Ticket,
    waiting: BTreeMap<Ticket, (N, Waker)>,
}

impl<N> Waiters<N> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Goes to the end of the queue. `need` is what the waiter waits for.
    pub(super) fn enter(&mut self, need: N, waker: Waker) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.waiting.insert(ticket, (need, waker));
        ticket
    }

    /// Whether the ticket still waits.
    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.waiting.contains_key(&ticket)
    }

    /// Replaces the waker of a ticket that still waits; returns the one that is not needed.
    pub(super) fn update(&mut self, ticket: Ticket, waker: &Waker) -> Option<Waker> {
        let (_, old) = self.waiting.get_mut(&ticket)?;
        (!old.will_wake(waker)).then(|| std::mem::replace(old, waker.clone()))
    }

    /// What the longest waiter needs.
    pub(super) fn first_need(&self) -> Option<&N> {
        self.waiting.first_key_value().map(|(_, (need, _))| need)
    }

    /// Who has waited longest; the next ticket if nobody waits.
    pub(super) fn first_ticket(&self) -> Ticket {
        self.waiting
            .first_key_value()
            .map_or(self.next, |(&ticket, _)| ticket)
    }

    /// Takes out the longest waiter.
    pub(super) fn pop(&mut self) -> Option<(Ticket, Waker)> {
        self.waiting
            .pop_first()
            .map(|(ticket, (_, waker))| (ticket, waker))
    }

    /// Steps out; `None` if the ticket does not wait any more.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        self.waiting.remove(&ticket).map(|(_, waker)| waker)
    }

    /// Takes out everybody, the longest waiter first.
    pub(super) fn take_all(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|(_, waker)| waker)
            .collect()
    }
}

/// Wakes those who were taken out of a queue. Nothing is locked or borrowed any more.
pub(super) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A queue of one core whose waiters look again whenever they are woken.
pub(super) type Line = RefCell<Waiters<()>>;

/// Waits in `line` until `ready` gives something. It is asked at every poll, with `line` free.
/// `what` says what that is.
pub(super) fn until<R, F>(line: &Line, what: What, ready: F) -> Noted<Until<'_, F>>
where
    F: FnMut() -> Option<R>,
{
    let until = Until {
        line,
        ready,
        ticket: None,
    };
    noted(what, 0, until)
}

/// The future of [`until`].
pub(super) struct Until<'a, F> {
    line: &'a Line,
    ready: F,
    ticket: Option<Ticket>,
}

impl<F> Until<'_, F> {
    fn leave(&mut self) {
        let own = self
            .ticket
            .take()
            .and_then(|ticket| self.line.borrow_mut().leave(ticket));
        drop(own);
    }
}

/// Nothing in it is ever pinned.
impl<F> Unpin for Until<'_, F> {}

impl<R, F: FnMut() -> Option<R>> Future for Until<'_, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        if let Some(result) = (self.ready)() {
            self.leave();
            return Poll::Ready(result);
        }
        let mut line = self.line.borrow_mut();
        let old = match self.ticket.filter(|&ticket| line.contains(ticket)) {
            Some(ticket) => line.update(ticket, cx.waker()),
            None => {
                let ticket = line.enter((), cx.waker().clone());
                drop(line);
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
        };
        drop(line);
        drop(old);
        Poll::Pending
    }
}

impl<F> Drop for Until<'_, F> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Puts `waker` into `slot`; returns what was there, unless it would wake the same task.
pub(super) fn register(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match slot {
        Some(old) if old.will_wake(waker) => None,
        _ => slot.replace(waker.clone()),
    }
}
