//! From a path to a file, as `path_resolution(7)` says.

use super::{Disk, Errno, Ino, Node, ROOT};

const NAME_BYTES_MAX: usize = 255;
/// With the NUL at its end.
const PATH_BYTES_MAX: usize = 4096;
const SYMLINKS_MAX: u32 = 40;

/// How a path is walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) follow: Follow,
    /// `RESOLVE_BENEATH` and its kin.
    pub(super) resolve: u64,
    /// A slash at the end says `EISDIR`.
    pub(super) makes_file: bool,
}

impl Walk {
    pub(super) fn new(follow: Follow) -> Walk {
        Walk {
            follow,
            resolve: 0,
            makes_file: false,
        }
    }

    fn resolves(&self, bit: u64) -> bool {
        self.resolve & bit != 0
    }
}

/// Whether a symbolic link at the end of the path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    Always,
    /// Only if a slash stands behind it.
    WithSlash,
    /// Never: the entry itself is meant.
    Entry,
}

impl Follow {
    fn at_end(self, slash: bool) -> bool {
        self == Follow::Always || self == Follow::WithSlash && slash
    }
}

/// Where a path ends.
#[derive(Debug)]
pub(super) struct Found {
    /// The directory of the last component.
    pub(super) parent: Ino,
    pub(super) last: Last,
    /// A slash stands at the end.
    pub(super) slash: bool,
    /// What is there.
    pub(super) ino: Option<Ino>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    Name(Vec<u8>),
    Dot,
    DotDot,
    Root,
}

impl Disk {
    /// What this path names. Where it must be a directory (a slash at the end) it is one.
    pub(super) fn lookup(
        &self,
        at: Option<Ino>,
        path: &[u8],
        follow: Follow,
    ) -> Result<Ino, Errno> {
        let found = self.walk(at, path, Walk::new(follow))?;
        let ino = found.ino.ok_or(libc::ENOENT)?;
        if found.slash && !self.inode(ino).is_dir() {
            return Err(libc::ENOTDIR);
        }
        Ok(ino)
    }

    /// Walks to the end of the path, where there may be nothing.
    ///
    /// With [`Follow::Entry`] the length of the last name is for [`Found::name`] to complain about:
    /// the kernel looks at both parents of a rename first.
    pub(super) fn walk(&self, at: Option<Ino>, path: &[u8], how: Walk) -> Result<Found, Errno> {
        check_path(path)?;
        let base = at.unwrap_or(ROOT);
        let mut here = self.start(base, path, how)?;
        let mut rest = path.to_vec();
        let mut links = 0;
        loop {
            let Some((name, after)) = split(&rest) else {
                return Ok(Found::at(here, Last::Root, true, here));
            };
            if !self.inode(here).is_dir() {
                return Err(libc::ENOTDIR);
            }
            let is_last = after.iter().all(|byte| *byte == b'/');
            let slash = is_last && !after.is_empty();
            if let Some(last) = dots(name) {
                let next = match last {
                    Last::Dot => here,
                    _ => self.above(here, base, how)?,
                };
                if is_last {
                    return Ok(Found::at(here, last, slash, next));
                }
                here = next;
                rest = after.to_vec();
                continue;
            }
            if is_last && slash && how.makes_file {
                return Err(libc::EISDIR);
            }
            if name.len() > NAME_BYTES_MAX && !(is_last && how.follow == Follow::Entry) {
                return Err(libc::ENAMETOOLONG);
            }
            let child = self.directory(here).get(name);
            let target = child.and_then(|ino| self.target(ino));
            match (child, target) {
                (_, Some(target)) if !is_last || how.follow.at_end(slash) => {
                    links += 1;
                    if links > SYMLINKS_MAX || how.resolves(libc::RESOLVE_NO_SYMLINKS) {
                        return Err(libc::ELOOP);
                    }
                    if target.starts_with(b"/") {
                        here = self.start(base, target, how)?;
                    }
                    rest = [target, after].concat();
                }
                _ if is_last => {
                    let last = Last::Name(name.to_vec());
                    return Ok(Found {
                        parent: here,
                        last,
                        slash,
                        ino: child,
                    });
                }
                (None, _) => return Err(libc::ENOENT),
                (Some(ino), _) => {
                    here = ino;
                    rest = after.to_vec();
                }
            }
        }
    }

    /// Where a path begins.
    fn start(&self, base: Ino, path: &[u8], how: Walk) -> Result<Ino, Errno> {
        match path.starts_with(b"/") {
            true if how.resolves(libc::RESOLVE_BENEATH) => Err(libc::EXDEV),
            true if how.resolves(libc::RESOLVE_IN_ROOT) => Ok(base),
            true => Ok(ROOT),
            false => Ok(base),
        }
    }

    /// The directory above.
    fn above(&self, here: Ino, base: Ino, how: Walk) -> Result<Ino, Errno> {
        if here == base && how.resolves(libc::RESOLVE_BENEATH) {
            return Err(libc::EXDEV);
        }
        if here == base && how.resolves(libc::RESOLVE_IN_ROOT) {
            return Ok(here);
        }
        // The one above a removed directory may be gone as well.
        let parent = self.directory(here).parent;
        match self.inodes.contains_key(&parent) {
            true => Ok(parent),
            false => Err(libc::ENOENT),
        }
    }

    /// Where this points, if it is a symbolic link.
    pub(super) fn target(&self, ino: Ino) -> Option<&[u8]> {
        match &self.inode(ino).node {
            Node::Symlink(target) => Some(target),
            _ => None,
        }
    }

    /// Whether `above` is this directory or one above it.
    pub(super) fn is_above(&self, above: Ino, mut dir: Ino) -> bool {
        while dir != above {
            match self.place_of(dir) {
                Some((parent, _)) => dir = parent,
                None => return false,
            }
        }
        true
    }
}

impl Found {
    fn at(parent: Ino, last: Last, slash: bool, ino: Ino) -> Found {
        Found {
            parent,
            last,
            slash,
            ino: Some(ino),
        }
    }

    /// The last component, if it is a name and not `.`, `..` or the root.
    pub(super) fn name(&self) -> Result<Option<&[u8]>, Errno> {
        match &self.last {
            Last::Name(name) if name.len() > NAME_BYTES_MAX => Err(libc::ENAMETOOLONG),
            Last::Name(name) => Ok(Some(name)),
            _ => Ok(None),
        }
    }
}

/// What the kernel says of any path before it looks at a disk.
pub(super) fn check_path(path: &[u8]) -> Result<(), Errno> {
    match path.len() {
        0 => Err(libc::ENOENT),
        PATH_BYTES_MAX.. => Err(libc::ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// Whether this is not a name, but the directory itself or the one above it.
fn dots(name: &[u8]) -> Option<Last> {
    match name {
        b"." => Some(Last::Dot),
        b".." => Some(Last::DotDot),
        _ => None,
    }
}

/// The first component, without slashes, and what stands behind it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|byte| *byte == b'/');
    Some(path.split_at(end.unwrap_or(path.len())))
}
