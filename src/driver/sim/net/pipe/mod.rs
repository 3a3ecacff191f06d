//! TCP between two hosts: segments, acknowledgements and resets, and how long to wait for them.
//!
//! A connection is one object with two sides, and each side has a queue of segments on their way
//! to the other (its flight). Order holds because only the head of a flight can arrive. What a
//! broken path does depends on the segment: the kernel sends data and `FIN` again until they are
//! acknowledged, so they wait at the head; `SYN` is lost, because its sender has a timer of its
//! own; `RST` is lost for good.
//!
//! ```text
//!  client  SynSent ──on_syn_ack──────────────> Open ──both FINs done──> Closed
//!  server  Unborn ──on_syn──> SynReceived ──establish──> Open    (any) ──reset, time-out──> Closed
//! ```
//!
//! A side without an owner finishes what it was given and then closes; a connection of two closed
//! sides without owners is forgotten. Without an owner, a side waits a minute for the peer's `FIN`.

mod arrival;
mod way;

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::check::{Discard, Tally};
use super::{Due, Event, HostId, Net, Options, SECOND, SocketId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(pub(super) u64);

/// One side of a connection: 0 is the one that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) conn: ConnId,
    pub(super) side: usize,
}

impl End {
    pub(super) fn peer(self) -> End {
        End {
            conn: self.conn,
            side: 1 - self.side,
        }
    }
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) sides: [Side; 2],
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) host: HostId,
    pub(super) address: SocketAddr,
    pub(super) owner: Owner,
    pub(super) phase: Phase,
    pub(super) options: Options,
    /// `sk_err`: reported once, by whoever asks first.
    pub(super) error: Option<i32>,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    /// The peer's `FIN` has arrived.
    pub(super) peer_done: bool,

    /// Accepted, and not yet in a segment.
    pub(super) unsent: VecDeque<u8>,
    /// Bytes put into segments, and how many of them the peer has confirmed.
    sent: u64,
    acked: u64,
    /// How far the peer lets us send.
    window_end: u64,
    fin: Fin,
    /// Segments without data that leave at the next opportunity.
    outbox: VecDeque<Segment>,
    transmits: bool,
    pub(super) flight: Flight,
    /// A question whether the peer still lives is without an answer.
    probing: bool,
    /// The one thing that this side waits for with a limit.
    alarm: Option<Due>,
    /// How often `SYN` was sent.
    attempts: u32,
    pub(super) tally: Tally,

    /// Arrived, and not yet read.
    pub(super) inbox: VecDeque<u8>,
    received: u64,
    /// How far the peer was last told it may send.
    advertised: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    /// In the queue of a listener.
    Listener(SocketId),
    Socket(SocketId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No `SYN` has arrived.
    Unborn,
    SynSent,
    SynReceived,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    No,
    /// Leaves behind the last byte.
    Queued,
    Sent,
    Acked,
}

#[derive(Debug)]
enum Segment {
    Syn,
    SynAck,
    Data(Vec<u8>),
    Fin,
    Rst,
    /// Everything up to `received` has arrived, and there is room up to `limit`.
    Ack {
        received: u64,
        limit: u64,
        fin: bool,
    },
    /// Are you still there?
    Probe,
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Segment::Data(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// What is on its way to the peer, with the times of its arrival.
#[derive(Debug, Default)]
pub(super) struct Flight(VecDeque<(u64, Segment)>);

impl Flight {
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, segment)| segment.len()).sum()
    }
}

/// Bytes of headers, where bandwidth is limited.
const HEADER_LEN: usize = 40;
/// After this many `SYN`s without an answer, 127 seconds, a connect gives up.
const SYN_ATTEMPTS: u32 = 7;
/// `net.ipv4.tcp_fin_timeout`.
const FIN_TIMEOUT: u64 = 60 * SECOND;
/// How long a listener waits for the last word of a handshake.
const HANDSHAKE_TIMEOUT: u64 = 63 * SECOND;

impl Side {
    pub(super) fn new(host: HostId, address: SocketAddr, options: Options) -> Side {
        Side {
            host,
            address,
            owner: Owner::Nobody,
            phase: Phase::Unborn,
            options,
            error: None,
            shut_read: false,
            shut_write: false,
            peer_done: false,
            unsent: VecDeque::new(),
            sent: 0,
            acked: 0,
            window_end: 0,
            fin: Fin::No,
            outbox: VecDeque::new(),
            transmits: false,
            flight: Flight::default(),
            probing: false,
            alarm: None,
            attempts: 0,
            tally: Tally::default(),
            inbox: VecDeque::new(),
            received: 0,
            advertised: options.recv_buffer as u64,
        }
    }

    /// Room in the send buffer: what is not acknowledged occupies it.
    pub(super) fn room(&self) -> usize {
        self.options.send_buffer.saturating_sub(self.queued())
    }

    /// Bytes that were accepted and not acknowledged.
    pub(super) fn queued(&self) -> usize {
        self.unsent.len() + (self.sent - self.acked) as usize
    }

    /// Whether it and its peer have said their last word to each other: nothing is left to reset.
    pub(super) fn is_saying_goodbye(&self) -> bool {
        self.fin != Fin::No && self.peer_done
    }

    /// Whether all that is left of it is to hear the peer's last word.
    fn is_lingering(&self) -> bool {
        self.owner == Owner::Nobody && self.fin == Fin::Acked && !self.peer_done
    }

    fn is_forgotten(&self) -> bool {
        self.owner == Owner::Nobody && matches!(self.phase, Phase::Closed | Phase::Unborn)
    }

    fn window(&self) -> usize {
        self.window_end.saturating_sub(self.sent) as usize
    }

    /// Whether the peer owes it an answer.
    fn is_waiting(&self) -> bool {
        self.sent > self.acked || self.fin == Fin::Sent || self.probing
    }

    fn acknowledge(&mut self) {
        let read = self.received - self.inbox.len() as u64;
        self.advertised = self.advertised.max(read + self.options.recv_buffer as u64);
        let (received, limit, fin) = (self.received, self.advertised, self.peer_done);
        self.outbox.push_back(Segment::Ack {
            received,
            limit,
            fin,
        });
    }
}

// ---------------------------------------------------------------------------------------------
// What the socket says

impl Net {
    pub(super) fn side(&self, end: End) -> Option<&Side> {
        self.conns.get(&end.conn).map(|conn| &conn.sides[end.side])
    }

    pub(super) fn side_mut(&mut self, end: End) -> Option<&mut Side> {
        self.conns
            .get_mut(&end.conn)
            .map(|conn| &mut conn.sides[end.side])
    }

    /// A new connection, whose first side sends `SYN`.
    pub(super) fn begin(&mut self, id: SocketId, mut client: Side, server: Side) -> End {
        client.owner = Owner::Socket(id);
        client.phase = Phase::SynSent;
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(
            conn,
            Conn {
                sides: [client, server],
            },
        );
        let end = End { conn, side: 0 };
        self.send_syn(end);
        end
    }

    pub(super) fn set_side_options(&mut self, end: End, options: Options) {
        if let Some(side) = self.side_mut(end) {
            side.options = options;
            self.watch(end, true);
        }
    }

    /// Takes what fits into the send buffer.
    pub(super) fn enqueue(&mut self, end: End, bytes: &[u8]) {
        if let Some(side) = self.side_mut(end) {
            side.unsent.extend(bytes);
            side.tally.accepted += bytes.len() as u64;
            self.want_transmit(end);
        }
    }

    /// Takes up to `max` bytes that have arrived; `peek` leaves them.
    pub(super) fn dequeue(&mut self, end: End, max: usize, peek: bool) -> Vec<u8> {
        let Some(side) = self.side_mut(end) else {
            return Vec::new();
        };
        let len = max.min(side.inbox.len());
        if peek {
            return side.inbox.iter().take(len).copied().collect();
        }
        let bytes: Vec<u8> = side.inbox.drain(..len).collect();
        // The peer hears of room only when it needs to: small windows make small segments.
        let told = side.advertised.saturating_sub(side.received);
        let tells = side.phase == Phase::Open && told < side.options.recv_buffer as u64 / 2;
        if tells && len > 0 {
            side.acknowledge();
            self.want_transmit(end);
        }
        if let Some(peer) = self.side_mut(end.peer()) {
            peer.tally.delivered += len as u64;
        }
        bytes
    }

    /// Says that no more will come, behind what was accepted before.
    pub(super) fn finish(&mut self, end: End) {
        if let Some(side) = self.side_mut(end) {
            side.shut_write = true;
            if side.fin == Fin::No {
                side.fin = Fin::Queued;
                self.want_transmit(end);
            }
        }
    }

    /// Ends the connection at once, and tells the peer.
    pub(super) fn abort(&mut self, end: End) {
        self.end_side(end, Discard::Reset);
        self.reply_reset(end);
    }

    /// Takes the owner from a side. What arrived for it is lost.
    pub(super) fn disown(&mut self, end: End, why: Discard) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.owner = Owner::Nobody;
        self.watch(end, false);
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let unread = side.inbox.len();
        side.inbox.clear();
        if let Some(peer) = self.side_mut(end.peer()) {
            peer.tally.discard(why, unread);
        }
        self.forget(end.conn);
    }

    /// Ends a side without a word. What it had not sent is lost.
    pub(super) fn end_side(&mut self, end: End, why: Discard) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.phase = Phase::Closed;
        (side.shut_read, side.shut_write) = (true, true);
        let unsent = side.unsent.len();
        side.tally.discard(why, unsent);
        side.unsent.clear();
        side.outbox.clear();
        self.silence(end);
    }

    /// The side's host lost its power: its memory is gone, and what already left it is not.
    pub(super) fn vanish(&mut self, end: End) {
        self.end_side(end, Discard::PowerLost);
        self.lose_flight(end, false, Discard::PowerLost);
        self.disown(end, Discard::PowerLost);
    }

    /// Loses what is on its way from this side: all of it, or what only waits for the path to
    /// work again and would have to be sent once more.
    pub(super) fn lose_flight(&mut self, end: End, all: bool, why: Discard) {
        let now = self.now;
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let flight = std::mem::take(&mut side.flight.0);
        for (arrival, segment) in flight {
            if all || arrival <= now {
                side.tally.discard(why, segment.len());
            } else {
                side.flight.0.push_back((arrival, segment));
            }
        }
        self.await_head(end);
    }

    /// Forgets a connection of which nobody will ask again.
    pub(super) fn forget(&mut self, id: ConnId) {
        let is_over = |conn: &Conn| conn.sides.iter().all(Side::is_forgotten);
        if !self.conns.get(&id).is_some_and(is_over) {
            return;
        }
        for side in 0..2 {
            let end = End { conn: id, side };
            self.silence(end);
            self.lose_flight(end, true, Discard::TooLate);
        }
        if let Some(conn) = self.conns.remove(&id) {
            conn.sides
                .iter()
                .for_each(|side| self.tallies.tcp.add(&side.tally));
        }
    }

    pub(super) fn want_transmit(&mut self, end: End) {
        let now = self.now;
        if let Some(side) = self.side_mut(end) {
            if !std::mem::replace(&mut side.transmits, true) {
                self.schedule(now, Event::Transmit(end));
            }
        }
    }

    fn send_syn(&mut self, end: End) {
        let now = self.now;
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.outbox.push_back(Segment::Syn);
        // The next one after 1, 2, 4 .. 64 seconds.
        let pause = SECOND << side.attempts;
        side.attempts += 1;
        let due = self.schedule(now + pause, Event::Alarm(end));
        if let Some(side) = self.side_mut(end) {
            side.alarm = Some(due);
        }
        self.want_transmit(end);
    }
}

// ---------------------------------------------------------------------------------------------
// Waiting

impl Net {
    fn silence(&mut self, end: End) {
        if let Some(due) = self.side_mut(end).and_then(|side| side.alarm.take()) {
            self.agenda.remove(&due);
        }
    }

    /// Keeps the alarm of an open side: set while the peer owes an answer, and set anew when one
    /// came (`progress`).
    fn watch(&mut self, end: End, progress: bool) {
        let Some(side) = self.side(end).filter(|side| side.phase == Phase::Open) else {
            return;
        };
        let timeout = match side.is_waiting() {
            true => Some(side.options.user_timeout),
            false => side.is_lingering().then_some(FIN_TIMEOUT),
        };
        if timeout.is_some() && side.alarm.is_some() && !progress {
            return;
        }
        self.silence(end);
        if let Some(timeout) = timeout {
            let due = self.schedule(self.now.saturating_add(timeout), Event::Alarm(end));
            if let Some(side) = self.side_mut(end) {
                side.alarm = Some(due);
            }
        }
    }

    /// Waited too long: for the answer to a `SYN`, for the end of a handshake, for an
    /// acknowledgement, or for the last word of a peer.
    pub(super) fn alarm(&mut self, end: End) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.alarm = None;
        match side.phase {
            Phase::SynSent if side.attempts < SYN_ATTEMPTS => self.send_syn(end),
            Phase::SynSent | Phase::Open => {
                side.error = Some(libc::ETIMEDOUT);
                self.end_side(end, Discard::TimedOut);
                self.lose_flight(end, false, Discard::TimedOut);
                self.touch_owner(end);
                self.forget(end.conn);
            }
            Phase::SynReceived => self.drop_embryo(end),
            Phase::Unborn | Phase::Closed => {}
        }
    }

    fn drop_embryo(&mut self, end: End) {
        self.end_side(end, Discard::TimedOut);
        if let Some(Owner::Listener(listener)) = self.side(end).map(|side| side.owner) {
            self.miscarry(listener);
        }
        self.disown(end, Discard::TimedOut);
    }

    fn touch_owner(&mut self, end: End) {
        match self.side(end).map(|side| side.owner) {
            Some(Owner::Socket(id) | Owner::Listener(id)) => self.touch(id),
            Some(Owner::Nobody) | None => {}
        }
    }
}
