//! Tasks together: many that are waited for as one, groups that end as one, and plain calls.
//!
//! | what | for | dropping it |
//! |---|---|---|
//! | [`gather`], [`try_gather`] | all outputs, in order | ends what still runs |
//! | [`as_completed`] | outputs as they come, as a `Stream` | ends what still runs |
//! | [`wait`](fn@wait), [`try_wait`] | the first, the first error or all, within a time | the tasks go on |
//! | [`task_group`] | a scope that no task outlives | ends what still runs |
//! | [`shield`] | work that outlives who waits for it | it goes on |
//! | [`timeout_with`] | a timeout that asks, and waits for the answer | drops the future |
//! | [`call_soon`], [`call_later`], [`call_at`], [`call_when_done`] | plain functions | they are called all the same |
//!
//! What runs futures within *one* task is the `futures` crate's: `join!`, `try_join!`, `select!`,
//! `FuturesUnordered` and the rest work here as anywhere. The functions here give each future a
//! task of its own instead, so that a panic of one is a [`JoinError`](crate::task::JoinError), not
//! everybody's, and a wake polls only whom it concerns.
//!
//! Rules
//! 1. "Ends" is an abort: the futures are dropped at their next turn. A member of a group that
//!    wants to be asked instead says so ([`TaskGroup::spawn_cooperative`]).
//! 2. What is awaited to its end leaves nothing behind: a failure is reported once all others have
//!    ended.

#[cfg(feature = "blocking")]
mod blocking;
mod call;
mod gather;
mod group;
mod timeout;
mod wait;

#[cfg(feature = "blocking")]
pub use blocking::spawn_blocking;
pub use call::{CallHandle, call_at, call_later, call_soon, call_when_done};
pub use gather::{AsCompleted, Gather, TryGather, as_completed, gather, try_gather};
pub use group::{GroupTask, TaskGroup, task_group};
pub use timeout::{Overtime, timeout_with};
pub use wait::{Waited, When, try_wait, wait};

use crate::task::{JoinHandle, spawn};
use std::future::Future;

/// Starts `future` as a task of its own, so that it goes on when whoever waits for it is dropped.
///
/// It is [`spawn`]: a task's handle can be dropped, and the task goes on. The name says
/// why it is used: `timeout(limit, shield(save())).await` gives up waiting, not saving.
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Cancel safety
/// Safe: dropping the handle leaves the task as it is.
///
/// # Examples
/// ```no_run
/// use corering::flow::shield;
/// use corering::time::{sleep, timeout};
/// use std::time::Duration;
///
/// async fn save() {
///     sleep(Duration::from_millis(50)).await;
///     println!("saved");
/// }
///
/// corering::block_on(async {
///     let mut saving = shield(save());
///     assert!(timeout(Duration::from_millis(1), &mut saving).await.is_err());
///     saving.await.unwrap(); // it went on
/// });
/// ```
#[track_caller]
#[must_use = "dropping the handle is what it shields from: `drop` it to say so"]
pub fn shield<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    spawn(future)
}
