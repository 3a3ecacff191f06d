//! The cases of the workload `tasks`.

use crate::Case;

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
        "a million timers set and dropped while 100,000 are live",
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
        "channel",
        "values through a channel to another core",
        "value",
    ),
];
