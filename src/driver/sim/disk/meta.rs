//! What is known of a file, and its advisory locks.

use super::walk::Follow;
use super::{BLOCK, Disk, Errno, Ino, Node, OpenFile, Time, time};

/// The device's number, as a first partition has it.
const DEVICE: (u32, u32) = (259, 1);

/// What `statx(2)` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) ino: Ino,
    /// The kind and the permission bits.
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) len: u64,
    /// Of 512 bytes each.
    pub(crate) sectors: u64,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
    pub(crate) made: Time,
}

impl Stat {
    /// Sets every field that this file system knows; the others stay, and are to be 0.
    pub(crate) fn fill(&self, answer: &mut libc::statx) {
        answer.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        answer.stx_blksize = BLOCK as u32;
        answer.stx_nlink = self.links;
        answer.stx_mode = self.mode as u16;
        answer.stx_ino = self.ino.0;
        answer.stx_size = self.len;
        answer.stx_blocks = self.sectors;
        (answer.stx_dev_major, answer.stx_dev_minor) = DEVICE;
        for (at, time) in [
            (&mut answer.stx_atime, self.accessed),
            (&mut answer.stx_mtime, self.modified),
            (&mut answer.stx_ctime, self.changed),
            (&mut answer.stx_btime, self.made),
        ] {
            (at.tv_sec, at.tv_nsec) = time;
        }
    }
}

impl Disk {
    /// Metadata of an open file.
    pub(crate) fn stat(&self, file: &OpenFile) -> Stat {
        self.check_life(file);
        self.stat_of(file.ino)
    }

    /// Metadata by path.
    pub(crate) fn stat_at(
        &self,
        at: Option<Ino>,
        path: &[u8],
        follow: bool,
    ) -> Result<Stat, Errno> {
        let follow = match follow {
            true => Follow::Always,
            false => Follow::WithSlash,
        };
        let ino = self.lookup(at, path, follow)?;
        Ok(self.stat_of(ino))
    }

    /// Sets the permission bits (`fchmod(2)`).
    pub(crate) fn set_mode(&mut self, file: &OpenFile, mode: u32, now: u64) -> Result<(), Errno> {
        self.check_life(file);
        file.check_opened()?;
        self.set_mode_of(file.ino, mode, now);
        Ok(())
    }

    /// Sets the permission bits by path, following symbolic links (`fchmodat(2)`).
    pub(crate) fn set_mode_at(
        &mut self,
        at: Option<Ino>,
        path: &[u8],
        mode: u32,
        now: u64,
    ) -> Result<(), Errno> {
        let ino = self.lookup(at, path, Follow::Always)?;
        self.set_mode_of(ino, mode, now);
        Ok(())
    }

    /// Sets the times of access and modification (`futimens(2)`): seconds since the epoch, and
    /// nanoseconds after them.
    pub(crate) fn set_times(
        &mut self,
        file: &OpenFile,
        times: [Option<(i64, u32)>; 2],
        now: u64,
    ) -> Result<(), Errno> {
        self.check_life(file);
        file.check_opened()?;
        let attributes = &mut self.inode_mut(file.ino).attributes;
        attributes.accessed = times[0].unwrap_or(attributes.accessed);
        attributes.modified = times[1].unwrap_or(attributes.modified);
        attributes.changed = time(now);
        Ok(())
    }

    /// The absolute path of an open file, wherever it was renamed to, as `/proc/self/fd` says it:
    /// of one whose name is gone, the name by which it was opened and ` (deleted)`.
    pub(crate) fn path_of(&self, file: &OpenFile) -> Vec<u8> {
        self.check_life(file);
        let inode = self.inode(file.ino);
        if inode.is_dir() && inode.names > 0 {
            return self.path_in(file.ino, b"");
        }
        let (dir, name, number) = &file.opened_by;
        for (parent, inode) in &self.inodes {
            if let Node::Directory(directory) = &inode.node {
                if let Some(name) = directory.name_of(*number) {
                    return self.path_in(*parent, name);
                }
            }
        }
        let (dir, name) = match &inode.node {
            Node::Directory(gone) => (gone.parent, &gone.name),
            _ => (*dir, name),
        };
        [&self.path_in(dir, name), &b" (deleted)"[..]].concat()
    }

    /// Takes or gives up the advisory lock of an open file (`flock(2)`, never waiting): `LOCK_SH`,
    /// `LOCK_EX` or `LOCK_UN`. As with the kernel, a refused change of the kind of lock loses the
    /// lock that was there.
    pub(crate) fn flock(&mut self, file: &OpenFile, operation: i32) -> Result<(), Errno> {
        self.check_life(file);
        file.check_opened()?;
        let exclusive = match operation & !libc::LOCK_NB {
            libc::LOCK_SH => Some(false),
            libc::LOCK_EX => Some(true),
            libc::LOCK_UN => None,
            _ => return Err(libc::EINVAL),
        };
        let locks = &mut self.inode_mut(file.ino).locks;
        locks.retain(|(owner, _)| *owner != file.number);
        let Some(exclusive) = exclusive else {
            return Ok(());
        };
        if locks.iter().any(|(_, theirs)| *theirs || exclusive) {
            return Err(libc::EWOULDBLOCK);
        }
        locks.push((file.number, exclusive));
        Ok(())
    }

    fn stat_of(&self, ino: Ino) -> Stat {
        let inode = self.inode(ino);
        let is_dir = |(_, ino): &(&[u8], Ino)| self.inode(*ino).is_dir();
        let (kind, links, len, blocks) = match &inode.node {
            Node::File(file) => {
                let content = file.cached();
                let blocks = content.blocks();
                (libc::S_IFREG, inode.names, content.len(), blocks)
            }
            // Its name, its own `.` and the `..` of those below.
            Node::Directory(inner) => {
                let below = inner.entries().filter(is_dir).count() as u32;
                let links = if inode.names == 0 { 0 } else { 2 + below };
                (libc::S_IFDIR, links, BLOCK, 0)
            }
            Node::Symlink(target) => (libc::S_IFLNK, inode.names, target.len() as u64, 0),
        };
        Stat {
            ino,
            mode: kind | inode.attributes.mode,
            links,
            len,
            sectors: blocks * (BLOCK / 512),
            accessed: inode.attributes.accessed,
            modified: inode.attributes.modified,
            changed: inode.attributes.changed,
            made: inode.made,
        }
    }

    fn set_mode_of(&mut self, ino: Ino, mode: u32, now: u64) {
        let attributes = &mut self.inode_mut(ino).attributes;
        attributes.mode = mode & 0o7777;
        attributes.changed = time(now);
    }

    /// The path of a name in a directory, or of the directory itself for the empty name.
    fn path_in(&self, mut dir: Ino, name: &[u8]) -> Vec<u8> {
        let mut path = name.to_vec();
        while let Some((parent, name)) = self.place_of(dir) {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            path = [&name, slash, &path].concat();
            dir = parent;
        }
        [b"/", &path[..]].concat()
    }
}
