//! One turn: submit everything, wait once if nothing else is to be done, deliver completions.
//!
//! ```text
//!   park ──► backlog ──► late entries ──► shorten ──► [bell: asleep, look again] ──► enter
//!        ──► reap: completion ──► slot ──► effect, outside of the borrow
//!        ──► what was silent ──► line of the starved
//! ```

use super::buf_ring::Group;
use super::kernel::{Kernel, Wait, now};
use super::slot::{Cqe, Effect};
use super::{Driver, PoolState, Queued, bump, gone, note};
use io_uring::{opcode, types};
use std::io;

/// Completions that are copied out of the ring at a time.
const BATCH: usize = 64;
/// Completions that one turn takes in, at most; the rest waits for the next turn.
const COMPLETIONS_PER_TURN_MAX: usize = 4096;

impl Driver {
    /// Submits everything, waits once if nothing else is to be done, delivers completions.
    ///
    /// `still_idle` is asked after the bell was told that this core goes to sleep: work that
    /// another thread leaves later than that rings.
    pub(crate) fn park(&self, wait: Wait, still_idle: impl Fn() -> bool) -> io::Result<()> {
        self.submit_the_backlog()?;
        let wait = match self.0.config.spin_nanos {
            0 => wait,
            nanos => self.spin(nanos, wait, &still_idle)?,
        };
        let (wait, asleep) = self.before_sleep(wait, still_idle);
        let result = self.enter_kernel(wait);
        if asleep {
            self.0.bell.awake();
        }
        result?;
        self.reap();
        self.conclude_silent();
        self.serve_starved();
        Ok(())
    }

    /// The first half of [`park`](Driver::park), for a core of a simulation: submits everything;
    /// the scheduler has the other cores run while this one waits.
    #[cfg(feature = "sim")]
    pub(crate) fn lie_down(&self, wait: Wait, still_idle: impl FnOnce() -> bool) -> io::Result<()> {
        self.submit_the_backlog()?;
        let (wait, _) = self.before_sleep(wait, still_idle);
        match self.0.state.borrow_mut().kernel.as_mut() {
            Some(Kernel::Sim(sim)) => sim.lie_down(wait),
            _ => Err(gone()),
        }
    }

    /// The second half of [`park`](Driver::park), for a core of a simulation.
    #[cfg(feature = "sim")]
    pub(crate) fn get_up(&self) -> io::Result<()> {
        let result = match self.0.state.borrow_mut().kernel.as_mut() {
            Some(Kernel::Sim(sim)) => sim.get_up(),
            _ => Err(gone()),
        };
        self.0.bell.awake();
        result?;
        self.reap();
        self.conclude_silent();
        self.serve_starved();
        Ok(())
    }

    /// Enters as often as it takes until what this turn has queued fits into the submission queue.
    /// One queue a turn would not do: tasks that ask and give up at once queue more than that each
    /// turn, and what waits would grow for ever. Ends early where the kernel takes no more.
    fn submit_the_backlog(&self) -> io::Result<()> {
        let mut left = self.left_after_refill();
        while left > 0 {
            self.enter_kernel(Wait::No)?;
            // Completions keep their room; what they drop may queue a little again.
            self.reap();
            let before = std::mem::replace(&mut left, self.left_after_refill());
            if left >= before {
                return Ok(());
            }
        }
        Ok(())
    }

    /// How many entries found no room in the submission queue.
    fn left_after_refill(&self) -> usize {
        let mut state = self.0.state.borrow_mut();
        state.refill();
        state.backlog.len()
    }

    /// Submits, and looks for up to `nanos` whether something comes, before the core sleeps: the
    /// wait that is left then.
    ///
    /// The kernel's flag that says that something has come may be stale (see `ring.rs`), and stays
    /// so until the next completion: where it has led to nothing, the next turn does not spin.
    fn spin(&self, nanos: u64, wait: Wait, still_idle: &impl Fn() -> bool) -> io::Result<Wait> {
        /// How often memory is looked at for each look at the clock.
        const LOOKS: u32 = 16;
        self.submit_those_late(true);
        let until = match self.shorten(wait) {
            Wait::No => return Ok(Wait::No),
            Wait::Until(at) => at,
            Wait::Forever => u64::MAX,
        };
        let completed = self.0.counters.completed.get();
        if self.0.spun_at.replace(u64::MAX) == completed {
            return Ok(wait);
        }
        if self.has_queued() {
            self.enter_kernel(Wait::No)?;
        }
        let end = until.min(now().saturating_add(nanos));
        while now() < end {
            for _ in 0..LOOKS {
                if self.has_work() {
                    self.0.spun_at.set(completed);
                    return Ok(Wait::No);
                }
                if !still_idle() || self.buffers_came_back() {
                    return Ok(Wait::No);
                }
                std::hint::spin_loop();
            }
        }
        Ok(wait)
    }

    fn has_queued(&self) -> bool {
        let mut state = self.0.state.borrow_mut();
        state
            .kernel
            .as_mut()
            .is_some_and(|kernel| kernel.queued() > 0)
    }

    fn has_work(&self) -> bool {
        let mut state = self.0.state.borrow_mut();
        state.kernel.as_mut().is_some_and(Kernel::has_work)
    }

    /// Makes ready to sleep; for how long, and whether the bell was told so.
    fn before_sleep(&self, wait: Wait, still_idle: impl FnOnce() -> bool) -> (Wait, bool) {
        let open = self.0.state.borrow().silent.is_open();
        self.submit_those_late(true);
        let wait = self.shorten(wait);
        if wait == Wait::No || open {
            return (Wait::No, false);
        }
        self.0.bell.going_to_sleep();
        match still_idle() && !self.buffers_came_back() {
            true => (wait, true),
            false => (Wait::No, true),
        }
    }

    /// What the driver itself waits for, or has to do before it may wait.
    pub(super) fn shorten(&self, wait: Wait) -> Wait {
        let mut state = self.0.state.borrow_mut();
        state.refill();
        let more = !state.backlog.is_empty();
        if more || state.kernel.as_mut().is_some_and(Kernel::overflown) {
            return Wait::No;
        }
        match (self.0.starved.borrow().patience_ends(), wait) {
            (Some(end), Wait::Forever) => Wait::Until(end),
            (Some(end), Wait::Until(at)) => Wait::Until(at.min(end)),
            (_, wait) => wait,
        }
    }

    pub(super) fn enter_kernel(&self, wait: Wait) -> io::Result<()> {
        let mut state = self.0.state.borrow_mut();
        match state.kernel.as_mut() {
            Some(kernel) => kernel.enter(wait),
            None => Err(gone()),
        }
    }

    /// Does nothing within itself (what is dropped by a completion may flush): the rest of a batch
    /// stands before what is still in the queue, and buffers are noted in order.
    pub(super) fn reap(&self) {
        /// Ends the delivery, even by a panic.
        struct Reaping<'a>(&'a std::cell::Cell<bool>);
        impl Drop for Reaping<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        if self.0.reaping.replace(true) {
            return;
        }
        let _reaping = Reaping(&self.0.reaping);
        let mut batch = [(0, Cqe::GONE); BATCH];
        let mut taken = 0;
        loop {
            let mut n = 0;
            if let Some(kernel) = self.0.state.borrow_mut().kernel.as_mut() {
                while n < BATCH {
                    let Some(completion) = kernel.pop() else {
                        break;
                    };
                    batch[n] = completion;
                    n += 1;
                }
            }
            batch[..n]
                .iter()
                .for_each(|&(user_data, cqe)| self.deliver(user_data, cqe));
            taken += n;
            if n < BATCH || taken >= COMPLETIONS_PER_TURN_MAX {
                return;
            }
        }
    }

    pub(super) fn deliver(&self, user_data: u64, mut cqe: Cqe) {
        if user_data <= note::LAST {
            return self.take_note(user_data, cqe);
        }
        bump(&self.0.counters.completed);
        let group = Group::of(cqe);
        if let Some(group) = group {
            if let PoolState::Here(pool) = &*self.pool(group).borrow() {
                pool.note(&mut cqe);
            }
        }
        let effect = self.0.state.borrow_mut().slots.complete(user_data, cqe);
        match effect {
            Effect::None => {}
            Effect::Wake(waker) => self.wake(waker),
            Effect::Stop(token, waker) => {
                bump(&self.0.counters.stops);
                self.cancel(token);
                if let Some(waker) = waker {
                    self.wake(waker);
                }
            }
            Effect::Act(token, mut orphan) if cqe.more() => {
                self.guarded(|| orphan.item(cqe));
                self.0.state.borrow_mut().slots.put_back(token, orphan);
            }
            Effect::Act(_, orphan) => self.finish(orphan, cqe),
            Effect::Stale => {
                bump(&self.0.counters.stale);
                drop(group.map(|group| self.with_pool(group, |pool| pool.take(cqe))));
            }
        }
    }

    fn take_note(&self, note: u64, cqe: Cqe) {
        match note {
            note::CLOSE => bump(&self.0.counters.close_failed),
            note::BELL if !cqe.more() => self.poll_bell(),
            _ => {}
        }
    }

    /// Arms the poll of the bell's eventfd, where there is one.
    pub(super) fn poll_bell(&self) {
        let mut state = self.0.state.borrow_mut();
        if let (Some(fd), false) = (state.bell_poll, state.closing) {
            let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).multi(true);
            state.queue(Queued::One(entry.build().user_data(note::BELL)));
        }
    }
}
