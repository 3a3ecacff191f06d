//! When to send, and how long it took.
//!
//! Coordinated omission: a load that waits for a reply before it sends again asks a stalled server
//! less often, and so measures the stall once instead of as often as users would have met it.
//!
//! Rules:
//! 1. With a rate (open loop) every message has a due time that no stall moves, and its latency
//!    counts from there, however late it was sent.
//! 2. Without (closed loop) the latency is the service time, and the report says so.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer latencies are recorded as this one; a benchmark that has them has other troubles.
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// Three digits: a recorded value is within 0.1 % of the true one.
const SIGNIFICANT_DIGITS: u8 = 3;

/// How the load decides when to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
pub(crate) enum Mode {
    /// The next message follows a reply.
    Closed,
    /// Messages follow a timetable.
    Open {
        /// Messages per second, over all connections.
        rate: u64,
    },
}

impl Mode {
    pub(crate) fn of(rate: Option<u64>) -> Self {
        rate.map_or(Self::Closed, |rate| Self::Open { rate })
    }

    /// What the latency of this mode means, for a reader of the report.
    pub(crate) fn explanation(self) -> String {
        match self {
            Self::Closed => "closed loop; latency is service time, from send to reply".to_owned(),
            Self::Open { rate } => {
                format!("open loop, {rate} requests/s; latency counts from the due time")
            }
        }
    }
}

/// The timetable of one connection in an open loop: connection `index` of `connections` sends at
/// `start + (index + n * connections) / rate` for n = 0, 1, ..., so that all of them together keep
/// the rate, evenly spaced.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    start: Instant,
    rate: u64,
    connections: u64,
    /// The number of the next message, counted over all connections.
    next: u64,
}

/// What a connection has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send, and record the latency from this time on.
    Send {
        /// When the message was due: now or earlier.
        due: Instant,
    },
    /// Nothing is due before this time.
    Wait {
        /// When the next message is due.
        until: Instant,
    },
}

impl Timetable {
    pub(crate) fn new(start: Instant, rate: u64, connections: u32, index: u32) -> Self {
        assert!(
            rate > 0 && index < connections,
            "rate {rate}, {index} of {connections}"
        );
        Self {
            start,
            rate,
            connections: u64::from(connections),
            next: u64::from(index),
        }
    }

    /// Whether the next message is due; if so, it counts as taken.
    pub(crate) fn take(&mut self, now: Instant) -> Next {
        let due = self.due();
        if due > now {
            return Next::Wait { until: due };
        }
        self.next += self.connections;
        Next::Send { due }
    }

    /// Computed from the start each time: adding up intervals would drift.
    fn due(&self) -> Instant {
        let nanos = u128::from(self.next) * 1_000_000_000 / u128::from(self.rate);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The latencies that one core has seen. Each core has its own; they are merged at the end.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let highest = LATENCY_MAX.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, highest, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the histogram takes");
        Self { histogram }
    }

    /// `from` is the due time in an open loop, and the time of the sending in a closed one.
    pub(crate) fn record(&mut self, from: Instant, now: Instant) {
        let nanos = now.saturating_duration_since(from).as_nanos();
        self.histogram
            .saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("all recorders have the same bounds");
    }

    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn connections_share_the_rate_evenly() {
        let start = Instant::now();
        let mut due = Vec::new();
        for index in 0..4 {
            let mut table = Timetable::new(start, 1000, 4, index);
            while let Next::Send { due: at } = table.take(start + 99 * MS) {
                due.push(at - start);
            }
            assert_eq!(
                table.take(start + 99 * MS),
                Next::Wait { until: table.due() }
            );
        }
        due.sort();
        let expected: Vec<_> = (0..100).map(|n| n * MS).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn a_timetable_does_not_drift() {
        let start = Instant::now();
        let mut table = Timetable::new(start, 3, 1, 0);
        table.next = 3 * 86_400;
        assert_eq!(table.due() - start, Duration::from_secs(86_400));
    }

    /// A server that stalls for 100 ms at 1000 messages a second: the open loop sees the stall in
    /// each message that was due meanwhile.
    #[test]
    fn a_stall_is_seen_by_every_message_that_was_due() {
        let start = Instant::now();
        let mut table = Timetable::new(start, 1000, 1, 0);
        let mut recorder = Recorder::new();
        let mut now = start;
        let mut sent = 0;
        while sent < 1000 {
            match table.take(now) {
                Next::Wait { until } => now = until,
                Next::Send { due } => {
                    now += if sent == 500 { 100 * MS } else { MS / 100 };
                    recorder.record(due, now);
                    sent += 1;
                }
            }
        }
        let slow = recorder.histogram().count_between(2_000_000, u64::MAX);
        assert!((95..=105).contains(&slow), "{slow} messages met the stall");
        assert!(recorder.histogram().value_at_quantile(0.99) > 80_000_000);
    }

    #[test]
    fn values_out_of_bounds_are_kept_at_the_bounds() {
        let mut recorder = Recorder::new();
        let now = Instant::now();
        recorder.record(now + MS, now);
        recorder.record(now, now + Duration::from_secs(10_000));
        assert_eq!(recorder.histogram().len(), 2);
        let max = recorder.histogram().max();
        assert!(max >= LATENCY_MAX.as_nanos() as u64, "{max}");
        let mut sum = Recorder::new();
        sum.merge(&recorder);
        sum.merge(&recorder);
        assert_eq!(sum.histogram().len(), 4);
    }

    #[test]
    fn the_mode_explains_itself() {
        assert!(Mode::of(None).explanation().contains("service time"));
        assert!(Mode::of(Some(7)).explanation().contains("due time"));
        let json = serde_json::to_string(&Mode::Open { rate: 7 }).unwrap();
        assert_eq!(json, r#"{"loop":"open","rate":7}"#);
    }
}
