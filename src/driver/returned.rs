//! Receive buffers on their way home from other threads.
//!
//! Only the owner's thread may give a buffer back to the kernel, so another thread leaves its
//! number here. The owner takes the list in once a turn; it is rung for only while a stream waits
//! for buffers.
//! ```text
//!   the owner                                 another thread
//!   1. wanted = true; fence                   1. list, any = true; fence
//!   2. asleep (bell); any? no: wait           2. wanted? ring the bell
//! ```
//! Of two threads that each write, pass a fence, and read the other's word, one sees the other:
//! either the owner does not sleep, or the thread rings.

use super::bell::Bell;
use crate::threads::{AtomicBool, Mutex, MutexGuard, Ordering, fence};
use std::sync::{Arc, PoisonError};

/// The numbers of buffers whose last piece was dropped on another thread.
pub(crate) struct Returned {
    list: Mutex<Vec<u16>>,
    /// Whether the list has grown since the owner took it, so that the owner need not lock.
    any: AtomicBool,
    /// A stream waits for buffers: a return must end the owner's sleep.
    wanted: AtomicBool,
    bell: Arc<Bell>,
}

impl Returned {
    pub(crate) fn new(bell: Arc<Bell>) -> Returned {
        Returned {
            list: Mutex::new(Vec::new()),
            any: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            bell,
        }
    }

    /// Leaves a number, and ends the owner's sleep if it is wanted. From any thread.
    pub(crate) fn push(&self, bid: u16) {
        self.lock().push(bid);
        self.any.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    /// Whether something was left that was not taken. For the owner.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes everything. For the owner.
    pub(crate) fn take(&self) -> Vec<u16> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        // Before the list is taken: what comes later sets it again.
        self.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.lock())
    }

    /// A return shall end the owner's sleep from now on (or no longer). For the owner.
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u16>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
