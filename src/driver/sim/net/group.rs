//! Multicast: which hosts listen to a group on which of their networks, and where a datagram to
//! one goes.
//!
//! A host has two networks, as far as groups are concerned: the loopback, and the one on which all
//! other hosts are. As on Linux it is the host that listens: once one of its sockets has joined,
//! every socket of the group's port hears the group.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::udp::Parcel;
use super::{Body, Errno, Event, HostId, Net, SocketId};

/// One of a host's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    Network,
    Loopback,
}

/// How a program names one of its host's networks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interface {
    /// By an address that the host has there; `0.0.0.0` leaves the choice to the kernel.
    Address(Ipv4Addr),
    /// By its index: 1 is the loopback, 2 the network; 0 leaves the choice to the kernel.
    Index(u32),
}

const LOOPBACK_INDEX: u32 = 1;
const NETWORK_INDEX: u32 = 2;

impl Net {
    /// The network with this name, `missing` if there is none; `None` for the kernel's choice.
    fn wire_of(
        &self,
        id: SocketId,
        interface: Interface,
        missing: Errno,
    ) -> Result<Option<Wire>, Errno> {
        let host = self.get(id)?.host;
        let wire = match interface {
            Interface::Address(address) if address.is_unspecified() => return Ok(None),
            Interface::Address(address) if address.is_loopback() => Wire::Loopback,
            Interface::Address(address)
                if self.addresses.get(&IpAddr::V4(address)) == Some(&host) =>
            {
                Wire::Network
            }
            Interface::Index(0) => return Ok(None),
            Interface::Index(LOOPBACK_INDEX) => Wire::Loopback,
            Interface::Index(NETWORK_INDEX) => Wire::Network,
            Interface::Address(_) | Interface::Index(_) => return Err(missing),
        };
        Ok(Some(wire))
    }

    /// `IP_ADD_MEMBERSHIP`: the host listens to the group there, until it is left or closed.
    pub(crate) fn join(
        &mut self,
        id: SocketId,
        group: IpAddr,
        interface: Interface,
    ) -> Result<(), Errno> {
        if !group.is_multicast() {
            return Err(libc::EINVAL);
        }
        let wire = self.wire_of(id, interface, libc::ENODEV)?;
        let place = (group, wire.unwrap_or(Wire::Network));
        let is_new = self.udp(id)?.groups.insert(place);
        is_new.then_some(()).ok_or(libc::EADDRINUSE)
    }

    /// `IP_DROP_MEMBERSHIP`.
    pub(crate) fn leave(
        &mut self,
        id: SocketId,
        group: IpAddr,
        interface: Interface,
    ) -> Result<(), Errno> {
        let wires = match self.wire_of(id, interface, libc::ENODEV)? {
            Some(wire) => vec![wire],
            None => vec![Wire::Network, Wire::Loopback],
        };
        let groups = &mut self.udp(id)?.groups;
        let left = wires.into_iter().any(|wire| groups.remove(&(group, wire)));
        left.then_some(()).ok_or(libc::EADDRNOTAVAIL)
    }

    /// `IP_MULTICAST_IF`: where what this socket sends to groups goes.
    pub(crate) fn set_group_interface(
        &mut self,
        id: SocketId,
        interface: Interface,
    ) -> Result<(), Errno> {
        let missing = match interface {
            Interface::Address(_) => libc::EADDRNOTAVAIL,
            Interface::Index(_) => libc::ENODEV,
        };
        let wire = self.wire_of(id, interface, missing)?;
        self.udp(id)?.group_wire = wire;
        Ok(())
    }

    /// Whether a host listens to a group on one of its networks.
    pub(super) fn listens(&self, host: HostId, group: IpAddr, wire: Wire) -> bool {
        self.listeners(group, wire).any(|listener| listener == host)
    }

    fn listeners(&self, group: IpAddr, wire: Wire) -> impl Iterator<Item = HostId> {
        let joined = move |body: &Body| match body {
            Body::Udp(udp) => udp.groups.contains(&(group, wire)),
            Body::Tcp(_) | Body::Unix(_) => false,
        };
        let members = self
            .sockets
            .values()
            .filter(move |socket| joined(&socket.body));
        members.map(|socket| socket.host)
    }

    /// One datagram to each host that listens.
    pub(super) fn send_to_group(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let socket = self.get(id)?;
        let (host, options) = (socket.host, socket.options);
        let udp = self.udp(id)?;
        let bound = udp.local.map(|local| local.ip());
        let bound = bound.filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
        let wire = udp.group_wire.unwrap_or(match bound {
            Some(ip) if ip.is_loopback() => Wire::Loopback,
            _ => Wire::Network,
        });
        let source = match (bound, wire) {
            (Some(ip), _) => Some(ip),
            (None, Wire::Loopback) => Some(loopback_like(to.ip())),
            (None, Wire::Network) => self.source_like(host, to.ip()),
        };
        let source = source.ok_or(libc::ENETUNREACH)?;
        let port = self.autobind(id)?.port();
        self.may_send(id)?;
        let reaches = |other: HostId| match (wire, other == host) {
            (Wire::Loopback, is_own) => is_own,
            (Wire::Network, true) => options.multicast_loop,
            (Wire::Network, false) => options.multicast_hops > 0,
        };
        let hosts: BTreeSet<HostId> = self
            .listeners(to.ip(), wire)
            .filter(|&other| reaches(other))
            .collect();
        for listener in hosts {
            self.tallies.udp.accepted += 1;
            let parcel = Parcel {
                bytes: bytes.to_vec(),
                sender: id,
                from: SocketAddr::new(source, port),
                to,
                hosts: (host, listener),
                wire,
            };
            self.schedule(self.now, Event::Depart(parcel));
        }
        Ok(bytes.len())
    }
}

fn loopback_like(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
