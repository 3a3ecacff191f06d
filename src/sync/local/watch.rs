//! The newest value to everybody who looks, between the tasks of one core.
//!
//! Rules
//! 1. There is one value. Each change raises `version`; a receiver knows which version it saw.
//! 2. The value is changed only while nobody looks at it; an old one is dropped when nothing is
//!    borrowed.

use crate::sync::error::SendError;
use crate::sync::waiters::{Line, until, wake_all};
use crate::task::{Wait, What};
use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// Makes a channel that holds `value`. The receiver has seen it.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::local::watch;
///
/// let (sender, mut receiver) = watch::channel("starting");
/// assert_eq!(*receiver.borrow(), "starting");
/// sender.send("serving").unwrap();
/// receiver.changed().await.unwrap();
/// assert_eq!(*receiver.borrow_and_update(), "serving");
/// # });
/// ```
#[must_use]
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender {
        shared: Rc::new(Shared {
            value: RefCell::new(value),
            version: Cell::new(0),
            senders: Cell::new(1),
            receivers: Cell::new(0),
            waiting: Line::default(),
            closing: Line::default(),
        }),
    };
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    value: RefCell<T>,
    /// How often the value was changed.
    version: Cell<u64>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    /// Receivers that wait for a change.
    waiting: Line,
    /// Senders that wait until there is no receiver.
    closing: Line,
}

impl<T> Shared<T> {
    #[track_caller]
    fn change(&self) -> RefMut<'_, T> {
        let Ok(value) = self.value.try_borrow_mut() else {
            panic!(
                "a watch was changed while a task looks at its value: drop what `borrow` has \
                 returned first, and never keep it over an `await`"
            )
        };
        value
    }

    fn changed(&self) {
        self.version.set(self.version.get() + 1);
        let woken = self.waiting.borrow_mut().take_all();
        wake_all(woken);
    }

    /// A look at the value; whether it is new is told by the version that was `seen`.
    #[track_caller]
    fn look(&self, seen: u64) -> Ref<'_, T> {
        let Ok(value) = self.value.try_borrow() else {
            panic!(
                "a watch was looked at while `send_modify` or `send_if_modified` changes it: use \
                 the reference that they give"
            )
        };
        Ref {
            value,
            changed: self.version.get() != seen,
        }
    }
}

/// Changes the value. Clones change the same one.
///
/// # Examples
/// ```
/// use corering::sync::local::watch::{self, Sender};
///
/// let (sender, receiver): (Sender<Vec<u32>>, _) = watch::channel(vec![1]);
/// sender.send_modify(|list| list.push(2));
/// assert_eq!(*receiver.borrow(), [1, 2]);
/// assert_eq!(sender.send_replace(vec![]), [1, 2]);
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Changes the value and wakes all receivers that wait.
    ///
    /// # Errors
    /// The value, if there is no receiver; see [`send_replace`](Self::send_replace).
    ///
    /// # Panics
    /// While a [`Ref`] of this channel exists.
    #[track_caller]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        drop(self.send_replace(value));
        Ok(())
    }

    /// Changes the value, also if there is no receiver; returns the old one.
    ///
    /// # Panics
    /// While a [`Ref`] of this channel exists.
    #[track_caller]
    pub fn send_replace(&self, value: T) -> T {
        let old = std::mem::replace(&mut *self.shared.change(), value);
        self.shared.changed();
        old
    }

    /// Changes the value in its place, also if there is no receiver.
    ///
    /// `modify` must not use the channel. If it panics, nobody is told.
    ///
    /// # Panics
    /// While a [`Ref`] of this channel exists.
    #[track_caller]
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in its place; only if `modify` says so are the receivers told.
    ///
    /// Returns what `modify` says.
    ///
    /// `modify` must not use the channel. If it panics, nobody is told.
    ///
    /// # Panics
    /// While a [`Ref`] of this channel exists.
    #[track_caller]
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = modify(&mut self.shared.change());
        if modified {
            self.shared.changed();
        }
        modified
    }

    /// A look at the value. Drop it before the value is changed, and before the next `await`.
    #[track_caller]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.look(self.shared.version.get())
    }

    /// Another receiver, which has seen the value that there is now.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver {
            shared: self.shared.clone(),
            seen: self.shared.version.get(),
        }
    }

    /// Waits until there is no receiver.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn closed(&self) {
        let what: What = |_| Wait::of::<T>("sync::local::watch::Sender::closed");
        let closed = || self.is_closed().then_some(());
        until(&self.shared.closing, what, closed).await;
    }

    /// Whether there is no receiver.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.receivers.get()
    }

    /// Whether `other` changes the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.senders.set(self.shared.senders.get() + 1);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let left = self.shared.senders.get() - 1;
        self.shared.senders.set(left);
        if left == 0 {
            let woken = self.shared.waiting.borrow_mut().take_all();
            wake_all(woken);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("version", &self.shared.version.get())
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

/// Sees the newest value. Clones have seen what it has.
///
/// # Examples
/// ```
/// use corering::sync::local::watch::{self, Receiver};
///
/// let (sender, mut receiver): (_, Receiver<u32>) = watch::channel(1);
/// assert_eq!(receiver.has_changed(), Ok(false));
/// sender.send(2).unwrap();
/// sender.send(3).unwrap();
/// assert_eq!(receiver.has_changed(), Ok(true));
/// assert_eq!(*receiver.borrow_and_update(), 3);
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The version that it has seen.
    seen: u64,
}

impl<T> Receiver<T> {
    /// A look at the value, which does not count as seen. Drop it before the value is changed, and
    /// before the next `await`.
    #[track_caller]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.shared.look(self.seen)
    }

    /// A look at the value, which is then seen. Drop it before the value is changed, and before the
    /// next `await`.
    #[track_caller]
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let before = std::mem::replace(&mut self.seen, self.shared.version.get());
        self.shared.look(before)
    }

    /// Waits for a value that it has not seen, which is then seen; at once if there is one.
    ///
    /// # Errors
    /// If there is none and every sender is gone.
    ///
    /// # Cancel safety
    /// Safe: a value counts as seen only when it completes.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        let Receiver { shared, seen } = self;
        let what: What = |_| Wait::of::<T>("sync::local::watch::Receiver::changed");
        until(&shared.waiting, what, || {
            let version = shared.version.get();
            if std::mem::replace(seen, version) != version {
                return Some(Ok(()));
            }
            (shared.senders.get() == 0).then_some(Err(RecvError))
        })
        .await
    }

    /// Waits until the value is as `wanted`, and looks at it; at once if it is. It is then seen.
    ///
    /// `wanted` must not change the value.
    ///
    /// # Errors
    /// If it is not, and every sender is gone.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost, but the values that it has looked at count as seen.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvError> {
        loop {
            let before = self.seen;
            let version = self.shared.version.get();
            if wanted(&self.shared.look(before)) {
                self.seen = version;
                return Ok(self.shared.look(before));
            }
            self.seen = version;
            self.changed().await?;
        }
    }

    /// Whether there is a value that it has not seen.
    ///
    /// # Errors
    /// If there is none and every sender is gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let changed = self.shared.version.get() != self.seen;
        if !changed && self.shared.senders.get() == 0 {
            return Err(RecvError);
        }
        Ok(changed)
    }

    /// The value counts as not seen: [`changed`](Self::changed) completes at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.version.get().wrapping_sub(1);
    }

    /// The value counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version.get();
    }

    /// Whether `other` sees the same value.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.receivers.set(self.shared.receivers.get() + 1);
        Receiver {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = self.shared.receivers.get() - 1;
        self.shared.receivers.set(left);
        if left == 0 {
            let woken = self.shared.closing.borrow_mut().take_all();
            wake_all(woken);
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("version", &self.shared.version.get())
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// A look at the value of a watch. While it exists the value cannot be changed.
///
/// # Examples
/// ```
/// use corering::sync::local::watch::{self, Ref};
///
/// let (sender, receiver) = watch::channel(1);
/// sender.send(2).unwrap();
/// let look: Ref<'_, u32> = receiver.borrow();
/// assert!(*look == 2 && look.has_changed());
/// ```
#[must_use = "it is only a look at the value"]
pub struct Ref<'a, T> {
    value: std::cell::Ref<'a, T>,
    changed: bool,
}

impl<T> Ref<'_, T> {
    /// Whether the receiver had not seen the value before.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// There is no new value, and every sender is gone.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::local::watch::{self, RecvError};
///
/// let (sender, mut receiver) = watch::channel(1);
/// drop(sender);
/// assert_eq!(receiver.changed().await, Err(RecvError));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value will not change any more: every sender is gone")
    }
}

impl Error for RecvError {}
