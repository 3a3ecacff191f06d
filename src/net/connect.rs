//! Connecting, with and without a limit that the kernel keeps.

use super::addr::{ToSocketAddrs, first_that_works};
use super::socket::TcpSocket;
use super::tcp::TcpStream;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::op::{Connect, Deadline};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) async fn connect(fd: Fd, address: SocketAddr) -> io::Result<TcpStream> {
    let driver = fd.driver().clone();
    let fd = Submit::new(&driver, Connect::new(fd, address.into())).await?;
    Ok(TcpStream::from_fd(fd))
}

pub(super) async fn to_any(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    first_that_works(host, |address| async move {
        connect(TcpSocket::for_address(&address)?.into_fd(), address).await
    })
    .await
}

/// The limit is for each address; the kernel starts its clock with the attempt.
pub(super) async fn to_any_within(
    host: impl ToSocketAddrs,
    limit: Duration,
) -> io::Result<TcpStream> {
    first_that_works(host, |address| async move {
        let fd = TcpSocket::for_address(&address)?.into_fd();
        let driver = fd.driver().clone();
        let op = Deadline::new(Connect::new(fd, address.into()), limit);
        match Submit::new(&driver, op).await {
            (_, true) => {
                let what = format!("no connection to {address} within {limit:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, what))
            }
            (result, false) => result.map(TcpStream::from_fd),
        }
    })
    .await
}
