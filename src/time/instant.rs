//! A point of the monotonic clock.

use super::now;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// A point of the monotonic clock, as timers understand it: like `std::time::Instant`, but read
/// through the runtime, so that a program can be run on another clock.
///
/// Arithmetic saturates: adding too much gives [`Instant::FAR`], which no timer reaches.
///
/// ```
/// use corering::time::Instant;
/// use std::time::Duration;
/// let begin = Instant::now();
/// assert!(begin + Duration::from_millis(5) > begin);
/// assert_eq!(begin + Duration::MAX, Instant::FAR);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// A point that is never reached.
    pub const FAR: Instant = Instant(u64::MAX);

    /// The present.
    pub fn now() -> Instant {
        Instant(now())
    }

    /// How long ago this was; zero if it is still to come.
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// The time from `earlier` to this; zero if `earlier` is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time from `earlier` to this, or `None` if `earlier` is later.
    pub fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// This point and `duration`, or `None` beyond the clock's range.
    pub fn checked_add(self, duration: Duration) -> Option<Instant> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Instant)
    }

    /// This point less `duration`, or `None` before the clock's beginning.
    pub fn checked_sub(self, duration: Duration) -> Option<Instant> {
        let nanos = u64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_sub(nanos).map(Instant)
    }

    #[cfg(any(test, feature = "hyper"))]
    pub(crate) fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        self.checked_add(duration).unwrap_or(Instant::FAR)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        self.checked_sub(duration).unwrap_or(Instant(0))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}
