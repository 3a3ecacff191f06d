//! Sockets within a host: what a program asks of an `AF_UNIX` socket.
//!
//! Everything happens at once. A connect to a listener whose queue is full stays pending, and
//! goes on when something is accepted.

use std::collections::VecDeque;

use socket2::SockAddr;

use super::check::{Discard, Tally};
use super::letter::Letter;
use super::name::{self, UnixName};
use super::{Body, DATAGRAM_COST, Errno, HostId, How, Net, Ready, Socket, SocketId};

#[derive(Debug)]
pub(super) struct Unix {
    pub(super) name: UnixName,
    pub(super) state: UnixState,
    /// The other end. It stays when the other end is closed.
    pub(super) peer: Option<SocketId>,
    /// Kept, because the peer may be gone when somebody asks.
    peer_name: UnixName,
    /// Between its connect and its accept, where no program has it.
    pub(super) is_queued: bool,
    /// Connections to accept, oldest first.
    queue: VecDeque<SocketId>,
    /// Sockets whose connect waits for room in the queue.
    waiting: VecDeque<SocketId>,
    backlog: usize,
    /// The socket without room for what this one wanted to send last.
    pub(super) blocked_on: Option<SocketId>,
    pub(super) inbox: VecDeque<Letter>,
    /// What of this socket's send buffer stands in the inboxes of others.
    pub(super) charged: usize,
    pub(super) error: Option<Errno>,
    /// Why a pending connect failed.
    failure: Option<Errno>,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    pub(super) tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnixState {
    Idle,
    Listening,
    /// Waits for room in the queue of a listener.
    Connecting,
    Open,
}

/// `net.unix.max_dgram_qlen`, and the one that Linux lets in besides.
const DATAGRAMS_MAX: usize = 11;

impl Unix {
    pub(super) fn new() -> Unix {
        Unix {
            name: UnixName::Unnamed,
            state: UnixState::Idle,
            peer: None,
            peer_name: UnixName::Unnamed,
            is_queued: false,
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            backlog: 0,
            blocked_on: None,
            inbox: VecDeque::new(),
            charged: 0,
            error: None,
            failure: None,
            shut_read: false,
            shut_write: false,
            tally: Tally::default(),
        }
    }

    pub(super) fn peer_name(&self) -> Option<&UnixName> {
        self.peer.map(|_| &self.peer_name)
    }

    fn is_full(&self) -> bool {
        self.queue.len() > self.backlog
    }

    fn open(&mut self, peer: SocketId, peer_name: UnixName) {
        self.state = UnixState::Open;
        self.peer = Some(peer);
        self.peer_name = peer_name;
    }
}

impl Net {
    pub(super) fn unix(&self, id: SocketId) -> Result<&Unix, Errno> {
        match &self.get(id)?.body {
            Body::Unix(unix) => Ok(unix),
            Body::Tcp(_) | Body::Udp(_) => Err(libc::EOPNOTSUPP),
        }
    }

    pub(super) fn unix_mut(&mut self, id: SocketId) -> Result<&mut Unix, Errno> {
        match &mut self.get_mut(id)?.body {
            Body::Unix(unix) => Ok(unix),
            Body::Tcp(_) | Body::Udp(_) => Err(libc::EOPNOTSUPP),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Names

impl Net {
    /// `unlink(2)` of a path with a socket: who is connected stays so, nobody finds it any more.
    pub(crate) fn unbind_path(&mut self, host: HostId, path: &[u8]) -> Result<(), Errno> {
        let removed = self.host_mut(host).paths.remove(path);
        removed.map(|_| ()).ok_or(libc::ENOENT)
    }

    pub(super) fn bind_unix(&mut self, id: SocketId, address: &SockAddr) -> Result<(), Errno> {
        let host = self.get(id)?.host;
        let mut name = name::unix_in(address)?;
        if self.unix(id)?.name != UnixName::Unnamed {
            return Err(libc::EINVAL);
        }
        if name == UnixName::Unnamed {
            name = self.unused_name(host);
        }
        let host = self.host_mut(host);
        let is_taken = match &name {
            UnixName::Path(path) => host.paths.contains_key(path),
            UnixName::Abstract(name) => host.abstracts.contains_key(name),
            UnixName::Unnamed => false,
        };
        if is_taken {
            return Err(libc::EADDRINUSE);
        }
        match &name {
            UnixName::Path(path) => host.paths.insert(path.clone(), id),
            UnixName::Abstract(name) => host.abstracts.insert(name.clone(), id),
            UnixName::Unnamed => None,
        };
        self.unix_mut(id)?.name = name;
        Ok(())
    }

    /// Five hexadecimal digits, as Linux gives them, but in turn.
    fn unused_name(&mut self, host: HostId) -> UnixName {
        let host = self.host_mut(host);
        loop {
            host.next_autobind = (host.next_autobind + 1) & 0xF_FFFF;
            let name = format!("{:05x}", host.next_autobind).into_bytes();
            if !host.abstracts.contains_key(&name) {
                return UnixName::Abstract(name);
            }
        }
    }

    /// The socket with a name, which is of the kind that asks.
    fn find_unix(&self, host: HostId, kind: i32, address: &SockAddr) -> Result<SocketId, Errno> {
        let host = self.host(host);
        let (found, missing) = match name::unix_in(address)? {
            UnixName::Path(path) => (host.paths.get(&path), libc::ENOENT),
            UnixName::Abstract(name) => (host.abstracts.get(&name), libc::ECONNREFUSED),
            UnixName::Unnamed => return Err(libc::EINVAL),
        };
        let id = *found.ok_or(missing)?;
        // The file outlives its socket.
        let socket = self.get(id).map_err(|_| libc::ECONNREFUSED)?;
        if socket.kind != kind {
            Err(libc::EPROTOTYPE)
        } else {
            Ok(id)
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Connecting

impl Net {
    pub(super) fn pair_unix(&mut self, a: SocketId, b: SocketId) {
        for (id, peer) in [(a, b), (b, a)] {
            if let Ok(unix) = self.unix_mut(id) {
                unix.open(peer, UnixName::Unnamed);
            }
        }
    }

    pub(super) fn listen_unix(&mut self, id: SocketId, backlog: usize) -> Result<(), Errno> {
        if self.get(id)?.kind == libc::SOCK_DGRAM {
            return Err(libc::EOPNOTSUPP);
        }
        let unix = self.unix_mut(id)?;
        let is_fresh = matches!(unix.state, UnixState::Idle | UnixState::Listening);
        if unix.name == UnixName::Unnamed || !is_fresh {
            return Err(libc::EINVAL);
        }
        unix.state = UnixState::Listening;
        unix.backlog = backlog;
        self.admit(id);
        Ok(())
    }

    pub(super) fn connect_unix(&mut self, id: SocketId, to: &SockAddr) -> Result<(), Errno> {
        let socket = self.get(id)?;
        let (host, kind) = (socket.host, socket.kind);
        if kind == libc::SOCK_DGRAM {
            return self.connect_datagrams(id, to);
        }
        match self.unix(id)?.state {
            UnixState::Idle => {}
            UnixState::Open => return Err(libc::EISCONN),
            UnixState::Connecting => return Err(libc::EALREADY),
            UnixState::Listening => return Err(libc::EINVAL),
        }
        let listener = self.find_unix(host, kind, to)?;
        let other = self.unix_mut(listener)?;
        if other.state != UnixState::Listening || other.shut_read {
            return Err(libc::ECONNREFUSED);
        }
        other.waiting.push_back(id);
        let unix = self.unix_mut(id)?;
        unix.state = UnixState::Connecting;
        unix.failure = None;
        self.admit(listener);
        Ok(())
    }

    fn connect_datagrams(&mut self, id: SocketId, to: &SockAddr) -> Result<(), Errno> {
        let host = self.get(id)?.host;
        let peer = self.find_unix(host, libc::SOCK_DGRAM, to)?;
        let other = self.unix(peer)?;
        if other.peer.is_some_and(|theirs| theirs != id) {
            return Err(libc::EPERM);
        }
        let name = other.name.clone();
        let before = self.unix(id)?.peer.filter(|before| *before != peer);
        if let Some(before) = before {
            self.leave_peer(id, before)?;
        }
        self.unix_mut(id)?.open(peer, name);
        Ok(())
    }

    /// A datagram socket gets another peer, or none: what had arrived is lost, and the old peer
    /// hears of it if it was connected back.
    fn leave_peer(&mut self, id: SocketId, old: SocketId) -> Result<(), Errno> {
        let unix = self.unix_mut(id)?;
        (unix.peer, unix.state) = (None, UnixState::Idle);
        if unix.inbox.is_empty() {
            return Ok(());
        }
        let letters = std::mem::take(&mut unix.inbox);
        self.discard_letters(id, letters, Discard::Reset);
        if let Ok(other) = self.unix_mut(old) {
            if other.peer == Some(id) {
                other.error = Some(libc::ECONNRESET);
                self.touch(old);
            }
        }
        Ok(())
    }

    /// Lets those who wait for a listener into its queue, as far as there is room.
    fn admit(&mut self, listener: SocketId) {
        loop {
            let Ok(Socket {
                host,
                domain,
                kind,
                options,
                body: Body::Unix(unix),
            }) = self.get_mut(listener)
            else {
                return;
            };
            if unix.is_full() {
                return;
            }
            let Some(client) = unix.waiting.pop_front() else {
                return;
            };
            let mut server = Unix::new();
            server.name = unix.name.clone();
            server.is_queued = true;
            let name = server.name.clone();
            let (host, domain, kind, options) = (*host, *domain, *kind, *options);
            let client_name = self
                .unix(client)
                .map_or(UnixName::Unnamed, |unix| unix.name.clone());
            server.open(client, client_name);
            let server = Socket {
                host,
                domain,
                kind,
                options,
                body: Body::Unix(server),
            };
            let server = self.add_socket(server);
            if let Ok(unix) = self.unix_mut(client) {
                unix.open(server, name);
            }
            if let Ok(unix) = self.unix_mut(listener) {
                unix.queue.push_back(server);
            }
            self.touch(client);
            self.touch(listener);
        }
    }

    pub(super) fn connect_result_unix(&mut self, id: SocketId) -> Option<Result<(), Errno>> {
        let Ok(unix) = self.unix_mut(id) else {
            return Some(Err(libc::EBADF));
        };
        match unix.state {
            UnixState::Open => Some(Ok(())),
            UnixState::Connecting => None,
            UnixState::Idle | UnixState::Listening => {
                Some(Err(unix.failure.take().unwrap_or(libc::ENOTCONN)))
            }
        }
    }

    pub(super) fn accept_unix(&mut self, id: SocketId) -> Option<Result<SocketId, Errno>> {
        let kind = self.get(id).ok()?.kind;
        let unix = self.unix_mut(id).ok()?;
        if kind == libc::SOCK_DGRAM {
            return Some(Err(libc::EOPNOTSUPP));
        }
        if unix.state != UnixState::Listening {
            return Some(Err(libc::EINVAL));
        }
        let Some(accepted) = unix.queue.pop_front() else {
            // A listener that was shut down has nothing more to come.
            return unix.shut_read.then_some(Err(libc::EINVAL));
        };
        if let Ok(unix) = self.unix_mut(accepted) {
            unix.is_queued = false;
        }
        self.admit(id);
        Some(Ok(accepted))
    }
}

// ---------------------------------------------------------------------------------------------
// Sending and ending

impl Net {
    pub(super) fn send_unix(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<&SockAddr>,
        passed: Vec<u64>,
    ) -> Result<usize, Errno> {
        match self.get(id)?.kind {
            libc::SOCK_STREAM => self.send_stream(id, bytes, to, passed),
            _ => self.send_datagram(id, bytes, to, passed),
        }
    }

    fn send_stream(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<&SockAddr>,
        passed: Vec<u64>,
    ) -> Result<usize, Errno> {
        let limit = self.get(id)?.options.send_buffer;
        let unix = self.unix(id)?;
        if to.is_some() {
            let is_open = unix.state == UnixState::Open;
            return Err(if is_open {
                libc::EISCONN
            } else {
                libc::EOPNOTSUPP
            });
        }
        let peer = unix.peer.ok_or(libc::ENOTCONN)?;
        if unix.shut_write || self.unix(peer).map_or(true, |peer| peer.shut_read) {
            return Err(libc::EPIPE);
        }
        let len = bytes.len().min(limit.saturating_sub(unix.charged));
        if bytes.is_empty() {
            return Ok(0);
        }
        if len == 0 {
            return Err(libc::EAGAIN);
        }
        let name = unix.name.clone();
        self.post(peer, Letter::new(&bytes[..len], passed, name, id, true));
        Ok(len)
    }

    fn send_datagram(
        &mut self,
        id: SocketId,
        bytes: &[u8],
        to: Option<&SockAddr>,
        passed: Vec<u64>,
    ) -> Result<usize, Errno> {
        let socket = self.get(id)?;
        let (host, kind, limit) = (socket.host, socket.kind, socket.options.send_buffer);
        let is_packet = kind == libc::SOCK_SEQPACKET;
        let unix = self.unix_mut(id)?;
        if is_packet {
            if let Some(error) = unix.error.take() {
                return Err(error);
            }
            if unix.state != UnixState::Open {
                return Err(libc::ENOTCONN);
            }
        }
        let peer = unix.peer;
        if bytes.len() > limit {
            return Err(libc::EMSGSIZE);
        }
        self.take_or_pipe(id)?;
        let unix = self.unix(id)?;
        let cost = bytes.len() + DATAGRAM_COST;
        if unix.charged > 0 && unix.charged + cost > limit {
            return Err(libc::EAGAIN);
        }
        let to = match to.filter(|_| !is_packet) {
            Some(to) => self.find_unix(host, kind, to)?,
            None => peer.ok_or(libc::ENOTCONN)?,
        };
        self.may_post(id, to, kind)?;
        let name = self.unix(id)?.name.clone();
        self.post(to, Letter::new(bytes, passed, name, id, false));
        Ok(bytes.len())
    }

    /// A waiting error, or the closed direction.
    fn take_or_pipe(&mut self, id: SocketId) -> Result<(), Errno> {
        let unix = self.unix_mut(id)?;
        match unix.error.take() {
            Some(error) => Err(error),
            None if unix.shut_write => Err(libc::EPIPE),
            None => Ok(()),
        }
    }

    /// Whether a datagram may go into this inbox now.
    fn may_post(&mut self, id: SocketId, to: SocketId, kind: i32) -> Result<(), Errno> {
        let Ok(other) = self.unix(to) else {
            if kind == libc::SOCK_SEQPACKET {
                return Err(libc::EPIPE);
            }
            // The peer is gone, and with it the connection.
            self.leave_peer(id, to)?;
            return Err(libc::ECONNREFUSED);
        };
        if other.peer.is_some_and(|theirs| theirs != id) {
            return Err(libc::EPERM);
        }
        if other.shut_read {
            return Err(libc::EPIPE);
        }
        // Who is connected back is held back by its own buffer only.
        if other.peer != Some(id) && to != id && other.inbox.len() >= DATAGRAMS_MAX {
            self.unix_mut(id)?.blocked_on = Some(to);
            return Err(libc::EAGAIN);
        }
        self.unix_mut(id)?.blocked_on = None;
        Ok(())
    }

    /// Never fails, also without a peer.
    pub(super) fn shutdown_unix(&mut self, id: SocketId, how: How) -> Result<(), Errno> {
        let kind = self.get(id)?.kind;
        let unix = self.unix_mut(id)?;
        unix.shut_read |= how.read();
        unix.shut_write |= how.write();
        let peer = unix.peer.filter(|_| kind != libc::SOCK_DGRAM);
        if let Some(Ok(other)) = peer.map(|peer| self.unix_mut(peer)) {
            other.shut_write |= how.read();
            other.shut_read |= how.write();
            peer.into_iter().for_each(|peer| self.touch(peer));
        }
        Ok(())
    }

    /// A peer that had not read everything, or was never accepted, resets the other.
    pub(super) fn close_unix(&mut self, id: SocketId) {
        let letters = self
            .unix_mut(id)
            .map(|unix| std::mem::take(&mut unix.inbox));
        let letters = letters.unwrap_or_default();
        let has_unread = !letters.is_empty();
        self.discard_letters(id, letters, Discard::Unread);
        let Some(socket) = self.sockets.remove(&id) else {
            return;
        };
        let Body::Unix(mut unix) = socket.body else {
            return;
        };
        if let UnixName::Abstract(name) = &unix.name {
            let names = &mut self.host_mut(socket.host).abstracts;
            if names.get(name) == Some(&id) {
                names.remove(name);
            }
        }
        let resets = has_unread || unix.is_queued;
        if let Some(peer) = unix.peer.filter(|peer| *peer != id) {
            self.part_from(peer, socket.kind, resets);
        }
        for queued in std::mem::take(&mut unix.queue) {
            self.close_unix(queued);
        }
        for client in std::mem::take(&mut unix.waiting) {
            if let Ok(client_socket) = self.unix_mut(client) {
                client_socket.state = UnixState::Idle;
                client_socket.failure = Some(libc::ECONNREFUSED);
                self.touch(client);
            }
        }
        if unix.state == UnixState::Connecting {
            self.stop_waiting(id);
        }
        self.tallies.unix.add(&unix.tally);
    }

    fn part_from(&mut self, peer: SocketId, kind: i32, resets: bool) {
        let Ok(other) = self.unix_mut(peer) else {
            return;
        };
        if kind != libc::SOCK_DGRAM {
            (other.shut_read, other.shut_write) = (true, true);
            if resets {
                other.error = Some(libc::ECONNRESET);
            }
        }
        self.touch(peer);
    }

    fn stop_waiting(&mut self, id: SocketId) {
        for socket in self.sockets.values_mut() {
            if let Body::Unix(unix) = &mut socket.body {
                unix.waiting.retain(|client| *client != id);
            }
        }
    }

    /// As `unix_poll` says it.
    pub(super) fn ready_unix(&self, socket: &Socket, unix: &Unix) -> Ready {
        let is_datagram = socket.kind == libc::SOCK_DGRAM;
        let acceptable = !unix.queue.is_empty();
        let has_data = !unix.inbox.is_empty();
        let is_listening = unix.state == UnixState::Listening;
        let has_room = unix.charged * 4 <= socket.options.send_buffer;
        let peer_has_room = unix.peer.or(unix.blocked_on).is_none_or(|peer| {
            let is_full = |other: &Unix| other.peer.is_none() && other.inbox.len() >= DATAGRAMS_MAX;
            !is_datagram || !self.unix(peer).is_ok_and(is_full)
        });
        let is_idle = matches!(unix.state, UnixState::Idle | UnixState::Connecting);
        Ready {
            readable: has_data || acceptable || unix.shut_read || unix.error.is_some(),
            writable: !is_listening && has_room && peer_has_room,
            acceptable,
            connected: unix.state == UnixState::Open,
            error: unix.error.is_some(),
            hangup: (unix.shut_read && unix.shut_write) || (!is_datagram && is_idle),
            peer_closed: unix.shut_read,
        }
    }
}
