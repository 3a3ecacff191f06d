//! The oracle: nothing appears from nowhere, and what vanishes has a reason.

use std::collections::BTreeMap;
use std::fmt;

use super::{Body, HostId, Net, SocketId};

/// Why something that was accepted for sending never reached a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Discard {
    /// The connection was reset before it left.
    Reset,
    /// It had arrived, and the receiver closed without reading it.
    Unread,
    /// It arrived at a socket that was closed or reset.
    TooLate,
    /// The sender gave up waiting for the peer.
    TimedOut,
    /// It was in the memory of a host that lost its power.
    PowerLost,
    /// The link lost it, or was partitioned. Datagrams only.
    Lost,
    /// The receiver's buffer was full. Datagrams only.
    Overflow,
    /// No socket had that address. Datagrams only.
    NobodyThere,
    /// It was longer than the reader's buffer. Datagrams only.
    Truncated,
}

/// What became of what was accepted: bytes on streams and `AF_UNIX`, datagrams on UDP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) discarded: BTreeMap<Discard, u64>,
}

impl Tally {
    pub(super) fn discard(&mut self, why: Discard, amount: usize) {
        if amount > 0 {
            *self.discarded.entry(why).or_default() += amount as u64;
        }
    }

    pub(super) fn add(&mut self, other: &Tally) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        for (why, amount) in &other.discarded {
            *self.discarded.entry(*why).or_default() += amount;
        }
    }

    /// Whether everything accepted is accounted for, with this much under way.
    fn balanced(&self, what: impl fmt::Display, under_way: usize) -> Result<(), String> {
        let accounted = self.delivered + under_way as u64 + self.discarded.values().sum::<u64>();
        if accounted == self.accepted {
            return Ok(());
        }
        Err(format!(
            "{what}: {under_way} under way does not balance {self:?}"
        ))
    }
}

/// A socket that is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover {
    pub(crate) id: SocketId,
    /// What it is and what it is connected to, for a person.
    pub(crate) what: String,
}

impl Net {
    /// Whether bytes and datagrams were conserved; the error names the first direction in which
    /// they were not.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (id, conn) in &self.conns {
            for (index, side) in conn.sides.iter().enumerate() {
                let peer = &conn.sides[1 - index];
                let under_way = side.unsent.len() + side.flight.bytes() + peer.inbox.len();
                let name = format!("tcp {id:?} {} to {}", side.address, peer.address);
                side.tally.balanced(name, under_way)?;
            }
        }
        for (id, socket) in &self.sockets {
            if let Body::Unix(unix) = &socket.body {
                let under_way = unix.inbox.iter().map(|letter| letter.unread()).sum();
                unix.tally
                    .balanced(format!("into unix {id:?}"), under_way)?;
            }
        }
        self.tallies.tcp.balanced("closed tcp connections", 0)?;
        self.tallies.unix.balanced("closed unix sockets", 0)?;
        self.tallies.udp.balanced("udp", self.datagrams_under_way())
    }

    /// What became of all bytes on TCP, of all bytes on `AF_UNIX` and of all datagrams on UDP.
    pub(crate) fn tallies(&self) -> Tallies {
        let mut sum = self.tallies.clone();
        for side in self.conns.values().flat_map(|conn| &conn.sides) {
            sum.tcp.add(&side.tally);
        }
        for socket in self.sockets.values() {
            if let Body::Unix(unix) = &socket.body {
                sum.unix.add(&unix.tally);
            }
        }
        sum
    }

    /// The sockets of a host that were not closed, oldest first. Connections that nobody accepted
    /// belong to their listener and do not count.
    pub(crate) fn leftovers(&self, host: HostId) -> Vec<Leftover> {
        let open = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.host == host);
        open.filter(|(_, socket)| !socket.is_queued())
            .map(|(id, _)| Leftover {
                id: *id,
                what: self.describe(*id),
            })
            .collect()
    }

    fn describe(&self, id: SocketId) -> String {
        let kind = match self.sockets.get(&id).map(|socket| &socket.body) {
            Some(Body::Tcp(_)) => "tcp",
            Some(Body::Udp(_)) => "udp",
            Some(Body::Unix(_)) => "unix",
            None => "closed",
        };
        let show = |name: Result<socket2::SockAddr, i32>| match name {
            Err(_) => "nobody".to_string(),
            Ok(name) => name.as_socket().map_or_else(
                || {
                    name.as_pathname()
                        .map_or("unnamed".into(), |path| path.display().to_string())
                },
                |address| address.to_string(),
            ),
        };
        format!(
            "{kind} {} to {}",
            show(self.local_name(id)),
            show(self.peer_name(id))
        )
    }

    fn datagrams_under_way(&self) -> usize {
        let queued: usize = self
            .sockets
            .values()
            .map(|socket| match &socket.body {
                Body::Udp(udp) => udp.inbox.len(),
                _ => 0,
            })
            .sum();
        let held: usize = self.links.held.values().map(Vec::len).sum();
        let flying = self
            .agenda
            .values()
            .filter(|event| event.is_datagram())
            .count();
        queued + held + flying
    }
}

/// Sums over everything that ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tallies {
    pub(crate) tcp: Tally,
    pub(crate) unix: Tally,
    pub(crate) udp: Tally,
}
