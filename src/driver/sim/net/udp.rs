//! Datagrams between hosts.
//!
//! A send never waits: what leaves is on the wire at once, as on a Linux host with a fast
//! network. What cannot get through is lost, and the tally says why.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;

use super::check::Discard;
use super::group::Wire;
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
    /// The groups that it has joined, and where.
    pub(super) groups: BTreeSet<(IpAddr, Wire)>,
    /// Where what it sends to groups goes, if the program has said so.
    pub(super) group_wire: Option<Wire>,
    /// Datagrams for which there was no room.
    dropped: u32,
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
    pub(super) bytes: Vec<u8>,
    pub(super) sender: SocketId,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) hosts: (HostId, HostId),
    /// On which network it is, where that matters: to a group.
    pub(super) wire: Wire,
}

/// The longest datagram: 65,535 bytes less the headers, with IPv4 and with IPv6.
const PAYLOAD_MAX: (usize, usize) = (65_507, 65_527);
/// Segments of one message, and the bytes of one that leaves its host: 1,500 less the headers.
const SEGMENTS_MAX: usize = 64;
const SEGMENT_MAX: usize = 1_472;

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
            group_wire: None,
            dropped: 0,
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
    pub(super) fn udp(&mut self, id: SocketId) -> Result<&mut Udp, Errno> {
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
            wire: Wire::Network,
        };
        self.schedule(self.now, Event::Depart(parcel));
        Ok(bytes.len())
    }

    pub(super) fn may_send(&mut self, id: SocketId) -> Result<(), Errno> {
        let udp = self.udp(id)?;
        match udp.error.take() {
            Some(error) => Err(error),
            None if udp.shut_write => Err(libc::EPIPE),
            None => Ok(()),
        }
    }

    /// Whether a message of so many bytes can be sent in segments (`UDP_SEGMENT`).
    pub(crate) fn check_segments(
        &self,
        id: SocketId,
        len: usize,
        segment: usize,
        to: Option<&SockAddr>,
    ) -> Result<(), Errno> {
        let socket = self.get(id)?;
        let to = to.map(|to| name::ip_in(socket.domain, to)).transpose()?;
        let peer = match &socket.body {
            Body::Udp(udp) => udp.peer,
            Body::Tcp(_) | Body::Unix(_) => return Err(libc::EINVAL),
        };
        let to = to.or(peer).ok_or(libc::EDESTADDRREQ)?.ip();
        if len > PAYLOAD_MAX.0 {
            return Err(libc::EMSGSIZE);
        }
        let is_near = to.is_loopback() || self.addresses.get(&to) == Some(&socket.host);
        let fits = is_near || segment <= SEGMENT_MAX;
        match fits && len <= segment * SEGMENTS_MAX {
            true => Ok(()),
            false => Err(libc::EINVAL),
        }
    }

    /// The length of the datagram that would be received next, if the kernel may have joined it to
    /// those before: of the same sender, and not longer than they are.
    pub(crate) fn joinable(
        &self,
        id: SocketId,
        from: Option<&SockAddr>,
        segment: usize,
    ) -> Option<usize> {
        let socket = self.get(id).ok()?;
        let Body::Udp(udp) = &socket.body else {
            return None;
        };
        let next = udp.inbox.front().filter(|_| udp.error.is_none())?;
        let same = from.and_then(SockAddr::as_socket) == Some(next.from);
        let len = next.bytes.len();
        (same && len > 0 && len <= segment).then_some(len)
    }

    /// How many datagrams a socket had no room for.
    pub(crate) fn dropped_datagrams(&self, id: SocketId) -> Result<u32, Errno> {
        match &self.get(id)?.body {
            Body::Udp(udp) => Ok(udp.dropped),
            Body::Tcp(_) | Body::Unix(_) => Ok(0),
        }
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

    /// The sockets that a datagram is for: all of the port if the host listens to the group, or all
    /// that share its address.
    fn receivers(&self, parcel: &Parcel) -> Vec<SocketId> {
        let mut found = self.at_address(parcel.hosts.1, Transport::Udp, parcel.to);
        let udp = |id: &SocketId| match &self.sockets[id].body {
            Body::Udp(udp) => udp,
            Body::Tcp(_) | Body::Unix(_) => unreachable!("only UDP sockets have UDP ports"),
        };
        found.retain(|(id, _)| udp(id).peer.is_none_or(|peer| peer == parcel.from));
        if parcel.to.ip().is_multicast() {
            if !self.listens(parcel.hosts.1, parcel.to.ip(), parcel.wire) {
                return Vec::new();
            }
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
            if let Ok(udp) = self.udp(id) {
                udp.dropped += 1;
            }
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
