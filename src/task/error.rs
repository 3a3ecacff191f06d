//! Why a task has no output: it was aborted, or it panicked.

use super::Id;
use std::any::Any;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// What it panicked with; `None` if it was cancelled.
    ///
    /// The lock is never contended: it only makes the payload, which is `Send`, shareable too, as
    /// `io::Error` demands. The box keeps tasks small: each has room for this error.
    panic: Option<Box<Mutex<Payload>>>,
}

impl JoinError {
    pub(super) fn cancelled(id: Id) -> JoinError {
        JoinError { id, panic: None }
    }

    pub(super) fn panic(id: Id, payload: Payload) -> JoinError {
        JoinError {
            id,
            panic: Some(Box::new(Mutex::new(payload))),
        }
    }

    /// Whether the task was aborted, or dropped because its core ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
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
        match self.panic {
            Some(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            None => Err(self),
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
        let Some(payload) = &self.panic else {
            return write!(f, "task {} was cancelled", self.id);
        };
        match message(&payload.lock().unwrap_or_else(PoisonError::into_inner)) {
            Some(text) => write!(f, "task {} panicked: {text}", self.id),
            None => write!(f, "task {} panicked", self.id),
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
