//! The timer store: a heap with four children a node, and a table that finds a timer in it.
//!
//! Setting a timer that is later than most (a timeout) costs a comparison or two, since it stays
//! near the bottom; removing it costs as little. Equal deadlines are ordered by a sequence number.
//!
//! ```text
//!   Key{index, generation} ──► entries[index]{generation, place, waker} ──► nodes[place]
//!   a fired or removed timer frees its entry; a key of an older generation means "fired"
//! ```

#[cfg(any(test, fuzzing))]
pub(super) mod model;

use std::task::{Poll, Waker};

const CHILDREN: usize = 4;

/// The name of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Node {
    deadline: u64,
    sequence: u64,
    index: u32,
}

impl Node {
    fn is_before(&self, other: &Node) -> bool {
        (self.deadline, self.sequence) < (other.deadline, other.sequence)
    }
}

struct Entry {
    generation: u32,
    /// Where in `nodes` the timer stands; meaningless while the entry is free.
    place: u32,
    waker: Option<Waker>,
}

/// All timers of a core.
#[derive(Default)]
pub(super) struct Heap {
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    sequence: u64,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.nodes.first().map(|node| node.deadline)
    }

    /// When to look again: at the first deadline, or, if another follows it by at most `slack`, so
    /// much after the first, to find several due at once.
    ///
    /// What comes second is among the first one's children, so a lone timer is told from a crowd
    /// by four comparisons; timers that share the first deadline make no crowd.
    pub(super) fn next_look(&self, slack: u64) -> Option<u64> {
        let first = self.nodes.first()?.deadline;
        let late = first.saturating_add(slack);
        let mut seconds = self.nodes[1..].iter().take(CHILDREN);
        let crowded = seconds.any(|node| node.deadline > first && node.deadline <= late);
        Some(if crowded { late } else { first })
    }

    pub(super) fn insert(&mut self, deadline: u64, waker: Waker) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                generation: 0,
                place: 0,
                waker: None,
            });
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 timers")
        });
        let entry = &mut self.entries[index as usize];
        entry.waker = Some(waker);
        let key = Key {
            index,
            generation: entry.generation,
        };
        self.sequence += 1;
        self.nodes.push(Node {
            deadline,
            sequence: self.sequence,
            index,
        });
        self.rise(self.nodes.len() - 1);
        key
    }

    /// Ready if the timer has fired.
    pub(super) fn poll(&self, key: Key) -> Poll<()> {
        match self.entries[key.index as usize].generation == key.generation {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Whether a timer that has not fired would wake this waker.
    pub(super) fn would_wake(&self, key: Key, waker: &Waker) -> bool {
        let stored = self.entries[key.index as usize].waker.as_ref();
        stored.is_some_and(|stored| stored.will_wake(waker))
    }

    /// Sets who is woken by a timer that has not fired; returns who was, for the caller to drop.
    pub(super) fn replace(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        self.entries[key.index as usize].waker.replace(waker)
    }

    /// Removes a timer, if it has not fired.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        let entry = &self.entries[key.index as usize];
        if entry.generation != key.generation {
            return None;
        }
        let place = entry.place as usize;
        self.nodes.swap_remove(place);
        if place < self.nodes.len() {
            self.rise(place);
            self.sink(self.entries[self.nodes[place].index as usize].place as usize);
        }
        self.release(key.index)
    }

    /// Removes the first timer, if it is due.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Waker> {
        loop {
            let first = self.nodes.first().filter(|node| node.deadline <= now)?;
            let index = first.index;
            self.nodes.swap_remove(0);
            if !self.nodes.is_empty() {
                self.sink(0);
            }
            if let Some(waker) = self.release(index) {
                return Some(waker);
            }
        }
    }

    /// Who waits, and until when.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Waker, u64)> {
        self.nodes.iter().filter_map(|node| {
            let waker = self.entries[node.index as usize].waker.as_ref();
            waker.map(|waker| (waker, node.deadline))
        })
    }

    fn release(&mut self, index: u32) -> Option<Waker> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        entry.waker.take()
    }

    fn rise(&mut self, mut place: usize) {
        let node = self.nodes[place];
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if !node.is_before(&self.nodes[parent]) {
                break;
            }
            self.put(place, self.nodes[parent]);
            place = parent;
        }
        self.put(place, node);
    }

    fn sink(&mut self, mut place: usize) {
        let node = self.nodes[place];
        loop {
            let first = place * CHILDREN + 1;
            let end = (first + CHILDREN).min(self.nodes.len());
            let mut least = first;
            for child in first..end {
                if self.nodes[child].is_before(&self.nodes[least]) {
                    least = child;
                }
            }
            if first >= end || !self.nodes[least].is_before(&node) {
                break;
            }
            self.put(place, self.nodes[least]);
            place = least;
        }
        self.put(place, node);
    }

    fn put(&mut self, place: usize, node: Node) {
        self.nodes[place] = node;
        self.entries[node.index as usize].place = place as u32;
    }
}
