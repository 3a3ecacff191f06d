//! Reading what comes: from pipes, terminals, and files at their own position.

use super::clamp;
use super::file::filled;
use crate::buf::{BufResult, IoBufMut};
use crate::driver::fd::Fd;
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use io_uring::{opcode, squeue};

/// Reads what is there, or the first that comes (`read`).
#[derive(Debug)]
pub(crate) struct ReadHere {
    pub(crate) fd: Fd,
    pub(crate) buf: Vec<u8>,
    /// A kernel worker does it: a terminal's read may wait, whatever the ring says.
    pub(crate) by_worker: bool,
}

// SAFETY: the vector's memory stays where it is (`IoBufMut`), and the operation owns it.
unsafe impl Op for ReadHere {
    fn prepare(&mut self) -> squeue::Entry {
        let room = self.buf.as_uninit();
        let (ptr, len) = (room.as_mut_ptr().cast(), clamp(room.len()));
        let entry = opcode::Read::new(self.fd.target(), ptr, len)
            .offset(u64::MAX)
            .build();
        match self.by_worker {
            true => entry.flags(squeue::Flags::ASYNC),
            false => entry,
        }
    }
}

impl Single for ReadHere {
    type Output = BufResult<usize, Vec<u8>>;

    fn complete(mut self, cqe: Cqe) -> BufResult<usize, Vec<u8>> {
        (filled(cqe, &mut self.buf), self.buf)
    }
}
