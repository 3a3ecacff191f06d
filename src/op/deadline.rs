//! An operation with a deadline that the kernel itself keeps: a linked timeout.

use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use io_uring::{opcode, squeue, types};
use std::time::Duration;

/// Wraps an operation: its output comes with whether the time was over before it completed.
///
/// The kernel starts the clock together with the operation, and cancels it when the time is over;
/// so when this completes, the operation is over too, whatever the loop was doing meanwhile.
#[derive(Debug)]
pub(crate) struct Deadline<O> {
    op: O,
    timeout: Box<types::Timespec>,
}

impl<O> Deadline<O> {
    pub(crate) fn new(op: O, timeout: Duration) -> Deadline<O> {
        // The kernel takes signed seconds; nobody waits for longer than a century.
        const SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;
        let timeout = types::Timespec::new()
            .sec(timeout.as_secs().min(SECONDS_MAX))
            .nsec(timeout.subsec_nanos());
        Deadline {
            op,
            timeout: Box::new(timeout),
        }
    }
}

// SAFETY: the wrapped operation keeps its own promise, and the timespec has its own box.
unsafe impl<O: Op> Op for Deadline<O> {
    fn prepare(&mut self) -> squeue::Entry {
        self.op.prepare().flags(squeue::Flags::IO_LINK)
    }

    fn cancels_itself(&self) -> bool {
        true
    }

    fn link(&mut self) -> Option<squeue::Entry> {
        Some(opcode::LinkTimeout::new(&*self.timeout).build())
    }
}

impl<O: Single> Single for Deadline<O> {
    /// The output, and whether the kernel cancelled it.
    type Output = (O::Output, bool);

    fn complete(self, cqe: Cqe) -> (O::Output, bool) {
        (self.op.complete(cqe), cqe.result == -libc::ECANCELED)
    }
}
