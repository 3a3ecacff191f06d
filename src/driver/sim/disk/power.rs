//! Making things durable, failing to, and losing the power.

use super::journal::EntryChange;
use super::{Disk, Errno, Ino, Node, OpenFile, ROOT};
use crate::driver::sim::rng::Rng;
use std::collections::BTreeSet;

impl Disk {
    /// Makes a file's content durable (`fsync(2)`, with `data_only` `fdatasync(2)`, which leaves
    /// out mode and times), but not its name; of a directory, the names in it. A write with
    /// `O_SYNC` does this too, for the whole file.
    ///
    /// A sync that fails is reported once to each open file that was there, the one that asked and
    /// later the others, and never again; what it was to write is lost.
    pub(crate) fn sync(&mut self, file: &mut OpenFile, data_only: bool) -> Result<(), Errno> {
        self.check_life(file);
        file.check_opened()?;
        match self.take_failure(file.ino) {
            Some(errno) => self.fail_sync(file.ino, errno),
            None => self.make_durable(file.ino, data_only),
        }
        let (failures, errno) = self.inode(file.ino).sync_failures;
        if file.failures_seen < failures {
            file.failures_seen = failures;
            return Err(errno);
        }
        Ok(())
    }

    /// Makes everything durable (`sync(2)`, or the kernel's own write-back at rest).
    pub(crate) fn sync_all(&mut self) {
        let changes = self.journal.take_all();
        self.apply_durable(changes);
        let all: Vec<Ino> = self.inodes.keys().copied().collect();
        for ino in all {
            self.inode_mut(ino).make_durable(false);
        }
    }

    /// What a kernel does by itself while its programs run: some files, and the oldest directory
    /// operations, get to the disk.
    pub(crate) fn write_back(&mut self, rng: &mut Rng) {
        let count = rng.index(self.journal.len() + 1);
        let changes = self.journal.take_first(count);
        self.apply_durable(changes);
        for inode in self.inodes.values_mut() {
            if rng.chance(0.5) {
                inode.make_durable(rng.chance(0.5));
            }
        }
    }

    /// Lets one sync to come fail with this error: the next of this file, or the next of any.
    ///
    /// What a file's failed sync was to write stays in the page cache and counts as written: a
    /// later sync has nothing to do for it, and a power loss loses it. Of a directory and of mode
    /// and times, the next sync tries again.
    pub(crate) fn fail_next_sync(&mut self, ino: Option<Ino>, errno: Errno) {
        self.failing.push((ino, errno));
    }

    /// The host loses its power: of what was not synced, anything legal is left (see
    /// [`file`](super::file) and [`journal`](super::journal)). All open files are gone.
    pub(crate) fn power_loss(&mut self, rng: &mut Rng) {
        self.lives += 1;
        self.failing.clear();
        let changes = self.journal.take_kept(rng);
        self.apply_durable(changes);
        let reached = self.read_directories();
        self.inodes.retain(|ino, _| reached.contains(ino));
        self.used_blocks = 0;
        for inode in self.inodes.values_mut() {
            inode.opened = 0;
            inode.locks.clear();
            inode.sync_failures = (0, 0);
            // Mode and times are written as one.
            if rng.chance(0.5) {
                inode.durable_attributes = inode.attributes;
            }
            inode.attributes = inode.durable_attributes;
            if let Node::File(file) = &mut inode.node {
                file.lose_power(rng);
                self.used_blocks += file.cached().blocks();
            }
        }
    }

    fn take_failure(&mut self, ino: Ino) -> Option<Errno> {
        let is_meant = |(file, _): &(Option<Ino>, Errno)| file.is_none_or(|file| file == ino);
        let index = self.failing.iter().position(is_meant)?;
        Some(self.failing.remove(index).1)
    }

    fn fail_sync(&mut self, ino: Ino, errno: Errno) {
        let inode = self.inode_mut(ino);
        inode.sync_failures = (inode.sync_failures.0 + 1, errno);
        if let Node::File(file) = &mut inode.node {
            file.fail_sync();
        }
    }

    fn make_durable(&mut self, ino: Ino, data_only: bool) {
        self.inode_mut(ino).make_durable(data_only);
        if self.inode(ino).is_dir() {
            let changes = self.journal.take_in(ino);
            self.apply_durable(changes);
        }
    }

    /// The disk gets these entries, in order.
    fn apply_durable(&mut self, changes: Vec<EntryChange>) {
        for EntryChange { dir, name, to } in changes {
            // What the journal held for the new value, the entry holds from now on.
            let before = self.directory_mut(dir).set_durable(name, to);
            if let Some(ino) = before {
                self.inode_mut(ino).held -= 1;
                self.reap(ino);
            }
        }
    }

    /// Reads all directories from the disk, from the root on, and counts the names.
    ///
    /// # Returns
    /// The files that have one.
    fn read_directories(&mut self) -> BTreeSet<Ino> {
        for inode in self.inodes.values_mut() {
            (inode.names, inode.held) = (0, 0);
        }
        (self.inode_mut(ROOT).names, self.inode_mut(ROOT).held) = (1, 1);
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        let mut number = self.last_number;
        while let Some(dir) = open.pop() {
            self.directory_mut(dir).read_durable(|| {
                number += 1;
                number
            });
            let entries = self.directory(dir).entries();
            let entries: Vec<_> = entries.map(|(name, ino)| (name.to_vec(), ino)).collect();
            for (name, ino) in entries {
                let inode = self.inode_mut(ino);
                inode.names += 1;
                inode.held += 1;
                let is_new = reached.insert(ino);
                if let Node::Directory(below) = &mut inode.node {
                    assert!(is_new, "{ino:?} is a directory with two names");
                    (below.parent, below.name) = (dir, name);
                    open.push(ino);
                }
            }
        }
        self.last_number = number;
        reached
    }
}

impl super::Inode {
    fn make_durable(&mut self, data_only: bool) {
        if !data_only {
            self.durable_attributes = self.attributes;
        }
        if let Node::File(file) = &mut self.node {
            file.make_durable();
        }
    }
}
