//! The workload `tasks`: its cases, and what every contender does alike.
//!
//! The loops of the cases are the macro [`task_loops`](crate::task_loops): what a runtime may spawn
//! differs (`Send` or not), so they are the same text, compiled against each runtime.

mod loops;
mod pair;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::{Case, Job};

pub use pair::{Bell, Received, channel, on_two_cores, ping, pong};

/// How many values a channel between two cores holds.
pub const CHANNEL_LEN: usize = 1_024;
/// How many tasks are spawned and then joined, and how many yield.
pub const TOGETHER: usize = 1_000;
/// How many timers are live while others are set and dropped.
pub const LIVE_TIMERS: usize = 100_000;
/// No live timer fires while the case runs.
pub const FAR: Duration = Duration::from_secs(3_600);
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

/// How long a runtime of this job shall spin before it sleeps. One that cannot is unsupported.
#[must_use]
pub fn spin(job: &Job) -> Option<Duration> {
    (job.case.name == "wake-spin").then_some(SPIN)
}

/// When the timer of the number `index` fires: late, and never two at once.
#[must_use]
pub fn far(index: usize) -> Duration {
    FAR + Duration::from_micros(index as u64)
}

/// Polls a timer for the first time, which sets it. Whether it waits.
pub async fn set(mut timer: Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(timer.as_mut().poll(context).is_pending())).await
}
