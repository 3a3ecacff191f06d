//! The end of a driver: the wish for it, which listeners obey, and the closing of the ring.
//!
//! Closing ends nothing by itself: the kernel goes on with what it has. So orphans may finish, then
//! everything is cancelled and waited for, and what is not back by the deadline is leaked.

use super::kernel::{self, Kernel, Wait};
use super::slot::Slots;
use super::{Driver, PoolState, Queued, note};
use io_uring::{opcode, types};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// How often the last entries are offered to the kernel, which pauses for longer and longer while
/// it is short of something: for a second or two in all.
const LAST_ENTERS_MAX: u32 = 256;

/// The wish of this core to end, for those who accept work.
#[derive(Default)]
pub(super) struct Stop {
    wanted: Cell<bool>,
    wakers: RefCell<Slab<Waker>>,
}

/// Who waits for the end: dropped, it leaves no waker behind.
#[derive(Default)]
pub(crate) struct StopPlace(Option<(Driver, usize)>);

impl StopPlace {
    fn leave(&mut self) {
        if let Some((driver, key)) = self.0.take() {
            let waker = driver.0.stop.wakers.borrow_mut().try_remove(key);
            drop(waker);
        }
    }
}

impl Drop for StopPlace {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Driver {
    /// Says that this core shall end: listeners stop accepting.
    pub(crate) fn stop(&self) {
        self.0.stop.wanted.set(true);
        let wakers = std::mem::take(&mut *self.0.stop.wakers.borrow_mut());
        wakers.into_iter().for_each(|(_, waker)| self.wake(waker));
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stop.wanted.get()
    }

    /// Ready once this core shall end.
    pub(crate) fn poll_stopping(&self, place: &mut StopPlace, cx: &Context<'_>) -> Poll<()> {
        if self.is_stopping() {
            return Poll::Ready(());
        }
        let known = match &place.0 {
            Some((_, key)) => {
                let wakers = self.0.stop.wakers.borrow();
                wakers
                    .get(*key)
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
            }
            None => false,
        };
        if !known {
            place.leave();
            let waker = cx.waker().clone();
            let key = self.0.stop.wakers.borrow_mut().insert(waker);
            place.0 = Some((self.clone(), key));
        }
        Poll::Pending
    }

    /// Closes the ring: orphans may finish until half of the time is over, then everything is
    /// cancelled; what the kernel has not given back at `deadline` (in nanoseconds of the clock)
    /// is leaked. Returns how many operations that are.
    pub(crate) fn shut_down(&self, deadline: u64) -> usize {
        #[cfg(feature = "dns-hickory")]
        self.set_lookup(None);
        if !self.0.state.borrow().is_usable() {
            // Already closed, or a forked child, whose parent has the ring.
            let kernel = self.0.state.borrow_mut().kernel.take();
            let _leaked = std::mem::ManuallyDrop::new(kernel);
            return 0;
        }
        let begin = kernel::now();
        if cfg!(break_drain) {
            return self.close_ring_with_what_is_left();
        }
        self.reap_until(begin + deadline.saturating_sub(begin) / 2, |slots| {
            slots.orphans()
        });
        self.cancel_everything();
        self.reap_until(deadline, Slots::in_flight);
        self.close_ring_with_what_is_left()
    }

    /// Closes the ring; returns how many operations are in flight, and leaked.
    fn close_ring_with_what_is_left(&self) -> usize {
        let leaked = self.in_flight();
        self.close_ring(leaked > 0);
        leaked
    }

    fn cancel_everything(&self) {
        self.submit_those_late(false);
        let mut state = self.0.state.borrow_mut();
        state.closing = true;
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        state.queue(Queued::One(entry.user_data(note::IGNORED)));
    }

    /// Takes completions until `left` counts zero, or the deadline has passed.
    fn reap_until(&self, deadline: u64, left: impl Fn(&Slots) -> usize) {
        loop {
            self.submit_those_late(false);
            let done = {
                let state = self.0.state.borrow();
                left(&state.slots) == 0 && state.backlog.is_empty()
            };
            let wait = match done || kernel::now() >= deadline {
                true => Wait::No,
                false => self.shorten(Wait::Until(deadline)),
            };
            self.0.state.borrow_mut().refill();
            let entered = self.enter_kernel(wait);
            self.reap();
            self.conclude_silent();
            self.serve_starved();
            if done || entered.is_err() || kernel::now() >= deadline {
                return;
            }
        }
    }

    /// The last closes, and those that found no room, are not lost with the ring; not even where
    /// the kernel is interrupted or short of something for a while.
    fn submit_the_rest(&self) {
        for _ in 0..LAST_ENTERS_MAX {
            let left = {
                let mut state = self.0.state.borrow_mut();
                state.refill();
                state.kernel.as_mut().map_or(0, Kernel::queued) + state.backlog.len()
            };
            if left == 0 || self.enter_kernel(Wait::No).is_err() {
                return;
            }
            self.reap();
        }
    }

    fn close_ring(&self, kernel_may_write: bool) {
        self.0.bell.silence();
        self.submit_the_rest();
        let (kernel, orphans) = {
            let mut state = self.0.state.borrow_mut();
            (state.kernel.take(), state.slots.take_orphans())
        };
        drop(kernel);
        for orphan in orphans {
            let _leaked = Box::into_raw(orphan);
        }
        for pool in &self.0.pools {
            if let PoolState::Here(pool) = pool.replace(PoolState::Refused) {
                pool.retire(kernel_may_write);
            }
        }
    }
}
