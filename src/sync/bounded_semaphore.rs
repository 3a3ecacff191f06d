//! A semaphore that never has more permits than it began with.
//!
//! Rules
//! 1. It is a [`Semaphore`] whose `issued` permits have a bound. Permits that come back by their
//!    drop are issued already; only those that were forgotten may be added again.

use super::semaphore::{AcquireError, OwnedPermit, Permit, Semaphore, TryAcquireError};
use crate::task::{Wait, What};
use std::error::Error;
use std::fmt;
use std::rc::Rc;

/// A [`Semaphore`] to which more cannot be given back than was taken. For the tasks of one core.
///
/// It finds the mistake that a plain semaphore hides: a limit that grows, because somewhere a
/// permit is given back twice.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::BoundedSemaphore;
///
/// let at_most_two = BoundedSemaphore::new(2);
/// at_most_two.acquire().await.unwrap().forget();
/// assert!(at_most_two.add_permits(1).is_ok());
/// assert!(at_most_two.add_permits(1).is_err());
/// # });
/// ```
pub struct BoundedSemaphore {
    /// Shared with its owned permits.
    semaphore: Rc<Semaphore>,
    bound: usize,
}

/// What a wait for its permits is called.
const WHAT: What = |count| Wait::permits("sync::BoundedSemaphore::acquire", count);

impl BoundedSemaphore {
    /// A semaphore with so many permits, now and at most.
    #[must_use]
    pub fn new(bound: usize) -> BoundedSemaphore {
        BoundedSemaphore {
            semaphore: Rc::new(Semaphore::new(bound)),
            bound,
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

    /// Waits for `count` permits at once; see [`Semaphore::acquire_many`].
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    pub async fn acquire_many(&self, count: usize) -> Result<Permit<'_>, AcquireError> {
        self.semaphore.acquire_as(WHAT, count).await
    }

    /// As [`acquire`](Self::acquire), with a permit that can be moved into a task.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Cancel safety
    /// Safe: no permit is lost, only the place in the line.
    pub async fn acquire_owned(&self) -> Result<OwnedPermit, AcquireError> {
        self.semaphore.clone().acquire_owned_as(WHAT, 1).await
    }

    /// A permit if there is one and nobody waits.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.semaphore.try_acquire()
    }

    /// As [`try_acquire`](Self::try_acquire), with a permit that can be moved into a task.
    ///
    /// # Errors
    /// If there is none, or the semaphore is closed.
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit, TryAcquireError> {
        self.semaphore.clone().try_acquire_owned()
    }

    /// Adds permits in place of those that were forgotten.
    ///
    /// # Errors
    /// If there would be more than the [`bound`](Self::bound), those that are held included; then
    /// none is added.
    pub fn add_permits(&self, count: usize) -> Result<(), TooManyPermits> {
        let added = self.semaphore.add_within(self.bound, count);
        added.ok_or(TooManyPermits { bound: self.bound })
    }

    /// How many permits it has at most.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Permits that nobody holds.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Gives no more permits; whoever waits gets an error.
    pub fn close(&self) {
        self.semaphore.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.semaphore.is_closed()
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("permits", &self.available_permits())
            .field("bound", &self.bound)
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// More permits were added to a [`BoundedSemaphore`] than were forgotten.
///
/// # Examples
/// ```
/// use corering::sync::{BoundedSemaphore, TooManyPermits};
///
/// let error: TooManyPermits = BoundedSemaphore::new(3).add_permits(1).unwrap_err();
/// assert_eq!(error.bound(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPermits {
    bound: usize,
}

impl TooManyPermits {
    /// The most permits that the semaphore can have.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }
}

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the semaphore would have more than its {} permits: a permit gives itself back when it \
             is dropped, so add only what was forgotten with `Permit::forget`",
            self.bound
        )
    }
}

impl Error for TooManyPermits {}
