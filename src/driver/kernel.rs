//! The seam: what the driver needs from a kernel.
//!
//! Above this line nobody knows whether the kernel is real. Entries go in, completions come out,
//! in the kernel's own ABI, so a second kernel (a simulated one, or a fallback) is a second
//! variant of [`Kernel`] and nothing else. A kernel provides:
//! - [`push`](Kernel::push): takes an entry if it has room, in order, and works on it only after
//!   the next `enter`. A linked pair is pushed only when both fit, so that no `enter` parts it.
//! - [`enter`](Kernel::enter): submits everything that was pushed, runs its deferred work, and
//!   waits for at least one completion, up to a deadline, if asked. It may return early for any
//!   reason; the caller looks at what there is and comes again. An error means that the kernel
//!   cannot go on at all.
//! - [`pop`](Kernel::pop): the oldest completion that is visible.
//! - [`overflown`](Kernel::overflown): completions wait for room in the queue: do not sleep.
//! - [`now`](Kernel::now): the clock to which every deadline refers, in nanoseconds.
//!
//! The plain system calls that have no entry (socket options and names, directory reading) are
//! in [`super::sys`], which belongs to this seam too.

use super::ring::Ring;
use super::slot::Cqe;
use io_uring::squeue;
use std::io;

/// How long an `enter` may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: submit, take what is there.
    No,
    /// Until a completion comes, or the clock reaches this many nanoseconds.
    Until(u64),
    /// Until a completion comes.
    Forever,
}

/// A kernel: the real ring today.
pub(crate) enum Kernel {
    Ring(Ring),
}

impl Kernel {
    pub(crate) fn push(&mut self, entry: &squeue::Entry) -> bool {
        match self {
            Kernel::Ring(ring) => ring.push(entry),
        }
    }

    pub(crate) fn push_pair(&mut self, first: &squeue::Entry, second: &squeue::Entry) -> bool {
        match self {
            Kernel::Ring(ring) => ring.push_pair(first, second),
        }
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        match self {
            Kernel::Ring(ring) => ring.enter(wait),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Cqe)> {
        match self {
            Kernel::Ring(ring) => ring.pop(),
        }
    }

    pub(crate) fn overflown(&mut self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.overflown(),
        }
    }

    /// Whether this process is a child of the one that made the kernel's queues.
    pub(crate) fn is_forked(&self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.is_forked(),
        }
    }

    /// How many times the completion queue overflowed, and how many `enter` calls were made.
    pub(crate) fn counts(&self) -> (u64, u64) {
        match self {
            Kernel::Ring(ring) => (ring.overflows(), ring.enters()),
        }
    }
}

/// The clock of all cores: nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    super::sys::monotonic_nanos()
}
