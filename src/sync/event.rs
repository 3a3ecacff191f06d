//! A flag that can be waited for, on one core.
//!
//! Rules
//! 1. `set` lets everybody go who waits at that moment, also if `clear` follows at once.

use super::waiters::{Ticket, Waiters, wake_all};
use crate::task::{self, What, noted};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A flag that tasks of one core wait for; asyncio's `Event`.
///
/// Unlike [`Notify`](super::Notify) it stays set, for everybody, until it is cleared.
///
/// # Examples
/// ```no_run
/// use corering::sync::Event;
/// use std::rc::Rc;
///
/// corering::block_on(async {
///     let ready = Rc::new(Event::new());
///     let waits = ready.clone();
///     let task = corering::spawn(async move {
///         waits.wait().await;
///         "off we go"
///     });
///     ready.set();
///     assert_eq!(task.await.unwrap(), "off we go");
/// });
/// ```
#[derive(Default)]
pub struct Event {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    set: bool,
    waiting: Waiters<()>,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub fn new() -> Event {
        Event::default()
    }

    /// Sets the flag and wakes everybody who waits, the longest waiter first.
    pub fn set(&self) {
        let mut state = self.state.borrow_mut();
        state.set = true;
        let woken = state.waiting.take_all();
        drop(state);
        wake_all(woken);
    }

    /// Takes the flag back: whoever waits from now on waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        self.state.borrow_mut().set = false;
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.borrow().set
    }

    /// Waits until the flag is set; at once if it is.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn wait(&self) {
        self.wait_as(|_| task::Wait::plain("sync::Event::wait"))
            .await;
    }

    /// As [`wait`](Self::wait), and said to be `what`.
    pub(super) async fn wait_as(&self, what: What) {
        let wait = Wait {
            event: self,
            ticket: None,
        };
        noted(what, 0, wait).await;
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .finish()
    }
}

/// The future of [`Event::wait`].
struct Wait<'a> {
    event: &'a Event,
    /// The place in the line; the event was set when the line does not hold it any more.
    ticket: Option<Ticket>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let event = self.event;
        let mut state = event.state.borrow_mut();
        match self.ticket {
            None if state.set => Poll::Ready(()),
            None => {
                self.ticket = Some(state.waiting.enter((), cx.waker().clone()));
                Poll::Pending
            }
            Some(ticket) if state.waiting.contains(ticket) => {
                let old = state.waiting.update(ticket, cx.waker());
                drop(state);
                drop(old);
                Poll::Pending
            }
            Some(_) => Poll::Ready(()),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let own = self.event.state.borrow_mut().waiting.leave(ticket);
        drop(own);
    }
}
