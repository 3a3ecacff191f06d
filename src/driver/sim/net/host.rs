//! Hosts: who has which address, who has which port, and which way it goes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;

use super::name::{self, loopback_like};
use super::tcp::State;
use super::{Body, Errno, Net, SocketId};

/// A host, by the order of [`Net::add_host`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(super) usize);

#[derive(Debug)]
pub(super) struct Host {
    pub(super) up: bool,
    addresses: Vec<IpAddr>,
    /// All sockets with a port, accepted connections too.
    ports: BTreeMap<(Transport, u16), Vec<SocketId>>,
    /// Where the search for a free port begins.
    next_port: u16,
    /// Paths at which a socket was bound. They outlive the socket, as files do.
    pub(super) paths: BTreeMap<Vec<u8>, SocketId>,
    pub(super) abstracts: BTreeMap<Vec<u8>, SocketId>,
    pub(super) next_autobind: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Where a packet goes, and with which addresses on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) host: HostId,
    pub(super) source: IpAddr,
    pub(super) dest: IpAddr,
}

/// `net.ipv4.ip_local_port_range`.
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

impl Net {
    /// A new host. Besides these addresses it has `127.0.0.1` and `::1` of its own.
    ///
    /// # Panics
    ///
    /// When another host has one of the addresses, or it is no address of a single host.
    pub(crate) fn add_host(&mut self, addresses: Vec<IpAddr>) -> HostId {
        let id = HostId(self.hosts.len());
        for address in &addresses {
            let is_usable =
                !address.is_loopback() && !address.is_unspecified() && !address.is_multicast();
            assert!(
                is_usable,
                "{address} is not an address of one host: choose another"
            );
            let other = self.addresses.insert(address.to_canonical(), id);
            assert!(
                other.is_none(),
                "{address} belongs to another host: choose another"
            );
        }
        self.hosts.push(Host {
            up: true,
            addresses: addresses.iter().map(IpAddr::to_canonical).collect(),
            ports: BTreeMap::new(),
            next_port: EPHEMERAL.0,
            paths: BTreeMap::new(),
            abstracts: BTreeMap::new(),
            next_autobind: 0,
        });
        id
    }

    pub(super) fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0]
    }

    pub(super) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.0]
    }

    /// The way from a host to an address, for a socket that may be bound to a source address.
    pub(super) fn route(
        &self,
        from: HostId,
        bound: Option<IpAddr>,
        to: IpAddr,
    ) -> Result<Route, Errno> {
        let dest = if to.is_unspecified() {
            loopback_like(to)
        } else {
            to
        };
        let bound = bound.filter(|address| !address.is_unspecified());
        if bound.is_some_and(|address| address.is_ipv4() != dest.is_ipv4()) {
            return Err(libc::ENETUNREACH);
        }
        if dest.is_loopback() {
            let source = bound.unwrap_or(loopback_like(dest));
            return Ok(Route {
                host: from,
                source,
                dest,
            });
        }
        let same_family = |address: &&IpAddr| address.is_ipv4() == dest.is_ipv4();
        let own = self.host(from).addresses.iter().find(same_family);
        let Some(host) = self.addresses.get(&dest).copied() else {
            return Err(own.map_or(libc::ENETUNREACH, |_| libc::EHOSTUNREACH));
        };
        if host == from {
            return Ok(Route {
                host,
                source: bound.unwrap_or(dest),
                dest,
            });
        }
        if bound.is_some_and(|address| address.is_loopback()) {
            return Err(libc::EINVAL);
        }
        let source = bound.or(own.copied()).ok_or(libc::ENETUNREACH)?;
        Ok(Route { host, source, dest })
    }

    /// The first address of a host in the family of `like`.
    pub(super) fn source_like(&self, host: HostId, like: IpAddr) -> Option<IpAddr> {
        let addresses = &self.host(host).addresses;
        addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == like.is_ipv4())
    }

    pub(super) fn bind_ip(&mut self, id: SocketId, address: &SockAddr) -> Result<(), Errno> {
        let socket = self.get(id)?;
        let (host, transport) = (socket.host, transport(&socket.body));
        let mut address = name::ip_in(socket.domain, address)?;
        let ip = address.ip();
        let is_group = ip.is_multicast() && transport == Transport::Udp;
        let is_own = self.addresses.get(&ip) == Some(&host);
        if !(ip.is_unspecified() || ip.is_loopback() || is_own || is_group) {
            return Err(libc::EADDRNOTAVAIL);
        }
        if local(&socket.body).is_some() || !is_fresh(&socket.body) {
            return Err(libc::EINVAL);
        }
        if address.port() == 0 {
            address.set_port(self.free_port(host, transport)?);
        } else if self.has_conflict(id, address) {
            return Err(libc::EADDRINUSE);
        }
        self.set_local(id, address);
        Ok(())
    }

    /// Gives a socket without a port one, at the wildcard address of its domain.
    pub(super) fn autobind(&mut self, id: SocketId) -> Result<SocketAddr, Errno> {
        let socket = self.get(id)?;
        if let Some(local) = local(&socket.body) {
            return Ok(local);
        }
        let (host, domain, transport) = (socket.host, socket.domain, transport(&socket.body));
        let address = (name::wildcard(domain), self.free_port(host, transport)?).into();
        self.set_local(id, address);
        Ok(address)
    }

    /// Ports are given out in turn, so that one that was just closed rests for a while.
    fn free_port(&mut self, host: HostId, transport: Transport) -> Result<u16, Errno> {
        let host = self.host_mut(host);
        for _ in EPHEMERAL.0..=EPHEMERAL.1 {
            let port = host.next_port;
            host.next_port = if port == EPHEMERAL.1 {
                EPHEMERAL.0
            } else {
                port + 1
            };
            if !host.ports.contains_key(&(transport, port)) {
                return Ok(port);
            }
        }
        Err(libc::EADDRINUSE)
    }

    /// Whether another socket has this address and does not share it.
    pub(super) fn has_conflict(&self, id: SocketId, address: SocketAddr) -> bool {
        let Some(socket) = self.sockets.get(&id) else {
            return false;
        };
        let key = (transport(&socket.body), address.port());
        let others = self.host(socket.host).ports.get(&key).into_iter().flatten();
        others.filter(|other| **other != id).any(|other| {
            let other = &self.sockets[other];
            let theirs = local(&other.body).map_or(address.ip(), |local| local.ip());
            let both_port = socket.options.reuse_port && other.options.reuse_port;
            let both_address = socket.options.reuse_address && other.options.reuse_address;
            let other_listens = matches!(
                &other.body,
                Body::Tcp(tcp) if matches!(tcp.state, State::Listening(_))
            );
            let is_shared = both_port || (both_address && !other_listens);
            overlaps(
                address.ip(),
                socket.options.only_v6,
                theirs,
                other.options.only_v6,
            ) && !is_shared
        })
    }

    pub(super) fn set_local(&mut self, id: SocketId, address: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let (host, transport) = (socket.host, transport(&socket.body));
        match &mut socket.body {
            Body::Tcp(tcp) => tcp.local = Some(address),
            Body::Udp(udp) => udp.local = Some(address),
            Body::Unix(_) => return,
        }
        let sharers = self
            .host_mut(host)
            .ports
            .entry((transport, address.port()))
            .or_default();
        sharers.push(id);
    }

    pub(super) fn release_port(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        let Some(local) = local(&socket.body) else {
            return;
        };
        let key = (transport(&socket.body), local.port());
        let ports = &mut self.hosts[socket.host.0].ports;
        if let Some(sharers) = ports.get_mut(&key) {
            sharers.retain(|other| *other != id);
            if sharers.is_empty() {
                ports.remove(&key);
            }
        }
    }

    /// The sockets of a host at this port, oldest first, that take what comes for `to`: each with
    /// whether it was bound to just this address.
    pub(super) fn at_address(
        &self,
        host: HostId,
        transport: Transport,
        to: SocketAddr,
    ) -> Vec<(SocketId, bool)> {
        let sharers = self
            .host(host)
            .ports
            .get(&(transport, to.port()))
            .into_iter()
            .flatten();
        let takes = |id: &SocketId| {
            let socket = &self.sockets[id];
            let ip = local(&socket.body)?.ip();
            overlaps(to.ip(), true, ip, socket.options.only_v6).then_some((*id, ip == to.ip()))
        };
        sharers.filter_map(takes).collect()
    }
}

fn transport(body: &Body) -> Transport {
    match body {
        Body::Udp(_) => Transport::Udp,
        Body::Tcp(_) | Body::Unix(_) => Transport::Tcp,
    }
}

fn local(body: &Body) -> Option<SocketAddr> {
    match body {
        Body::Tcp(tcp) => tcp.local,
        Body::Udp(udp) => udp.local,
        Body::Unix(_) => None,
    }
}

/// Whether it neither listens nor has a connection.
fn is_fresh(body: &Body) -> bool {
    !matches!(body, Body::Tcp(tcp) if !matches!(tcp.state, State::Idle))
}

/// Whether two bound addresses have an address in common.
fn overlaps(a: IpAddr, a_only_v6: bool, b: IpAddr, b_only_v6: bool) -> bool {
    let covers = |wide: IpAddr, only_v6: bool, other: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv4() == other.is_ipv4() || (wide.is_ipv6() && !only_v6))
    };
    a == b || covers(a, a_only_v6, b) || covers(b, b_only_v6, a)
}
