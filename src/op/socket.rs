//! Operations on sockets: accept, connect, receive, send.
//!
//! Sends use `SEND` and `SENDMSG`, never `WRITE`, which raises `SIGPIPE` on a closed peer.

use super::clamp;
use super::file::{PIECES_MAX, Pieces, filled};
use super::path::new_fd;
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::buf_ring::{Group, RecvBuf};
use crate::driver::fd::Fd;
use crate::driver::limits::Lent;
use crate::driver::slot::{Cqe, Limit};
use crate::driver::submit::{Multi, Op, Single};
use io_uring::{cqueue, opcode, squeue};
use socket2::SockAddr;
use std::io;

/// Accepts connections until it is told to stop (`accept4`, multishot; where there is none, one at
/// a time: whoever polls arms it anew).
#[derive(Debug)]
pub(crate) struct AcceptMulti {
    pub(crate) fd: Fd,
    /// Accepted connections that may wait for the program, before the kernel is asked to stop.
    pub(crate) queue_max: u32,
}

// SAFETY: the entry has no pointers.
unsafe impl Op for AcceptMulti {
    fn prepare(&mut self) -> squeue::Entry {
        let (fd, flags) = (self.fd.target(), libc::SOCK_CLOEXEC);
        if self.fd.driver().features().accept_multishot {
            return opcode::AcceptMulti::new(fd).flags(flags).build();
        }
        let nowhere = std::ptr::null_mut();
        opcode::Accept::new(fd, nowhere, nowhere.cast())
            .flags(flags)
            .build()
    }
}

impl Multi for AcceptMulti {
    type Item = io::Result<Fd>;

    fn item(&mut self, cqe: Cqe) -> io::Result<Fd> {
        new_fd(cqe, self.fd.driver())
    }

    fn limit(&self) -> Limit {
        Limit::Items(self.queue_max)
    }
}

/// Connects a socket (`connect`).
#[derive(Debug)]
pub(crate) struct Connect {
    fd: Fd,
    address: Box<SockAddr>,
}

impl Connect {
    pub(crate) fn new(fd: Fd, address: SockAddr) -> Connect {
        Connect {
            fd,
            address: Box::new(address),
        }
    }
}

// SAFETY: the address has its own box.
unsafe impl Op for Connect {
    fn prepare(&mut self) -> squeue::Entry {
        let (ptr, len) = (self.address.as_ptr().cast(), self.address.len());
        opcode::Connect::new(self.fd.target(), ptr, len).build()
    }
}

impl Single for Connect {
    type Output = io::Result<Fd>;

    fn complete(self, cqe: Cqe) -> io::Result<Fd> {
        cqe.count()?;
        Ok(self.fd)
    }
}

/// What a multishot receive reports.
#[derive(Debug)]
pub(crate) enum Received {
    Data(RecvBuf),
    Eof,
    /// No buffer was left (`ENOBUFS`), or the runtime asked for a pause: nothing is lost.
    Paused {
        starved: bool,
    },
    Failed(io::Error),
}

/// Receives into the core's buffers until it is told to stop (`recv`, multishot).
#[derive(Debug)]
pub(crate) struct RecvMulti {
    pub(crate) fd: Fd,
}

impl RecvMulti {
    /// Received bytes that may wait for the reader, before the kernel is asked to stop; TCP then
    /// slows the sender down.
    const QUEUE_BYTES_MAX: u32 = 256 * 1024;
}

// SAFETY: the entry has no pointers; the buffers are the driver's pool, which outlives it.
unsafe impl Op for RecvMulti {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::RecvMulti::new(self.fd.target(), Group::Streams.id()).build()
    }
}

impl Multi for RecvMulti {
    type Item = Received;

    fn item(&mut self, cqe: Cqe) -> Received {
        let driver = self.fd.driver();
        let chunk = driver.with_pool(Group::Streams, |pool| pool.take(cqe));
        let chunk = chunk.flatten();
        match (cqe.count(), chunk) {
            (Ok(n), Some(chunk)) if n > 0 => Received::Data(chunk),
            (Ok(0), _) => Received::Eof,
            // The buffers went with the runtime.
            (Ok(_), _) => Received::Failed(crate::driver::gone()),
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => Received::Paused { starved: true },
                Some(libc::ECANCELED) => Received::Paused { starved: false },
                _ => Received::Failed(error),
            },
        }
    }

    fn limit(&self) -> Limit {
        Limit::Bytes(RecvMulti::QUEUE_BYTES_MAX)
    }
}

/// Receives once into the caller's buffer (`recv`).
#[derive(Debug)]
pub(crate) struct Recv<B> {
    pub(crate) fd: Fd,
    pub(crate) buf: B,
}

// SAFETY: the buffer's memory stays where it is (`IoBufMut`), and the operation owns it.
unsafe impl<B: IoBufMut> Op for Recv<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let room = self.buf.as_uninit();
        let (ptr, len) = (room.as_mut_ptr().cast(), clamp(room.len()));
        opcode::Recv::new(self.fd.target(), ptr, len).build()
    }
}

impl<B: IoBufMut> Single for Recv<B> {
    type Output = BufResult<usize, B>;

    fn complete(mut self, cqe: Cqe) -> BufResult<usize, B> {
        (filled(cqe, &mut self.buf), self.buf)
    }
}

/// Receives once into memory that is counted while the kernel has it (`recv`).
#[derive(Debug)]
pub(crate) struct RecvHeap {
    recv: Recv<Vec<u8>>,
    _lent: Lent,
}

impl RecvHeap {
    pub(crate) fn new(fd: Fd, bytes: usize, lent: Lent) -> RecvHeap {
        let buf = Vec::with_capacity(bytes);
        RecvHeap {
            recv: Recv { fd, buf },
            _lent: lent,
        }
    }
}

// SAFETY: the receive keeps its own promise.
unsafe impl Op for RecvHeap {
    fn prepare(&mut self) -> squeue::Entry {
        self.recv.prepare()
    }
}

impl Single for RecvHeap {
    type Output = BufResult<usize, Vec<u8>>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, Vec<u8>> {
        self.recv.complete(cqe)
    }
}

/// Sends from the caller's buffer (`send`).
#[derive(Debug)]
pub(crate) struct Send<B> {
    pub(crate) fd: Fd,
    pub(crate) buf: B,
    /// The kernel goes on until all is sent, or the connection fails (`MSG_WAITALL`).
    pub(crate) all: bool,
}

// SAFETY: the buffer's memory stays where it is (`IoBuf`), and the operation owns it.
unsafe impl<B: IoBuf> Op for Send<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let bytes = self.buf.as_init();
        let (ptr, len) = (bytes.as_ptr(), clamp(bytes.len()));
        opcode::Send::new(self.fd.target(), ptr, len)
            .flags(send_flags(self.all))
            .build()
    }
}

pub(super) fn send_flags(all: bool) -> i32 {
    libc::MSG_NOSIGNAL | if all { libc::MSG_WAITALL } else { 0 }
}

impl<B: IoBuf> Single for Send<B> {
    type Output = BufResult<usize, B>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, B> {
        (cqe.count(), self.buf)
    }
}

/// Sends several buffers, one after the other (`sendmsg`).
#[derive(Debug)]
pub(crate) struct SendVectored<B> {
    fd: Fd,
    bufs: Vec<B>,
    pieces: Pieces,
    header: Box<libc::msghdr>,
}

impl<B: IoBuf> SendVectored<B> {
    /// At most 1024 buffers take part.
    pub(crate) fn new(fd: Fd, bufs: Vec<B>) -> SendVectored<B> {
        let pieces = Pieces::to_read(&bufs);
        // SAFETY: an all-zero header is a valid, empty one.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_iov = pieces.as_ptr().cast_mut();
        header.msg_iovlen = pieces.len() as usize;
        debug_assert!(header.msg_iovlen <= PIECES_MAX);
        SendVectored {
            fd,
            bufs,
            pieces,
            header,
        }
    }
}

// SAFETY: the buffers' memory, the boxed pieces and the boxed header stay where they are.
unsafe impl<B: IoBuf> Op for SendVectored<B> {
    fn prepare(&mut self) -> squeue::Entry {
        debug_assert_eq!(self.pieces.as_ptr(), self.header.msg_iov.cast_const());
        let flags = send_flags(false) as u32;
        opcode::SendMsg::new(self.fd.target(), &*self.header)
            .flags(flags)
            .build()
    }
}

impl<B: IoBuf> Single for SendVectored<B> {
    type Output = BufResult<usize, Vec<B>>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, Vec<B>> {
        (cqe.count(), self.bufs)
    }
}

/// Sends without copying the bytes into the kernel (`MSG_ZEROCOPY`, as one entry): completes
/// once with the result, and once more when the kernel is done with the bytes. Where the core's
/// limit allows no more of it, it copies, as `SEND` does: that completes once.
#[derive(Debug)]
pub(crate) struct SendZc<B> {
    fd: Fd,
    pub(crate) buf: B,
    lent: Option<Lent>,
}

impl<B: IoBuf> SendZc<B> {
    pub(crate) fn new(fd: Fd, buf: B) -> SendZc<B> {
        let lent = None;
        SendZc { fd, buf, lent }
    }
}

/// What a zero-copy send reports.
#[derive(Debug)]
pub(crate) enum SendZcItem {
    Sent(io::Result<usize>),
    /// The kernel is done with the buffer.
    Released,
}

// SAFETY: the buffer's memory stays where it is (`IoBuf`), and the operation owns it until the
// last completion, which is the notification.
unsafe impl<B: IoBuf> Op for SendZc<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let bytes = self.buf.as_init();
        let (ptr, len) = (bytes.as_ptr(), clamp(bytes.len()));
        let (fd, flags) = (self.fd.target(), send_flags(false));
        self.lent = self.fd.driver().zero_copy().lend(bytes.len());
        match self.lent {
            Some(_) => opcode::SendZc::new(fd, ptr, len).flags(flags).build(),
            None => opcode::Send::new(fd, ptr, len).flags(flags).build(),
        }
    }
}

impl<B: IoBuf> Multi for SendZc<B> {
    type Item = SendZcItem;

    fn item(&mut self, cqe: Cqe) -> SendZcItem {
        match cqueue::notif(cqe.flags) {
            true => SendZcItem::Released,
            false => SendZcItem::Sent(cqe.count()),
        }
    }

    fn limit(&self) -> Limit {
        Limit::Items(u32::MAX)
    }
}
