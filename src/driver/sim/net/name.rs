//! Names of sockets: from and to the kernel's address structures.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;

use socket2::SockAddr;

use super::Errno;

/// The name of an `AF_UNIX` socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UnixName {
    Unnamed,
    Path(Vec<u8>),
    /// Without the zero byte in front.
    Abstract(Vec<u8>),
}

/// What an address means to an internet socket of this domain. IPv4 in IPv6's clothes becomes
/// IPv4 here, and [`ip_out`] puts the clothes on again.
pub(super) fn ip_in(domain: i32, address: &SockAddr) -> Result<SocketAddr, Errno> {
    match (domain, address.as_socket()) {
        (libc::AF_INET, Some(address @ SocketAddr::V4(_))) => Ok(address),
        (libc::AF_INET6, Some(SocketAddr::V6(address))) => {
            Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        // The kernel looks at the length first, and an IPv4 address is too short.
        (libc::AF_INET6, Some(SocketAddr::V4(_))) => Err(libc::EINVAL),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

/// How a socket of this domain shows an address.
pub(super) fn ip_out(domain: i32, address: SocketAddr) -> SockAddr {
    match address {
        SocketAddr::V4(address) if domain == libc::AF_INET6 => {
            let mapped = address.ip().to_ipv6_mapped();
            SocketAddrV6::new(mapped, address.port(), 0, 0).into()
        }
        address => address.into(),
    }
}

/// The wildcard address of a domain.
pub(super) fn wildcard(domain: i32) -> IpAddr {
    if domain == libc::AF_INET6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// The loopback address of the same family.
pub(super) fn loopback_like(address: IpAddr) -> IpAddr {
    if address.is_ipv6() {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}

pub(super) fn unix_in(address: &SockAddr) -> Result<UnixName, Errno> {
    if let Some(path) = address.as_pathname() {
        return Ok(UnixName::Path(path.as_os_str().as_bytes().to_vec()));
    }
    if let Some(name) = address.as_abstract_namespace() {
        return Ok(UnixName::Abstract(name.to_vec()));
    }
    if address.is_unnamed() {
        return Ok(UnixName::Unnamed);
    }
    Err(libc::EINVAL)
}

pub(super) fn unix_out(name: &UnixName) -> SockAddr {
    let bytes = match name {
        UnixName::Unnamed => Vec::new(),
        UnixName::Path(path) => path.clone(),
        UnixName::Abstract(name) => [&[0], name.as_slice()].concat(),
    };
    SockAddr::unix(OsStr::from_bytes(&bytes))
        .expect("a name that came in as an address fits in one")
}
