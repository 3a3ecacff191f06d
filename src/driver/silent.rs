//! Operations that complete without a completion.
//!
//! A send ends the wait of the very call that submits it: it nearly always completes within it, and
//! the loop comes back for nothing where nobody waits for that send. A silent one does not. Its
//! entry says that it must not wait (`MSG_DONTWAIT`), shall do all or say what it has not done
//! (`MSG_WAITALL`), and need not tell a success (`IOSQE_CQE_SKIP_SUCCESS`). So when the call
//! returns that has taken the entry, it is over: a failure or a part is in the completion queue,
//! and where nothing is, everything was sent. One call a request is enough then, where one
//! connection talks.
//!
//! ```text
//!   late list ──prepare──► entry, and its name in `silent` ──► enter ──► reap: what failed
//!                                                                  └───► conclude: all the others
//! ```
//! Nothing is concluded while an entry may not have been taken (an `enter` that was interrupted, a
//! backlog) or a completion may not have been seen (an overflow): then the next turn does not
//! sleep, and tries again. Whoever prepares a silent operation sees to it that nobody needs to
//! know of its end before the loop has something else to do.

use super::Driver;
use super::kernel::Kernel;
use super::slot::{Cqe, Token};

/// The silent operations of one driver.
#[derive(Debug)]
pub(super) struct Silent {
    /// This kernel has them.
    offered: bool,
    /// Those whose end was not concluded yet.
    open: Vec<Token>,
}

impl Silent {
    pub(super) fn new(offered: bool) -> Silent {
        Silent {
            offered,
            open: Vec::new(),
        }
    }

    /// Whether one may be submitted in this turn, if the turn may sleep with it.
    pub(super) fn is_possible(&self) -> bool {
        self.offered && self.open.is_empty()
    }

    /// Whether some of an earlier turn are left, for which the core must not sleep.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// One was queued.
    pub(super) fn push(&mut self, token: Token) {
        self.open.push(token);
    }
}

impl Driver {
    /// Ends the silent operations that the kernel has taken, and not complained of. Called when all
    /// that was visible has been delivered.
    pub(super) fn conclude_silent(&self) {
        let mut open = {
            let mut state = self.0.state.borrow_mut();
            let state = &mut *state;
            if !state.silent.is_open() || !state.backlog.is_empty() {
                return;
            }
            if !state.kernel.as_mut().is_some_and(Kernel::is_settled) {
                return;
            }
            std::mem::take(&mut state.silent.open)
        };
        for token in open.drain(..) {
            let is_over = self.0.state.borrow_mut().slots.has(token);
            if is_over {
                self.deliver(token.user_data(), Cqe::SILENT);
            }
        }
        // The list keeps its memory. What has ended submits late, never here.
        self.0.state.borrow_mut().silent.open = open;
    }
}
