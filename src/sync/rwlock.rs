//! Many readers or one writer, on one core.
//!
//! Rules
//! 1. The value is reached through a guard alone. A read guard stands for one permit of `line`, a
//!    write guard for all that there are.
//! 2. First come, first served, readers and writers in one line: a writer that waits is not
//!    overtaken by readers, so neither starves the other.
//! 3. A guard gives its permits back by its drop, in a panic too: there is no poison.

use super::guard_text::guard_text;
use super::mutex::TryLockError;
use super::semaphore::Semaphore;
use crate::task::Wait;
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// The permits of a lock; more readers than fit into memory.
const PERMITS: usize = usize::MAX >> 3;

/// What a wait for so many permits is called.
fn what<T: ?Sized>(permits: usize) -> Wait {
    Wait::of::<T>(match permits {
        PERMITS => "sync::RwLock::write",
        _ => "sync::RwLock::read",
    })
}

/// Guards a value that many read, or one changes, over an `await`. For the tasks of one core.
///
/// A value that is never held over an `await` needs no more than a `RefCell`.
///
/// A task that panics, or is dropped, while it holds a guard unlocks it. What it had begun to
/// change stays as it is: there is no poison.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::RwLock;
///
/// let settings = RwLock::new(vec!["fast"]);
/// {
///     let (one, other) = (settings.read().await, settings.read().await);
///     assert_eq!(*one, *other);
/// }
/// settings.write().await.push("safe");
/// assert_eq!(settings.read().await.len(), 2);
/// # });
/// ```
pub struct RwLock<T: ?Sized> {
    /// [`PERMITS`] of them: one for a reader, all for a writer.
    line: Semaphore,
    value: UnsafeCell<T>,
}

impl<T> RwLock<T> {
    /// An unlocked lock around `value`.
    #[must_use]
    pub fn new(value: T) -> RwLock<T> {
        RwLock {
            line: Semaphore::new(PERMITS),
            value: UnsafeCell::new(value),
        }
    }

    /// The value; nobody can hold a guard.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until it may read, with others.
    ///
    /// A task that holds a guard and asks for another one may wait for ever: a writer can stand
    /// between the two.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        self.turn(1).await;
        RwLockReadGuard { lock: self }
    }

    /// As [`read`](Self::read), with a guard that can be moved into a task.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn read_owned(self: Rc<Self>) -> OwnedRwLockReadGuard<T> {
        self.turn(1).await;
        OwnedRwLockReadGuard { lock: self }
    }

    /// Locks it for reading if nobody writes or waits.
    ///
    /// # Errors
    /// If somebody writes, or others wait already.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.line.try_take(1).map_err(|_| TryLockError)?;
        Ok(RwLockReadGuard { lock: self })
    }

    /// As [`try_read`](Self::try_read), with a guard that can be moved into a task.
    ///
    /// # Errors
    /// If somebody writes, or others wait already.
    pub fn try_read_owned(self: Rc<Self>) -> Result<OwnedRwLockReadGuard<T>, TryLockError> {
        self.line.try_take(1).map_err(|_| TryLockError)?;
        Ok(OwnedRwLockReadGuard { lock: self })
    }

    /// Waits until it may write, alone.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.turn(PERMITS).await;
        RwLockWriteGuard {
            lock: self,
            held: PERMITS,
        }
    }

    /// As [`write`](Self::write), with a guard that can be moved into a task.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn write_owned(self: Rc<Self>) -> OwnedRwLockWriteGuard<T> {
        self.turn(PERMITS).await;
        OwnedRwLockWriteGuard {
            lock: self,
            held: PERMITS,
        }
    }

    /// Locks it for writing if nobody has it or waits.
    ///
    /// # Errors
    /// If somebody reads or writes, or others wait already.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.line.try_take(PERMITS).map_err(|_| TryLockError)?;
        Ok(RwLockWriteGuard {
            lock: self,
            held: PERMITS,
        })
    }

    /// As [`try_write`](Self::try_write), with a guard that can be moved into a task.
    ///
    /// # Errors
    /// If somebody reads or writes, or others wait already.
    pub fn try_write_owned(self: Rc<Self>) -> Result<OwnedRwLockWriteGuard<T>, TryLockError> {
        self.line.try_take(PERMITS).map_err(|_| TryLockError)?;
        Ok(OwnedRwLockWriteGuard {
            lock: self,
            held: PERMITS,
        })
    }

    /// The value; nobody can hold a guard.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    async fn turn(&self, permits: usize) {
        let turn = self.line.take(what::<T>, permits);
        turn.await.expect("the line of a lock is never closed");
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => text.field("data", &&*guard).finish(),
            Err(TryLockError) => text.field("data", &format_args!("<locked>")).finish(),
        }
    }
}

/// One reader's share of an [`RwLock`], until this is dropped.
///
/// # Examples
/// ```
/// use corering::sync::{RwLock, RwLockReadGuard};
///
/// let lock = RwLock::new(1);
/// let guard: RwLockReadGuard<'_, i32> = lock.try_read().unwrap();
/// assert_eq!(*guard, 1);
/// assert!(lock.try_read().is_ok() && lock.try_write().is_err());
/// ```
#[must_use = "the lock is unlocked when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
}

/// An [`RwLock`] that is locked for writing until this is dropped.
///
/// # Examples
/// ```
/// use corering::sync::{RwLock, RwLockWriteGuard};
///
/// let lock = RwLock::new(1);
/// let mut guard: RwLockWriteGuard<'_, i32> = lock.try_write().unwrap();
/// *guard += 1;
/// let guard = guard.downgrade();
/// assert_eq!(*guard + *lock.try_read().unwrap(), 4);
/// ```
#[must_use = "the lock is unlocked when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Permits that its drop gives back: all, or none after a downgrade.
    held: usize,
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Goes on as a reader, with no writer in between; others may read at once.
    pub fn downgrade(mut self) -> RwLockReadGuard<'a, T> {
        let lock = self.lock;
        // One permit of those that are held becomes the reader's.
        self.held = 0;
        drop(self);
        lock.line.give_back(PERMITS - 1);
        RwLockReadGuard { lock }
    }
}

/// A [`RwLockReadGuard`] that keeps its lock alive and can be moved into a task.
///
/// # Examples
/// ```
/// use corering::sync::{OwnedRwLockReadGuard, RwLock};
/// use std::rc::Rc;
///
/// let lock = Rc::new(RwLock::new(1));
/// let guard: OwnedRwLockReadGuard<i32> = lock.clone().try_read_owned().unwrap();
/// assert_eq!(*guard, 1);
/// assert!(lock.try_read().is_ok() && lock.try_write().is_err());
/// ```
#[must_use = "the lock is unlocked when the guard is dropped"]
pub struct OwnedRwLockReadGuard<T: ?Sized> {
    lock: Rc<RwLock<T>>,
}

/// A [`RwLockWriteGuard`] that keeps its lock alive and can be moved into a task.
///
/// # Examples
/// ```
/// use corering::sync::{OwnedRwLockWriteGuard, RwLock};
/// use std::rc::Rc;
///
/// let lock = Rc::new(RwLock::new(1));
/// let mut guard: OwnedRwLockWriteGuard<i32> = lock.clone().try_write_owned().unwrap();
/// *guard += 1;
/// let guard = guard.downgrade();
/// assert_eq!(*guard + *lock.try_read().unwrap(), 4);
/// ```
#[must_use = "the lock is unlocked when the guard is dropped"]
pub struct OwnedRwLockWriteGuard<T: ?Sized> {
    lock: Rc<RwLock<T>>,
    /// Permits that its drop gives back: all, or none after a downgrade.
    held: usize,
}

impl<T: ?Sized> OwnedRwLockWriteGuard<T> {
    /// Goes on as a reader, with no writer in between; others may read at once.
    pub fn downgrade(mut self) -> OwnedRwLockReadGuard<T> {
        let lock = self.lock.clone();
        // One permit of those that are held becomes the reader's.
        self.held = 0;
        drop(self);
        lock.line.give_back(PERMITS - 1);
        OwnedRwLockReadGuard { lock }
    }
}

/// What both guards for reading do, the one that borrows its lock and the one that keeps it alive.
macro_rules! read_guards {
    ($($guard:ty),*) => {$(
        impl<T: ?Sized> Deref for $guard {
            type Target = T;

            fn deref(&self) -> &T {
                // SAFETY: this guard stands for a permit of the line, so no guard for writing
                // exists.
                unsafe { &*self.lock.value.get() }
            }
        }

        impl<T: ?Sized> Drop for $guard {
            fn drop(&mut self) {
                self.lock.line.give_back(1);
            }
        }
    )*};
}

read_guards!(RwLockReadGuard<'_, T>, OwnedRwLockReadGuard<T>);
guard_text!(RwLockReadGuard<'_, T>, OwnedRwLockReadGuard<T>);

/// What both guards for writing do.
macro_rules! write_guards {
    ($($guard:ty),*) => {$(
        impl<T: ?Sized> Deref for $guard {
            type Target = T;

            fn deref(&self) -> &T {
                // SAFETY: this guard stands for all permits of the line, so there is no other
                // guard.
                unsafe { &*self.lock.value.get() }
            }
        }

        impl<T: ?Sized> DerefMut for $guard {
            fn deref_mut(&mut self) -> &mut T {
                // SAFETY: this guard stands for all permits of the line, and is borrowed for as
                // long.
                unsafe { &mut *self.lock.value.get() }
            }
        }

        impl<T: ?Sized> Drop for $guard {
            fn drop(&mut self) {
                self.lock.line.give_back(self.held);
            }
        }
    )*};
}

write_guards!(RwLockWriteGuard<'_, T>, OwnedRwLockWriteGuard<T>);
guard_text!(RwLockWriteGuard<'_, T>, OwnedRwLockWriteGuard<T>);
