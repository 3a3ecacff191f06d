//! What a side does with a segment that has arrived.

use super::{End, Fin, HANDSHAKE_TIMEOUT, Owner, Phase, Segment, Side};
use crate::driver::sim::net::{Discard, Event, Net};
use crate::driver::sim::rng::Rng;

impl Net {
    pub(super) fn receive(&mut self, end: End, segment: Segment, rng: &mut Rng) {
        let Some(side) = self.side(end) else {
            return;
        };
        let phase = side.phase;
        if phase == Phase::Closed || phase == Phase::Unborn {
            return self.receive_closed(end, segment, rng);
        }
        if phase == Phase::SynReceived && !matches!(segment, Segment::Syn | Segment::Rst) {
            self.establish(end);
        }
        match segment {
            // The answer to the first one was lost, or this one was late.
            Segment::Syn if phase == Phase::SynReceived => {
                self.say(end, Segment::SynAck);
            }
            Segment::SynAck if phase == Phase::SynSent => self.on_syn_ack(end),
            Segment::Syn | Segment::SynAck => {}
            Segment::Data(bytes) => self.on_data(end, bytes),
            Segment::Fin => self.on_fin(end),
            Segment::Rst => self.on_reset(end),
            Segment::Ack {
                received,
                limit,
                fin,
            } => self.on_ack(end, received, limit, fin),
            Segment::Probe => self.acknowledge(end),
        }
    }

    /// What arrives where nobody is (any more) is answered with a reset, unless it asks for
    /// nothing.
    fn receive_closed(&mut self, end: End, segment: Segment, rng: &mut Rng) {
        match segment {
            Segment::Syn => self.on_syn(end, rng),
            Segment::Rst | Segment::Ack { .. } => {}
            Segment::SynAck | Segment::Data(_) | Segment::Fin | Segment::Probe => {
                if let Some(peer) = self.side_mut(end.peer()) {
                    peer.tally.discard(Discard::TooLate, segment.len());
                }
                self.reply_reset(end);
            }
        }
        self.forget(end.conn);
    }

    fn on_syn(&mut self, end: End, rng: &mut Rng) {
        let client_waits = self
            .side(end.peer())
            .is_some_and(|client| client.phase == Phase::SynSent);
        let Some(address) = self
            .side(end)
            .map(|side| side.address)
            .filter(|_| client_waits)
        else {
            return;
        };
        let host = self.pair(end).0;
        let Some(listener) = self.listener_for(host, address, rng) else {
            return self.reply_reset(end);
        };
        let Some(options) = self.conceive(listener) else {
            return; // Its queue is full: the client will ask again.
        };
        let due = self.schedule(self.now + HANDSHAKE_TIMEOUT, Event::Alarm(end));
        let client_window = self.side(end.peer()).map_or(0, |client| client.advertised);
        if let Some(side) = self.side_mut(end) {
            let tally = std::mem::take(&mut side.tally);
            let flight = std::mem::take(&mut side.flight);
            *side = Side::new(host, address, options);
            (side.tally, side.flight) = (tally, flight);
            side.owner = Owner::Listener(listener);
            side.phase = Phase::SynReceived;
            side.window_end = client_window;
            side.alarm = Some(due);
        }
        self.say(end, Segment::SynAck);
    }

    fn on_syn_ack(&mut self, end: End) {
        let window = self.side(end.peer()).map_or(0, |server| server.advertised);
        self.silence(end);
        if let Some(side) = self.side_mut(end) {
            side.phase = Phase::Open;
            side.window_end = window;
        }
        self.acknowledge(end);
        self.touch_owner(end);
    }

    fn establish(&mut self, end: End) {
        self.silence(end);
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.phase = Phase::Open;
        if let Owner::Listener(listener) = side.owner {
            self.bear(listener, end.conn);
            self.touch(listener);
        }
    }

    fn on_data(&mut self, end: End, bytes: Vec<u8>) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let is_unwanted = side.owner == Owner::Nobody || (side.shut_read && side.shut_write);
        if is_unwanted {
            side.error = Some(libc::ECONNRESET);
            if let Some(peer) = self.side_mut(end.peer()) {
                peer.tally.discard(Discard::TooLate, bytes.len());
            }
            self.abort(end);
            self.touch_owner(end);
            return self.forget(end.conn);
        }
        side.received += bytes.len() as u64;
        side.inbox.extend(bytes);
        self.acknowledge(end);
        self.touch_owner(end);
    }

    fn on_fin(&mut self, end: End) {
        if let Some(side) = self.side_mut(end) {
            side.peer_done = true;
        }
        self.acknowledge(end);
        self.touch_owner(end);
        self.part(end);
    }

    fn on_ack(&mut self, end: End, received: u64, limit: u64, fin: bool) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let gained = received > side.acked;
        side.acked = side.acked.max(received);
        side.window_end = side.window_end.max(limit);
        side.probing = false;
        if fin && side.fin == Fin::Sent {
            side.fin = Fin::Acked;
        }
        let goes_on = !side.unsent.is_empty();
        if gained {
            self.touch_owner(end);
        }
        if goes_on {
            self.want_transmit(end);
        }
        self.watch(end, true);
        self.part(end);
    }

    /// Both have said their last word, and ours was heard: the connection is over.
    fn part(&mut self, end: End) {
        let is_over = |side: &&mut Side| side.fin == Fin::Acked && side.peer_done;
        if let Some(side) = self.side_mut(end).filter(|side| is_over(side)) {
            side.phase = Phase::Closed;
            // The acknowledgement of the peer's last word is still to leave.
            self.silence(end);
            self.touch_owner(end);
            self.forget(end.conn);
        }
    }

    /// A reset arrived.
    pub(in crate::driver::sim::net) fn on_reset(&mut self, end: End) {
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let is_half_closed = side.peer_done && side.fin == Fin::No;
        side.error = Some(match side.phase {
            Phase::SynSent => libc::ECONNREFUSED,
            _ if is_half_closed => libc::EPIPE,
            _ => libc::ECONNRESET,
        });
        let phase = side.phase;
        if phase == Phase::SynReceived {
            return self.drop_embryo(end);
        }
        self.end_side(end, Discard::Reset);
        self.touch_owner(end);
        self.forget(end.conn);
    }

    fn acknowledge(&mut self, end: End) {
        if let Some(side) = self.side_mut(end) {
            side.acknowledge();
            self.want_transmit(end);
        }
    }

    pub(super) fn reply_reset(&mut self, end: End) {
        self.say(end, Segment::Rst);
    }

    fn say(&mut self, end: End, segment: Segment) {
        if let Some(side) = self.side_mut(end) {
            side.outbox.push_back(segment);
            self.want_transmit(end);
        }
    }
}
