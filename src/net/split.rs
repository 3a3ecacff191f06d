//! The two directions of a stream, borrowed or owned.

use super::options::socket_addr;
use super::receiver::Receiver;
use super::sender::Sender;
use super::tcp::{TcpStream, read_exact, write_all};
use crate::buf::{BufResult, IoBuf};
use crate::driver::buf_ring::RecvBuf;
use crate::driver::sys;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

/// The reading direction, borrowed; made by [`TcpStream::split`].
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (mut read, mut write) = stream.split();
/// let (answer, sent) = futures::join!(read.recv(), write.write_all(b"ping"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ReadHalf<'a> {
    pub(super) rx: &'a mut Receiver,
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
pub struct WriteHalf<'a> {
    pub(super) tx: &'a mut Sender,
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
pub struct OwnedReadHalf {
    pub(super) rx: Receiver,
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
pub struct OwnedWriteHalf {
    /// Taken out by `forget` and `reunite`.
    pub(super) tx: Option<Sender>,
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

        /// The peer's address.
        pub fn peer_addr(&self) -> io::Result<SocketAddr> {
            socket_addr(sys::peer_addr(self.rx.fd())?)
        }
    };
}

impl ReadHalf<'_> {
    read_methods!();
}

impl OwnedReadHalf {
    read_methods!();

    /// The whole stream again.
    ///
    /// # Errors
    /// [`ReuniteError`] with both halves, if they are not of one stream.
    #[allow(clippy::result_large_err, reason = "the halves themselves come back")]
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        let mut write = write;
        match write.tx.take() {
            Some(tx) if tx.fd().same(self.rx.fd()) => Ok(TcpStream { rx: self.rx, tx }),
            tx => {
                write.tx = tx;
                Err(ReuniteError(self, write))
            }
        }
    }
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

        /// The peer's address.
        pub fn peer_addr(&mut self) -> io::Result<SocketAddr> {
            socket_addr(sys::peer_addr(self.$tx().fd())?)
        }
    };
}

impl WriteHalf<'_> {
    write_methods!(sender);

    pub(super) fn sender(&mut self) -> &mut Sender {
        self.tx
    }
}

impl OwnedWriteHalf {
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

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if let Some(tx) = &mut self.tx {
            tx.shutdown_in_background();
        }
    }
}

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
pub struct ReuniteError(
    /// The reading half.
    pub OwnedReadHalf,
    /// The writing half.
    pub OwnedWriteHalf,
);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of one stream")
    }
}

impl std::error::Error for ReuniteError {}
