//! Names of tasks, unique in the process.
//!
//! A core takes a block of numbers at a time, so that a spawn counts without atomics.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ids that a core takes from the process at a time.
const IDS_PER_BLOCK: u64 = 1_024;

/// The first id that nobody has taken.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Names a task. No two tasks of one process have the same id; the order means nothing.
///
/// # Examples
/// ```no_run
/// corering::block_on(async {
///     let task = corering::spawn(async { corering::task::current_id() });
///     let id: corering::task::Id = task.id();
///     assert_eq!(task.await.unwrap(), Some(id));
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(NonZeroU64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Id {
    /// An id without a block, for a task that another thread will start.
    pub(super) fn unique() -> Id {
        Id::from_number(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }

    /// The number alone.
    #[cfg(feature = "sim")]
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }

    fn from_number(number: u64) -> Id {
        // 2^64 ids last for centuries; the count begins at 1.
        Id(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
    }
}

/// The ids of one core.
#[derive(Debug, Default)]
pub(super) struct Ids {
    next: Cell<u64>,
    /// The first that is not ours.
    end: Cell<u64>,
}

impl Ids {
    /// An id that no other task of the process has.
    pub(super) fn next(&self) -> Id {
        if self.next.get() == self.end.get() {
            let first = NEXT_ID.fetch_add(IDS_PER_BLOCK, Ordering::Relaxed);
            self.next.set(first);
            self.end.set(first + IDS_PER_BLOCK);
        }
        let number = self.next.get();
        self.next.set(number + 1);
        Id::from_number(number)
    }
}
