//! Reaching a core from other threads: starting a task there, and joining it from anywhere.
//!
//! Rules
//! 1. Only what is `Send` travels: the function that makes the future, and the output. The future
//!    is made, polled and dropped on its core.
//! 2. The sender side of the result (`Outbox`) answers exactly once, at the latest when it is
//!    dropped: so a handle never waits for a core that is gone.
//! 3. The future is dropped before the answer is given. No user value is dropped, and nobody woken,
//!    under the lock.
//!
//! ```text
//!   RemoteHandle --abort: flag, wake--> Shared <--answer-- Outbox (in the task, on its core)
//!                <------- wake --------
//! ```

use super::error::Payload;
use super::inbox::{Inbox, Start};
use super::raw::drop_caught;
use super::{Executor, Id, JoinError, executor};
use crate::threads::{AtomicBool, Mutex, MutexGuard, Ordering};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Reaches an executor from any thread, and outlives it.
#[derive(Clone)]
pub(crate) struct Remote {
    inbox: Arc<Inbox>,
}

impl Remote {
    pub(super) fn new(inbox: Arc<Inbox>) -> Remote {
        Remote { inbox }
    }

    /// Starts `make()` as a task on the core. If the core has ended, the handle says cancelled.
    #[track_caller]
    pub(crate) fn spawn<F, Fut>(&self, make: F) -> RemoteHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let (id, place) = (Id::unique(), Location::caller());
        let shared = Arc::new(Shared::new());
        let outbox = Outbox {
            id,
            shared: Arc::clone(&shared),
        };
        let start: Start = Box::new(move |executor: &Executor| {
            drop(executor.spawn_as(id, place, serve(make, outbox)));
        });
        if let Err(start) = self.inbox.push_start(start) {
            closed(&shared, id);
            // Its outbox has nothing to add.
            drop_caught(start);
        }
        RemoteHandle {
            id,
            shared,
            inbox: self.inbox.clone(),
        }
    }

    /// Whether the core takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("inbox", &self.inbox)
            .finish()
    }
}

/// What the handle and the task share.
struct Shared<T> {
    /// The handle wants the task to end.
    aborted: AtomicBool,
    state: Mutex<State<T>>,
}

struct State<T> {
    answer: Answer<T>,
    /// The handle is gone: the output has no taker.
    detached: bool,
    /// Who awaits the handle.
    joiner: Option<Waker>,
    /// Wakes the task, for an abort; known once the task has been polled.
    task: Option<Waker>,
}

enum Answer<T> {
    Awaited,
    Given(Result<T, JoinError>),
    Taken,
}

impl<T> Shared<T> {
    fn new() -> Shared<T> {
        let state = State {
            answer: Answer::Awaited,
            detached: false,
            joiner: None,
            task: None,
        };
        Shared {
            aborted: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A foreign waker's `clone` may panic under the lock; the state is whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task's side: answers once.
struct Outbox<T> {
    id: Id,
    shared: Arc<Shared<T>>,
}

impl<T> Outbox<T> {
    /// Gives the answer if none was given. What nobody takes is dropped here, on the task's core.
    fn answer(&self, answer: Result<T, JoinError>) {
        let mut state = self.shared.lock();
        let unwanted = match state.answer {
            Answer::Awaited if !state.detached => {
                state.answer = Answer::Given(answer);
                None
            }
            _ => Some(answer),
        };
        let (joiner, task) = (state.joiner.take(), state.task.take());
        drop(state);
        match unwanted {
            Some(Err(error)) if error.is_panic() => executor::report_caught(error),
            unwanted => drop_caught(unwanted),
        }
        drop_caught(task);
        if let Some(joiner) = joiner {
            drop_caught(catch_unwind(AssertUnwindSafe(|| joiner.wake())));
        }
    }

    /// Whether the handle wants the task to end; if not yet, leaves it a waker to say so.
    fn poll_aborted(&self, cx: &Context<'_>) -> bool {
        let mut state = self.shared.lock();
        let known = state
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()));
        let old = if known {
            None
        } else {
            state.task.replace(cx.waker().clone())
        };
        drop(state);
        drop(old);
        // After the waker is left: either this sees the flag, or `abort` sees the waker.
        self.shared.aborted.load(Ordering::SeqCst)
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.answer(Err(JoinError::cancelled(self.id)));
    }
}

/// The task that runs `make()` and answers.
async fn serve<F, Fut>(make: F, outbox: Outbox<Fut::Output>)
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    // `make` runs at the first poll, as part of the task.
    let mut future = Box::pin(async move { make().await });
    let result = poll_fn(|cx| {
        if outbox.poll_aborted(cx) {
            return Poll::Ready(Err(None));
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(Some(payload))),
        }
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
    outbox.answer(match (result, dropped) {
        (Ok(output), Ok(())) => Ok(output),
        (Err(None), Ok(())) => Err(JoinError::cancelled(outbox.id)),
        (Err(Some(payload)), dropped) => {
            drop_caught(dropped);
            Err(panicked(outbox.id, payload))
        }
        (unused, Err(payload)) => {
            drop_caught(unused);
            Err(panicked(outbox.id, payload))
        }
    });
}

/// Answers a handle whose core has ended.
fn closed<T>(shared: &Shared<T>, id: Id) {
    shared.lock().answer = Answer::Given(Err(JoinError::closed(id)));
}

fn panicked(id: Id, payload: Payload) -> JoinError {
    executor::count_panic();
    JoinError::panic(id, payload)
}

/// Waits for a task on another core, from any thread and in any executor.
///
/// Awaiting it gives the task's output, or a [`JoinError`] if the task was aborted, panicked, or
/// went down with its core. Dropping it lets the task go on; an output that nobody takes is
/// dropped on the task's core.
///
/// # Cancel safety
/// Safe: dropping a `&mut RemoteHandle` that is being awaited loses nothing.
///
/// # Panics
/// When it is polled again after it has given the output.
///
/// # Examples
/// ```no_run
/// use corering::task::RemoteHandle;
///
/// async fn total(parts: Vec<RemoteHandle<u64>>) -> u64 {
///     let mut sum = 0;
///     for part in parts {
///         sum += part.await.unwrap_or(0);
///     }
///     sum
/// }
/// # drop(total(Vec::new()));
/// ```
pub struct RemoteHandle<T> {
    id: Id,
    shared: Arc<Shared<T>>,
    /// Of the task's core.
    inbox: Arc<Inbox>,
}

impl<T> Unpin for RemoteHandle<T> {}

impl<T> RemoteHandle<T> {
    /// Ends the task: its future is dropped at its next turn, on its core.
    ///
    /// Awaiting the handle then gives a cancelled [`JoinError`], unless the task had already ended.
    pub fn abort(&self) {
        self.shared.aborted.store(true, Ordering::SeqCst);
        let task = self.shared.lock().task.take();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Asks the task to end, in its own time and way; see
    /// [`JoinHandle::cancel`](super::JoinHandle::cancel).
    pub fn cancel(&self) {
        let id = self.id;
        let start: Start = Box::new(move |executor: &Executor| executor.ask_to_end(id));
        // If the core has ended, so has the task.
        drop(self.inbox.push_start(start));
    }

    /// Blocks this thread until the task has ended: for threads that run no core.
    ///
    /// # Errors
    /// [`JoinError`] as if it were awaited.
    ///
    /// # Panics
    /// On a thread that runs a core, whose loop would stop; await the handle there.
    pub fn wait(mut self) -> Result<T, JoinError> {
        let output = self.block(None);
        output.expect("without a limit it is there")
    }

    /// As [`wait`](Self::wait), for at most `limit`; `None` if the task has not ended by then. It
    /// goes on, and can be waited for again.
    ///
    /// # Panics
    /// As [`wait`](Self::wait) does; and if the output was taken before.
    pub fn wait_timeout(&mut self, limit: Duration) -> Option<Result<T, JoinError>> {
        self.block(Some(limit))
    }

    fn block(&mut self, limit: Option<Duration>) -> Option<Result<T, JoinError>> {
        assert!(
            !executor::is_entered(),
            "`RemoteHandle::wait` blocks, and this thread runs a corering core, whose tasks it \
             would stop: await the handle here, and wait on other threads"
        );
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(signal.clone());
        loop {
            if let Poll::Ready(output) = Pin::new(&mut *self).poll(&mut Context::from_waker(&waker))
            {
                return Some(output);
            }
            if !signal.wait(limit) {
                return None;
            }
        }
    }

    /// Whether the task has ended, with an output or without.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(self.shared.lock().answer, Answer::Awaited)
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }
}

/// Wakes a thread that blocks.
#[derive(Default)]
struct Signal {
    woken: std::sync::Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Waits to be woken; false if that took longer than the limit.
    fn wait(&self, limit: Option<Duration>) -> bool {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut woken = match limit {
            None => {
                let woken = self.changed.wait_while(woken, |woken| !*woken);
                woken.unwrap_or_else(PoisonError::into_inner)
            }
            Some(limit) => {
                let woken = self
                    .changed
                    .wait_timeout_while(woken, limit, |woken| !*woken);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        std::mem::take(&mut *woken)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

impl<T> Future for RemoteHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        match std::mem::replace(&mut state.answer, Answer::Taken) {
            Answer::Given(output) => {
                drop(state);
                Poll::Ready(output)
            }
            Answer::Awaited => {
                state.answer = Answer::Awaited;
                let known = state
                    .joiner
                    .as_ref()
                    .is_some_and(|old| old.will_wake(cx.waker()));
                let old = if known {
                    None
                } else {
                    state.joiner.replace(cx.waker().clone())
                };
                drop(state);
                drop(old);
                Poll::Pending
            }
            Answer::Taken => {
                drop(state);
                panic!(
                    "a RemoteHandle was polled after it gave the task's output: await it once, \
                     or fuse it"
                )
            }
        }
    }
}

impl<T> Drop for RemoteHandle<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.detached = true;
        let joiner = state.joiner.take();
        let given = matches!(state.answer, Answer::Given(_));
        let answer = if given {
            std::mem::replace(&mut state.answer, Answer::Taken)
        } else {
            Answer::Awaited
        };
        drop(state);
        drop_caught((joiner, answer));
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle")
            .field("id", &self.id)
            .field("finished", &self.is_finished())
            .finish()
    }
}
