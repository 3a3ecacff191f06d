//! Every value to every receiver, between the tasks of one core.
//!
//! Rules
//! 1. A value is kept until every receiver that was there when it was sent has seen it, or until
//!    `capacity` newer ones were sent. `slots` holds the values `first ..`, in order.
//! 2. Sending never waits: a receiver that is too slow misses the oldest values, is told how many,
//!    and goes on with the oldest that is kept.
//! 3. A value is cloned, and dropped, when nothing is borrowed.

use crate::sync::error::SendError;
use crate::sync::waiters::{Line, until, wake_all};
use crate::task::{Wait, What};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

/// Makes a channel that keeps the last `capacity` values for each receiver.
///
/// # Panics
/// If `capacity` is 0.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::local::broadcast;
///
/// let (sender, mut one) = broadcast::channel(8);
/// let mut other = sender.subscribe();
/// sender.send("hello").unwrap();
/// assert_eq!(one.recv().await, Ok("hello"));
/// assert_eq!(other.recv().await, Ok("hello"));
/// # });
/// ```
#[track_caller]
#[must_use]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity > 0,
        "a broadcast needs room for at least one value"
    );
    let sender = Sender {
        shared: Rc::new(Shared {
            state: RefCell::new(State {
                slots: VecDeque::new(),
                first: 0,
                capacity,
                receivers: 0,
                senders: 1,
            }),
            waiting: Line::default(),
            closing: Line::default(),
        }),
    };
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    state: RefCell<State<T>>,
    /// Receivers that wait for a value.
    waiting: Line,
    /// Senders that wait until there is no receiver.
    closing: Line,
}

struct State<T> {
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot's value; numbers are never used twice.
    first: u64,
    capacity: usize,
    receivers: usize,
    senders: usize,
}

struct Slot<T> {
    value: Rc<T>,
    /// Receivers that have not seen it.
    unseen: usize,
}

impl<T> State<T> {
    /// The number of the next value to be sent.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Takes out the oldest value.
    fn pop(&mut self) -> Option<Rc<T>> {
        let slot = self.slots.pop_front()?;
        self.first += 1;
        Some(slot.value)
    }

    /// What the receiver whose next value is `next` sees.
    fn see(&mut self, next: &mut u64) -> Result<Rc<T>, TryRecvError> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Err(TryRecvError::Lagged(missed));
        }
        let at = (*next - self.first) as usize;
        let Some(slot) = self.slots.get_mut(at) else {
            return Err(if self.senders == 0 {
                TryRecvError::Closed
            } else {
                TryRecvError::Empty
            });
        };
        *next += 1;
        slot.unseen -= 1;
        let value = slot.value.clone();
        // Older ones were seen by all before: only the first can have been waiting for this.
        if at == 0 && slot.unseen == 0 {
            drop(self.pop());
        }
        Ok(value)
    }

    /// A receiver goes whose next value is `next`; what nobody else will see is to be dropped.
    fn leave(&mut self, next: u64) -> Vec<Rc<T>> {
        self.receivers -= 1;
        let seen = next.saturating_sub(self.first) as usize;
        for slot in self.slots.iter_mut().skip(seen) {
            slot.unseen -= 1;
        }
        let mut unseen = Vec::new();
        while self.slots.front().is_some_and(|slot| slot.unseen == 0) {
            unseen.extend(self.pop());
        }
        unseen
    }
}

/// Sends values to every [`Receiver`]. Clones send to the same ones.
///
/// # Examples
/// ```
/// use corering::sync::local::broadcast::{self, Sender};
///
/// let (sender, receiver): (Sender<u32>, _) = broadcast::channel(2);
/// assert_eq!(sender.send(1), Ok(1));
/// drop(receiver);
/// assert!(sender.send(2).is_err(), "nobody is there to see it");
/// ```
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends a value to every receiver that is there now. It never waits; returns how many.
    ///
    /// If some have not seen the oldest of `capacity` values yet, they miss it.
    ///
    /// # Errors
    /// The value, if there is no receiver. There may be one again:
    /// [`subscribe`](Self::subscribe).
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let mut state = self.shared.state.borrow_mut();
        let receivers = state.receivers;
        if receivers == 0 {
            return Err(SendError(value));
        }
        let missed = if state.slots.len() == state.capacity {
            state.pop()
        } else {
            None
        };
        state.slots.push_back(Slot {
            value: Rc::new(value),
            unseen: receivers,
        });
        drop(state);
        let woken = self.shared.waiting.borrow_mut().take_all();
        wake_all(woken);
        drop(missed);
        Ok(receivers)
    }

    /// A receiver that sees what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = self.shared.state.borrow_mut();
        state.receivers += 1;
        Receiver {
            shared: self.shared.clone(),
            next: state.end(),
        }
    }

    /// How many receivers there are.
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.shared.state.borrow().receivers
    }

    /// Values that some receiver has not seen yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state.borrow().slots.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there is no receiver.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn closed(&self) {
        let what: What = |_| Wait::of::<T>("sync::local::broadcast::Sender::closed");
        until(&self.shared.closing, what, || {
            (self.receiver_count() == 0).then_some(())
        })
        .await;
    }

    /// Whether `other` sends into the same channel.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.shared.state.borrow_mut().senders += 1;
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            let woken = self.shared.waiting.borrow_mut().take_all();
            wake_all(woken);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

/// Receives every value that is sent while it exists.
///
/// # Examples
/// ```
/// use corering::sync::local::broadcast::{self, Receiver, TryRecvError};
///
/// let (sender, mut receiver): (_, Receiver<u32>) = broadcast::channel(2);
/// for n in 1..=5 {
///     sender.send(n).unwrap();
/// }
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(3)));
/// assert_eq!(receiver.try_recv(), Ok(4));
/// assert_eq!(receiver.try_recv(), Ok(5));
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// ```
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The number of the next value that it will see.
    next: u64,
}

impl<T: Clone> Receiver<T> {
    /// The next value.
    ///
    /// # Errors
    /// `Lagged` with the number of values that it missed, after which it goes on; `Closed` when
    /// every sender is gone and all values were seen.
    ///
    /// # Cancel safety
    /// Safe: a value counts as seen only when it is returned.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let Receiver { shared, next } = self;
        let what: What = |_| Wait::of::<T>("sync::local::broadcast::Receiver::recv");
        let seen = until(&shared.waiting, what, || {
            let seen = shared.state.borrow_mut().see(next);
            match seen {
                Ok(value) => Some(Ok(value)),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
                Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
            }
        });
        seen.await.map(Rc::unwrap_or_clone)
    }

    /// The next value if there is one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `Empty`.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let seen = self.shared.state.borrow_mut().see(&mut self.next);
        seen.map(Rc::unwrap_or_clone)
    }
}

impl<T> Receiver<T> {
    /// Another receiver, that sees what is sent from now on.
    pub fn resubscribe(&self) -> Receiver<T> {
        let mut state = self.shared.state.borrow_mut();
        state.receivers += 1;
        Receiver {
            shared: self.shared.clone(),
            next: state.end(),
        }
    }

    /// Values that were sent and that it has not seen, those that it missed included.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.shared.state.borrow().end() - self.next) as usize
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every sender is gone; there may still be values to see.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state.borrow().senders == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        let unseen = state.leave(self.next);
        let last = state.receivers == 0;
        drop(state);
        if last {
            let woken = self.shared.closing.borrow_mut().take_all();
            wake_all(woken);
        }
        drop(unseen);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Why [`Receiver::recv`] has no value.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::local::broadcast::{self, RecvError};
///
/// let (sender, mut receiver) = broadcast::channel(1);
/// sender.send("missed").unwrap();
/// sender.send("last").unwrap();
/// drop(sender);
/// assert_eq!(receiver.recv().await, Err(RecvError::Lagged(1)));
/// assert_eq!(receiver.recv().await, Ok("last"));
/// assert_eq!(receiver.recv().await, Err(RecvError::Closed));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// Every sender is gone and all values were seen.
    Closed,
    /// It was too slow, and missed so many values. The next call goes on with the oldest kept.
    Lagged(u64),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("the channel is closed: every sender is gone"),
            RecvError::Lagged(missed) => lagged(f, *missed),
        }
    }
}

impl Error for RecvError {}

/// Why [`Receiver::try_recv`] has no value.
///
/// # Examples
/// ```
/// use corering::sync::local::broadcast::{self, TryRecvError};
///
/// let (_sender, mut receiver) = broadcast::channel::<u32>(1);
/// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// No value at the moment.
    Empty,
    /// Every sender is gone and all values were seen.
    Closed,
    /// It was too slow, and missed so many values. The next call goes on with the oldest kept.
    Lagged(u64),
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => {
                f.write_str("nothing new was sent: use `recv` to wait for a value")
            }
            TryRecvError::Closed => f.write_str("the channel is closed: every sender is gone"),
            TryRecvError::Lagged(missed) => lagged(f, *missed),
        }
    }
}

impl Error for TryRecvError {}

fn lagged(f: &mut fmt::Formatter<'_>, missed: u64) -> fmt::Result {
    write!(
        f,
        "the receiver was too slow and missed {missed} values: receive more often, or make the \
         channel with a larger capacity"
    )
}
