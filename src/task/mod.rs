//! Futures that run: tasks, their handles, and the executor of one core.
//!
//! Rules
//! 1. A task never leaves the core that spawned it. Its future, its output and its [`JoinHandle`]
//!    are touched by the owner thread only, so they need not be `Send`.
//! 2. A waker may go anywhere. It can be cloned, woken and dropped on any thread, also long after
//!    the executor is gone; then it does nothing.
//! 3. One allocation a task: header, then the future, whose place the output takes later.
//! 4. A wake on the owner core is a flag and a queue push, without atomics. Any other wake goes
//!    through the inbox and then ends the loop's sleep. Neither ever waits for anybody.
//! 5. User code (poll, destructors, foreign wakers) runs with no borrow of ours held, and what it
//!    panics with goes to the task's own handle and nowhere else.
//! 6. The future is dropped *before* whoever joins it is woken.
//! 7. The thread's current executor is one pointer; `Executor::enter` swaps it, so that several
//!    cores can take turns on one thread.
//!
//! ```text
//!                    wake, abort                     pop, poll: Pending
//!   spawn --> QUEUED <----------- waiting <---------------------------------+
//!               |                                                           |
//!               +-- turn --> BUSY --------------------------------------------
//!               |             | poll: Ready or panic
//!               | (ABORT)     v
//!               +--cancel--> drop future -> store output -> DONE -> wake the joiner
//!                                                            |
//!                          JoinHandle::poll takes the output, or its drop drops it
//!
//!   another thread: Waker::wake --in_inbox--> Inbox --drain (start of a turn)--> QUEUED
//! ```

#[cfg(feature = "hyper")]
mod affine;
mod budget;
mod error;
mod executor;
mod id;
mod inbox;
mod join;
mod join_set;
mod raw;
mod remote;
mod waker;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read the clock")]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "hyper")]
pub(crate) use affine::Affine;
pub(crate) use budget::Budget;
pub use error::JoinError;
pub(crate) use executor::{EnterGuard, Executor};
pub use id::Id;
pub(crate) use inbox::Unpark;
pub use join::{AbortHandle, JoinHandle};
pub use join_set::JoinSet;
pub(crate) use remote::Remote;
pub use remote::RemoteHandle;

/// Starts a task on this core and returns the handle that joins it.
///
/// The task is queued behind those that are ready and runs when the caller waits for something.
/// It goes on if the handle is dropped. Neither the future nor its output need be `Send`: they
/// never leave this core.
///
/// # Panics
/// If the thread runs no core, that is outside of `block_on` and of any task.
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     let answer = corering::spawn(async { 6 * 7 });
///     assert_eq!(answer.await.unwrap(), 42);
/// });
/// ```
#[track_caller]
pub fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    match executor::spawn_on_current(future) {
        Ok(handle) => handle,
        Err(_future) => no_runtime(),
    }
}

/// The one panic of [`spawn`], kept out of its line.
#[cold]
#[inline(never)]
#[track_caller]
fn no_runtime() -> ! {
    panic!(
        "`spawn` was called on a thread that runs no corering core: call it inside \
         `corering::block_on(async {{ .. }})` or in a task; to reach a core from another thread, \
         use `spawn_on`"
    )
}

/// Lets every other ready task of this core run once before the caller goes on.
///
/// # Cancel safety
/// Safe: nothing is consumed.
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     for _ in 0..1_000 {
///         // a piece of work, then
///         corering::task::yield_now().await;
///     }
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future that [`yield_now`] returns: pending once, then ready.
///
/// # Examples
/// ```
/// let turn: corering::task::YieldNow = corering::task::yield_now();
/// # drop(turn);
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    /// Whether the one pending poll has been.
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The id of the task that is running on this thread; `None` outside of any task.
///
/// # Examples
/// ```
/// assert_eq!(corering::task::current_id(), None);
/// ```
#[must_use]
pub fn current_id() -> Option<Id> {
    executor::current_id()
}
