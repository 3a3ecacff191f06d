//! Many futures, a task each: all outputs in order, or as they come.

use crate::task::{JoinError, JoinSet, Joined};
use futures_core::Stream;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Starts a task for each future, now, and waits for all of them: their outputs, in their order.
///
/// A panic of one is its [`JoinError`]; the others go on. [`try_gather`] stops at the first error
/// instead. Gathers can stand in each other.
///
/// # Panics
/// If the thread runs no core; see [`spawn`](crate::spawn).
///
/// # Cancel safety
/// Dropping it aborts the tasks that still run, and drops the outputs of the others.
///
/// # Examples
/// ```no_run
/// use corering::flow::gather;
///
/// corering::block_on(async {
///     let squares = gather((0..10_u32).map(|n| async move { n * n })).await;
///     let squares: Vec<u32> = squares.into_iter().map(Result::unwrap).collect();
///     assert_eq!(squares[9], 81);
/// });
/// ```
#[track_caller]
pub fn gather<I>(futures: I) -> Gather<<I::Item as Future>::Output>
where
    I: IntoIterator,
    I::Item: Future + 'static,
{
    let set = spawn_all(futures);
    let outputs = (0..set.len()).map(|_| None).collect();
    Gather { set, outputs }
}

#[track_caller]
fn spawn_all<I>(futures: I) -> JoinSet<<I::Item as Future>::Output>
where
    I: IntoIterator,
    I::Item: Future + 'static,
{
    let mut set = JoinSet::new();
    for future in futures {
        set.spawn(future);
    }
    set
}

/// The future of [`gather`].
///
/// # Examples
/// ```no_run
/// use corering::flow::{Gather, gather};
///
/// corering::block_on(async {
///     let both: Gather<&str> = gather(["a", "b"].map(std::future::ready));
///     assert_eq!(both.await.len(), 2);
/// });
/// ```
#[must_use = "its tasks are aborted when it is dropped: await it"]
pub struct Gather<T> {
    set: JoinSet<T>,
    outputs: Vec<Option<Result<T, JoinError>>>,
}

impl<T> Unpin for Gather<T> {}

impl<T> Future for Gather<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(Joined { key, output, .. }) = ready!(self.set.poll_next(cx)) {
            self.outputs[key as usize] = Some(output);
        }
        Poll::Ready(in_order(&mut self.outputs))
    }
}

/// What every task has left.
fn in_order<T>(outputs: &mut Vec<Option<T>>) -> Vec<T> {
    let outputs = std::mem::take(outputs).into_iter();
    outputs
        .map(|output| output.expect("every task of an empty set has been joined"))
        .collect()
}

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("running", &self.set.len())
            .finish_non_exhaustive()
    }
}

/// Starts a task for each future, now, and waits for all of them: the values, in their order, or
/// the first error.
///
/// At the first error the others are aborted; it is returned once they have ended.
///
/// # Errors
/// The first error that any of the futures returns.
///
/// # Panics
/// If the thread runs no core; see [`spawn`](crate::spawn). With the panic of a task, once the
/// others have ended.
///
/// # Cancel safety
/// Dropping it aborts the tasks that still run, and drops the outputs of the others.
///
/// # Examples
/// ```no_run
/// use corering::flow::try_gather;
///
/// corering::block_on(async {
///     let task = |n: u32| async move { if n < 3 { Ok(n) } else { Err("too much") } };
///     assert_eq!(try_gather((0..3).map(task)).await, Ok(vec![0, 1, 2]));
///     assert_eq!(try_gather((0..9).map(task)).await, Err("too much"));
/// });
/// ```
#[track_caller]
pub fn try_gather<I, T, E>(futures: I) -> TryGather<T, E>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>> + 'static,
{
    let set = spawn_all(futures);
    let outputs = (0..set.len()).map(|_| None).collect();
    TryGather {
        set,
        outputs,
        failure: None,
    }
}

/// The future of [`try_gather`].
///
/// # Examples
/// ```no_run
/// use corering::flow::{TryGather, try_gather};
///
/// corering::block_on(async {
///     let both: TryGather<u8, ()> = try_gather([Ok(1), Ok(2)].map(std::future::ready));
///     assert_eq!(both.await.unwrap(), [1, 2]);
/// });
/// ```
#[must_use = "its tasks are aborted when it is dropped: await it"]
pub struct TryGather<T, E> {
    set: JoinSet<Result<T, E>>,
    outputs: Vec<Option<T>>,
    /// What came first; the rest is being aborted.
    failure: Option<Failure<E>>,
}

/// Why a task has no value.
pub(super) enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E> Failure<E> {
    /// The error, or the panic.
    pub(super) fn raise(self) -> E {
        match self {
            Failure::Error(error) => error,
            Failure::Panic(payload) => resume_unwind(payload),
        }
    }
}

impl<T, E> Unpin for TryGather<T, E> {}

impl<T, E> Future for TryGather<T, E> {
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(Joined { key, output, .. }) = ready!(this.set.poll_next(cx)) {
            let failure = match output.map_err(JoinError::try_into_panic) {
                Ok(Ok(value)) => {
                    this.outputs[key as usize] = Some(value);
                    continue;
                }
                Ok(Err(error)) => Failure::Error(error),
                Err(Ok(payload)) => Failure::Panic(payload),
                // Only we abort them, and only after a failure.
                Err(Err(_cancelled)) => continue,
            };
            if this.failure.is_none() {
                this.failure = Some(failure);
                this.set.abort_all();
            }
        }
        Poll::Ready(match this.failure.take() {
            Some(failure) => Err(failure.raise()),
            None => Ok(in_order(&mut this.outputs)),
        })
    }
}

impl<T, E> fmt::Debug for TryGather<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryGather")
            .field("running", &self.set.len())
            .field("failed", &self.failure.is_some())
            .finish_non_exhaustive()
    }
}

/// Starts a task for each future, now, and gives their outputs as they come.
///
/// # Panics
/// If the thread runs no core; see [`spawn`](crate::spawn).
///
/// # Examples
/// ```no_run
/// use corering::flow::as_completed;
/// use corering::time::sleep;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let nap = |ms| async move {
///         sleep(Duration::from_millis(ms)).await;
///         ms
///     };
///     let mut naps = as_completed([nap(20), nap(1), nap(10)]);
///     while let Some(ms) = naps.next().await {
///         println!("{}", ms.unwrap()); // 1, 10, 20
///     }
/// });
/// ```
#[track_caller]
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as Future>::Output>
where
    I: IntoIterator,
    I::Item: Future + 'static,
{
    AsCompleted {
        set: spawn_all(futures),
    }
}

/// Outputs of tasks, in the order in which they end; made by [`as_completed`].
///
/// # Cancel safety
/// Dropping `next()` loses nothing. Dropping the stream aborts the tasks that still run.
///
/// # Examples
/// ```no_run
/// use corering::flow::{AsCompleted, as_completed};
/// use futures::StreamExt;
///
/// corering::block_on(async {
///     let tasks: AsCompleted<u8> = as_completed([1, 2].map(std::future::ready));
///     let outputs: Vec<_> = tasks.map(Result::unwrap).collect().await;
///     assert_eq!(outputs.len(), 2);
/// });
/// ```
#[must_use = "its tasks are aborted when it is dropped: take its outputs"]
pub struct AsCompleted<T> {
    set: JoinSet<T>,
}

impl<T> AsCompleted<T> {
    /// The next output; `None` after the last.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken unless it is returned.
    pub async fn next(&mut self) -> Option<Result<T, JoinError>> {
        self.set.join_next().await
    }
}

impl<T> Unpin for AsCompleted<T> {}

impl<T> Stream for AsCompleted<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.set.poll_join_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.set.len(), Some(self.set.len()))
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.set.len())
            .finish()
    }
}
