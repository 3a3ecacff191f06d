//! The line of streams that found no receive buffer.
//!
//! First in, first out, and only as many as buffers came back: last in, first out starves some
//! connections for a tenth of a second. As long as the line moves, waiting is right: the memory
//! that comes back is warm, and a buffer takes eight times what a receive into the heap does. A
//! stream that has waited for [`PATIENCE_NANOS`] while it does not is told to receive into the
//! heap instead: nobody waits for a program that keeps its buffers.
//!
//! ```text
//!   new ──poll──► in line ──buffers, or the patience is over──► called ──poll──► Turn
//!                    ▲                                                            │
//!                    └──────── at its former place: the buffers were gone ◄───────┘
//! ```

use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// How long a stream waits for buffers in a line that stands still before it uses the heap.
const PATIENCE_NANOS: u64 = 2_000_000;
/// How long it waits in one that moves: a thousand connections with 256 KiB each under way take
/// their turns within a few tenths of this.
const PATIENCE_NANOS_MAX: u64 = 1_000_000_000;
/// The line moves if so many are called between two looks. A turn that fills and sends all buffers
/// takes some milliseconds, and between two such turns nobody is called: looks are further apart.
const CALLED_MIN: u32 = 16;
const LOOK_NANOS: u64 = 20_000_000;

/// What a stream that waited is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Arm the multishot receive again.
    Buffers,
    /// Receive once, into memory of its own.
    Heap,
}

/// A stream's place in the line. It is kept until bytes have come: who was called and found that
/// others had taken the buffers waits where it was.
#[derive(Debug, Default)]
pub(crate) struct Place {
    ticket: Option<Ticket>,
    in_line: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    number: u64,
    since: u64,
}

impl Place {
    pub(crate) fn is_in_line(&self) -> bool {
        self.in_line
    }
}

struct Waiting {
    ticket: Ticket,
    waker: Waker,
    called: Option<Turn>,
}

/// The line.
#[derive(Default)]
pub(crate) struct Starved {
    line: VecDeque<Waiting>,
    last_number: u64,
    pace: Pace,
}

/// Whether the line moves, looked at every [`LOOK_NANOS`].
#[derive(Default)]
struct Pace {
    look_at: u64,
    called: u32,
    /// As the last look has found it; while nobody waits it stays so.
    moves: bool,
}

impl Pace {
    /// Counts anew from now on.
    fn begin(&mut self, now: u64) {
        self.look_at = now.saturating_add(LOOK_NANOS);
        self.called = 0;
    }

    fn look(&mut self, now: u64) {
        if now >= self.look_at {
            self.moves = self.called >= CALLED_MIN;
            self.begin(now);
        }
    }

    /// Until when this one waits, unless buffers come before.
    fn patience_ends(&self, ticket: Ticket) -> u64 {
        let soonest = ticket.since.saturating_add(PATIENCE_NANOS);
        match self.moves {
            true => soonest
                .max(self.look_at)
                .min(ticket.since.saturating_add(PATIENCE_NANOS_MAX)),
            false => soonest,
        }
    }
}

impl Starved {
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// When the line must be looked at, whatever happens.
    pub(crate) fn patience_ends(&self) -> Option<u64> {
        let first = self.line.iter().find(|w| w.called.is_none())?;
        Some(self.pace.patience_ends(first.ticket))
    }

    /// Asks whether it is this one's turn, or takes a place: a new one at the end of the line. The
    /// second value is a waker that is not needed any more, for the caller to drop after the
    /// borrow: its destructor may be the program's own.
    pub(crate) fn poll(
        &mut self,
        place: &mut Place,
        waker: Waker,
        now: u64,
    ) -> (Poll<Turn>, Option<Waker>) {
        let ticket = *place.ticket.get_or_insert_with(|| {
            self.last_number += 1;
            Ticket {
                number: self.last_number,
                since: now,
            }
        });
        let at = self.position(ticket.number);
        if !place.in_line {
            place.in_line = true;
            if self.line.is_empty() {
                self.pace.begin(now);
            }
            let waiting = Waiting {
                ticket,
                waker,
                called: None,
            };
            self.line.insert(at, waiting);
            return (Poll::Pending, None);
        }
        match self.line[at].called {
            Some(turn) => {
                place.in_line = false;
                let left = self.line.remove(at);
                (Poll::Ready(turn), left.map(|waiting| waiting.waker))
            }
            None => {
                let replaced = std::mem::replace(&mut self.line[at].waker, waker);
                (Poll::Pending, Some(replaced))
            }
        }
    }

    /// Gives a place up; returns its waker, for the caller to drop after the borrow.
    pub(crate) fn leave(&mut self, place: &mut Place) -> Option<Waker> {
        let Place { ticket, in_line } = std::mem::take(place);
        let at = self.position(ticket.filter(|_| in_line)?.number);
        self.line.remove(at).map(|waiting| waiting.waker)
    }

    /// Calls the first `buffers` in line, and those whose patience is over; their wakers.
    pub(crate) fn serve(&mut self, buffers: u32, now: u64) -> Vec<Waker> {
        let mut left = buffers;
        let mut wakers = Vec::new();
        self.pace.look(now);
        for waiting in self.line.iter_mut().filter(|w| w.called.is_none()) {
            let turn = if left > 0 {
                left -= 1;
                self.pace.called += 1;
                Turn::Buffers
            } else if self.pace.patience_ends(waiting.ticket) <= now {
                Turn::Heap
            } else {
                break;
            };
            waiting.called = Some(turn);
            wakers.push(waiting.waker.clone());
        }
        wakers
    }

    /// Where a number stands, or belongs: numbers rise along the line.
    fn position(&self, number: u64) -> usize {
        self.line.partition_point(|w| w.ticket.number < number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waker() -> Waker {
        Waker::noop().clone()
    }

    fn line_of<const N: usize>() -> (Starved, [Place; N]) {
        let mut line = Starved::default();
        let mut places = std::array::from_fn(|_| Place::default());
        for (i, place) in places.iter_mut().enumerate() {
            assert!(line.poll(place, waker(), i as u64).0.is_pending());
        }
        (line, places)
    }

    #[test]
    fn first_in_first_out_and_then_the_heap() {
        let (mut line, mut places) = line_of::<3>();
        assert_eq!(line.patience_ends(), Some(PATIENCE_NANOS));
        assert_eq!(line.serve(1, 0).len(), 1);
        assert_eq!(
            line.poll(&mut places[0], waker(), 9).0,
            Poll::Ready(Turn::Buffers)
        );
        assert!(line.poll(&mut places[1], waker(), 9).0.is_pending());
        assert_eq!(line.serve(0, PATIENCE_NANOS + 1).len(), 1);
        assert_eq!(
            line.poll(&mut places[1], waker(), 9).0,
            Poll::Ready(Turn::Heap)
        );
        line.leave(&mut places[2]);
        assert!(line.is_empty() && !places[2].is_in_line());
    }

    #[test]
    fn who_was_called_in_vain_keeps_its_place() {
        let (mut line, mut places) = line_of::<3>();
        assert_eq!(line.serve(1, 0).len(), 1);
        for wanted in [Poll::Ready(Turn::Buffers), Poll::Pending] {
            assert_eq!(line.poll(&mut places[0], waker(), 5).0, wanted);
        }
        assert_eq!(line.serve(1, 6).len(), 1);
        assert!(line.poll(&mut places[1], waker(), 7).0.is_pending());
        assert!(line.poll(&mut places[0], waker(), 7).0.is_ready());
        // Once it has its bytes, it is the last.
        places[0] = Place::default();
        assert!(line.poll(&mut places[0], waker(), 8).0.is_pending());
        assert_eq!(line.serve(2, 9).len(), 2);
        assert!(line.poll(&mut places[0], waker(), 9).0.is_pending());
        assert!(line.poll(&mut places[2], waker(), 9).0.is_ready());
    }

    /// Calls so many others, who came before.
    fn call_others(line: &mut Starved, count: u32, now: u64) {
        for _ in 0..count {
            let mut place = Place {
                ticket: Some(Ticket {
                    number: 0,
                    since: now,
                }),
                in_line: false,
            };
            assert!(line.poll(&mut place, waker(), now).0.is_pending());
            assert_eq!(line.serve(1, now).len(), 1);
            assert!(line.poll(&mut place, waker(), now).0.is_ready());
        }
    }

    /// When the only one in a line is called for the heap, if so many others are called by each
    /// look.
    fn heap_after(called: u32) -> u64 {
        // Somebody has waited before, while the line moved as it does now.
        let (mut line, [mut before]) = line_of::<1>();
        call_others(&mut line, called, 0);
        line.serve(0, LOOK_NANOS);
        line.leave(&mut before);
        let mut place = Place::default();
        let mut now = LOOK_NANOS;
        while line.poll(&mut place, waker(), now).0.is_pending() {
            call_others(&mut line, called, now);
            now = line.patience_ends().expect("one is waiting");
            line.serve(0, now);
        }
        now - LOOK_NANOS
    }

    #[test]
    fn patience_is_long_while_the_line_moves() {
        assert_eq!(heap_after(0), PATIENCE_NANOS);
        assert_eq!(heap_after(CALLED_MIN - 1), PATIENCE_NANOS);
        assert_eq!(heap_after(CALLED_MIN), PATIENCE_NANOS_MAX);
    }
}
