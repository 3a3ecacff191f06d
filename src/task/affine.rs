//! A value that may be carried anywhere, but used and dropped only where it was made.
//!
//! Some traits of the ecosystem ask for `Send` of what never leaves its thread in practice (the
//! sleeps of hyper's timer, the sockets of hickory's resolver). [`Affine`] gives them that without
//! giving up safety:
//! 1. Access checks that this is the thread that made the value, and panics otherwise.
//! 2. A drop elsewhere ships the value home, through the inbox of the core that made it; its loop
//!    drops it. If that core is gone, the value is leaked: its destructor may run nowhere else.
//! 3. No drop of an `Affine` ever panics.
//!
//! ```text
//!   dropped at home ───────────────────────────────────────────► value dropped
//!   dropped elsewhere ──Start──► inbox ──next turn of the core──► value dropped
//!                                  └ closed: leaked
//! ```

use super::executor;
use super::inbox::{Inbox, Start};
use super::raw::drop_caught;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::thread::{self, ThreadId};

/// A `T` of one thread, which may travel but must come home to be used.
pub(crate) struct Affine<T: 'static> {
    home: ThreadId,
    /// Of the core that made it; `None` if none did.
    inbox: Option<Arc<Inbox>>,
    value: ManuallyDrop<T>,
}

// SAFETY: the value is reached only through `check`ed access and `drop`, and both make sure that
// this is the thread that made it. The id of a thread is never used again, even when it has ended.
unsafe impl<T> Send for Affine<T> {}
// SAFETY: as above: a shared reference on another thread reaches nothing.
unsafe impl<T> Sync for Affine<T> {}

fn this_thread() -> Option<ThreadId> {
    thread_local!(static ID: ThreadId = thread::current().id());
    // A thread that ends may have no thread-locals any more; it is nobody's home then.
    ID.try_with(|id| *id).ok()
}

impl<T> Affine<T> {
    /// A value of this thread, and of the core that runs on it.
    ///
    /// # Panics
    /// In a destructor of a thread-local.
    pub(crate) fn new(value: T) -> Affine<T> {
        Affine {
            home: this_thread().expect("values are not made while their thread ends"),
            inbox: executor::current_inbox(),
            value: ManuallyDrop::new(value),
        }
    }

    pub(crate) fn is_home(&self) -> bool {
        this_thread() == Some(self.home)
    }

    #[track_caller]
    fn check(&self) {
        assert!(
            self.is_home(),
            "a {} was used on another thread than the one that made it: it belongs to one core. \
             Use it there, and make another one here",
            std::any::type_name::<T>()
        );
    }

    /// The value, to look at.
    ///
    /// # Panics
    /// On another thread than the one that made it.
    #[cfg(feature = "dns-hickory")]
    #[track_caller]
    pub(crate) fn get(&self) -> &T {
        self.check();
        &self.value
    }

    /// The value.
    ///
    /// # Panics
    /// On another thread than the one that made it.
    #[track_caller]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.check();
        &mut self.value
    }
}

/// The value on its way home. Dropped there it drops the value, elsewhere it leaks it.
struct Parcel<T: 'static> {
    home: ThreadId,
    value: ManuallyDrop<T>,
}

// SAFETY: on any thread but the one that made the value, nothing is done with it.
unsafe impl<T> Send for Parcel<T> {}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        if this_thread() == Some(self.home) {
            // SAFETY: `self` is being dropped, so nobody uses the value after this.
            let value = unsafe { ManuallyDrop::take(&mut self.value) };
            drop_caught(value);
        }
    }
}

impl<T> Drop for Affine<T> {
    fn drop(&mut self) {
        let parcel = Parcel {
            home: self.home,
            // SAFETY: `self` is being dropped, so nobody reaches the value through it after this.
            value: ManuallyDrop::new(unsafe { ManuallyDrop::take(&mut self.value) }),
        };
        if !std::mem::needs_drop::<T>() || this_thread() == Some(self.home) {
            return;
        }
        if let Some(inbox) = self.inbox.take() {
            let start: Start = Box::new(move |_: &executor::Executor| drop(parcel));
            // If the core has ended, the parcel is dropped right here, which leaks the value.
            drop(inbox.push_start(start));
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Affine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_home() {
            return self.value.fmt(f);
        }
        f.write_str("a value of another thread")
    }
}
