//! A bounded queue between cores: many senders, one receiver.
//!
//! Rules
//! 1. Those of `chan.rs`, under a lock that is never held across a wake.

use super::chan::{self, Locked, Shared};
use super::ends::channel_ends;
use super::error::{SendError, TryRecvError, TrySendError};
use std::sync::Arc;

/// Makes a channel with room for `capacity` values.
///
/// Both ends may be used on any core and in any executor. Where both stay on one core,
/// [`local::mpsc`](super::local::mpsc) does without a lock.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, mut receiver) = corering::sync::channel(8);
/// sender.send("hello").await.unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv().await, Some("hello"));
/// assert_eq!(receiver.recv().await, None);
/// # });
/// ```
#[track_caller]
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for at least one value");
    ends(capacity)
}

channel_ends!(Arc, Locked, "corering::sync", Send);
