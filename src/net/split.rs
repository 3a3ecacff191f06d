//! The two directions of a stream, borrowed or owned.

use super::options::socket_addr;
use super::receiver::Receiver;
use super::sender::Sender;
use super::stream::{Halves, read_exact, write_all};
use super::tcp::TcpStream;
use super::unix_addr::unix_addr;
use super::unix_stream::UnixStream;
use crate::buf::{BufResult, IoBuf};
use crate::driver::buf_ring::RecvBuf;
use crate::driver::sys;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddr;

/// The reading direction, borrowed; made by [`TcpStream::split`].
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (mut read, mut write) = stream.split();
/// let (answer, sent) = futures::join!(read.recv(), write.write_all(b"ping"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a, S = TcpStream> {
    pub(super) rx: &'a mut Receiver,
    of: PhantomData<fn() -> S>,
}

/// The writing direction, borrowed; made by [`TcpStream::split`].
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (_, mut write) = stream.split();
/// write.write_all(b"ping").await
/// # }
/// ```
#[derive(Debug)]
pub struct WriteHalf<'a, S = TcpStream> {
    pub(super) tx: &'a mut Sender,
    of: PhantomData<fn() -> S>,
}

/// The reading direction, owned; made by [`TcpStream::into_split`].
///
/// ```no_run
/// # async fn f(stream: corering::net::TcpStream) {
/// let (mut read, mut write) = stream.into_split();
/// corering::spawn(async move {
///     while let Ok(Some(chunk)) = read.recv().await {
///         println!("{} bytes", chunk.len());
///     }
/// });
/// # }
/// ```
#[derive(Debug)]
pub struct OwnedReadHalf<S = TcpStream> {
    pub(super) rx: Receiver,
    of: PhantomData<fn() -> S>,
}

/// The writing direction, owned; made by [`TcpStream::into_split`]. Dropping it shuts down
/// writing, after what was written is sent; [`forget`](OwnedWriteHalf::forget) does not.
///
/// ```no_run
/// # async fn f(stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (read, mut write) = stream.into_split();
/// write.write_all(b"the last word").await?;
/// drop(write);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OwnedWriteHalf<S = TcpStream> {
    /// Taken out by `forget` and `reunite`.
    pub(super) tx: Option<Sender>,
    of: PhantomData<fn() -> S>,
}

pub(super) fn halves<S>(halves: &mut Halves) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    let (Halves { rx, tx }, of) = (halves, PhantomData);
    (ReadHalf { rx, of }, WriteHalf { tx, of })
}

pub(super) fn owned_halves<S>(halves: Halves) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let Halves { rx, tx } = halves;
    let (of, tx) = (PhantomData, Some(tx));
    (OwnedReadHalf { rx, of }, OwnedWriteHalf { tx, of })
}

macro_rules! read_methods {
    () => {
        /// As [`TcpStream::recv`].
        ///
        /// # Cancel safety
        /// Safe: the bytes are returned by the next call.
        pub fn recv(&mut self) -> impl Future<Output = io::Result<Option<RecvBuf>>> {
            poll_fn(|cx| self.rx.poll_recv(cx))
        }

        /// As [`TcpStream::read`].
        ///
        /// # Cancel safety
        /// Safe: the bytes are returned by the next call.
        pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            poll_fn(|cx| self.rx.poll_read(cx, buf)).await
        }

        /// As [`TcpStream::read_exact`].
        ///
        /// # Cancel safety
        /// Not safe, as there.
        pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
            read_exact(&mut self.rx, buf).await
        }
    };
}

impl<S> ReadHalf<'_, S> {
    read_methods!();
}

impl<S> OwnedReadHalf<S> {
    read_methods!();
}

macro_rules! write_methods {
    ($tx:ident) => {
        /// As [`TcpStream::write`].
        ///
        /// # Cancel safety
        /// Safe: dropped before it is ready, it has taken nothing.
        pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            poll_fn(|cx| self.$tx().poll_write(cx, buf)).await
        }

        /// As [`TcpStream::write_all`].
        ///
        /// # Cancel safety
        /// Not safe, as there.
        pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
            write_all(self.$tx(), buf).await
        }

        /// As [`TcpStream::flush`].
        ///
        /// # Cancel safety
        /// Safe: the bytes leave whether or not anybody waits for it.
        pub async fn flush(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.$tx().poll_flush(cx)).await
        }

        /// As [`TcpStream::send`].
        ///
        /// # Cancel safety
        /// Not safe, as there.
        pub fn send<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
            self.$tx().send(buf)
        }

        /// As [`TcpStream::send_all`].
        ///
        /// # Cancel safety
        /// Not safe, as there.
        pub fn send_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
            self.$tx().send_all(buf)
        }

        /// As [`TcpStream::send_vectored`].
        ///
        /// # Cancel safety
        /// Not safe, as there.
        pub async fn send_vectored<B: IoBuf>(&mut self, bufs: Vec<B>) -> BufResult<usize, Vec<B>> {
            self.$tx().send_vectored(bufs).await
        }

        /// Sends what was written, then shuts down writing.
        ///
        /// # Cancel safety
        /// Safe: call it again.
        pub async fn shutdown(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.$tx().poll_shutdown(cx)).await
        }
    };
}

impl<S> WriteHalf<'_, S> {
    write_methods!(sender);

    pub(super) fn sender(&mut self) -> &mut Sender {
        self.tx
    }
}

impl<S> OwnedWriteHalf<S> {
    write_methods!(sender);

    pub(super) fn sender(&mut self) -> &mut Sender {
        self.tx
            .as_mut()
            .expect("only `forget` and `reunite`, which consume it, take the sender")
    }

    /// Drops the half without shutting down writing.
    pub fn forget(mut self) {
        drop(self.tx.take());
    }
}

impl<S> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if let Some(tx) = &mut self.tx {
            tx.shutdown_in_background();
        }
    }
}

/// What depends on the kind of stream: its addresses, and how the halves become one again.
macro_rules! halves_of {
    ($stream:ident, $address:ty, $to_address:path) => {
        impl ReadHalf<'_, $stream> {
            /// The peer's address.
            pub fn peer_addr(&self) -> io::Result<$address> {
                $to_address(sys::peer_addr(self.rx.fd())?)
            }
        }

        impl WriteHalf<'_, $stream> {
            /// The peer's address.
            pub fn peer_addr(&self) -> io::Result<$address> {
                $to_address(sys::peer_addr(self.tx.fd())?)
            }
        }

        impl OwnedReadHalf<$stream> {
            /// The peer's address.
            pub fn peer_addr(&self) -> io::Result<$address> {
                $to_address(sys::peer_addr(self.rx.fd())?)
            }

            /// The whole stream again.
            ///
            /// # Errors
            /// [`ReuniteError`] with both halves, if they are not of one stream.
            #[allow(clippy::result_large_err, reason = "the halves themselves come back")]
            pub fn reunite(
                self,
                mut write: OwnedWriteHalf<$stream>,
            ) -> Result<$stream, ReuniteError<$stream>> {
                match write.tx.take() {
                    Some(tx) if tx.fd().same(self.rx.fd()) => Ok($stream {
                        halves: Box::new(Halves { rx: self.rx, tx }),
                    }),
                    tx => {
                        write.tx = tx;
                        Err(ReuniteError(self, write))
                    }
                }
            }
        }

        impl OwnedWriteHalf<$stream> {
            /// The peer's address.
            pub fn peer_addr(&mut self) -> io::Result<$address> {
                $to_address(sys::peer_addr(self.sender().fd())?)
            }
        }
    };
}

halves_of!(TcpStream, SocketAddr, socket_addr);
halves_of!(UnixStream, UnixAddr, unix_addr);

/// The halves are of different streams; here they are again.
///
/// ```no_run
/// # fn f(read: corering::net::OwnedReadHalf, write: corering::net::OwnedWriteHalf) {
/// match read.reunite(write) {
///     Ok(stream) => println!("{stream:?}"),
///     Err(corering::net::ReuniteError(read, write)) => drop((read, write)),
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ReuniteError<S = TcpStream>(
    /// The reading half.
    pub OwnedReadHalf<S>,
    /// The writing half.
    pub OwnedWriteHalf<S>,
);

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one stream")
    }
}

impl<S: fmt::Debug> std::error::Error for ReuniteError<S> {}
