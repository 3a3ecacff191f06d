//! Socket options, written once for streams and for sockets that are not connected yet.
//!
//! Every one is a plain `getsockopt(2)` or `setsockopt(2)`, which answers at once.

use socket2::SockAddr;
use std::io;
use std::net::SocketAddr;

/// The address of an internet socket.
pub(super) fn socket_addr(address: SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is no internet socket: no such address",
        )
    })
}

/// What only TCP has, before and after it is connected; `self.fd()` is the socket.
macro_rules! tcp_options {
    () => {
        /// Whether small segments are sent at once (`TCP_NODELAY`).
        pub fn nodelay(&self) -> io::Result<bool> {
            sys::sock(self.fd()).tcp_nodelay()
        }

        /// Sets whether small segments are sent at once, instead of waiting for more or for the
        /// peer's acknowledgement. Off by default, as the kernel has it.
        pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
            sys::sock(self.fd()).set_tcp_nodelay(nodelay)
        }

        /// How long a close waits for unsent data (`SO_LINGER`).
        pub fn linger(&self) -> io::Result<Option<Duration>> {
            sys::sock(self.fd()).linger()
        }

        /// Sets how long a close waits for unsent data, in whole seconds. The wait blocks the
        /// core; zero resets the connection at the close instead.
        pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
            sys::sock(self.fd()).set_linger(linger)
        }

        /// Resets the connection when it is closed.
        pub fn set_zero_linger(&self) -> io::Result<()> {
            self.set_linger(Some(Duration::ZERO))
        }

        /// Whether an idle connection is probed (`SO_KEEPALIVE`).
        pub fn keepalive(&self) -> io::Result<bool> {
            sys::sock(self.fd()).keepalive()
        }

        /// Sets whether an idle connection is probed, at the system's own intervals.
        pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
            sys::sock(self.fd()).set_keepalive(keepalive)
        }

        /// Probes an idle connection after `idle`, every `interval`, and gives it up after
        /// `retries` probes without an answer.
        pub fn set_keepalive_params(
            &self,
            idle: Duration,
            interval: Duration,
            retries: u32,
        ) -> io::Result<()> {
            let params = socket2::TcpKeepalive::new();
            let params = params
                .with_time(idle)
                .with_interval(interval)
                .with_retries(retries);
            sys::sock(self.fd()).set_tcp_keepalive(&params)
        }

        /// How long sent data may stay without an acknowledgement (`TCP_USER_TIMEOUT`).
        pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
            sys::sock(self.fd()).tcp_user_timeout()
        }

        /// Sets how long sent data may stay without an acknowledgement before the connection is
        /// given up.
        pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            sys::sock(self.fd()).set_tcp_user_timeout(timeout)
        }
    };
}

/// The options and the own address of every socket; `self.fd()` is the socket. The type of
/// addresses, and how an address is found.
macro_rules! socket_options {
    ($address:ty, $to_address:path) => {
        /// The socket's own address.
        pub fn local_addr(&self) -> io::Result<$address> {
            $to_address(sys::local_addr(self.fd())?)
        }

        /// The size of the kernel's send buffer, in bytes (`SO_SNDBUF`; it doubles what was set).
        pub fn send_buffer_size(&self) -> io::Result<u32> {
            sys::sock(self.fd())
                .send_buffer_size()
                .map(|size| size as u32)
        }

        /// Sets the size of the kernel's send buffer, in bytes.
        pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
            sys::sock(self.fd()).set_send_buffer_size(bytes as usize)
        }

        /// The size of the kernel's receive buffer, in bytes (`SO_RCVBUF`; it doubles what was
        /// set).
        pub fn recv_buffer_size(&self) -> io::Result<u32> {
            sys::sock(self.fd())
                .recv_buffer_size()
                .map(|size| size as u32)
        }

        /// Sets the size of the kernel's receive buffer, in bytes.
        pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
            sys::sock(self.fd()).set_recv_buffer_size(bytes as usize)
        }

        /// The error that the socket has stored, and takes it away (`SO_ERROR`).
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            sys::take_error(self.fd())
        }
    };
}

/// The options of internet sockets; `self.fd()` is the socket.
macro_rules! ip_options {
    () => {
        /// The time to live of outgoing IPv4 packets (`IP_TTL`).
        pub fn ttl(&self) -> io::Result<u32> {
            sys::sock(self.fd()).ttl_v4()
        }

        /// Sets the time to live of outgoing IPv4 packets.
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            sys::sock(self.fd()).set_ttl_v4(ttl)
        }

        /// The type of service of outgoing IPv4 packets (`IP_TOS`).
        pub fn tos_v4(&self) -> io::Result<u32> {
            sys::sock(self.fd()).tos_v4()
        }

        /// Sets the type of service of outgoing IPv4 packets.
        pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
            sys::sock(self.fd()).set_tos_v4(tos)
        }

        /// The traffic class of outgoing IPv6 packets (`IPV6_TCLASS`).
        pub fn tclass_v6(&self) -> io::Result<u32> {
            sys::sock(self.fd()).tclass_v6()
        }

        /// Sets the traffic class of outgoing IPv6 packets.
        pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
            sys::sock(self.fd()).set_tclass_v6(tclass)
        }

        /// The device to which the socket is bound (`SO_BINDTODEVICE`).
        pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
            sys::sock(self.fd()).device()
        }

        /// Binds the socket to a device, such as `eth0`; `None` frees it.
        pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
            sys::sock(self.fd()).bind_device(interface)
        }
    };
}

/// The traits of a socket with the methods `fd` and `local_addr`, and of a connected one the name
/// of the method that says to whom.
macro_rules! socket_traits {
    ($socket:ident $(, $peer_addr:ident)?) => {
        impl AsFd for $socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd().as_fd()
            }
        }

        impl AsRawFd for $socket {
            fn as_raw_fd(&self) -> RawFd {
                self.fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($socket));
                if let Ok(address) = self.local_addr() {
                    debug.field("addr", &address);
                }
                $(if let Ok(peer) = self.$peer_addr() {
                    debug.field("peer", &peer);
                })?
                debug.field("fd", &self.as_raw_fd()).finish()
            }
        }
    };
}

pub(super) use {ip_options, socket_options, socket_traits, tcp_options};
