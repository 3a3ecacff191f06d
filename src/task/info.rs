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
use std::task::Waker;
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

/// One thing that a task waits for.
///
/// # Examples
/// ```no_run
/// use corering::task::Wait;
///
/// # async fn f() {
/// for task in corering::task::all() {
///     for wait in &task.waits_for {
///         if let Wait::Operation { name, descriptor } = wait {
///             println!("task {}: {name} on {descriptor:?}", task.id);
///         }
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wait {
    /// An operation that the kernel has not completed.
    Operation {
        /// The kernel's name in lower case, without `IORING_OP_`: "recv", "accept", "waitid".
        name: &'static str,
        /// The descriptor that it works on, if it works on one.
        descriptor: Option<i32>,
    },
    /// A timer, which fires after this long.
    Timer(Duration),
    /// The end of another task.
    Task(Id),
    /// The end of one of so many tasks, of a [`JoinSet`](super::JoinSet).
    Tasks(usize),
    /// What another task or thread is to do: something of [`sync`](crate::sync), or a
    /// [`CancellationToken`](super::CancellationToken).
    Sync {
        /// What was called, by its path in this crate: `sync::Mutex::lock`,
        /// `sync::local::mpsc::Receiver::recv`, `task::CancellationToken::cancelled`. A `send`
        /// waits where the channel is full.
        call: &'static str,
        /// The type of the value that is guarded, sent or made, if there is one. As
        /// [`type_name`](std::any::type_name) calls it, which is the compiler's choice.
        value: Option<&'static str>,
        /// How many permits of a semaphore.
        permits: Option<usize>,
    },
}

impl Wait {
    /// Something of `sync` that has no value.
    pub(crate) fn plain(call: &'static str) -> Wait {
        Wait::Sync {
            call,
            value: None,
            permits: None,
        }
    }

    /// Something of `sync` around a value.
    pub(crate) fn of<T: ?Sized>(call: &'static str) -> Wait {
        Wait::Sync {
            call,
            value: Some(std::any::type_name::<T>()),
            permits: None,
        }
    }

    /// So many permits.
    pub(crate) fn permits(call: &'static str, permits: usize) -> Wait {
        Wait::Sync {
            call,
            value: None,
            permits: Some(permits),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Operation {
                name,
                descriptor: Some(descriptor),
            } => write!(f, "{name} on descriptor {descriptor}"),
            Wait::Operation { name, .. } => f.write_str(name),
            Wait::Timer(left) => write!(f, "a timer in {left:?}"),
            Wait::Task(id) => write!(f, "task {id}"),
            Wait::Tasks(count) => write!(f, "the first of {count} tasks to end"),
            Wait::Sync {
                call,
                value,
                permits,
            } => {
                f.write_str(call)?;
                match (value, permits) {
                    (Some(value), _) => write!(f, " of {value}"),
                    (None, Some(1)) => f.write_str(" of 1 permit"),
                    (None, Some(count)) => write!(f, " of {count} permits"),
                    (None, None) => Ok(()),
                }
            }
        }
    }
}

/// Says who waits for what beside tasks. It only lends the wakers, of which the listing looks at
/// the address.
pub(crate) type WhoWaits = fn(tell: &mut dyn FnMut(&Waker, Wait));

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
    /// What it waits for: operations of the kernel, timers, the task or the tasks that it joins,
    /// locks, channels, notifications and whatever else is in [`sync`](crate::sync). Several where
    /// it waits for the first of them; also what it asked for in a call that was dropped since,
    /// where the resource goes on with it: [`recv`](crate::net::TcpStream::recv) of a stream, a
    /// [`oneshot`](crate::sync::oneshot()) receiver or a channel's `Stream` that was polled and is
    /// still there. What is in `sync` is known of tasks that [`Builder`](super::Builder) made, and
    /// of all where [`track_tasks`](crate::Builder::track_tasks) is on, as it is in a simulation. A
    /// task that waits and has nothing here waits for what is not known: a thread, another crate's
    /// channel, or nothing at all.
    pub waits_for: Vec<Wait>,
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
        let mut word = " for";
        for wait in &self.waits_for {
            write!(f, "{word} {wait}")?;
            word = " or";
        }
        if self.waits_for.is_empty() && self.state == TaskState::Waiting {
            write!(
                f,
                " for what is not known here (a thread, another crate's channel, ..)"
            )?;
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
    /// Who waits for the kernel or a timer; asked by a listing only.
    pub(crate) who_waits: Option<WhoWaits>,
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
