//! The end to write to.

use super::{in_flight, needs_worker};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::op::SendQueue;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The end of a pipe to write to; also a standard output, or a child's input.
///
/// Writing copies into a queue of up to 64 KiB that empties itself: what was accepted is written
/// whether or not anybody waits, and the end is closed after that when it is dropped. So an error
/// shows in a later call; [`flush`](Sender::flush) waits until everything is written and tells it.
///
/// Also a `futures` `AsyncWrite`, and with the feature `tokio-io` tokio's.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut child = corering::process::Command::new("cat")
///     .stdin(std::process::Stdio::piped())
///     .spawn()?;
/// let mut stdin: corering::pipe::Sender = child.stdin.take().expect("it was asked for");
/// stdin.write_all(b"hello\n").await?;
/// stdin.close().await?;
/// child.wait().await?;
/// # Ok(()) }
/// ```
pub struct Sender {
    /// `None` once it is closed.
    end: Option<End>,
}

struct End {
    fd: Fd,
    queue: SendQueue,
}

impl Sender {
    pub(crate) fn new(fd: Fd, by_worker: bool) -> Sender {
        let queue = SendQueue::of_pipe(fd.clone(), by_worker);
        Sender {
            end: Some(End { fd, queue }),
        }
    }

    /// Of a descriptor that may be anything.
    pub(crate) fn of_any(fd: Fd) -> io::Result<Sender> {
        let by_worker = needs_worker(&fd)?;
        Ok(Sender::new(fd, by_worker))
    }

    /// Takes over a descriptor to write to: a pipe, a FIFO, a terminal.
    ///
    /// # Errors
    /// What `statx(2)` says of it.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn from_fd(fd: OwnedFd) -> io::Result<Sender> {
        Sender::of_any(Fd::new(fd, &Driver::current()))
    }

    /// Gives the descriptor away: to another thread, or as the standard output of a child.
    ///
    /// # Errors
    /// `ResourceBusy`, and the end is dropped, if something is still being written
    /// ([`flush`](Sender::flush) first); `BrokenPipe` if it was closed.
    pub fn into_fd(mut self) -> io::Result<OwnedFd> {
        let End { fd, queue } = self.end.take().ok_or_else(closed)?;
        drop(queue.release());
        let number = fd.try_unwrap();
        let number = number.map_err(|_| in_flight("something is being written: flush first"))?;
        Ok(number.into_owned())
    }

    /// Accepts some bytes, to be written (`IORING_OP_WRITE`); waits while the queue is full.
    ///
    /// # Errors
    /// `BrokenPipe` if nobody reads any more (no signal, see [the module](super)), or after
    /// [`close`](Sender::close); and what else `write(2)` has said of earlier bytes.
    ///
    /// # Cancel safety
    /// Safe: a call that was dropped has accepted nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, bytes)).await
    }

    /// Accepts all of `bytes`, to be written.
    ///
    /// # Errors
    /// As [`write`](Sender::write).
    ///
    /// # Cancel safety
    /// Not safe: any part of them may have been accepted.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write(bytes).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Waits until the kernel has taken everything.
    ///
    /// # Errors
    /// As [`write`](Sender::write).
    ///
    /// # Cancel safety
    /// Safe: everything is written all the same.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits until the kernel has taken everything, then closes the end: the reader finds the end
    /// of the pipe. The same happens, with nobody to hear of an error, when it is dropped.
    ///
    /// # Errors
    /// As [`write`](Sender::write). It is closed in any case; a second call does nothing.
    ///
    /// # Cancel safety
    /// Safe: a call that was dropped has not closed it.
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &self.end {
            Some(end) => end.queue.poll_push(bytes, cx),
            None => Poll::Ready(Err(closed())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.end {
            Some(end) => end.queue.poll_empty(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.poll_flush(cx));
        self.end = None;
        Poll::Ready(result)
    }

    fn end(&self) -> &End {
        self.end.as_ref().expect("a closed end has no descriptor")
    }
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, "this end of the pipe was closed")
}

impl futures_io::AsyncWrite for Sender {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}

#[cfg(feature = "tokio-io")]
impl tokio::io::AsyncWrite for Sender {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx)
    }
}

impl AsFd for Sender {
    /// # Panics
    /// After [`close`](Sender::close).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end().fd.as_fd()
    }
}

impl AsRawFd for Sender {
    /// # Panics
    /// After [`close`](Sender::close).
    fn as_raw_fd(&self) -> RawFd {
        self.end().fd.as_raw_fd()
    }
}

impl fmt::Debug for Sender {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sender");
        match &self.end {
            Some(end) => debug.field("queue", &end.queue).finish(),
            None => debug.field("closed", &true).finish(),
        }
    }
}
