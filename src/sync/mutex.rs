//! One at a time, on one core.
//!
//! Rules
//! 1. The value is reached through a guard alone, and a guard exists for each permit that was taken
//!    from `line`, which has one.
//! 2. First come, first served: a semaphore's line. Who goes while it waits, or when it has its
//!    turn and has not seen it, is passed over.
//! 3. A guard gives its turn back by its drop, in a panic too: there is no poison.

use super::guard_text::guard_text;
use super::semaphore::Semaphore;
use crate::task::Wait;
use std::cell::UnsafeCell;
use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Guards a value that a task changes over an `await`. For the tasks of one core.
///
/// A value that is never held over an `await` needs no more than a `RefCell`.
///
/// A task that panics, or is dropped, while it holds the guard unlocks it. What it had begun to
/// change stays as it is: there is no poison.
///
/// # Examples
/// ```no_run
/// use corering::sync::Mutex;
/// use corering::time::sleep;
/// use std::{collections::HashMap, rc::Rc, time::Duration};
///
/// async fn look_up(cache: Rc<Mutex<HashMap<u32, u32>>>, key: u32) -> u32 {
///     // Whoever asks for the same key meanwhile waits here, and finds it in the cache.
///     let mut cache = cache.lock().await;
///     if let Some(&value) = cache.get(&key) {
///         return value;
///     }
///     sleep(Duration::from_millis(50)).await;
///     *cache.entry(key).or_insert(key * key)
/// }
///
/// corering::block_on(async {
///     let cache = Rc::new(Mutex::new(HashMap::new()));
///     let first = corering::spawn(look_up(cache.clone(), 7));
///     let second = corering::spawn(look_up(cache.clone(), 7));
///     assert_eq!((first.await.unwrap(), second.await.unwrap()), (49, 49));
/// });
/// ```
pub struct Mutex<T: ?Sized> {
    /// One permit: its holder has the guard.
    line: Semaphore,
    value: UnsafeCell<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    #[must_use]
    pub fn new(value: T) -> Mutex<T> {
        Mutex {
            line: Semaphore::new(1),
            value: UnsafeCell::new(value),
        }
    }

    /// The value; nobody can hold a guard.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for its turn. It is unlocked when the guard is dropped.
    ///
    /// A task that waits for a mutex whose guard it holds waits for ever.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        self.turn().await;
        MutexGuard { mutex: self }
    }

    /// As [`lock`](Self::lock), with a guard that can be moved into a task.
    ///
    /// # Cancel safety
    /// Safe: nothing is locked, only the place in the line is lost.
    pub async fn lock_owned(self: Rc<Self>) -> OwnedMutexGuard<T> {
        self.turn().await;
        OwnedMutexGuard { mutex: self }
    }

    /// Locks it if it is free and nobody waits.
    ///
    /// # Errors
    /// If it is locked, or others wait already.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.line.try_take(1).map_err(|_| TryLockError)?;
        Ok(MutexGuard { mutex: self })
    }

    /// As [`try_lock`](Self::try_lock), with a guard that can be moved into a task.
    ///
    /// # Errors
    /// If it is locked, or others wait already.
    pub fn try_lock_owned(self: Rc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
        self.line.try_take(1).map_err(|_| TryLockError)?;
        Ok(OwnedMutexGuard { mutex: self })
    }

    /// The value; nobody can hold a guard.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    async fn turn(&self) {
        let turn = self.line.take(|_| Wait::of::<T>("sync::Mutex::lock"), 1);
        turn.await.expect("the line of a mutex is never closed");
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => text.field("data", &&*guard).finish(),
            Err(TryLockError) => text.field("data", &format_args!("<locked>")).finish(),
        }
    }
}

/// A locked [`Mutex`], which unlocks when this is dropped.
///
/// # Examples
/// ```
/// use corering::sync::{Mutex, MutexGuard};
///
/// let mutex = Mutex::new(1);
/// let mut guard: MutexGuard<'_, i32> = mutex.try_lock().unwrap();
/// *guard += 1;
/// assert!(mutex.try_lock().is_err());
/// drop(guard);
/// assert_eq!(*mutex.try_lock().unwrap(), 2);
/// ```
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that it locks.
    #[must_use]
    pub fn mutex(guard: &Self) -> &'a Mutex<T> {
        guard.mutex
    }
}

/// A [`MutexGuard`] that keeps its mutex alive and can be moved into a task.
///
/// # Examples
/// ```
/// use corering::sync::{Mutex, OwnedMutexGuard};
/// use std::rc::Rc;
///
/// let mutex = Rc::new(Mutex::new(1));
/// let mut guard: OwnedMutexGuard<i32> = mutex.clone().try_lock_owned().unwrap();
/// *guard += 1;
/// drop(guard);
/// assert_eq!(*mutex.try_lock().unwrap(), 2);
/// ```
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct OwnedMutexGuard<T: ?Sized> {
    mutex: Rc<Mutex<T>>,
}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// The mutex that it locks.
    #[must_use]
    pub fn mutex(guard: &Self) -> &Rc<Mutex<T>> {
        &guard.mutex
    }
}

/// What both guards do, the one that borrows its mutex and the one that keeps it alive.
macro_rules! guards {
    ($($guard:ty),*) => {$(
        impl<T: ?Sized> Deref for $guard {
            type Target = T;

            fn deref(&self) -> &T {
                // SAFETY: this guard stands for the line's one permit, so no other leads to the
                // value.
                unsafe { &*self.mutex.value.get() }
            }
        }

        impl<T: ?Sized> DerefMut for $guard {
            fn deref_mut(&mut self) -> &mut T {
                // SAFETY: this guard stands for the line's one permit, and is borrowed for as long.
                unsafe { &mut *self.mutex.value.get() }
            }
        }

        impl<T: ?Sized> Drop for $guard {
            fn drop(&mut self) {
                self.mutex.line.give_back(1);
            }
        }
    )*};
}

guards!(MutexGuard<'_, T>, OwnedMutexGuard<T>);
guard_text!(MutexGuard<'_, T>, OwnedMutexGuard<T>);

/// A [`Mutex`] or an [`RwLock`](super::RwLock) is locked, or others wait for it already.
///
/// # Examples
/// ```
/// use corering::sync::{Mutex, TryLockError};
///
/// let mutex = Mutex::new(());
/// let _held = mutex.try_lock().unwrap();
/// assert_eq!(mutex.try_lock().unwrap_err(), TryLockError);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLockError;

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is locked: use `lock`, `read` or `write` to wait for a turn")
    }
}

impl Error for TryLockError {}
