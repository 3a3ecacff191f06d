//! At most so many at a time, on one core.
//!
//! Rules
//! 1. First come, first served: while somebody waits, nobody overtakes, whatever it needs.
//! 2. Permits are taken for a waiter at the moment it leaves the line. If it is dropped before it
//!    sees them, they go to the next.
//! 3. `issued` is what is free, held and granted together: a permit that is given back leaves it
//!    alone, one that is added raises it, one that is forgotten lowers it.

use super::waiters::{Ticket, Waiters, wake_all};
use crate::task::{Noted, Wait, What, noted};
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Counts permits; who wants one waits until there is one. For the tasks of one core.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::Semaphore;
///
/// let at_most_two = Semaphore::new(2);
/// let first = at_most_two.acquire().await.unwrap();
/// let _second = at_most_two.acquire().await.unwrap();
/// assert!(at_most_two.try_acquire().is_err());
/// drop(first);
/// assert!(at_most_two.try_acquire().is_ok());
/// # });
/// ```
pub struct Semaphore {
    state: RefCell<State>,
}

struct State {
    permits: usize,
    /// How many permits there are, whoever has them.
    issued: usize,
    /// Who waits, and for how many permits.
    waiting: Waiters<usize>,
    /// Closed: this ticket and those after it were not served.
    closed: Option<Ticket>,
}

impl State {
    /// Takes the permits if there are enough and nobody waits.
    fn take(&mut self, need: usize) -> Result<(), TryAcquireError> {
        if self.closed.is_some() {
            return Err(TryAcquireError::Closed);
        }
        if self.permits < need || !self.waiting.is_empty() {
            return Err(TryAcquireError::NoPermits);
        }
        self.permits -= need;
        Ok(())
    }

    /// Whether a ticket that has left the line has its permits: a close takes out the others.
    fn served(&self, ticket: Ticket) -> bool {
        self.closed.is_none_or(|unserved| ticket < unserved)
    }

    /// Serves the line as far as the permits reach; those waiters are to be woken.
    fn serve(&mut self) -> Vec<Waker> {
        let mut served = Vec::new();
        while let Some(&need) = self
            .waiting
            .first_need()
            .filter(|&&need| need <= self.permits)
        {
            self.permits -= need;
            served.extend(self.waiting.pop().map(|(_, waker)| waker));
        }
        served
    }
}

/// What a wait for its permits is called.
const WHAT: What = |count| Wait::permits("sync::Semaphore::acquire", count);

impl Semaphore {
    /// A semaphore with so many permits.
    #[must_use]
    pub fn new(permits: usize) -> Semaphore {
        let state = State {
            permits,
            issued: permits,
            waiting: Waiters::default(),
            closed: None,
        };
        Semaphore {
            state: RefCell::new(state),
        }
    }

    /// Waits for a permit, which comes back when it is dropped.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    pub async fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_many(1).await
    }

    /// Waits for `count` permits at once.
    ///
    /// It waits for ever if there will never be so many; and while it waits, so do those behind it.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    pub async fn acquire_many(&self, count: usize) -> Result<Permit<'_>, AcquireError> {
        self.acquire_as(WHAT, count).await
    }

    /// As [`acquire_many`](Self::acquire_many), and said to be `what`.
    pub(super) async fn acquire_as(
        &self,
        what: What,
        count: usize,
    ) -> Result<Permit<'_>, AcquireError> {
        self.take(what, count).await?;
        Ok(Permit {
            semaphore: self,
            count,
        })
    }

    /// As [`acquire`](Self::acquire), with a permit that can be moved into a task.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    ///
    /// # Examples
    /// ```no_run
    /// use corering::sync::Semaphore;
    /// use std::rc::Rc;
    ///
    /// corering::block_on(async {
    ///     let at_most_ten = Rc::new(Semaphore::new(10));
    ///     for _ in 0..1_000 {
    ///         let permit = at_most_ten.clone().acquire_owned().await.unwrap();
    ///         corering::spawn(async move {
    ///             // work, then
    ///             drop(permit);
    ///         });
    ///     }
    /// });
    /// ```
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedPermit, AcquireError> {
        self.acquire_many_owned(1).await
    }

    /// As [`acquire_many`](Self::acquire_many), with permits that can be moved into a task.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    pub async fn acquire_many_owned(
        self: Rc<Self>,
        count: usize,
    ) -> Result<OwnedPermit, AcquireError> {
        self.acquire_owned_as(WHAT, count).await
    }

    /// As [`acquire_many_owned`](Self::acquire_many_owned), and said to be `what`.
    pub(super) async fn acquire_owned_as(
        self: Rc<Self>,
        what: What,
        count: usize,
    ) -> Result<OwnedPermit, AcquireError> {
        self.take(what, count).await?;
        Ok(OwnedPermit {
            semaphore: self,
            count,
        })
    }

    /// A permit if there is one and nobody waits.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// So many permits, if they are there and nobody waits.
    ///
    /// # Errors
    /// If there are not so many, or the semaphore is closed.
    pub fn try_acquire_many(&self, count: usize) -> Result<Permit<'_>, TryAcquireError> {
        self.try_take(count)?;
        Ok(Permit {
            semaphore: self,
            count,
        })
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that can be moved into a task.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedPermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// As [`try_acquire_many`](Self::try_acquire_many), with permits that can be moved into a task.
    ///
    /// # Errors
    /// If there are not so many, or the semaphore is closed.
    pub fn try_acquire_many_owned(
        self: Rc<Self>,
        count: usize,
    ) -> Result<OwnedPermit, TryAcquireError> {
        self.try_take(count)?;
        Ok(OwnedPermit {
            semaphore: self,
            count,
        })
    }

    /// Adds permits.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX`, those that are held included.
    pub fn add_permits(&self, count: usize) {
        let added = self.add_within(usize::MAX, count);
        added.expect("a semaphore cannot have more than usize::MAX permits");
    }

    /// Takes away up to `count` permits that nobody holds, for good; returns how many.
    pub fn forget_permits(&self, count: usize) -> usize {
        let mut state = self.state.borrow_mut();
        let forgotten = count.min(state.permits);
        state.permits -= forgotten;
        state.issued -= forgotten;
        forgotten
    }

    /// Permits that nobody holds.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.state.borrow().permits
    }

    /// Gives no more permits; whoever waits gets an error.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        let unserved = state.waiting.first_ticket();
        state.closed.get_or_insert(unserved);
        let waiting = state.waiting.take_all();
        drop(state);
        wake_all(waiting);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed.is_some()
    }

    /// Waits for permits; whoever gets them owes them to [`give_back`](Self::give_back). `what`
    /// says of their number what the wait is for.
    pub(super) fn take(&self, what: What, need: usize) -> Noted<Acquire<'_>> {
        let permits = Acquire {
            semaphore: self,
            need,
            ticket: None,
        };
        noted(what, need, permits)
    }

    /// As [`take`](Self::take), without waiting.
    pub(super) fn try_take(&self, need: usize) -> Result<(), TryAcquireError> {
        self.state.borrow_mut().take(need)
    }

    /// Permits that were taken come back.
    pub(super) fn give_back(&self, count: usize) {
        let mut state = self.state.borrow_mut();
        state.permits += count;
        let served = state.serve();
        drop(state);
        wake_all(served);
    }

    /// Adds permits unless there would be more than `bound`; `None` then.
    pub(super) fn add_within(&self, bound: usize, count: usize) -> Option<()> {
        let mut state = self.state.borrow_mut();
        let issued = state.issued.checked_add(count)?;
        if issued > bound {
            return None;
        }
        state.issued = issued;
        drop(state);
        self.give_back(count);
        Some(())
    }

    /// Permits that were taken never come back.
    fn write_off(&self, count: usize) {
        self.state.borrow_mut().issued -= count;
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The wait for permits, which are then the caller's to give back.
pub(super) struct Acquire<'a> {
    semaphore: &'a Semaphore,
    need: usize,
    /// The place in the line; served when the line does not hold it any more.
    ticket: Option<Ticket>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.semaphore.state.borrow_mut();
        let Some(ticket) = self.ticket else {
            return match state.take(self.need) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(TryAcquireError::Closed) => Poll::Ready(Err(AcquireError)),
                Err(TryAcquireError::NoPermits) => {
                    let ticket = state.waiting.enter(self.need, cx.waker().clone());
                    drop(state);
                    self.ticket = Some(ticket);
                    Poll::Pending
                }
            };
        };
        if state.waiting.contains(ticket) {
            let old = state.waiting.update(ticket, cx.waker());
            drop(state);
            drop(old);
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(if state.served(ticket) {
            Ok(())
        } else {
            Err(AcquireError)
        })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut state = self.semaphore.state.borrow_mut();
        let own = state.waiting.leave(ticket);
        if own.is_none() && state.served(ticket) {
            // It was given permits that it has not seen: the next one's.
            state.permits += self.need;
        }
        // Also after a mere step out of the line: it may have held up those behind it.
        let served = state.serve();
        drop(state);
        drop(own);
        wake_all(served);
    }
}

/// One or more permits of a [`Semaphore`], given back when this is dropped.
///
/// # Examples
/// ```
/// use corering::sync::{Permit, Semaphore};
///
/// let semaphore = Semaphore::new(1);
/// let permit: Permit<'_> = semaphore.try_acquire().unwrap();
/// assert_eq!(semaphore.available_permits(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available_permits(), 1);
/// ```
#[must_use = "a permit is given back when it is dropped"]
#[derive(Debug)]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

/// A [`Permit`] that keeps its semaphore alive and can be moved into a task.
///
/// # Examples
/// ```
/// use corering::sync::{OwnedPermit, Semaphore};
/// use std::rc::Rc;
///
/// let semaphore = Rc::new(Semaphore::new(1));
/// let permit: OwnedPermit = semaphore.clone().try_acquire_owned().unwrap();
/// assert_eq!(semaphore.available_permits(), 0);
/// drop(permit);
/// assert_eq!(semaphore.available_permits(), 1);
/// ```
#[must_use = "a permit is given back when it is dropped"]
#[derive(Debug)]
pub struct OwnedPermit {
    semaphore: Rc<Semaphore>,
    count: usize,
}

/// What both permits do, the one that borrows its semaphore and the one that keeps it alive.
macro_rules! permits {
    ($($permit:ty),*) => {$(
        impl $permit {
            /// Never gives the permits back.
            pub fn forget(mut self) {
                self.semaphore.write_off(std::mem::take(&mut self.count));
            }

            /// How many permits these are.
            #[must_use]
            pub fn num_permits(&self) -> usize {
                self.count
            }

            /// Takes `count` of them out; `None` if there are not so many.
            #[must_use = "permits are given back when they are dropped"]
            pub fn split(&mut self, count: usize) -> Option<Self> {
                self.count = self.count.checked_sub(count)?;
                Some(Self {
                    semaphore: Clone::clone(&self.semaphore),
                    count,
                })
            }

            /// Takes in the permits of another, so that all are given back at once.
            ///
            /// # Panics
            /// If they are of another semaphore.
            #[track_caller]
            pub fn merge(&mut self, mut other: Self) {
                assert!(
                    std::ptr::eq(&*self.semaphore, &*other.semaphore),
                    "permits of different semaphores cannot be merged: keep them apart"
                );
                self.count += std::mem::take(&mut other.count);
            }
        }

        impl Drop for $permit {
            fn drop(&mut self) {
                self.semaphore.give_back(self.count);
            }
        }
    )*};
}

permits!(Permit<'_>, OwnedPermit);

/// The semaphore is closed.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::{AcquireError, Semaphore};
///
/// let semaphore = Semaphore::new(1);
/// semaphore.close();
/// assert_eq!(semaphore.acquire().await.unwrap_err(), AcquireError);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireError;

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed")
    }
}

impl Error for AcquireError {}

/// Why [`Semaphore::try_acquire`] gives no permit.
///
/// # Examples
/// ```
/// use corering::sync::{Semaphore, TryAcquireError};
///
/// let semaphore = Semaphore::new(0);
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// None is free, or others wait already.
    NoPermits,
    /// The semaphore is closed.
    Closed,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::NoPermits => "no permit is free: use `acquire` to wait for one",
            TryAcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl Error for TryAcquireError {}
