//! The workload `tasks`: its cases, and what every contender does alike.
//!
//! The loops of the cases are the macro [`task_loops`](crate::task_loops): what a runtime may spawn
//! differs (`Send` or not), so they are the same text, compiled against each runtime.

mod loops;
mod pair;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::{Case, Job, Stop};

pub use pair::{Bell, Received, channel, on_two_cores, ping, pong};

/// How many values a channel between two cores holds.
pub const CHANNEL_LEN: usize = 1_024;
/// How many tasks are spawned and then joined, and how many yield.
pub const TOGETHER: usize = 1_000;
/// How many timers are live while others are set and dropped.
pub const LIVE_TIMERS: usize = 100_000;
/// No live timer fires while the case runs.
pub const FAR: Duration = Duration::from_secs(3_600);
/// How often two cores wake each other.
pub const ROUND_TRIPS: usize = 50_000;
/// How long both sides of `wake-spin` look for work before they sleep.
const SPIN: Duration = Duration::from_micros(100);

const fn case(name: &'static str, about: &'static str, operation: &'static str) -> Case {
    Case {
        name,
        about,
        operation,
        cores: 1,
    }
}

/// A case between two cores.
const fn pair(name: &'static str, about: &'static str, operation: &'static str) -> Case {
    Case {
        name,
        about,
        operation,
        cores: 2,
    }
}

/// Every case.
pub const CASES: &[Case] = &[
    case(
        "spawn-join",
        "a million tasks, 1,000 spawned and then joined at a time",
        "task",
    ),
    case(
        "spawn-million",
        "a million tasks spawned, then joined",
        "task",
    ),
    case("yield", "1,000 tasks that yield 1,000 times each", "yield"),
    case(
        "timer-drop",
        "a million timers, each set and dropped at once, while 100,000 others are live",
        "timer",
    ),
    case(
        "timer-replace",
        "a million timers, each set in place of the oldest of 100,000 live ones",
        "timer",
    ),
    case(
        "timer-fire",
        "100,000 tasks that sleep 1 µs to 100 ms",
        "timer",
    ),
    pair(
        "wake",
        "wake a sleeping task of another core, round trip",
        "round trip",
    ),
    pair(
        "wake-spin",
        "the same, both cores spin up to 100 µs before they sleep",
        "round trip",
    ),
    pair(
        "channel",
        "values through a channel to another core",
        "value",
    ),
];

/// How long a runtime of this job shall spin before it sleeps.
#[must_use]
pub fn spin(job: &Job) -> Option<Duration> {
    (job.case.name == "wake-spin").then_some(SPIN)
}

/// For runtimes that cannot spin: `unsupported` where they should.
pub fn no_spin(job: &Job) -> Result<(), Stop> {
    match spin(job) {
        None => Ok(()),
        Some(_) => Err(Stop::unsupported("no option to spin before the sleep")),
    }
}

/// When the timer of the number `index` fires: late, and never two at once.
#[must_use]
pub fn far(index: usize) -> Duration {
    FAR + Duration::from_micros(index as u64)
}

/// Each of so many tasks has returned its number, once.
pub fn assert_sum(sum: u64, tasks: usize) {
    let expected: u64 = (0..tasks as u64).sum();
    assert_eq!(sum, expected, "every task runs once");
}

/// Polls a timer for the first time, which sets it. Whether it waits.
pub async fn set(mut timer: Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(timer.as_mut().poll(context).is_pending())).await
}

/// Lets others run, for runtimes without a function for it.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
