//! How much one turn of the executor may do: so many polls, and so much time.
//!
//! Rules
//! 1. Polls are counted exactly. The clock is read before the second poll, and then every
//!    [`POLLS_PER_CLOCK_READ`] polls: a turn of a single poll, the usual one of a server with
//!    little to do, costs no look at the clock, and any other a decrement a poll.
//! 2. The clock comes in as a function; nothing else here knows the time.

/// Polls between two looks at the clock: 16 polls of 15 ns pay for one read of 20 ns.
const POLLS_PER_CLOCK_READ: u32 = 16;

/// What is left of a turn.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Polls that may still be made.
    polls_left: u32,
    /// Polls until the next look at the clock; `u32::MAX` where only polls count.
    clock_in: u32,
    /// How long the turn may take, in nanoseconds.
    nanos: u64,
    /// The nanosecond at which the turn ends; unknown before the first look at the clock.
    deadline: Option<u64>,
    /// The clock, in nanoseconds from any fixed point.
    now: fn() -> u64,
}

impl Budget {
    /// At most `polls` polls, and about `micros` microseconds from the second poll on (0: however
    /// long it takes).
    pub(crate) fn new(polls: u32, micros: u32, now: fn() -> u64) -> Budget {
        Budget {
            polls_left: polls,
            clock_in: if micros > 0 { 2 } else { u32::MAX },
            nanos: u64::from(micros) * 1_000,
            deadline: None,
            now,
        }
    }

    /// Takes one poll; false if there is none left.
    pub(crate) fn spend(&mut self) -> bool {
        if cfg!(break_budget) {
            return true;
        }
        if self.polls_left == 0 {
            return false;
        }
        self.polls_left -= 1;
        self.clock_in -= 1;
        if self.clock_in == 0 {
            self.look_at_clock();
        }
        true
    }

    /// Ends the budget with the poll just granted if its time is over.
    fn look_at_clock(&mut self) {
        self.clock_in = POLLS_PER_CLOCK_READ;
        let now = (self.now)();
        let deadline = *self.deadline.get_or_insert(now.saturating_add(self.nanos));
        if self.nanos > 0 && now >= deadline {
            self.polls_left = 0;
        }
    }
}
