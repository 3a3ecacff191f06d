//! A bounded queue between cores: many senders, one receiver.
//!
//! Rules
//! 1. `queue.len() + granted <= capacity`, and senders wait only while that is an equality. So
//!    nobody overtakes a waiting sender; one that has its slot, and has not run since, may be.
//! 2. A slot that comes free is granted to the longest waiter, which leaves the list of waiters. If
//!    it is dropped before it has used the slot, the slot goes to the next.
//! 3. Closed by the receiver: senders get their values back, what is queued can be received. Closed
//!    by the last sender's drop: what is queued can be received.

use super::error::{SendError, TryRecvError, TrySendError};
use super::waiters::{Ticket, Waiters, register};
use crate::threads::{Mutex, MutexGuard};
use futures_core::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Makes a channel with room for `capacity` values.
///
/// Both ends may be used on any core and in any executor.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, mut receiver) = corering::sync::channel(8);
/// sender.send("hello").await.unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv().await, Some("hello"));
/// assert_eq!(receiver.recv().await, None);
/// # });
/// ```
#[track_caller]
#[must_use]
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel needs room for at least one value");
    let state = State {
        queue: VecDeque::new(),
        capacity,
        granted: 0,
        waiting: Waiters::default(),
        receiver: None,
        senders: 1,
        closed: false,
    };
    let shared = Arc::new(Shared(Mutex::new(state)));
    (
        Sender {
            shared: shared.clone(),
        },
        Receiver { shared },
    )
}

struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    queue: VecDeque<T>,
    capacity: usize,
    /// Slots given to senders that have not used them yet.
    granted: usize,
    /// Senders that wait for a slot.
    waiting: Waiters<()>,
    /// The receiver, if it waits.
    receiver: Option<Waker>,
    /// `Sender`s in existence.
    senders: usize,
    /// By the receiver, or its drop.
    closed: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Only a foreign waker's `clone` could panic under the lock; the state is whole even then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn free(&self) -> usize {
        self.capacity - self.queue.len() - self.granted
    }

    /// Queues a value for which there is room; the receiver is to be woken.
    fn push(&mut self, value: T) -> Option<Waker> {
        debug_assert!(self.free() > 0);
        self.queue.push_back(value);
        self.receiver.take()
    }

    /// Grants a slot that has come free; that sender is to be woken.
    fn grant(&mut self) -> Option<Waker> {
        let (_, waker) = self.waiting.pop()?;
        self.granted += 1;
        Some(waker)
    }

    /// The next value, and a sender to be woken.
    fn pop(&mut self) -> Option<(T, Option<Waker>)> {
        let value = self.queue.pop_front()?;
        Some((value, self.grant()))
    }

    fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        self.waiting.take_all()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Sends values into a [`channel`]. Clones send into the same one.
///
/// # Examples
/// ```
/// use corering::sync::{Sender, channel};
///
/// let (sender, mut receiver) = channel(1);
/// let other: Sender<u32> = sender.clone();
/// other.try_send(1).unwrap();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send> Sender<T> {
    /// Sends a value, and waits for room if there is none. Waiting senders go in turn.
    ///
    /// # Errors
    /// The value, if the receiver has closed the channel or was dropped.
    ///
    /// # Cancel safety
    /// Dropping it before it completes drops the value, which was then not sent, and leaves its
    /// place in the line.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        Sending {
            shared: &self.shared,
            value: Some(value),
            ticket: None,
        }
        .await
    }

    /// Sends a value if there is room.
    ///
    /// # Errors
    /// The value, if the channel is full (or senders wait already), or closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(TrySendError::Closed(value));
        }
        if state.free() == 0 {
            return Err(TrySendError::Full(value));
        }
        let receiver = state.push(value);
        drop(state);
        wake(receiver);
        Ok(())
    }
}

impl<T> Sender<T> {
    /// Whether the receiver has closed the channel or was dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Values sent and not yet received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values could be sent now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.lock().free()
    }

    /// The capacity that the channel was made with.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.shared.lock().capacity
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.lock().senders += 1;
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        let receiver = if state.senders == 0 {
            state.receiver.take()
        } else {
            None
        };
        drop(state);
        wake(receiver);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The future of [`Sender::send`].
struct Sending<'a, T> {
    shared: &'a Shared<T>,
    /// The value until it is sent.
    value: Option<T>,
    /// The place in the line; granted when the line does not hold it any more.
    ticket: Option<Ticket>,
}

/// The value is never pinned: it is only moved.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.shared.lock();
        if !state.closed {
            match this.ticket {
                Some(ticket) if state.waiting.contains(ticket) => {
                    let old = state.waiting.update(ticket, cx.waker());
                    drop(state);
                    drop(old);
                    return Poll::Pending;
                }
                None if state.free() == 0 => {
                    this.ticket = Some(state.waiting.enter((), cx.waker().clone()));
                    return Poll::Pending;
                }
                _ => {}
            }
        }
        let value = this
            .value
            .take()
            .expect("a send was polled after it had completed");
        if this.ticket.take().is_some() && state.granted > 0 {
            state.granted -= 1;
        }
        if state.closed {
            return Poll::Ready(Err(SendError(value)));
        }
        let receiver = state.push(value);
        drop(state);
        wake(receiver);
        Poll::Ready(Ok(()))
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut state = self.shared.lock();
        if let Some(own) = state.waiting.leave(ticket) {
            drop(state);
            drop(own);
        } else if !state.closed {
            // It was granted a slot and has not used it: the next one's.
            state.granted -= 1;
            let next = state.grant();
            drop(state);
            wake(next);
        }
    }
}

/// Receives the values of a [`channel`]; also a `Stream` of them.
///
/// Dropping it closes the channel and drops what is queued.
///
/// # Examples
/// ```
/// use corering::sync::{Receiver, channel};
///
/// let (sender, mut receiver): (_, Receiver<u32>) = channel(2);
/// sender.try_send(1).unwrap();
/// receiver.close();
/// assert!(sender.try_send(2).is_err());
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The next value; `None` when every sender is gone, or the channel is closed, and all values
    /// were received.
    ///
    /// # Cancel safety
    /// Safe: a value leaves the channel only when it is returned.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next value; see [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.shared.lock();
        if let Some((value, sender)) = state.pop() {
            drop(state);
            wake(sender);
            return Poll::Ready(Some(value));
        }
        if state.closed || state.senders == 0 {
            return Poll::Ready(None);
        }
        let old = register(&mut state.receiver, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// The next value if there is one.
    ///
    /// # Errors
    /// `Empty`, or `Disconnected` if none will ever come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.shared.lock();
        match state.pop() {
            Some((value, sender)) => {
                drop(state);
                wake(sender);
                Ok(value)
            }
            None if state.closed || state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Takes no more values; those in the channel can still be received.
    pub fn close(&mut self) {
        let senders = self.shared.lock().close();
        senders.into_iter().for_each(Waker::wake);
    }

    /// Whether it was closed or every sender is gone; values may still be queued.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let state = self.shared.lock();
        state.closed || state.senders == 0
    }

    /// Values sent and not yet received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values could be sent now.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.lock().free()
    }

    /// The capacity that the channel was made with.
    #[must_use]
    pub fn max_capacity(&self) -> usize {
        self.shared.lock().capacity
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), None)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let senders = state.close();
        let own = state.receiver.take();
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        // The wakes first: a value's destructor might panic.
        senders.into_iter().for_each(Waker::wake);
        drop((own, queue));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
