//! The directory operations that are not on the disk yet.
//!
//! An operation is atomic: one entry of one directory changes, or two (a rename), in one directory
//! or in two. Operations reach the disk in any order, except that one *needs* certain earlier ones:
//! 1. the last one on each name that it changes: a name has one of the versions that it had;
//! 2. a rename into another directory: those that gave this directory and the ones above it their
//!    names, so that what was moved does not vanish with a directory that never was;
//! 3. the removal of a directory: those in this directory, so that it is empty.
//!
//! (2) and (3) are what keeps the result a tree in which nothing is lost that nobody removed. What
//! is legal otherwise may happen: a new directory vanishes with the new files in it, although both
//! the files and the directory were synced, because the one above it was not.

use super::Ino;
use crate::driver::sim::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// An entry gets another value.
#[derive(Clone, Debug)]
pub(super) struct EntryChange {
    pub(super) dir: Ino,
    pub(super) name: Vec<u8>,
    /// `None`: the name is gone.
    pub(super) to: Option<Ino>,
}

/// The number of an operation. Later ones are larger.
type Number = u64;

#[derive(Debug)]
struct Operation {
    changes: Vec<EntryChange>,
    /// Those that are on the disk already are of no importance any more.
    needs: BTreeSet<Number>,
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pending: BTreeMap<Number, Operation>,
    /// The last pending operation on each name.
    last: BTreeMap<(Ino, Vec<u8>), Number>,
    next: Number,
}

impl Journal {
    /// One operation more. `needs` are those of the rules 2 and 3.
    pub(super) fn record(&mut self, changes: Vec<EntryChange>, mut needs: BTreeSet<Number>) {
        let number = self.next;
        self.next += 1;
        for change in &changes {
            let key = (change.dir, change.name.clone());
            needs.extend(self.last.insert(key, number));
        }
        self.pending.insert(number, Operation { changes, needs });
    }

    /// The pending operation that gave this name its value.
    pub(super) fn last_on(&self, dir: Ino, name: &[u8]) -> Option<Number> {
        self.last.get(&(dir, name.to_vec())).copied()
    }

    /// The last pending operations on the names of this directory: with what they need, all that
    /// touch it.
    pub(super) fn last_in(&self, dir: Ino) -> BTreeSet<Number> {
        let names = (dir, Vec::new())..(Ino(dir.0 + 1), Vec::new());
        self.last.range(names).map(|(_, number)| *number).collect()
    }

    /// Takes those that touch this directory and those that they need, in order.
    pub(super) fn take_in(&mut self, dir: Ino) -> Vec<EntryChange> {
        let mut open: Vec<Number> = self.last_in(dir).into_iter().collect();
        let mut taken = BTreeSet::new();
        while let Some(number) = open.pop() {
            if let Some(operation) = self.pending.get(&number) {
                if taken.insert(number) {
                    open.extend(&operation.needs);
                }
            }
        }
        let operations = taken
            .iter()
            .filter_map(|number| self.pending.remove(number));
        let changes = operations.flat_map(|operation| operation.changes).collect();
        self.last.retain(|_, number| !taken.contains(number));
        changes
    }

    /// Takes all, in order.
    pub(super) fn take_all(&mut self) -> Vec<EntryChange> {
        self.last.clear();
        let operations = std::mem::take(&mut self.pending).into_values();
        operations.flat_map(|operation| operation.changes).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Takes the first ones, in order.
    pub(super) fn take_first(&mut self, count: usize) -> Vec<EntryChange> {
        let mut changes = Vec::new();
        for _ in 0..count {
            let Some((number, operation)) = self.pending.pop_first() else {
                break;
            };
            self.last.retain(|_, last| *last != number);
            changes.extend(operation.changes);
        }
        changes
    }

    /// Takes what a power loss leaves, and forgets the rest: as on a disk with an ordered journal
    /// the first operations, or else any of them with what they need.
    pub(super) fn take_kept(&mut self, rng: &mut Rng) -> Vec<EntryChange> {
        let is_ordered = rng.chance(0.5);
        let prefix_len = rng.index(self.pending.len() + 1);
        let keep = rng.between(1, 9) as f64 / 10.0;
        let mut lost = BTreeSet::new();
        let mut changes = Vec::new();
        self.last.clear();
        for (index, (number, operation)) in
            std::mem::take(&mut self.pending).into_iter().enumerate()
        {
            let is_kept = match is_ordered {
                true => index < prefix_len,
                false => rng.chance(keep) && operation.needs.is_disjoint(&lost),
            };
            match is_kept {
                true => changes.extend(operation.changes),
                false => {
                    lost.insert(number);
                }
            }
        }
        changes
    }
}
