//! Queues of work between the tasks of one core, with a count of what is still being done.
//!
//! | queue | what comes out next |
//! |---|---|
//! | [`Queue`] | what went in first |
//! | [`LifoQueue`] | what went in last |
//! | [`PriorityQueue`] | the least; of equals, what went in first |
//!
//! They are asyncio's: many tasks put, many get, whoever has got an item says
//! [`task_done`](WorkQueue::task_done) when it is worked off, and [`join`](WorkQueue::join) waits
//! until all are. A channel instead ends by itself when its senders are gone.
//!
//! Rules
//! 1. `items.len() + slots_granted <= capacity`, and putters wait only while that is an equality;
//!    `items_granted <= items.len()`, and getters wait only while that is an equality. So nobody
//!    overtakes one who waits.
//! 2. What is granted to a waiter that goes is granted to the next.
//! 3. Shut down, it refuses all putters at once, and getters as soon as it is empty: then, and only
//!    then, a getter leaves the line without an item.
//!
//! ```text
//!   put --full--> putters: 3, 4 ..         getters: 7, 8 .. <--empty-- get
//!            a get grants a slot |         | a put grants an item
//!                                v         v
//!                    woken, and the slot or item is its own when it is polled
//! ```

mod error;
mod store;

pub use error::{GetError, PutError, TooManyDone, TryGetError, TryPutError};
pub use store::{Fifo, Lifo, Priority, Store};

use super::event::Event;
use super::waiters::{Ticket, Waiters, wake_all};
use crate::task::{Wait, noted};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A queue whose items come out in the order in which they went in.
///
/// # Examples
/// ```no_run
/// use corering::sync::queue::Queue;
/// use std::rc::Rc;
///
/// corering::block_on(async {
///     let queue = Rc::new(Queue::bounded(4));
///     for _ in 0..3 {
///         let queue = queue.clone();
///         corering::spawn(async move {
///             while let Ok(n) = queue.get().await {
///                 println!("{n}");
///                 queue.task_done().unwrap();
///             }
///         });
///     }
///     for n in 0..100 {
///         queue.put(n).await.unwrap();
///     }
///     queue.join().await;
///     queue.shutdown(false);
/// });
/// ```
pub type Queue<T> = WorkQueue<Fifo<T>>;

/// A queue whose last item comes out first.
///
/// # Examples
/// ```
/// use corering::sync::queue::LifoQueue;
///
/// let queue = LifoQueue::unbounded();
/// queue.try_put(1).unwrap();
/// queue.try_put(2).unwrap();
/// assert_eq!(queue.try_get(), Ok(2));
/// ```
pub type LifoQueue<T> = WorkQueue<Lifo<T>>;

/// A queue whose least item comes out first, and of equal ones that which went in first.
///
/// With [`std::cmp::Reverse`] it is the greatest. Comparing items must not use the queue.
///
/// # Examples
/// ```
/// use corering::sync::queue::PriorityQueue;
///
/// let queue = PriorityQueue::unbounded();
/// for item in [(2, "later"), (1, "now"), (2, "last")] {
///     queue.try_put(item).unwrap();
/// }
/// assert_eq!(queue.try_get(), Ok((1, "now")));
/// ```
pub type PriorityQueue<T> = WorkQueue<Priority<T>>;

/// A queue of work: what [`Queue`], [`LifoQueue`] and [`PriorityQueue`] have in common.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::sync::queue::{LifoQueue, PutError, Queue, Store, WorkQueue};
///
/// async fn fill<S: Store<Item = u32>>(queue: &WorkQueue<S>) -> Result<(), PutError<u32>> {
///     queue.put(1).await?;
///     queue.put(2).await
/// }
///
/// let (first, last) = (Queue::bounded(2), LifoQueue::bounded(2));
/// fill(&first).await.unwrap();
/// fill(&last).await.unwrap();
/// assert_eq!((first.get().await, last.get().await), (Ok(1), Ok(2)));
/// # });
/// ```
pub struct WorkQueue<S> {
    state: RefCell<State<S>>,
    /// Set while `unfinished` is 0.
    finished: Event,
}

struct State<S> {
    items: S,
    capacity: usize,
    /// Items put whose `task_done` has not come yet.
    unfinished: usize,
    shut_down: bool,
    putters: Waiters<()>,
    /// Slots given to putters that have not used them yet.
    slots_granted: usize,
    getters: Waiters<()>,
    /// Items given to getters that have not taken them yet.
    items_granted: usize,
}

/// Who is to be woken after an item was taken.
#[derive(Default)]
struct Taken {
    putter: Option<Waker>,
    refused: Vec<Waker>,
}

impl Taken {
    fn wake(self) {
        wake_all(self.putter);
        wake_all(self.refused);
    }
}

impl<S: Store> State<S> {
    fn has_room(&self) -> bool {
        self.items.len() + self.slots_granted < self.capacity
    }

    /// Puts an item for which there is room; a getter is to be woken.
    fn push(&mut self, item: S::Item) -> Option<Waker> {
        self.unfinished += 1;
        self.items.push(item);
        self.grant_item()
    }

    /// Grants an item that nobody has; that getter is to be woken.
    fn grant_item(&mut self) -> Option<Waker> {
        let (_, waker) = self.getters.pop()?;
        self.items_granted += 1;
        Some(waker)
    }

    /// Grants a slot that has come free; that putter is to be woken.
    fn grant_slot(&mut self) -> Option<Waker> {
        let (_, waker) = self.putters.pop()?;
        self.slots_granted += 1;
        Some(waker)
    }

    /// Takes an item that nobody was granted.
    fn pop(&mut self) -> Option<(S::Item, Taken)> {
        if self.items.len() == self.items_granted {
            return None;
        }
        let item = self.items.pop()?;
        let mut taken = Taken {
            putter: self.grant_slot(),
            refused: Vec::new(),
        };
        if self.is_over() {
            taken.refused = self.getters.take_all();
        }
        Some((item, taken))
    }

    /// Nothing is in it, and nothing will be.
    fn is_over(&self) -> bool {
        self.shut_down && self.items.is_empty()
    }
}

impl<S: Store> WorkQueue<S> {
    /// A queue with room for `capacity` items.
    ///
    /// # Panics
    /// If `capacity` is 0: use [`unbounded`](Self::unbounded) for a queue without a limit.
    #[track_caller]
    #[must_use]
    pub fn bounded(capacity: usize) -> WorkQueue<S> {
        assert!(
            capacity > 0,
            "a queue needs room for at least one item; one without a limit is `unbounded()`"
        );
        WorkQueue::with(capacity)
    }

    /// A queue with room for as many items as there is memory, so that `put` never waits.
    #[must_use]
    pub fn unbounded() -> WorkQueue<S> {
        WorkQueue::with(usize::MAX)
    }

    fn with(capacity: usize) -> WorkQueue<S> {
        let finished = Event::new();
        finished.set();
        let state = State {
            items: S::default(),
            capacity,
            unfinished: 0,
            shut_down: false,
            putters: Waiters::default(),
            slots_granted: 0,
            getters: Waiters::default(),
            items_granted: 0,
        };
        WorkQueue {
            state: RefCell::new(state),
            finished,
        }
    }

    /// Puts an item, and waits for room if there is none. Who waits longest goes first.
    ///
    /// # Errors
    /// The item, if the queue is shut down.
    ///
    /// # Cancel safety
    /// Dropping it before it completes drops the item, which was then not put, and leaves its place
    /// in the line.
    pub async fn put(&self, item: S::Item) -> Result<(), PutError<S::Item>> {
        let put = Put {
            queue: self,
            item: Some(item),
            ticket: None,
        };
        noted(
            |_| Wait::of::<S::Item>("sync::queue::WorkQueue::put"),
            0,
            put,
        )
        .await
    }

    /// Puts an item if there is room.
    ///
    /// # Errors
    /// The item, if the queue is full (or others wait already), or shut down.
    pub fn try_put(&self, item: S::Item) -> Result<(), TryPutError<S::Item>> {
        let mut state = self.state.borrow_mut();
        if state.shut_down {
            return Err(TryPutError::ShutDown(item));
        }
        if !state.has_room() {
            return Err(TryPutError::Full(item));
        }
        self.finished.clear();
        let getter = state.push(item);
        drop(state);
        wake_all(getter);
        Ok(())
    }

    /// Takes the next item, and waits if there is none. Who waits longest goes first.
    ///
    /// # Errors
    /// If the queue is shut down and empty.
    ///
    /// # Cancel safety
    /// Safe: an item leaves the queue only when it is returned; only the place in the line is lost.
    pub async fn get(&self) -> Result<S::Item, GetError> {
        let get = Get {
            queue: self,
            ticket: None,
        };
        noted(
            |_| Wait::of::<S::Item>("sync::queue::WorkQueue::get"),
            0,
            get,
        )
        .await
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    /// If there is none (or others wait already), or the queue is shut down and empty.
    pub fn try_get(&self) -> Result<S::Item, TryGetError> {
        let mut state = self.state.borrow_mut();
        match state.pop() {
            Some((item, taken)) => {
                drop(state);
                taken.wake();
                Ok(item)
            }
            None if state.is_over() => Err(TryGetError::ShutDown),
            None => Err(TryGetError::Empty),
        }
    }

    /// Says that an item that was taken is worked off: once for each.
    ///
    /// # Errors
    /// If it is called more often than items were put.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        let mut state = self.state.borrow_mut();
        state.unfinished = state.unfinished.checked_sub(1).ok_or(TooManyDone)?;
        let all = state.unfinished == 0;
        drop(state);
        if all {
            self.finished.set();
        }
        Ok(())
    }

    /// Waits until [`task_done`](Self::task_done) was said for every item that was put; at once if
    /// nothing is open.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn join(&self) {
        let what = |_| Wait::of::<S::Item>("sync::queue::WorkQueue::join");
        self.finished.wait_as(what).await;
    }

    /// Takes no more items: whoever puts one, or waits to, gets it back. What is in the queue can
    /// still be taken; then every [`get`](Self::get) gets an error.
    ///
    /// `immediate` also drops what is in the queue, as if it were worked off.
    pub fn shutdown(&self, immediate: bool) {
        let mut state = self.state.borrow_mut();
        state.shut_down = true;
        state.slots_granted = 0;
        let mut woken = state.putters.take_all();
        let mut dropped = S::default();
        if immediate {
            dropped = std::mem::take(&mut state.items);
            state.items_granted = 0;
            state.unfinished = state.unfinished.saturating_sub(dropped.len());
        }
        if state.is_over() {
            woken.extend(state.getters.take_all());
        }
        let all_done = state.unfinished == 0;
        drop(state);
        wake_all(woken);
        if all_done {
            self.finished.set();
        }
        drop(dropped);
    }

    /// Whether it was shut down; items may still be in it.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.state.borrow().shut_down
    }

    /// Items in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.borrow().items.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`try_put`](Self::try_put) would find no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.state.borrow().has_room()
    }

    /// How many items it has room for; `None` if it is unbounded.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let capacity = self.state.borrow().capacity;
        (capacity < usize::MAX).then_some(capacity)
    }

    /// Items that were put and are not worked off yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.state.borrow().unfinished
    }
}

impl<S: Store> fmt::Debug for WorkQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}

/// The future of [`WorkQueue::put`].
struct Put<'a, S: Store> {
    queue: &'a WorkQueue<S>,
    /// The item until it is put.
    item: Option<S::Item>,
    /// The place in the line; granted when the line does not hold it any more.
    ticket: Option<Ticket>,
}

/// The item is never pinned: it is only moved.
impl<S: Store> Unpin for Put<'_, S> {}

impl<S: Store> Future for Put<'_, S> {
    type Output = Result<(), PutError<S::Item>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.queue.state.borrow_mut();
        if !state.shut_down {
            match this.ticket {
                Some(ticket) if state.putters.contains(ticket) => {
                    let old = state.putters.update(ticket, cx.waker());
                    drop(state);
                    drop(old);
                    return Poll::Pending;
                }
                None if !state.has_room() => {
                    this.ticket = Some(state.putters.enter((), cx.waker().clone()));
                    return Poll::Pending;
                }
                _ => {}
            }
        }
        let item = this.item.take();
        let item = item.expect("a put was polled after it had completed");
        let granted = this.ticket.take().is_some();
        if state.shut_down {
            return Poll::Ready(Err(PutError(item)));
        }
        state.slots_granted -= usize::from(granted);
        this.queue.finished.clear();
        let getter = state.push(item);
        drop(state);
        wake_all(getter);
        Poll::Ready(Ok(()))
    }
}

impl<S: Store> Drop for Put<'_, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut state = self.queue.state.borrow_mut();
        let own = state.putters.leave(ticket);
        let mut next = None;
        if own.is_none() && !state.shut_down {
            // It was granted a slot and has not used it: the next one's.
            state.slots_granted -= 1;
            next = state.grant_slot();
        }
        drop(state);
        drop(own);
        wake_all(next);
    }
}

/// The future of [`WorkQueue::get`].
struct Get<'a, S: Store> {
    queue: &'a WorkQueue<S>,
    /// The place in the line; granted, or refused, when the line does not hold it any more.
    ticket: Option<Ticket>,
}

impl<S: Store> Future for Get<'_, S> {
    type Output = Result<S::Item, GetError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let queue = self.queue;
        let mut state = queue.state.borrow_mut();
        if let Some(ticket) = self.ticket {
            if state.getters.contains(ticket) {
                let old = state.getters.update(ticket, cx.waker());
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            self.ticket = None;
            if !state.is_over() {
                state.items_granted -= 1;
            }
        }
        match state.pop() {
            Some((item, taken)) => {
                drop(state);
                taken.wake();
                Poll::Ready(Ok(item))
            }
            None if state.is_over() => Poll::Ready(Err(GetError)),
            None => {
                self.ticket = Some(state.getters.enter((), cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<S: Store> Drop for Get<'_, S> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let mut state = self.queue.state.borrow_mut();
        let own = state.getters.leave(ticket);
        let mut next = None;
        if own.is_none() && !state.is_over() {
            // It was granted an item and has not taken it: the next one's.
            state.items_granted -= 1;
            next = state.grant_item();
        }
        drop(state);
        drop(own);
        wake_all(next);
    }
}
