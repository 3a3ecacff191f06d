//! What an entry says to the simulated kernel.
//!
//! The driver hands the very entries that it would give to a ring; nothing else crosses the seam.

pub(super) use crate::driver::entry::Sqe;

use crate::driver::operations;
use io_uring::opcode;

/// `IOSQE_IO_LINK`: the next entry belongs to this one.
const LINK: u8 = 1 << 2;
/// `IOSQE_BUFFER_SELECT`: the kernel picks a provided buffer.
const BUFFER_SELECT: u8 = 1 << 5;
/// `IOSQE_CQE_SKIP_SUCCESS`: only a failure is told.
const SKIP_SUCCESS: u8 = 1 << 6;

const RECV_MULTISHOT: u16 = 1 << 1;
const ACCEPT_MULTISHOT: u16 = 1 << 0;
const POLL_MULTISHOT: u32 = 1 << 0;

impl Sqe {
    pub(super) fn is_linked(&self) -> bool {
        self.flags & LINK != 0
    }

    pub(super) fn selects_buffer(&self) -> bool {
        self.flags & BUFFER_SELECT != 0
    }

    /// A send that fails where it would have to wait.
    pub(super) fn must_not_wait(&self) -> bool {
        let sends = [opcode::Send::CODE, opcode::SendMsg::CODE];
        sends.contains(&self.opcode) && self.op_flags as i32 & libc::MSG_DONTWAIT != 0
    }

    /// Whether it sends from its buffer, possibly a part of it.
    pub(super) fn sends(&self) -> bool {
        matches!(
            self.opcode,
            opcode::Send::CODE | opcode::SendMsg::CODE | opcode::SendZc::CODE
        )
    }

    /// Whether this result is told: a success need not be, and a part of it is none.
    pub(super) fn tells(&self, result: i32) -> bool {
        let is_part = self.must_not_wait() && i64::from(result) < i64::from(self.len);
        self.flags & SKIP_SUCCESS == 0 || result < 0 || is_part
    }

    /// Whether it may complete more than once.
    pub(super) fn is_multishot(&self) -> bool {
        match self.opcode {
            opcode::AcceptMulti::CODE => self.ioprio & ACCEPT_MULTISHOT != 0,
            opcode::Recv::CODE | opcode::RecvMsg::CODE => self.ioprio & RECV_MULTISHOT != 0,
            opcode::PollAdd::CODE => self.len & POLL_MULTISHOT != 0,
            _ => false,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        name(self.opcode)
    }

    /// Whether it reads or writes at an open file's own position.
    pub(super) fn moves_bytes(&self) -> bool {
        matches!(self.opcode, opcode::Read::CODE | opcode::Write::CODE)
    }

    /// Whether it waits for a socket, or for a worker's time.
    pub(super) fn waits_for_socket(&self) -> bool {
        waits_for_socket(self.opcode)
    }
}

/// What the simulation performs, besides what waits for a socket.
const PERFORMED: &[u8] = &[
    opcode::Nop::CODE,
    opcode::AsyncCancel::CODE,
    opcode::LinkTimeout::CODE,
    opcode::Close::CODE,
    opcode::Readv::CODE,
    opcode::Writev::CODE,
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
    opcode::Ftruncate::CODE,
    opcode::OpenAt::CODE,
    opcode::OpenAt2::CODE,
    opcode::Statx::CODE,
    opcode::RenameAt::CODE,
    opcode::UnlinkAt::CODE,
    opcode::MkDirAt::CODE,
    opcode::SymlinkAt::CODE,
    opcode::LinkAt::CODE,
];

fn waits_for_socket(code: u8) -> bool {
    matches!(
        code,
        opcode::AcceptMulti::CODE
            | opcode::Connect::CODE
            | opcode::Recv::CODE
            | opcode::RecvMsg::CODE
            | opcode::Send::CODE
            | opcode::SendMsg::CODE
            | opcode::SendZc::CODE
            | opcode::PollAdd::CODE
    )
}

/// The name of an operation.
///
/// # Panics
/// If the simulation does not know it: better than to do nothing and call it a success.
fn name(code: u8) -> &'static str {
    let known = waits_for_socket(code) || PERFORMED.contains(&code);
    let name = operations::name(code).filter(|_| known);
    name.unwrap_or_else(|| {
        panic!("the simulated kernel does not know operation {code}: teach it to driver/sim")
    })
}
