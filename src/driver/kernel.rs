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
#[cfg(feature = "sim")]
use super::sim::SimKernel;
use super::slot::Cqe;
use io_uring::squeue;
use std::io;
use std::time::Duration;

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

/// A kernel: the real ring, or a simulated one.
#[cfg_attr(
    feature = "sim",
    allow(
        clippy::large_enum_variant,
        reason = "there is one a core, and it is used all the time"
    )
)]
pub(crate) enum Kernel {
    Ring(Ring),
    #[cfg(feature = "sim")]
    Sim(SimKernel),
}

impl Kernel {
    pub(crate) fn push(&mut self, entry: &squeue::Entry) -> bool {
        match self {
            Kernel::Ring(ring) => ring.push(entry),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.push(entry),
        }
    }

    pub(crate) fn push_pair(&mut self, first: &squeue::Entry, second: &squeue::Entry) -> bool {
        match self {
            Kernel::Ring(ring) => ring.push_pair(first, second),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.push_pair(first, second),
        }
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        match self {
            Kernel::Ring(ring) => ring.enter(wait),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.enter(wait),
        }
    }

    /// Whether an `enter` that does not wait would find something.
    pub(crate) fn has_work(&mut self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.has_work(),
            #[cfg(feature = "sim")]
            Kernel::Sim(_) => true,
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Cqe)> {
        match self {
            Kernel::Ring(ring) => ring.pop(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.pop(),
        }
    }

    pub(crate) fn overflown(&mut self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.overflown(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.overflown(),
        }
    }

    /// How many entries were pushed that no `enter` has taken yet.
    pub(crate) fn queued(&mut self) -> usize {
        match self {
            Kernel::Ring(ring) => ring.queued(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.queued(),
        }
    }

    /// Whether the kernel has taken every entry, and every completion so far was popped.
    pub(crate) fn is_settled(&mut self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.is_settled(),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.is_settled(),
        }
    }

    /// Whether this process is a child of the one that made the kernel's queues.
    pub(crate) fn is_forked(&self) -> bool {
        match self {
            Kernel::Ring(ring) => ring.is_forked(),
            #[cfg(feature = "sim")]
            Kernel::Sim(_) => false,
        }
    }

    /// How many times the completion queue overflowed, and how many `enter` calls were made.
    pub(crate) fn counts(&self) -> (u64, u64) {
        match self {
            Kernel::Ring(ring) => (ring.overflows(), ring.enters()),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => sim.counts(),
        }
    }

    /// Registers a ring of `entries` provided buffers at `address` as group `group`. The memory
    /// stays mapped until the kernel is done with it.
    pub(crate) fn register_buffers(
        &self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) -> io::Result<()> {
        match self {
            Kernel::Ring(ring) => ring.register_buffers(address, entries, group, incremental),
            #[cfg(feature = "sim")]
            Kernel::Sim(sim) => {
                sim.register_buffers(address, entries, group, incremental);
                Ok(())
            }
        }
    }
}

/// What a loop makes of an `enter` that failed: `EINTR` and `ETIME` are ordinary ends of a wait;
/// `EAGAIN`, `EBUSY` and `ENOMEM` say that the kernel is short of something that taking
/// completions gives back: the entries stay queued, and a pause that doubles keeps the loop from
/// spinning when nothing gives way.
#[derive(Debug, Default)]
pub(super) struct Forgiving {
    pause_micros: u64,
}

/// The first and the longest pause after an `enter` that found the kernel short, in microseconds.
const PAUSE_MICROS_MIN: u64 = 50;
const PAUSE_MICROS_MAX: u64 = 10_000;

impl Forgiving {
    pub(super) fn all_is_well(&mut self) {
        self.pause_micros = 0;
    }

    /// How long to pause, if at all; an error that is no part of life is given back. `visible`:
    /// completions can be taken, which may be what the kernel needs.
    pub(super) fn forgive(
        &mut self,
        error: io::Error,
        visible: bool,
    ) -> io::Result<Option<Duration>> {
        match error.raw_os_error() {
            Some(libc::EINTR) if cfg!(break_eintr) => Err(error),
            Some(libc::EINTR | libc::ETIME) => Ok(None),
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) if visible => {
                self.pause_micros = 0;
                Ok(None)
            }
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                let pause = (self.pause_micros * 2).clamp(PAUSE_MICROS_MIN, PAUSE_MICROS_MAX);
                self.pause_micros = pause;
                Ok(Some(Duration::from_micros(pause)))
            }
            _ => Err(error),
        }
    }
}

/// The clock of all cores: nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    super::sys::monotonic_nanos()
}
