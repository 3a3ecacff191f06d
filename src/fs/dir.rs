//! Directories: make, list, remove.

use super::metadata::{FileType, Metadata};
use super::submit::{all, perform};
use super::{metadata, symlink_metadata};
use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::sys::{self, DirEntries};
use crate::op::{MakeDir, OpenAt, Remove, c_path};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes of one piece of a listing: some 250 entries, for which the loop stands still.
const LISTING_BYTES: usize = 8 * 1024;

/// How directories are made.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::DirBuilder;
/// DirBuilder::new().recursive(true).mode(0o700).create("private/keys").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `create`"]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl Default for DirBuilder {
    fn default() -> DirBuilder {
        DirBuilder::new()
    }
}

impl DirBuilder {
    /// One directory, with the mode `0o777` less the umask.
    pub fn new() -> DirBuilder {
        DirBuilder {
            recursive: false,
            mode: 0o777,
        }
    }

    /// Whether missing parents are made too, and a directory that exists is no error.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// The mode; the process's umask is taken off.
    pub fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }

    /// Makes the directory (`mkdirat(2)`).
    ///
    /// # Errors
    /// What the kernel says, such as `AlreadyExists`; see [`recursive`](DirBuilder::recursive).
    ///
    /// # Cancel safety
    /// Not safe: directories may still be made after the drop.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        match self.recursive {
            true => self.create_all(path).await,
            false => self.create_one(path).await,
        }
    }

    async fn create_one(&self, path: &Path) -> io::Result<()> {
        let path = c_path(path)?;
        let op = || MakeDir {
            path: path.clone(),
            mode: self.mode,
        };
        perform(&Driver::current(), op).await
    }

    /// Climbs to the first directory that exists, and makes those below it on the way back.
    async fn create_all(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut next = Some(path);
        while let Some(path) = next.filter(|path| !path.as_os_str().is_empty()) {
            match self.create_one(path).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => missing.push(path),
                Err(error) => {
                    unless_directory(path, error).await?;
                    break;
                }
            }
            next = path.parent();
        }
        while let Some(path) = missing.pop() {
            if let Err(error) = self.create_one(path).await {
                unless_directory(path, error).await?;
            }
        }
        Ok(())
    }
}

/// The error of making a directory, unless there is one already: somebody else may have made it.
async fn unless_directory(path: &Path, error: io::Error) -> io::Result<()> {
    match metadata(path).await {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        _ => Err(error),
    }
}

/// Makes a directory (`mkdirat(2)`).
///
/// # Errors
/// What the kernel says, such as `AlreadyExists`.
///
/// # Cancel safety
/// Not safe: it may still be made after the drop.
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    DirBuilder::new().create(path).await
}

/// Makes a directory and all its missing parents (`mkdirat(2)`). One that exists is no error.
///
/// # Errors
/// What the kernel says, such as `NotADirectory`.
///
/// # Cancel safety
/// Not safe: directories may still be made after the drop.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path).await
}

/// Removes a directory that is empty (`unlinkat(2)`).
///
/// # Errors
/// What the kernel says, such as `DirectoryNotEmpty`.
///
/// # Cancel safety
/// Not safe: it may still be removed after the drop.
pub async fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    perform(&Driver::current(), || removal(None, path.clone(), true)).await
}

fn removal(dir: Option<&Fd>, path: CString, directory: bool) -> Remove {
    Remove {
        dir: dir.cloned(),
        path,
        directory,
        detached: false,
    }
}

/// Opens a directory for its listing. `follow` is 0, or `O_NOFOLLOW` where a symbolic link is none.
async fn open_directory(
    driver: &Driver,
    dir: Option<&Fd>,
    path: &CString,
    follow: libc::c_int,
) -> io::Result<Fd> {
    let op = || OpenAt {
        driver: driver.clone(),
        dir: dir.cloned(),
        path: path.clone(),
        flags: libc::O_RDONLY | libc::O_DIRECTORY | follow,
        mode: 0,
        waits: false,
    };
    perform(driver, op).await
}

/// Removes a directory with all that is in it. Symbolic links are removed, not followed, even if
/// somebody puts them there meanwhile: every step is relative to an open directory.
///
/// It holds one descriptor for each level below `path`.
///
/// # Errors
/// What the kernel says; a part may have been removed. `NotADirectory` for a file.
///
/// # Cancel safety
/// Not safe: a part may have been removed.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    let driver = Driver::current();
    let name = c_path(path)?;
    if symlink_metadata(path).await?.is_symlink() {
        return super::remove_file(path).await;
    }
    // Somebody may have put a link there since: that is an error then, and its target stands.
    let root = open_directory(&driver, None, &name, libc::O_NOFOLLOW).await?;
    let mut levels = vec![Level::new(root, name)];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.directories.pop() {
            match open_directory(&driver, Some(&level.fd), &name, libc::O_NOFOLLOW).await {
                Ok(fd) => levels.push(Level::new(fd, name)),
                // It has become a file or a link meanwhile.
                Err(error) if is_no_directory(&error) => {
                    let op = || removal(Some(&level.fd), name.clone(), false);
                    perform(&driver, op).await?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        if level.remove_some(&driver).await? {
            continue;
        }
        let level = levels.pop().expect("the loop's condition");
        let above = levels.last().map(|level| &level.fd);
        perform(&driver, || removal(above, level.name.clone(), true)).await?;
    }
    Ok(())
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP))
}

/// A directory that is being emptied.
struct Level {
    fd: Fd,
    /// Its name in the directory above.
    name: CString,
    /// Those found in it that are still to be emptied.
    directories: Vec<CString>,
    listing: Vec<u8>,
}

impl Level {
    fn new(fd: Fd, name: CString) -> Level {
        Level {
            fd,
            name,
            directories: Vec::new(),
            listing: Vec::new(),
        }
    }

    /// Removes what the next piece of the listing names, but notes directories. False at the end.
    async fn remove_some(&mut self, driver: &Driver) -> io::Result<bool> {
        self.listing.resize(LISTING_BYTES, 0);
        let DirEntries::Some(len) = sys::getdents(&self.fd, &mut self.listing)? else {
            return Ok(false);
        };
        let mut files = Vec::new();
        for entry in Entries(&self.listing[..len]).filter(Entry::is_real) {
            let name = CString::new(entry.name).map_err(|_| malformed())?;
            match entry.file_type {
                Some(kind) if !kind.is_dir() => files.push(name),
                // Opening it tells whether one of unknown type is a directory.
                _ => self.directories.push(name),
            }
        }
        let ops = files
            .into_iter()
            .map(|name| removal(Some(&self.fd), name, false));
        for result in all(driver, ops).await {
            match result {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// Lists a directory. The entries come in no particular order, without `.` and `..`.
///
/// # Errors
/// What the kernel says of opening it (`openat(2)`), such as `NotADirectory`.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let name = c_path(path.as_ref())?;
    let driver = Driver::current();
    let fd = open_directory(&driver, None, &name, 0).await?;
    Ok(ReadDir::of(fd, path.as_ref().to_path_buf()))
}

/// The entries of a directory: a `Stream`, made by [`read_dir`].
///
/// The ring has no operation that lists (`getdents64(2)`): it is a plain call for some 250 entries
/// at a time, and other tasks have their turn between two such pieces. A directory that is not in
/// memory makes the loop wait for the disk.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut entries = corering::fs::read_dir(".").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     println!("{}", entry.path().display());
/// }
/// # Ok(()) }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir {
    fd: Fd,
    path: Rc<PathBuf>,
    /// A piece of the listing, in the kernel's form.
    listing: Vec<u8>,
    /// Where its first entry begins that nobody has got.
    begin: usize,
    state: Listing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Fresh,
    /// A piece was read: the next one waits for a turn.
    Goes,
    Yielded,
    Ended,
}

impl ReadDir {
    /// The entries of an open directory; `path` is where it stands.
    pub(super) fn of(fd: Fd, path: PathBuf) -> ReadDir {
        ReadDir {
            fd,
            path: Rc::new(path),
            listing: Vec::new(),
            begin: 0,
            state: Listing::Fresh,
        }
    }

    /// The next entry; `None` after the last.
    ///
    /// # Errors
    /// What the kernel says (`getdents64(2)`). The listing ends with an error.
    ///
    /// # Cancel safety
    /// Safe: no entry is lost.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_entry(cx)).await.transpose()
    }

    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        loop {
            let mut entries = Entries(&self.listing[self.begin..]);
            let found = entries.by_ref().find(Entry::is_real);
            let left = entries.0.len();
            if let Some(entry) = found {
                let entry = self.entry(&entry);
                self.begin = self.listing.len() - left;
                return Poll::Ready(Some(Ok(entry)));
            }
            if self.state == Listing::Ended {
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.poll_piece(cx)) {
                self.state = Listing::Ended;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state == Listing::Goes {
            self.state = Listing::Yielded;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.begin = 0;
        self.listing.resize(LISTING_BYTES, 0);
        let piece = sys::getdents(&self.fd, &mut self.listing);
        let len = match piece {
            Ok(DirEntries::Some(len)) => len,
            _ => 0,
        };
        self.listing.truncate(len);
        self.state = if len > 0 {
            Listing::Goes
        } else {
            Listing::Ended
        };
        Poll::Ready(piece.map(drop))
    }

    fn entry(&self, entry: &Entry<'_>) -> DirEntry {
        DirEntry {
            directory: self.path.clone(),
            name: OsStr::from_bytes(entry.name).to_os_string(),
            ino: entry.ino,
            file_type: entry.file_type,
        }
    }
}

impl futures_core::Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(cx)
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.path).finish()
    }
}

/// What a listing says of one entry.
///
/// ```no_run
/// # async fn f(entry: corering::fs::DirEntry) -> std::io::Result<()> {
/// if entry.file_type().await?.is_file() {
///     println!("{:?}: {} bytes", entry.file_name(), entry.metadata().await?.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DirEntry {
    directory: Rc<PathBuf>,
    name: OsString,
    ino: u64,
    /// Not every file system says it in the listing.
    file_type: Option<FileType>,
}

impl DirEntry {
    /// The name, without the directory.
    pub fn file_name(&self) -> OsString {
        self.name.clone()
    }

    /// The path: that of the directory, as it was given to [`read_dir`], with the name.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// The file's number on its device.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// What kind of file it is; a symbolic link is not followed. Usually the listing knows it;
    /// otherwise the kernel is asked (`statx(2)`).
    ///
    /// # Errors
    /// As [`symlink_metadata`].
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn file_type(&self) -> io::Result<FileType> {
        match self.file_type {
            Some(kind) => Ok(kind),
            None => Ok(self.metadata().await?.file_type()),
        }
    }

    /// What the kernel knows of it (`statx(2)`); a symbolic link is not followed.
    ///
    /// # Errors
    /// As [`symlink_metadata`].
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        symlink_metadata(self.path()).await
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

/// The kernel's `struct linux_dirent64`, one after the other.
///
/// ```text
///   bytes  0..8   number of the file
///   bytes  8..16  where the next entry is (the kernel's business)
///   bytes 16..18  length of this entry
///   byte  18      type
///   bytes 19..    name, ended by NUL, then padding
/// ```
struct Entries<'a>(&'a [u8]);

struct Entry<'a> {
    ino: u64,
    file_type: Option<FileType>,
    name: &'a [u8],
}

impl Entry<'_> {
    /// Neither `.` nor `..`.
    fn is_real(&self) -> bool {
        !matches!(self.name, b"." | b"..")
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    /// What is malformed ends the list: the kernel does not make it.
    fn next(&mut self) -> Option<Entry<'a>> {
        const NAME: usize = 19;
        let len: [u8; 2] = self.0.get(16..18)?.try_into().ok()?;
        let len = usize::from(u16::from_ne_bytes(len));
        let entry = self.0.get(..len).filter(|entry| entry.len() > NAME)?;
        self.0 = &self.0[len..];
        let ino: [u8; 8] = entry[..8].try_into().ok()?;
        let name = entry[NAME..].split(|&byte| byte == 0).next()?;
        Some(Entry {
            ino: u64::from_ne_bytes(ino),
            file_type: FileType::from_entry(entry[18]),
            name,
        })
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the kernel's listing is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ino: u64, kind: u8, name: &str) -> Vec<u8> {
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let mut bytes = ino.to_ne_bytes().to_vec();
        bytes.extend([0; 8]);
        bytes.extend((len as u16).to_ne_bytes());
        bytes.push(kind);
        bytes.extend(name.bytes());
        bytes.resize(len, 0);
        bytes
    }

    #[test]
    fn a_listing_is_taken_apart() {
        let parts = [
            entry(1, libc::DT_DIR, "."),
            entry(7, libc::DT_REG, "file"),
            entry(8, libc::DT_UNKNOWN, "a name of some length"),
        ];
        let bytes = parts.concat();
        let names = Entries(&bytes).filter(Entry::is_real);
        let names: Vec<_> = names
            .map(|e| (e.ino, e.name, e.file_type.is_some()))
            .collect();
        let expected: [(u64, &[u8], bool); 2] =
            [(7, b"file", true), (8, b"a name of some length", false)];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_cut_off_ends_the_list() {
        let bytes = entry(7, libc::DT_REG, "file");
        for len in 0..bytes.len() {
            assert_eq!(Entries(&bytes[..len]).count(), 0);
        }
        assert_eq!(Entries(&[0; 64]).count(), 0);
    }
}
