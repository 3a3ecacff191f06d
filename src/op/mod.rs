//! What can be asked of the kernel: one block an operation.
//!
//! To add an operation, write one block here: a struct that owns everything the entry points at,
//! `Op::prepare` that makes the entry, and `Single::complete` (or `Multi::item`) that turns what
//! the kernel said into a result; and add its row to the table of
//! [`operations`](crate::driver::operations). Nothing else has to change: waiting, cancelling,
//! dropping in flight and late completions are the driver's.
//!
//! Each struct owns its [`Fd`](crate::driver::fd::Fd), its buffers and its paths, at addresses
//! that do not change when the struct moves (heap memory, or memory that [`IoBuf`] vouches for).
//!
//! [`IoBuf`]: crate::buf::IoBuf

mod child;
mod deadline;
mod file;
mod message;
mod path;
mod pipe;
#[cfg(feature = "signal")]
mod poll;
mod send_queue;
mod socket;

pub(crate) use child::WaitChild;
pub(crate) use deadline::Deadline;
pub(crate) use file::{
    Allocate, Bytes, Fsync, Read, Readiness, Readv, SetLen, Verdict, Write, WriteBehind, Writev,
};
pub(crate) use message::{
    Arrived, CONTROL_OF_FDS, CONTROL_OF_SEGMENTS, FDS_MAX, Message, RecvMsg, RecvMsgMulti, SendMsg,
};
pub(crate) use path::{
    Link, MakeDir, Metadata, OpenAt, OpenBeneath, OpenTemp, Remove, Rename, Stat, StatTarget,
    Symlink, c_path,
};
pub(crate) use pipe::ReadHere;
#[cfg(feature = "signal")]
pub(crate) use poll::PollReadable;
pub(crate) use send_queue::SendQueue;
pub(crate) use socket::{
    AcceptMulti, Connect, Received, Recv, RecvHeap, RecvMulti, Send, SendVectored, SendZc,
    SendZcItem,
};

use crate::driver::fd::Number;
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use io_uring::{opcode, squeue};
use std::io;

/// Does nothing, and says so: the measure of everything else.
#[derive(Debug)]
pub(crate) struct Nop;

// SAFETY: the entry has no pointers.
unsafe impl Op for Nop {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::Nop::new().build()
    }
}

impl Single for Nop {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.count().map(drop)
    }
}

/// Closes a descriptor and reports what `close(2)` would.
#[derive(Debug)]
pub(crate) struct Close(pub(crate) Number);

// SAFETY: the entry has no pointers; the number is open until this operation closes it.
unsafe impl Op for Close {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::Close::new(io_uring::types::Fd(self.0.get())).build()
    }

    fn cancel_on_drop(&self) -> bool {
        false
    }
}

impl Single for Close {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        if cqe == Cqe::GONE {
            return crate::driver::sys::close(self.0);
        }
        cqe.count().map(drop)
    }
}

/// A length as the kernel takes it: clamped to what one operation moves.
fn clamp(len: usize) -> u32 {
    len.min(crate::buf::LEN_MAX) as u32
}
