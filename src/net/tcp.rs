//! The TCP stream.

use super::addr::ToSocketAddrs;
use super::connect;
use super::options::{ip_options, socket_addr, socket_options, socket_traits, tcp_options};
use super::owned_read::ReadOwned;
use super::sender::ZeroCopyBuf;
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf, halves, owned_halves};
use super::stream::{Halves, IntoStdError, quiet, read_exact, stream_methods, unwrap, write_all};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::Driver;
use crate::driver::buf_ring::RecvBuf;
use crate::driver::fd::Fd;
use crate::driver::sys;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// A TCP connection.
///
/// Reading keeps one multishot receive with the kernel, into the core's shared buffers, so an
/// idle connection holds none. Writing copies into a queue that empties itself, whether or not
/// anybody waits; 32 KiB and more go straight to the kernel where nothing waits before them. See
/// [the module](super) for the three faces of a stream.
///
/// ```no_run
/// use corering::net::TcpStream;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let mut stream = TcpStream::connect("127.0.0.1:7000").await?;
///         stream.write_all(b"ping").await?;
///         let mut answer = [0; 4];
///         stream.read_exact(&mut answer).await?;
///         assert_eq!(&answer, b"ping");
///         Ok(())
///     })
/// }
/// ```
pub struct TcpStream {
    pub(super) halves: Box<Halves>,
}

impl TcpStream {
    /// Connects to a peer (`IORING_OP_CONNECT`).
    ///
    /// Several addresses are raced (Happy Eyeballs, RFC 8305): the next one is tried when the one
    /// before has failed, or has not answered for 250 ms; the first connection is the result, and
    /// the other attempts are cancelled. Of a name, IPv6 and IPv4 take turns, beginning with what
    /// the resolver puts first; a list is tried in its own order.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `NetworkUnreachable` and what else `connect(2)` says, of
    /// the attempt that failed last; what the resolver says.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late connection closes itself.
    pub async fn connect(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
        connect::to_any(host).await
    }

    /// Connects within `limit` for each address, which the kernel itself keeps (a linked
    /// timeout): it ends the attempt even while the loop is busy. Addresses are raced, as by
    /// [`connect`](TcpStream::connect).
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect); `TimedOut` when the time is over.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late connection closes itself.
    pub async fn connect_timeout(
        host: impl ToSocketAddrs,
        limit: Duration,
    ) -> io::Result<TcpStream> {
        connect::to_any_within(host, limit).await
    }

    /// Whether acknowledgements are sent at once (`TCP_QUICKACK`).
    pub fn quickack(&self) -> io::Result<bool> {
        sys::sock(self.fd()).tcp_quickack()
    }

    /// Sets whether acknowledgements are sent at once; the kernel may change it back.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        sys::sock(self.fd()).set_tcp_quickack(quickack)
    }

    stream_methods!(std::net::TcpStream, SocketAddr, socket_addr);

    tcp_options!();
    socket_options!(SocketAddr, socket_addr);
    ip_options!();
}

socket_traits!(TcpStream, peer_addr);
