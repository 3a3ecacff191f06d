//! The line of streams that found no receive buffer.
//!
//! First in, first out, and only as many as buffers came back: last in, first out starves some
//! connections for a tenth of a second. A stream that has waited for [`PATIENCE_NANOS`] is told
//! to receive into the heap instead: nobody waits for a program that keeps its buffers.
//!
//! ```text
//!   new ──poll──► in line ──buffers, or the patience is over──► called ──poll──► Turn
//! ```

use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// How long a stream waits for buffers before it uses the heap.
const PATIENCE_NANOS: u64 = 2_000_000;

/// What a stream that waited is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Arm the multishot receive again.
    Buffers,
    /// Receive once, into memory of its own.
    Heap,
}

/// A stream's place in the line.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<u64>);

impl Place {
    pub(crate) fn is_new(&self) -> bool {
        self.0.is_none()
    }
}

struct Waiting {
    number: u64,
    patience_ends: u64,
    waker: Waker,
    called: Option<Turn>,
}

/// The line.
#[derive(Default)]
pub(crate) struct Starved {
    line: VecDeque<Waiting>,
    last_number: u64,
}

impl Starved {
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// When the first in line must be called, whatever happens.
    pub(crate) fn patience_ends(&self) -> Option<u64> {
        self.line
            .iter()
            .find(|w| w.called.is_none())
            .map(|w| w.patience_ends)
    }

    /// Asks whether it is this one's turn, or takes a place at the end of the line. The second
    /// value is a waker that is not needed any more, for the caller to drop after the borrow: its
    /// destructor may be the program's own.
    pub(crate) fn poll(
        &mut self,
        place: &mut Place,
        waker: Waker,
        now: u64,
    ) -> (Poll<Turn>, Option<Waker>) {
        let Some(number) = place.0 else {
            self.last_number += 1;
            place.0 = Some(self.last_number);
            self.line.push_back(Waiting {
                number: self.last_number,
                patience_ends: now + PATIENCE_NANOS,
                waker,
                called: None,
            });
            return (Poll::Pending, None);
        };
        let at = self
            .position(number)
            .expect("a place is in the line until it is left");
        match self.line[at].called {
            Some(turn) => (Poll::Ready(turn), self.leave(place)),
            None => {
                let replaced = std::mem::replace(&mut self.line[at].waker, waker);
                (Poll::Pending, Some(replaced))
            }
        }
    }

    /// Gives a place up; returns its waker, for the caller to drop after the borrow.
    pub(crate) fn leave(&mut self, place: &mut Place) -> Option<Waker> {
        let at = self.position(place.0.take()?)?;
        self.line.remove(at).map(|waiting| waiting.waker)
    }

    /// Calls the first `buffers` in line, and those whose patience is over; their wakers.
    pub(crate) fn serve(&mut self, buffers: u32, now: u64) -> Vec<Waker> {
        let mut left = buffers as usize;
        let mut wakers = Vec::new();
        for waiting in self.line.iter_mut().filter(|w| w.called.is_none()) {
            let turn = if left > 0 {
                left -= 1;
                Turn::Buffers
            } else if waiting.patience_ends <= now {
                Turn::Heap
            } else {
                break;
            };
            waiting.called = Some(turn);
            wakers.push(waiting.waker.clone());
        }
        wakers
    }

    /// Numbers rise along the line, so the place is found by halving.
    fn position(&self, number: u64) -> Option<usize> {
        self.line
            .binary_search_by_key(&number, |waiting| waiting.number)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_then_the_heap() {
        let mut line = Starved::default();
        let waker = || Waker::noop().clone();
        let mut places = [Place::default(), Place::default(), Place::default()];
        for (i, place) in places.iter_mut().enumerate() {
            assert!(line.poll(place, waker(), i as u64).0.is_pending());
        }
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
        assert!(line.is_empty() && places[2].is_new());
    }
}
