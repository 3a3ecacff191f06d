//! Who waits for what that is neither the kernel's nor a timer: each wait notes itself here.
//!
//! Rules
//! 1. A note says which task polled the wait last: that of the turn, whatever waker the poll came
//!    with, so that a wait in a nested executor is its task's too. Polled outside of any task, or
//!    in one of which nothing is noted (neither a builder nor `track_tasks`), it is not noted: a
//!    note takes 25 ns, a third of a message between two tasks.
//! 2. It stands from a poll that found nothing until one that found something, or until its
//!    [`Note`] is dropped. So a wait that was granted, and has not had its turn, is still told of:
//!    its task is ready then.
//! 3. The table is the thread's own. Writing costs a few stores, no count and no lock; what is
//!    noted is made a text only for a listing.
//! 4. A wait may go to another thread with its note, whose place is then given up by way of
//!    [`LEFT_ELSEWHERE`]. No more places are lost to that than the table has before it grows.

use super::{Id, Wait, executor};
use crate::threads::per_thread;
use slab::Slab;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Tells what is waited for, of the number that was noted with it.
pub(crate) type What = fn(usize) -> Wait;

/// Places for which a table without a wait keeps the memory.
const EMPTY_PLACES_MAX: usize = 1_024;

/// Numbers of threads that have a table, from 1; none is used twice.
static NEXT_THREAD: AtomicU64 = AtomicU64::new(1);

/// Keys of places that were given up on another thread than their own. A thread is in it as long as
/// it has a table. A plain list behind a lock of std's, also in a model: it orders nothing.
static LEFT_ELSEWHERE: Mutex<BTreeMap<NonZeroU64, Vec<usize>>> = Mutex::new(BTreeMap::new());

per_thread! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table::EMPTY) };
}

fn left_elsewhere() -> MutexGuard<'static, BTreeMap<NonZeroU64, Vec<usize>>> {
    LEFT_ELSEWHERE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The waits of the tasks of one thread.
struct Table {
    /// Given with the first note.
    thread: Option<NonZeroU64>,
    waits: Slab<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    task: Id,
    what: What,
    count: usize,
}

/// An entry's thread and key.
#[derive(Clone, Copy, Debug)]
struct Place {
    thread: NonZeroU64,
    key: usize,
}

impl Table {
    const EMPTY: Table = Table {
        thread: None,
        waits: Slab::new(),
    };

    /// Writes into the place if it is one of this table, else into a new one.
    fn write(&mut self, place: Option<Place>, entry: Entry) -> Place {
        if let Some(place) = place.filter(|place| Some(place.thread) == self.thread) {
            self.waits[place.key] = entry;
            return place;
        }
        if self.waits.len() == self.waits.capacity() {
            self.sweep();
        }
        let thread = *self.thread.get_or_insert_with(first_of_thread);
        let key = self.waits.insert(entry);
        Place { thread, key }
    }

    /// Frees the places that were given up elsewhere.
    fn sweep(&mut self) {
        let Some(thread) = self.thread else {
            return;
        };
        let mut left = left_elsewhere();
        let keys = left.get_mut(&thread).map(std::mem::take);
        drop(left);
        for key in keys.unwrap_or_default() {
            self.free(key);
        }
    }

    /// The last one of many gives their memory back.
    fn free(&mut self, key: usize) {
        self.waits.try_remove(key);
        if self.waits.is_empty() && self.waits.capacity() > EMPTY_PLACES_MAX {
            self.waits = Slab::new();
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(thread) = self.thread {
            left_elsewhere().remove(&thread);
        }
    }
}

/// The number of a thread that gets its table.
#[cold]
fn first_of_thread() -> NonZeroU64 {
    // 2^64 threads last for centuries; the count begins at 1.
    let number = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
    let thread = NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX);
    left_elsewhere().insert(thread, Vec::new());
    thread
}

/// What one wait has noted; taken back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Note(Option<Place>);

impl Note {
    /// The task that runs waits for this.
    pub(crate) fn set(&mut self, what: What, count: usize) {
        let Some(task) = executor::current_noted() else {
            return self.clear();
        };
        let entry = Entry { task, what, count };
        let old = self.0;
        // A thread that ends has no table any more, and nobody to tell.
        let new = TABLE.try_with(|table| table.borrow_mut().write(old, entry));
        let new = new.ok();
        if old.map(|place| place.thread) != new.map(|place| place.thread) {
            self.clear();
        }
        self.0 = new;
    }

    /// It is waited for no longer.
    pub(crate) fn clear(&mut self) {
        if let Some(place) = self.0.take() {
            give_up(place);
        }
    }

    /// Notes what a poll has found: nothing yet, or that the wait is over.
    pub(crate) fn follow<T>(&mut self, polled: &Poll<T>, what: What, count: usize) {
        match polled {
            Poll::Pending => self.set(what, count),
            Poll::Ready(_) => self.clear(),
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.clear();
    }
}

fn give_up(place: Place) {
    let here = TABLE.try_with(|table| {
        let mut table = table.borrow_mut();
        let own = table.thread == Some(place.thread);
        if own {
            table.free(place.key);
        }
        own
    });
    if !here.unwrap_or(false) {
        // A thread without a table has forgotten all of its places.
        if let Some(keys) = left_elsewhere().get_mut(&place.thread) {
            keys.push(place.key);
        }
    }
}

/// The same future, noted while it waits. `count` is for `what`.
pub(crate) fn noted<F: Future + Unpin>(what: What, count: usize, future: F) -> Noted<F> {
    Noted {
        future,
        what,
        count,
        note: Note::default(),
    }
}

/// The future of [`noted`].
pub(crate) struct Noted<F> {
    future: F,
    what: What,
    count: usize,
    note: Note,
}

impl<F: Future + Unpin> Future for Noted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = Pin::new(&mut self.future).poll(cx);
        let (what, count) = (self.what, self.count);
        self.note.follow(&polled, what, count);
        polled
    }
}

/// What the tasks of this thread have noted, in the order of their places.
pub(super) fn by_task() -> HashMap<Id, Vec<Wait>> {
    let entries = TABLE.try_with(|table| {
        let mut table = table.borrow_mut();
        table.sweep();
        let entries = table.waits.iter().map(|(_, &entry)| entry);
        entries.collect::<Vec<_>>()
    });
    let mut waits: HashMap<Id, Vec<Wait>> = HashMap::new();
    for Entry { task, what, count } in entries.unwrap_or_default() {
        waits.entry(task).or_default().push(what(count));
    }
    waits
}
