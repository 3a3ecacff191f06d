//! How this room asks the kernel: one operation, one that is asked again, many at once.

use crate::driver::Driver;
use crate::driver::submit::{Single, Submit};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Performs operations until one was not interrupted by a signal.
pub(super) async fn perform<T, O>(driver: &Driver, mut make: impl FnMut() -> O) -> io::Result<T>
where
    O: Single<Output = io::Result<T>>,
{
    loop {
        match Submit::new(driver, make()).await {
            Err(error) if is_interrupted(&error) => {}
            result => return result,
        }
    }
}

/// Whether a signal came before the operation had any effect.
pub(super) fn is_interrupted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
}

/// An operation that was submitted at once, to be awaited later.
pub(super) struct Started<O: Single> {
    flight: Submit<O>,
    /// There was no kernel to submit it to.
    early: Option<O::Output>,
}

impl<O: Single> Started<O> {
    pub(super) fn new(driver: &Driver, op: O, cx: &mut Context<'_>) -> Started<O> {
        let mut flight = Submit::new(driver, op);
        let early = match Pin::new(&mut flight).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        };
        Started { flight, early }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O::Output> {
        match self.early.take() {
            Some(output) => Poll::Ready(output),
            None => Pin::new(&mut self.flight).poll(cx),
        }
    }
}

/// Performs several operations at once; their outputs in the same order.
pub(super) async fn all<O: Single>(
    driver: &Driver,
    ops: impl Iterator<Item = O>,
) -> Vec<O::Output> {
    let mut flights: Vec<_> = ops.map(|op| (Submit::new(driver, op), None)).collect();
    poll_fn(|cx| {
        let mut done = true;
        for (flight, output) in flights.iter_mut().filter(|(_, output)| output.is_none()) {
            match Pin::new(flight).poll(cx) {
                Poll::Ready(value) => *output = Some(value),
                Poll::Pending => done = false,
            }
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let outputs = flights.into_iter().filter_map(|(_, output)| output);
    outputs.collect()
}

/// Hands an operation to the kernel for good; its output comes at once only if there is no
/// kernel to hand it to. The operation must not be one that a drop cancels.
pub(super) fn detach<O: Single>(driver: &Driver, op: O) -> Option<O::Output> {
    debug_assert!(!op.cancel_on_drop(), "the drop below would cancel it");
    let mut flight = Submit::new(driver, op);
    match Pin::new(&mut flight).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
