//! The Unix stream.

use super::connect;
use super::datagram::{copy_to, into_owned, to_pass};
use super::options::{socket_options, socket_traits};
use super::owned_read::ReadOwned;
use super::sender::ZeroCopyBuf;
use super::split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf, halves, owned_halves};
use super::stream::{Halves, IntoStdError, quiet, read_exact, stream_methods, unwrap, write_all};
use super::unix_addr::{of_address, of_path, unix_addr};
use crate::buf::{BufResult, IoBuf, IoBufMut};
use crate::driver::Driver;
use crate::driver::buf_ring::RecvBuf;
use crate::driver::fd::Fd;
use crate::driver::sys;
use socket2::{Domain, SockAddr, Type};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// A connection between two processes of this machine.
///
/// It has all the faces of a [`TcpStream`](super::TcpStream), see [the module](super), and it can
/// carry open descriptors. What was written is sent even if the stream is dropped right after, as
/// long as the peer has its end open.
///
/// ```no_run
/// use corering::net::UnixStream;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let mut stream = UnixStream::connect("/run/service.sock").await?;
///         stream.write_all(b"ping").await?;
///         let mut answer = [0; 4];
///         stream.read_exact(&mut answer).await?;
///         assert_eq!(&answer, b"ping");
///         Ok(())
///     })
/// }
/// ```
pub struct UnixStream {
    pub(super) halves: Box<Halves>,
}

impl UnixStream {
    /// Connects to the listener with this path (`IORING_OP_CONNECT`); waits while the listener's
    /// queue is full.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `ConnectionRefused` if nobody listens there any more;
    /// `InvalidInput` for what is no path of a socket: longer than 107 bytes, empty, with a NUL.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late connection closes itself.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_to(of_path(path.as_ref())?).await
    }

    /// Connects to the listener with this address, which may be an abstract name
    /// (`SocketAddr::from_abstract_name` of `std::os::linux::net::SocketAddrExt`).
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect); `ConnectionRefused` also for an abstract name that
    /// nobody has.
    ///
    /// # Cancel safety
    /// Dropping it leaves nothing behind: the late connection closes itself.
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(of_address(address)?).await
    }

    async fn connect_to(address: SockAddr) -> io::Result<UnixStream> {
        let driver = Driver::current();
        let fd = sys::socket(Domain::UNIX, Type::STREAM, None)?;
        let fd = connect::connect(Fd::from_number(fd, &driver), address).await?;
        Ok(UnixStream::from_fd(fd))
    }

    /// Two streams that are connected with each other (`socketpair(2)`).
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptors left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let driver = Driver::current();
        let [a, b] = sys::unix_pair(Type::STREAM)?;
        let stream = |fd| UnixStream::from_fd(Fd::from_number(fd, &driver));
        Ok((stream(a), stream(b)))
    }

    /// Sends bytes and, with the first of them, open descriptors (`SCM_RIGHTS`), behind what was
    /// written; says how many bytes the kernel took, which may be fewer than there are. The peer
    /// gets descriptors of its own: these may be closed at once.
    ///
    /// # Errors
    /// `InvalidInput` without any bytes, or for more than 253 descriptors; `EMFILE` if they
    /// cannot be duplicated; `Unsupported` in a simulation; as [`send`](UnixStream::send).
    ///
    /// # Cancel safety
    /// Not safe: as [`send`](UnixStream::send).
    pub async fn send_with_fds(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        if bytes.is_empty() && !fds.is_empty() {
            let what = "descriptors need at least one byte with which they go";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let fds = to_pass(self.fd(), fds)?;
        self.halves.tx.send_with_fds(bytes.to_vec(), fds).await
    }

    /// Reads what there is, at most `buf.len()` bytes, and takes the descriptors that came with
    /// the first of them; 0 at the end of the stream. They are close-on-exec.
    ///
    /// Use it for every read of a stream on which descriptors may come: a read of another kind
    /// leaves them to the kernel, which closes them.
    ///
    /// # Errors
    /// `ConnectionReset` and what else `recvmsg(2)` says. An error of the kind `Other` if this
    /// process had no room for the descriptors (`RLIMIT_NOFILE`): those that came are closed, the
    /// bytes are returned by the next call.
    ///
    /// # Cancel safety
    /// Safe: bytes and descriptors are returned by the next call. If that is a read of another
    /// kind, it returns the bytes, and the descriptors are closed.
    pub async fn recv_with_fds(&mut self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        if buf.is_empty() {
            return Ok((0, Vec::new()));
        }
        let fds = poll_fn(|cx| self.halves.rx.poll_with_fds(cx)).await?;
        let n = copy_to(
            buf,
            self.halves.rx.current_mut().as_deref().unwrap_or_default(),
        );
        self.halves.rx.consume(n);
        Ok((n, into_owned(fds)))
    }

    /// Which process has made the other end, and for whom (`SO_PEERCRED`). In a simulation that is
    /// process 1 of root: the host's only one.
    ///
    /// # Errors
    /// What `getsockopt(2)` says; nothing is to be expected.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        sys::peer_cred(self.fd()).map(UCred::new)
    }

    stream_methods!(std::os::unix::net::UnixStream, SocketAddr, unix_addr);
    socket_options!(SocketAddr, unix_addr);
}

socket_traits!(UnixStream, peer_addr);

/// Which process has made the other end of a socket, as the kernel has noted it then.
///
/// ```no_run
/// # async fn f(stream: corering::net::UnixStream) -> std::io::Result<()> {
/// let peer = stream.peer_cred()?;
/// println!("process {:?} of user {}", peer.pid(), peer.uid());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UCred {
    pid: i32,
    uid: u32,
    gid: u32,
}

impl UCred {
    pub(super) fn new(cred: libc::ucred) -> UCred {
        let libc::ucred { pid, uid, gid } = cred;
        UCred { pid, uid, gid }
    }

    /// The process; `None` for one that cannot be seen from here.
    pub fn pid(&self) -> Option<i32> {
        (self.pid > 0).then_some(self.pid)
    }

    /// Its user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}
