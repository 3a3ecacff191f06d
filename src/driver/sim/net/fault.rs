//! Faults of hosts and links, each brought about by a call.

use super::pipe::Phase;
use super::{Body, Discard, Event, HostId, Link, Net, SocketId};

/// How a host dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its sockets vanish without a word, and it is down until [`Net::start_host`]. Peers hear of
    /// it by their own time-outs, or by a reset when they talk to it after it is up again.
    Power,
    /// Its programs end: the kernel, which lives on, closes what they left open.
    Process,
}

impl Net {
    /// The link of all pairs of hosts that were not given one of their own.
    pub(crate) fn set_default_link(&mut self, link: Link) {
        self.links.set_default(link);
    }

    /// What a host sends to itself arrives at once, as on Linux; otherwise soon.
    pub(crate) fn set_loopback_instant(&mut self) {
        self.links.set_instant();
    }

    /// The link from one host to another, in this direction only; to itself it is the loopback.
    pub(crate) fn set_link(&mut self, from: HostId, to: HostId, link: Link) {
        self.links.set((from, to), link);
    }

    pub(crate) fn kill_host(&mut self, host: HostId, now: u64, how: Death) {
        self.at(now);
        let ids = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.host == host);
        let ids: Vec<SocketId> = ids.map(|(id, _)| *id).collect();
        if how == Death::Process {
            for id in ids {
                // Closing one may have taken others along: those that it had not accepted.
                let _ = self.close(id, false, now);
            }
            return;
        }
        self.host_mut(host).up = false;
        for other in self.host_ids() {
            for end in self.ends_between(host, other) {
                self.vanish(end);
            }
        }
        for id in ids {
            match self.sockets.get(&id).map(|socket| &socket.body) {
                Some(Body::Tcp(_)) => {
                    self.release_port(id);
                    self.sockets.remove(&id);
                }
                Some(Body::Udp(_)) => self.lose_udp(id, Discard::PowerLost),
                Some(Body::Unix(_)) => self.close_unix(id),
                None => {}
            }
        }
        for other in self.host_ids() {
            self.interrupt(other, host);
        }
    }

    /// Gives a host its power back. It has no sockets.
    pub(crate) fn start_host(&mut self, host: HostId, now: u64) {
        self.at(now);
        self.host_mut(host).up = true;
        for other in self.host_ids() {
            self.resume(other, host);
        }
    }

    /// From now on nothing that one sends arrives at the other, in both directions. Datagrams are
    /// lost, byte streams wait.
    pub(crate) fn partition(&mut self, a: HostId, b: HostId, now: u64) {
        self.partition_one_way(a, b, now);
        self.partition_one_way(b, a, now);
    }

    /// As [`Net::partition`], in one direction.
    pub(crate) fn partition_one_way(&mut self, from: HostId, to: HostId, now: u64) {
        self.at(now);
        self.links.partitioned.insert((from, to));
        self.interrupt(from, to);
    }

    /// Ends the partitions between two hosts.
    pub(crate) fn heal(&mut self, a: HostId, b: HostId, now: u64) {
        self.heal_one_way(a, b, now);
        self.heal_one_way(b, a, now);
    }

    /// Ends the partition in one direction.
    pub(crate) fn heal_one_way(&mut self, from: HostId, to: HostId, now: u64) {
        self.at(now);
        if self.links.partitioned.remove(&(from, to)) {
            self.resume(from, to);
        }
    }

    /// From now on everything from one host to the other waits, datagrams too.
    pub(crate) fn clog(&mut self, from: HostId, to: HostId, now: u64) {
        self.at(now);
        self.links.clogged.insert((from, to));
        self.interrupt(from, to);
    }

    /// Lets arrive what [`Net::clog`] held.
    pub(crate) fn unclog(&mut self, from: HostId, to: HostId, now: u64) {
        self.at(now);
        if !self.links.clogged.remove(&(from, to)) {
            return;
        }
        self.resume(from, to);
        let arrival = self
            .now
            .saturating_add(self.links.get((from, to)).latency.0);
        for parcel in self.links.held.remove(&(from, to)).unwrap_or_default() {
            self.schedule(arrival, Event::Deliver(parcel));
        }
    }

    /// Resets all TCP connections between two hosts, on both sides at once.
    pub(crate) fn reset_connections(&mut self, a: HostId, b: HostId, now: u64) {
        self.at(now);
        let mut ends = self.ends_between(a, b);
        ends.extend(self.ends_between(b, a));
        for end in &ends {
            self.lose_flight(*end, true, Discard::Reset);
        }
        for end in ends {
            let is_live = |phase| phase != Phase::Closed && phase != Phase::Unborn;
            if self.side(end).is_some_and(|side| is_live(side.phase)) {
                self.on_reset(end);
            }
        }
    }

    /// Resets the TCP connection of this socket, on both sides at once.
    pub(crate) fn reset(&mut self, id: SocketId, now: u64) {
        self.at(now);
        let Some(Body::Tcp(tcp)) = self.sockets.get(&id).map(|socket| &socket.body) else {
            return;
        };
        let Some(end) = tcp.end() else {
            return;
        };
        for end in [end, end.peer()] {
            self.lose_flight(end, true, Discard::Reset);
        }
        for end in [end, end.peer()] {
            let is_live = |phase| phase != Phase::Closed && phase != Phase::Unborn;
            if self.side(end).is_some_and(|side| is_live(side.phase)) {
                self.on_reset(end);
            }
        }
    }

    fn host_ids(&self) -> Vec<HostId> {
        (0..self.hosts.len()).map(HostId).collect()
    }
}
