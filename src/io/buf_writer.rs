//! A writer with a queue and water marks.

use futures_io::AsyncWrite;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Where `drain` begins to wait, in bytes, unless told otherwise; it waits down to a quarter.
const HIGH_WATER_BYTES: usize = 64 * 1024;
/// What a `poll_write` collects at the least, in bytes, before it writes.
const WRITE_BYTES_MIN: usize = 4 * 1024;
/// What the queue holds at most, unless told otherwise, in bytes.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// More was pushed than the queue of a [`BufWriter`] may hold: the source of an `io::Error` of the
/// kind `QuotaExceeded`. Nothing of it was taken.
///
/// ```
/// use corering::io::{BufWriter, QueueFull};
/// let mut writer = BufWriter::new(Vec::<u8>::new());
/// writer.set_queue_limit(4);
/// let error = writer.push(b"too much").unwrap_err();
/// assert!(error.get_ref().is_some_and(|inner| inner.is::<QueueFull>()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull {
    /// The limit, in bytes.
    pub limit: usize,
}

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {} bytes wait to be written: await `drain` between the pushes, or allow \
             more with `BufWriter::set_queue_limit`",
            self.limit
        )
    }
}

impl std::error::Error for QueueFull {}

/// Collects what is to be written, and says when to wait: asyncio's `write` and `drain`.
///
/// [`push`](BufWriter::push) never waits. [`drain`](BufWriter::drain) writes what can be written
/// at once, and waits only while more than the high-water mark is left, until it is the low-water
/// mark or less. What was pushed stays here until it is written, so every call may be dropped;
/// what is in the queue when this is dropped is lost. Also a `futures` `AsyncWrite`.
///
/// ```
/// use corering::io::BufWriter;
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let mut writer = BufWriter::new(Vec::new());
///     writer.set_high_water(1024);
///     for number in 0..1000 {
///         writer.push(format!("{number}\n").as_bytes())?;
///         writer.drain().await?;
///     }
///     writer.flush().await?;
///     assert_eq!(writer.get_ref().len(), 3890);
///     Ok(())
/// })
/// # }
/// ```
pub struct BufWriter<W> {
    inner: W,
    queue: Vec<u8>,
    /// How much of the queue's front is written.
    written: usize,
    high_water: usize,
    low_water: usize,
    queue_bytes_max: usize,
    /// The high-water mark was passed, and the low one not reached since.
    paused: bool,
}

impl<W> BufWriter<W> {
    /// With a high-water mark of 64 KiB, and a low one of a quarter of that.
    pub fn new(inner: W) -> BufWriter<W> {
        BufWriter {
            inner,
            queue: Vec::new(),
            written: 0,
            high_water: HIGH_WATER_BYTES,
            low_water: HIGH_WATER_BYTES / 4,
            queue_bytes_max: QUEUE_BYTES_MAX,
            paused: false,
        }
    }

    /// Sets the high-water mark, in bytes, and the low one to a quarter of that. With 0
    /// [`drain`](BufWriter::drain) waits for everything.
    pub fn set_high_water(&mut self, bytes: usize) {
        self.set_water_marks(bytes, bytes / 4);
    }

    /// Sets both marks, in bytes.
    ///
    /// # Panics
    /// If the low one is above the high one.
    pub fn set_water_marks(&mut self, high: usize, low: usize) {
        assert!(low <= high, "the low-water mark is above the high one");
        (self.high_water, self.low_water) = (high, low);
    }

    /// How much may be pushed without being written, in bytes; 16 MiB unless told.
    pub fn set_queue_limit(&mut self, bytes: usize) {
        self.queue_bytes_max = bytes;
    }

    /// How many bytes wait to be written.
    pub fn buffered(&self) -> usize {
        self.queue.len() - self.written
    }

    /// Adds to the queue, without waiting and without writing: [`drain`](BufWriter::drain) or
    /// [`flush`](BufWriter::flush) does that.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing was taken.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limit = self.queue_bytes_max;
        if bytes.len() > limit.saturating_sub(self.buffered()) {
            return Err(io::Error::new(
                ErrorKind::QuotaExceeded,
                QueueFull { limit },
            ));
        }
        // What is written makes room before new room is asked for.
        if self.written > 0 && self.queue.len() + bytes.len() > self.queue.capacity() {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        self.queue.extend_from_slice(bytes);
        self.paused |= self.buffered() > self.high_water;
        Ok(())
    }

    /// Where it writes to.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Where it writes to. What is written past the queue stands before what is in it.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Where it wrote to. What is in the queue is lost.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: AsyncWrite + Unpin> BufWriter<W> {
    /// Writes what the writer takes at once; waits while more is left than the marks allow.
    ///
    /// # Errors
    /// What the writer says; `WriteZero` if it takes nothing any more.
    ///
    /// # Cancel safety
    /// Safe: what is not written stays in the queue.
    pub async fn drain(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// Writes all of the queue, and flushes the writer.
    ///
    /// # Errors
    /// As [`drain`](BufWriter::drain).
    ///
    /// # Cancel safety
    /// Safe: what is not written stays in the queue.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Writes all of the queue, and closes the writer: the peer of a stream finds the end.
    ///
    /// # Errors
    /// As [`drain`](BufWriter::drain).
    ///
    /// # Cancel safety
    /// Safe: what is not written stays in the queue.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_empty(cx) {
            Poll::Pending if !self.paused => Poll::Ready(Ok(())),
            result => result,
        }
    }

    /// Writes until nothing is left, or the writer takes no more.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.buffered() > 0 {
            let rest = &self.queue[self.written..];
            let n = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.paused &= self.buffered() > self.low_water;
        }
        self.queue.clear();
        self.written = 0;
        // What a burst has needed is not kept.
        if self.queue.capacity() > 2 * self.high_water.max(HIGH_WATER_BYTES) {
            self.queue = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for BufWriter<W> {
    /// Takes bytes while the queue is below its high-water mark; then waits as `drain`.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mark = this.high_water.max(WRITE_BYTES_MIN);
        let mark = mark.min(this.queue_bytes_max.max(1));
        if this.buffered() >= mark {
            this.paused = true;
            ready!(this.poll_drain(cx))?;
        }
        let n = bytes.len().min(mark.saturating_sub(this.buffered()));
        this.push(&bytes[..n])?;
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(cx))?;
        Pin::new(&mut this.inner).poll_close(cx)
    }
}

impl<W: fmt::Debug> fmt::Debug for BufWriter<W> {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufWriter")
            .field("inner", &self.inner)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}
