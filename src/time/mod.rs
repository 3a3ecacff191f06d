//! Waiting for the clock: [`sleep`], [`interval`], [`timeout`], and the [`Instant`] they speak of.
//!
//! Every core keeps its timers to itself, in a heap (`heap`); the nearest deadline becomes the
//! timeout of the loop's one wait, so a timer costs no system call. Rules:
//! 1. A timer never fires early. On an idle core it fires within the kernel's own precision
//!    (about 50 µs), and up to 50 µs later if others follow it so closely: one sleep serves them
//!    all, where sleeping for each would cost more than firing it. On a busy core it fires at the
//!    next turn of the loop.
//! 2. Equal deadlines fire in the order in which they were set.
//! 3. Any `Duration` is accepted: what lies beyond the clock's range (584 years) is "never".
//!
//! ```no_run
//! use corering::time::{sleep, timeout};
//! use std::time::Duration;
//!
//! # async fn f() {
//! let work = async { sleep(Duration::from_secs(5)).await };
//! assert!(timeout(Duration::from_millis(10), work).await.is_err());
//! # }
//! ```

mod heap;
mod instant;
mod interval;
mod sleep;
#[allow(
    unsafe_code,
    reason = "pins the limited future in place, without a box"
)]
mod timeout;

pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub(crate) use sleep::sleep_in_order;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};

#[cfg(fuzzing)]
pub(crate) use heap::model::check as check_heap;

use crate::driver::current::EnterGuard;
use crate::driver::kernel;
use heap::{Heap, Key};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The timers of one core.
#[derive(Clone, Default)]
pub(crate) struct Timers(Rc<RefCell<Heap>>);

/// How late a timer may be so that one look finds more of them; the kernel's own default for other
/// sleeps, while waits in `io_uring_enter` have none. Without it 100,000 timers, 4 µs apart, cost
/// 3.7 µs each, and with it 1.8 (a virtual machine, where setting the clock's alarm costs 20 µs).
const SLACK_NANOS: u64 = 50_000;

thread_local! {
    static CURRENT: RefCell<Option<Timers>> = const { RefCell::new(None) };
}

impl Timers {
    /// Makes these the thread's current timers.
    pub(crate) fn enter(&self) -> EnterGuard<Timers> {
        EnterGuard::new(&CURRENT, self.clone())
    }

    fn current() -> Timers {
        CURRENT.with_borrow(Option::clone).expect(
            "there is no corering runtime on this thread, so there are no timers: call this \
             inside `Runtime::block_on`, `corering::block_on` or a function marked \
             `#[corering::main]`",
        )
    }

    /// Tells who waits for a timer of the thread's current core, and for how long yet. `tell` only
    /// looks at the waker: the timers are borrowed.
    pub(crate) fn tell_who_waits(mut tell: impl FnMut(&Waker, Duration)) {
        // A thread that ends may have no thread-locals any more.
        let timers = CURRENT.try_with(|current| current.borrow().clone());
        let Some(timers) = timers.ok().flatten() else {
            return;
        };
        let now = now();
        for (waker, deadline) in timers.0.borrow().waiting() {
            tell(waker, Duration::from_nanos(deadline.saturating_sub(now)));
        }
    }

    /// The nearest deadline, in nanoseconds of the clock.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.0.borrow().next_deadline()
    }

    /// When the loop is to look at the timers again.
    pub(crate) fn next_look(&self) -> Option<u64> {
        self.0.borrow().next_look(SLACK_NANOS)
    }

    /// How many timers are set.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Fires what is due at `now`, in order; wakers run outside of the borrow.
    pub(crate) fn expire(&self, now: u64) {
        loop {
            let due = self.0.borrow_mut().pop_due(now);
            match due {
                // A waker may be the program's own: its panic is not the loop's.
                Some(waker) => drop(catch_unwind(AssertUnwindSafe(|| waker.wake()))),
                None => return,
            }
        }
    }

    fn set(&self, deadline: u64, waker: &Waker) -> Key {
        // A foreign waker's `clone` and destructor may use timers: outside of the borrow.
        let waker = waker.clone();
        self.0.borrow_mut().insert(deadline, waker)
    }

    /// Ready once the timer has fired; it is gone then.
    fn poll(&self, key: Key, waker: &Waker) -> Poll<()> {
        let (fired, known) = {
            let heap = self.0.borrow();
            let fired = heap.poll(key);
            (fired, fired.is_ready() || heap.would_wake(key, waker))
        };
        if !known {
            let waker = waker.clone();
            let old = self.0.borrow_mut().replace(key, waker);
            drop(old);
        }
        fired
    }

    fn cancel(&self, key: Key) {
        let waker = self.0.borrow_mut().remove(key);
        // A waker's destructor may run a task's destructor, which may cancel a timer.
        drop(waker);
    }
}

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").field("len", &self.len()).finish()
    }
}

/// The clock: the one function of this module that reads it.
fn now() -> u64 {
    kernel::now()
}
