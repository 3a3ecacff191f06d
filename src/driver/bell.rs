//! How another thread ends a core's sleep.
//!
//! The protocol, which loses no wake-up:
//! ```text
//!   the core                                  another thread
//!   1. asleep.swap(true)                      1. put work into the inbox
//!   2. look into the inbox once more          2. if asleep.swap(false): ring
//!   3. empty: enter the ring and wait
//!   4. asleep.swap(false); look into the inbox
//! ```
//! Everybody exchanges one word, and an exchange sees what was done before those that precede it.
//! If the core's comes first, the thread reads `true` and rings. If the thread's comes first, the
//! second look finds its work. Of several threads one rings; the others read `false`, and the
//! core's exchange at its end of the sleep sees them too. `models/` has loom try all of this, and
//! shows that a wake-up is lost where a step is left out.
//!
//! Ringing is a message to the ring itself (`IORING_REGISTER_SEND_MSG_RING`, one system call, no
//! descriptor beside the ring), or where the kernel lacks that an eventfd that the ring polls.
//! The kernel accepts a message to a ring whose thread is gone, and a closed ring's number may
//! name something else, so the number is kept under a lock and taken away before the close.

use crate::threads::{AtomicBool, Mutex, Ordering};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::PoisonError;

enum Target {
    /// The ring takes messages.
    Ring(RawFd),
    /// The ring polls this eventfd.
    EventFd(OwnedFd),
    /// The scheduler of a simulation looks here.
    #[cfg(feature = "sim")]
    Flag(std::sync::Arc<AtomicBool>),
    Gone,
    /// A model of a kernel waits for this.
    #[cfg(all(test, loom))]
    Model(loom::sync::Arc<loom::sync::Notify>),
}

/// One core's bell.
pub(crate) struct Bell {
    asleep: AtomicBool,
    target: Mutex<Target>,
}

impl Bell {
    /// A bell that sends messages to the ring `fd`.
    pub(crate) fn to_ring(fd: RawFd) -> Bell {
        Bell::new(Target::Ring(fd))
    }

    /// A bell that writes to an eventfd, and the number that the ring has to poll.
    pub(crate) fn to_eventfd() -> io::Result<(Bell, RawFd)> {
        let fd = super::sys::eventfd()?;
        let raw = fd.as_raw_fd();
        Ok((Bell::new(Target::EventFd(fd)), raw))
    }

    /// A bell that is heard by the scheduler of a simulation.
    #[cfg(feature = "sim")]
    pub(crate) fn to_flag(flag: std::sync::Arc<AtomicBool>) -> Bell {
        Bell::new(Target::Flag(flag))
    }

    #[cfg(all(test, loom))]
    pub(crate) fn to_model(kernel: loom::sync::Arc<loom::sync::Notify>) -> Bell {
        Bell::new(Target::Model(kernel))
    }

    fn new(target: Target) -> Bell {
        Bell {
            asleep: AtomicBool::new(false),
            target: Mutex::new(target),
        }
    }

    /// The core is about to sleep; it must look at its inbox after this.
    pub(crate) fn going_to_sleep(&self) {
        if cfg!(break_fences) {
            return self.asleep.store(true, Ordering::Relaxed);
        }
        self.asleep.swap(true, Ordering::SeqCst);
    }

    /// The core runs again; it must look at its inbox after this.
    pub(crate) fn awake(&self) {
        self.asleep.swap(false, Ordering::SeqCst);
    }

    /// Ends the core's sleep, if it sleeps. From any thread; never blocks for long; does nothing
    /// once the core is gone.
    pub(crate) fn ring(&self) {
        if !self.asleep.swap(false, Ordering::SeqCst) {
            return;
        }
        // A failure would mean that the ring is gone or has no room for one more completion; in
        // both cases its loop does not sleep.
        match &*self.target.lock().unwrap_or_else(PoisonError::into_inner) {
            Target::Ring(fd) => drop(super::sys::send_msg_ring(*fd, super::note::BELL)),
            Target::EventFd(fd) => drop(super::sys::write_eventfd(fd.as_raw_fd())),
            #[cfg(feature = "sim")]
            Target::Flag(flag) => flag.store(true, Ordering::SeqCst),
            Target::Gone => {}
            #[cfg(all(test, loom))]
            Target::Model(kernel) => kernel.notify(),
        }
    }

    /// The ring is about to be closed.
    pub(crate) fn silence(&self) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Target::Gone;
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("asleep", &self.asleep)
            .finish_non_exhaustive()
    }
}
