//! What a program asks of a TCP socket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use socket2::SockAddr;

use super::check::Discard;
use super::host::Transport;
use super::pipe::{ConnId, End, Owner, Phase, Side};
use super::{Body, Errno, HostId, How, Net, Options, Ready, Socket, SocketId, name};
use crate::driver::sim::rng::Rng;

#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) local: Option<SocketAddr>,
    /// Whether the program chose the address: a failed connect gives back only what it took.
    was_bound: bool,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Idle,
    Listening(Listening),
    /// There is, or was, a connection. `told`: a program knows that connecting has ended.
    Connected {
        end: End,
        told: bool,
    },
}

#[derive(Debug)]
pub(super) struct Listening {
    backlog: usize,
    /// Handshakes under way. They count as if they had ended.
    embryos: usize,
    queue: VecDeque<ConnId>,
}

impl Tcp {
    pub(super) fn new() -> Tcp {
        Tcp {
            local: None,
            was_bound: false,
            state: State::Idle,
        }
    }

    pub(super) fn end(&self) -> Option<End> {
        match self.state {
            State::Connected { end, .. } => Some(end),
            State::Idle | State::Listening(_) => None,
        }
    }
}

impl Net {
    fn tcp(&mut self, id: SocketId) -> Option<&mut Tcp> {
        match &mut self.sockets.get_mut(&id)?.body {
            Body::Tcp(tcp) => Some(tcp),
            Body::Udp(_) | Body::Unix(_) => None,
        }
    }

    fn end(&self, id: SocketId) -> Option<End> {
        match &self.sockets.get(&id)?.body {
            Body::Tcp(tcp) => tcp.end(),
            Body::Udp(_) | Body::Unix(_) => None,
        }
    }

    fn listening(&mut self, id: SocketId) -> Option<&mut Listening> {
        match &mut self.tcp(id)?.state {
            State::Listening(listening) => Some(listening),
            State::Idle | State::Connected { .. } => None,
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Listeners

impl Net {
    pub(super) fn listen_tcp(&mut self, id: SocketId, backlog: usize) -> Result<(), Errno> {
        if let Some(listening) = self.listening(id) {
            listening.backlog = backlog;
            return Ok(());
        }
        if self.end(id).is_some() {
            return Err(libc::EINVAL);
        }
        let address = self.autobind(id)?;
        if self.has_conflict(id, address) {
            return Err(libc::EADDRINUSE);
        }
        if let Some(tcp) = self.tcp(id) {
            let queue = VecDeque::new();
            tcp.state = State::Listening(Listening {
                backlog,
                embryos: 0,
                queue,
            });
        }
        Ok(())
    }

    pub(super) fn accept_tcp(&mut self, id: SocketId) -> Option<Result<SocketId, Errno>> {
        let Some(listening) = self.listening(id) else {
            return Some(Err(libc::EINVAL));
        };
        let conn = listening.queue.pop_front()?;
        let end = End { conn, side: 1 };
        let listener = self.get(id).ok()?;
        let (host, domain) = (listener.host, listener.domain);
        let side = self.side(end)?;
        let (options, address) = (side.options, side.address);
        let state = State::Connected { end, told: true };
        let body = Body::Tcp(Tcp {
            local: None,
            was_bound: true,
            state,
        });
        let socket = Socket {
            host,
            domain,
            kind: libc::SOCK_STREAM,
            options,
            body,
        };
        let accepted = self.add_socket(socket);
        self.set_local(accepted, address);
        if let Some(side) = self.side_mut(end) {
            side.owner = Owner::Socket(accepted);
        }
        Some(Ok(accepted))
    }

    /// The listener that takes a connection to this address: one with just this address before
    /// one with a wildcard, and by chance among several that share it.
    pub(super) fn listener_for(
        &self,
        host: HostId,
        address: SocketAddr,
        rng: &mut Rng,
    ) -> Option<SocketId> {
        let mut candidates = self.at_address(host, Transport::Tcp, address);
        candidates.retain(|(id, _)| {
            let body = &self.sockets[id].body;
            matches!(body, Body::Tcp(tcp) if matches!(tcp.state, State::Listening(_)))
        });
        if candidates.iter().any(|(_, exact)| *exact) {
            candidates.retain(|(_, exact)| *exact);
        }
        match candidates.len() {
            0 => None,
            1 => Some(candidates[0].0),
            len => Some(candidates[rng.index(len)].0),
        }
    }

    /// A handshake begins, if there is room for it. Linux lets one more wait than was asked for.
    pub(super) fn conceive(&mut self, listener: SocketId) -> Option<Options> {
        let options = self.get(listener).ok()?.options;
        let listening = self.listening(listener)?;
        if listening.queue.len() + listening.embryos > listening.backlog {
            return None;
        }
        listening.embryos += 1;
        Some(options)
    }

    /// A handshake came to nothing.
    pub(super) fn miscarry(&mut self, listener: SocketId) {
        if let Some(listening) = self.listening(listener) {
            listening.embryos -= 1;
        }
    }

    /// A handshake has ended: there is something to accept.
    pub(super) fn bear(&mut self, listener: SocketId, conn: ConnId) {
        if let Some(listening) = self.listening(listener) {
            listening.embryos -= 1;
            listening.queue.push_back(conn);
        }
    }

    /// Resets what a listener has not given away.
    fn stop_listening(&mut self, id: SocketId) {
        let owner = Owner::Listener(id);
        let conns = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.sides[1].owner == owner);
        let conns: Vec<ConnId> = conns.map(|(conn, _)| *conn).collect();
        for conn in conns {
            let end = End { conn, side: 1 };
            self.abort(end);
            self.disown(end, Discard::Unread);
        }
        if let Some(tcp) = self.tcp(id) {
            tcp.state = State::Idle;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Connections

impl Net {
    pub(super) fn connect_tcp(&mut self, id: SocketId, to: &SockAddr) -> Result<(), Errno> {
        let socket = self.get(id)?;
        let (host, domain, options) = (socket.host, socket.domain, socket.options);
        match self.tcp(id).map(|tcp| &tcp.state) {
            Some(State::Listening(_) | State::Connected { told: true, .. }) => {
                return Err(libc::EISCONN);
            }
            Some(State::Connected { .. }) => {
                return self.connect_result_tcp(id).unwrap_or(Err(libc::EALREADY));
            }
            Some(State::Idle) | None => {}
        }
        let to = name::ip_in(domain, to)?;
        let bound = self.tcp(id).and_then(|tcp| tcp.local);
        let route = self.route(host, bound.map(|bound| bound.ip()), to.ip())?;
        let was_bound = bound.is_some();
        let port = self.autobind(id)?.port();
        let address = SocketAddr::new(route.source, port);
        let client = Side::new(host, address, options);
        let server = Side::new(route.host, SocketAddr::new(route.dest, to.port()), options);
        let end = self.begin(id, client, server);
        if let Some(tcp) = self.tcp(id) {
            tcp.local = Some(address);
            tcp.was_bound = was_bound;
            tcp.state = State::Connected { end, told: false };
        }
        Ok(())
    }

    pub(super) fn connect_result_tcp(&mut self, id: SocketId) -> Option<Result<(), Errno>> {
        let Some(end) = self.end(id) else {
            return Some(Err(libc::ENOTCONN));
        };
        let State::Connected { told, .. } = &mut self.tcp(id)?.state else {
            return Some(Err(libc::ENOTCONN));
        };
        if *told {
            return Some(Ok(()));
        }
        let side = self.side_mut(end)?;
        if side.phase == Phase::SynSent {
            return None;
        }
        if side.phase == Phase::Closed && !side.is_saying_goodbye() {
            let error = side.error.take().unwrap_or(libc::ECONNABORTED);
            self.disconnect(id, end);
            return Some(Err(error));
        }
        if let Some(State::Connected { told, .. }) = self.tcp(id).map(|tcp| &mut tcp.state) {
            *told = true;
        }
        Some(Ok(()))
    }

    /// Makes a socket new again, except for an address that its program gave it.
    fn disconnect(&mut self, id: SocketId, end: End) {
        self.end_side(end, Discard::Reset);
        self.disown(end, Discard::Unread);
        if self.tcp(id).is_some_and(|tcp| !tcp.was_bound) {
            self.release_port(id);
        }
        if let Some(tcp) = self.tcp(id) {
            tcp.state = State::Idle;
            if !tcp.was_bound {
                tcp.local = None;
            }
        }
    }

    pub(super) fn local_tcp(&self, domain: i32, tcp: &Tcp) -> SocketAddr {
        tcp.local.unwrap_or((name::wildcard(domain), 0).into())
    }

    pub(super) fn peer_tcp(&self, tcp: &Tcp) -> Option<SocketAddr> {
        let end = tcp.end()?;
        let phase = self.side(end)?.phase;
        let peer = self.side(end.peer())?.address;
        (phase == Phase::Open).then_some(peer)
    }

    /// The kernel's order: an error first, then the closed direction, then the buffer.
    pub(super) fn send_tcp(&mut self, id: SocketId, bytes: &[u8]) -> Result<usize, Errno> {
        let end = self.end(id).ok_or(libc::EPIPE)?;
        let side = self.side_mut(end).ok_or(libc::EPIPE)?;
        if side.phase == Phase::SynSent {
            return Err(libc::EAGAIN);
        }
        if side.error.is_some() || side.shut_write {
            return Err(side.error.take().unwrap_or(libc::EPIPE));
        }
        let len = bytes.len().min(side.room());
        if len == 0 && !bytes.is_empty() {
            return Err(libc::EAGAIN);
        }
        self.enqueue(end, &bytes[..len]);
        Ok(len)
    }

    /// The kernel's order: what has arrived, then the end of the stream, then an error, and after
    /// the error the end of the stream again.
    pub(super) fn recv_tcp(
        &mut self,
        id: SocketId,
        max: usize,
        peek: bool,
    ) -> Result<Vec<u8>, Errno> {
        let end = self.end(id).ok_or(libc::ENOTCONN)?;
        let side = self.side_mut(end).ok_or(libc::ENOTCONN)?;
        if side.inbox.is_empty() {
            if side.peer_done {
                return Ok(Vec::new());
            }
            if let Some(error) = side.error.take() {
                return Err(error);
            }
            return if side.shut_read {
                Ok(Vec::new())
            } else {
                Err(libc::EAGAIN)
            };
        }
        Ok(self.dequeue(end, max, peek))
    }

    pub(super) fn shutdown_tcp(&mut self, id: SocketId, how: How) -> Result<(), Errno> {
        if self.listening(id).is_some() {
            if how.read() {
                self.stop_listening(id);
            }
            return Ok(());
        }
        let end = self.end(id).ok_or(libc::ENOTCONN)?;
        let side = self.side_mut(end).ok_or(libc::ENOTCONN)?;
        match side.phase {
            Phase::SynSent => {
                self.disconnect(id, end);
                return Ok(());
            }
            Phase::Closed => return Err(libc::ENOTCONN),
            Phase::Unborn | Phase::SynReceived | Phase::Open => {}
        }
        side.shut_read |= how.read();
        if how.write() {
            self.finish(end);
        }
        Ok(())
    }

    pub(super) fn close_tcp(&mut self, id: SocketId, linger_zero: bool) {
        if self.listening(id).is_some() {
            self.stop_listening(id);
        }
        if let Some(end) = self.end(id) {
            self.close_end(end, linger_zero);
        }
        self.release_port(id);
        self.sockets.remove(&id);
    }

    fn close_end(&mut self, end: End, linger_zero: bool) {
        let Some(side) = self.side(end) else {
            return;
        };
        let has_unread = !side.inbox.is_empty();
        let resets = has_unread || (linger_zero && !side.is_saying_goodbye());
        match side.phase {
            Phase::Open if resets => self.abort(end),
            Phase::Open => self.finish(end),
            _ => self.end_side(end, Discard::Reset),
        }
        self.disown(end, Discard::Unread);
    }

    /// As `tcp_poll` says it.
    pub(super) fn ready_tcp(&self, tcp: &Tcp) -> Ready {
        let side = match &tcp.state {
            State::Idle => {
                return Ready {
                    writable: true,
                    hangup: true,
                    ..Ready::default()
                };
            }
            State::Listening(listening) => {
                let acceptable = !listening.queue.is_empty();
                return Ready {
                    readable: acceptable,
                    acceptable,
                    ..Ready::default()
                };
            }
            State::Connected { end, .. } => self.side(*end),
        };
        let Some(side) = side else {
            return Ready::default();
        };
        let is_closed = side.phase == Phase::Closed;
        let no_more = side.shut_read || side.peer_done;
        // A third of the buffer has to be free, or the program would be woken for crumbs.
        let has_room = side.room() > 0 && side.room() >= side.queued() / 2;
        let is_connecting = side.phase == Phase::SynSent;
        Ready {
            readable: !side.inbox.is_empty() || no_more || side.error.is_some(),
            writable: !is_connecting && (side.shut_write || has_room || side.error.is_some()),
            acceptable: false,
            connected: !is_connecting && !is_closed,
            error: side.error.is_some(),
            hangup: is_closed || (no_more && side.shut_write),
            peer_closed: no_more,
        }
    }
}
