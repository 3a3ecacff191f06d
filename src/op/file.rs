//! Operations on open files: read, write, vectored forms, sync, allocate, set the length.

use super::clamp;
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::fd::Fd;
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single, Submit};
use io_uring::{opcode, squeue, types};
use std::io;

/// Reads at an offset into the caller's buffer (`pread`).
#[derive(Debug)]
pub(crate) struct Read<B> {
    pub(crate) fd: Fd,
    pub(crate) buf: B,
    /// Bytes from the start, or `u64::MAX` for the file's own position.
    pub(crate) offset: u64,
}

// SAFETY: the buffer's memory stays where it is (`IoBufMut`), and the operation owns it.
unsafe impl<B: IoBufMut> Op for Read<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let room = self.buf.as_uninit();
        let (ptr, len) = (room.as_mut_ptr().cast(), clamp(room.len()));
        opcode::Read::new(self.fd.target(), ptr, len)
            .offset(self.offset)
            .build()
    }
}

impl<B: IoBufMut> Single for Read<B> {
    type Output = BufResult<usize, B>;

    fn complete(mut self, cqe: Cqe) -> BufResult<usize, B> {
        (filled(cqe, &mut self.buf), self.buf)
    }
}

/// Notes in the buffer what the kernel put there.
pub(super) fn filled<B: IoBufMut>(cqe: Cqe, buf: &mut B) -> io::Result<usize> {
    let n = cqe.count()?;
    // SAFETY: the kernel wrote `n` bytes from the start of the buffer's memory.
    unsafe { buf.set_len(n) };
    Ok(n)
}

/// Writes at an offset from the caller's buffer (`pwrite`).
#[derive(Debug)]
pub(crate) struct Write<B> {
    pub(crate) fd: Fd,
    pub(crate) buf: B,
    pub(crate) offset: u64,
}

// SAFETY: the buffer's memory stays where it is (`IoBuf`), and the operation owns it.
unsafe impl<B: IoBuf> Op for Write<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let bytes = self.buf.as_init();
        let (ptr, len) = (bytes.as_ptr(), clamp(bytes.len()));
        opcode::Write::new(self.fd.target(), ptr, len)
            .offset(self.offset)
            .build()
    }
}

impl<B: IoBuf> Single for Write<B> {
    type Output = BufResult<usize, B>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, B> {
        (cqe.count(), self.buf)
    }
}

/// The most pieces that one vectored operation takes: the kernel's `UIO_MAXIOV`.
pub(super) const PIECES_MAX: usize = 1024;

/// The memory of several buffers, as the kernel takes it.
#[derive(Debug)]
pub(super) struct Pieces(Box<[libc::iovec]>);

impl Pieces {
    pub(super) fn to_read<B: IoBuf>(bufs: &[B]) -> Pieces {
        let piece = |buf: &B| {
            let bytes = buf.as_init();
            libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            }
        };
        Pieces(bufs.iter().take(PIECES_MAX).map(piece).collect())
    }

    fn to_fill<B: IoBufMut>(bufs: &mut [B]) -> Pieces {
        let piece = |buf: &mut B| {
            let room = buf.as_uninit();
            libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: room.len(),
            }
        };
        Pieces(bufs.iter_mut().take(PIECES_MAX).map(piece).collect())
    }

    pub(super) fn as_ptr(&self) -> *const libc::iovec {
        self.0.as_ptr()
    }

    pub(super) fn len(&self) -> u32 {
        self.0.len() as u32
    }
}

/// Reads at an offset into several buffers, one after the other (`preadv`).
#[derive(Debug)]
pub(crate) struct Readv<B> {
    fd: Fd,
    bufs: Vec<B>,
    pieces: Pieces,
    offset: u64,
}

impl<B: IoBufMut> Readv<B> {
    pub(crate) fn new(fd: Fd, mut bufs: Vec<B>, offset: u64) -> Readv<B> {
        let pieces = Pieces::to_fill(&mut bufs);
        Readv {
            fd,
            bufs,
            pieces,
            offset,
        }
    }
}

// SAFETY: each buffer's memory and the boxed list of pieces stay where they are; both are owned.
unsafe impl<B: IoBufMut> Op for Readv<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let (ptr, len) = (self.pieces.as_ptr(), self.pieces.len());
        opcode::Readv::new(self.fd.target(), ptr, len)
            .offset(self.offset)
            .build()
    }
}

impl<B: IoBufMut> Single for Readv<B> {
    type Output = BufResult<usize, Vec<B>>;

    fn complete(mut self, cqe: Cqe) -> BufResult<usize, Vec<B>> {
        let result = cqe.count();
        let mut left = *result.as_ref().unwrap_or(&0);
        for buf in self.bufs.iter_mut().take(PIECES_MAX) {
            let n = left.min(buf.buf_capacity());
            // SAFETY: the kernel fills the buffers in order, and `n` of its bytes fell to this.
            unsafe { buf.set_len(n) };
            left -= n;
        }
        (result, self.bufs)
    }
}

/// Writes several buffers at an offset, one after the other (`pwritev`).
#[derive(Debug)]
pub(crate) struct Writev<B> {
    fd: Fd,
    bufs: Vec<B>,
    pieces: Pieces,
    offset: u64,
}

impl<B: IoBuf> Writev<B> {
    pub(crate) fn new(fd: Fd, bufs: Vec<B>, offset: u64) -> Writev<B> {
        let pieces = Pieces::to_read(&bufs);
        Writev {
            fd,
            bufs,
            pieces,
            offset,
        }
    }
}

// SAFETY: each buffer's memory and the boxed list of pieces stay where they are; both are owned.
unsafe impl<B: IoBuf> Op for Writev<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let (ptr, len) = (self.pieces.as_ptr(), self.pieces.len());
        opcode::Writev::new(self.fd.target(), ptr, len)
            .offset(self.offset)
            .build()
    }
}

impl<B: IoBuf> Single for Writev<B> {
    type Output = BufResult<usize, Vec<B>>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, Vec<B>> {
        (cqe.count(), self.bufs)
    }
}

/// Writes bytes that a writer has accepted already: they are written even if the writer is
/// dropped, short counts included.
#[derive(Debug)]
pub(crate) struct WriteBehind {
    pub(crate) fd: Fd,
    pub(crate) bytes: Bytes,
    /// How many of them were written by an operation before this one.
    pub(crate) written: usize,
    /// Where the first of all bytes goes, or `u64::MAX` for the file's own position.
    pub(crate) offset: u64,
}

/// The bytes of a [`WriteBehind`].
pub(crate) enum Bytes {
    /// The writer's own, to be used again.
    Own(Vec<u8>),
    /// A buffer that the caller has given away.
    Given(Box<dyn IoBuf>),
}

impl Bytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Own(bytes) => bytes,
            Bytes::Given(bytes) => (**bytes).as_init(),
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.as_slice().len())
    }
}

impl WriteBehind {
    /// How many bytes are still to be written.
    pub(crate) fn left(&self) -> usize {
        self.bytes.as_slice().len() - self.written
    }
}

// SAFETY: both kinds of bytes stay where they are (`IoBuf`), are owned, and nobody touches them
// while in flight.
unsafe impl Op for WriteBehind {
    fn prepare(&mut self) -> squeue::Entry {
        let bytes = &self.bytes.as_slice()[self.written..];
        let (ptr, len) = (bytes.as_ptr(), clamp(bytes.len()));
        let offset = match self.offset {
            u64::MAX => u64::MAX,
            offset => offset + self.written as u64,
        };
        opcode::Write::new(self.fd.target(), ptr, len)
            .offset(offset)
            .build()
    }

    fn cancel_on_drop(&self) -> bool {
        false
    }
}

impl Single for WriteBehind {
    /// How many bytes were written, and the operation's parts again.
    type Output = (io::Result<usize>, WriteBehind);

    fn complete(self, cqe: Cqe) -> (io::Result<usize>, WriteBehind) {
        (cqe.count(), self)
    }

    fn orphaned(mut self, cqe: Cqe) -> Option<WriteBehind> {
        let n = match cqe.count() {
            Ok(0) => return None,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => return None,
        };
        self.written += n;
        (self.left() > 0).then_some(self)
    }
}

/// Who keeps in mind what an [`Fsync`] came to, even one whose future is gone.
pub(crate) trait Verdict: Unpin + 'static {
    fn synced(&self, result: &io::Result<()>);
}

/// Makes a file's data (and metadata, unless `data_only`) durable (`fsync`, `fdatasync`).
#[derive(Debug)]
pub(crate) struct Fsync<V> {
    pub(crate) fd: Fd,
    pub(crate) data_only: bool,
    pub(crate) verdict: V,
}

// SAFETY: the entry has no pointers.
unsafe impl<V: Verdict> Op for Fsync<V> {
    fn prepare(&mut self) -> squeue::Entry {
        let flags = match self.data_only {
            true => types::FsyncFlags::DATASYNC,
            false => types::FsyncFlags::empty(),
        };
        opcode::Fsync::new(self.fd.target()).flags(flags).build()
    }
}

impl<V: Verdict> Single for Fsync<V> {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        let result = cqe.count().map(drop);
        self.verdict.synced(&result);
        result
    }
}

/// Reserves space for a file (`fallocate`).
#[derive(Debug)]
pub(crate) struct Allocate {
    pub(crate) fd: Fd,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) mode: i32,
}

// SAFETY: the entry has no pointers.
unsafe impl Op for Allocate {
    fn prepare(&mut self) -> squeue::Entry {
        let entry = opcode::Fallocate::new(self.fd.target(), self.len);
        entry.offset(self.offset).mode(self.mode).build()
    }
}

impl Single for Allocate {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.count().map(drop)
    }
}

/// Sets a file's length (`ftruncate`).
#[derive(Debug)]
pub(crate) struct SetLen {
    pub(crate) fd: Fd,
    pub(crate) len: u64,
}

// SAFETY: the entry has no pointers.
unsafe impl Op for SetLen {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::Ftruncate::new(self.fd.target(), self.len).build()
    }
}

impl Single for SetLen {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.count().map(drop)
    }
}

/// Waits until a descriptor is ready (`poll`).
#[derive(Debug)]
pub(crate) struct Readiness {
    pub(crate) fd: Fd,
    /// `POLLIN` and so on; an error and a hang-up are always reported.
    pub(crate) events: i16,
}

impl Readiness {
    /// The wait, as a future.
    pub(crate) fn of(fd: &Fd, events: i16) -> Submit<Readiness> {
        let op = Readiness {
            fd: fd.clone(),
            events,
        };
        Submit::new(fd.driver(), op)
    }
}

// SAFETY: the entry has no pointers.
unsafe impl Op for Readiness {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::PollAdd::new(self.fd.target(), self.events as u32).build()
    }
}

impl Single for Readiness {
    /// What it is ready for, in the words of `events`.
    type Output = io::Result<i16>;

    fn complete(self, cqe: Cqe) -> io::Result<i16> {
        cqe.count().map(|events| events as i16)
    }
}
