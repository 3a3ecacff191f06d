//! The stream traits of `futures`, and by feature of `tokio` and `hyper`, on streams and halves.
//!
//! They are safe to drop at any time: what is received stays in the stream, and what
//! `poll_write` has accepted is the stream's. `poll_flush` waits until the kernel has taken
//! everything, except for hyper, which flushes after every message: the queue leaves by itself,
//! so waiting for it would only cost a wake.

use super::receiver::Receiver;
use super::sender::Sender;
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::tcp::TcpStream;
use super::unix_stream::UnixStream;
use crate::buf::{BufResult, IoBuf};
use crate::io::WriteOwned;
use std::future::Future;
use std::io;
use std::pin::Pin;
#[cfg(feature = "tokio-io")]
use std::task::ready;
use std::task::{Context, Poll};

/// Where the traits find a direction.
trait Reads: Unpin {
    fn receiver(&mut self) -> &mut Receiver;
}

trait Writes: Unpin {
    fn sender_mut(&mut self) -> &mut Sender;
}

macro_rules! reads_and_writes {
    ($($stream:ident),*) => {$(
        impl Reads for $stream {
            fn receiver(&mut self) -> &mut Receiver {
                &mut self.halves.rx
            }
        }

        impl Writes for $stream {
            fn sender_mut(&mut self) -> &mut Sender {
                &mut self.halves.tx
            }
        }
    )*};
}

reads_and_writes!(TcpStream, UnixStream);

impl<S> Reads for ReadHalf<'_, S> {
    fn receiver(&mut self) -> &mut Receiver {
        self.rx
    }
}

impl<S> Writes for WriteHalf<'_, S> {
    fn sender_mut(&mut self) -> &mut Sender {
        self.sender()
    }
}

impl<S> Reads for OwnedReadHalf<S> {
    fn receiver(&mut self) -> &mut Receiver {
        &mut self.rx
    }
}

impl<S> Writes for OwnedWriteHalf<S> {
    fn sender_mut(&mut self) -> &mut Sender {
        self.sender()
    }
}

macro_rules! impl_futures_read {
    ($($type:ty $(, $kind:ident)?);*) => {$(
        impl$(<$kind>)? futures_io::AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.receiver().poll_read(cx, buf)
            }
        }

        impl$(<$kind>)? futures_io::AsyncBufRead for $type {
            fn poll_fill_buf(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<&[u8]>> {
                self.get_mut().receiver().poll_fill(cx)
            }

            fn consume(mut self: Pin<&mut Self>, n: usize) {
                self.receiver().consume(n);
            }
        }

        #[cfg(feature = "tokio-io")]
        impl$(<$kind>)? tokio::io::AsyncRead for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let room = buf.remaining();
                let chunk = ready!(fill_some(self.receiver(), cx, room))?;
                buf.put_slice(chunk);
                let n = chunk.len();
                self.receiver().consume(n);
                Poll::Ready(Ok(()))
            }
        }

        #[cfg(feature = "tokio-io")]
        impl$(<$kind>)? tokio::io::AsyncBufRead for $type {
            fn poll_fill_buf(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<&[u8]>> {
                self.get_mut().receiver().poll_fill(cx)
            }

            fn consume(mut self: Pin<&mut Self>, n: usize) {
                self.receiver().consume(n);
            }
        }
    )*};
}

/// At most `room` bytes of what is there. (Nothing is waited for where there is no room.)
#[cfg(feature = "tokio-io")]
fn fill_some<'a>(
    receiver: &'a mut Receiver,
    cx: &mut Context<'_>,
    room: usize,
) -> Poll<io::Result<&'a [u8]>> {
    if room == 0 {
        return Poll::Ready(Ok(&[]));
    }
    let chunk = ready!(receiver.poll_fill(cx))?;
    Poll::Ready(Ok(&chunk[..chunk.len().min(room)]))
}

macro_rules! impl_futures_write {
    ($($type:ty $(, $kind:ident)?);*) => {$(
        impl$(<$kind>)? futures_io::AsyncWrite for $type {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.sender_mut().poll_write(cx, buf)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.sender_mut().poll_write_vectored(cx, bufs)
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                self.sender_mut().poll_flush(cx)
            }

            fn poll_close(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                self.sender_mut().poll_shutdown(cx)
            }
        }

        #[cfg(feature = "tokio-io")]
        crate::io::write_by_futures!(tokio::io::AsyncWrite, $type $(, $kind)?);
    )*};
}

impl_futures_read!(TcpStream; UnixStream; ReadHalf<'_, S>, S; OwnedReadHalf<S>, S);
impl_futures_write!(TcpStream; UnixStream; WriteHalf<'_, S>, S; OwnedWriteHalf<S>, S);

macro_rules! impl_owned {
    ($($type:ty $(, $kind:ident)?);*) => {$(
        impl$(<$kind>)? WriteOwned for $type {
            fn write_all_owned<B: IoBuf>(
                &mut self,
                buf: B,
            ) -> impl Future<Output = BufResult<(), B>> {
                self.sender_mut().send_all(buf)
            }
        }
    )*};
}

impl_owned!(TcpStream; UnixStream; WriteHalf<'_, S>, S; OwnedWriteHalf<S>, S);

#[cfg(feature = "hyper")]
macro_rules! impl_hyper {
    ($($type:ty),*) => {$(
        impl hyper::rt::Read for $type {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: hyper::rt::ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                self.halves.rx.poll_cursor(cx, buf)
            }
        }

        impl hyper::rt::Write for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.halves.tx.poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.halves.tx.poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.halves.tx.poll_flush(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    _ => Poll::Ready(Ok(())),
                }
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                self.halves.tx.poll_shutdown(cx)
            }
        }
    )*};
}

#[cfg(feature = "hyper")]
impl_hyper!(TcpStream, UnixStream);
