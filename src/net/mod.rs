//! Sockets: TCP, UDP and Unix sockets, and the addresses they speak of.
//!
//! A stream, [`TcpStream`] or [`UnixStream`], has three faces, with no wrapper type between them:
//! - [`recv`](TcpStream::recv) and [`send`](TcpStream::send): buffers that the kernel filled, or
//!   takes, as they are; nothing is copied in user space;
//! - [`read`](TcpStream::read) and [`write`](TcpStream::write) on `&mut [u8]` and `&[u8]`, and the
//!   traits `AsyncRead`, `AsyncBufRead` and `AsyncWrite` of `futures` (always), `tokio::io` and
//!   `hyper::rt` (by feature): safe to drop at any time, since no operation in flight ever points
//!   into the caller's memory;
//! - [`read_owned`](TcpStream::read_owned): straight from the kernel into the caller's own buffer,
//!   for bulk data.
//!
//! The stream owns its operations, a future only borrows the result: dropping a `recv` or an
//! `accept` loses nothing, the next call returns it. So it is with datagrams: a [`UdpSocket`] or a
//! [`UnixDatagram`] owns its receive, and a datagram whose `recv_from` was dropped is returned by
//! the next one.

mod acceptor;
mod addr;
mod backoff;
mod connect;
mod datagram;
#[cfg(feature = "http")]
mod file_part;
mod listener;
mod options;
mod owned_read;
mod race;
mod receiver;
mod sender;
mod socket;
mod split;
mod stream;
mod tcp;
mod traits;
mod udp;
mod unix_addr;
mod unix_datagram;
mod unix_listener;
mod unix_stream;
mod waiters;

pub use crate::driver::buf_ring::RecvBuf;
pub use acceptor::{Accept, Incoming};
pub use addr::{ToSocketAddrs, lookup_host};
pub use datagram::Datagram;
#[cfg(feature = "http")]
pub(crate) use file_part::Waiting;
pub use listener::TcpListener;
pub use owned_read::ReadOwned;
pub use sender::{Torn, ZeroCopyBuf};
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::IntoStdError;
pub use tcp::TcpStream;
pub use udp::UdpSocket;
pub use unix_datagram::UnixDatagram;
pub use unix_listener::UnixListener;
pub use unix_stream::{UCred, UnixStream};
