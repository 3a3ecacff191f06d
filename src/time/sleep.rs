//! Waiting until a point in time.

use super::heap::Key;
use super::{Instant, Timers, now};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Waits for `duration`. Never ends early; `Duration::MAX` never ends.
///
/// The time runs from the call, not from the first poll.
///
/// # Panics
/// When polled outside of a runtime.
///
/// # Cancel safety
/// Dropping it removes the timer; nothing is lost.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`; a point in the past is ready at once.
///
/// # Panics
/// When polled outside of a runtime.
///
/// # Cancel safety
/// Dropping it removes the timer; nothing is lost.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// As [`sleep_until`], with its timer set already, for the task of this waker: so it has its turn
/// among all timers, also if the deadline has passed, however late the task is first polled.
pub(crate) fn sleep_in_order(deadline: Instant, waker: &Waker) -> Sleep {
    let timers = Timers::current();
    let key = timers.set(deadline.as_nanos(), waker);
    Sleep {
        deadline,
        timer: Some((timers, key)),
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// ```no_run
/// # async fn f() {
/// let nap = corering::time::sleep(std::time::Duration::from_millis(20));
/// let deadline = nap.deadline();
/// nap.await;
/// assert!(corering::time::Instant::now() >= deadline);
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Sleep {
    deadline: Instant,
    timer: Option<(Timers, Key)>,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed.
    pub fn is_elapsed(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Sets another deadline, whether or not the old one has passed.
    pub fn reset(&mut self, deadline: Instant) {
        self.unset();
        self.deadline = deadline;
    }

    fn unset(&mut self) {
        if let Some((timers, key)) = self.timer.take() {
            timers.cancel(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((timers, key)) = &self.timer {
            if timers.poll(*key, cx.waker()).is_ready() {
                #[cfg(feature = "sim")]
                if self.deadline.as_nanos() > now() {
                    crate::driver::sim::complain("a timer has fired early");
                }
                self.timer = None;
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        if self.deadline.as_nanos() <= now() {
            return Poll::Ready(());
        }
        let timers = Timers::current();
        let key = timers.set(self.deadline.as_nanos(), cx.waker());
        self.timer = Some((timers, key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.unset();
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::sim::Sim;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// A simulation looks at every timer that fires.
    #[test]
    fn an_early_timer_is_caught() {
        let run = |later: Duration| {
            let mut sim = Sim::new(1);
            let host = sim.host("here").boot(|_core| async {});
            sim.block_on(&host, async move {
                let mut nap = Box::pin(sleep(Duration::from_millis(1)));
                futures::future::poll_immediate(nap.as_mut()).await;
                // The timer is set; now it was too soon by this much.
                nap.deadline += later;
                nap.await;
            });
            sim.finish();
        };
        run(Duration::ZERO);
        let early = catch_unwind(AssertUnwindSafe(|| run(Duration::from_secs(1))));
        let panic = early.expect_err("a timer was early");
        let text = panic.downcast::<String>().expect("a text");
        assert!(text.contains("a timer has fired early"), "{text}");
    }
}
