//! What can be told of a task: its name, its state, where it was spawned; and to whom.
//!
//! Rules
//! 1. A task has room for none of this. What it is given beyond its future stands in its core's
//!    table of notes, under its id, and the bit `NOTED` says that there is something: so a task
//!    without a name costs what it always did.
//! 2. Hooks are the program's code: they run with nothing borrowed, on the task's core, and what
//!    they panic with ends there.

use super::{CancellationToken, Id, JoinError};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Whether a task runs, could run, or waits.
///
/// # Examples
/// ```
/// use corering::task::TaskState;
///
/// assert!(TaskState::Ready < TaskState::Waiting);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Its code is what runs at the moment.
    Running,
    /// It was woken and has not had its turn.
    Ready,
    /// It waits for something.
    Waiting,
}

/// What is known of a live task; made by [`all`](super::all).
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     let named = corering::task::Builder::new().name("waits");
///     let waits = named.spawn(std::future::pending::<()>());
///     let tasks: Vec<corering::task::TaskInfo> = corering::task::all();
///     assert_eq!(tasks[0].id, waits.id());
///     assert_eq!(tasks[0].name.as_deref(), Some("waits"));
///     println!("{}", tasks[0]);
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: Id,
    /// The name that it was given, if any.
    pub name: Option<Arc<str>>,
    /// What it does at the moment.
    pub state: TaskState,
    /// The task whose end it waits for, if it awaits a [`JoinHandle`](super::JoinHandle) itself.
    pub joins: Option<Id>,
    /// The type of its future. An `async fn` is called by its path, with `{{async_fn_env#0}}` or
    /// the like behind it; which, is the compiler's choice and no promise.
    pub future: &'static str,
    /// Where it was spawned. Known of tasks that [`Builder`](super::Builder) made, and of all where
    /// [`track_tasks`](crate::Builder::track_tasks) is on.
    pub spawned_at: Option<&'static Location<'static>>,
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        match self.state {
            TaskState::Running => write!(f, ", running")?,
            TaskState::Ready => write!(f, ", ready")?,
            TaskState::Waiting => write!(f, ", waiting")?,
        }
        if let Some(id) = self.joins {
            write!(f, " for task {id}")?;
        }
        write!(f, ": {}", self.future)?;
        match self.spawned_at {
            Some(place) => write!(f, " (spawned at {place})"),
            None => Ok(()),
        }
    }
}

/// A task held its core for as long as
/// [`stall_threshold`](crate::Builder::stall_threshold) says, or longer: while it did, nothing else
/// of the core ran.
///
/// # Examples
/// ```
/// fn report(stall: &corering::task::Stall) {
///     eprintln!("core {}: {stall}", stall.core);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// The core, from 0.
    pub core: usize,
    /// The task; `None` for the future that `block_on` was given.
    pub id: Option<Id>,
    /// The task's name, if it was given one.
    pub name: Option<Arc<str>>,
    /// The type of its future.
    pub future: &'static str,
    /// For how long, from the begin of one poll to its end.
    pub held: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.id, &self.name) {
            (Some(id), Some(name)) => write!(f, "task {id} {name:?}")?,
            (Some(id), None) => write!(f, "task {id}")?,
            (None, _) => write!(f, "the future of `block_on`")?,
        }
        write!(
            f,
            " held the core for {:?} without a pause: {}",
            self.held, self.future
        )
    }
}

/// A panic of a task that nobody will hear of: its handle was dropped.
///
/// # Examples
/// ```
/// fn report(panic: &corering::task::TaskPanic) {
///     eprintln!("core {}: {}", panic.core, panic.error);
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskPanic {
    /// The core, from 0.
    pub core: usize,
    /// The task's id and name, and what it panicked with.
    pub error: JoinError,
}

/// What is kept for a task that has the bit `NOTED`.
#[derive(Default)]
pub(super) struct Note {
    pub(super) name: Option<Arc<str>>,
    pub(super) spawned_at: Option<&'static Location<'static>>,
    /// Carries the request that the task shall end; made when somebody first asks for it.
    pub(super) token: Option<CancellationToken>,
}

/// Hears of a stall.
pub(crate) type OnStall = Arc<dyn Fn(&Stall) + Send + Sync>;
/// Hears of a panic.
pub(crate) type OnPanic = Arc<dyn Fn(&TaskPanic) + Send + Sync>;

/// What a runtime wants to hear of its tasks. All is off by default, and costs nothing then.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    /// Every spawn notes its place.
    pub(crate) track: bool,
    /// How long a poll may take, and the clock (both in nanoseconds).
    pub(crate) stall: Option<(u64, fn() -> u64)>,
    pub(crate) on_stall: Option<OnStall>,
    pub(crate) on_panic: Option<OnPanic>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("track", &self.track)
            .field("stall_nanos", &self.stall.map(|(nanos, _)| nanos))
            .field("on_stall", &self.on_stall.is_some())
            .field("on_panic", &self.on_panic.is_some())
            .finish()
    }
}
