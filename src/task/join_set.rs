//! Many tasks joined in the order in which they end.
//!
//! Rules
//! 1. A task of a set reports its key to the set's queue when it ends, so the next one to join is
//!    found without looking at the others.
//! 2. Dropping the set aborts what it still has.

use super::join::{AbortHandle, JoinHandle};
use super::{Id, JoinError, Note, Wait, noted, spawn};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The keys of tasks that have ended and were not joined, and who waits for one.
#[derive(Default)]
pub(super) struct Finished {
    keys: RefCell<VecDeque<u32>>,
    waker: Cell<Option<Waker>>,
}

impl Finished {
    /// Reports an end. The waker runs when the queue is no longer borrowed.
    pub(super) fn push(&self, key: u32) {
        self.keys.borrow_mut().push_back(key);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Owns many tasks with one type of output and joins them in the order in which they end.
///
/// Dropping it aborts those that have not ended. It stays on its core.
///
/// # Examples
/// ```no_run
/// use corering::task::JoinSet;
///
/// corering::block_on(async {
///     let mut set = JoinSet::new();
///     for n in 0..10_u32 {
///         set.spawn(async move { n * n });
///     }
///     let mut sum = 0;
///     while let Some(square) = set.join_next().await {
///         sum += square.unwrap();
///     }
///     assert_eq!(sum, 285);
/// });
/// ```
pub struct JoinSet<T> {
    tasks: Slab<JoinHandle<T>>,
    finished: Rc<Finished>,
    /// The wait of who polls it without a future of ours.
    note: Note,
}

impl<T> JoinSet<T> {
    /// A set without tasks.
    #[must_use]
    pub fn new() -> JoinSet<T> {
        JoinSet {
            tasks: Slab::new(),
            finished: Rc::default(),
            note: Note::default(),
        }
    }

    /// How many tasks were spawned into the set and not joined, whether they have ended or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts a task on this core and keeps it in the set.
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`].
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(spawn(future))
    }

    /// Puts a task of this core into the set, whether or not it has ended; see
    /// [`Builder`](super::Builder) for one with a name.
    pub fn insert(&mut self, task: JoinHandle<T>) -> AbortHandle {
        let abort = task.abort_handle();
        let entry = self.tasks.vacant_entry();
        let key = key_of(entry.key());
        task.report_to(Rc::clone(&self.finished), key);
        let ended = task.is_finished();
        entry.insert(task);
        if ended {
            self.finished.push(key);
        }
        abort
    }

    /// Waits for one of the tasks to end; `None` if the set is empty.
    ///
    /// # Cancel safety
    /// Safe: no task is removed from the set unless its output is returned.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.note.clear();
        let ends = noted(Wait::Tasks, self.len(), poll_fn(|cx| self.find_next(cx)));
        ends.await.map(|joined| joined.output)
    }

    /// The output of a task that has ended; `None` if there is none at the moment.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_next().map(|joined| joined.output)
    }

    fn try_next(&mut self) -> Option<Joined<T>> {
        loop {
            let key = self.finished.keys.borrow_mut().pop_front()?;
            // A task that was detached leaves no handle behind.
            let Some(task) = self.tasks.get_mut(key as usize) else {
                continue;
            };
            if let Ok(Some(output)) = task.try_take() {
                let id = task.id();
                self.tasks.remove(key as usize);
                return Some(Joined { key, id, output });
            }
        }
    }

    /// Polls for one of the tasks to end; see [`join_next`](Self::join_next).
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_next(cx)
            .map(|joined| joined.map(|joined| joined.output))
    }

    /// As [`poll_join_next`](Self::poll_join_next), with the task's key and id.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Joined<T>>> {
        let polled = self.find_next(cx);
        self.note.follow(&polled, Wait::Tasks, self.tasks.len());
        polled
    }

    fn find_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Joined<T>>> {
        if let Some(joined) = self.try_next() {
            return Poll::Ready(Some(joined));
        }
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        match self.finished.waker.take() {
            Some(old) if old.will_wake(cx.waker()) => self.finished.waker.set(Some(old)),
            _other => self.finished.waker.set(Some(cx.waker().clone())),
        }
        Poll::Pending
    }

    /// Aborts every task. They stay in the set, to be joined as cancelled.
    pub fn abort_all(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }

    /// Aborts every task and waits until all have ended; outputs are dropped.
    ///
    /// # Cancel safety
    /// Safe: the tasks are aborted either way, and those not yet joined stay in the set.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Takes out the tasks that were not joined, in the order in which they came if none came after
    /// a join.
    pub(crate) fn take_tasks(&mut self) -> Vec<JoinHandle<T>> {
        self.finished.keys.borrow_mut().clear();
        let tasks = std::mem::take(&mut self.tasks);
        tasks.into_iter().map(|(_, task)| task).collect()
    }

    /// Lets every task go on by itself and empties the set.
    pub fn detach_all(&mut self) {
        self.finished.keys.borrow_mut().clear();
        self.tasks.clear();
    }
}

/// A task of a set that has ended.
pub(crate) struct Joined<T> {
    /// Its place: tasks that are put in before any is joined have 0, 1, 2 and so on.
    pub(crate) key: u32,
    pub(crate) id: Id,
    pub(crate) output: Result<T, JoinError>,
}

/// A key as the task's header keeps it.
fn key_of(key: usize) -> u32 {
    u32::try_from(key).expect("a JoinSet holds at most 2^32 tasks: join some before spawning more")
}

impl<T> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
