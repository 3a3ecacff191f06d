//! Functions called by the loop: soon, later, at a time, or when a task has ended.
//!
//! A call is a task that has one turn, so it stands in the same line as all others: first come,
//! first called.

use crate::task::{AbortHandle, JoinError, JoinHandle, spawn, spawn_resting};
use crate::time::{Instant, Sleep, sleep_in_order};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Calls `f` on this core, behind everything that is ready now.
///
/// Calls run in the order in which they were asked for, one at a time; one that is asked for by
/// another runs behind all that are ready by then, never within it. The kernel has its turn in
/// between at least as often as the builder's [`budget`](crate::Builder::budget) says.
///
/// A panic of `f` ends nothing else; see [`on_task_panic`](crate::Builder::on_task_panic). From
/// another thread use [`Handle::call_soon_threadsafe`](crate::Handle::call_soon_threadsafe).
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Examples
/// ```no_run
/// use corering::flow::call_soon;
///
/// corering::block_on(async {
///     call_soon(|| println!("second"));
///     println!("first");
///     corering::task::yield_now().await;
/// });
/// ```
#[track_caller]
pub fn call_soon(f: impl FnOnce() + 'static) -> CallHandle {
    CallHandle::new(spawn(async move { f() }), None)
}

/// Calls `f` on this core when `delay` is over; see [`call_at`].
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Examples
/// ```no_run
/// use corering::flow::call_later;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let call = call_later(Duration::from_secs(5), || println!("never"));
///     call.cancel();
/// });
/// ```
#[track_caller]
pub fn call_later(delay: Duration, f: impl FnOnce() + 'static) -> CallHandle {
    call_at(Instant::now() + delay, f)
}

/// Calls `f` on this core at `when`, never before. Calls run in the order of their times, and those
/// of one time in the order in which they were asked for.
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Examples
/// ```no_run
/// use corering::flow::call_at;
/// use corering::time::Instant;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let call = call_at(Instant::now() + Duration::from_millis(5), || println!("now"));
///     println!("{:?}", call.when());
///     corering::time::sleep(Duration::from_millis(10)).await;
/// });
/// ```
#[track_caller]
pub fn call_at(when: Instant, f: impl FnOnce() + 'static) -> CallHandle {
    let timer = Rc::new(Cell::new(None::<Sleep>));
    let set = timer.clone();
    let call = spawn_resting(async move {
        if let Some(sleep) = timer.take() {
            sleep.await;
        }
        f();
    });
    // The timer wakes the task for its only turn: so the order of the timers is that of the calls.
    set.set(Some(sleep_in_order(when, &call.waker())));
    CallHandle::new(call, Some(when))
}

/// Calls `f` with the task's output once it has ended; what else it needs, the closure binds.
///
/// It takes the handle: a task has one output. Cancelling the call leaves the task alone.
///
/// # Panics
/// If the thread runs no core; see [`spawn`].
///
/// # Examples
/// ```no_run
/// use corering::flow::call_when_done;
///
/// corering::block_on(async {
///     let who = "world";
///     let task = corering::spawn(async { "hello" });
///     call_when_done(task, move |output| println!("{} {who}", output.unwrap()));
///     corering::time::sleep(std::time::Duration::from_millis(1)).await;
/// });
/// ```
#[track_caller]
pub fn call_when_done<T: 'static>(
    task: JoinHandle<T>,
    f: impl FnOnce(Result<T, JoinError>) + 'static,
) -> CallHandle {
    CallHandle::new(spawn(async move { f(task.await) }), None)
}

/// A call that was asked for. Dropping it leaves the call as it is.
///
/// # Examples
/// ```no_run
/// use corering::flow::{CallHandle, call_soon};
///
/// corering::block_on(async {
///     let call: CallHandle = call_soon(|| println!("never"));
///     call.cancel();
///     assert!(call.is_cancelled());
/// });
/// ```
#[derive(Clone, Debug)]
pub struct CallHandle {
    call: AbortHandle,
    when: Option<Instant>,
    cancelled: Rc<Cell<bool>>,
}

impl CallHandle {
    fn new(call: JoinHandle<()>, when: Option<Instant>) -> CallHandle {
        CallHandle {
            call: call.abort_handle(),
            when,
            cancelled: Rc::default(),
        }
    }

    /// Prevents the call if it has not been made. The closure is dropped at the call's next turn.
    pub fn cancel(&self) {
        if !self.call.is_finished() {
            self.cancelled.set(true);
            self.call.abort();
        }
    }

    /// Whether [`cancel`](Self::cancel) came before the call.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Whether the call was made, or is gone.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.call.is_finished()
    }

    /// When it is due; `None` for one that is due as soon as it can be.
    #[must_use]
    pub fn when(&self) -> Option<Instant> {
        self.when
    }
}
