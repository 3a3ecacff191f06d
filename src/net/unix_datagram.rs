//! The Unix datagram socket.

use super::connect;
use super::datagram::{Datagram, Inbox, Joined, copy_to, datagram_methods, send, to_pass};
use super::options::{socket_options, socket_traits};
use super::stream::IntoStdError;
use super::unix_addr::{of_address, of_path, unix_addr};
use super::unix_stream::UCred;
use crate::buf::{BufResult, IoBuf};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::driver::sys;
use crate::op::{Message, SendMsg};
use socket2::{Domain, SockAddr, Type};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// A socket for datagrams between processes of this machine: none is lost, and a sender waits
/// while its receiver's queue is full.
///
/// Receiving works as with a [`UdpSocket`](super::UdpSocket). A datagram that is longer than the
/// core's [buffers](crate::Builder::datagram_buffers), 64 KiB unless told, is cut off, which
/// [`recv_datagram`](UnixDatagram::recv_datagram) shows; see
/// [`set_datagram_len_max`](UnixDatagram::set_datagram_len_max).
///
/// ```no_run
/// use corering::net::UnixDatagram;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let socket = UnixDatagram::bind("/run/log.sock")?;
///         let mut line = [0; 1024];
///         loop {
///             let (n, from) = socket.recv_from(&mut line).await?;
///             println!("{n} bytes from {from:?}");
///         }
///     })
/// }
/// ```
pub struct UnixDatagram {
    inbox: Inbox,
}

impl UnixDatagram {
    /// A socket with this path, which is made, and stays behind when the socket is dropped.
    ///
    /// # Errors
    /// `AddrInUse` if the path exists; `NotFound` or `PermissionDenied` for its directory;
    /// `InvalidInput` for what is no path of a socket: longer than 107 bytes, empty, with a NUL.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_to(&of_path(path.as_ref())?)
    }

    /// A socket with this address, which may be an abstract name
    /// (`SocketAddr::from_abstract_name` of `std::os::linux::net::SocketAddrExt`).
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_to(&of_address(address)?)
    }

    fn bind_to(address: &SockAddr) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        sys::bind(socket.fd(), address)?;
        Ok(socket)
    }

    /// A socket without a name: it can send, but nobody can answer.
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn unbound() -> io::Result<UnixDatagram> {
        let driver = Driver::current();
        let fd = sys::socket(Domain::UNIX, Type::DGRAM, None)?;
        Ok(UnixDatagram::from_fd(Fd::from_number(fd, &driver)))
    }

    /// Two sockets that are connected with each other (`socketpair(2)`).
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptors left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let driver = Driver::current();
        let [a, b] = sys::unix_pair(Type::DGRAM)?;
        let socket = |fd| UnixDatagram::from_fd(Fd::from_number(fd, &driver));
        Ok((socket(a), socket(b)))
    }

    /// Connects the socket with the one of this path (`IORING_OP_CONNECT`):
    /// [`send`](UnixDatagram::send) goes there, and datagrams of others are refused.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `ConnectionRefused`; `InvalidInput` for what is no path of
    /// a socket.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the socket is connected or not.
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_to(of_path(path.as_ref())?).await
    }

    /// Connects the socket with the one of this address.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the socket is connected or not.
    pub async fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.connect_to(of_address(address)?).await
    }

    async fn connect_to(&self, address: SockAddr) -> io::Result<()> {
        let connected = connect::connect(self.fd().clone(), address).await;
        connected.map(drop)
    }

    /// Sends a datagram to the socket with this path (`IORING_OP_SENDMSG`); waits while its queue
    /// is full.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `ConnectionRefused` if nobody has the path any more; a
    /// datagram that is too long (`EMSGSIZE`, see
    /// [`set_send_buffer_size`](UnixDatagram::set_send_buffer_size)).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the datagram is sent wholly or not at all.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let to = of_path(path.as_ref())?;
        send(self.fd(), buf.to_vec(), Some(to)).await.0
    }

    /// Sends a datagram from `buf` itself, without a copy, to the socket with this address.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the datagram is sent wholly or not at all; the buffer does not
    /// come back.
    pub async fn send_buf_to<B: IoBuf>(&self, buf: B, to: &SocketAddr) -> BufResult<usize, B> {
        match of_address(to) {
            Ok(to) => send(self.fd(), buf, Some(to)).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Sends a datagram with open descriptors (`SCM_RIGHTS`) to the socket with which this one is
    /// connected. The peer gets descriptors of its own: these may be closed at once.
    ///
    /// # Errors
    /// `InvalidInput` for more than 253 descriptors; `EMFILE` if they cannot be duplicated;
    /// `Unsupported` in a simulation; as [`send`](UnixDatagram::send).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the datagram is sent wholly or not at all.
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let fds = to_pass(self.fd(), fds)?;
        let op = SendMsg::new(self.fd().clone(), bytes.to_vec(), None).passing(fds);
        Submit::new(self.fd().driver(), op).await.0
    }

    /// Receives the next datagram, and the descriptors that came with it, which are
    /// close-on-exec.
    ///
    /// From the first call on, the socket receives each datagram into memory of its own. Of those
    /// that came before, or are taken by another method, the descriptors are closed.
    ///
    /// # Errors
    /// As [`recv_from`](UnixDatagram::recv_from). An error of the kind `Other` if descriptors were
    /// lost: because this process had no room for them (`RLIMIT_NOFILE`), or because they came
    /// before the first call. The datagram is returned by the next call.
    ///
    /// # Cancel safety
    /// Safe: the datagram and its descriptors are returned by the next call.
    pub async fn recv_with_fds(&self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let (message, fds) = self.inbox.next_with_fds().await?;
        Ok((copy_to(buf, &message.bytes), fds))
    }

    /// Which process has made the other end of a [pair](UnixDatagram::pair) (`SO_PEERCRED`). In a
    /// simulation that is process 1 of root: the host's only one.
    ///
    /// # Errors
    /// What `getsockopt(2)` says; nothing is to be expected.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        sys::peer_cred(self.fd()).map(UCred::new)
    }

    /// Shuts down receiving, sending or both (`shutdown(2)`). A socket that receives no more
    /// returns datagrams without bytes.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        sys::shutdown(self.fd(), how)
    }

    datagram_methods!(std::os::unix::net::UnixDatagram, SocketAddr, unix_addr, 0);
    socket_options!(SocketAddr, unix_addr);
}

socket_traits!(UnixDatagram, peer_addr);
