//! A queue of values between the tasks of one core: many senders, one receiver, no atomics.
//!
//! Rules
//! 1. Those of `chan.rs`, under a `RefCell`. Without a bound it is the same with room for all.
//! 2. A queue without a bound is fit only where something else limits what is sent.

use crate::sync::chan::{self, Shared, Unshared};
use crate::sync::ends::channel_ends;
pub use crate::sync::error::{SendError, TryRecvError, TrySendError};
use std::fmt;
use std::rc::Rc;

/// Makes a channel with room for `capacity` values, for the tasks of one core.
///
/// Between cores it is [`corering::sync::channel`](crate::sync::channel()).
///
/// # Panics
/// If `capacity` is 0.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::local::mpsc;
///
/// let (sender, mut receiver) = mpsc::channel(8);
/// sender.send("hello").await.unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv().await, Some("hello"));
/// assert_eq!(receiver.recv().await, None);
/// # });
/// ```
#[track_caller]
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for at least one value");
    ends(capacity)
}

/// Makes a channel with room for as many values as there is memory, so that sending never waits.
///
/// # Examples
/// ```
/// use corering::sync::local::mpsc;
///
/// let (sender, mut receiver) = mpsc::unbounded_channel();
/// for n in 0..1_000 {
///     sender.send(n).unwrap();
/// }
/// assert_eq!(receiver.len(), 1_000);
/// assert_eq!(receiver.try_recv(), Ok(0));
/// ```
#[must_use]
pub fn unbounded_channel<T>() -> (UnboundedSender<T>, Receiver<T>) {
    let (sender, receiver) = ends(usize::MAX);
    (UnboundedSender(sender), receiver)
}

channel_ends!(Rc, Unshared, "corering::sync::local::mpsc");

/// Sends values into an [`unbounded_channel`]. Clones send into the same one.
///
/// # Examples
/// ```
/// use corering::sync::local::mpsc::{UnboundedSender, unbounded_channel};
///
/// let (sender, receiver): (UnboundedSender<u32>, _) = unbounded_channel();
/// sender.clone().send(1).unwrap();
/// drop(receiver);
/// assert!(sender.send(2).is_err());
/// ```
pub struct UnboundedSender<T>(Sender<T>);

impl<T> UnboundedSender<T> {
    /// Sends a value. It never waits.
    ///
    /// # Errors
    /// The value, if the receiver has closed the channel or was dropped.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.0.try_send(value);
        sent.map_err(|refused| SendError(refused.into_inner()))
    }

    /// Waits until the receiver has closed the channel or was dropped.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Whether the receiver has closed the channel or was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether `other` sends into the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &UnboundedSender<T>) -> bool {
        self.0.same_channel(&other.0)
    }

    /// How many senders the channel has.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        self.0.strong_count()
    }

    /// Values sent and not yet received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Clone for UnboundedSender<T> {
    fn clone(&self) -> UnboundedSender<T> {
        UnboundedSender(self.0.clone())
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundedSender")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
