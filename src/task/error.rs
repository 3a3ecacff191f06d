//! Why a task has no output: it was aborted, or it panicked.

use super::{Id, executor};
use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a task panicked with.
pub(super) type Payload = Box<dyn Any + Send + 'static>;

/// A task ended without an output: it was aborted (or its core went away), or it panicked.
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     let task = corering::spawn(async { panic!("no disk") });
///     let error: corering::task::JoinError = task.await.unwrap_err();
///     assert!(error.is_panic());
///     assert!(error.to_string().ends_with("panicked: no disk"));
/// });
/// ```
pub struct JoinError {
    id: Id,
    /// What else there is to tell; `None` if it was cancelled, and that is all.
    ///
    /// The box keeps tasks small: each has room for this error.
    more: Option<Box<More>>,
}

enum More {
    /// The runtime had ended before the task could be started.
    Closed,
    /// It panicked, with this.
    ///
    /// The lock is never contended: it only makes the payload, which is `Send`, shareable too, as
    /// `io::Error` demands.
    Panic {
        payload: Mutex<Payload>,
        name: Option<Arc<str>>,
    },
}

impl JoinError {
    pub(super) fn cancelled(id: Id) -> JoinError {
        JoinError { id, more: None }
    }

    pub(super) fn closed(id: Id) -> JoinError {
        JoinError {
            id,
            more: Some(Box::new(More::Closed)),
        }
    }

    /// Made on the task's core, before the task has ended: its name is looked up.
    pub(super) fn panic(id: Id, payload: Payload) -> JoinError {
        let more = More::Panic {
            payload: Mutex::new(payload),
            name: executor::name_of(id),
        };
        JoinError {
            id,
            more: Some(Box::new(more)),
        }
    }

    /// Whether the task was aborted, or dropped because its core ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        !self.is_panic()
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.more.as_deref(), Some(More::Panic { .. }))
    }

    /// What the task panicked with, to look into it or to `std::panic::resume_unwind` it.
    ///
    /// # Panics
    /// If the task did not panic; see [`try_into_panic`](Self::try_into_panic).
    #[track_caller]
    #[must_use]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("`into_panic` on an error that is no panic: {error}"),
        }
    }

    /// What the task panicked with.
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        match self.more.map(|more| *more) {
            Some(More::Panic { payload, .. }) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Some(More::Closed) => Err(JoinError::closed(self.id)),
            None => Err(JoinError::cancelled(self.id)),
        }
    }

    /// The name that the task was given, if it panicked and had one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.more.as_deref() {
            Some(More::Panic { name, .. }) => name.as_deref(),
            _ => None,
        }
    }

    /// The id of the task that ended so.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }
}

/// The text of a panic: `panic!` makes a `str` or a `String`, anything else has no text.
fn message(payload: &MutexGuard<'_, Payload>) -> Option<String> {
    let any: &(dyn Any + Send) = &***payload;
    let text = any
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| any.downcast_ref::<String>().cloned())
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = self.name() {
            write!(f, " {name:?}")?;
        }
        match self.more.as_deref() {
            None => f.write_str(" was cancelled"),
            Some(More::Closed) => f.write_str(
                " was cancelled: its runtime had ended before it could start. Keep the `Runtime` \
                 for as long as its handles are used, or ask `Handle::is_closed`",
            ),
            Some(More::Panic { payload, .. }) => {
                match message(&payload.lock().unwrap_or_else(PoisonError::into_inner)) {
                    Some(text) => write!(f, " panicked: {text}"),
                    None => f.write_str(" panicked"),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}
