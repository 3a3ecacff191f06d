//! Sequential writing behind the caller's back.
//!
//! ```text
//!   write ──copy──► buffer ──full, or flush──► flights ──kernel, each at its own offset──► written
//!   write_owned ──large: no copy──────────────►    │ one fails
//!                                                  ▼
//!                                               failed: every call from now on says so
//! ```
//! Rules:
//! 1. Bytes are accepted when they are in the buffer, and a write of the kernel begins when the
//!    buffer is full or flushed: so a small file is one write.
//! 2. At most [`IN_FLIGHT_MAX`] writes are in flight; beyond that `write` waits (back-pressure).
//! 3. Drop: what is in flight is written to its end by the kernel; what is only in the buffer is
//!    lost, like that of a `std::io::BufWriter` which could not be written.
//! 4. Where the kernel chooses the place (append mode, pipes) only one write is in flight, so
//!    that a short count cannot change the order.

use super::File;
use super::file::{POSITION, write_zero};
use super::submit::{Started, is_interrupted};
use crate::buf::IoBuf;
use crate::driver::sys;
use crate::op::{Bytes, WriteBehind};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of one write, unless the writer is told otherwise.
const CHUNK_BYTES: usize = 512 * 1024;
const IN_FLIGHT_MAX: usize = 4;
/// An owned buffer of at least so many bytes is not copied.
const OWNED_BYTES_MIN: usize = 64 * 1024;

/// Writes a file from one end to the other, behind the caller: a `write` copies, and the kernel
/// writes large pieces while the caller makes the next.
///
/// Also a `futures` `AsyncWrite`. It begins at offset 0 (or [`at`](FileWriter::at) another; in
/// append mode at the end) and does not use the file's own position. Not for files opened
/// [`direct`](super::OpenOptions::direct): its memory is not aligned.
///
/// An error of a write in the background surfaces at the next call, and at every call after it;
/// [`written`](FileWriter::written) says how much certainly was written.
///
/// **Call [`flush`](FileWriter::flush) or [`finish`](FileWriter::finish) at the end.** Dropping
/// the writer writes what was handed to the kernel already; what was only buffered is lost. Neither
/// makes anything durable: [`sync_all`](FileWriter::sync_all) does.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::{File, FileWriter};
/// let mut writer = FileWriter::new(File::create("lines").await?);
/// for line in 0..1_000_000 {
///     writer.write_all(format!("{line}\n").as_bytes()).await?;
/// }
/// let file = writer.finish().await?;
/// # Ok(()) }
/// ```
pub struct FileWriter {
    file: File,
    /// Accepted bytes that the kernel does not have yet.
    buf: Vec<u8>,
    chunk_bytes: usize,
    flights: VecDeque<Started<WriteBehind>>,
    in_flight_max: usize,
    /// Where the buffer's first byte goes; [`POSITION`] where the kernel chooses.
    next: u64,
    /// Bytes that are written, without a gap from the first on.
    written: u64,
    accepted: u64,
    failed: Option<Failure>,
    /// Memory to be used again.
    spares: Vec<Vec<u8>>,
}

/// An error that can be told more than once.
#[derive(Clone, Debug)]
enum Failure {
    Os(i32),
    Other(ErrorKind, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::Os(errno),
            None => Failure::Other(error.kind(), error.to_string()),
        }
    }
}

impl From<&Failure> for io::Error {
    fn from(failure: &Failure) -> io::Error {
        match failure {
            Failure::Os(errno) => io::Error::from_raw_os_error(*errno),
            Failure::Other(kind, what) => io::Error::new(*kind, what.clone()),
        }
    }
}

impl FileWriter {
    /// Writes from the start of the file.
    pub fn new(file: File) -> FileWriter {
        FileWriter::at(file, 0)
    }

    /// Writes from `offset` bytes on.
    pub fn at(file: File, offset: u64) -> FileWriter {
        FileWriter::with_chunk(file, offset, CHUNK_BYTES)
    }

    /// Writes from `offset` bytes on, `chunk_bytes` at a time. Pieces below 256 KiB cost more
    /// than they save.
    ///
    /// # Panics
    /// If `chunk_bytes` is 0.
    pub fn with_chunk(file: File, offset: u64, chunk_bytes: usize) -> FileWriter {
        assert!(chunk_bytes > 0, "a chunk has at least one byte");
        let has_offsets = has_offsets(&file);
        FileWriter {
            file,
            buf: Vec::new(),
            chunk_bytes,
            flights: VecDeque::new(),
            in_flight_max: if has_offsets { IN_FLIGHT_MAX } else { 1 },
            next: if has_offsets { offset } else { POSITION },
            written: 0,
            accepted: 0,
            failed: None,
            spares: Vec::new(),
        }
    }

    /// The file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// How many bytes are known to be written, without a gap from the first on.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes were accepted: written, in flight or buffered.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Accepts some of the bytes, and says how many.
    ///
    /// # Errors
    /// That of an earlier write in the background, such as `StorageFull`.
    ///
    /// # Cancel safety
    /// Safe: a dropped call has accepted nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_accept(cx, bytes)).await
    }

    /// Accepts all of the bytes.
    ///
    /// # Errors
    /// As [`write`](FileWriter::write).
    ///
    /// # Cancel safety
    /// Not safe: [`accepted`](FileWriter::accepted) says how many were accepted.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write(bytes).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Accepts a whole buffer for good. From 64 KiB on it goes to the kernel as it is, and is
    /// dropped when it is written; a smaller one is copied.
    ///
    /// # Errors
    /// As [`write`](FileWriter::write); the buffer is dropped then.
    ///
    /// # Cancel safety
    /// A large buffer is accepted whole or not at all; of a small one, as
    /// [`write_all`](FileWriter::write_all). The buffer is not returned.
    pub async fn write_owned(&mut self, buf: impl IoBuf) -> io::Result<()> {
        match buf.buf_len() {
            len if len < OWNED_BYTES_MIN => self.write_all(buf.as_init()).await,
            _ => self.hand_over(Bytes::Given(Box::new(buf))).await,
        }
    }

    /// As `write_owned`, for a chunk whose memory is to be used again.
    pub(super) async fn write_chunk(&mut self, chunk: Vec<u8>) -> io::Result<()> {
        self.hand_over(Bytes::Own(chunk)).await
    }

    /// Memory of a chunk that was written.
    pub(super) fn take_spare(&mut self) -> Option<Vec<u8>> {
        self.spares.pop()
    }

    async fn hand_over(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut bytes = Some(bytes);
        poll_fn(|cx| {
            if !self.buf.is_empty() {
                ready!(self.poll_room(cx))?;
                self.submit_buffer(cx);
            }
            ready!(self.poll_room(cx))?;
            let bytes = bytes.take().expect("only the last poll takes it");
            self.accepted += bytes.as_slice().len() as u64;
            self.launch(bytes, cx);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits until everything that was accepted is written.
    ///
    /// # Errors
    /// That of any write; then too nothing is in flight any more.
    ///
    /// # Cancel safety
    /// Safe: writing goes on, and can be waited for again.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_written(cx)).await
    }

    /// Flushes, and makes everything durable (`fsync(2)`).
    ///
    /// # Errors
    /// As [`flush`](FileWriter::flush) and [`File::sync_all`].
    ///
    /// # Cancel safety
    /// As [`File::sync_all`].
    pub async fn sync_all(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.file.sync_all().await
    }

    /// Flushes, and makes the data durable (`fdatasync(2)`).
    ///
    /// # Errors
    /// As [`flush`](FileWriter::flush) and [`File::sync_data`].
    ///
    /// # Cancel safety
    /// As [`File::sync_data`].
    pub async fn sync_data(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.file.sync_data().await
    }

    /// Flushes, and gives the file back.
    ///
    /// # Errors
    /// As [`flush`](FileWriter::flush); the file is closed then.
    ///
    /// # Cancel safety
    /// Not safe: as dropping the writer.
    pub async fn finish(mut self) -> io::Result<File> {
        self.flush().await?;
        Ok(self.file.share())
    }
}

/// Whether writes can be told where to go: not in append mode, and not to a pipe.
fn has_offsets(file: &File) -> bool {
    let appends = sys::open_flags(file.fd()).is_ok_and(|flags| flags & libc::O_APPEND != 0);
    let kind = sys::mode_and_len(file.fd()).map(|(mode, _)| mode & libc::S_IFMT);
    !appends && matches!(kind, Ok(libc::S_IFREG | libc::S_IFBLK))
}

/// The machine.
impl FileWriter {
    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.poll_front(cx).is_ready() {}
        self.check()?;
        if self.buf.len() == self.chunk_bytes {
            ready!(self.poll_room(cx))?;
            self.submit_buffer(cx);
        }
        let n = bytes.len().min(self.chunk_bytes - self.buf.len());
        if self.buf.capacity() == 0 {
            self.buf = self.spares.pop().unwrap_or_default();
        }
        if self.buf.capacity() - self.buf.len() < n {
            // Doubling, as a vector does, but never beyond the chunk.
            let room = (self.buf.len() + n).max(2 * self.buf.capacity());
            let room = room.min(self.chunk_bytes);
            self.buf.reserve_exact(room - self.buf.len());
        }
        self.buf.extend_from_slice(&bytes[..n]);
        self.accepted += n as u64;
        if self.buf.len() == self.chunk_bytes {
            // At once if there is room; otherwise the next call waits for it.
            if let Poll::Ready(Ok(())) = self.poll_room(cx) {
                self.submit_buffer(cx);
            }
        }
        Poll::Ready(Ok(n))
    }

    /// Ready when one more write may be in flight.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.poll_front(cx).is_ready() {}
        self.check()?;
        match self.flights.len() < self.in_flight_max {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Ready when nothing is in flight and nothing is buffered, or when it has failed.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buf.is_empty() && self.failed.is_none() {
            match ready!(self.poll_room(cx)) {
                Ok(()) => self.submit_buffer(cx),
                Err(_) => debug_assert!(self.failed.is_some()),
            }
        }
        while !self.flights.is_empty() {
            ready!(self.poll_front(cx));
        }
        Poll::Ready(self.check())
    }

    fn submit_buffer(&mut self, cx: &mut Context<'_>) {
        let bytes = std::mem::take(&mut self.buf);
        self.launch(Bytes::Own(bytes), cx);
    }

    fn launch(&mut self, bytes: Bytes, cx: &mut Context<'_>) {
        let len = bytes.as_slice().len() as u64;
        let op = WriteBehind {
            fd: self.file.fd().clone(),
            bytes,
            written: 0,
            offset: self.next,
        };
        if self.next != POSITION {
            self.next = self.next.saturating_add(len).min(POSITION - 1);
        }
        let flight = Started::new(self.file.fd().driver(), op, cx);
        self.flights.push_back(flight);
    }

    /// Takes in the oldest write, if it is complete. Pending also if there is none.
    fn poll_front(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(front) = self.flights.front_mut() else {
            return Poll::Pending;
        };
        let (result, mut op) = ready!(front.poll(cx));
        self.flights.pop_front();
        let n = match result {
            Ok(0) if op.left() > 0 => {
                self.fail(write_zero(self.written));
                0
            }
            Ok(n) => n,
            Err(error) => {
                if !is_interrupted(&error) {
                    self.fail(error);
                }
                0
            }
        };
        op.written += n;
        if self.failed.is_some() {
            // Behind a gap nothing counts; the rest of what was in flight is only waited for.
            return Poll::Ready(());
        }
        self.written += n as u64;
        if op.left() > 0 {
            let again = Started::new(self.file.fd().driver(), op, cx);
            self.flights.push_front(again);
        } else if let Bytes::Own(mut chunk) = op.bytes {
            if self.spares.len() < IN_FLIGHT_MAX {
                chunk.clear();
                self.spares.push(chunk);
            }
        }
        Poll::Ready(())
    }

    fn fail(&mut self, error: io::Error) {
        if self.failed.is_none() {
            self.failed = Some(self.file.explain(error).into());
            self.buf = Vec::new();
        }
    }
}

impl futures_io::AsyncWrite for FileWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_accept(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    /// Flushes; the file is closed when the writer is dropped.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter")
            .field("file", &self.file)
            .field("accepted", &self.accepted)
            .field("written", &self.written)
            .field("in_flight", &self.flights.len())
            .finish_non_exhaustive()
    }
}
