//! A bounded queue between cores: many senders, one receiver.
//!
//! Rules
//! 1. Those of `chan.rs`, under a lock that is never held across a wake.
//! 2. The receiver takes the whole queue at once and returns it value by value without the lock. It
//!    counts them down in one atomic word, in which the senders' flag stands, too.
//! 3. The flag is set under the lock, by the change of the word that shows a sender that there is
//!    no room; it stays set while senders wait. So a value that is returned is either before that
//!    change, and the sender sees the room, or after it, and the receiver sees the flag: then it
//!    takes the lock and grants the slot. A flag that nobody needs any more costs one lock.
//!
//! ```text
//!   send --lock--> queue --lock, all at once--> taken --word - 1--> recv
//!     full: lock, word | flag, into the line        flag: lock, the first of the line has the slot
//! ```

use super::chan::{self, Shared, State};
use super::ends::channel_ends;
use super::error::{SendError, TryRecvError, TrySendError};
use crate::task::{Wait, What};
use crate::threads::{AtomicUsize, Mutex, Ordering};
use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// Makes a channel with room for `capacity` values.
///
/// Both ends may be used on any core and in any executor. Where both stay on one core,
/// [`local::mpsc`](super::local::mpsc) does without a lock.
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
    ends(capacity)
}

channel_ends!(Arc, Locked, "corering::sync", Send);

/// Shared between cores.
struct Locked<T> {
    state: Mutex<State<T>>,
    word: Word,
}

impl<T> Locked<T> {
    fn new(capacity: usize) -> Locked<T> {
        Locked {
            state: Mutex::new(State::new(capacity)),
            word: Word(AtomicUsize::new(0)),
        }
    }
}

/// The values that are taken, as multiples of [`Word::ONE`], and whether senders wait.
///
/// The receiver changes it with each value, the senders touch it when there is no room: it keeps
/// away from the cache lines of the state, which are the senders'.
#[repr(align(128))]
struct Word(AtomicUsize);

impl Word {
    /// Senders wait. Set and cleared under the lock.
    const SENDERS_WAIT: usize = 1;
    /// One value that is taken.
    const ONE: usize = 2;
}

/// What is taken. Nobody locks it: it makes a [`Receiver`] `Sync` as long as values are `Send`.
struct Taken<T>(std::sync::Mutex<VecDeque<T>>);

impl<T> Default for Taken<T> {
    fn default() -> Taken<T> {
        Taken(std::sync::Mutex::default())
    }
}

/// The values are never pinned: they are only moved.
impl<T> Unpin for Taken<T> {}

impl<T> Taken<T> {
    fn values(&mut self) -> &mut VecDeque<T> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shared for Locked<T> {
    type Item = T;
    type Taken = Taken<T>;

    const SEND: What = |_| Wait::of::<T>("sync::Sender::send");
    const RESERVE: What = |_| Wait::of::<T>("sync::Sender::reserve");
    const CLOSED: What = |_| Wait::of::<T>("sync::Sender::closed");
    const RECV: What = |_| Wait::of::<T>("sync::Receiver::recv");

    fn with<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        // Only a foreign waker's `clone` could panic under the lock; the state is whole even then.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&self, taken: &mut Taken<T>) -> Option<T> {
        let value = taken.values().pop_front()?;
        // Release: who uses the slot comes after who has received the value.
        let before = self.word.0.fetch_sub(Word::ONE, Ordering::Release);
        if before & Word::SENDERS_WAIT != 0 {
            chan::wake(self.with(|state| {
                let sender = state.grant_returned(self.taken());
                if !state.somebody_waits() {
                    let flag = Word::SENDERS_WAIT;
                    self.word.0.fetch_and(!flag, Ordering::Relaxed);
                }
                sender
            }));
        }
        Some(value)
    }

    fn pop(&self, taken: &mut Taken<T>, state: &mut State<T>) -> Option<(T, Option<Waker>)> {
        let values = taken.values();
        mem::swap(values, &mut state.queue);
        let value = values.pop_front()?;
        let sender = state.grant_returned(values.len());
        let flag = usize::from(state.somebody_waits()) * Word::SENDERS_WAIT;
        let word = values.len() * Word::ONE + flag;
        self.word.0.store(word, Ordering::Release);
        Some((value, sender))
    }

    fn taken(&self) -> usize {
        self.word.0.load(Ordering::Acquire) / Word::ONE
    }

    fn taken_watched(&self) -> usize {
        self.word.0.fetch_or(Word::SENDERS_WAIT, Ordering::Acquire) / Word::ONE
    }

    fn taken_dropped(&self) {
        self.word.0.store(0, Ordering::Relaxed);
    }
}
