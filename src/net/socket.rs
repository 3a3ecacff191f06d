//! A TCP socket that is neither connected nor listening yet: for options that come first.

use super::connect;
use super::listener::TcpListener;
use super::options::{ip_options, socket_addr, socket_options, socket_traits, tcp_options};
use super::tcp::TcpStream;
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::sys;
use socket2::{Domain, Protocol, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// A TCP socket that is neither connected nor listening yet.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::net::TcpSocket;
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.set_recv_buffer_size(1 << 20)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
/// # Ok(()) }
/// ```
pub struct TcpSocket {
    fd: Fd,
}

impl TcpSocket {
    /// An IPv4 socket, close-on-exec.
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4)
    }

    /// An IPv6 socket, close-on-exec.
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6)
    }

    pub(super) fn for_address(address: &SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::for_address(*address))
    }

    fn new(domain: Domain) -> io::Result<TcpSocket> {
        let driver = Driver::current();
        let fd = sys::socket(domain, Type::STREAM, Some(Protocol::TCP))?;
        Ok(TcpSocket {
            fd: Fd::from_number(fd, &driver),
        })
    }

    /// Takes over a socket of the standard library that is not connected yet.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_std_stream(stream: std::net::TcpStream) -> TcpSocket {
        TcpSocket {
            fd: Fd::new(OwnedFd::from(stream), &Driver::current()),
        }
    }

    fn fd(&self) -> &Fd {
        &self.fd
    }

    tcp_options!();
    socket_options!(SocketAddr, socket_addr);
    ip_options!();

    /// Whether an address that is still winding down may be bound (`SO_REUSEADDR`).
    pub fn reuseaddr(&self) -> io::Result<bool> {
        sys::sock(&self.fd).reuse_address()
    }

    /// Sets whether an address that is still winding down may be bound.
    pub fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        sys::sock(&self.fd).set_reuse_address(reuse)
    }

    /// Whether several sockets may listen on one address (`SO_REUSEPORT`).
    pub fn reuseport(&self) -> io::Result<bool> {
        sys::sock(&self.fd).reuse_port()
    }

    /// Sets whether several sockets may listen on one address.
    pub fn set_reuseport(&self, reuse: bool) -> io::Result<()> {
        sys::sock(&self.fd).set_reuse_port(reuse)
    }

    /// Gives the socket an address of this machine.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        sys::bind(&self.fd, &address.into())
    }

    /// Connects to a peer (`IORING_OP_CONNECT`).
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `NetworkUnreachable` and what else `connect(2)` says.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late connection closes itself.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let fd = connect::connect(self.fd, address.into()).await?;
        Ok(TcpStream::from_fd(fd))
    }

    /// Takes connections from now on; `backlog` of them may wait in the kernel.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        sys::listen(&self.fd, i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::from_fd(self.fd))
    }

    pub(super) fn into_fd(self) -> Fd {
        self.fd
    }
}

socket_traits!(TcpSocket);
