//! How another thread ends a core's sleep.
//!
//! The protocol, which loses no wake-up:
//! ```text
//!   the core                                  another thread
//!   1. asleep = true (SeqCst)                 1. put work into the inbox
//!   2. look into the inbox once more          2. if asleep.swap(false) (SeqCst): ring
//!   3. empty: enter the ring and wait
//! ```
//! Both sides write one word and then read the other's, with sequential consistency, so at least
//! one sees the other: either the core finds the work, or the thread rings. The swap makes any
//! number of wake-ups ring once while the core has not run.
//!
//! Ringing is a message to the ring itself (`IORING_REGISTER_SEND_MSG_RING`, one system call, no
//! descriptor beside the ring), or where the kernel lacks that an eventfd that the ring polls.
//! The kernel accepts a message to a ring whose thread is gone, and a closed ring's number may
//! name something else, so the number is kept under a lock and taken away before the close.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

enum Target {
    /// The ring takes messages.
    Ring(RawFd),
    /// The ring polls this eventfd.
    EventFd(OwnedFd),
    /// The scheduler of a simulation looks here.
    #[cfg(feature = "sim")]
    Flag(std::sync::Arc<AtomicBool>),
    Gone,
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

    fn new(target: Target) -> Bell {
        Bell {
            asleep: AtomicBool::new(false),
            target: Mutex::new(target),
        }
    }

    /// The core is about to sleep; it must look at its inbox after this.
    pub(crate) fn going_to_sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// The core runs again.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
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
