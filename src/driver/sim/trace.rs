//! What happened, as one number and as the last lines of a report.

use super::rng::Rng;
use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Lines that are kept for a report.
const LINES_MAX: usize = 256;

/// One thing that happened. Only numbers that the seed decides: no addresses, no real time.
#[derive(Clone, Copy, Debug)]
struct Line {
    now: u64,
    core: usize,
    what: &'static str,
    a: i64,
    b: i64,
}

/// The trace of a simulation. Equal seeds of one binary give equal hashes.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    lines: VecDeque<Line>,
}

impl Trace {
    pub(super) fn new(seed: u64) -> Trace {
        Trace {
            hash: seed,
            count: 0,
            lines: VecDeque::new(),
        }
    }

    pub(super) fn note(&mut self, now: u64, core: usize, what: &'static str, a: i64, b: i64) {
        self.count += 1;
        for word in [now, core as u64, a as u64, b as u64] {
            self.mix(word);
        }
        for chunk in what.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(Line {
            now,
            core,
            what,
            a,
            b,
        });
    }

    fn mix(&mut self, word: u64) {
        self.hash = Rng::new(self.hash ^ word).next_u64();
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, with the names of the cores.
    pub(super) fn tell(&self, last: usize, core_name: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        let skipped = self.lines.len().saturating_sub(last);
        for line in self.lines.iter().skip(skipped) {
            let _ = writeln!(
                text,
                "  {:>12} {:<12} {:<14} {:>8} {:>8}",
                Micros(line.now),
                core_name(line.core),
                line.what,
                line.a,
                line.b
            );
        }
        text
    }
}

/// Nanoseconds, shown in microseconds.
pub(super) struct Micros(pub(super) u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:03} us", self.0 / 1000, self.0 % 1000))
    }
}
