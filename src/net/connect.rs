//! Connecting, with and without a limit that the kernel keeps.

use super::addr::{Question, ToSocketAddrs, lookup_host};
use super::race::{interleave, race};
use super::socket::TcpSocket;
use super::tcp::TcpStream;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::op::{Connect, Deadline};
use socket2::SockAddr;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The descriptor comes back once it is connected.
pub(super) async fn connect(fd: Fd, address: SockAddr) -> io::Result<Fd> {
    let driver = fd.driver().clone();
    Submit::new(&driver, Connect::new(fd, address)).await
}

pub(super) async fn to_any(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    race(in_turn(host).await?, |address| async move {
        TcpSocket::for_address(&address)?.connect(address).await
    })
    .await
}

/// The limit is for each address; the kernel starts its clock with the attempt.
pub(super) async fn to_any_within(
    host: impl ToSocketAddrs,
    limit: Duration,
) -> io::Result<TcpStream> {
    race(in_turn(host).await?, |address| async move {
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

/// In which order the addresses are tried: those of a name as RFC 8305 has it, a list as it is.
async fn in_turn(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    match host.to_question()? {
        Question::Known(addresses) => Ok(addresses),
        Question::Name(name, port) => Ok(interleave(lookup_host((name, port)).await?)),
    }
}
