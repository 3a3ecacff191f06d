//! What a handler costs: so much arithmetic for every message.
//!
//! Rules:
//! 1. The driver finds out once how many rounds of arithmetic take the time that is wanted, by the
//!    CPU clock of its thread, and gives every contender the number. So all of them do the very
//!    same, and no reading of a clock by one of them decides how much.
//! 2. The least of many readings counts: an interrupt only adds, and who is preempted pays nothing.
//! 3. Each step needs the one before, so that the work takes as long beside another thread's.

use std::fmt;
use std::hint::black_box;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use crate::measure::thread_cpu;

/// One message: so many bytes are answered by the work of one.
pub const MESSAGE_BYTES: usize = 64;
/// Rounds of one reading, some hundred microseconds.
const PROBE_ROUNDS: u64 = 100_000;
const PROBES: usize = 50;

/// What is done for every message, as rounds of arithmetic; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    rounds: u64,
}

impl Work {
    /// As many rounds as take this much CPU time, here and now.
    #[must_use]
    pub fn calibrated(cpu: Duration) -> Self {
        let probe = |_| {
            let begin = thread_cpu();
            black_box(rounds(PROBE_ROUNDS, begin.as_nanos() as u64));
            thread_cpu() - begin
        };
        let least = (0..PROBES).map(probe).min().unwrap_or_default();
        let each = least.as_secs_f64() / PROBE_ROUNDS as f64;
        Self {
            rounds: (cpu.as_secs_f64() / each).round() as u64,
        }
    }

    /// Whether nothing is done.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.rounds == 0
    }

    /// The handler of one connection.
    #[must_use]
    pub fn handler(self) -> Handler {
        Handler {
            work: self,
            begun: 0,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.rounds)
    }
}

impl FromStr for Work {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(Self {
            rounds: text.parse()?,
        })
    }
}

/// Does the work of one connection's messages.
#[derive(Debug)]
pub struct Handler {
    work: Work,
    /// Bytes of a message that is not whole yet.
    begun: usize,
}

impl Handler {
    /// Does the work of every message that these bytes make whole.
    pub fn handle(&mut self, bytes: &[u8]) {
        if self.work.is_none() {
            return;
        }
        let whole = (self.begun + bytes.len()) / MESSAGE_BYTES;
        self.begun = (self.begun + bytes.len()) % MESSAGE_BYTES;
        for message in 0..whole {
            black_box(rounds(self.work.rounds, message as u64));
        }
    }
}

/// The work: a chain of steps. Never inlined, so that it is the same code for every contender.
#[inline(never)]
fn rounds(count: u64, seed: u64) -> u64 {
    let mut state = seed | 1;
    for _ in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_pieces_are_worked_on_when_they_are_whole() {
        let mut handler = Work { rounds: 1 }.handler();
        handler.handle(&[0; MESSAGE_BYTES - 1]);
        assert_eq!(handler.begun, MESSAGE_BYTES - 1);
        handler.handle(&[0; MESSAGE_BYTES + 3]);
        assert_eq!(handler.begun, 2);
    }

    #[test]
    fn more_time_is_more_rounds() {
        let few = Work::calibrated(Duration::from_micros(1));
        let many = Work::calibrated(Duration::from_millis(1));
        assert!(!few.is_none());
        assert!(many.rounds > 10 * few.rounds, "{few} {many}");
        assert_eq!(many.to_string().parse(), Ok(many));
    }
}
