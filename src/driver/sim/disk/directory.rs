//! One directory: its entries in the cache and on the disk.

use super::Ino;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Directory {
    /// The directory above, in the cache; of the root, itself.
    pub(super) parent: Ino,
    /// Its name there, also when it is gone; of the root, nothing.
    pub(super) name: Vec<u8>,
    /// What the cache has: the file, and the entry's number.
    entries: BTreeMap<Vec<u8>, (Ino, u64)>,
    /// The names by their entry's number: the order of a listing, into which a new entry does not
    /// come before the place that a reader has reached.
    order: BTreeMap<u64, Vec<u8>>,
    /// What the disk has.
    durable: BTreeMap<Vec<u8>, Ino>,
}

impl Directory {
    pub(super) fn new(parent: Ino) -> Directory {
        Directory {
            parent,
            name: Vec::new(),
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            durable: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Ino> {
        self.entries.get(name).map(|(ino, _)| *ino)
    }

    /// The number of an entry, which it keeps when it is renamed.
    pub(super) fn number_of(&self, name: &[u8]) -> Option<u64> {
        self.entries.get(name).map(|(_, number)| *number)
    }

    pub(super) fn name_of(&self, number: u64) -> Option<&[u8]> {
        self.order.get(&number).map(Vec::as_slice)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8], Ino)> {
        self.entries
            .iter()
            .map(|(name, (ino, _))| (name.as_slice(), *ino))
    }

    /// The entries behind this number, in the order of a listing.
    pub(super) fn listed_after(&self, number: u64) -> impl Iterator<Item = (u64, &[u8], Ino)> {
        let numbers = self.order.range(number.saturating_add(1)..);
        numbers.map(|(number, name)| (*number, name.as_slice(), self.entries[name].0))
    }

    pub(super) fn insert(&mut self, name: Vec<u8>, ino: Ino, number: u64) {
        self.order.insert(number, name.clone());
        self.entries.insert(name, (ino, number));
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<(Ino, u64)> {
        let entry = self.entries.remove(name)?;
        self.order.remove(&entry.1);
        Some(entry)
    }

    /// Sets what the disk has of a name, and returns what it had.
    pub(super) fn set_durable(&mut self, name: Vec<u8>, to: Option<Ino>) -> Option<Ino> {
        match to {
            Some(ino) => self.durable.insert(name, ino),
            None => self.durable.remove(&name),
        }
    }

    /// The cache is read from the disk anew. Numbers are given in the order of the names.
    pub(super) fn read_durable(&mut self, mut number: impl FnMut() -> u64) {
        self.entries.clear();
        self.order.clear();
        for (name, ino) in self.durable.clone() {
            self.insert(name, ino, number());
        }
    }
}
