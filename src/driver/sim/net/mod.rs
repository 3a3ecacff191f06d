//! The simulated network: the sockets of all hosts, and the links between the hosts.
//!
//! Rules:
//! 1. It is a data structure. Time is an argument, in nanoseconds, and never goes back; chance is
//!    an argument of [`Net::advance`], and of nothing else.
//! 2. No call blocks and no call waits. What takes time is put on the agenda, and happens in
//!    `advance`. A caller whose operation said `EAGAIN` tries again when `advance` names its
//!    socket, and before it acts at a new time, it advances to that time.
//! 3. Errors are the numbers that Linux gives, also where Linux surprises: an error is reported
//!    once, and after that the socket behaves as one that was shut down.
//! 4. Everything is kept in order (`BTreeMap`, `VecDeque`), so that the same calls with the same
//!    seed give the same answers.
//! 5. Nothing vanishes without a reason: see [`check`].
//!
//! ```text
//!   send ──> unsent ──transmit──> flight ──arrive──> inbox ──> recv      (TCP, pipe/)
//!               │      (segments,    │ (held while the    │
//!               │       latency)     │  path is broken)   │
//!               └── reset, close, time-out, power loss: discarded, and counted
//! ```
//!
//! | file | what it is about |
//! |---|---|
//! | `host.rs` | hosts, addresses, ports, routes |
//! | `link.rs` | latency, bandwidth and loss between two hosts |
//! | `fault.rs` | partitions, clogs, resets, deaths of hosts |
//! | `tcp.rs` | what a program asks of a TCP socket |
//! | `pipe/` | what two TCP endpoints say to each other |
//! | `udp.rs` | datagrams between hosts |
//! | `group.rs` | datagrams to many |
//! | `unix.rs` | sockets within a host: what a program asks of them |
//! | `letter.rs` | sockets within a host: messages and their way |
//! | `check.rs` | the oracle |
//!
//! Left out, because no operation above asks for it: keepalive, urgent data, broadcast, fast open,
//! simultaneous open, a socket that connects to itself, raw sockets, `AF_UNSPEC`, and the minute
//! that a port rests after a connection.

mod check;
mod fault;
mod group;
mod host;
mod letter;
mod link;
mod name;
mod pipe;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod unix;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use socket2::SockAddr;

#[allow(
    unused_imports,
    reason = "its caller, the simulated kernel, is built on top of it"
)]
pub(crate) use check::{Discard, Leftover, Tallies, Tally};
#[allow(
    unused_imports,
    reason = "its caller, the simulated kernel, is built on top of it"
)]
pub(crate) use fault::Death;
pub(crate) use group::Interface;
pub(crate) use host::HostId;
pub(crate) use link::Link;

use crate::driver::sim::rng::Rng;
use host::Host;
use link::Links;
use pipe::{Conn, ConnId, End};
use tcp::Tcp;
use udp::{Parcel, Udp};
use unix::Unix;

/// An error number of the kernel, positive.
pub(crate) type Errno = i32;

/// A socket. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketId(u64);

/// What a socket can be asked to do differently. A connection that is accepted inherits them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Bytes that may wait to be acknowledged (TCP) or read (`AF_UNIX`).
    pub(crate) send_buffer: usize,
    /// Bytes that may wait to be read. A datagram counts [`DATAGRAM_COST`] more than its length.
    pub(crate) recv_buffer: usize,
    /// How long sent data may stay without an answer before TCP gives up, in nanoseconds.
    pub(crate) user_timeout: u64,
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: bool,
    /// `IPV6_V6ONLY`.
    pub(crate) only_v6: bool,
    /// `IP_MULTICAST_LOOP`: the own host hears what is sent to a group to which it listens.
    pub(crate) multicast_loop: bool,
    /// `IP_MULTICAST_TTL`: 0 keeps what is sent to a group on its host.
    pub(crate) multicast_hops: u32,
    /// `UDP_GRO`: datagrams of one sender may be joined.
    pub(crate) joins: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            send_buffer: 64 * 1024,
            recv_buffer: 64 * 1024,
            user_timeout: 15 * 60 * SECOND,
            reuse_address: false,
            reuse_port: false,
            only_v6: false,
            multicast_loop: true,
            multicast_hops: 1,
            joins: false,
        }
    }
}

/// What a datagram costs its buffer besides its bytes, so that empty ones fill it too.
pub(crate) const DATAGRAM_COST: usize = 256;

const SECOND: u64 = 1_000_000_000;

/// What can be done with a socket now, in the words of `poll`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// `POLLIN`: a receive or an accept does not say `EAGAIN`.
    pub(crate) readable: bool,
    /// `POLLOUT`: a send does not say `EAGAIN`.
    pub(crate) writable: bool,
    /// A listener has a connection to accept.
    pub(crate) acceptable: bool,
    /// A connection exists, or a peer was set.
    pub(crate) connected: bool,
    /// `POLLERR`.
    pub(crate) error: bool,
    /// `POLLHUP`.
    pub(crate) hangup: bool,
    /// `POLLRDHUP`: no more will come.
    pub(crate) peer_closed: bool,
}

/// Which directions [`Net::shutdown`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Read,
    Write,
    Both,
}

impl How {
    fn read(self) -> bool {
        self != How::Write
    }

    fn write(self) -> bool {
        self != How::Read
    }
}

/// What a receive brought.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    /// Who sent it. None on connected streams, and from an `AF_UNIX` socket without a name.
    pub(crate) from: Option<SockAddr>,
    /// The message was longer than the reader's buffer, and its rest is gone.
    pub(crate) truncated: bool,
    /// The length of the whole message (`MSG_TRUNC`); on streams the length of `bytes`.
    pub(crate) full_len: usize,
    /// What was passed with it (`SCM_RIGHTS`): the numbers that the sender gave.
    pub(crate) passed: Vec<u64>,
}

impl Received {
    fn plain(bytes: Vec<u8>) -> Received {
        let full_len = bytes.len();
        Received {
            bytes,
            from: None,
            truncated: false,
            full_len,
            passed: Vec::new(),
        }
    }
}

/// All hosts, all sockets, all links.
#[derive(Debug)]
pub(crate) struct Net {
    /// The latest time that anyone named.
    now: u64,
    hosts: Vec<Host>,
    addresses: BTreeMap<IpAddr, HostId>,
    sockets: BTreeMap<SocketId, Socket>,
    next_socket: u64,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
    links: Links,
    /// What happens when; what happens at the same time happens in the order of its planning.
    agenda: BTreeMap<Due, Event>,
    next_event: u64,
    /// Sockets whose readiness may have changed since the last `advance`.
    touched: BTreeSet<SocketId>,
    /// Passed descriptors that nobody will receive any more.
    dropped: Vec<u64>,
    /// What became of what is no longer there to be asked.
    tallies: Tallies,
}

/// A place in the agenda: a time, and a number that makes it unique.
type Due = (u64, u64);

#[derive(Debug)]
enum Event {
    /// A side of a connection sends what it has to say.
    Transmit(End),
    /// What a side sent first reaches its peer.
    Arrive(End),
    /// A side has waited too long: what for, depends on its phase.
    Alarm(End),
    /// A datagram leaves.
    Depart(Parcel),
    /// A datagram arrives.
    Deliver(Parcel),
    /// A host says that nobody has the address to which this socket sent.
    Refuse(Parcel),
}

impl Event {
    fn is_datagram(&self) -> bool {
        matches!(self, Event::Depart(_) | Event::Deliver(_))
    }
}

#[derive(Debug)]
struct Socket {
    host: HostId,
    domain: i32,
    kind: i32,
    options: Options,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Tcp(Tcp),
    Udp(Udp),
    Unix(Unix),
}

impl Socket {
    /// Whether it waits to be accepted, and no program has it yet.
    fn is_queued(&self) -> bool {
        matches!(&self.body, Body::Unix(unix) if unix.is_queued)
    }
}

// ---------------------------------------------------------------------------------------------
// Time

impl Net {
    pub(crate) fn new() -> Net {
        Net {
            now: 0,
            hosts: Vec::new(),
            addresses: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_socket: 0,
            conns: BTreeMap::new(),
            next_conn: 0,
            links: Links::new(),
            agenda: BTreeMap::new(),
            next_event: 0,
            touched: BTreeSet::new(),
            dropped: Vec::new(),
            tallies: Tallies::default(),
        }
    }

    /// Does everything that is due by `now`, and returns the sockets whose readiness may have
    /// changed since the last call, each once and oldest first.
    pub(crate) fn advance(&mut self, now: u64, rng: &mut Rng) -> Vec<SocketId> {
        while let Some(entry) = self.agenda.first_entry() {
            let due = entry.key().0;
            if due > now {
                break;
            }
            let event = entry.remove();
            self.at(due);
            match event {
                Event::Transmit(end) => self.transmit(end, rng),
                Event::Arrive(end) => self.arrive(end, rng),
                Event::Alarm(end) => self.alarm(end),
                Event::Depart(parcel) => self.depart(parcel, rng),
                Event::Deliver(parcel) => self.deliver(parcel, rng),
                Event::Refuse(parcel) => self.refuse(&parcel),
            }
        }
        self.at(now);
        let touched = std::mem::take(&mut self.touched);
        touched
            .into_iter()
            .filter(|id| self.sockets.contains_key(id))
            .collect()
    }

    /// When [`Net::advance`] has something to do next. None: nothing is under way.
    pub(crate) fn next_event(&self) -> Option<u64> {
        if !self.touched.is_empty() {
            return Some(self.now);
        }
        self.agenda.first_key_value().map(|((due, _), _)| *due)
    }

    /// Passed descriptors that were lost since the last call, because what carried them was
    /// discarded: the caller drops its references to the files behind them.
    pub(crate) fn take_dropped(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.dropped)
    }

    fn at(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    fn schedule(&mut self, at: u64, event: Event) -> Due {
        let due = (at.max(self.now), self.next_event);
        self.next_event += 1;
        self.agenda.insert(due, event);
        due
    }

    fn touch(&mut self, id: SocketId) {
        self.touched.insert(id);
    }
}

// ---------------------------------------------------------------------------------------------
// Sockets

impl Net {
    /// `socket(2)`: `AF_INET` and `AF_INET6` as `SOCK_STREAM` and `SOCK_DGRAM`, `AF_UNIX` as
    /// `SOCK_SEQPACKET` too.
    pub(crate) fn socket(
        &mut self,
        host: HostId,
        domain: i32,
        kind: i32,
    ) -> Result<SocketId, Errno> {
        let body = match (domain, kind) {
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => Body::Tcp(Tcp::new()),
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM) => Body::Udp(Udp::new()),
            (libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_DGRAM | libc::SOCK_SEQPACKET) => {
                Body::Unix(Unix::new())
            }
            (libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX, _) => {
                return Err(libc::ESOCKTNOSUPPORT);
            }
            _ => return Err(libc::EAFNOSUPPORT),
        };
        if !self.host(host).up {
            return Err(libc::ENETDOWN);
        }
        Ok(self.add_socket(Socket {
            host,
            domain,
            kind,
            options: Options::default(),
            body,
        }))
    }

    /// `socketpair(2)`, for `AF_UNIX`.
    pub(crate) fn socketpair(
        &mut self,
        host: HostId,
        domain: i32,
        kind: i32,
    ) -> Result<(SocketId, SocketId), Errno> {
        if matches!(domain, libc::AF_INET | libc::AF_INET6) {
            return Err(libc::EOPNOTSUPP);
        }
        let pair = (
            self.socket(host, domain, kind)?,
            self.socket(host, domain, kind)?,
        );
        self.pair_unix(pair.0, pair.1);
        Ok(pair)
    }

    pub(crate) fn options(&self, id: SocketId) -> Result<Options, Errno> {
        Ok(self.get(id)?.options)
    }

    /// Holds from now on: what is already in a buffer stays there.
    pub(crate) fn set_options(&mut self, id: SocketId, options: Options) -> Result<(), Errno> {
        let socket = self.get_mut(id)?;
        socket.options = options;
        if let Body::Tcp(tcp) = &socket.body {
            if let Some(end) = tcp.end() {
                self.set_side_options(end, options);
            }
        }
        self.touch(id);
        Ok(())
    }

    pub(crate) fn bind(&mut self, id: SocketId, address: &SockAddr) -> Result<(), Errno> {
        match self.get(id)?.body {
            Body::Unix(_) => self.bind_unix(id, address),
            Body::Tcp(_) | Body::Udp(_) => self.bind_ip(id, address),
        }
    }

    /// `listen(2)`. A negative backlog is the largest one; more than 4096 is 4096.
    pub(crate) fn listen(&mut self, id: SocketId, backlog: i32) -> Result<(), Errno> {
        let backlog = usize::try_from(backlog)
            .unwrap_or(BACKLOG_MAX)
            .min(BACKLOG_MAX);
        match self.get(id)?.body {
            Body::Tcp(_) => self.listen_tcp(id, backlog),
            Body::Unix(_) => self.listen_unix(id, backlog),
            Body::Udp(_) => Err(libc::EOPNOTSUPP),
        }
    }

    /// Begins to connect. How it went, says [`Net::connect_result`].
    pub(crate) fn connect(
        &mut self,
        id: SocketId,
        address: &SockAddr,
        now: u64,
    ) -> Result<(), Errno> {
        self.at(now);
        match self.get(id)?.body {
            Body::Tcp(_) => self.connect_tcp(id, address),
            Body::Udp(_) => self.connect_udp(id, address),
            Body::Unix(_) => self.connect_unix(id, address),
        }
    }

    /// The outcome of [`Net::connect`], as a second `connect(2)` would say it; None while it is
    /// under way. Asking for a failure takes it, and the socket can connect again.
    pub(crate) fn connect_result(&mut self, id: SocketId) -> Option<Result<(), Errno>> {
        match self.get(id).map(|socket| &socket.body) {
            Err(errno) => Some(Err(errno)),
            Ok(Body::Tcp(_)) => self.connect_result_tcp(id),
            Ok(Body::Udp(udp)) => Some(udp.peer.map(|_| ()).ok_or(libc::ENOTCONN)),
            Ok(Body::Unix(_)) => self.connect_result_unix(id),
        }
    }

    /// `accept(2)`; None where it would say `EAGAIN`. A connection that was reset meanwhile is
    /// accepted too, and fails later.
    pub(crate) fn accept(&mut self, id: SocketId) -> Option<Result<SocketId, Errno>> {
        match self.get(id).map(|socket| &socket.body) {
            Err(errno) => Some(Err(errno)),
            Ok(Body::Tcp(_)) => self.accept_tcp(id),
            Ok(Body::Udp(_)) => Some(Err(libc::EOPNOTSUPP)),
            Ok(Body::Unix(_)) => self.accept_unix(id),
        }
    }

    /// `getsockname(2)`.
    pub(crate) fn local_name(&self, id: SocketId) -> Result<SockAddr, Errno> {
        let socket = self.get(id)?;
        Ok(match &socket.body {
            Body::Tcp(tcp) => name::ip_out(socket.domain, self.local_tcp(socket.domain, tcp)),
            Body::Udp(udp) => name::ip_out(
                socket.domain,
                udp.local
                    .unwrap_or((name::wildcard(socket.domain), 0).into()),
            ),
            Body::Unix(unix) => name::unix_out(&unix.name),
        })
    }

    /// `getpeername(2)`: `ENOTCONN` before there is one, and on TCP also after.
    pub(crate) fn peer_name(&self, id: SocketId) -> Result<SockAddr, Errno> {
        let socket = self.get(id)?;
        let peer = match &socket.body {
            Body::Tcp(tcp) => self.peer_tcp(tcp),
            Body::Udp(udp) => udp.peer,
            Body::Unix(unix) => return unix.peer_name().map(name::unix_out).ok_or(libc::ENOTCONN),
        };
        peer.map(|peer| name::ip_out(socket.domain, peer))
            .ok_or(libc::ENOTCONN)
    }

    /// A socket for a person to read: its kind, its name and its peer's.
    pub(crate) fn name_for_people(&self, id: SocketId) -> String {
        let kind = match self.get(id).map(|socket| &socket.body) {
            Ok(Body::Tcp(_)) => "TCP",
            Ok(Body::Udp(_)) => "UDP",
            Ok(Body::Unix(_)) => "Unix",
            Err(_) => return "on a socket that is gone".into(),
        };
        let name = |name: SockAddr| match name.as_socket() {
            Some(address) => address.to_string(),
            None => format!("{:?}", name.as_pathname().unwrap_or("(no name)".as_ref())),
        };
        let local = self.local_name(id).map_or("(none)".into(), name);
        match self.peer_name(id) {
            Ok(peer) => format!("on {kind} {local} to {}", name(peer)),
            Err(_) => format!("on {kind} {local}"),
        }
    }

    /// Process, user and group of the peer of a connected `AF_UNIX` socket (`SO_PEERCRED`): there
    /// is one of each in a simulation.
    pub(crate) fn peer_credentials(&self, id: SocketId) -> Result<(u32, u32, u32), Errno> {
        match &self.get(id)?.body {
            Body::Unix(unix) if unix.peer_name().is_some() => Ok((1, 0, 0)),
            Body::Unix(_) => Ok((0, u32::MAX, u32::MAX)),
            Body::Tcp(_) | Body::Udp(_) => Err(libc::ENOPROTOOPT),
        }
    }

    /// `SO_ERROR`: the error that waits to be reported, which it takes.
    pub(crate) fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        match &mut self.sockets.get_mut(&id)?.body {
            Body::Tcp(tcp) => {
                let end = tcp.end()?;
                self.side_mut(end)?.error.take()
            }
            Body::Udp(udp) => udp.error.take(),
            Body::Unix(unix) => unix.error.take(),
        }
    }

    /// `send(2)`: how many bytes were taken, which may be fewer than there are.
    pub(crate) fn send(&mut self, id: SocketId, bytes: &[u8], now: u64) -> Result<usize, Errno> {
        self.send_message(id, bytes, None, Vec::new(), now)
    }

    /// `sendmsg(2)`. `passed` travels with the bytes (`AF_UNIX`); it stays with the caller when
    /// the result is an error or 0.
    pub(crate) fn send_message(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<&SockAddr>,
        passed: Vec<u64>,
        now: u64,
    ) -> Result<usize, Errno> {
        self.at(now);
        match self.get(id)?.body {
            Body::Tcp(_) => self.send_tcp(id, bytes),
            Body::Udp(_) => self.send_udp(id, bytes, to),
            Body::Unix(_) => self.send_unix(id, bytes, to, passed),
        }
    }

    /// `recv(2)` into `max` bytes. An empty result is the end of a stream, or an empty datagram.
    pub(crate) fn recv(&mut self, id: SocketId, max: usize) -> Result<Vec<u8>, Errno> {
        Ok(self.recv_message(id, max, false)?.bytes)
    }

    /// `recvmsg(2)`; with `peek` everything stays where it is (`MSG_PEEK`), and what was passed is
    /// returned again next time.
    pub(crate) fn recv_message(
        &mut self,
        id: SocketId,
        max: usize,
        peek: bool,
    ) -> Result<Received, Errno> {
        match self.get(id)?.body {
            Body::Tcp(_) => self.recv_tcp(id, max, peek).map(Received::plain),
            Body::Udp(_) => self.recv_udp(id, max, peek),
            Body::Unix(_) => self.recv_unix(id, max, peek),
        }
    }

    /// `shutdown(2)`: what was sent before still arrives.
    pub(crate) fn shutdown(&mut self, id: SocketId, how: How, now: u64) -> Result<(), Errno> {
        self.at(now);
        self.touch(id);
        match self.get(id)?.body {
            Body::Tcp(_) => self.shutdown_tcp(id, how),
            Body::Udp(_) => self.shutdown_udp(id, how),
            Body::Unix(_) => self.shutdown_unix(id, how),
        }
    }

    /// `close(2)` of the last descriptor. What was accepted for sending is still delivered, unless
    /// something received was not read, or `linger_zero` (`SO_LINGER` with 0 seconds): then the
    /// peer is reset.
    pub(crate) fn close(&mut self, id: SocketId, linger_zero: bool, now: u64) -> Result<(), Errno> {
        self.at(now);
        match self.get(id)?.body {
            Body::Tcp(_) => self.close_tcp(id, linger_zero),
            Body::Udp(_) => self.close_udp(id),
            Body::Unix(_) => self.close_unix(id),
        }
        Ok(())
    }

    /// What `poll` would say. Nothing, of a socket that is closed.
    pub(crate) fn ready(&self, id: SocketId) -> Ready {
        let Ok(socket) = self.get(id) else {
            return Ready::default();
        };
        match &socket.body {
            Body::Tcp(tcp) => self.ready_tcp(tcp),
            Body::Udp(udp) => udp.ready(),
            Body::Unix(unix) => self.ready_unix(socket, unix),
        }
    }

    fn add_socket(&mut self, socket: Socket) -> SocketId {
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        self.sockets.insert(id, socket);
        id
    }

    fn get(&self, id: SocketId) -> Result<&Socket, Errno> {
        self.sockets.get(&id).ok_or(libc::EBADF)
    }

    fn get_mut(&mut self, id: SocketId) -> Result<&mut Socket, Errno> {
        self.sockets.get_mut(&id).ok_or(libc::EBADF)
    }
}

const BACKLOG_MAX: usize = 4096;
