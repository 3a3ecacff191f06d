//! A bounded queue with many senders and one receiver: the part that does not depend on whether
//! its ends share a lock ([`channel`](super::channel())) or a core ([`super::local::mpsc`]).
//!
//! Rules
//! 1. `queue.len() + taken + granted + permits <= capacity`, and senders wait only while that is an
//!    equality. So nobody overtakes a waiting sender; one that has its slot, and has not run since,
//!    may be.
//! 2. A slot that comes free is granted to the longest waiter, which leaves the list of waiters. If
//!    it is dropped before it has used the slot, the slot goes to the next. A permit is a slot that
//!    its holder has seen.
//! 3. Closed by the receiver: senders get their values back, what is queued and what permits still
//!    send can be received. Closed by the last sender's drop: what is queued can be received.
//! 4. Under the lock nothing is woken and no value or waker dropped: a transition returns them.
//! 5. What the receiver has `taken` out of the queue, and not returned yet, keeps its slots. How
//!    many that are is counted outside of the state, which knows what it was at most; a sender that
//!    finds no room looks at the count itself before it says so or waits.

use super::error::{SendError, TryRecvError, TrySendError};
use super::waiters::{Ticket, Waiters, register, wake_all};
use crate::task::{Noted, Wait, What, noted};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What the ends share: a way to the state.
pub(super) trait Shared {
    type Item;
    /// What the receiver has taken out of the queue, by way of [`pop`](Self::pop), to return it
    /// later without the state. Nothing, unless it says otherwise.
    type Taken: Default;

    /// What waits are called: of the senders, for room and for the close, and of the receiver.
    const SEND: What;
    const RESERVE: What;
    const CLOSED: What;
    const RECV: What;

    /// Runs `act` with the state locked or borrowed. It must not come back here.
    fn with<R>(&self, act: impl FnOnce(&mut State<Self::Item>) -> R) -> R;

    /// The next of what is taken.
    fn next(&self, _taken: &mut Self::Taken) -> Option<Self::Item> {
        None
    }

    /// The next value when nothing is taken any more, and a sender to be woken.
    fn pop(
        &self,
        _taken: &mut Self::Taken,
        state: &mut State<Self::Item>,
    ) -> Option<(Self::Item, Option<Waker>)> {
        let value = state.queue.pop_front()?;
        Some((value, state.grant()))
    }

    /// How many values are taken, while the state is locked.
    fn taken(&self) -> usize {
        0
    }

    /// The same for a sender that waits if they are too many: from now on [`next`](Self::next)
    /// grants the slots.
    fn taken_watched(&self) -> usize {
        0
    }

    /// What is taken is dropped, with the receiver.
    fn taken_dropped(&self) {}
}

/// Shared by the tasks of one core.
pub(super) struct Unshared<T>(RefCell<State<T>>);

impl<T> Unshared<T> {
    pub(super) fn new(capacity: usize) -> Unshared<T> {
        Unshared(RefCell::new(State::new(capacity)))
    }
}

impl<T> Shared for Unshared<T> {
    type Item = T;
    type Taken = ();

    const SEND: What = |_| Wait::of::<T>("sync::local::mpsc::Sender::send");
    const RESERVE: What = |_| Wait::of::<T>("sync::local::mpsc::Sender::reserve");
    const CLOSED: What = |_| Wait::of::<T>("sync::local::mpsc::Sender::closed");
    const RECV: What = |_| Wait::of::<T>("sync::local::mpsc::Receiver::recv");

    fn with<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }
}

pub(super) struct State<T> {
    pub(super) queue: VecDeque<T>,
    capacity: usize,
    /// Values that the receiver has taken out of the queue and not returned: so many at most, and
    /// exactly so many while senders wait, but for one that is just being returned.
    pub(super) taken: usize,
    /// Slots given to senders that have not seen them yet.
    granted: usize,
    /// Slots that permits hold.
    permits: usize,
    /// Senders that wait for a slot.
    waiting: Waiters<()>,
    /// Senders that wait for the close.
    closing: Waiters<()>,
    /// The receiver, if it waits.
    receiver: Option<Waker>,
    /// `Sender`s in existence.
    senders: usize,
    /// By the receiver, or its drop.
    closed: bool,
    /// The receiver was dropped.
    receiver_gone: bool,
}

impl<T> State<T> {
    pub(super) fn new(capacity: usize) -> State<T> {
        State {
            queue: VecDeque::new(),
            capacity,
            taken: 0,
            granted: 0,
            permits: 0,
            waiting: Waiters::default(),
            closing: Waiters::default(),
            receiver: None,
            senders: 1,
            closed: false,
            receiver_gone: false,
        }
    }

    /// How many values could be sent now, at least.
    fn free(&self) -> usize {
        self.capacity - self.queue.len() - self.taken - self.granted - self.permits
    }

    /// Whether a sender may have a slot now. `taken` tells how many values are taken.
    fn has_room(&mut self, taken: impl FnOnce() -> usize) -> bool {
        if self.somebody_waits() {
            // What has just come free is the longest waiter's, even if it is not granted yet.
            return false;
        }
        if self.free() == 0 {
            self.taken = taken();
        }
        self.free() > 0
    }

    pub(super) fn somebody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn senders(&self) -> usize {
        self.senders
    }

    /// Queues a value for which there is room; the receiver is to be woken.
    fn push(&mut self, value: T) -> Option<Waker> {
        debug_assert!(self.closed || self.free() > 0, "a slot came out of nowhere");
        self.queue.push_back(value);
        self.receiver.take()
    }

    /// Grants a slot that has come free; that sender is to be woken.
    pub(super) fn grant(&mut self) -> Option<Waker> {
        let (_, waker) = self.waiting.pop()?;
        self.granted += 1;
        Some(waker)
    }

    /// `taken` values are taken now; if one of them was returned, its slot is granted.
    pub(super) fn grant_returned(&mut self, taken: usize) -> Option<Waker> {
        self.taken = taken;
        if self.free() == 0 {
            return None;
        }
        self.grant()
    }

    /// Whether the queue will never grow again.
    fn ended(&self) -> bool {
        self.senders == 0 || self.closed && self.permits == 0
    }

    /// Everybody who waits is to be woken.
    fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        self.granted = 0;
        let mut woken = self.waiting.take_all();
        woken.extend(self.closing.take_all());
        woken
    }

    /// Queues a permit's value; it comes back if nobody can receive it any more.
    fn permit_used(&mut self, value: T) -> Result<Option<Waker>, T> {
        self.permits -= 1;
        if self.receiver_gone {
            return Err(value);
        }
        Ok(self.push(value))
    }

    /// The slot goes to the next, or the receiver learns that nothing comes any more.
    fn permit_dropped(&mut self) -> Option<Waker> {
        self.permits -= 1;
        if self.closed && self.permits == 0 {
            return self.receiver.take();
        }
        self.grant()
    }
}

pub(super) fn wake(waker: Option<Waker>) {
    wake_all(waker);
}

/// Values sent and not yet received.
pub(super) fn len<S: Shared>(shared: &S) -> usize {
    shared.with(|state| state.queue.len() + shared.taken())
}

/// How many values could be sent now.
pub(super) fn free<S: Shared>(shared: &S) -> usize {
    shared.with(|state| match state.has_room(|| shared.taken()) {
        true => state.free() + state.taken - shared.taken(),
        false => 0,
    })
}

/// Sends if there is room.
pub(super) fn try_send<S: Shared>(shared: &S, value: S::Item) -> Result<(), TrySendError<S::Item>> {
    let receiver = shared.with(|state| {
        if state.closed {
            return Err(TrySendError::Closed(value));
        }
        if !state.has_room(|| shared.taken()) {
            return Err(TrySendError::Full(value));
        }
        Ok(state.push(value))
    })?;
    wake(receiver);
    Ok(())
}

/// Takes a slot if there is one. The caller owes it to [`use_permit`] or [`drop_permit`].
pub(super) fn try_reserve<S: Shared>(shared: &S) -> Result<(), TrySendError<()>> {
    shared.with(|state| {
        if state.closed {
            return Err(TrySendError::Closed(()));
        }
        if !state.has_room(|| shared.taken()) {
            return Err(TrySendError::Full(()));
        }
        state.permits += 1;
        Ok(())
    })
}

pub(super) fn use_permit<S: Shared>(shared: &S, value: S::Item) {
    // A value that comes back is dropped here, with nothing locked.
    if let Ok(receiver) = shared.with(|state| state.permit_used(value)) {
        wake(receiver);
    }
}

pub(super) fn drop_permit<S: Shared>(shared: &S) {
    wake(shared.with(State::permit_dropped));
}

pub(super) fn clone_sender<S: Shared>(shared: &S) {
    shared.with(|state| state.senders += 1);
}

pub(super) fn drop_sender<S: Shared>(shared: &S) {
    wake(shared.with(|state| {
        state.senders -= 1;
        if state.senders == 0 {
            state.receiver.take()
        } else {
            None
        }
    }));
}

pub(super) fn poll_recv<S: Shared>(
    shared: &S,
    taken: &mut S::Taken,
    cx: &mut Context<'_>,
) -> Poll<Option<S::Item>> {
    if let Some(value) = shared.next(taken) {
        return Poll::Ready(Some(value));
    }
    let (polled, waker, old) = shared.with(|state| match shared.pop(taken, state) {
        Some((value, sender)) => (Poll::Ready(Some(value)), sender, None),
        None if state.ended() => (Poll::Ready(None), None, None),
        None => {
            let old = register(&mut state.receiver, cx.waker());
            (Poll::Pending, None, old)
        }
    });
    drop(old);
    wake(waker);
    polled
}

/// Appends up to `limit` values; ready with their number, which is 0 at the end.
pub(super) fn poll_recv_many<S: Shared>(
    shared: &S,
    taken: &mut S::Taken,
    cx: &mut Context<'_>,
    values: &mut Vec<S::Item>,
    limit: usize,
) -> Poll<usize> {
    let before = values.len();
    values.extend(std::iter::from_fn(|| shared.next(taken)).take(limit));
    let first = values.len() - before;
    if first > 0 && first == limit {
        return Poll::Ready(first);
    }
    // Nothing is taken any more.
    let (polled, woken, old) = shared.with(|state| {
        let count = state.queue.len().min(limit - first);
        if first + count == 0 && limit > 0 && !state.ended() {
            let old = register(&mut state.receiver, cx.waker());
            return (Poll::Pending, Vec::new(), old);
        }
        values.extend(state.queue.drain(..count));
        let woken = (0..count).map_while(|_| state.grant()).collect();
        (Poll::Ready(first + count), woken, None)
    });
    drop(old);
    wake_all(woken);
    polled
}

pub(super) fn try_recv<S: Shared>(
    shared: &S,
    taken: &mut S::Taken,
) -> Result<S::Item, TryRecvError> {
    if let Some(value) = shared.next(taken) {
        return Ok(value);
    }
    let (value, sender) = shared.with(|state| match shared.pop(taken, state) {
        Some(taken) => Ok(taken),
        None if state.ended() => Err(TryRecvError::Disconnected),
        None => Err(TryRecvError::Empty),
    })?;
    wake(sender);
    Ok(value)
}

pub(super) fn close<S: Shared>(shared: &S) {
    wake_all(shared.with(State::close));
}

pub(super) fn drop_receiver<S: Shared>(shared: &S, taken: S::Taken) {
    let (woken, own, queue) = shared.with(|state| {
        let woken = state.close();
        state.receiver_gone = true;
        state.taken = 0;
        shared.taken_dropped();
        let queue = std::mem::take(&mut state.queue);
        (woken, state.receiver.take(), queue)
    });
    // The wakes first: a value's destructor might panic.
    wake_all(woken);
    drop((own, taken, queue));
}

/// The wait for a slot.
struct Slot<'a, S: Shared> {
    shared: &'a S,
    /// The place in the line; granted when the line does not hold it any more.
    ticket: Option<Ticket>,
}

impl<S: Shared> Slot<'_, S> {
    /// Gives the slot to `take`, under the lock; `None` if the channel is closed.
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut State<S::Item>) -> R,
    ) -> Poll<Option<R>> {
        let Slot { shared, ticket } = self;
        let (polled, old) = shared.with(|state| {
            if state.closed {
                *ticket = None;
                return (Poll::Ready(None), None);
            }
            match *ticket {
                Some(place) if state.waiting.contains(place) => {
                    return (Poll::Pending, state.waiting.update(place, cx.waker()));
                }
                Some(_) => state.granted -= 1,
                None if state.has_room(|| shared.taken()) => {}
                None if state.has_room(|| shared.taken_watched()) => {}
                None => {
                    *ticket = Some(state.waiting.enter((), cx.waker().clone()));
                    return (Poll::Pending, None);
                }
            }
            *ticket = None;
            (Poll::Ready(Some(take(state))), None)
        });
        drop(old);
        polled
    }
}

impl<S: Shared> Drop for Slot<'_, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let (own, next) = self.shared.with(|state| {
            let own = state.waiting.leave(ticket);
            if own.is_some() || state.closed {
                return (own, None);
            }
            // It was granted a slot and has not used it: the next one's.
            state.granted -= 1;
            (None, state.grant())
        });
        drop(own);
        wake(next);
    }
}

/// Sends a value, once there is room.
pub(super) fn send<S: Shared>(shared: &S, value: S::Item) -> Noted<Send<'_, S>> {
    let send = Send {
        slot: Slot {
            shared,
            ticket: None,
        },
        value: Some(value),
    };
    noted(S::SEND, 0, send)
}

/// The future of [`send`].
pub(super) struct Send<'a, S: Shared> {
    slot: Slot<'a, S>,
    /// The value until it is sent.
    value: Option<S::Item>,
}

/// The value is never pinned: it is only moved.
impl<S: Shared> Unpin for Send<'_, S> {}

impl<S: Shared> Future for Send<'_, S> {
    type Output = Result<(), SendError<S::Item>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Send { slot, value } = &mut *self;
        let polled = slot.poll(cx, |state| value.take().map(|value| state.push(value)));
        let sent = "a send was polled after it had completed";
        polled.map(|pushed| match pushed {
            Some(receiver) => {
                wake(receiver.expect(sent));
                Ok(())
            }
            None => Err(SendError(value.take().expect(sent))),
        })
    }
}

/// Takes a slot, once there is one. The caller owes it to [`use_permit`] or [`drop_permit`].
pub(super) fn reserve<S: Shared>(shared: &S) -> Noted<Reserve<'_, S>> {
    let slot = Slot {
        shared,
        ticket: None,
    };
    noted(S::RESERVE, 0, Reserve(slot))
}

/// The future of [`reserve`].
pub(super) struct Reserve<'a, S: Shared>(Slot<'a, S>);

impl<S: Shared> Future for Reserve<'_, S> {
    type Output = Result<(), SendError<()>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.0.poll(cx, |state| state.permits += 1);
        polled.map(|taken| taken.ok_or(SendError(())))
    }
}

/// Waits for the close.
pub(super) fn closed<S: Shared>(shared: &S) -> Noted<Closed<'_, S>> {
    let closed = Closed {
        shared,
        ticket: None,
    };
    noted(S::CLOSED, 0, closed)
}

/// The future of [`closed`].
pub(super) struct Closed<'a, S: Shared> {
    shared: &'a S,
    ticket: Option<Ticket>,
}

impl<S: Shared> Future for Closed<'_, S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (polled, old) = this.shared.with(|state| {
            if state.closed {
                return (Poll::Ready(()), None);
            }
            let old = match this.ticket {
                Some(ticket) => state.closing.update(ticket, cx.waker()),
                None => {
                    this.ticket = Some(state.closing.enter((), cx.waker().clone()));
                    None
                }
            };
            (Poll::Pending, old)
        });
        drop(old);
        polled
    }
}

impl<S: Shared> Drop for Closed<'_, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let own = self.shared.with(|state| state.closing.leave(ticket));
        drop(own);
    }
}
