//! One value from one task to another, on any cores.
//!
//! Rules
//! 1. The sender's end is "sent" or "gone", once; the receiver's end is "closed", once.
//! 2. A value sent before the receiver closed can still be received after.

use super::waiters::register;
use crate::threads::{Mutex, MutexGuard};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Makes a channel for one value.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, receiver) = corering::sync::oneshot();
/// sender.send(5).unwrap();
/// assert_eq!(receiver.await, Ok(5));
/// # });
/// ```
#[must_use = "an end that is dropped closes the channel"]
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        value: None,
        sender_gone: false,
        closed: false,
        taken: false,
        receiver: None,
        sender: None,
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
    value: Option<T>,
    /// The sender has sent or was dropped.
    sender_gone: bool,
    /// The receiver wants no value, or was dropped.
    closed: bool,
    /// The value was received.
    taken: bool,
    /// The receiver, if it waits.
    receiver: Option<Waker>,
    /// The sender, if it waits for the receiver to close.
    sender: Option<Waker>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Only a foreign waker's `clone` could panic under the lock; the state is whole even then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let sender = state.sender.take();
        drop(state);
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

/// Sends the one value.
///
/// Dropping it without sending gives the receiver a [`RecvError`].
///
/// # Examples
/// ```
/// use corering::sync::oneshot::{self, Sender};
///
/// let (sender, receiver): (Sender<u32>, _) = oneshot::oneshot();
/// drop(receiver);
/// assert!(sender.is_closed());
/// assert_eq!(sender.send(1), Err(1));
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value. It never waits.
    ///
    /// # Errors
    /// The value, if the receiver is closed or gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(value);
        }
        state.value = Some(value);
        // The drop of `self` wakes the receiver.
        Ok(())
    }

    /// Waits until the receiver is closed or gone.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// Polls for the receiver to close; see [`closed`](Self::closed).
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.closed {
            return Poll::Ready(());
        }
        let old = register(&mut state.sender, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Whether the receiver is closed or gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.sender_gone = true;
        let (receiver, own) = (state.receiver.take(), state.sender.take());
        drop(state);
        drop(own);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Receives the one value: a future of it.
///
/// # Cancel safety
/// Safe: dropping a `&mut Receiver` that is being awaited loses nothing.
///
/// # Panics
/// When it is polled again after it has given the value.
///
/// # Examples
/// ```
/// use corering::sync::oneshot::{self, Receiver, TryRecvError};
///
/// let (sender, mut receiver): (_, Receiver<u32>) = oneshot::oneshot();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// sender.send(1).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The value if it is there.
    ///
    /// # Errors
    /// `Empty`, or `Closed` if none will ever come or it was received already.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.shared.lock();
        match state.value.take() {
            Some(value) => {
                state.taken = true;
                Ok(value)
            }
            None if state.sender_gone || state.closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Wants no value any more; one that was sent before can still be received.
    pub fn close(&mut self) {
        self.shared.close();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        if let Some(value) = state.value.take() {
            state.taken = true;
            return Poll::Ready(Ok(value));
        }
        if state.taken {
            drop(state);
            panic!("a oneshot receiver was polled after it gave the value: await it once");
        }
        if state.sender_gone || state.closed {
            return Poll::Ready(Err(RecvError));
        }
        let old = register(&mut state.receiver, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close();
        let mut state = self.shared.lock();
        let left = (state.value.take(), state.receiver.take());
        drop(state);
        drop(left);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// The sender was dropped without sending, or the receiver was closed.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::oneshot::{self, RecvError};
///
/// let (sender, receiver) = oneshot::oneshot::<u32>();
/// drop(sender);
/// assert_eq!(receiver.await, Err(RecvError));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the channel is closed: nothing was sent")
    }
}

impl Error for RecvError {}

/// Why [`Receiver::try_recv`] has no value.
///
/// # Examples
/// ```
/// use corering::sync::oneshot::{self, TryRecvError};
///
/// let (sender, mut receiver) = oneshot::oneshot::<u32>();
/// drop(sender);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing was sent yet.
    Empty,
    /// Nothing will be sent, or it was received already.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "nothing was sent yet",
            TryRecvError::Closed => "the channel is closed",
        })
    }
}

impl Error for TryRecvError {}
