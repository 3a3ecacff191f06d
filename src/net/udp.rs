//! The UDP socket.

use super::addr::{ToSocketAddrs, first_that_works, lookup_host};
use super::connect;
use super::datagram::{Datagram, Inbox, Joined, copy_to, datagram_methods, send};
use super::options::{ip_options, socket_addr, socket_options, socket_traits};
use super::stream::IntoStdError;
use crate::buf::{BufResult, IoBuf};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::driver::sys;
use crate::op::{CONTROL_OF_SEGMENTS, Message, SendMsg};
use socket2::{Domain, Protocol, Type};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A UDP socket.
///
/// Receiving keeps one multishot receive with the kernel, into the core's shared buffers: a
/// datagram that has come costs no system call, and dropping a receive loses none. All methods
/// take `&self`, so that one task may receive while another one sends.
///
/// ```no_run
/// use corering::net::UdpSocket;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let socket = UdpSocket::bind("127.0.0.1:0").await?;
///         socket.send_to(b"ping", "127.0.0.1:7000").await?;
///         let mut answer = [0; 1500];
///         let (n, from) = socket.recv_from(&mut answer).await?;
///         println!("{n} bytes from {from}");
///         Ok(())
///     })
/// }
/// ```
pub struct UdpSocket {
    inbox: Inbox,
}

impl UdpSocket {
    /// A socket with this address; port 0 lets the kernel pick one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`; what the resolver says.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_that_works(address, |address| async move { bind(address, false) }).await
    }

    /// A socket that shares its address with others that do the same (`SO_REUSEPORT`), such as
    /// those of the other cores: the kernel spreads the datagrams among them, by their senders.
    /// Datagrams to a multicast group reach each of them.
    ///
    /// # Errors
    /// As [`bind`](UdpSocket::bind); `AddrInUse` also where one of the others did not ask for it.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind_reuse_port(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_that_works(address, |address| async move { bind(address, true) }).await
    }

    /// Connects the socket (`IORING_OP_CONNECT`): [`send`](UdpSocket::send) goes there, and
    /// datagrams of others are not received any more; those that came before are.
    ///
    /// # Errors
    /// What the resolver says, and `connect(2)`: `NetworkUnreachable`. That nobody listens there
    /// is not known before something was sent.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the socket is connected or not.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        let attempt = |address: SocketAddr| connect::connect(self.fd().clone(), address.into());
        first_that_works(address, attempt).await.map(drop)
    }

    /// Sends a datagram to this address (`IORING_OP_SENDMSG`). Of several addresses of a name,
    /// the first is used.
    ///
    /// # Errors
    /// A datagram that is too long (`EMSGSIZE`), `PermissionDenied` for a broadcast address
    /// without [`set_broadcast`](UdpSocket::set_broadcast), `NetworkUnreachable` and what else
    /// `sendmsg(2)` says; what the resolver says.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the datagram is sent wholly or not at all.
    pub async fn send_to(&self, buf: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(to) = lookup_host(to).await?.into_iter().next() else {
            let what = "the list of addresses is empty";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        self.send_buf_to(buf.to_vec(), to).await.0
    }

    /// Sends a datagram from `buf` itself, without a copy.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the datagram is sent wholly or not at all; the buffer does not
    /// come back.
    pub async fn send_buf_to<B: IoBuf>(&self, buf: B, to: SocketAddr) -> BufResult<usize, B> {
        send(self.fd(), buf, Some(to.into())).await
    }

    /// Sends `buf` as datagrams of `segment_len` bytes each, the last of what is left, in one
    /// operation (`UDP_SEGMENT`): at most 64 of them, and 65,507 bytes.
    ///
    /// # Errors
    /// `InvalidInput` for a length of 0, or more segments than the kernel takes; `Unsupported`
    /// where the network device cannot do it (send the segments one by one then); as
    /// [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, all are sent or none; the buffer does not come back.
    pub async fn send_segments_to<B: IoBuf>(
        &self,
        buf: B,
        segment_len: u16,
        to: SocketAddr,
    ) -> BufResult<usize, B> {
        self.send_in_segments(buf, segment_len, Some(to)).await
    }

    /// As [`send_segments_to`](UdpSocket::send_segments_to), to the address to which the socket is
    /// connected.
    ///
    /// # Errors
    /// As there, and [`send`](UdpSocket::send).
    ///
    /// # Cancel safety
    /// Dropped before it is ready, all are sent or none; the buffer does not come back.
    pub async fn send_segments<B: IoBuf>(&self, buf: B, segment_len: u16) -> BufResult<usize, B> {
        self.send_in_segments(buf, segment_len, None).await
    }

    async fn send_in_segments<B: IoBuf>(
        &self,
        buf: B,
        segment_len: u16,
        to: Option<SocketAddr>,
    ) -> BufResult<usize, B> {
        if segment_len == 0 {
            let what = "segments of 0 bytes: give their length";
            return (Err(io::Error::new(io::ErrorKind::InvalidInput, what)), buf);
        }
        let op = SendMsg::new(self.fd().clone(), buf, to.map(Into::into));
        let driver = self.fd().driver();
        let (result, buf) = Submit::new(driver, op.in_segments(segment_len)).await;
        (result.map_err(why_no_segments), buf)
    }

    /// Whether the kernel joins datagrams of one sender (`UDP_GRO`).
    pub fn gro(&self) -> io::Result<bool> {
        sys::udp_gro(self.fd()).map_err(no_gro)
    }

    /// Sets whether the kernel joins datagrams of one sender that come together and have the same
    /// length: [`recv_datagram`](UdpSocket::recv_datagram) then returns up to 64 KiB of them as
    /// one, with their [length](Datagram::segment_len). The other methods return them one by one.
    ///
    /// # Errors
    /// `Unsupported` where the kernel has no `UDP_GRO`.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        sys::set_udp_gro(self.fd(), on).map_err(no_gro)
    }

    /// How many datagrams the kernel had to drop so far, because its buffer for this socket was
    /// full (`SO_MEMINFO`): read faster, or
    /// [enlarge it](UdpSocket::set_recv_buffer_size).
    pub fn dropped(&self) -> io::Result<u32> {
        sys::dropped_datagrams(self.fd())
    }

    datagram_methods!(
        std::net::UdpSocket,
        SocketAddr,
        socket_addr,
        CONTROL_OF_SEGMENTS
    );
    socket_options!(SocketAddr, socket_addr);
    ip_options!();

    /// Whether several sockets may have this address (`SO_REUSEPORT`).
    pub fn reuse_port(&self) -> io::Result<bool> {
        sys::sock(self.fd()).reuse_port()
    }

    /// Sets whether further sockets may have this address; see
    /// [`bind_reuse_port`](UdpSocket::bind_reuse_port).
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        sys::sock(self.fd()).set_reuse_port(reuse)
    }

    /// Whether datagrams may go to a broadcast address (`SO_BROADCAST`).
    pub fn broadcast(&self) -> io::Result<bool> {
        sys::sock(self.fd()).broadcast()
    }

    /// Sets whether datagrams may go to a broadcast address.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        sys::sock(self.fd()).set_broadcast(on)
    }

    /// The hop limit of outgoing IPv6 packets (`IPV6_UNICAST_HOPS`).
    pub fn hops_v6(&self) -> io::Result<u32> {
        sys::sock(self.fd()).unicast_hops_v6()
    }

    /// Sets the hop limit of outgoing IPv6 packets.
    pub fn set_hops_v6(&self, hops: u32) -> io::Result<()> {
        sys::sock(self.fd()).set_unicast_hops_v6(hops)
    }

    /// Joins a multicast group on the interface with this address, or on one that the kernel
    /// picks (`0.0.0.0`) (`IP_ADD_MEMBERSHIP`).
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        sys::set_member_v4(self.fd(), group, interface, true)
    }

    /// Leaves a multicast group that was joined so (`IP_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        sys::set_member_v4(self.fd(), group, interface, false)
    }

    /// Joins a multicast group on the interface with this index, or on one that the kernel picks
    /// (0) (`IPV6_ADD_MEMBERSHIP`).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        sys::set_member_v6(self.fd(), group, interface, true)
    }

    /// Leaves a multicast group that was joined so (`IPV6_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        sys::set_member_v6(self.fd(), group, interface, false)
    }

    /// Whether what is sent to a multicast group comes back to this machine
    /// (`IP_MULTICAST_LOOP`).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        sys::sock(self.fd()).multicast_loop_v4()
    }

    /// Sets whether what is sent to a multicast group comes back to this machine.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        sys::sock(self.fd()).set_multicast_loop_v4(on)
    }

    /// As [`multicast_loop_v4`](UdpSocket::multicast_loop_v4), for IPv6 (`IPV6_MULTICAST_LOOP`).
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        sys::sock(self.fd()).multicast_loop_v6()
    }

    /// As [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4), for IPv6.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        sys::sock(self.fd()).set_multicast_loop_v6(on)
    }

    /// How many routers what is sent to a multicast group may pass (`IP_MULTICAST_TTL`).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        sys::sock(self.fd()).multicast_ttl_v4()
    }

    /// Sets how many routers what is sent to a multicast group may pass; 1 by default.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        sys::sock(self.fd()).set_multicast_ttl_v4(ttl)
    }

    /// As [`multicast_ttl_v4`](UdpSocket::multicast_ttl_v4), for IPv6 (`IPV6_MULTICAST_HOPS`).
    pub fn multicast_hops_v6(&self) -> io::Result<u32> {
        sys::sock(self.fd()).multicast_hops_v6()
    }

    /// As [`set_multicast_ttl_v4`](UdpSocket::set_multicast_ttl_v4), for IPv6.
    pub fn set_multicast_hops_v6(&self, hops: u32) -> io::Result<()> {
        sys::sock(self.fd()).set_multicast_hops_v6(hops)
    }

    /// Sends to multicast groups through the interface with this address (`IP_MULTICAST_IF`).
    pub fn set_multicast_if_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        sys::set_multicast_if_v4(self.fd(), interface)
    }

    /// Sends to multicast groups through the interface with this index (`IPV6_MULTICAST_IF`).
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        sys::set_multicast_if_v6(self.fd(), interface)
    }
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<UdpSocket> {
    let driver = Driver::current();
    let domain = Domain::for_address(address);
    let fd = sys::socket(domain, Type::DGRAM, Some(Protocol::UDP))?;
    let fd = Fd::from_number(fd, &driver);
    if reuse_port {
        sys::sock(&fd).set_reuse_port(true)?;
    }
    sys::bind(&fd, &address.into())?;
    Ok(UdpSocket::from_fd(fd))
}

fn no_gro(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => {
            let what = "this kernel does not join datagrams (UDP_GRO): do without it";
            io::Error::new(io::ErrorKind::Unsupported, what)
        }
        _ => error,
    }
}

fn why_no_segments(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EIO | libc::EOPNOTSUPP) => {
            let what = "the network device does not cut segments (UDP_SEGMENT): send them one by \
                        one";
            io::Error::new(io::ErrorKind::Unsupported, what)
        }
        _ => error,
    }
}

socket_traits!(UdpSocket, peer_addr);
