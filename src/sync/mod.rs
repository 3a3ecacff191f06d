//! Waiting for each other: on one core without atomics, and between cores.
//!
//! | what | where | for |
//! |---|---|---|
//! | [`channel`] | between cores | a bounded queue of values, many senders, one receiver |
//! | [`oneshot()`](fn@oneshot) | between cores | one value, once |
//! | [`Semaphore`] | one core | at most so many at a time |
//! | [`Notify`] | one core | "something has changed" |
//!
//! Rules
//! 1. Who waits longest is served first, and what is granted to a waiter that has gone is granted
//!    to the next.
//! 2. A waker is woken or dropped, and a value dropped, only when nothing is locked or borrowed:
//!    all three may run code that comes back here.
//! 3. Those between cores hold a short lock, never across a wake. Those of one core are `!Send`.
//!
//! ```text
//!   acquire, send, notified --no room--> Queue: ticket 7, 8, 9 ...
//!                                          | room: the first leaves the queue, is woken
//!                                          v
//!                      polled: its ticket is gone, so what it waited for is its own
//!                      dropped instead: gives it to the next
//! ```

mod channel;
mod error;
mod notify;
pub mod oneshot;
mod semaphore;
mod waiters;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read the clock")]
mod tests;

pub use channel::{Receiver, Sender, channel};
pub use error::{SendError, TryRecvError, TrySendError};
pub use notify::{Notified, Notify};
pub use oneshot::oneshot;
pub use semaphore::{AcquireError, OwnedPermit, Permit, Semaphore, TryAcquireError};
