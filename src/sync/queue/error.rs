//! What can go wrong with a queue; what was not put comes back.

use std::error::Error;
use std::fmt;

/// The queue is shut down; the item comes back.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::queue::{PutError, Queue};
///
/// let queue = Queue::bounded(1);
/// queue.shutdown(false);
/// assert_eq!(queue.put(5).await, Err(PutError(5)));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PutError<T>(pub T);

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is shut down and takes no more: stop putting")
    }
}

impl<T> Error for PutError<T> {}

/// Why [`try_put`](super::WorkQueue::try_put) did not put; the item comes back.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Queue, TryPutError};
///
/// let queue = Queue::bounded(1);
/// queue.try_put(1).unwrap();
/// assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TryPutError<T> {
    /// There is no room at the moment.
    Full(T),
    /// The queue is shut down.
    ShutDown(T),
}

impl<T> TryPutError<T> {
    /// The item.
    pub fn into_inner(self) -> T {
        match self {
            TryPutError::Full(item) | TryPutError::ShutDown(item) => item,
        }
    }
}

impl<T> fmt::Debug for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => "Full(..)",
            TryPutError::ShutDown(_) => "ShutDown(..)",
        })
    }
}

impl<T> fmt::Display for TryPutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryPutError::Full(_) => "the queue is full: use `put` to wait for room",
            TryPutError::ShutDown(_) => "the queue is shut down and takes no more: stop putting",
        })
    }
}

impl<T> Error for TryPutError<T> {}

/// The queue is shut down and empty: nothing will come.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::queue::{GetError, Queue};
///
/// let queue = Queue::<u32>::bounded(1);
/// queue.shutdown(false);
/// assert_eq!(queue.get().await, Err(GetError));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetError;

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is shut down and empty: stop getting")
    }
}

impl Error for GetError {}

/// Why [`try_get`](super::WorkQueue::try_get) has no item.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Queue, TryGetError};
///
/// let queue = Queue::<u32>::bounded(1);
/// assert_eq!(queue.try_get(), Err(TryGetError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryGetError {
    /// No item at the moment.
    Empty,
    /// No item, and none will come.
    ShutDown,
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryGetError::Empty => "the queue is empty: use `get` to wait for an item",
            TryGetError::ShutDown => "the queue is shut down and empty: stop getting",
        })
    }
}

impl Error for TryGetError {}

/// [`task_done`](super::WorkQueue::task_done) was called more often than items were put.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Queue, TooManyDone};
///
/// let queue = Queue::<u32>::bounded(1);
/// assert_eq!(queue.task_done(), Err(TooManyDone));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyDone;

impl fmt::Display for TooManyDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "`task_done` was called more often than items were put: call it once for each item \
             that `get` has given",
        )
    }
}

impl Error for TooManyDone {}
