//! Models of what threads share, for loom: the real modules, on a kernel that only waits.
//!
//! loom runs each model in every order in which its threads can take turns (up to a bound on
//! preemptions), with every value that the memory model lets an atomic show. A wake-up that is
//! lost is a thread that waits for ever, which loom reports as a deadlock; memory that is lost is
//! a reference of loom's own `Arc` that was never dropped.
//!
//! ```text
//!   wake      bell + inbox + the loop: no wake-up is lost; with a step left out, one is
//!   task      references of tasks: wakers woken, cloned and dropped elsewhere, while a task ends
//!   join      handles across cores: answer, abort, drop and the end of the core, in any order
//!   sync      channel and oneshot: values and closes arrive, cancelled senders lose nothing
//!   token     requests to end: children made, waited for and dropped while one is sent
//!   returned  receive buffers that come home from other threads
//! ```
//! `scripts/loom` runs them.

mod join;
mod returned;
mod sync;
mod task;
mod token;
mod wake;

use crate::driver::bell::Bell;
use crate::task::{Budget, Executor, Unpark};
use loom::sync::Notify;
use loom::sync::atomic::{AtomicBool, Ordering};
use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Preemptions of a thread that are tried, unless `LOOM_MAX_PREEMPTIONS` says otherwise. All known
/// errors of such protocols show with two.
const PREEMPTIONS_MAX: usize = 2;

/// Runs a model in all orders.
fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    builder.check(body);
}

/// Rings the bell for the executor, as the runtime's own does.
struct Ringer(Arc<Bell>);

impl Unpark for Ringer {
    fn unpark(&self) {
        self.0.ring();
    }
}

/// One core: executor and bell are the real ones; its kernel can only wait for the bell.
struct Core {
    executor: Executor,
    bell: Arc<Bell>,
    kernel: loom::sync::Arc<Notify>,
    /// Whether the loop looks into the inbox again once it has said that it goes to sleep.
    looks_again: bool,
}

impl Core {
    fn new() -> Core {
        let kernel = loom::sync::Arc::new(Notify::new());
        let bell = Arc::new(Bell::to_model(kernel.clone()));
        Core {
            executor: Executor::new(0, Arc::new(Ringer(bell.clone()))),
            bell,
            kernel,
            looks_again: true,
        }
    }

    /// The loop of `runtime/core.rs`, with the steps of `Driver::park` that concern the bell.
    fn run_until<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.executor.enter();
        let mut future = pin!(future);
        let waker = self.executor.root_waker();
        let mut woken = true;
        loop {
            if woken {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
            }
            let mut budget = Budget::new(u32::MAX, 0, || 0);
            if !self.executor.run(&mut budget) && !self.executor.root_is_woken() {
                self.sleep(|| self.executor.has_ready() || self.executor.root_is_woken());
            }
            woken = self.executor.take_root_woken();
        }
    }

    fn sleep(&self, is_busy: impl FnOnce() -> bool) {
        self.bell.going_to_sleep();
        if !self.looks_again || !is_busy() {
            self.kernel.wait();
        }
        self.bell.awake();
    }
}

/// Pending until it is opened, and then ready with the number of its polls; leaves its waker.
struct Gate(Rc<GateState>);

#[derive(Default)]
struct GateState {
    waker: Cell<Option<Waker>>,
    open: Cell<bool>,
}

impl Gate {
    fn new() -> (Gate, Rc<GateState>) {
        let state = Rc::<GateState>::default();
        (Gate(state.clone()), state)
    }
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.open.get() {
            return Poll::Ready(());
        }
        self.0.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Says from another thread that the core's loop may end.
#[derive(Clone)]
struct End(loom::sync::Arc<AtomicBool>, Waker);

impl End {
    fn of(core: &Core) -> (End, End) {
        let said = loom::sync::Arc::new(AtomicBool::new(false));
        let end = End(said, core.executor.root_waker());
        (end.clone(), end)
    }

    fn say(self) {
        self.0.store(true, Ordering::Release);
        self.1.wake();
    }

    async fn said(self) {
        std::future::poll_fn(|_| match self.0.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// Runs an ignored test of this binary in a process of its own; loom must find it hanging. (Its
/// report is a panic in the middle of everything, on which destructors panic again.)
fn finds_a_deadlock(test: &str) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("deadlock"),
        "{said}"
    );
}

/// A value that loom misses if it is never dropped.
fn tracked() -> loom::sync::Arc<()> {
    loom::sync::Arc::new(())
}
