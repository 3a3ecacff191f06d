//! Datagrams between hosts.
//!
//! A send never waits: what leaves is on the wire at once, as on a Linux host with a fast
//! network. What cannot get through is lost, and the tally says why.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;

use super::check::Discard;
use super::host::Transport;
use super::{Body, DATAGRAM_COST, Errno, Event, HostId, How, Net, Ready, Received, SocketId, name};
use crate::driver::sim::rng::Rng;

#[derive(Debug)]
pub(super) struct Udp {
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) inbox: VecDeque<Arrived>,
    /// Bytes and costs in the inbox.
    used: usize,
    pub(super) error: Option<Errno>,
    shut_read: bool,
    shut_write: bool,
    groups: BTreeSet<IpAddr>,
}

/// A datagram in a socket.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    bytes: Vec<u8>,
    from: SocketAddr,
}

/// A datagram between sockets.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    bytes: Vec<u8>,
    sender: SocketId,
    from: SocketAddr,
    to: SocketAddr,
    hosts: (HostId, HostId),
}

/// The longest datagram: 65,535 bytes less the headers, with IPv4 and with IPv6.
const PAYLOAD_MAX: (usize, usize) = (65_507, 65_527);

impl Udp {
    pub(super) fn new() -> Udp {
        Udp {
            local: None,
            peer: None,
            inbox: VecDeque::new(),
            used: 0,
            error: None,
            shut_read: false,
            shut_write: false,
            groups: BTreeSet::new(),
        }
    }

    pub(super) fn ready(&self) -> Ready {
        Ready {
            readable: !self.inbox.is_empty() || self.shut_read || self.error.is_some(),
            writable: true,
            acceptable: false,
            connected: self.peer.is_some(),
            error: self.error.is_some(),
            hangup: self.shut_read && self.shut_write,
            peer_closed: self.shut_read,
        }
    }
}

impl Net {
    fn udp(&mut self, id: SocketId) -> Result<&mut Udp, Errno> {
        match &mut self.get_mut(id)?.body {
            Body::Udp(udp) => Ok(udp),
            Body::Tcp(_) | Body::Unix(_) => Err(libc::EOPNOTSUPP),
        }
    }

    /// From now on only this peer is heard, and a send needs no address.
    pub(super) fn connect_udp(&mut self, id: SocketId, to: &SockAddr) -> Result<(), Errno> {
        let socket = self.get(id)?;
        let (host, to) = (socket.host, name::ip_in(socket.domain, to)?);
        let bound = self.udp(id)?.local;
        let mut route = None;
        if !to.ip().is_multicast() {
            route = Some(self.route(host, bound.map(|bound| bound.ip()), to.ip())?);
        }
        self.autobind(id)?;
        let source = match route {
            Some(route) => Some(route.source),
            None => self.source_like(host, to.ip()),
        };
        let udp = self.udp(id)?;
        udp.peer = Some(SocketAddr::new(
            route.map_or(to.ip(), |route| route.dest),
            to.port(),
        ));
        if let (Some(local), Some(source)) = (&mut udp.local, source) {
            if local.ip().is_unspecified() {
                local.set_ip(source);
            }
        }
        Ok(())
    }

    pub(super) fn send_udp(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<&SockAddr>,
    ) -> Result<usize, Errno> {
        let socket = self.get(id)?;
        let (host, domain) = (socket.host, socket.domain);
        let to = to.map(|to| name::ip_in(domain, to)).transpose()?;
        let udp = self.udp(id)?;
        let to = to.or(udp.peer).ok_or(libc::EDESTADDRREQ)?;
        let max = if to.is_ipv4() {
            PAYLOAD_MAX.0
        } else {
            PAYLOAD_MAX.1
        };
        if bytes.len() > max {
            return Err(libc::EMSGSIZE);
        }
        if to.port() == 0 {
            return Err(libc::EINVAL);
        }
        if to.ip().is_multicast() {
            return self.send_to_group(id, bytes, to);
        }
        let bound = udp.local.map(|local| local.ip());
        let route = self.route(host, bound, to.ip())?;
        let port = self.autobind(id)?.port();
        self.may_send(id)?;
        self.tallies.udp.accepted += 1;
        let parcel = Parcel {
            bytes: bytes.to_vec(),
            sender: id,
            from: SocketAddr::new(route.source, port),
            to: SocketAddr::new(route.dest, to.port()),
            hosts: (host, route.host),
        };
        self.schedule(self.now, Event::Depart(parcel));
        Ok(bytes.len())
    }

    fn may_send(&mut self, id: SocketId) -> Result<(), Errno> {
        let udp = self.udp(id)?;
        match udp.error.take() {
            Some(error) => Err(error),
            None if udp.shut_write => Err(libc::EPIPE),
            None => Ok(()),
        }
    }

    /// One datagram to each host with a member, and to the own host if it has one.
    fn send_to_group(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<usize, Errno> {
        let host = self.get(id)?.host;
        let source = self.source_like(host, to.ip()).ok_or(libc::ENETUNREACH)?;
        let port = self.autobind(id)?.port();
        self.may_send(id)?;
        let members = self.sockets.values().filter(
            |socket| matches!(&socket.body, Body::Udp(udp) if udp.groups.contains(&to.ip())),
        );
        let hosts: BTreeSet<HostId> = members.map(|socket| socket.host).collect();
        for member in hosts {
            self.tallies.udp.accepted += 1;
            let parcel = Parcel {
                bytes: bytes.to_vec(),
                sender: id,
                from: SocketAddr::new(source, port),
                to,
                hosts: (host, member),
            };
            self.schedule(self.now, Event::Depart(parcel));
        }
        Ok(bytes.len())
    }

    /// An error comes before what has arrived.
    pub(super) fn recv_udp(
        &mut self,
        id: SocketId,
        max: usize,
        peek: bool,
    ) -> Result<Received, Errno> {
        let domain = self.get(id)?.domain;
        let udp = self.udp(id)?;
        if let Some(error) = udp.error.take() {
            return Err(error);
        }
        let arrived = match udp.inbox.front() {
            Some(arrived) if peek => arrived.clone(),
            Some(_) => udp.inbox.pop_front().ok_or(libc::EAGAIN)?,
            None => return Err(libc::EAGAIN),
        };
        let full_len = arrived.bytes.len();
        if !peek {
            udp.used -= full_len + DATAGRAM_COST;
            self.tallies.udp.delivered += 1;
        }
        let mut bytes = arrived.bytes;
        bytes.truncate(max);
        Ok(Received {
            truncated: bytes.len() < full_len,
            bytes,
            from: Some(name::ip_out(domain, arrived.from)),
            full_len,
            passed: Vec::new(),
        })
    }

    pub(super) fn shutdown_udp(&mut self, id: SocketId, how: How) -> Result<(), Errno> {
        let udp = self.udp(id)?;
        udp.shut_read |= how.read();
        udp.shut_write |= how.write();
        udp.peer.map(|_| ()).ok_or(libc::ENOTCONN)
    }

    pub(super) fn close_udp(&mut self, id: SocketId) {
        self.lose_udp(id, Discard::Unread);
    }

    pub(super) fn lose_udp(&mut self, id: SocketId, why: Discard) {
        self.release_port(id);
        if let Some(Body::Udp(udp)) = self.sockets.remove(&id).map(|socket| socket.body) {
            self.tallies.udp.discard(why, udp.inbox.len());
        }
    }

    /// `IP_ADD_MEMBERSHIP`: what is sent to the group and to the socket's port arrives here too.
    pub(crate) fn join(&mut self, id: SocketId, group: IpAddr) -> Result<(), Errno> {
        if !group.is_multicast() {
            return Err(libc::EINVAL);
        }
        let is_new = self.udp(id)?.groups.insert(group);
        is_new.then_some(()).ok_or(libc::EADDRINUSE)
    }

    /// `IP_DROP_MEMBERSHIP`.
    pub(crate) fn leave(&mut self, id: SocketId, group: IpAddr) -> Result<(), Errno> {
        let was_member = self.udp(id)?.groups.remove(&group);
        was_member.then_some(()).ok_or(libc::EADDRNOTAVAIL)
    }
}

// ---------------------------------------------------------------------------------------------
// The way there

impl Net {
    pub(super) fn depart(&mut self, parcel: Parcel, rng: &mut Rng) {
        let arrivals = self
            .links
            .datagram(parcel.hosts, parcel.bytes.len(), self.now, rng);
        if arrivals.is_empty() {
            return self.tallies.udp.discard(Discard::Lost, 1);
        }
        self.tallies.udp.accepted += arrivals.len() as u64 - 1;
        for arrival in arrivals {
            self.schedule(arrival, Event::Deliver(parcel.clone()));
        }
    }

    pub(super) fn deliver(&mut self, parcel: Parcel, rng: &mut Rng) {
        let pair = parcel.hosts;
        if self.links.clogged.contains(&pair) {
            return self.links.held.entry(pair).or_default().push(parcel);
        }
        if self.links.partitioned.contains(&pair) || !self.host(pair.1).up {
            return self.tallies.udp.discard(Discard::Lost, 1);
        }
        let mut receivers = self.receivers(&parcel);
        if receivers.is_empty() {
            self.tallies.udp.discard(Discard::NobodyThere, 1);
            if !parcel.to.ip().is_multicast() {
                let back = self.links.arrival((pair.1, pair.0), 0, self.now, rng);
                self.schedule(back, Event::Refuse(parcel));
            }
            return;
        }
        if !parcel.to.ip().is_multicast() {
            receivers = vec![self.choose(&receivers, &parcel)];
        }
        self.tallies.udp.accepted += receivers.len() as u64 - 1;
        for id in receivers {
            self.put(id, &parcel);
        }
    }

    /// The sockets that a datagram is for: all members of a group, or all that share its address.
    fn receivers(&self, parcel: &Parcel) -> Vec<SocketId> {
        let mut found = self.at_address(parcel.hosts.1, Transport::Udp, parcel.to);
        let udp = |id: &SocketId| match &self.sockets[id].body {
            Body::Udp(udp) => udp,
            Body::Tcp(_) | Body::Unix(_) => unreachable!("only UDP sockets have UDP ports"),
        };
        found.retain(|(id, _)| udp(id).peer.is_none_or(|peer| peer == parcel.from));
        if parcel.to.ip().is_multicast() {
            found.retain(|(id, _)| udp(id).groups.contains(&parcel.to.ip()));
            return found.into_iter().map(|(id, _)| id).collect();
        }
        // A connected socket knows its sender, which says more than its address.
        let rank = |(id, exact): &(SocketId, bool)| (udp(id).peer.is_some(), *exact);
        let best = found.iter().map(rank).max();
        found.retain(|candidate| Some(rank(candidate)) == best);
        found.into_iter().map(|(id, _)| id).collect()
    }

    /// Among sockets that share an address, the same one for each sender.
    fn choose(&self, receivers: &[SocketId], parcel: &Parcel) -> SocketId {
        let seed = u64::from(parcel.from.port()) ^ parcel.sender.0.rotate_left(16);
        receivers[Rng::new(seed).index(receivers.len())]
    }

    fn put(&mut self, id: SocketId, parcel: &Parcel) {
        let limit = self.get(id).map_or(0, |socket| socket.options.recv_buffer);
        let cost = parcel.bytes.len() + DATAGRAM_COST;
        // As Linux does it: the last one may be longer than the room.
        let is_full = self.udp(id).is_ok_and(|udp| udp.used > limit);
        if is_full {
            return self.tallies.udp.discard(Discard::Overflow, 1);
        }
        if let Ok(udp) = self.udp(id) {
            udp.used += cost;
            udp.inbox.push_back(Arrived {
                bytes: parcel.bytes.clone(),
                from: parcel.from,
            });
            self.touch(id);
        }
    }

    /// Only a connected socket hears that its peer does not exist.
    pub(super) fn refuse(&mut self, parcel: &Parcel) {
        let is_open = self.links.is_open((parcel.hosts.1, parcel.hosts.0));
        if let Ok(udp) = self.udp(parcel.sender) {
            if is_open && udp.peer == Some(parcel.to) {
                udp.error = Some(libc::ECONNREFUSED);
                self.touch(parcel.sender);
            }
        }
    }
}
