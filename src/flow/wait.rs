//! Waiting for some of many tasks, within a time.

use crate::task::{Id, JoinError, JoinHandle, JoinSet, Joined};
use crate::time::sleep;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// When [`wait`] shall return.
///
/// # Examples
/// ```
/// assert_ne!(corering::flow::When::First, corering::flow::When::All);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// As soon as one has ended.
    First,
    /// As soon as one has failed, or all have ended.
    FirstError,
    /// When all have ended.
    All,
}

/// What [`wait`] found.
///
/// # Examples
/// ```no_run
/// use corering::flow::{Waited, When, wait};
///
/// corering::block_on(async {
///     let tasks = (0..3).map(|n| corering::spawn(async move { n }));
///     let waited: Waited<i32> = wait(tasks, None, When::All).await;
///     assert_eq!((waited.done.len(), waited.pending.len()), (3, 0));
/// });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Waited<T> {
    /// The tasks that have ended, in that order, with their outputs.
    pub done: Vec<(Id, Result<T, JoinError>)>,
    /// Those that have not, in the order in which they were given.
    pub pending: Vec<JoinHandle<T>>,
}

/// Waits for tasks until `when` is fulfilled, or `limit` is over.
///
/// A failure is a task that panicked or was aborted; where tasks return a `Result`, [`try_wait`]
/// counts its errors too. Nothing is aborted: what is pending goes on, also if the handles in
/// [`Waited::pending`] are dropped. Without tasks it returns at once.
///
/// # Panics
/// When polled outside of a runtime, if there is a limit.
///
/// # Cancel safety
/// Not safe for outputs: it has taken the handles, so dropping it lets the tasks go on by
/// themselves and drops the outputs of those that have ended. A limit of its own is what `limit` is
/// for.
///
/// # Examples
/// ```no_run
/// use corering::flow::{When, wait};
/// use corering::time::sleep;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let nap = |ms| corering::spawn(sleep(Duration::from_millis(ms)));
///     let first = wait([nap(1), nap(500)], None, When::First).await;
///     assert_eq!((first.done.len(), first.pending.len()), (1, 1));
///     let limit = Some(Duration::from_millis(5));
///     let rest = wait(first.pending, limit, When::All).await;
///     rest.pending.iter().for_each(|task| task.abort());
/// });
/// ```
pub async fn wait<T>(
    tasks: impl IntoIterator<Item = JoinHandle<T>>,
    limit: Option<Duration>,
    when: When,
) -> Waited<T> {
    wait_until(tasks, limit, when, Result::is_err).await
}

/// As [`wait`], for tasks that return a `Result`: an `Err` of theirs is a failure as well.
///
/// # Panics
/// When polled outside of a runtime, if there is a limit.
///
/// # Cancel safety
/// As [`wait`].
///
/// # Examples
/// ```no_run
/// use corering::flow::{When, try_wait};
///
/// corering::block_on(async {
///     let task = |n: u32| corering::spawn(async move { if n == 3 { Err(n) } else { Ok(n) } });
///     let waited = try_wait((0..10).map(task), None, When::FirstError).await;
///     assert!(waited.done.iter().any(|(_, output)| matches!(output, Ok(Err(3)))));
/// });
/// ```
pub async fn try_wait<T, E>(
    tasks: impl IntoIterator<Item = JoinHandle<Result<T, E>>>,
    limit: Option<Duration>,
    when: When,
) -> Waited<Result<T, E>> {
    wait_until(tasks, limit, when, |output| !matches!(output, Ok(Ok(_)))).await
}

/// Tasks that go on when they are dropped.
struct Detached<T>(JoinSet<T>);

impl<T> Drop for Detached<T> {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

async fn wait_until<T>(
    tasks: impl IntoIterator<Item = JoinHandle<T>>,
    limit: Option<Duration>,
    when: When,
    failed: fn(&Result<T, JoinError>) -> bool,
) -> Waited<T> {
    let mut set = Detached(JoinSet::new());
    for task in tasks {
        set.0.insert(task);
    }
    let mut done = Vec::new();
    let mut enough = false;
    let mut nap = limit.map(sleep);
    poll_fn(|cx| {
        while let Poll::Ready(next) = set.0.poll_next(cx) {
            let Some(Joined { id, output, .. }) = next else {
                return Poll::Ready(());
            };
            enough |= match when {
                When::First => true,
                When::FirstError => failed(&output),
                When::All => false,
            };
            done.push((id, output));
        }
        if enough {
            return Poll::Ready(());
        }
        poll_nap(nap.as_mut(), cx)
    })
    .await;
    let pending = set.0.take_tasks();
    Waited { done, pending }
}

/// Without a limit, never.
fn poll_nap(nap: Option<&mut crate::time::Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    nap.map_or(Poll::Pending, |nap| Pin::new(nap).poll(cx))
}
