//! Waiting until a descriptor can be read.

use crate::driver::fd::Fd;
use crate::driver::slot::{Cqe, Limit};
use crate::driver::submit::{Multi, Op};
use io_uring::{opcode, squeue};
use std::io;

/// Says each time that a descriptor has become readable, without reading it (`poll`, multishot).
#[derive(Debug)]
pub(crate) struct PollReadable {
    pub(crate) fd: Fd,
}

// SAFETY: the entry has no pointers.
unsafe impl Op for PollReadable {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::PollAdd::new(self.fd.target(), libc::POLLIN as u32)
            .multi(true)
            .build()
    }
}

impl Multi for PollReadable {
    type Item = io::Result<()>;

    fn item(&mut self, cqe: Cqe) -> io::Result<()> {
        cqe.count().map(drop)
    }

    fn limit(&self) -> Limit {
        /// Whoever was told once need not be told again before looking.
        const UNREAD_MAX: u32 = 16;
        Limit::Items(UNREAD_MAX)
    }
}
