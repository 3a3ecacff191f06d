//! What goes wrong in a simulation, as plain data.

use super::rng::Rng;
use crate::driver::operations;
use std::collections::BTreeMap;

/// How often each thing goes wrong, from 0 (never) to 1 (whenever it may).
///
/// All of it is legal behaviour of Linux: a program that keeps its promises survives it.
///
/// ```
/// use corering::sim::Faults;
/// let mut faults = Faults::none();
/// faults.multishot_ends = 0.1;
/// faults.fail("fsync", 3, libc_eio());
/// # fn libc_eio() -> i32 { 5 }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// `io_uring_enter` is interrupted by a signal before it takes an entry.
    pub enter_interrupted: f64,
    /// `io_uring_enter` says `EAGAIN` or `EBUSY`, and takes no entry.
    pub enter_busy: f64,
    /// `io_uring_enter` takes only some of the entries.
    pub enter_partial: f64,
    /// A core does not run for 1 to 50 ms, as if another process had its CPU.
    pub core_stalls: f64,
    /// A multishot operation ends after a completion.
    pub multishot_ends: f64,
    /// A receive finds no provided buffer (`ENOBUFS`), although there are some.
    pub no_buffers: f64,
    /// A completion comes for an operation that is long gone.
    pub stale_completion: f64,
    /// An accept fails with one of the errors that pass (`ECONNABORTED`, `ENFILE`, `ENOBUFS` …).
    pub accept_fails: f64,
    /// A receive brings fewer bytes than there are.
    pub short_recv: f64,
    /// A send takes fewer bytes than it could.
    pub short_send: f64,
    /// A connection is reset when something is sent on it.
    pub connection_reset: f64,
    /// The kernel keeps a zero-copy buffer for up to a second.
    pub late_notification: f64,
    /// The kernel keeps a zero-copy buffer until its ring is closed.
    pub no_notification: f64,
    /// A read of a file brings fewer bytes than there are.
    pub short_read: f64,
    /// A write to a file takes fewer bytes than it was given.
    pub short_write: f64,
    /// A read of a file fails (`EIO`).
    pub read_fails: f64,
    /// A write to a file fails (`EIO`).
    pub write_fails: f64,
    /// A write to a file finds no room (`ENOSPC`).
    pub no_space: f64,
    /// A sync fails (`EIO`), once; what was to be synced stays readable, and is not durable.
    pub sync_fails: f64,
    /// A file operation takes up to a second.
    pub slow_disk: f64,
    /// The n-th operation of a name (counted from 1, over all cores) fails with an errno.
    fail: Vec<(String, u64, i32)>,
}

macro_rules! rates {
    ($($field:ident),* $(,)?) => {
        impl Faults {
            /// Every rate, by name.
            fn rates(&mut self) -> Vec<(&'static str, &mut f64)> {
                vec![$((stringify!($field), &mut self.$field)),*]
            }
        }
    };
}

rates!(
    enter_interrupted,
    enter_busy,
    enter_partial,
    core_stalls,
    multishot_ends,
    no_buffers,
    stale_completion,
    accept_fails,
    short_recv,
    short_send,
    connection_reset,
    late_notification,
    no_notification,
    short_read,
    short_write,
    read_fails,
    write_fails,
    no_space,
    sync_fails,
    slow_disk,
);

/// Faults after which an operation of the program fails, or its memory stays away for long: a
/// program sees them as errors, so a swarm has them only where it is asked to.
const VISIBLE: &[&str] = &[
    "connection_reset",
    "no_notification",
    "read_fails",
    "write_fails",
    "no_space",
    "sync_fails",
];

impl Faults {
    /// Nothing goes wrong. What is legal still varies: sizes of segments, latencies, the order of
    /// completions.
    pub fn none() -> Faults {
        Faults::default()
    }

    /// A random subset of what a program does not see (interruptions, short counts, ends of
    /// multishot operations, stalls), each at a rate of its own up to 0.2. Subsets find what
    /// everything at once hides.
    pub fn swarm(seed: u64) -> Faults {
        Faults::draw(seed, |name| !VISIBLE.contains(&name))
    }

    /// As [`swarm`](Faults::swarm), with those that a program sees as errors among them.
    pub fn swarm_with_errors(seed: u64) -> Faults {
        Faults::draw(seed, |_| true)
    }

    fn draw(seed: u64, wanted: impl Fn(&str) -> bool) -> Faults {
        let mut rng = Rng::new(seed ^ 0x5741_524D);
        let mut faults = Faults::none();
        for (name, rate) in faults.rates() {
            let (on, level) = (rng.chance(0.4), rng.below(1000));
            if on && wanted(name) {
                // Most are rare, some are frequent.
                *rate = 0.2 * (level as f64 / 1000.0).powi(3);
            }
        }
        faults
    }

    /// Makes the `nth` operation of this name (from 1) fail with `errno`. Names are the kernel's:
    /// `recv`, `send`, `openat`, `fsync` and so on.
    ///
    /// # Panics
    /// If the simulation has no operation of this name.
    pub fn fail(&mut self, name: &str, nth: u64, errno: i32) {
        assert!(
            operations::is_name(name),
            "the simulation performs no operation {name:?}: names are the kernel's, such as \
             \"recv\""
        );
        self.fail.push((name.to_owned(), nth, errno));
    }
}

/// The faults of a simulation, and what they need to remember.
#[derive(Debug, Default)]
pub(super) struct Dice {
    pub(super) faults: Faults,
    counts: BTreeMap<&'static str, u64>,
}

impl Dice {
    pub(super) fn new(faults: Faults) -> Dice {
        Dice {
            faults,
            counts: BTreeMap::new(),
        }
    }

    /// Counts an operation; the errno with which it is to fail.
    pub(super) fn count(&mut self, name: &'static str) -> Option<i32> {
        let count = self.counts.entry(name).or_default();
        *count += 1;
        let due = |fail: &&(String, u64, i32)| fail.0 == name && fail.1 == *count;
        self.faults.fail.iter().find(due).map(|fail| fail.2)
    }
}
