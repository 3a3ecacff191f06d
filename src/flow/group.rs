//! A scope that no task outlives.
//!
//! Rules
//! 1. The scope's future polls the body, then the members, and is ready when both have ended.
//! 2. The first failure closes the group: members that can be asked are asked, the others are
//!    aborted, the body is dropped, and nothing new begins. Then the members are awaited.
//! 3. Dropping the scope closes the group and aborts all members: a drop cannot wait.
//!
//! ```text
//!   open --body ready: Ok--> joining --last member--> Ok
//!     |                         |
//!     +--- failure of body or member: close ---> closed --last member--> Err, or the panic
//! ```

use super::gather::Failure;
use crate::task::{self, AbortHandle, Builder, CancellationToken, Id, JoinError, JoinSet};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Runs `body` with a group of tasks, and returns when the body and every task of the group have
/// ended: with the body's value, or with the first error that it or any task returned.
///
/// At the first error, or panic, the group closes: tasks made by
/// [`spawn_cooperative`](TaskGroup::spawn_cooperative) are asked to end and awaited, those made by
/// [`spawn`](TaskGroup::spawn) are aborted, and the body is dropped where it stands. A task that
/// was aborted by its own handle is no failure. When the task that runs all this is asked to end
/// ([`JoinHandle::cancel`](crate::task::JoinHandle::cancel)), so are the cooperative tasks.
///
/// A task of the group cannot borrow from outside of it: whoever forgets this future
/// ([`std::mem::forget`]) ends the borrow and leaves the task running, and nothing in safe Rust can
/// prevent that. Share what tasks need by `Rc` (they stay on one core), or run futures that borrow
/// within one task, with `futures::join!` or `FuturesUnordered`.
///
/// # Errors
/// The first error.
///
/// # Panics
/// With the first panic of the body or of a task, once all others have ended. Outside of a runtime,
/// when a task is spawned.
///
/// # Cancel safety
/// Dropping it drops the body and aborts all tasks, without waiting for them.
///
/// # Examples
/// ```no_run
/// use corering::flow::task_group;
///
/// corering::block_on(async {
///     let sum = task_group(async |group| {
///         let parts: Vec<_> = (0..4_u32).map(|n| group.spawn(async move { Ok(n) })).collect();
///         group.join().await;
///         Ok::<u32, std::io::Error>(parts.iter().filter_map(|part| part.take()).sum())
///     });
///     assert_eq!(sum.await.unwrap(), 6);
///
///     let failed = task_group(async |group| {
///         group.spawn(async { Err::<(), &str>("no route") });
///         group.spawn(std::future::pending::<Result<(), &str>>());
///         Ok(())
///     });
///     assert_eq!(failed.await, Err("no route"));
/// });
/// ```
pub async fn task_group<T, E, F>(body: F) -> Result<T, E>
where
    E: 'static,
    F: AsyncFnOnce(TaskGroup<E>) -> Result<T, E>,
{
    let group = TaskGroup {
        inner: Rc::new(Inner::new()),
    };
    let scope = Scope(group.clone());
    let mut body = pin!(Some(body(group)));
    let mut value = None;
    let mut failure = None;
    poll_fn(|cx| {
        if let Some(future) = body.as_mut().as_pin_mut() {
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(Ok(output))) => value = Some(output),
                Ok(Poll::Ready(Err(error))) => {
                    failure = failure.take().or(Some(Failure::Error(error)))
                }
                Err(payload) => failure = failure.take().or(Some(Failure::Panic(payload))),
            }
        }
        if value.is_some() || failure.is_some() {
            body.set(None);
        }
        let members = scope.0.inner.poll_members(cx, &mut failure);
        if failure.is_some() {
            body.set(None);
        }
        if body.is_some() {
            Poll::Pending
        } else {
            members
        }
    })
    .await;
    match (failure, value) {
        (Some(failure), _) => Err(failure.raise()),
        (None, Some(value)) => Ok(value),
        (None, None) => unreachable!("the body ends with a value or with a failure"),
    }
}

/// Starts tasks in the scope of a [`task_group`]. A clone is another handle of the same group, for
/// tasks that start tasks.
///
/// # Examples
/// ```no_run
/// use corering::flow::{TaskGroup, task_group};
///
/// async fn serve(group: TaskGroup<std::io::Error>) -> std::io::Result<()> {
///     for _connection in 0..3 {
///         group.spawn(async { Ok(()) });
///     }
///     Ok(())
/// }
///
/// corering::block_on(async {
///     task_group(async |group| serve(group).await).await.unwrap();
/// });
/// ```
pub struct TaskGroup<E> {
    inner: Rc<Inner<E>>,
}

/// What is awaited of a member.
type Ended<E> = Result<(), E>;

struct Inner<E> {
    /// Members that are aborted, and those that are asked.
    aborted: RefCell<JoinSet<Ended<E>>>,
    asked: RefCell<JoinSet<Ended<E>>>,
    token: CancellationToken,
    closed: Cell<bool>,
    /// The scope, while it has found no members; the next one wakes it.
    scope: Cell<Option<Waker>>,
    /// Who waits in `join`.
    joining: RefCell<Vec<Waker>>,
}

impl<E: 'static> Inner<E> {
    fn new() -> Inner<E> {
        Inner {
            aborted: RefCell::default(),
            asked: RefCell::default(),
            token: task::token().child_token(),
            closed: Cell::new(false),
            scope: Cell::new(None),
            joining: RefCell::default(),
        }
    }

    /// Ready when there is no member left; the first failure closes the group.
    fn poll_members(&self, cx: &mut Context<'_>, failure: &mut Option<Failure<E>>) -> Poll<()> {
        if failure.is_some() {
            self.close();
        }
        loop {
            let sets = [&self.aborted, &self.asked];
            let polls = sets.map(|set| set.borrow_mut().poll_join_next(cx));
            let left = polls.iter().any(Poll::is_pending);
            let mut joined = false;
            for poll in polls {
                if let Poll::Ready(Some(output)) = poll {
                    joined = true;
                    self.note_failure(output, failure);
                }
            }
            if joined {
                continue;
            }
            if left {
                return Poll::Pending;
            }
            let old = self.scope.replace(Some(cx.waker().clone()));
            drop(old);
            self.wake_joining();
            return Poll::Ready(());
        }
    }

    fn note_failure(&self, output: Result<Ended<E>, JoinError>, failure: &mut Option<Failure<E>>) {
        let new = match output.map_err(JoinError::try_into_panic) {
            Ok(Ok(())) | Err(Err(_)) => return,
            Ok(Err(error)) => Failure::Error(error),
            Err(Ok(payload)) => Failure::Panic(payload),
        };
        if failure.is_none() {
            *failure = Some(new);
        }
        self.close();
    }

    fn close(&self) {
        if !self.closed.replace(true) {
            self.token.cancel();
            self.aborted.borrow_mut().abort_all();
        }
    }

    fn len(&self) -> usize {
        self.aborted.borrow().len() + self.asked.borrow().len()
    }

    fn wake_joining(&self) {
        let joining = std::mem::take(&mut *self.joining.borrow_mut());
        joining.into_iter().for_each(Waker::wake);
    }
}

impl<E: 'static> TaskGroup<E> {
    /// Starts a task in the group. When the group closes it is aborted.
    ///
    /// A group that has closed starts nothing: the future is dropped, and the task has no output.
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> GroupTask<T> {
        self.start(&self.inner.aborted, Builder::new(), future)
    }

    /// Starts a task in the group that is asked to end when the group closes, and awaited: in it,
    /// [`task::cancelled`](crate::task::cancelled) and its like see the request. A task that does
    /// not look holds up the end of the scope.
    ///
    /// A group that has closed starts nothing: the future is dropped, and the task has no output.
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn_cooperative<T: 'static>(
        &self,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> GroupTask<T> {
        let token = self.inner.token.child_token();
        let builder = Builder::new().cancellation_token(token);
        self.start(&self.inner.asked, builder, future)
    }

    #[track_caller]
    fn start<T: 'static>(
        &self,
        set: &RefCell<JoinSet<Ended<E>>>,
        builder: Builder,
        future: impl Future<Output = Result<T, E>> + 'static,
    ) -> GroupTask<T> {
        let output = Rc::new(Cell::new(None));
        if self.inner.closed.get() {
            return GroupTask { output, task: None };
        }
        let place = output.clone();
        let task = builder.spawn(async move {
            place.set(Some(future.await?));
            Ok(())
        });
        let task = set.borrow_mut().insert(task);
        if let Some(scope) = self.inner.scope.take() {
            scope.wake();
        }
        GroupTask {
            output,
            task: Some(task),
        }
    }

    /// Waits until the group has no running task, for the body to look at outputs before it ends.
    /// A member that awaits it waits for itself, for ever.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn join(&self) {
        poll_fn(|cx| {
            if self.inner.len() == 0 {
                return Poll::Ready(());
            }
            let known = |known: &Waker| known.will_wake(cx.waker());
            if !self.inner.joining.borrow().iter().any(known) {
                let waker = cx.waker().clone();
                self.inner.joining.borrow_mut().push(waker);
            }
            Poll::Pending
        })
        .await;
    }

    /// Closes the group without an error: members that can be asked are asked, the others aborted,
    /// and nothing new begins. The body goes on.
    pub fn cancel(&self) {
        self.inner.close();
    }

    /// The token of the group: cancelled when it closes, and with the task that runs the scope.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// How many members have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> TaskGroup<E> {
        TaskGroup {
            inner: self.inner.clone(),
        }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("closed", &self.inner.closed.get())
            .finish_non_exhaustive()
    }
}

/// Ends the group with the scope.
struct Scope<E: 'static>(TaskGroup<E>);

impl<E: 'static> Drop for Scope<E> {
    fn drop(&mut self) {
        self.0.inner.close();
        self.0.inner.asked.borrow_mut().abort_all();
    }
}

/// A task of a group: its output, once it has one. Dropping it leaves the task as it is.
///
/// # Examples
/// ```no_run
/// use corering::flow::{GroupTask, task_group};
///
/// corering::block_on(async {
///     let answer = task_group(async |group| {
///         let task: GroupTask<u32> = group.spawn(async { Ok(42) });
///         group.join().await;
///         Ok::<_, std::io::Error>(task.take())
///     });
///     assert_eq!(answer.await.unwrap(), Some(42));
/// });
/// ```
pub struct GroupTask<T> {
    output: Rc<Cell<Option<T>>>,
    /// None if the group had closed before.
    task: Option<AbortHandle>,
}

impl<T> GroupTask<T> {
    /// The task's value, once: `None` before it has ended, and if it failed or was aborted.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.output.take()
    }

    /// Ends the task; for the group that is no failure.
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    /// Asks the task to end; see [`JoinHandle::cancel`](crate::task::JoinHandle::cancel).
    pub fn cancel(&self) {
        if let Some(task) = &self.task {
            task.cancel();
        }
    }

    /// Whether the task has ended, or never began.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(AbortHandle::is_finished)
    }

    /// The task's id; `None` if it never began.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        self.task.as_ref().map(AbortHandle::id)
    }
}

impl<T> fmt::Debug for GroupTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTask")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}
