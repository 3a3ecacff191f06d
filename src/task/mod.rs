//! Futures that run: tasks, their handles, and the executor of one core.
//!
//! Rules
//! 1. A task never leaves the core that spawned it. Its future, its output and its [`JoinHandle`]
//!    are touched by the owner thread only, so they need not be `Send`.
//! 2. A waker may go anywhere. It can be cloned, woken and dropped on any thread, also long after
//!    the executor is gone; then it does nothing.
//! 3. One block of memory a task: header, then the future, whose place the output takes later. It
//!    is allocated, or one that an ended task has left behind (`blocks`).
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

#[cfg(any(feature = "hyper", feature = "dns-hickory"))]
mod affine;
mod blocks;
mod budget;
mod builder;
mod error;
mod executor;
mod id;
mod inbox;
mod info;
mod join;
mod join_set;
mod raw;
mod remote;
mod token;
mod waits;
mod waker;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read the clock")]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(any(feature = "hyper", feature = "dns-hickory"))]
pub(crate) use affine::Affine;
pub(crate) use budget::Budget;
pub use builder::Builder;
pub use error::JoinError;
pub(crate) use executor::{EnterGuard, Executor};
pub use id::Id;
pub(crate) use inbox::Unpark;
pub(crate) use info::Hooks;
pub use info::{Stall, TaskInfo, TaskPanic, TaskState, Wait};
pub use join::{AbortHandle, JoinHandle};
pub use join_set::JoinSet;
pub(crate) use join_set::Joined;
pub(crate) use remote::Remote;
pub use remote::RemoteHandle;
pub use token::{CancellationToken, Cancelled, DropGuard};
pub(crate) use waits::{Note, Noted, What, noted};

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

/// As [`spawn`], but the task waits to be woken before its first turn.
#[track_caller]
pub(crate) fn spawn_resting<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    match executor::rest_on_current(future) {
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

/// The name of the task that is running on this thread; `None` outside of any task, and for one
/// that was given none.
///
/// # Examples
/// ```
/// assert_eq!(corering::task::current_name(), None);
/// ```
#[must_use]
pub fn current_name() -> Option<Arc<str>> {
    executor::current_name()
}

/// The live tasks of this core, the oldest first, with what each waits for; empty outside of a
/// runtime.
///
/// The future that `block_on` was given is no task and is not listed. It looks at every task, so it
/// is for people who look at a program, not for each request. To see another core's, ask there:
/// `spawn_on(core, || async { task::all() })`.
///
/// # Examples
/// ```no_run
/// # async fn f() {
/// for task in corering::task::all() {
///     println!("{task}");
/// }
/// # }
/// ```
#[must_use]
pub fn all() -> Vec<TaskInfo> {
    executor::list()
}

/// The token by which this task is asked to end, for its children:
/// `Builder::new().cancellation_token(task::token().child_token())` starts a task that is asked
/// when this one is.
///
/// In the future that `block_on` was given, and outside of a runtime, it is a new one, which nobody
/// else has.
///
/// # Examples
/// ```no_run
/// # async fn f() {
/// let parent = corering::spawn(async {
///     let token = corering::task::token().child_token();
///     let child = corering::task::Builder::new().cancellation_token(token);
///     let child = child.spawn(async { corering::task::cancelled().await });
///     child.await
/// });
/// parent.cancel();
/// assert!(parent.await.unwrap().is_ok());
/// # }
/// ```
#[must_use]
pub fn token() -> CancellationToken {
    executor::current_token().unwrap_or_default()
}

/// Waits until this task is asked to end, by [`JoinHandle::cancel`] or through its
/// [token](Builder::cancellation_token). From then on it is always ready, unless the task takes the
/// request [back](uncancel).
///
/// The task that polls it first is meant. What `block_on` was given can be asked by nobody: there
/// it never ends, as outside of a runtime.
///
/// # Cancel safety
/// Safe: nothing is consumed.
///
/// # Examples
/// ```no_run
/// # async fn next_request() {}
/// # async fn say_goodbye() {}
/// # async fn f() {
/// let server = corering::spawn(async {
///     while corering::task::run_until_cancelled(next_request()).await.is_some() {}
///     say_goodbye().await; // cleaning up may wait
///     "stopped"
/// });
/// server.cancel();
/// assert_eq!(server.await.unwrap(), "stopped");
/// # }
/// ```
pub async fn cancelled() {
    own_request().await;
}

/// The request to the task that is running.
fn own_request() -> Cancelled {
    executor::current_token().map_or_else(Cancelled::never, |token| token.cancelled())
}

/// Whether this task was asked to end; false outside of any task.
///
/// # Examples
/// ```
/// assert!(!corering::task::is_cancelled());
/// ```
#[must_use]
pub fn is_cancelled() -> bool {
    executor::current_token().is_some_and(|token| token.is_cancelled())
}

/// How many requests to end this task has that it has not taken [back](uncancel); 0 outside of any
/// task. Each [`JoinHandle::cancel`] is one, and so is each request to its
/// [token](Builder::cancellation_token).
///
/// # Examples
/// ```
/// assert_eq!(corering::task::cancelling(), 0);
/// ```
#[must_use]
pub fn cancelling() -> usize {
    executor::current_token().map_or(0, |token| token.cancelling())
}

/// Takes one request to end this task back, and says how many are left: the task has decided to go
/// on. With the last one it is as if nobody had asked: [`cancelled`] waits for the next request,
/// and [`run_until_cancelled`] runs its future. Outside of any task it does nothing.
///
/// What the task has asked in its turn (groups, servers, tasks with a child of its [`token`])
/// stays asked. Whoever asks a task that may go on awaits its handle, or asks again.
///
/// # Cancel safety
/// It waits for nothing. A task that is aborted has no say in it.
///
/// # Examples
/// ```no_run
/// use corering::task;
/// use corering::time::sleep;
/// use std::time::Duration;
///
/// # async fn save() {}
/// # async fn f() {
/// let worker = corering::spawn(async {
///     while task::run_until_cancelled(sleep(Duration::from_secs(1))).await.is_some() {}
///     // The first request: what it does now may use `run_until_cancelled` as ever.
///     task::uncancel();
///     let saved = task::run_until_cancelled(save()).await;
///     saved.is_some() // unless it was asked again meanwhile
/// });
/// worker.cancel();
/// assert!(worker.await.unwrap());
/// # }
/// ```
pub fn uncancel() -> usize {
    executor::current_token().map_or(0, |token| token.uncancel())
}

/// Runs `future` until this task is asked to end: `None` then, and the future is dropped. If it was
/// asked already, the future is not polled at all. See [`cancelled`].
///
/// # Cancel safety
/// As the future's own: dropping it drops the future.
pub async fn run_until_cancelled<F: Future>(future: F) -> Option<F::Output> {
    token::run_until(own_request(), future).await
}
