//! Opening and closing: the open file, which descriptors share.

use super::content::Change;
use super::walk::{Follow, Found, Last, Walk};
use super::{Disk, Errno, FileData, Ino, Node, UMASK};

/// The kernel's own bit of `O_TMPFILE`, which always comes with `O_DIRECTORY`.
const TEMPORARY: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;
/// What a descriptor that only names a file keeps of its flags.
const PATH_FLAGS: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
const RESOLVE_ALL: u64 = libc::RESOLVE_NO_XDEV
    | libc::RESOLVE_NO_MAGICLINKS
    | libc::RESOLVE_NO_SYMLINKS
    | libc::RESOLVE_BENEATH
    | libc::RESOLVE_IN_ROOT
    | libc::RESOLVE_CACHED;

/// One open file (an "open file description"): what duplicated descriptors share.
///
/// It goes back to its disk with [`Disk::close`]. Once its host has lost its power or its process,
/// it is a mistake to use it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(super) ino: Ino,
    flags: i32,
    /// In bytes; of a directory, the number of the entry that was read last.
    pub(super) position: u64,
    /// Which open file this is: the owner of locks.
    pub(super) number: u64,
    /// By which entry it was opened: its directory, its name then, and its number.
    pub(super) opened_by: (Ino, Vec<u8>, u64),
    /// How many failed syncs of the file this open file has reported.
    pub(super) failures_seen: u64,
    life: u64,
}

impl OpenFile {
    /// Which file this is; of a directory, where paths may begin.
    pub(crate) fn ino(&self) -> Ino {
        self.ino
    }

    /// How it was opened, as `fcntl(2)` says it (`F_GETFL`).
    pub(crate) fn flags(&self) -> i32 {
        self.flags & !(libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY | libc::O_TRUNC)
    }

    pub(super) fn has(&self, flag: i32) -> bool {
        self.flags & flag == flag
    }

    pub(super) fn may_read(&self) -> bool {
        let access = self.flags & libc::O_ACCMODE;
        !self.has(libc::O_PATH) && (access == libc::O_RDONLY || access == libc::O_RDWR)
    }

    pub(super) fn may_write(&self) -> bool {
        let access = self.flags & libc::O_ACCMODE;
        !self.has(libc::O_PATH) && (access == libc::O_WRONLY || access == libc::O_RDWR)
    }

    /// Refuses what is more than a name, where only a name was opened.
    pub(super) fn check_opened(&self) -> Result<(), Errno> {
        match self.has(libc::O_PATH) {
            true => Err(libc::EBADF),
            false => Ok(()),
        }
    }
}

impl Disk {
    /// Opens a file (`openat(2)`, and with a `resolve` other than 0 `openat2(2)`). A relative path
    /// begins at the directory `at`, or at `/`.
    pub(crate) fn open(
        &mut self,
        at: Option<Ino>,
        path: &[u8],
        flags: i32,
        mode: u32,
        resolve: u64,
        now: u64,
    ) -> Result<OpenFile, Errno> {
        let flags = checked_flags(flags, resolve)?;
        let makes_file = flags & libc::O_CREAT != 0;
        let exclusive = makes_file && flags & libc::O_EXCL != 0;
        let follow = match exclusive || flags & libc::O_NOFOLLOW != 0 {
            true => Follow::WithSlash,
            false => Follow::Always,
        };
        let how = Walk {
            follow,
            resolve,
            makes_file,
        };
        let found = self.walk(at, path, how)?;
        let mode = mode & 0o7777 & !UMASK;
        match found.ino {
            _ if flags & TEMPORARY != 0 => self.open_temporary(&found, flags, mode, now),
            None if makes_file => self.open_new(&found, flags, mode, now),
            None => Err(libc::ENOENT),
            Some(_) if exclusive => Err(libc::EEXIST),
            Some(ino) => self.open_old(&found, ino, flags, now),
        }
    }

    /// Gives an open file back: its locks end, and so does a file that nobody can reach any more.
    pub(crate) fn close(&mut self, file: OpenFile) {
        self.check_life(&file);
        let inode = self.inode_mut(file.ino);
        inode.opened -= 1;
        inode.locks.retain(|(owner, _)| *owner != file.number);
        self.reap(file.ino);
    }

    /// The process ended: its open files are closed, wherever their [`OpenFile`]s are. What it
    /// wrote stays in the page cache.
    pub(crate) fn process_death(&mut self) {
        self.lives += 1;
        let all: Vec<Ino> = self.inodes.keys().copied().collect();
        for ino in all {
            let inode = self.inode_mut(ino);
            inode.opened = 0;
            inode.locks.clear();
            self.reap(ino);
        }
    }

    /// # Panics
    /// If the file was open before the host lost its power or its process.
    pub(super) fn check_life(&self, file: &OpenFile) {
        assert_eq!(
            file.life, self.lives,
            "{file:?} was opened before the host lost its power or its process"
        );
    }

    fn open_old(
        &mut self,
        found: &Found,
        ino: Ino,
        flags: i32,
        now: u64,
    ) -> Result<OpenFile, Errno> {
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
        let must_be_dir = found.slash || flags & libc::O_DIRECTORY != 0;
        match &self.inode(ino).node {
            Node::Directory(_) if writes || flags & libc::O_CREAT != 0 => {
                return Err(libc::EISDIR);
            }
            Node::Directory(_) if flags & libc::O_DIRECT != 0 => return Err(libc::EINVAL),
            Node::Directory(_) => {}
            _ if must_be_dir => return Err(libc::ENOTDIR),
            Node::Symlink(_) if flags & libc::O_PATH == 0 => return Err(libc::ELOOP),
            Node::Symlink(_) => {}
            Node::File(_) if flags & libc::O_TRUNC != 0 => {
                self.change(ino, Change::SetLen(0), now);
            }
            Node::File(_) => {}
        }
        Ok(self.opened(found, ino, flags))
    }

    fn open_new(
        &mut self,
        found: &Found,
        flags: i32,
        mode: u32,
        now: u64,
    ) -> Result<OpenFile, Errno> {
        if self.inode(found.parent).names == 0 {
            return Err(libc::ENOENT);
        }
        let ino = self.add_inode(Node::File(FileData::default()), mode, now);
        if let Some(name) = found.name()? {
            self.make_entry(found.parent, name, ino, now);
        }
        Ok(self.opened(found, ino, flags))
    }

    /// A file without a name, which ends when it is closed.
    fn open_temporary(
        &mut self,
        found: &Found,
        flags: i32,
        mode: u32,
        now: u64,
    ) -> Result<OpenFile, Errno> {
        let dir = found.ino.ok_or(libc::ENOENT)?;
        if !self.inode(dir).is_dir() {
            return Err(libc::ENOTDIR);
        }
        if self.inode(dir).names == 0 {
            return Err(libc::ENOENT);
        }
        let ino = self.add_inode(Node::File(FileData::default()), mode, now);
        let nameless = Found {
            parent: dir,
            last: Last::Name(format!("#{}", ino.0).into_bytes()),
            slash: false,
            ino: Some(ino),
        };
        Ok(self.opened(&nameless, ino, flags))
    }

    fn opened(&mut self, found: &Found, ino: Ino, flags: i32) -> OpenFile {
        let number = self.number();
        let inode = self.inode_mut(ino);
        inode.opened += 1;
        let failures_seen = inode.sync_failures.0;
        let (name, entry) = match &found.last {
            Last::Name(name) => {
                let entry = self.directory(found.parent).number_of(name);
                (name.clone(), entry.unwrap_or(0))
            }
            _ => (Vec::new(), 0),
        };
        OpenFile {
            ino,
            flags,
            position: 0,
            number,
            opened_by: (found.parent, name, entry),
            failures_seen,
            life: self.lives,
        }
    }
}

/// The flags that count, if they go together.
fn checked_flags(flags: i32, resolve: u64) -> Result<i32, Errno> {
    let both = libc::RESOLVE_BENEATH | libc::RESOLVE_IN_ROOT;
    if resolve & !RESOLVE_ALL != 0 || resolve & both == both {
        return Err(libc::EINVAL);
    }
    if flags & libc::O_PATH != 0 {
        return Ok(flags & PATH_FLAGS);
    }
    let makes_directory = libc::O_CREAT | libc::O_DIRECTORY;
    if flags & makes_directory == makes_directory {
        return Err(libc::EINVAL);
    }
    if flags & TEMPORARY != 0 {
        let is_read_only = flags & libc::O_ACCMODE == libc::O_RDONLY;
        if flags & libc::O_DIRECTORY == 0 || is_read_only {
            return Err(libc::EINVAL);
        }
    }
    Ok(flags)
}
