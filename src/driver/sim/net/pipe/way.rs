//! The way from one side to the other: cutting bytes into segments, and who gets through when.

use super::{End, Fin, HEADER_LEN, Phase, Segment};
use crate::driver::sim::net::{Event, HostId, Net};
use crate::driver::sim::rng::Rng;

impl Net {
    /// Sends what a side has to say and may say.
    pub(in crate::driver::sim::net) fn transmit(&mut self, end: End, rng: &mut Rng) {
        let is_broken = self.is_broken(end);
        let Some(side) = self.side_mut(end) else {
            return;
        };
        side.transmits = false;
        let mut segments: Vec<Segment> = side.outbox.drain(..).collect();
        if side.phase == Phase::Open {
            let pair = self.pair(end);
            let sizes = self.links.get(pair).segment;
            segments.extend(self.cut(end, sizes, is_broken, rng));
        }
        for segment in segments {
            self.launch(end, segment, rng);
        }
        self.watch(end, false);
    }

    /// Cuts what the window allows into segments.
    fn cut(
        &mut self,
        end: End,
        sizes: (usize, usize),
        is_broken: bool,
        rng: &mut Rng,
    ) -> Vec<Segment> {
        let Some(side) = self.side_mut(end) else {
            return Vec::new();
        };
        let mut segments = Vec::new();
        let (low, high) = (sizes.0.max(1), sizes.1.max(sizes.0).max(1));
        while !side.unsent.is_empty() && side.window() > 0 {
            let size = rng.between(low as u64, high as u64) as usize;
            let size = size.min(side.unsent.len()).min(side.window());
            side.sent += size as u64;
            segments.push(Segment::Data(side.unsent.drain(..size).collect()));
        }
        if side.unsent.is_empty() && side.fin == Fin::Queued {
            side.fin = Fin::Sent;
            segments.push(Segment::Fin);
        }
        // A closed window is asked about again and again. Only where no answer can come does
        // that make a difference.
        if !side.unsent.is_empty() && !side.is_waiting() && is_broken {
            side.probing = true;
            segments.push(Segment::Probe);
        }
        segments
    }

    fn launch(&mut self, end: End, segment: Segment, rng: &mut Rng) {
        let pair = self.pair(end);
        let arrival = self
            .links
            .arrival(pair, HEADER_LEN + segment.len(), self.now, rng);
        let Some(side) = self.side_mut(end) else {
            return;
        };
        let last = side.flight.0.back().map_or(0, |(last, _)| *last);
        let arrival = arrival.max(last);
        let is_first = side.flight.0.is_empty();
        side.flight.0.push_back((arrival, segment));
        if is_first {
            self.schedule(arrival, Event::Arrive(end));
        }
    }

    /// Lets the segments that are due arrive, as far as the path lets them.
    pub(in crate::driver::sim::net) fn arrive(&mut self, end: End, rng: &mut Rng) {
        loop {
            let Some((arrival, segment)) = self.side(end).and_then(|side| side.flight.0.front())
            else {
                return;
            };
            if *arrival > self.now {
                return self.await_head(end);
            }
            let verdict = self.verdict(end, segment);
            if verdict == Verdict::Hold {
                return;
            }
            let head = self
                .side_mut(end)
                .and_then(|side| side.flight.0.pop_front());
            if let Some((_, segment)) = head.filter(|_| verdict == Verdict::Pass) {
                self.receive(end.peer(), segment, rng);
            }
        }
    }

    fn verdict(&self, end: End, segment: &Segment) -> Verdict {
        let pair = self.pair(end);
        if self.links.clogged.contains(&pair) {
            return Verdict::Hold;
        }
        if self.links.is_open(pair) && self.host(pair.1).up {
            return Verdict::Pass;
        }
        match segment {
            Segment::Syn | Segment::SynAck | Segment::Rst => Verdict::Lose,
            // A host without power has no memory of what it should have heard.
            Segment::Ack { .. } if !self.host(pair.1).up => Verdict::Lose,
            Segment::Ack { .. } | Segment::Data(_) | Segment::Fin | Segment::Probe => Verdict::Hold,
        }
    }

    /// Plans the arrival of the head of a flight.
    pub(super) fn await_head(&mut self, end: End) {
        if let Some((arrival, _)) = self.side(end).and_then(|side| side.flight.0.front()) {
            self.schedule(*arrival, Event::Arrive(end));
        }
    }

    /// The path of a pair works again: what waited is sent once more.
    pub(in crate::driver::sim::net) fn resume(&mut self, from: HostId, to: HostId) {
        let latency = self.links.get((from, to)).latency.0;
        let floor = self.now.saturating_add(latency);
        for end in self.ends_between(from, to) {
            if let Some(side) = self.side_mut(end) {
                for (arrival, _) in &mut side.flight.0 {
                    *arrival = floor.max(*arrival);
                }
            }
            self.await_head(end);
        }
    }

    /// The path of a pair broke: who waits for room at the other end has to ask now.
    pub(in crate::driver::sim::net) fn interrupt(&mut self, from: HostId, to: HostId) {
        for end in self
            .ends_between(from, to)
            .into_iter()
            .chain(self.ends_between(to, from))
        {
            self.want_transmit(end);
        }
    }

    /// All sides of connections on the host `from` whose peer is on `to`.
    pub(in crate::driver::sim::net) fn ends_between(&self, from: HostId, to: HostId) -> Vec<End> {
        let ends = self
            .conns
            .keys()
            .flat_map(|conn| [0, 1].map(|side| End { conn: *conn, side }));
        ends.filter(|end| self.pair(*end) == (from, to)).collect()
    }

    /// From and to, for what this side sends. The sides of a connection know their hosts, also
    /// when it is gone: then nobody asks.
    pub(super) fn pair(&self, end: End) -> (HostId, HostId) {
        let host = |end| self.side(end).map_or(HostId(0), |side| side.host);
        (host(end), host(end.peer()))
    }

    /// Whether no answer can come back to this side: the path is broken in one direction, or the
    /// peer is gone.
    fn is_broken(&self, end: End) -> bool {
        let (here, there) = self.pair(end);
        let is_open = self.links.is_open((here, there)) && self.links.is_open((there, here));
        let peer_is_gone = self
            .side(end.peer())
            .is_none_or(|peer| peer.phase == Phase::Closed);
        !is_open || peer_is_gone || !self.host(there).up
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Hold,
    Lose,
}
