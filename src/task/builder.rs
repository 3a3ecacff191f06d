//! A task with a name.

use super::info::Note;
use super::{CancellationToken, JoinHandle, executor, no_runtime};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

/// What a task is given beyond its future: a name, a token.
///
/// The name is shown by [`all`](super::all), by a [`Stall`](super::Stall), by the
/// [`JoinError`](super::JoinError) of a panic and by a
/// [`ShutdownReport`](crate::ShutdownReport). It need not be unique. A task that is made here costs
/// one entry of a table more than one that [`spawn`](super::spawn) makes.
///
/// # Examples
/// ```no_run
/// use corering::task::Builder;
///
/// corering::block_on(async {
///     let task = Builder::new().name("greeter").spawn(async {
///         corering::task::current_name().map(|name| format!("hello from {name}"))
///     });
///     assert_eq!(task.await.unwrap().as_deref(), Some("hello from greeter"));
/// });
/// ```
#[derive(Default)]
#[must_use = "nothing is started before `spawn`"]
pub struct Builder {
    name: Option<Arc<str>>,
    token: Option<CancellationToken>,
}

impl Builder {
    /// A task without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The task's name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The token that carries requests to end: what [`cancelled`](super::cancelled) waits for in
    /// this task, and what [`JoinHandle::cancel`] cancels. By default each task has one of its own;
    /// a [child](CancellationToken::child_token) of another's ends with that.
    pub fn cancellation_token(mut self, token: CancellationToken) -> Builder {
        self.token = Some(token);
        self
    }

    /// Starts the task on this core, as [`spawn`](super::spawn) does.
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`](super::spawn).
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        let note = Note {
            name: self.name,
            spawned_at: Some(Location::caller()),
            token: self.token,
        };
        match executor::spawn_noted(future, note) {
            Ok(handle) => handle,
            Err(_future) => no_runtime(),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
