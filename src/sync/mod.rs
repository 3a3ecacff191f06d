//! Waiting for each other: on one core without atomics, and between cores.
//!
//! Between cores:
//!
//! | what | for |
//! |---|---|
//! | [`channel`] | a bounded queue of values, many senders, one receiver |
//! | [`oneshot()`](fn@oneshot) | one value, once |
//!
//! Between the tasks of one core, without locks and atomics; the compiler keeps them there:
//!
//! | what | for |
//! |---|---|
//! | [`Mutex`], [`RwLock`] | a value that is changed over an `await`, one task at a time |
//! | [`Condvar`] | waiting until what a mutex guards is as it should be |
//! | [`Semaphore`], [`BoundedSemaphore`] | at most so many at a time |
//! | [`Notify`] | "something has changed": wakes one task, or all that wait |
//! | [`Event`] | a flag that is waited for, and stays set |
//! | [`Barrier`] | waiting until so many have arrived |
//! | [`OnceCell`] | a value that the first who needs it makes |
//! | [`local::mpsc`], [`local::oneshot`] | as `channel` and `oneshot` |
//! | [`local::broadcast`], [`local::watch`] | every value, or the newest, to every receiver |
//! | [`queue`] | work that many put and many get, by order or priority, with a count of what is open |
//!
//! A value that is not held over an `await` needs none of them: on one core a `Cell` or a `RefCell`
//! in an `Rc` does. Where the ends may be on different cores only `channel` and `oneshot` do, and
//! they can be used in any executor. No wait has a limit of time: [`timeout`] around it sets one,
//! and loses nothing.
//!
//! [`timeout`]: ../time/fn.timeout.html
//!
//! Rules
//! 1. Who waits longest is served first, and what is granted to a waiter that has gone is granted
//!    to the next.
//! 2. A waker is woken or dropped, and a value dropped, only when nothing is locked or borrowed:
//!    all three may run code that comes back here.
//! 3. Those between cores hold a short lock, never across a wake. Those of one core cannot be
//!    shared between threads: what refers to them is `!Send`.
//!
//! ```text
//!   acquire, send, notified --no room--> Queue: ticket 7, 8, 9 ...
//!                                          | room: the first leaves the queue, is woken
//!                                          v
//!                      polled: its ticket is gone, so what it waited for is its own
//!                      dropped instead: gives it to the next
//! ```

mod barrier;
mod bounded_semaphore;
mod chan;
mod channel;
mod condvar;
mod ends;
mod error;
mod event;
mod guard_text;
pub mod local;
#[allow(
    unsafe_code,
    reason = "a guard leads to the value that its permit stands for"
)]
mod mutex;
mod notify;
mod once;
mod once_cell;
pub mod oneshot;
pub mod queue;
#[allow(
    unsafe_code,
    reason = "a guard leads to the value that its permits stand for"
)]
mod rwlock;
mod semaphore;
mod waiters;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read the clock")]
mod tests;

pub use barrier::{Barrier, BarrierWaitResult};
pub use bounded_semaphore::{BoundedSemaphore, TooManyPermits};
pub use channel::{OwnedSendPermit, Receiver, SendPermit, Sender, channel};
pub use condvar::Condvar;
pub use error::{SendError, TryRecvError, TrySendError};
pub use event::Event;
pub use mutex::{Mutex, MutexGuard, OwnedMutexGuard, TryLockError};
pub use notify::{Notified, Notify};
pub use once_cell::{OnceCell, SetError};
pub use oneshot::oneshot;
pub use rwlock::{
    OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
pub use semaphore::{AcquireError, OwnedPermit, Permit, Semaphore, TryAcquireError};
