//! Waiting until so many have arrived, on one core.
//!
//! Rules
//! 1. Who arrives last lets all go, and is their leader; the barrier then begins anew.
//! 2. A waiter that is dropped has not arrived: the others wait for another one.

use super::waiters::{Ticket, Waiters, wake_all};
use crate::task::{self, noted};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets tasks of one core go on together, once so many of them have arrived.
///
/// # Examples
/// ```no_run
/// use corering::sync::Barrier;
/// use std::rc::Rc;
///
/// corering::block_on(async {
///     let barrier = Rc::new(Barrier::new(3));
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = barrier.clone();
///             corering::spawn(async move { barrier.wait().await.is_leader() })
///         })
///         .collect();
///     let mut leaders = 0;
///     for task in tasks {
///         leaders += usize::from(task.await.unwrap());
///     }
///     assert_eq!(leaders, 1);
/// });
/// ```
pub struct Barrier {
    parties: usize,
    waiting: RefCell<Waiters<()>>,
}

impl Barrier {
    /// A barrier that opens when `parties` tasks wait at it. One for 0 is one for 1.
    #[must_use]
    pub fn new(parties: usize) -> Barrier {
        Barrier {
            parties: parties.max(1),
            waiting: RefCell::default(),
        }
    }

    /// Arrives, and waits for the others.
    ///
    /// # Cancel safety
    /// Safe: who is dropped while waiting has not arrived, and another one can take its place.
    pub async fn wait(&self) -> BarrierWaitResult {
        let wait = Wait {
            barrier: self,
            ticket: None,
        };
        noted(|_| task::Wait::plain("sync::Barrier::wait"), 0, wait).await
    }

    /// How many tasks it takes to open it.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many have arrived and wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// What [`Barrier::wait`] gives.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::{Barrier, BarrierWaitResult};
///
/// let result: BarrierWaitResult = Barrier::new(1).wait().await;
/// assert!(result.is_leader());
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    leader: bool,
}

impl BarrierWaitResult {
    /// Whether it is the one of the group that arrived last.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// The future of [`Barrier::wait`].
struct Wait<'a> {
    barrier: &'a Barrier,
    /// The place in the line; the barrier has opened when the line does not hold it any more.
    ticket: Option<Ticket>,
}

impl Future for Wait<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        let barrier = self.barrier;
        let mut waiting = barrier.waiting.borrow_mut();
        match self.ticket {
            None if waiting.len() + 1 == barrier.parties => {
                let others = waiting.take_all();
                drop(waiting);
                wake_all(others);
                Poll::Ready(BarrierWaitResult { leader: true })
            }
            None => {
                self.ticket = Some(waiting.enter((), cx.waker().clone()));
                Poll::Pending
            }
            Some(ticket) if waiting.contains(ticket) => {
                let old = waiting.update(ticket, cx.waker());
                drop(waiting);
                drop(old);
                Poll::Pending
            }
            Some(_) => Poll::Ready(BarrierWaitResult { leader: false }),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let own = self.barrier.waiting.borrow_mut().leave(ticket);
        drop(own);
    }
}
