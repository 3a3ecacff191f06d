//! The TCP listener.

use super::acceptor::{Accept, Acceptor, BACKLOG, Incoming};
use super::addr::{ToSocketAddrs, first_that_works};
use super::options::socket_addr;
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

    pub(super) fn from_fd(fd: Fd) -> TcpListener {
        TcpListener {
            acceptor: Acceptor::new(fd),
        }
    }

    fn fd(&self) -> &Fd {
        self.acceptor.fd()
    }

    /// Takes over a listening socket of the standard library, for this core.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let fd = Fd::new(OwnedFd::from(listener), &Driver::current());
        // The ring waits for a socket of either kind; accepted ones are made blocking by it.
        Ok(TcpListener::from_fd(fd))
    }

    /// Gives the socket to the standard library, in blocking mode, and with it the connections
    /// that were accepted already, so that none is lost. Ends the accept first: no operation of
    /// the runtime touches the descriptor any more.
    ///
    /// # Errors
    /// `ResourceBusy` if a clone of the descriptor is in use elsewhere.
    ///
    /// # Cancel safety
    /// Dropping it drops the listener, and resets the connections that it had accepted.
    pub async fn into_std(self) -> io::Result<(std::net::TcpListener, Vec<TcpStream>)> {
        let (fd, accepted) = self.acceptor.into_parts().await?;
        let accepted = accepted.into_iter().map(TcpStream::from_fd).collect();
        Ok((std::net::TcpListener::from(fd.into_owned()), accepted))
    }

    /// A listening socket of the standard library, of the same port: the queue of connections
    /// is shared. Connections that this listener has accepted already are not among them.
    pub fn try_clone_to_std(&self) -> io::Result<std::net::TcpListener> {
        self.fd()
            .try_clone_to_owned()
            .map(std::net::TcpListener::from)
    }

    /// The next connection, and its peer's address (`0.0.0.0:0` if the peer is gone already).
    /// May be called by several tasks at once.
    ///
    /// # Errors
    /// `ErrorKind::Other` once the runtime was asked to end ([`stopping`](crate::stopping)) and
    /// everything that was accepted is handed out. Otherwise only what makes the listener
    /// useless; what passes (a client that is gone, no descriptor left) is dealt with.
    ///
    /// # Cancel safety
    /// Safe: the connection is returned by the next `accept`.
    pub fn accept(&self) -> Accept<'_> {
        self.acceptor.accept(with_peer)
    }

    /// The connections as a stream, which ends when the runtime is asked to end.
    ///
    /// # Cancel safety
    /// Safe: the connection is returned by the next poll.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            accept: self.acceptor.accept(TcpStream::from_fd),
        }
    }

    /// The address on which it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(sys::local_addr(self.fd())?)
    }

    /// The time to live of the packets of accepted connections (`IP_TTL`).
    pub fn ttl(&self) -> io::Result<u32> {
        sys::sock(self.fd()).ttl_v4()
    }

    /// Sets the time to live.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        sys::sock(self.fd()).set_ttl_v4(ttl)
    }

    /// The error that the socket has stored, and takes it away (`SO_ERROR`).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.fd())
    }
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = TcpSocket::for_address(&address)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn with_peer(fd: Fd) -> (TcpStream, SocketAddr) {
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = sys::peer_addr(&fd).and_then(socket_addr).unwrap_or(unknown);
    (TcpStream::from_fd(fd), peer)
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.fd().as_raw_fd()).finish()
    }
}
