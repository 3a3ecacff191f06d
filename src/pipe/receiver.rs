//! The end to read from.
//!
//! ```text
//!   Idle ──nothing left──► Reading ──bytes──► Idle, and they are in `chunk`
//!                            │   ▲
//!          non-blocking file │   │ a terminal waits without a worker first
//!                            ▼   │
//!                           Waiting (poll)
//! ```

use super::{in_flight, needs_worker};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::op::{ReadHere, Readiness};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes of one read: what a pipe holds, unless told otherwise.
const READ_BYTES: usize = 64 * 1024;

/// The end of a pipe to read from; also a standard input, or a child's output.
///
/// Also a `futures` `AsyncRead` and `AsyncBufRead`, and with the feature `tokio-io` tokio's.
/// Memory: 64 KiB from the first read on. For lines see [`BufReader`](crate::io::BufReader).
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut child = corering::process::Command::new("date")
///     .stdout(std::process::Stdio::piped())
///     .spawn()?;
/// let mut stdout: corering::pipe::Receiver = child.stdout.take().expect("it was asked for");
/// let mut text = String::new();
/// stdout.read_to_string(&mut text).await?;
/// # Ok(()) }
/// ```
pub struct Receiver {
    fd: Fd,
    /// Reads wait in a kernel worker; the ring polls first, so that none waits for long.
    by_worker: bool,
    /// What has come, and how much of it was taken.
    chunk: Vec<u8>,
    taken: usize,
    flight: Flight,
}

enum Flight {
    Idle,
    Reading(Submit<ReadHere>),
    Waiting(Submit<Readiness>),
}

impl Receiver {
    pub(crate) fn new(fd: Fd, by_worker: bool) -> Receiver {
        Receiver {
            fd,
            by_worker,
            chunk: Vec::new(),
            taken: 0,
            flight: Flight::Idle,
        }
    }

    /// Of a descriptor that may be anything.
    pub(crate) fn of_any(fd: Fd) -> io::Result<Receiver> {
        let by_worker = needs_worker(&fd)?;
        Ok(Receiver::new(fd, by_worker))
    }

    /// Takes over a descriptor to read from: a pipe, a FIFO, a terminal.
    ///
    /// # Errors
    /// What `statx(2)` says of it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn from_fd(fd: OwnedFd) -> io::Result<Receiver> {
        Receiver::of_any(Fd::new(fd, &Driver::current()))
    }

    /// Gives the descriptor away: to another thread, or as the standard input of the next child.
    ///
    /// # Errors
    /// `ResourceBusy`, and the end is dropped, if a read was begun or bytes were not taken: they
    /// would be lost.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        if !matches!(self.flight, Flight::Idle) || self.taken < self.chunk.len() {
            return Err(in_flight("a read was begun: give the end away before that"));
        }
        let number = self.fd.try_unwrap();
        let number = number.map_err(|_| in_flight("an operation is in flight"))?;
        Ok(number.into_owned())
    }

    /// Reads some bytes (`IORING_OP_READ`): those that are there, or the first that come. 0 at the
    /// end, when every sender is closed.
    ///
    /// # Errors
    /// What `read(2)` says; `EIO` of a terminal that is gone.
    ///
    /// # Cancel safety
    /// Safe: what comes later is returned by the next call.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// What is there, without a copy, or the first that comes; empty at the end. Say what was used
    /// with [`consume`](Receiver::consume).
    ///
    /// # Errors
    /// As [`read`](Receiver::read).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        Ok(&self.chunk[self.taken..])
    }

    /// The first `n` bytes of what [`fill_buf`](Receiver::fill_buf) has shown are done with.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.chunk.len() - self.taken, "more than there is");
        self.taken += n;
    }

    /// Fills all of `buf`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the pipe ends first; otherwise as [`read`](Receiver::read).
    ///
    /// # Cancel safety
    /// Not safe: how much was read is lost. [`BufReader`](crate::io::BufReader) has one that is.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..]).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok(())
    }

    /// Appends everything up to the end, and says how much that was.
    ///
    /// # Errors
    /// As [`read`](Receiver::read).
    ///
    /// # Cancel safety
    /// Safe in that bytes are either in `all` or still to be read.
    pub async fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        let before = all.len();
        loop {
            let chunk = self.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(all.len() - before);
            }
            all.extend_from_slice(chunk);
            let n = chunk.len();
            self.consume(n);
        }
    }

    /// Appends everything up to the end, as text.
    ///
    /// # Errors
    /// `InvalidData` for what is no UTF-8: it is lost; otherwise as [`read`](Receiver::read).
    ///
    /// # Cancel safety
    /// Not safe: what was read is lost.
    pub async fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        let mut all = Vec::new();
        let n = self.read_to_end(&mut all).await?;
        let all = String::from_utf8(all)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.utf8_error()))?;
        text.push_str(&all);
        Ok(n)
    }
}

/// The machine.
impl Receiver {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_ready(cx))?;
        let chunk = &self.chunk[self.taken..];
        let n = chunk.len().min(buf.len());
        buf[..n].copy_from_slice(&chunk[..n]);
        self.taken += n;
        Poll::Ready(Ok(n))
    }

    /// Ready when there are bytes in `chunk` that nobody has taken, or none at the end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.taken == self.chunk.len() {
            match &mut self.flight {
                Flight::Idle if self.by_worker => self.wait(),
                Flight::Idle => self.begin(),
                Flight::Waiting(submit) => {
                    let waited = ready!(Pin::new(submit).poll(cx));
                    self.flight = Flight::Idle;
                    waited?;
                    self.begin();
                }
                Flight::Reading(submit) => {
                    let (result, chunk) = ready!(Pin::new(submit).poll(cx));
                    self.flight = Flight::Idle;
                    (self.chunk, self.taken) = (chunk, 0);
                    match result {
                        Ok(0) => return Poll::Ready(Ok(())),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        // Somebody else has made the open file non-blocking.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self) {
        let mut buf = std::mem::take(&mut self.chunk);
        self.taken = 0;
        buf.clear();
        buf.reserve_exact(READ_BYTES);
        let op = ReadHere {
            fd: self.fd.clone(),
            buf,
            by_worker: self.by_worker,
        };
        self.flight = Flight::Reading(Submit::new(self.fd.driver(), op));
    }

    fn wait(&mut self) {
        self.flight = Flight::Waiting(Readiness::of(&self.fd, libc::POLLIN));
    }
}

impl futures_io::AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_read(cx, buf)
    }
}

impl futures_io::AsyncBufRead for Receiver {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        Poll::Ready(Ok(&this.chunk[this.taken..]))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Receiver::consume(&mut self, n);
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() > 0 {
            ready!(this.poll_ready(cx))?;
            let chunk = &this.chunk[this.taken..];
            let n = chunk.len().min(buf.remaining());
            buf.put_slice(&chunk[..n]);
            this.taken += n;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncBufRead for Receiver {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_ready(cx))?;
        Poll::Ready(Ok(&this.chunk[this.taken..]))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        Receiver::consume(&mut self, n);
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl fmt::Debug for Receiver {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("fd", &self.fd)
            .field("unread", &(self.chunk.len() - self.taken))
            .field("reading", &!matches!(self.flight, Flight::Idle))
            .finish()
    }
}
