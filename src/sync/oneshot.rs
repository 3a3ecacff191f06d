//! One value from one task to another, on any cores. The rules stand in `once`.

use super::once::{State, oneshot_ends};
use super::waiters;
use crate::task::{Wait, What};
use crate::threads::{Mutex, MutexGuard};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError};

/// Makes a channel for one value.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, receiver) = corering::sync::oneshot();
/// sender.send(5).unwrap();
/// assert_eq!(receiver.await, Ok(5));
/// # });
/// ```
#[must_use = "an end that is dropped closes the channel"]
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    ends(Shared(Mutex::new(State::new())))
}

struct Shared<T>(Mutex<State<T>>);

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Only a foreign waker's `clone` could panic under the lock; the state is whole even then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

oneshot_ends!(Arc, "sync::oneshot", "oneshot");

/// The sender was dropped without sending, or the receiver was closed.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::oneshot::{self, RecvError};
///
/// let (sender, receiver) = oneshot::oneshot::<u32>();
/// drop(sender);
/// assert_eq!(receiver.await, Err(RecvError));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel is closed: nothing was sent")
    }
}

impl Error for RecvError {}

/// Why [`Receiver::try_recv`] has no value.
///
/// # Examples
/// ```
/// use corering::sync::oneshot::{self, TryRecvError};
///
/// let (sender, mut receiver) = oneshot::oneshot::<u32>();
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing was sent yet.
    Empty,
    /// Nothing will be sent, or it was received already.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "nothing was sent yet",
            TryRecvError::Closed => "the channel is closed",
        })
    }
}

impl Error for TryRecvError {}
