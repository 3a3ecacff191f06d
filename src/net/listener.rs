//! The TCP listener.

use super::acceptor::{Accept, Acceptor, BACKLOG, Incoming, listener_methods};
use super::addr::{ToSocketAddrs, first_that_works};
use super::options::{socket_addr, socket_traits};
use super::socket::TcpSocket;
use super::tcp::TcpStream;
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::sys;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A TCP socket that takes connections.
///
/// It keeps one multishot accept with the kernel (`IORING_OP_ACCEPT`), so a connection costs no
/// system call of its own. When descriptors or memory run out, it waits and tries again
/// (see [`Metrics::accept_backoffs`](crate::Metrics::accept_backoffs)): clients stay in the
/// kernel's queue meanwhile.
///
/// A listener belongs to its core. To serve one port on every core, let each core
/// [`bind_reuse_port`](TcpListener::bind_reuse_port): the kernel spreads the connections.
///
/// ```no_run
/// use corering::net::TcpListener;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let listener = TcpListener::bind("127.0.0.1:7000").await?;
///         loop {
///             let (mut stream, peer) = listener.accept().await?;
///             println!("hello {peer}");
///             corering::spawn(async move { stream.write_all(b"hello\n").await });
///         }
///     })
/// }
/// ```
pub struct TcpListener {
    acceptor: Acceptor,
}

impl TcpListener {
    /// Listens on an address; port 0 lets the kernel pick one. `SO_REUSEADDR` is set, so a server
    /// that was restarted finds its port free.
    ///
    /// # Errors
    /// `AddrInUse` if somebody listens there, `AddrNotAvailable` if this machine has no such
    /// address, `PermissionDenied` for a port below 1024 without the right to it.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_that_works(address, |address| async move { bind(address, false) }).await
    }

    /// Listens together with others that do the same on this address (`SO_REUSEPORT`), such as
    /// the other cores of this runtime: the kernel spreads the connections among them.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind); `AddrInUse` also where one of the others did not ask for it.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind_reuse_port(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_that_works(address, |address| async move { bind(address, true) }).await
    }

    listener_methods!(TcpStream, std::net::TcpListener, SocketAddr, socket_addr);

    /// The time to live of the packets of accepted connections (`IP_TTL`).
    pub fn ttl(&self) -> io::Result<u32> {
        sys::sock(self.fd()).ttl_v4()
    }

    /// Sets the time to live.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        sys::sock(self.fd()).set_ttl_v4(ttl)
    }
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = TcpSocket::for_address(&address)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The peer's address may be gone together with the peer.
fn with_peer(fd: Fd) -> (TcpStream, SocketAddr) {
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = sys::peer_addr(&fd).and_then(socket_addr).unwrap_or(unknown);
    (TcpStream::from_fd(fd), peer)
}

socket_traits!(TcpListener);
