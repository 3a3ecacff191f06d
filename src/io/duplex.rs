//! A connection in memory.

use futures_io::{AsyncRead, AsyncWrite};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Two streams, each of which reads what the other writes, on one core and without the kernel; in
/// each direction `bytes_max` bytes may wait to be read. For tests of protocols.
///
/// # Panics
/// If `bytes_max` is 0.
///
/// ```
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let (mut here, mut there) = corering::io::duplex(64);
///     here.write_all(b"ping").await?;
///     drop(here);
///     let mut all = Vec::new();
///     there.read_to_end(&mut all).await?;
///     assert_eq!(all, b"ping");
///     Ok(())
/// })
/// # }
/// ```
pub fn duplex(bytes_max: usize) -> (DuplexStream, DuplexStream) {
    assert!(bytes_max > 0, "a connection without room carries nothing");
    let one = Rc::new(RefCell::new(Way::new(bytes_max)));
    let other = Rc::new(RefCell::new(Way::new(bytes_max)));
    let here = DuplexStream {
        read: one.clone(),
        write: other.clone(),
    };
    let there = DuplexStream {
        read: other,
        write: one,
    };
    (here, there)
}

/// One end of a connection in memory; made by [`duplex`].
///
/// A `futures` `AsyncRead` and `AsyncWrite`. Closing or dropping it is the end of what the other
/// one reads; dropping it makes the other one's writes fail with `BrokenPipe`.
///
/// ```
/// let (here, there): (corering::io::DuplexStream, _) = corering::io::duplex(1024);
/// ```
pub struct DuplexStream {
    read: Rc<RefCell<Way>>,
    write: Rc<RefCell<Way>>,
}

/// One direction.
struct Way {
    bytes: VecDeque<u8>,
    bytes_max: usize,
    /// Nothing more will be written.
    ended: bool,
    /// Nobody will read.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn new(bytes_max: usize) -> Way {
        Way {
            bytes: VecDeque::new(),
            bytes_max,
            ended: false,
            unread: false,
            reader: None,
            writer: None,
        }
    }

    /// `None` where there is nothing to read yet.
    fn read(&mut self, to: &mut [u8]) -> Option<io::Result<usize>> {
        match self.bytes.read(to) {
            Ok(0) if !self.ended && !to.is_empty() => None,
            result => Some(result),
        }
    }

    /// `None` where there is no room yet.
    fn write(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        if self.ended || self.unread {
            return Some(Err(ErrorKind::BrokenPipe.into()));
        }
        let n = bytes.len().min(self.bytes_max - self.bytes.len());
        self.bytes.extend(&bytes[..n]);
        (n > 0 || bytes.is_empty()).then_some(Ok(n))
    }
}

/// One side of a direction does something, which may wake the other side, or has to wait. Wakers
/// are cloned, woken and dropped outside of the borrow, because each of that may run a task's own
/// code.
fn poll<T>(
    way: &RefCell<Way>,
    cx: &mut Context<'_>,
    act: impl FnOnce(&mut Way) -> Option<T>,
    own: impl FnOnce(&mut Way) -> &mut Option<Waker>,
    other: impl FnOnce(&mut Way) -> &mut Option<Waker>,
) -> Poll<T> {
    let result = act(&mut way.borrow_mut());
    match result {
        Some(result) => {
            wake(way, other);
            Poll::Ready(result)
        }
        None => {
            let waker = cx.waker().clone();
            let replaced = own(&mut way.borrow_mut()).replace(waker);
            drop(replaced);
            Poll::Pending
        }
    }
}

fn wake(way: &RefCell<Way>, who: impl FnOnce(&mut Way) -> &mut Option<Waker>) {
    let waker = who(&mut way.borrow_mut()).take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn reader(way: &mut Way) -> &mut Option<Waker> {
    &mut way.reader
}

fn writer(way: &mut Way) -> &mut Option<Waker> {
    &mut way.writer
}

impl AsyncRead for DuplexStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        poll(&self.read, cx, |way| way.read(to), reader, writer)
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll(&self.write, cx, |way| way.write(bytes), writer, reader)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.borrow_mut().ended = true;
        wake(&self.write, reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.write.borrow_mut().ended = true;
        self.read.borrow_mut().unread = true;
        wake(&self.write, reader);
        wake(&self.read, writer);
    }
}

impl fmt::Debug for DuplexStream {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream")
            .field("unread", &self.read.borrow().bytes.len())
            .finish_non_exhaustive()
    }
}
