//! The Unix listener.

use super::acceptor::{Accept, Acceptor, BACKLOG, Incoming, listener_methods};
use super::options::socket_traits;
use super::unix_addr::{of_address, of_path, unix_addr, unnamed};
use super::unix_stream::UnixStream;
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::sys;
use socket2::{Domain, SockAddr, Type};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// A Unix socket that takes connections.
///
/// As a [`TcpListener`](super::TcpListener) it keeps one multishot accept with the kernel, and
/// waits when descriptors run out. Dropping it leaves its path behind: remove that before the
/// next `bind`.
///
/// ```no_run
/// use corering::net::UnixListener;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let listener = UnixListener::bind("/run/service.sock")?;
///         loop {
///             let (mut stream, _) = listener.accept().await?;
///             println!("hello {}", stream.peer_cred()?.uid());
///             corering::spawn(async move { stream.write_all(b"hello\n").await });
///         }
///     })
/// }
/// ```
pub struct UnixListener {
    acceptor: Acceptor,
}

impl UnixListener {
    /// Listens on a path, which is made.
    ///
    /// # Errors
    /// `AddrInUse` if the path exists, even if nobody listens there any more; `NotFound` or
    /// `PermissionDenied` for its directory; `InvalidInput` for what is no path of a socket:
    /// longer than 107 bytes, empty, with a NUL.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_path(path.as_ref())?)
    }

    /// Listens on this address, which may be an abstract name
    /// (`SocketAddr::from_abstract_name` of `std::os::linux::net::SocketAddrExt`): one that is
    /// gone with its listener.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&of_address(address)?)
    }

    fn bind_to(address: &SockAddr) -> io::Result<UnixListener> {
        let driver = Driver::current();
        let fd = sys::socket(Domain::UNIX, Type::STREAM, None)?;
        let fd = Fd::from_number(fd, &driver);
        sys::bind(&fd, address)?;
        sys::listen(&fd, BACKLOG as i32)?;
        Ok(UnixListener::from_fd(fd))
    }

    listener_methods!(
        UnixStream,
        std::os::unix::net::UnixListener,
        SocketAddr,
        unix_addr
    );
}

/// The peer's address may be gone together with the peer.
fn with_peer(fd: Fd) -> (UnixStream, SocketAddr) {
    let peer = sys::peer_addr(&fd).and_then(unix_addr);
    let peer = peer.or_else(|_| unnamed());
    let peer = peer.expect("an address without a name can always be made");
    (UnixStream::from_fd(fd), peer)
}

socket_traits!(UnixListener);
