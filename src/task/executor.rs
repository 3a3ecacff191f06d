//! The executor of one core: its ready queue, its live tasks, and the turn.
//!
//! Rules
//! 1. First woken, first polled. A task that wakes itself goes behind all others.
//! 2. A turn takes the inbox once and polls within its budget; nothing here ever sleeps.
//! 3. A task is in the ready queue if and only if it is `QUEUED`, and in the list of live tasks if
//!    and only if it is `LIVE`: so both own what they point to (`raw.rs`, rule 1).
//! 4. What ends a task (`finish`) is one function, for outputs, panics and aborts alike.
//! 5. The thread's current executor is one pointer that owns a count of it. Guards swap it, in any
//!    order, without ever leaving it dangling.
//! 6. The last `Executor` of a core drops what still lives, on its own thread.

mod notes;

pub(super) use notes::{
    ask_to_end, current_name, current_token, list, name_of, report_caught, report_unseen,
    spawn_noted,
};

use super::blocks::Blocks;
use super::budget::Budget;
use super::id::{Id, Ids};
use super::inbox::{Inbox, Unpark};
use super::info::{Hooks, Note};
use super::join::{JoinHandle, Joiner};
use super::raw::{
    ABORT, BUSY, DONE, JOINED, LIVE, NOTED, QUEUED, RawTask, TaskRef, Turn, drop_caught,
};
use super::remote::Remote;
use super::waker;
use crate::threads::per_thread;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// References of the inbox that a core keeps for its next tasks; what is above is given back.
const SPARE_INBOX_REFS_MAX: usize = 4_096;

/// Tasks that destructors may spawn during [`Executor::abort_all`] before it gives up on them.
const ABORT_SPAWNED_MAX: usize = 65_536;
/// So many entries of an inbox say that other threads ask for more than the core gets done.
const INBOX_LEN_WARN: u64 = 16_384;

per_thread! {
    /// The executor whose turn it is on this thread, with one strong count of its `Rc`; or null.
    static CURRENT: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// The executor of one core. A clone is another handle of the same; it stays on its thread.
#[derive(Clone)]
pub(crate) struct Executor {
    core: Rc<Core>,
}

/// What the owner thread alone touches.
struct Core {
    inbox: Arc<Inbox>,
    /// Both ends of the ready queue.
    ready_first: Cell<Option<RawTask>>,
    ready_last: Cell<Option<RawTask>>,
    /// The newest live task.
    live_first: Cell<Option<RawTask>>,
    /// Strong references of `inbox` that no task owns at the moment: a task takes one and brings it
    /// back, so that neither spawn nor free counts atomically.
    spare_inbox_refs: Cell<usize>,
    blocks: Blocks,
    ids: Ids,
    /// Whose code is running: a live task, for as long as it stands here.
    current: Cell<Option<RawTask>>,
    /// What is known of the live tasks that are `NOTED`.
    notes: RefCell<HashMap<Id, Note>>,
    hooks: Hooks,
    /// A task may be `BUSY`: a turn within this one could poll it, or drop it, a second time.
    in_turn: Cell<bool>,
    stats: Cell<TaskStats>,
}

/// What an executor has done since it was made; `live` is the present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskStats {
    /// Polls of tasks.
    pub(crate) polls: u64,
    /// Tasks started, those from other threads included.
    pub(crate) spawned: u64,
    /// Wakes on this core that queued a task.
    pub(crate) local_wakes: u64,
    /// Wakes that came through the inbox.
    pub(crate) foreign_wakes: u64,
    /// Tasks that ended by a panic.
    pub(crate) panics: u64,
    /// Polls that took longer than the hooks allow.
    pub(crate) stalls: u64,
    /// The most entries that one turn found in the inbox, and how many turns found more than
    /// [`INBOX_LEN_WARN`].
    pub(crate) inbox_peak: u64,
    pub(crate) inbox_warnings: u64,
    /// Tasks spawned and not finished.
    pub(crate) live: u64,
}

impl Executor {
    /// An executor without tasks. `unpark` ends the sleep of its loop.
    #[cfg(test)]
    pub(crate) fn new(core: usize, unpark: Arc<dyn Unpark>) -> Executor {
        Executor::with_hooks(core, unpark, Hooks::default())
    }

    /// As `new`; what the hooks ask for is reported to them.
    pub(crate) fn with_hooks(core: usize, unpark: Arc<dyn Unpark>, hooks: Hooks) -> Executor {
        let core = Core {
            inbox: Arc::new(Inbox::new(core, unpark)),
            ready_first: Cell::new(None),
            ready_last: Cell::new(None),
            live_first: Cell::new(None),
            spare_inbox_refs: Cell::new(0),
            blocks: Blocks::new(),
            ids: Ids::default(),
            current: Cell::new(None),
            notes: RefCell::default(),
            hooks,
            in_turn: Cell::new(false),
            stats: Cell::new(TaskStats::default()),
        };
        Executor {
            core: Rc::new(core),
        }
    }

    /// Makes this the thread's current executor until the guard is dropped.
    pub(crate) fn enter(&self) -> EnterGuard {
        let ours = Rc::into_raw(Rc::clone(&self.core));
        EnterGuard {
            previous: CURRENT.with(|current| current.replace(ours)),
        }
    }

    /// Queues a new task, as the free function does on the current executor.
    #[cfg(test)]
    #[track_caller]
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let place = Location::caller();
        self.core.spawn(future, self.core.ids.next(), place)
    }

    /// Queues a new task with an id that [`Id::unique`] gave; it is polled in one of the next
    /// turns.
    pub(super) fn spawn_as<F: Future + 'static>(
        &self,
        id: Id,
        place: &'static Location<'static>,
        future: F,
    ) -> JoinHandle<F::Output> {
        self.core.spawn(future, id, place)
    }

    /// Drains the inbox, then polls ready tasks until none is ready or the budget is spent; true
    /// if tasks are still ready.
    ///
    /// # Panics
    /// If it is called by a task of the same executor, or by a destructor during `abort_all`.
    pub(crate) fn run(&self, budget: &mut Budget) -> bool {
        assert!(
            !self.core.in_turn.replace(true),
            "an executor was run by one of its own tasks"
        );
        let _entered = self.enter();
        self.drain_inbox();
        while self.core.ready_first.get().is_some() && budget.spend() {
            let Some(task) = self.core.pop_ready() else {
                break;
            };
            match self.core.hooks.stall {
                None => self.core.turn(task),
                Some((limit, now)) => self.core.timed_turn(task, limit, now),
            }
        }
        self.core.in_turn.set(false);
        self.has_ready()
    }

    /// Whether a task is ready, here or in the inbox. Asked again after "sleeping" is published.
    ///
    /// The root is apart: see [`root_is_woken`](Self::root_is_woken).
    pub(crate) fn has_ready(&self) -> bool {
        self.core.ready_first.get().is_some() || !self.core.inbox.is_empty()
    }

    /// The waker for the future that `block_on` itself polls.
    pub(crate) fn root_waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.core.inbox))
    }

    /// Whether the root was woken since this was last asked; true the first time.
    pub(crate) fn take_root_woken(&self) -> bool {
        self.core.inbox.take_root_woken()
    }

    /// As [`take_root_woken`](Self::take_root_woken), and leaves it so. A loop with a root asks it
    /// after "sleeping" is published.
    pub(crate) fn root_is_woken(&self) -> bool {
        self.core.inbox.root_woken()
    }

    /// Tasks spawned and not finished.
    pub(crate) fn live(&self) -> usize {
        self.core.stats.get().live as usize
    }

    /// Drops the future of every live task, now, on this thread; returns how many.
    ///
    /// Their handles see a cancelled error, or the panic of the future's destructor. Tasks that
    /// destructors spawn meanwhile are dropped too, up to [`ABORT_SPAWNED_MAX`] of them; what is
    /// beyond stays live. A task that is running (it is what calls this) ends at its next turn.
    pub(crate) fn abort_all(&self) -> usize {
        let _entered = self.enter();
        // A destructor that made a turn could meet its own task.
        let outer = self.core.in_turn.replace(true);
        let most = self.live() + ABORT_SPAWNED_MAX;
        let mut dropped = 0;
        while dropped < most {
            let Some(task) = self.core.first_idle() else {
                break;
            };
            self.core.cancel(task);
            dropped += 1;
        }
        self.core.forget_ended();
        self.core.in_turn.set(outer);
        dropped
    }

    /// Takes no more spawns or wakes of other threads, and drops those that are queued.
    pub(crate) fn close(&self) {
        let _entered = self.enter();
        let (woken, starts) = self.core.inbox.close();
        drop(woken);
        starts.into_iter().for_each(drop_caught);
    }

    /// The handle by which other threads reach this executor.
    pub(crate) fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.core.inbox))
    }

    /// The counters, as they are now.
    pub(crate) fn stats(&self) -> TaskStats {
        self.core.stats.get()
    }

    /// Queues what other threads have woken, and starts what they have sent.
    fn drain_inbox(&self) {
        if self.core.inbox.is_empty() {
            return;
        }
        let mut taken = 0;
        for task in self.core.inbox.take_woken() {
            taken += 1;
            self.core.count(|stats| stats.foreign_wakes += 1);
            self.core.arrive(&task);
        }
        for start in self.core.inbox.take_starts() {
            taken += 1;
            start(self);
        }
        self.core.count(|stats| {
            stats.inbox_peak = stats.inbox_peak.max(taken);
            stats.inbox_warnings += u64::from(taken > INBOX_LEN_WARN);
        });
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if Rc::strong_count(&self.core) > 1 {
            return;
        }
        // Close before aborting: a start that came in between would find nobody.
        self.close();
        self.abort_all();
        for _ in 0..self.core.spare_inbox_refs.replace(0) {
            // SAFETY: the spare references are ours; `core.inbox` is one more.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(&self.core.inbox)) };
        }
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("core", &self.core.inbox.core())
            .field("stats", &self.stats())
            .finish()
    }
}

impl Core {
    fn count(&self, change: impl FnOnce(&mut TaskStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    fn spawn<F: Future + 'static>(
        &self,
        future: F,
        id: Id,
        place: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        let task = self.rest(future, id, place);
        // SAFETY: the handle keeps the task alive.
        unsafe { task.raw().header() }.set(QUEUED);
        self.push_ready(task.raw());
        task
    }

    /// A new task that waits to be woken before its first turn.
    fn rest<F: Future + 'static>(
        &self,
        future: F,
        id: Id,
        place: &'static Location<'static>,
    ) -> JoinHandle<F::Output> {
        let task = RawTask::new(future, self.take_inbox(), id, &self.blocks);
        self.count(|stats| {
            stats.spawned += 1;
            stats.live += 1;
        });
        self.link_live(task);
        if self.hooks.track {
            self.note(task).spawned_at = Some(place);
        }
        // SAFETY: a new task has the bit `JOINED`, and its output is `F`'s.
        unsafe { JoinHandle::new(task) }
    }

    /// A strong reference of the inbox for a new task.
    fn take_inbox(&self) -> NonNull<Inbox> {
        let inbox = Arc::as_ptr(&self.inbox);
        match self.spare_inbox_refs.get() {
            // SAFETY: `inbox` came from an `Arc` that lives.
            0 => unsafe { Arc::increment_strong_count(inbox) },
            spare => self.spare_inbox_refs.set(spare - 1),
        }
        // SAFETY: an `Arc` is never null.
        unsafe { NonNull::new_unchecked(inbox.cast_mut()) }
    }

    /// One turn of a task that has just left the ready queue.
    fn turn(&self, task: RawTask) {
        // SAFETY: the bit `QUEUED` keeps the task until it is taken back.
        let header = unsafe { task.header() };
        if header.is(DONE) {
            // SAFETY: the task has left the queue and is not used below.
            return unsafe { task.leave(QUEUED) };
        }
        header.clear(QUEUED);
        if header.is(ABORT) {
            return self.cancel(task);
        }
        self.count(|stats| stats.polls += 1);
        header.set(BUSY);
        let outer = self.current.replace(Some(task));
        // SAFETY: this is the owner thread; the task is live and not done, and was not busy, since
        // `in_turn` refuses a turn within whatever makes tasks busy.
        let turn = unsafe { task.poll() };
        self.current.set(outer);
        match turn {
            Turn::Pending => header.clear(BUSY),
            Turn::Ended | Turn::Panicked => self.finish(task, turn),
        }
    }

    /// Ends a live task that is not busy.
    fn cancel(&self, task: RawTask) {
        // SAFETY: the bit `LIVE` keeps the task.
        let header = unsafe { task.header() };
        header.set(BUSY);
        let outer = self.current.replace(Some(task));
        // SAFETY: this is the owner thread; the task is live, hence not done, and was not busy.
        let turn = unsafe { task.cancel() };
        self.current.set(outer);
        self.finish(task, turn);
    }

    /// The end of every task: its future is gone, its output is stored.
    fn finish(&self, task: RawTask, turn: Turn) {
        // SAFETY: the bit `LIVE` keeps the task until the last line.
        let header = unsafe { task.header() };
        self.unlink_live(task);
        self.count(|stats| {
            stats.live -= 1;
            stats.panics += u64::from(turn == Turn::Panicked);
        });
        header.refuse_wakes();
        if !header.is(JOINED) {
            if turn == Turn::Panicked {
                // SAFETY: this is the owner thread, and the task is ending.
                unsafe { self.report_panic(task) };
            }
            // SAFETY: this is the owner thread, and the task is ending.
            unsafe { task.drop_output() };
        }
        header.clear(BUSY);
        header.set(DONE);
        if header.is(NOTED) {
            // Nobody notes anything of a task that is done. Its token may be the last: what waits
            // for it is dropped with no borrow held.
            let note = self.notes.borrow_mut().remove(&header.id());
            drop_caught(note);
        }
        match header.joiner.take() {
            Joiner::Set(None) => {}
            // A foreign waker may panic; that is not this core's business.
            joiner => drop_caught(catch_unwind(AssertUnwindSafe(|| {
                joiner.notify(header.set_key.get())
            }))),
        }
        // SAFETY: this is the last use on behalf of the list that the task has left.
        unsafe { task.leave(LIVE) };
    }

    /// Queues a task that came out of the inbox.
    fn arrive(&self, task: &TaskRef) {
        let header = task.header();
        if header.is(DONE) {
            return;
        }
        header.leave_inbox();
        if !header.is(QUEUED) {
            header.set(QUEUED);
            self.push_ready(task.raw());
        }
    }

    /// Appends a task that has just become `QUEUED`.
    fn push_ready(&self, task: RawTask) {
        match self.ready_last.replace(Some(task)) {
            // SAFETY: the last task of the queue is `QUEUED`, which keeps it.
            Some(last) => unsafe { last.header() }.ready_next.set(Some(task)),
            None => self.ready_first.set(Some(task)),
        }
    }

    /// Takes the first task of the queue; its bit `QUEUED` is the caller's now.
    fn pop_ready(&self) -> Option<RawTask> {
        let task = self.ready_first.get()?;
        // SAFETY: the task is `QUEUED`, which keeps it.
        let next = unsafe { task.header() }.ready_next.take();
        self.ready_first.set(next);
        if next.is_none() {
            self.ready_last.set(None);
        }
        Some(task)
    }

    /// Takes the ended tasks out of the ready queue, so that their memory can go.
    fn forget_ended(&self) {
        let mut rest = self.ready_first.take();
        self.ready_last.set(None);
        while let Some(task) = rest {
            // SAFETY: the task is `QUEUED`, which keeps it.
            let header = unsafe { task.header() };
            rest = header.ready_next.take();
            if header.is(DONE) {
                // SAFETY: the task has left the queue and is not used below.
                unsafe { task.leave(QUEUED) };
            } else {
                self.push_ready(task);
            }
        }
    }

    fn link_live(&self, task: RawTask) {
        let next = self.live_first.replace(Some(task));
        // SAFETY: the task is `LIVE`, which keeps it.
        unsafe { task.header() }.live_next.set(next);
        if let Some(next) = next {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            unsafe { next.header() }.live_prev.set(Some(task));
        }
    }

    fn unlink_live(&self, task: RawTask) {
        // SAFETY: the task is `LIVE`, which keeps it.
        let header = unsafe { task.header() };
        let (prev, next) = (header.live_prev.take(), header.live_next.take());
        if let Some(next) = next {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            unsafe { next.header() }.live_prev.set(prev);
        }
        match prev {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            Some(prev) => unsafe { prev.header() }.live_next.set(next),
            None => self.live_first.set(next),
        }
    }

    /// A live task whose code is not running; those that are get the mark `ABORT` on the way.
    fn first_idle(&self) -> Option<RawTask> {
        let mut next = self.live_first.get();
        while let Some(task) = next {
            // SAFETY: what is in the list is `LIVE`, which keeps it.
            let header = unsafe { task.header() };
            if !header.is(BUSY) {
                return Some(task);
            }
            header.set(ABORT);
            // SAFETY: as above.
            unsafe { waker::wake_task(task) };
            next = header.live_next.get();
        }
        None
    }
}

/// Restores the thread's former executor when it is dropped.
pub(crate) struct EnterGuard {
    /// What `CURRENT` was, with its strong count.
    previous: *const Core,
}

#[cfg(test)]
impl EnterGuard {
    /// A guard that leaves the thread without an executor.
    pub(super) fn nothing() -> EnterGuard {
        EnterGuard {
            previous: ptr::null(),
        }
    }
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        let ours = CURRENT.with(|current| current.replace(self.previous));
        if !ours.is_null() {
            // SAFETY: whatever `CURRENT` holds came from `Rc::into_raw` in `enter`, with a count
            // that is ours now.
            let core = unsafe { Rc::from_raw(ours) };
            // As an executor: if it was the last, what lives must be dropped.
            drop(Executor { core });
        }
    }
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

/// Whether this thread runs a core.
pub(super) fn is_entered() -> bool {
    with_current(|core| core.is_some())
}

/// Calls `f` with the thread's current executor. `f` runs no user code: that could end it.
fn with_current<R>(f: impl FnOnce(Option<&Core>) -> R) -> R {
    // SAFETY: `CURRENT` owns a count of what it points to, and `f` does not change it.
    f(unsafe { CURRENT.with(Cell::get).as_ref() })
}

/// Calls `f` with the thread's current executor if it is the one with this inbox; as
/// [`with_current`] does.
fn on_owner<R>(inbox: *const Inbox, f: impl FnOnce(&Core) -> R) -> Option<R> {
    with_current(|core| {
        core.filter(|core| ptr::eq(Arc::as_ptr(&core.inbox), inbox))
            .map(f)
    })
}

/// Spawns on the current executor; gives the future back if there is none.
#[track_caller]
pub(super) fn spawn_on_current<F: Future + 'static>(future: F) -> Result<JoinHandle<F::Output>, F> {
    let place = Location::caller();
    with_current(|core| match core {
        Some(core) => Ok(core.spawn(future, core.ids.next(), place)),
        None => Err(future),
    })
}

pub(super) fn current_id() -> Option<Id> {
    with_current(|core| core.and_then(Core::current_id))
}

/// The running task, if something is noted of it.
pub(super) fn current_noted() -> Option<Id> {
    with_current(|core| {
        let running = core?.running()?;
        running.is(NOTED).then(|| running.id())
    })
}

/// A task of the current executor that waits to be woken; gives the future back if there is none.
#[track_caller]
pub(super) fn rest_on_current<F: Future + 'static>(future: F) -> Result<JoinHandle<F::Output>, F> {
    let place = Location::caller();
    with_current(|core| match core {
        Some(core) => Ok(core.rest(future, core.ids.next(), place)),
        None => Err(future),
    })
}

/// Whether the thread's current executor is the one with this inbox.
pub(super) fn is_current(inbox: *const Inbox) -> bool {
    on_owner(inbox, |_core| ()).is_some()
}

/// The inbox of the thread's current executor.
#[cfg(any(feature = "hyper", feature = "dns-hickory"))]
pub(super) fn current_inbox() -> Option<Arc<Inbox>> {
    with_current(|core| core.map(|core| Arc::clone(&core.inbox)))
}

/// Counts a panic that a task has caught by itself, to send it elsewhere.
pub(super) fn count_panic() {
    with_current(|core| core.map(|core| core.count(|stats| stats.panics += 1)));
}

/// Queues the task if the thread's current executor is its own; false if it is not.
pub(super) fn wake_local(task: RawTask) -> bool {
    // SAFETY: whoever wakes holds a reference.
    let header = unsafe { task.header() };
    let queued = on_owner(header.inbox(), |core| {
        if !header.is(QUEUED | DONE) {
            header.set(QUEUED);
            core.count(|stats| stats.local_wakes += 1);
            core.push_ready(task);
        }
    });
    queued.is_some()
}

/// Takes the memory of a task that is gone, and its reference of the inbox, for the next task;
/// false if this is not its core's turn: then both are still the caller's.
///
/// # Safety
/// As for [`Blocks::keep`].
pub(super) unsafe fn take_back(block: NonNull<u8>, layout: Layout, inbox: NonNull<Inbox>) -> bool {
    let taken = on_owner(inbox.as_ptr(), |core| {
        // SAFETY: the caller's promise, word for word.
        unsafe { core.blocks.keep(block, layout) };
        match core.spare_inbox_refs.get() {
            // SAFETY: the task owned this strong reference; `core.inbox` is one more.
            SPARE_INBOX_REFS_MAX.. => unsafe { Arc::decrement_strong_count(inbox.as_ptr()) },
            spare => core.spare_inbox_refs.set(spare + 1),
        }
    });
    taken.is_some()
}
