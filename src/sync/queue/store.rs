//! In which order the items of a queue come out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;

/// Where a [`WorkQueue`](super::WorkQueue) keeps its items: [`Fifo`], [`Lifo`] or [`Priority`].
pub trait Store: Default + sealed::Sealed {
    /// What is in the queue.
    type Item;

    /// Puts an item in.
    fn push(&mut self, item: Self::Item);

    /// Takes the next item out.
    fn pop(&mut self) -> Option<Self::Item>;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

mod sealed {
    /// The queue's rules rely on a store that keeps exactly what was put into it.
    pub trait Sealed {}
}

/// The store of a [`Queue`](super::Queue): what went in first comes out first.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Fifo, WorkQueue};
///
/// let queue: WorkQueue<Fifo<u32>> = WorkQueue::bounded(2);
/// assert!(queue.is_empty());
/// ```
pub struct Fifo<T>(VecDeque<T>);

/// The store of a [`LifoQueue`](super::LifoQueue): what went in last comes out first.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Lifo, WorkQueue};
///
/// let queue: WorkQueue<Lifo<u32>> = WorkQueue::bounded(2);
/// assert!(queue.is_empty());
/// ```
pub struct Lifo<T>(Vec<T>);

/// The store of a [`PriorityQueue`](super::PriorityQueue): the least comes out first.
///
/// # Examples
/// ```
/// use corering::sync::queue::{Priority, WorkQueue};
///
/// let queue: WorkQueue<Priority<u32>> = WorkQueue::bounded(2);
/// assert!(queue.is_empty());
/// ```
pub struct Priority<T> {
    /// Each with its number in the order of putting, which decides between equals.
    heap: BinaryHeap<Reverse<(T, u64)>>,
    put: u64,
}

impl<T> Store for Fifo<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Store for Lifo<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        self.0.push(item);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Store for Priority<T> {
    type Item = T;

    fn push(&mut self, item: T) {
        self.put += 1;
        self.heap.push(Reverse((item, self.put)));
    }

    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|Reverse((item, _))| item)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<T> sealed::Sealed for Fifo<T> {}
impl<T> sealed::Sealed for Lifo<T> {}
impl<T> sealed::Sealed for Priority<T> {}

impl<T> Default for Fifo<T> {
    fn default() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Lifo<T> {
        Lifo(Vec::new())
    }
}

impl<T: Ord> Default for Priority<T> {
    fn default() -> Priority<T> {
        Priority {
            heap: BinaryHeap::new(),
            put: 0,
        }
    }
}

impl<T> fmt::Debug for Fifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fifo").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Lifo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifo").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Priority<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Priority").finish_non_exhaustive()
    }
}
