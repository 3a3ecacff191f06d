//! What an operation is, and the futures that run one.
//!
//! ```text
//!   Idle ──first poll──► in flight ──last completion──► complete(self, cqe) ──► Output
//!                            │ drop
//!                            ▼
//!                         the slot owns the operation; its output is made and dropped there
//! ```
//! The operation's data lives in the future, so the awaited path allocates nothing; only a drop
//! in flight boxes it into its slot. The entry is built at the first poll: a future that is never
//! polled has no effect at all. A late completion runs the same `complete` as an awaited one,
//! and the output is dropped: descriptors close themselves, pooled buffers go home.

use super::Driver;
use super::slot::{Cqe, Limit, Next, Orphan, Token};
use io_uring::squeue;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Something that can be asked of the kernel.
///
/// # Safety
/// Every pointer in the entries of `prepare` and `link` stays valid until `self` is dropped, even
/// if `self` is moved; and what they point at is touched by nobody else meanwhile.
pub(crate) unsafe trait Op: Unpin + 'static {
    /// The entry. Called once; the driver writes `user_data`.
    fn prepare(&mut self) -> squeue::Entry;

    /// A second entry that the kernel starts together with the first (a linked timeout).
    fn link(&mut self) -> Option<squeue::Entry> {
        None
    }

    /// Whether the kernel cancels it without being asked (by a linked timeout).
    fn cancels_itself(&self) -> bool {
        false
    }

    /// Whether a drop in flight asks the kernel to cancel. Otherwise it runs to its end.
    fn cancel_on_drop(&self) -> bool {
        true
    }

    /// Whether, dropped in flight, it waits for something that may never happen: a runtime that
    /// ends cancels it at once, without giving it time.
    fn may_wait_for_ever(&self) -> bool {
        false
    }
}

/// An operation that completes once.
pub(crate) trait Single: Op {
    type Output;

    fn complete(self, cqe: Cqe) -> Self::Output;

    /// The last completion of an orphan. A follow-up that is returned is submitted in its turn.
    fn orphaned(self, cqe: Cqe) -> Option<Self>
    where
        Self: Sized,
    {
        discard(self.complete(cqe));
        None
    }
}

/// What an operation has brought that nobody awaits: its drop closes descriptors and gives
/// buffers back.
fn discard<T>(output: T) {
    if cfg!(break_orphan_close) {
        let _leaked = std::mem::ManuallyDrop::new(output);
    } else {
        drop(output);
    }
}

/// An operation that completes any number of times.
pub(crate) trait Multi: Op {
    type Item;

    fn item(&mut self, cqe: Cqe) -> Self::Item;

    /// How much may pile up before the kernel is asked to stop.
    fn limit(&self) -> Limit;
}

/// A single-shot operation as a future.
#[must_use = "futures do nothing unless polled"]
pub(crate) struct Submit<O: Single> {
    op: Option<O>,
    driver: Driver,
    token: Option<Token>,
    cancelled: bool,
}

impl<O: Single> Submit<O> {
    pub(crate) fn new(driver: &Driver, op: O) -> Submit<O> {
        Submit {
            op: Some(op),
            driver: driver.clone(),
            token: None,
            cancelled: false,
        }
    }

    /// Asks the kernel to cancel, and goes on waiting: the future then yields what the operation
    /// really came to, which may be its result, with its buffer.
    pub(crate) fn cancel(&mut self) {
        if let Some(token) = self.token {
            self.cancelled = true;
            self.driver.cancel(token);
        }
    }

    /// Whether the kernel has the operation.
    pub(crate) fn in_flight(&self) -> bool {
        self.token.is_some()
    }
}

impl<O: Single> Future for Submit<O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = &mut *self;
        let op = this
            .op
            .as_mut()
            .expect("an operation was polled after it had completed");
        let mut cqe = match this.token {
            None => match this.driver.submit_single(op, cx.waker()) {
                Ok(token) => {
                    this.token = Some(token);
                    return Poll::Pending;
                }
                Err(refusal) => refusal,
            },
            Some(token) => ready!(this.driver.poll_single(token, cx.waker())),
        };
        this.token = None;
        let op = this.op.take().expect("checked above");
        let cancelled = cqe.result == -libc::ECANCELED;
        if cancelled && !this.cancelled && !op.cancels_itself() && !this.driver.is_closed() {
            #[cfg(feature = "sim")]
            super::sim::complain("an operation was cancelled, and nobody had asked for that");
            cqe = Cqe::given_up();
        }
        Poll::Ready(op.complete(cqe))
    }
}

impl<O: Single> Drop for Submit<O> {
    fn drop(&mut self) {
        if let (Some(op), Some(token)) = (self.op.take(), self.token.take()) {
            let cancel = op.cancel_on_drop();
            self.driver
                .orphan(token, Box::new(SingleOrphan(Some(op))), cancel);
        }
    }
}

impl<O: Single> std::fmt::Debug for Submit<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submit")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

struct SingleOrphan<O>(Option<O>);

impl<O: Single> Orphan for SingleOrphan<O> {
    fn item(&mut self, _cqe: Cqe) {
        unreachable!("a single-shot operation completes once");
    }

    fn last(mut self: Box<Self>, cqe: Cqe) -> Option<Box<dyn Orphan>> {
        let op = self.0.take().expect("an orphan has one last completion");
        self.0 = op.orphaned(cqe);
        if self.0.is_some() { Some(self) } else { None }
    }

    fn prepare(&mut self, _may_be_silent: bool) -> squeue::Entry {
        self.0
            .as_mut()
            .expect("a follow-up has its operation")
            .prepare()
    }

    fn may_wait_for_ever(&self) -> bool {
        self.0.as_ref().is_some_and(Op::may_wait_for_ever)
    }
}

/// A multishot operation as a stream of items. After its end (`None`) the next poll arms it anew.
#[must_use = "streams do nothing unless polled"]
pub(crate) struct SubmitMulti<O: Multi> {
    op: Option<O>,
    driver: Driver,
    token: Option<Token>,
}

impl<O: Multi> SubmitMulti<O> {
    pub(crate) fn new(driver: &Driver, op: O) -> SubmitMulti<O> {
        SubmitMulti {
            op: Some(op),
            driver: driver.clone(),
            token: None,
        }
    }

    /// The next item; `None` when the kernel has ended the operation and all was read.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        let op = self.op.as_mut().expect("only a drop takes the operation");
        let Some(token) = self.token else {
            match self.driver.submit_multi(op, cx.waker()) {
                Ok(token) => self.token = Some(token),
                Err(refusal) => return Poll::Ready(Some(op.item(refusal))),
            }
            return Poll::Pending;
        };
        match self.driver.poll_stream(token, cx.waker()) {
            Next::Item(cqe) => Poll::Ready(Some(op.item(cqe))),
            Next::Pending => Poll::Pending,
            Next::Ended => {
                self.token = None;
                Poll::Ready(None)
            }
        }
    }

    /// Asks the kernel to end the operation. What has come, and what still comes, can be read.
    pub(crate) fn cancel(&mut self) {
        if let Some(token) = self.token {
            if !self.driver.stream_ended(token) {
                self.driver.cancel(token);
            }
        }
    }

    /// Whether the operation was armed and not read to its end.
    pub(crate) fn is_armed(&self) -> bool {
        self.token.is_some()
    }

    /// Whether items wait to be read.
    pub(crate) fn has_ready(&self) -> bool {
        self.token
            .is_some_and(|token| self.driver.stream_has_ready(token))
    }

    pub(crate) fn op(&self) -> &O {
        self.op.as_ref().expect("only a drop takes the operation")
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// The operation again, once the kernel is done with it.
    pub(crate) fn into_op(mut self) -> Result<O, SubmitMulti<O>> {
        match self.token {
            Some(_) => Err(self),
            None => Ok(self.op.take().expect("only a drop takes the operation")),
        }
    }
}

impl<O: Multi> Drop for SubmitMulti<O> {
    fn drop(&mut self) {
        if let (Some(op), Some(token)) = (self.op.take(), self.token.take()) {
            let cancel = op.cancel_on_drop();
            self.driver.orphan(token, Box::new(MultiOrphan(op)), cancel);
        }
    }
}

impl<O: Multi> std::fmt::Debug for SubmitMulti<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubmitMulti")
            .field("armed", &self.is_armed())
            .finish_non_exhaustive()
    }
}

struct MultiOrphan<O>(O);

impl<O: Multi> Orphan for MultiOrphan<O> {
    fn item(&mut self, cqe: Cqe) {
        discard(self.0.item(cqe));
    }

    fn last(mut self: Box<Self>, cqe: Cqe) -> Option<Box<dyn Orphan>> {
        discard(self.0.item(cqe));
        None
    }
}
