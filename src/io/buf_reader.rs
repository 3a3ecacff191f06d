//! A reader with a buffer, in which everything stays that was read and not yet handed out.
//!
//! ```text
//!   buf: [ handed out │ unread │ room ]
//!        0          taken   filled   len
//! ```
//! Rules:
//! 1. A call hands out all that it promises, or nothing: it looks at the unread bytes, and takes
//!    them when they are enough. So dropping it loses nothing.
//! 2. Memory grows only as far as the call needs: a line up to the limit, an exact length up to
//!    the caller's own. When all is handed out it shrinks again.

use super::lines::Lines;
use futures_io::{AsyncBufRead, AsyncRead};
use memchr::memmem;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of the buffer, unless told otherwise.
const BUFFER_BYTES: usize = 8 * 1024;
/// What a line may have, in bytes, unless told otherwise.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line, or whatever ends with a delimiter, is longer than the reader's limit: the source of an
/// `io::Error` of the kind `InvalidData`. Its bytes are still unread.
///
/// ```
/// use corering::io::{BufReader, LineTooLong};
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let mut reader = BufReader::new(&b"much too long\n"[..]);
///     reader.set_line_limit(8);
///     let error = reader.next_line().await.unwrap_err();
///     let too_long = error.get_ref().and_then(|inner| inner.downcast_ref::<LineTooLong>());
///     assert_eq!(too_long.map(|too_long| too_long.limit), Some(8));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit, in bytes, with the delimiter.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a line has more than {} bytes: end the connection, or allow more with \
             `BufReader::set_line_limit`",
            self.limit
        )
    }
}

impl std::error::Error for LineTooLong {}

/// Reads with a buffer: lines, up to a delimiter, exact lengths.
///
/// What was read stays in it until a call hands it out, so every call may be dropped and made
/// again. A line may have 64 KiB, unless [told otherwise](BufReader::set_line_limit): what a
/// stranger sends without an end is an error, not memory. Also a `futures` `AsyncRead` and
/// `AsyncBufRead`.
///
/// ```
/// use corering::io::BufReader;
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let mut reader = BufReader::new(&b"HELO me\r\n\x00\x05bytes"[..]);
///     assert_eq!(reader.next_line().await?.as_deref(), Some("HELO me"));
///     let mut len = [0; 2];
///     reader.read_exact(&mut len).await?;
///     let mut body = vec![0; u16::from_be_bytes(len).into()];
///     reader.read_exact(&mut body).await?;
///     assert_eq!(body, b"bytes");
///     Ok(())
/// })
/// # }
/// ```
pub struct BufReader<R> {
    inner: R,
    /// Initialised as a whole.
    buf: Vec<u8>,
    taken: usize,
    filled: usize,
    /// How many of the unread bytes were searched, by this call, for its delimiter.
    searched: usize,
    capacity: usize,
    line_bytes_max: usize,
}

impl<R> BufReader<R> {
    /// With a buffer of 8 KiB.
    pub fn new(inner: R) -> BufReader<R> {
        BufReader::with_capacity(BUFFER_BYTES, inner)
    }

    /// With a buffer of `capacity` bytes; it grows, for a while, for a line or a length that needs
    /// more.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn with_capacity(capacity: usize, inner: R) -> BufReader<R> {
        assert!(capacity > 0, "a buffer has at least one byte");
        BufReader {
            inner,
            buf: Vec::new(),
            taken: 0,
            filled: 0,
            searched: 0,
            capacity,
            line_bytes_max: LINE_BYTES_MAX,
        }
    }

    /// How many bytes a line may have, with its delimiter; 64 KiB unless told.
    ///
    /// # Panics
    /// If `bytes` is 0.
    pub fn set_line_limit(&mut self, bytes: usize) {
        assert!(bytes > 0, "a line has at least its end");
        self.line_bytes_max = bytes;
    }

    /// What was read and not handed out.
    pub fn buffer(&self) -> &[u8] {
        &self.buf[self.taken..self.filled]
    }

    /// Where it reads from.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Where it reads from: to write to a stream. What is read past the buffer is missing in it.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Where it read from. What is in [`buffer`](BufReader::buffer) is lost.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn unread(&self) -> usize {
        self.filled - self.taken
    }

    fn take(&mut self, n: usize) {
        debug_assert!(n <= self.unread(), "more than there is");
        self.taken += n;
        self.searched = 0;
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
            if self.buf.len() > self.capacity {
                self.buf = Vec::new();
            }
        }
    }

    /// Room for at least one more byte, and where that is known for `total` unread ones.
    fn make_room(&mut self, total: usize) {
        if self.taken > 0 {
            self.buf.copy_within(self.taken..self.filled, 0);
            (self.filled, self.taken) = (self.unread(), 0);
        }
        if self.filled == self.buf.len() || total > self.buf.len() {
            let doubled = self.buf.len() * 2;
            let len = doubled.max(self.capacity).max(total);
            self.buf.resize(len, 0);
        }
    }

    fn is_full(&self, total: usize) -> bool {
        self.filled == self.buf.len() || self.taken + total > self.buf.len()
    }
}

impl<R: AsyncRead + Unpin> BufReader<R> {
    /// Reads some bytes: those that are there, or the first that come. 0 at the end.
    ///
    /// # Errors
    /// What the reader says.
    ///
    /// # Cancel safety
    /// Safe: what comes later is handed out by the next call.
    pub async fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, to)).await
    }

    /// Fills all of `to`. The bytes are collected in the buffer first, which is as large as `to`
    /// for that time: for bulk data use the reader's own methods.
    ///
    /// # Errors
    /// `UnexpectedEof` if the reader ends first: what has come is still unread. What the reader
    /// says.
    ///
    /// # Cancel safety
    /// Safe: nothing is handed out before everything is there.
    pub async fn read_exact(&mut self, to: &mut [u8]) -> io::Result<()> {
        while self.unread() < to.len() {
            if self.more(to.len()).await? == 0 {
                let (came, wanted) = (self.unread(), to.len());
                let what = format!("the reader ended after {came} of {wanted} bytes");
                return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
            }
        }
        to.copy_from_slice(&self.buffer()[..to.len()]);
        self.take(to.len());
        Ok(())
    }

    /// Appends everything up to and with the delimiter, `b"\n"` or `b"\r\n\r\n"`, to `to`; or, at
    /// the end of the reader, what is left. How many bytes that are: 0 at the end.
    ///
    /// # Errors
    /// [`LineTooLong`]: the bytes are still unread, and [`read`](BufReader::read) gets them. What
    /// the reader says.
    ///
    /// # Panics
    /// If the delimiter is empty.
    ///
    /// # Cancel safety
    /// Safe: nothing is handed out before the delimiter is there.
    pub async fn read_until(
        &mut self,
        delimiter: impl AsRef<[u8]>,
        to: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let n = self.find(delimiter.as_ref()).await?;
        to.extend_from_slice(&self.buffer()[..n]);
        self.take(n);
        Ok(n)
    }

    /// Appends the next line, with its end, to `to`; or, at the end of the reader, what is left.
    /// How many bytes that are: 0 at the end.
    ///
    /// # Errors
    /// [`LineTooLong`], and `InvalidData` for a line that is no UTF-8: the bytes are still unread,
    /// and [`read_until`](BufReader::read_until) gets those. What the reader says.
    ///
    /// # Cancel safety
    /// Safe: nothing is handed out before the end of the line is there.
    pub async fn read_line(&mut self, to: &mut String) -> io::Result<usize> {
        let n = self.find(b"\n").await?;
        to.push_str(utf8(&self.buffer()[..n])?);
        self.take(n);
        Ok(n)
    }

    /// The next line, without its end (`\n` or `\r\n`); `None` at the end of the reader.
    ///
    /// # Errors
    /// As [`read_line`](BufReader::read_line).
    ///
    /// # Cancel safety
    /// Safe: nothing is handed out before the end of the line is there.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        self.searched = 0;
        poll_fn(|cx| self.poll_next_line(cx)).await
    }

    /// The lines, one after the other, as a `Stream` that ends with the reader or with the first
    /// error.
    pub fn lines(mut self) -> Lines<R> {
        self.searched = 0;
        Lines::new(self)
    }

    /// Goes on where the last call has stopped to search: of a loop that does nothing else.
    pub(super) fn poll_next_line(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<String>>> {
        let n = ready!(self.poll_find(b"\n", cx))?;
        if n == 0 {
            return Poll::Ready(Ok(None));
        }
        let line = &self.buffer()[..n];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = utf8(line)?.to_owned();
        self.take(n);
        Poll::Ready(Ok(Some(line)))
    }

    /// How many bytes there are up to and with the delimiter, or to the end.
    async fn find(&mut self, delimiter: &[u8]) -> io::Result<usize> {
        assert!(!delimiter.is_empty(), "a delimiter has at least one byte");
        // Another delimiter than the last one may begin anywhere.
        self.searched = 0;
        poll_fn(|cx| self.poll_find(delimiter, cx)).await
    }

    fn poll_find(&mut self, delimiter: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let from = self.searched.min(self.unread());
            let found = memmem::find(&self.buffer()[from..], delimiter);
            let end = found.map(|at| from + at + delimiter.len());
            let limit = self.line_bytes_max;
            match end {
                Some(end) if end <= limit => return Poll::Ready(Ok(end)),
                None if self.unread() < limit => {}
                _ => return Poll::Ready(Err(too_long(limit))),
            }
            // The delimiter may have begun already.
            self.searched = self.unread().saturating_sub(delimiter.len() - 1);
            if ready!(self.poll_more(cx, 1))? == 0 {
                return Poll::Ready(Ok(self.unread()));
            }
        }
    }

    async fn more(&mut self, total: usize) -> io::Result<usize> {
        poll_fn(|cx| self.poll_more(cx, total)).await
    }

    /// Reads on, where `total` unread bytes are wanted; 0 at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>, total: usize) -> Poll<io::Result<usize>> {
        if self.is_full(total) {
            self.make_room(total);
        }
        let room = &mut self.buf[self.filled..];
        let n = ready!(Pin::new(&mut self.inner).poll_read(cx, room))?;
        self.filled += n;
        Poll::Ready(Ok(n))
    }
}

fn too_long(limit: usize) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, LineTooLong { limit })
}

fn utf8(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

impl<R: AsyncRead + Unpin> AsyncRead for BufReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.unread() == 0 && to.len() >= this.capacity {
            return Pin::new(&mut this.inner).poll_read(cx, to);
        }
        if this.unread() == 0 && !to.is_empty() && ready!(this.poll_more(cx, 1))? == 0 {
            return Poll::Ready(Ok(0));
        }
        let n = this.unread().min(to.len());
        to[..n].copy_from_slice(&this.buffer()[..n]);
        this.take(n);
        Poll::Ready(Ok(n))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for BufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.unread() == 0 {
            ready!(this.poll_more(cx, 1))?;
        }
        Poll::Ready(Ok(this.buffer()))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        assert!(n <= self.unread(), "more than there is");
        self.take(n);
    }
}

impl<R: fmt::Debug> fmt::Debug for BufReader<R> {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufReader")
            .field("inner", &self.inner)
            .field("unread", &self.unread())
            .finish_non_exhaustive()
    }
}
