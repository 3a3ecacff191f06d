//! Drives an executor by hand, with a bell that only counts. One file per behaviour.

mod abort;
#[cfg(feature = "hyper")]
mod affine;
mod join;
mod panics;
mod remote;
mod run;
mod set;
mod timing;
mod wake;

use super::{Budget, Executor, Unpark};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// Counts its rings.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Unpark for Bell {
    fn unpark(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn executor() -> Executor {
    Executor::new(0, Arc::new(Bell::default()))
}

fn executor_and_bell() -> (Executor, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let unpark: Arc<dyn Unpark> = bell.clone();
    (Executor::new(0, unpark), bell)
}

fn unlimited() -> Budget {
    Budget::new(u32::MAX, 0, || 0)
}

fn run(executor: &Executor) {
    assert!(!executor.run(&mut unlimited()), "the executor is not done");
}

/// Polls a future once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that must be ready.
fn ready<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll_once(&mut future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// What happened to a [`Probe`].
#[derive(Default)]
struct Counts {
    polls: Cell<usize>,
    drops: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// Ready at the next poll.
    open: Cell<bool>,
}

impl Counts {
    fn waker(&self) -> Waker {
        self.waker.borrow().clone().expect("was never polled")
    }
}

/// A future that counts its polls and drops, keeps its waker, and ends when told to.
struct Probe(Rc<Counts>);

impl Probe {
    fn new() -> (Probe, Rc<Counts>) {
        let counts = Rc::<Counts>::default();
        (Probe(counts.clone()), counts)
    }
}

impl Future for Probe {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        self.0.polls.set(self.0.polls.get() + 1);
        let old = self.0.waker.borrow_mut().replace(cx.waker().clone());
        drop(old);
        if self.0.open.get() {
            Poll::Ready(self.0.polls.get())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.drops.set(self.0.drops.get() + 1);
    }
}

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
