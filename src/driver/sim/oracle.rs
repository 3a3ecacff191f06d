//! What a simulated runtime must never do, looked at from below.
//!
//! A rule that a program could hide (a task that panics, an error that is passed over) is not
//! checked by a panic where it is broken: it is a complaint, with which the simulation ends after
//! the turn.

use super::super::buf_ring::Held;
use super::super::kernel::Kernel;
use super::super::{Driver, PoolState};
use super::{World, here, is_here};

/// Notes that a rule was broken, if this thread is inside of a simulation.
pub(crate) fn complain(what: &str) {
    if is_here() {
        let world = here().world;
        world.0.borrow_mut().complaints.push(what.to_owned());
    }
}

/// Looks at one core's driver, also once it has ended.
pub(crate) struct Watch {
    driver: Driver,
    /// Of each group of buffers, once there are any.
    pieces: [Option<Held>; 2],
}

impl Watch {
    pub(crate) fn new(driver: &Driver) -> Watch {
        Watch {
            driver: driver.clone(),
            pieces: [None, None],
        }
    }

    /// To be called after every turn: completions that found no operation are those that the
    /// simulated kernel has made up, no more and no fewer.
    pub(crate) fn look(&mut self) {
        for (pieces, pool) in self.pieces.iter_mut().zip(&self.driver.0.pools) {
            if let (None, PoolState::Here(pool)) = (&*pieces, &*pool.borrow()) {
                *pieces = Some(pool.held());
            }
        }
        let stale = self.driver.0.counters.stale.get();
        let state = self.driver.0.state.borrow();
        let Some(Kernel::Sim(kernel)) = &state.kernel else {
            return;
        };
        let taken = kernel.world.0.borrow().cores[kernel.core].stale_taken;
        if stale != taken {
            complain(&format!(
                "{stale} completions belonged to no operation, and {taken} were made up by the \
                 simulated kernel: an operation was taken for complete before its last \
                 completion, or a made-up one for a real one"
            ));
        }
    }

    /// Pieces of receive buffers that nobody has given back.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.iter().flatten().map(Held::pieces).sum()
    }
}

impl World {
    /// The first rule that was broken, if any.
    pub(crate) fn take_complaint(&self) -> Option<String> {
        let complaints = std::mem::take(&mut self.0.borrow_mut().complaints);
        complaints.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::super::here;
    use crate::net::UdpSocket;
    use crate::sim::Sim;
    use crate::task::yield_now;
    use crate::time::sleep;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    /// The word of no operation.
    const NOBODY: u64 = u64::MAX;

    /// What a simulation says to one more completion, while a datagram socket waits: of that wait,
    /// or of nobody; made up as a fault, or without a reason.
    fn said_to(nobody: bool, made_up: bool) -> Option<String> {
        let run = AssertUnwindSafe(|| {
            let mut sim = Sim::new(1);
            let host = sim.host("here").boot(|_core| async {});
            sim.block_on(&host, async move {
                drop(crate::task::spawn(async {
                    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
                    drop(socket.recv_from(&mut [0; 9]).await);
                }));
                sleep(Duration::from_millis(1)).await;
                {
                    let world = here().world;
                    let mut state = world.0.borrow_mut();
                    let waiting = state.cores[0].ops.values().next().expect("it waits");
                    let word = if nobody {
                        NOBODY
                    } else {
                        waiting.sqe.user_data
                    };
                    state.post_one(0, word, [-libc::EIO, 0], made_up);
                }
                for _ in 0..9 {
                    yield_now().await;
                }
            });
        });
        let panic = catch_unwind(run).err()?;
        Some(*panic.downcast::<String>().expect("a text"))
    }

    #[test]
    fn a_completion_of_nobody_is_caught() {
        let text = said_to(true, false).expect("nobody waits for it");
        let counts = "1 completions belonged to no operation, and 0 were made up";
        assert!(text.contains(counts), "{text}");
        assert_eq!(said_to(true, true), None, "a fault that is harmless");
    }

    #[test]
    fn a_made_up_completion_that_was_believed_is_caught() {
        let text = said_to(false, true).expect("an operation was ended by it");
        let counts = "0 completions belonged to no operation, and 1 were made up";
        assert!(text.contains(counts), "{text}");
    }
}
