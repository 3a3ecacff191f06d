//! A value that is made once, by a future, on one core.
//!
//! Rules
//! 1. Who holds the one permit of `line` makes the value; the others wait. If it goes, fails or
//!    panics, the next in the line tries.
//! 2. A value that is set closes the line: all who wait find it.

use super::semaphore::{Permit, Semaphore};
use crate::task::{Wait, What};
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;

/// A value that the first of a core's tasks that needs it makes, and all share.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::OnceCell;
///
/// let cell = OnceCell::new();
/// assert_eq!(cell.get_or_init(async || 5).await, &5);
/// assert_eq!(cell.get_or_init(async || unreachable!()).await, &5);
/// # });
/// ```
pub struct OnceCell<T> {
    value: std::cell::OnceCell<T>,
    /// One permit, for who makes the value; closed when it is there.
    line: Semaphore,
}

impl<T> OnceCell<T> {
    /// An empty cell.
    #[must_use]
    pub fn new() -> OnceCell<T> {
        OnceCell {
            value: std::cell::OnceCell::new(),
            line: Semaphore::new(1),
        }
    }

    /// The value, if it is there.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, to change it.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Whether the value is there.
    #[must_use]
    pub fn initialized(&self) -> bool {
        self.value.get().is_some()
    }

    /// The value; if there is none, `make` makes it, or another task that has begun to.
    ///
    /// If the task that makes it is dropped or panics, the next one that waits calls its own
    /// `make`. A `make` that asks the same cell waits for ever.
    ///
    /// # Cancel safety
    /// Safe: what this call's future of `make` has done is dropped, and the next makes the value.
    pub async fn get_or_init<F, Fut>(&self, make: F) -> &T
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let made = self.get_or_try_init(async || Ok::<T, Infallible>(make().await));
        match made.await {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// As [`get_or_init`](Self::get_or_init), with a `make` that may fail.
    ///
    /// # Errors
    /// What `make` says. The cell stays empty, and the next one that waits calls its own `make`.
    ///
    /// # Cancel safety
    /// Safe: what this call's future of `make` has done is dropped, and the next makes the value.
    pub async fn get_or_try_init<E, F, Fut>(&self, make: F) -> Result<&T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let what: What = |_| Wait::of::<T>("sync::OnceCell::get_or_init");
        // An error says that the line is closed: the value is there.
        if let Ok(turn) = self.line.acquire_as(what, 1).await {
            let value = make().await?;
            return Ok(self.fill(value, turn));
        }
        Ok(self.value.get().expect("a closed line has its value"))
    }

    /// Puts a value in, if there is none and nobody is making one.
    ///
    /// # Errors
    /// The value, and why it did not get in.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        if self.initialized() {
            return Err(SetError::AlreadyInitialized(value));
        }
        match self.line.try_acquire() {
            Ok(turn) => {
                self.fill(value, turn);
                Ok(())
            }
            Err(_) => Err(SetError::Initializing(value)),
        }
    }

    /// Takes the value out; the cell is empty again.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// The value.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    fn fill(&self, value: T, turn: Permit<'_>) -> &T {
        let value = self.value.get_or_init(|| value);
        self.line.close();
        drop(turn);
        value
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        let cell = OnceCell::new();
        let Ok(()) = cell.set(value) else {
            unreachable!("a new cell is empty")
        };
        cell
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("value", &self.get())
            .finish()
    }
}

/// Why [`OnceCell::set`] did not set; the value comes back.
///
/// # Examples
/// ```
/// use corering::sync::{OnceCell, SetError};
///
/// let cell = OnceCell::new();
/// cell.set(1).unwrap();
/// assert_eq!(cell.set(2), Err(SetError::AlreadyInitialized(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SetError<T> {
    /// There is a value.
    AlreadyInitialized(T),
    /// A task is making one, or waits to.
    Initializing(T),
}

impl<T> SetError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            SetError::AlreadyInitialized(value) | SetError::Initializing(value) => value,
        }
    }
}

impl<T> fmt::Debug for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitialized(_) => "AlreadyInitialized(..)",
            SetError::Initializing(_) => "Initializing(..)",
        })
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitialized(_) => "the cell has a value: use `get`",
            SetError::Initializing(_) => {
                "a task is making the value: use `get_or_init` to wait for it"
            }
        })
    }
}

impl<T> Error for SetError<T> {}
