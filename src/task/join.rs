//! The handles of a task on its own core: joining and aborting it.
//!
//! What dropping does
//! - `JoinHandle`, task not finished: detaches it; its output will be dropped where it ends.
//! - `JoinHandle`, task finished: drops the output, here, which is the owner's thread.
//! - `AbortHandle`: nothing to the task.

use super::error::JoinError;
use super::join_set::Finished;
use super::raw::{ABORT, DONE, JOINED, RawTask, TaskRef, drop_caught};
use super::{Id, executor, waker};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Whom a task tells that it has ended. On the owner thread only.
///
/// Two words, so that a small task fits the allocator's small classes (120 bytes with glibc).
pub(super) enum Joiner {
    /// Whoever polled the handle last.
    Waker(Waker),
    /// A `JoinSet`, where the task has the key in its header; or nobody.
    Set(Option<Rc<Finished>>),
}

impl Joiner {
    /// Nobody waits yet, or anymore.
    pub(super) const NONE: Joiner = Joiner::Set(None);

    /// The task that polled the handle last, if it is one of ours: its address.
    pub(super) fn waiter(&self) -> Option<*const ()> {
        match self {
            Joiner::Waker(waker) => waker::task_of(waker),
            Joiner::Set(_) => None,
        }
    }

    /// Tells it. Runs a foreign waker, which may do anything.
    pub(super) fn notify(self, key: u32) {
        match self {
            Joiner::Waker(waker) => waker.wake(),
            Joiner::Set(Some(finished)) => finished.push(key),
            Joiner::Set(None) => {}
        }
    }
}

impl Default for Joiner {
    fn default() -> Joiner {
        Joiner::NONE
    }
}

/// Waits for a task and owns its output.
///
/// Awaiting it gives the task's output, or a [`JoinError`] if the task was aborted or panicked.
/// Dropping it lets the task go on by itself. It stays on the task's core.
///
/// # Cancel safety
/// Safe: dropping a `&mut JoinHandle` that is being awaited loses nothing.
///
/// # Panics
/// When it is polled again after it has given the output.
///
/// # Examples
/// ```no_run
/// use corering::task::JoinHandle;
///
/// corering::block_on(async {
///     let task: JoinHandle<&str> = corering::spawn(async { "done" });
///     assert_eq!(task.await.unwrap(), "done");
/// });
/// ```
pub struct JoinHandle<T> {
    /// Kept alive by the bit `JOINED`, which is this handle's.
    task: RawTask,
    /// `T` is owned through the task; the pointer above makes the handle `!Send`.
    output: PhantomData<T>,
}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// The handle of a new task.
    ///
    /// # Safety
    /// `task` has the bit `JOINED`, which this handle takes over, and its output is a `T`.
    pub(super) unsafe fn new(task: RawTask) -> JoinHandle<T> {
        JoinHandle {
            task,
            output: PhantomData,
        }
    }

    /// Ends the task: its future is dropped at its next turn, on its core.
    ///
    /// Awaiting the handle then gives a cancelled [`JoinError`], unless the task had already
    /// ended. A task that aborts itself goes on until it next waits.
    pub fn abort(&self) {
        // SAFETY: this handle keeps the task alive.
        unsafe { abort(self.task) };
    }

    /// Asks the task to end, in its own time and way: in it, [`cancelled`](super::cancelled) is
    /// ready from now on, and [`run_until_cancelled`](super::run_until_cancelled) stops.
    ///
    /// The task may clean up first, go on for a while, or refuse, also by taking the request
    /// [back](super::uncancel); one that does not look goes on as if nothing had been asked. Each
    /// call is a request that [`cancelling`](super::cancelling) counts. Await the handle to see it
    /// end; [`abort`](Self::abort) does not ask.
    pub fn cancel(&self) {
        // SAFETY: handles are on the owner thread, and this one keeps the task alive.
        unsafe { executor::ask_to_end(self.task) };
    }

    /// The task's name, while it lives and its core has its turn.
    #[must_use]
    pub fn name(&self) -> Option<Arc<str>> {
        executor::name_of(self.id())
    }

    /// A waker of the task.
    pub(crate) fn waker(&self) -> Waker {
        // SAFETY: this handle keeps the task alive.
        waker::of(unsafe { TaskRef::new(self.task) })
    }

    /// The task, which this handle keeps alive.
    pub(super) fn raw(&self) -> RawTask {
        self.task
    }

    /// A handle that can abort the task and no more.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        // SAFETY: this handle keeps the task alive.
        let task = unsafe { TaskRef::new(self.task) };
        AbortHandle { task }
    }

    /// Whether the task has ended, with an output or without.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // SAFETY: this handle keeps the task alive.
        unsafe { self.task.header() }.is(DONE)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> Id {
        // SAFETY: this handle keeps the task alive.
        unsafe { self.task.header() }.id()
    }

    /// Has the task's end reported to a set instead of to a waker.
    pub(super) fn report_to(&self, finished: Rc<Finished>, key: u32) {
        // SAFETY: this handle keeps the task alive.
        let header = unsafe { self.task.header() };
        header.set_key.set(key);
        header.joiner.set(Joiner::Set(Some(finished)));
    }

    /// The output if the task has ended; `Ok(None)` if not yet, `Err` if it was taken before.
    #[allow(
        clippy::result_unit_err,
        reason = "crate-internal: the caller has the message"
    )]
    pub(super) fn try_take(&mut self) -> Result<Option<Result<T, JoinError>>, ()> {
        if !self.is_finished() {
            return Ok(None);
        }
        // SAFETY: this handle is on the owner thread and of the task's output type, and the task
        // is done.
        unsafe { self.task.take_output::<T>() }.map(Some).ok_or(())
    }

    /// Remembers who waits. The old waker is dropped when nothing of the task is borrowed.
    fn register(&self, waker: &Waker) {
        // SAFETY: this handle keeps the task alive.
        let joiner = &unsafe { self.task.header() }.joiner;
        match joiner.take() {
            Joiner::Waker(old) if old.will_wake(waker) => joiner.set(Joiner::Waker(old)),
            _other => joiner.set(Joiner::Waker(waker.clone())),
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_take() {
            Ok(Some(output)) => Poll::Ready(output),
            Ok(None) => {
                self.register(cx.waker());
                Poll::Pending
            }
            Err(()) => panic!(
                "a JoinHandle was polled after it gave the task's output: await it once, or fuse it"
            ),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the bit `JOINED` keeps the task alive until the end of this function.
        let header = unsafe { self.task.header() };
        match header.joiner.take() {
            Joiner::Set(None) => {}
            joiner => drop_caught(joiner),
        }
        if header.is(DONE) && header.has_output() {
            // SAFETY: handles are on the owner thread, and the task is done.
            unsafe { executor::report_unseen(self.task) };
            // SAFETY: as above.
            unsafe { self.task.drop_output() };
        }
        // SAFETY: the bit is this handle's, and this is its last use.
        unsafe { self.task.leave(JOINED) };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Aborts a task of this core, and can be cloned.
///
/// Dropping it does nothing to the task.
///
/// # Examples
/// ```no_run
/// use corering::task::AbortHandle;
///
/// corering::block_on(async {
///     let task = corering::spawn(std::future::pending::<()>());
///     let stop: AbortHandle = task.abort_handle();
///     stop.abort();
///     assert!(task.await.unwrap_err().is_cancelled());
/// });
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
}

impl AbortHandle {
    /// Ends the task; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        // SAFETY: this handle keeps the task alive.
        unsafe { abort(self.task.raw()) };
    }

    /// Asks the task to end; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        // SAFETY: handles are on the owner thread, and this one keeps the task alive.
        unsafe { executor::ask_to_end(self.task.raw()) };
    }

    /// Whether the task has ended, with an output or without.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.header().is(DONE)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.task.header().id()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Marks the task and gives it a turn, in which its future is dropped.
///
/// # Safety
/// On the owner thread; the caller holds a reference of the task.
unsafe fn abort(task: RawTask) {
    // SAFETY: the caller's reference keeps the task alive.
    let header = unsafe { task.header() };
    if !header.is(DONE) {
        header.set(ABORT);
        // SAFETY: the caller's reference keeps the task alive.
        unsafe { waker::wake_task(task) };
    }
}
