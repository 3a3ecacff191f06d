//! Names: making, removing, renaming and linking them.

use super::journal::EntryChange;
use super::walk::{Follow, Found, Last, Walk, check_path};
use super::{Directory, Disk, Errno, Ino, Node, ROOT, UMASK};
use std::collections::BTreeSet;

/// The name gets this value.
pub(super) fn entry(dir: Ino, name: &[u8], to: Option<Ino>) -> EntryChange {
    EntryChange {
        dir,
        name: name.to_vec(),
        to,
    }
}

impl Disk {
    /// Makes a directory (`mkdirat(2)`).
    pub(crate) fn make_dir(
        &mut self,
        at: Option<Ino>,
        path: &[u8],
        mode: u32,
        now: u64,
    ) -> Result<(), Errno> {
        let found = self.walk(at, path, Walk::new(Follow::Entry))?;
        let name = self.new_name(&found, true)?;
        let mode = mode & 0o1777 & !UMASK;
        let directory = Node::Directory(Directory::new(found.parent));
        let ino = self.add_inode(directory, mode, now);
        self.make_entry(found.parent, name, ino, now);
        Ok(())
    }

    /// Makes a symbolic link (`symlinkat(2)`).
    pub(crate) fn symlink(
        &mut self,
        target: &[u8],
        at: Option<Ino>,
        path: &[u8],
        now: u64,
    ) -> Result<(), Errno> {
        check_path(target)?;
        let found = self.walk(at, path, Walk::new(Follow::Entry))?;
        let name = self.new_name(&found, false)?;
        let ino = self.add_inode(Node::Symlink(target.to_vec()), 0o777, now);
        self.make_entry(found.parent, name, ino, now);
        Ok(())
    }

    /// Makes a second name for a file (`linkat(2)`); a symbolic link is not followed.
    pub(crate) fn link(
        &mut self,
        from: (Option<Ino>, &[u8]),
        to: (Option<Ino>, &[u8]),
        now: u64,
    ) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1, Follow::WithSlash)?;
        let found = self.walk(to.0, to.1, Walk::new(Follow::Entry))?;
        let name = self.new_name(&found, false)?;
        if self.inode(ino).is_dir() {
            return Err(libc::EPERM);
        }
        self.make_entry(found.parent, name, ino, now);
        Ok(())
    }

    /// Where a symbolic link points (`readlinkat(2)`).
    pub(crate) fn read_link(&self, at: Option<Ino>, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let ino = self.lookup(at, path, Follow::WithSlash)?;
        self.target(ino).map(<[u8]>::to_vec).ok_or(libc::EINVAL)
    }

    /// Removes a file's name, or an empty directory (`unlinkat(2)`).
    pub(crate) fn remove(
        &mut self,
        at: Option<Ino>,
        path: &[u8],
        directory: bool,
        now: u64,
    ) -> Result<(), Errno> {
        let found = self.walk(at, path, Walk::new(Follow::Entry))?;
        let Some(name) = found.name()? else {
            return Err(match found.last {
                _ if !directory => libc::EISDIR,
                Last::Root => libc::EBUSY,
                Last::DotDot => libc::ENOTEMPTY,
                _ => libc::EINVAL,
            });
        };
        let ino = found.ino.ok_or(libc::ENOENT)?;
        let mut needs = BTreeSet::new();
        match &self.inode(ino).node {
            Node::Directory(_) if !directory => return Err(libc::EISDIR),
            Node::Directory(inner) if !inner.is_empty() => return Err(libc::ENOTEMPTY),
            Node::Directory(_) => needs = self.journal.last_in(ino),
            _ if directory || found.slash => return Err(libc::ENOTDIR),
            _ => {}
        }
        self.take_entry(found.parent, name, now);
        self.record(vec![entry(found.parent, name, None)], needs);
        self.reap(ino);
        Ok(())
    }

    /// Renames, atomically over what stands there (`renameat(2)`).
    pub(crate) fn rename(
        &mut self,
        from: (Option<Ino>, &[u8]),
        to: (Option<Ino>, &[u8]),
        now: u64,
    ) -> Result<(), Errno> {
        let old = self.walk(from.0, from.1, Walk::new(Follow::Entry))?;
        let new = self.walk(to.0, to.1, Walk::new(Follow::Entry))?;
        let is_name = |found: &Found| matches!(found.last, Last::Name(_));
        if !is_name(&old) || !is_name(&new) {
            return Err(libc::EBUSY);
        }
        let old_name = old.name()?.unwrap_or_default();
        let ino = old.ino.ok_or(libc::ENOENT)?;
        let new_name = new.name()?.unwrap_or_default();
        self.check_rename(&old, ino, &new)?;
        if new.ino == Some(ino) {
            return Ok(());
        }
        let needs = self.rename_needs(&old, &new);
        let number = self.take_entry(old.parent, old_name, now);
        if let Some(target) = new.ino {
            self.take_entry(new.parent, new_name, now);
            self.inode_mut(target).attributes.changed = super::time(now);
        }
        self.put_entry(new.parent, new_name, (ino, number), now);
        let changes = vec![
            entry(old.parent, old_name, None),
            entry(new.parent, new_name, Some(ino)),
        ];
        self.record(changes, needs);
        new.ino.into_iter().for_each(|target| self.reap(target));
        Ok(())
    }

    fn check_rename(&self, old: &Found, ino: Ino, new: &Found) -> Result<(), Errno> {
        let is_dir = self.inode(ino).is_dir();
        if !is_dir && (old.slash || new.slash) {
            return Err(libc::ENOTDIR);
        }
        if is_dir && self.is_above(ino, new.parent) {
            return Err(libc::EINVAL);
        }
        let Some(target) = new.ino else {
            return match self.inode(new.parent).names {
                0 => Err(libc::ENOENT),
                _ => Ok(()),
            };
        };
        if target == ino {
            return Ok(());
        }
        match &self.inode(target).node {
            Node::Directory(_) if self.is_above(target, old.parent) => Err(libc::ENOTEMPTY),
            Node::Directory(_) if !is_dir => Err(libc::EISDIR),
            Node::Directory(inner) if !inner.is_empty() => Err(libc::ENOTEMPTY),
            Node::Directory(_) => Ok(()),
            _ if is_dir => Err(libc::ENOTDIR),
            _ => Ok(()),
        }
    }

    /// What has to be on the disk before a rename (see the rules of [`journal`](super::journal)).
    fn rename_needs(&self, old: &Found, new: &Found) -> BTreeSet<u64> {
        let mut needs = BTreeSet::new();
        if let Some(target) = new.ino.filter(|ino| self.inode(*ino).is_dir()) {
            needs = self.journal.last_in(target);
        }
        if old.parent != new.parent {
            let mut dir = new.parent;
            while let Some((parent, name)) = self.place_of(dir) {
                needs.extend(self.journal.last_on(parent, &name));
                dir = parent;
            }
        }
        needs
    }

    /// The directory above this one, and its name there; `None` for the root and for one that is
    /// gone.
    pub(super) fn place_of(&self, dir: Ino) -> Option<(Ino, Vec<u8>)> {
        let inode = self.inodes.get(&dir)?;
        match &inode.node {
            Node::Directory(directory) if dir != ROOT && inode.names > 0 => {
                Some((directory.parent, directory.name.clone()))
            }
            _ => None,
        }
    }

    /// The name of something new, if it can be made there.
    fn new_name<'f>(&self, found: &'f Found, directory: bool) -> Result<&'f [u8], Errno> {
        let name = found.name()?.ok_or(libc::EEXIST)?;
        if found.ino.is_some() {
            return Err(libc::EEXIST);
        }
        let is_gone = self.inode(found.parent).names == 0;
        if is_gone || found.slash && !directory {
            return Err(libc::ENOENT);
        }
        Ok(name)
    }

    /// A name in the cache and in the journal.
    pub(super) fn make_entry(&mut self, dir: Ino, name: &[u8], ino: Ino, now: u64) {
        let number = self.number();
        self.put_entry(dir, name, (ino, number), now);
        self.record(vec![entry(dir, name, Some(ino))], BTreeSet::new());
    }

    /// A name in the cache.
    fn put_entry(&mut self, dir: Ino, name: &[u8], (ino, number): (Ino, u64), now: u64) {
        self.directory_mut(dir).insert(name.to_vec(), ino, number);
        self.inode_mut(dir).touch(now);
        let inode = self.inode_mut(ino);
        inode.names += 1;
        inode.attributes.changed = super::time(now);
        if let Node::Directory(directory) = &mut inode.node {
            (directory.parent, directory.name) = (dir, name.to_vec());
        }
    }

    /// Takes a name out of the cache, and returns the entry's number.
    fn take_entry(&mut self, dir: Ino, name: &[u8], now: u64) -> u64 {
        let removed = self.directory_mut(dir).remove(name);
        let (ino, number) = removed.expect("the path was walked to this entry");
        self.inode_mut(dir).touch(now);
        let inode = self.inode_mut(ino);
        inode.names -= 1;
        inode.attributes.changed = super::time(now);
        number
    }
}
