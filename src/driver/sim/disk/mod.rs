//! The simulated disk: the file system of one simulated host, and what a power loss leaves of it.
//!
//! A pure data structure. Time comes in as a value (nanoseconds since the epoch), chance as a
//! generator, and one call after the other gives the same disk for ever.
//!
//! Rules:
//! 1. Everything is there twice: in the page cache, which all calls see, and on the disk, which a
//!    power loss leaves. What is between them stands in journals: each file's ([`file`]) and one
//!    for all directory entries ([`journal`]). Both say which power losses are legal.
//! 2. A sync is as strict as POSIX: a file's makes the file durable and not its name, a directory's
//!    makes the names in it durable and not the files.
//! 3. Nothing is written back by itself. Who wants the write-back of a real kernel calls
//!    [`Disk::write_back`] from time to time.
//! 4. Space is counted in blocks of 4096 bytes. Names, directories and symbolic links take none. A
//!    power loss may bring back more than fits; then nothing is free.
//! 5. Reading does not change the time of access, as on a disk mounted with `noatime`. There is
//!    one user, who may do everything; permissions are kept and not asked for.
//!
//! ```text
//!   data (read, write)   names (rename, ..)   meta (stat, ..)   list (getdents)
//!          │                   │    └─ walk (paths)
//!          ▼                   ▼
//!   file: cached ─► unsynced   directory: entries ─► journal
//!                     │                                │
//!                     └───────────► power ◄────────────┘   sync, power loss
//!                                     ▼
//!                                  durable
//! ```

mod content;
mod data;
mod directory;
mod file;
mod journal;
mod list;
mod meta;
mod names;
mod open;
mod power;
mod ranges;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use self::open::OpenFile;

use self::directory::Directory;
use self::file::FileData;
use self::journal::{EntryChange, Journal};
use std::collections::{BTreeMap, BTreeSet};

/// What the kernel calls an error: positive, such as `libc::ENOENT`.
pub(crate) type Errno = i32;

/// The unit in which space is counted, in bytes.
const BLOCK: u64 = 4096;
/// The permission bits that new files do not get.
const UMASK: u32 = 0o022;
const ROOT: Ino = Ino(2);

/// The number of a file, which no other file gets after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ino(u64);

/// The file system of one simulated host.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What has a name or is open, in the cache; and what a power loss may bring back.
    inodes: BTreeMap<Ino, Inode>,
    journal: Journal,
    capacity_blocks: u64,
    /// By the files of the cache.
    used_blocks: u64,
    /// Syncs that shall fail: of this file or of any, with this error.
    failing: Vec<(Option<Ino>, Errno)>,
    /// The last number that was given to an inode, an entry or an open file.
    last_number: u64,
    /// How often the open files of the host ended: one that is older is a mistake of the caller.
    lives: u64,
}

#[derive(Debug)]
struct Inode {
    node: Node,
    /// How many names it has, in the cache.
    names: u32,
    /// How many open files it has.
    opened: u32,
    /// How many durable entries and pending directory operations name it.
    held: u32,
    attributes: Attributes,
    durable_attributes: Attributes,
    made: Time,
    /// Who holds an advisory lock: the open file's number, and whether it is exclusive.
    locks: Vec<(u64, bool)>,
    /// How many syncs have failed, and the error of the last one.
    sync_failures: (u64, Errno),
}

#[derive(Debug)]
enum Node {
    File(FileData),
    Directory(Directory),
    Symlink(Vec<u8>),
}

/// What a full sync makes durable, and one of the data does not.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    /// The permission bits, without the kind.
    mode: u32,
    accessed: Time,
    modified: Time,
    changed: Time,
}

/// Seconds since the epoch, or before it, and nanoseconds after that second.
type Time = (i64, u32);

fn time(nanos: u64) -> Time {
    const SECOND: u64 = 1_000_000_000;
    ((nanos / SECOND) as i64, (nanos % SECOND) as u32)
}

/// One file of a [`Disk::snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Snapshot {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
}

impl Disk {
    /// An empty disk: the directories `/` and `/tmp`, which are durable.
    pub(crate) fn new(capacity_bytes: u64) -> Disk {
        let mut disk = Disk {
            inodes: BTreeMap::new(),
            journal: Journal::default(),
            capacity_blocks: capacity_bytes / BLOCK,
            used_blocks: 0,
            failing: Vec::new(),
            last_number: ROOT.0,
            lives: 0,
        };
        let mut root = Inode::new(Node::Directory(Directory::new(ROOT)), 0o755, 0);
        // Nothing names the root, and it is there for ever.
        (root.names, root.held) = (1, 1);
        disk.inodes.insert(ROOT, root);
        disk.make_dir(None, b"/tmp", 0o777, 0)
            .expect("an empty directory takes any name");
        disk.sync_all();
        disk
    }

    /// The bytes that are free, in whole blocks.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_blocks() * BLOCK
    }

    /// The whole tree as the cache has it, by absolute path. A file's holes are written out, so
    /// this is for tests with files that fit into memory.
    pub(crate) fn snapshot(&self) -> BTreeMap<Vec<u8>, Snapshot> {
        let mut tree = BTreeMap::from([(b"/".to_vec(), Snapshot::Directory)]);
        let mut open = vec![(ROOT, Vec::new())];
        while let Some((dir, path)) = open.pop() {
            for (name, ino) in self.directory(dir).entries() {
                let path = [&path[..], b"/", name].concat();
                let entry = match &self.inode(ino).node {
                    Node::Directory(_) => {
                        open.push((ino, path.clone()));
                        Snapshot::Directory
                    }
                    Node::File(file) => {
                        let content = file.cached();
                        Snapshot::File(content.read(0, content.len() as usize))
                    }
                    Node::Symlink(target) => Snapshot::Symlink(target.clone()),
                };
                tree.insert(path, entry);
            }
        }
        tree
    }

    fn free_blocks(&self) -> u64 {
        self.capacity_blocks.saturating_sub(self.used_blocks)
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).expect("what is named or open exists")
    }

    fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes
            .get_mut(&ino)
            .expect("what is named or open exists")
    }

    fn directory(&self, ino: Ino) -> &Directory {
        match &self.inode(ino).node {
            Node::Directory(directory) => directory,
            node => panic!("{ino:?} is no directory: {node:?}"),
        }
    }

    fn directory_mut(&mut self, ino: Ino) -> &mut Directory {
        match &mut self.inode_mut(ino).node {
            Node::Directory(directory) => directory,
            node => panic!("{ino:?} is no directory: {node:?}"),
        }
    }

    /// A new inode, without a name.
    fn add_inode(&mut self, node: Node, mode: u32, now: u64) -> Ino {
        let ino = Ino(self.number());
        self.inodes.insert(ino, Inode::new(node, mode, now));
        ino
    }

    /// Gives up what the cache has of an inode that has neither a name nor an open file, and all of
    /// it if no power loss can bring it back.
    fn reap(&mut self, ino: Ino) {
        let Some(inode) = self.inodes.get_mut(&ino) else {
            return;
        };
        if inode.names > 0 || inode.opened > 0 {
            return;
        }
        if let Node::File(file) = &mut inode.node {
            self.used_blocks -= file.cached().blocks();
            file.drop_cache();
        }
        if inode.held == 0 {
            self.inodes.remove(&ino);
        }
    }

    /// Notes one atomic directory operation that the cache has made.
    fn record(&mut self, changes: Vec<EntryChange>, needs: BTreeSet<u64>) {
        for ino in changes.iter().filter_map(|change| change.to) {
            self.inode_mut(ino).held += 1;
        }
        self.journal.record(changes, needs);
    }
}

impl Inode {
    fn new(node: Node, mode: u32, now: u64) -> Inode {
        let now = time(now);
        let attributes = Attributes {
            mode,
            accessed: now,
            modified: now,
            changed: now,
        };
        Inode {
            node,
            names: 0,
            opened: 0,
            held: 0,
            attributes,
            durable_attributes: attributes,
            made: now,
            locks: Vec::new(),
            sync_failures: (0, 0),
        }
    }

    fn is_dir(&self) -> bool {
        matches!(self.node, Node::Directory(_))
    }

    /// The content was changed.
    fn touch(&mut self, now: u64) {
        self.attributes.modified = time(now);
        self.attributes.changed = time(now);
    }
}
