//! What a core keeps of its tasks beside them, and what it tells of them: `super`'s other half.
//!
//! Rules
//! 1. A note is there if and only if its task is `NOTED`, and goes with the task's end.
//! 2. Nothing of the core is borrowed while a hook runs, a token is cancelled or a note dropped.

use super::{Core, Executor, with_current};
use crate::task::info::{Note, Stall, TaskInfo, TaskPanic, TaskState, Wait};
use crate::task::raw::{BUSY, DONE, Header, NOTED, QUEUED, RawTask, drop_caught};
use crate::task::{CancellationToken, Id, JoinError, JoinHandle};
use crate::task::{waits, waker};
use std::cell::RefMut;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

impl Executor {
    /// The live tasks, the oldest first; at most so many.
    pub(crate) fn list(&self, most: usize) -> Vec<TaskInfo> {
        self.core.list(most)
    }

    /// Reports a stall of the future that `block_on` polls.
    pub(crate) fn root_held(&self, nanos: u64, future: &'static str) {
        self.core.report_stall(None, None, future, nanos);
    }

    /// Asks a task of this core to end, if it lives.
    pub(in crate::task) fn ask_to_end(&self, id: Id) {
        let mut next = self.core.live_first.get();
        while let Some(task) = next {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            let header = unsafe { task.header() };
            if header.id() == id {
                return self.core.token(task).cancel();
            }
            next = header.live_next.get();
        }
    }
}

impl Core {
    /// One turn of a task, with a look at the clock before and after.
    #[inline(never)]
    pub(super) fn timed_turn(&self, task: RawTask, limit_nanos: u64, now: fn() -> u64) {
        // SAFETY: the bit `QUEUED` keeps the task until it is taken back in its turn.
        let header = unsafe { task.header() };
        let (id, future) = (header.id(), header.type_name());
        // The note may be gone after the turn.
        let name = header.is(NOTED).then(|| self.name_of(id)).flatten();
        let begin = now();
        self.turn(task);
        let held = now().saturating_sub(begin);
        if held >= limit_nanos {
            self.report_stall(Some(id), name, future, held);
        }
    }

    #[cold]
    pub(super) fn report_stall(
        &self,
        id: Option<Id>,
        name: Option<Arc<str>>,
        future: &'static str,
        nanos: u64,
    ) {
        self.count(|stats| stats.stalls += 1);
        let stall = Stall {
            core: self.inbox.core(),
            id,
            name,
            future,
            held: Duration::from_nanos(nanos),
        };
        if let Some(hook) = &self.hooks.on_stall {
            drop_caught(catch_unwind(AssertUnwindSafe(|| hook(&stall))));
        }
    }

    /// Hands the panic of a task that nobody joins to the hook, if there is one.
    ///
    /// # Safety
    /// As for [`RawTask::take_panic`].
    #[cold]
    pub(super) unsafe fn report_panic(&self, task: RawTask) {
        if self.hooks.on_panic.is_none() {
            return;
        }
        // SAFETY: the caller's promise.
        if let Some(error) = unsafe { task.take_panic() } {
            self.reporter()(error);
        }
    }

    /// What reports a panic, without a borrow of this core.
    pub(super) fn reporter(&self) -> impl FnOnce(JoinError) + use<> {
        let (core, hook) = (self.inbox.core(), self.hooks.on_panic.clone());
        move |error| {
            let panic = TaskPanic { core, error };
            if let Some(hook) = hook {
                drop_caught(catch_unwind(AssertUnwindSafe(|| hook(&panic))));
            }
            drop_caught(panic);
        }
    }

    /// The task whose code is running.
    pub(super) fn running(&self) -> Option<&Header> {
        // SAFETY: what is current is running, so it is `LIVE`, which keeps it.
        self.current.get().map(|task| unsafe { task.header() })
    }

    pub(super) fn current_id(&self) -> Option<Id> {
        self.running().map(Header::id)
    }

    /// The note of a live task, which gets one if it has none.
    pub(super) fn note(&self, task: RawTask) -> RefMut<'_, Note> {
        // SAFETY: the caller has it from a list or a handle, which keeps it.
        let header = unsafe { task.header() };
        header.set(NOTED);
        RefMut::map(self.notes.borrow_mut(), |notes| {
            notes.entry(header.id()).or_default()
        })
    }

    pub(super) fn name_of(&self, id: Id) -> Option<Arc<str>> {
        self.notes.borrow().get(&id)?.name.clone()
    }

    /// The token by which a live task is asked to end.
    pub(super) fn token(&self, task: RawTask) -> CancellationToken {
        self.note(task).token.get_or_insert_default().clone()
    }

    pub(super) fn list(&self, most: usize) -> Vec<TaskInfo> {
        let mut tasks = Vec::new();
        let mut next = self.live_first.get();
        while let Some(task) = next {
            tasks.push(task);
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            next = unsafe { task.header() }.live_next.get();
        }
        let joins = self.who_joins_whom(&tasks);
        let mut waits = self.who_waits();
        let mut noted = waits::by_task();
        let oldest = tasks.into_iter().rev().take(most);
        oldest
            .map(|task| self.info(task, &joins, &mut waits, &mut noted))
            .collect()
    }

    /// Who waits for the kernel or a timer, by the task's address.
    fn who_waits(&self) -> HashMap<*const (), Vec<Wait>> {
        let mut waits: HashMap<_, Vec<Wait>> = HashMap::new();
        if let Some(ask) = self.hooks.who_waits {
            ask(&mut |waker, wait| {
                if let Some(task) = waker::task_of(waker) {
                    waits.entry(task).or_default().push(wait);
                }
            });
        }
        waits
    }

    /// Who awaits whose handle: the waker that a handle has left names the task that polled it.
    fn who_joins_whom(&self, tasks: &[RawTask]) -> HashMap<*const (), Id> {
        let mut joins = HashMap::new();
        for &task in tasks {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            let header = unsafe { task.header() };
            let joiner = header.joiner.take();
            if let Some(waiter) = joiner.waiter() {
                joins.insert(waiter, header.id());
            }
            header.joiner.set(joiner);
        }
        joins
    }

    fn info(
        &self,
        task: RawTask,
        joins: &HashMap<*const (), Id>,
        waits: &mut HashMap<*const (), Vec<Wait>>,
        noted: &mut HashMap<Id, Vec<Wait>>,
    ) -> TaskInfo {
        let address = task.as_ptr().cast_const().cast();
        let joins = joins.get(&address).copied();
        let mut waits_for = waits.remove(&address).unwrap_or_default();
        waits_for.extend(joins.map(Wait::Task));
        // SAFETY: what is in the list is `LIVE`, which keeps it.
        let header = unsafe { task.header() };
        waits_for.extend(noted.remove(&header.id()).unwrap_or_default());
        let state = if header.is(BUSY) {
            TaskState::Running
        } else if header.is(QUEUED) {
            TaskState::Ready
        } else {
            TaskState::Waiting
        };
        let notes = self.notes.borrow();
        let note = notes.get(&header.id());
        TaskInfo {
            id: header.id(),
            name: note.and_then(|note| note.name.clone()),
            state,
            joins,
            waits_for,
            future: header.type_name(),
            spawned_at: note.and_then(|note| note.spawned_at),
        }
    }
}

/// Spawns on the current executor, with a note; gives the future back if there is none.
pub(in crate::task) fn spawn_noted<F: Future + 'static>(
    future: F,
    note: Note,
) -> Result<JoinHandle<F::Output>, F> {
    with_current(|core| match core {
        Some(core) => {
            let place = note.spawned_at.unwrap_or(Location::caller());
            let task = core.spawn(future, core.ids.next(), place);
            *core.note(task.raw()) = note;
            Ok(task)
        }
        None => Err(future),
    })
}

/// The live tasks of the current executor, the oldest first.
pub(in crate::task) fn list() -> Vec<TaskInfo> {
    with_current(|core| core.map_or_else(Vec::new, |core| core.list(usize::MAX)))
}

/// The name of the task that is running.
pub(in crate::task) fn current_name() -> Option<Arc<str>> {
    with_current(|core| {
        let core = core?;
        core.name_of(core.current_id()?)
    })
}

/// The name of a live task of the current executor.
pub(in crate::task) fn name_of(id: Id) -> Option<Arc<str>> {
    with_current(|core| core?.name_of(id))
}

/// The token of the task that is running.
pub(in crate::task) fn current_token() -> Option<CancellationToken> {
    with_current(|core| {
        let core = core?;
        Some(core.token(core.current.get()?))
    })
}

/// Asks a task to end; if its executor is not the current one, at that one's next turn.
///
/// # Safety
/// On the owner thread; the caller holds a reference of the task.
pub(in crate::task) unsafe fn ask_to_end(task: RawTask) {
    // SAFETY: the caller's reference keeps the task alive.
    let header = unsafe { task.header() };
    if header.is(DONE) {
        return;
    }
    let here = with_current(|core| {
        let core = core.filter(|core| ptr::eq(Arc::as_ptr(&core.inbox), header.inbox()))?;
        Some(core.token(task))
    });
    match here {
        Some(token) => token.cancel(),
        None => {
            let id = header.id();
            let start = Box::new(move |executor: &Executor| executor.ask_to_end(id));
            // If the core has ended, so has the task.
            drop(header.inbox().push_start(start));
        }
    }
}

/// Reports the panic of an ended task whose output nobody has taken, and nobody will.
///
/// # Safety
/// On the owner thread; the caller holds a reference of the task, which is `DONE`.
pub(in crate::task) unsafe fn report_unseen(task: RawTask) {
    // SAFETY: the caller's reference keeps the task alive.
    let header = unsafe { task.header() };
    let core = with_current(|core| {
        let core = core.filter(|core| core.hooks.on_panic.is_some())?;
        ptr::eq(Arc::as_ptr(&core.inbox), header.inbox()).then(|| core.reporter())
    });
    if let Some(report) = core {
        // SAFETY: the caller's promise.
        if let Some(error) = unsafe { task.take_panic() } {
            report(error);
        }
    }
}

/// Reports a panic that a task has caught by itself, if nobody will see it.
pub(in crate::task) fn report_caught(error: JoinError) {
    let report = with_current(|core| core.map(Core::reporter));
    match report {
        Some(report) => report(error),
        None => drop_caught(error),
    }
}
