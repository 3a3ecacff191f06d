//! The program's own blocking code, on threads that are not the cores'.

use crate::task::{JoinHandle, spawn};

/// Runs `f` on a thread of its own kind, where it may block; for code that has no other form.
///
/// Nothing of this crate needs it. The threads are those of the crate `blocking`: started as they
/// are needed, shared by all runtimes of the process, 500 at most unless the environment variable
/// `BLOCKING_MAX_THREADS` says otherwise, and ended when they have had nothing to do for a while.
/// To run fewer at a time, take a permit of a [`Semaphore`](crate::sync::Semaphore) first.
///
/// A panic of `f` is a [`JoinError`](crate::task::JoinError). Dropping the handle lets `f` go on.
/// An abort of it, and the end of the runtime, prevents `f` if it has not begun, and otherwise
/// leaves it alone: it ends when it ends, and its output is dropped on its thread.
///
/// In a [simulation](crate::sim) `f` is called at once, on the spot.
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Cancel safety
/// Safe: dropping a `&mut JoinHandle` that is being awaited loses nothing.
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     let sum = corering::spawn_blocking(|| (1..=1_000_000_u64).sum::<u64>());
///     assert_eq!(sum.await.unwrap(), 500_000_500_000);
/// });
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    #[cfg(feature = "sim")]
    if crate::driver::sim::is_here() {
        return spawn(async { f() });
    }
    // `unblock` begins here, not at the first poll, and hands a panic on to whoever polls it.
    spawn(blocking::unblock(f))
}
