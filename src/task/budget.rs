//! How much one turn of the executor may do: so many polls, and so much time.
//!
//! Rules
//! 1. Polls are counted exactly. The clock is read once at the start and then every
//!    [`POLLS_PER_CLOCK_READ`] polls, so that a budget costs a decrement a poll.
//! 2. The clock comes in as a function; nothing else here knows the time.

/// Polls between two looks at the clock: 16 polls of 15 ns pay for one read of 20 ns.
const POLLS_PER_CLOCK_READ: u32 = 16;

/// What is left of a turn.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Polls that may still be made.
    polls_left: u32,
    /// Polls until the next look at the clock; unused without a deadline.
    clock_in: u32,
    /// The nanosecond at which the turn ends; `None` if only polls count.
    deadline: Option<u64>,
    /// The clock, in nanoseconds from any fixed point.
    now: fn() -> u64,
}

impl Budget {
    /// At most `polls` polls, and about `micros` microseconds from now (0: however long it takes).
    pub(crate) fn new(polls: u32, micros: u32, now: fn() -> u64) -> Budget {
        let deadline = (micros > 0).then(|| now().saturating_add(u64::from(micros) * 1_000));
        Budget {
            polls_left: polls,
            clock_in: POLLS_PER_CLOCK_READ,
            deadline,
            now,
        }
    }

    /// Takes one poll; false if there is none left.
    pub(crate) fn spend(&mut self) -> bool {
        if self.polls_left == 0 {
            return false;
        }
        self.polls_left -= 1;
        if let Some(deadline) = self.deadline {
            self.clock_in -= 1;
            if self.clock_in == 0 {
                self.look_at_clock(deadline);
            }
        }
        true
    }

    /// Ends the budget with the poll just granted if its time is over.
    fn look_at_clock(&mut self, deadline: u64) {
        self.clock_in = POLLS_PER_CLOCK_READ;
        if (self.now)() >= deadline {
            self.polls_left = 0;
        }
    }
}
