//! Ticks at a fixed period.

use super::{Instant, Sleep, sleep_until};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Ticks every `period`; the first tick is immediate.
///
/// A period of zero counts as one nanosecond.
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and every `period` after it.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval {
        sleep: sleep_until(start),
        period: period.max(Duration::from_nanos(1)),
        missed: MissedTickBehavior::Burst,
        burst: 0,
    }
}

/// What an [`Interval`] does after it was polled too late for one or more ticks.
///
/// ```
/// use corering::time::MissedTickBehavior;
/// assert_eq!(MissedTickBehavior::default(), MissedTickBehavior::Burst);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// The missed ticks come at once, one after the other, until the interval has caught up.
    #[default]
    Burst,
    /// The next tick comes one period after this late one: the schedule moves.
    Delay,
    /// The missed ticks are left out: the next tick is the next one of the old schedule.
    Skip,
}

/// Ticks at a fixed period; made by [`interval`].
///
/// ```no_run
/// use corering::time::{MissedTickBehavior, interval};
/// use std::time::Duration;
/// # async fn f() {
/// let mut ticks = interval(Duration::from_millis(100));
/// ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// for _ in 0..3 {
///     ticks.tick().await;
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
    /// Ticks in a row that were due already.
    burst: u32,
}

/// So many ticks may be due already before the other tasks get a turn.
const BURST_MAX: u32 = 64;

impl Interval {
    /// Waits for the next tick; returns when it was due.
    ///
    /// # Cancel safety
    /// Dropping it loses no tick.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Interval::tick), for code that polls.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        if self.burst == BURST_MAX {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            self.burst = 0;
            return Poll::Pending;
        }
        self.burst += 1;
        let due = self.sleep.deadline();
        self.sleep.reset(self.after(due, Instant::now()));
        Poll::Ready(due)
    }

    /// When the tick after the one that was due at `due`, and is delivered at `now`, is due.
    fn after(&self, due: Instant, now: Instant) -> Instant {
        let next = due + self.period;
        if next > now {
            return next;
        }
        match self.missed {
            MissedTickBehavior::Burst => next,
            MissedTickBehavior::Delay => now + self.period,
            MissedTickBehavior::Skip => {
                let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
                let late = (now - due).as_nanos() as u64;
                now + Duration::from_nanos(period - late % period)
            }
        }
    }

    /// Starts over: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(Instant::now() + self.period);
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens to missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what happens to missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

impl futures_core::Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_follow_the_policy() {
        let at = |nanos| Instant::from_nanos(nanos);
        let mut ticks = interval_at(at(100), Duration::from_nanos(10));
        assert_eq!(ticks.after(at(100), at(103)), at(110));
        assert_eq!(ticks.after(at(100), at(134)), at(110));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        assert_eq!(ticks.after(at(100), at(134)), at(144));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        assert_eq!(ticks.after(at(100), at(134)), at(140));
        assert_eq!(ticks.after(at(100), at(140)), at(150));
    }
}
