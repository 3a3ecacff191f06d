//! One value from one task to another of the same core, without atomics: a bare future.
//!
//! Rules
//! 1. The sender's end is "sent" or "gone", once; the receiver's end is "closed", once.
//! 2. A value sent before the receiver closed can still be received after.

pub use crate::sync::oneshot::{RecvError, TryRecvError};
use crate::sync::waiters::register;
use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Makes a channel for one value, for the tasks of one core.
///
/// Between cores it is [`corering::sync::oneshot`](crate::sync::oneshot()).
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, receiver) = corering::sync::local::oneshot::channel();
/// sender.send(5).unwrap();
/// assert_eq!(receiver.await, Ok(5));
/// # });
/// ```
#[must_use = "an end that is dropped closes the channel"]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        value: None,
        sender_gone: false,
        closed: false,
        taken: false,
        receiver: None,
        sender: None,
    };
    let shared = Rc::new(Shared(RefCell::new(state)));
    (
        Sender {
            shared: shared.clone(),
        },
        Receiver { shared },
    )
}

struct Shared<T>(RefCell<State<T>>);

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
    fn state(&self) -> RefMut<'_, State<T>> {
        self.0.borrow_mut()
    }

    fn close(&self) {
        let mut state = self.state();
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
/// use corering::sync::local::oneshot::{self, Sender};
///
/// let (sender, receiver): (Sender<u32>, _) = oneshot::channel();
/// drop(receiver);
/// assert!(sender.is_closed());
/// assert_eq!(sender.send(1), Err(1));
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends the value. It never waits.
    ///
    /// # Errors
    /// The value, if the receiver is closed or gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut state = self.shared.state();
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
        let mut state = self.shared.state();
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
        self.shared.state().closed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
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
/// use corering::sync::local::oneshot::{self, Receiver, TryRecvError};
///
/// let (sender, mut receiver): (_, Receiver<u32>) = oneshot::channel();
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// sender.send(1).unwrap();
/// assert_eq!(receiver.try_recv(), Ok(1));
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// The value if it is there.
    ///
    /// # Errors
    /// `Empty`, or `Closed` if none will ever come or it was received already.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.shared.state();
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
        let mut state = self.shared.state();
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
        let mut state = self.shared.state();
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
