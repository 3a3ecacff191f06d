//! Sequential reading with read-ahead.
//!
//! ```text
//!   caller ◄── current chunk ◄── front of the flights ◄── kernel, in order of the offsets
//!      │ seek, a short read, an error: the flights are dropped, `next` begins anew
//! ```
//! Rules:
//! 1. `position` moves only when the caller takes bytes, so dropping a read loses nothing.
//! 2. The first read is alone, and no longer than the file: a small file costs one read. Each
//!    chunk that came full doubles the reads in flight, up to [`IN_FLIGHT_MAX`].
//! 3. A short count is not yet the end: an error behind it would be hidden. The end is where the
//!    file's length says so, or where a read finds nothing. It is told once; then reading goes on
//!    where a growing file has grown.

use super::File;
use super::submit::{Started, is_interrupted};
use crate::buf::{self, BufResult, IoBufMut};
use crate::driver::sys;
use crate::op::Read;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of one read, unless the reader is told otherwise. Longer reads of what is not in the
/// page cache keep the loop busy while they are submitted.
const CHUNK_BYTES: usize = 128 * 1024;
const IN_FLIGHT_MAX: usize = 4;

/// Reads a file from one end to the other, ahead of the caller.
///
/// Also a `futures` `AsyncRead`, `AsyncBufRead` and `AsyncSeek`. It keeps a position of its own,
/// and neither uses nor moves the file's. Memory: five chunks, of 128 KiB each, at most.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::{File, FileReader};
/// let mut reader = FileReader::new(File::open("movie.mkv").await?);
/// while let Some(chunk) = reader.next_chunk().await? {
///     println!("{} bytes", chunk.len());
/// }
/// # Ok(()) }
/// ```
pub struct FileReader {
    file: File,
    chunk_bytes: usize,
    /// Where the next byte that the caller gets stands in the file.
    position: u64,
    /// What has been read for the caller, and how much of it was taken.
    current: Vec<u8>,
    taken: usize,
    flights: VecDeque<Flight>,
    /// Where the read after those in flight begins.
    next: u64,
    /// How many reads may be in flight just now.
    window: usize,
    /// The file's length as last seen; `None` for what has none, such as a pipe, where two reads
    /// at once would have no order.
    len: Option<u64>,
    /// The end was found here, and the caller has not been told yet.
    end: Option<u64>,
    /// Chunks to be used again.
    spares: Vec<Vec<u8>>,
}

struct Flight {
    read: Started<Read<Vec<u8>>>,
    /// Bytes that it asks for.
    wanted: usize,
}

impl FileReader {
    /// Reads from the start of the file.
    pub fn new(file: File) -> FileReader {
        FileReader::at(file, 0)
    }

    /// Reads from `offset` bytes on.
    pub fn at(file: File, offset: u64) -> FileReader {
        FileReader::with_chunk(file, offset, CHUNK_BYTES)
    }

    /// Reads from `offset` bytes on, `chunk_bytes` at a time.
    ///
    /// # Panics
    /// If `chunk_bytes` is 0.
    pub fn with_chunk(file: File, offset: u64, chunk_bytes: usize) -> FileReader {
        assert!(chunk_bytes > 0, "a chunk has at least one byte");
        FileReader {
            file,
            chunk_bytes,
            position: offset,
            current: Vec::new(),
            taken: 0,
            flights: VecDeque::new(),
            next: offset,
            window: 1,
            len: None,
            end: None,
            spares: Vec::new(),
        }
    }

    /// The file.
    pub fn get_ref(&self) -> &File {
        &self.file
    }

    /// The file again. What was read ahead is thrown away.
    pub fn into_inner(self) -> File {
        self.file
    }

    /// Where the next byte stands in the file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads some bytes into `to`; 0 at the end of the file.
    ///
    /// # Errors
    /// What the kernel says of the read (`pread(2)`). The position stays, so a later call tries
    /// the same bytes again.
    ///
    /// # Cancel safety
    /// Safe: bytes are either in `to` or still to be read.
    pub async fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_copy(cx, to)).await
    }

    /// Fills all of `to`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends first; otherwise as [`read`](FileReader::read).
    ///
    /// # Cancel safety
    /// Not safe: bytes that are in `to` by then count as read.
    pub async fn read_exact(&mut self, to: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < to.len() {
            match self.read(&mut to[done..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// Appends everything up to the end of the file to `to`, and says how much that was.
    ///
    /// # Errors
    /// As [`read`](FileReader::read).
    ///
    /// # Cancel safety
    /// Safe in that bytes are either in `to` or still to be read.
    pub async fn read_to_end(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        let before = to.len();
        while let Some(chunk) = self.next_chunk().await? {
            to.extend_from_slice(&chunk);
            self.recycle(chunk);
        }
        Ok(to.len() - before)
    }

    /// Reads into a buffer that the kernel fills itself, if it is at least a chunk long and
    /// nothing was read ahead; otherwise the bytes are copied. 0 at the end of the file.
    ///
    /// # Errors
    /// As [`read`](FileReader::read).
    ///
    /// # Cancel safety
    /// Safe: the bytes are read again by the next call. The buffer is not returned.
    pub async fn read_owned<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        let is_idle = self.taken == self.current.len() && self.flights.is_empty();
        if is_idle && self.end.is_none() && buf.buf_capacity() >= self.chunk_bytes {
            self.start_anew();
            loop {
                let (result, filled) = self.file.read_at(buf, self.position).await;
                buf = filled;
                match result {
                    Ok(n) => {
                        self.position += n as u64;
                        self.next = self.position;
                        return (Ok(n), buf);
                    }
                    Err(error) if is_interrupted(&error) => {}
                    Err(error) => return (Err(error), buf),
                }
            }
        }
        match poll_fn(|cx| self.poll_current(cx)).await {
            Ok(()) => {
                let n = buf::fill(&mut buf, &self.current[self.taken..]);
                self.take(n);
                (Ok(n), buf)
            }
            Err(error) => (Err(error), buf),
        }
    }

    /// The next chunk as it was read, without a copy; `None` at the end of the file.
    ///
    /// # Errors
    /// As [`read`](FileReader::read).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed by a call that was dropped.
    pub async fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| self.poll_current(cx)).await?;
        if self.current.is_empty() {
            return Ok(None);
        }
        let mut chunk = std::mem::take(&mut self.current);
        chunk.drain(..self.taken);
        self.taken = 0;
        self.position += chunk.len() as u64;
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// Goes on reading elsewhere. Within what was read already this costs nothing.
    ///
    /// # Errors
    /// `InvalidInput` for a position before the start or beyond 2⁶³.
    pub fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => sys::mode_and_len(self.file.fd())?.1.checked_add_signed(by),
        };
        let at = at.filter(|&at| i64::try_from(at).is_ok()).ok_or_else(|| {
            let what = "a position before the start of the file, or beyond 2^63";
            io::Error::new(ErrorKind::InvalidInput, what)
        })?;
        let begin = self.position - self.taken as u64;
        self.end = None;
        if (begin..begin + self.current.len() as u64).contains(&at) {
            self.taken = (at - begin) as usize;
            self.position = at;
        } else if at != self.position {
            self.position = at;
            self.start_anew();
        }
        Ok(at)
    }

    /// A chunk that is not needed any more, for the reads to come.
    pub(super) fn recycle(&mut self, mut chunk: Vec<u8>) {
        if self.spares.len() < IN_FLIGHT_MAX && chunk.capacity() >= self.chunk_bytes {
            chunk.clear();
            self.spares.push(chunk);
        }
    }
}

/// The machine.
impl FileReader {
    /// Ready when `current` has bytes that nobody has taken; without any at the end of the file.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.taken < self.current.len() {
                return Poll::Ready(Ok(()));
            }
            let used = std::mem::take(&mut self.current);
            self.taken = 0;
            self.recycle(used);
            if self.end.take() == Some(self.position) {
                return Poll::Ready(Ok(()));
            }
            debug_assert!(!self.flights.is_empty() || self.next == self.position);
            self.top_up(cx)?;
            let front = self.flights.front_mut().expect("filled one line above");
            let (result, chunk) = ready!(front.read.poll(cx));
            let wanted = front.wanted;
            self.flights.pop_front();
            match result {
                Ok(0) => {
                    self.start_anew();
                    return Poll::Ready(Ok(()));
                }
                Ok(n) => self.arrived(chunk, n, wanted, cx)?,
                Err(error) => {
                    self.start_anew();
                    if !is_interrupted(&error) {
                        return Poll::Ready(Err(self.file.explain(error)));
                    }
                }
            }
        }
    }

    /// The chunk at `position` is here.
    fn arrived(
        &mut self,
        chunk: Vec<u8>,
        n: usize,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        self.current = chunk;
        let behind = self.position + n as u64;
        if n < wanted {
            self.drop_flights(behind);
        }
        if self.len.is_some_and(|len| behind >= len) {
            self.look_at_len()?;
            if self.len == Some(behind) {
                self.end = Some(behind);
                return Ok(());
            }
        }
        if n >= self.chunk_bytes && self.len.is_some() {
            self.window = (self.window * 2).min(IN_FLIGHT_MAX);
            self.top_up(cx)?;
        }
        Ok(())
    }

    /// Submits reads up to the window, but behind the known end not more than one.
    fn top_up(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.flights.is_empty() && self.len.is_none_or(|len| self.next >= len) {
            self.look_at_len()?;
        }
        while self.flights.len() < self.window {
            let left = self.len.map_or(0, |len| len.saturating_sub(self.next));
            if left == 0 && (!self.flights.is_empty() || !self.current.is_empty()) {
                break;
            }
            let wanted = match left {
                0 => self.chunk_bytes,
                left => usize::try_from(left)
                    .map_or(self.chunk_bytes, |left| left.min(self.chunk_bytes)),
            };
            let flight = self.launch(wanted, cx);
            self.flights.push_back(flight);
        }
        Ok(())
    }

    fn launch(&mut self, wanted: usize, cx: &mut Context<'_>) -> Flight {
        let buf = self
            .spares
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(wanted));
        let wanted = buf.capacity();
        let op = Read {
            fd: self.file.fd().clone(),
            buf,
            offset: self.next,
        };
        let read = Started::new(self.file.fd().driver(), op, cx);
        self.next += wanted as u64;
        Flight { read, wanted }
    }

    fn look_at_len(&mut self) -> io::Result<()> {
        let (mode, len) = sys::mode_and_len(self.file.fd())?;
        // Files of the kernel's own (/proc) say 0 and have bytes all the same.
        self.len = (mode & libc::S_IFMT == libc::S_IFREG && len > 0).then_some(len);
        Ok(())
    }

    fn drop_flights(&mut self, next: u64) {
        self.flights.clear();
        self.next = next;
        self.window = 1;
    }

    fn start_anew(&mut self) {
        self.drop_flights(self.position);
        self.current.clear();
        self.taken = 0;
    }

    fn take(&mut self, n: usize) {
        let n = n.min(self.current.len() - self.taken);
        self.taken += n;
        self.position += n as u64;
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        if to.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_current(cx))?;
        let bytes = &self.current[self.taken..];
        let n = bytes.len().min(to.len());
        to[..n].copy_from_slice(&bytes[..n]);
        self.take(n);
        Poll::Ready(Ok(n))
    }
}

impl futures_io::AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_copy(cx, to)
    }
}

impl futures_io::AsyncBufRead for FileReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_current(cx))?;
        Poll::Ready(Ok(&this.current[this.taken..]))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        self.take(n);
    }
}

impl futures_io::AsyncSeek for FileReader {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        Poll::Ready(self.seek(to))
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("file", &self.file)
            .field("position", &self.position)
            .field("in_flight", &self.flights.len())
            .finish_non_exhaustive()
    }
}
