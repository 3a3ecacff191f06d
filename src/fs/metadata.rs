//! What is known of a file: kind, length, owner, times.

use crate::driver::sys::{self, Permissions};
use crate::op;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

/// What the kernel knows of a file (`statx(2)`).
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let metadata = corering::fs::metadata("Cargo.toml").await?;
/// println!("{} bytes, mode {:o}", metadata.len(), metadata.mode());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metadata(op::Metadata);

impl Metadata {
    pub(super) fn new(answer: op::Metadata) -> Metadata {
        Metadata(answer)
    }

    /// The length in bytes.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a file's, as in std; not a collection's"
    )]
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// What kind of file it is.
    pub fn file_type(&self) -> FileType {
        FileType(self.mode() & libc::S_IFMT)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a symbolic link: only
    /// [`symlink_metadata`](crate::fs::symlink_metadata) tells.
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Who may do what.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_mode(self.mode())
    }

    /// When the content was last changed.
    ///
    /// # Errors
    /// `Unsupported` where the file system does not keep it.
    pub fn modified(&self) -> io::Result<SystemTime> {
        self.time(libc::STATX_MTIME, self.0.stx_mtime, "change")
    }

    /// When the file was last read, as far as the mount's options keep that.
    ///
    /// # Errors
    /// `Unsupported` where the file system does not keep it.
    pub fn accessed(&self) -> io::Result<SystemTime> {
        self.time(libc::STATX_ATIME, self.0.stx_atime, "access")
    }

    /// When the file was made.
    ///
    /// # Errors
    /// `Unsupported` where the file system does not keep it.
    pub fn created(&self) -> io::Result<SystemTime> {
        self.time(libc::STATX_BTIME, self.0.stx_btime, "creation")
    }

    fn time(&self, bit: u32, at: libc::statx_timestamp, what: &str) -> io::Result<SystemTime> {
        if self.0.stx_mask & bit == 0 {
            let what = format!("this file system does not keep the time of {what}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        system_time(at.tv_sec, at.tv_nsec)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a time beyond all clocks"))
    }

    /// The kind and the permission bits (`st_mode`).
    pub fn mode(&self) -> u32 {
        self.0.stx_mode.into()
    }

    /// The owner's id.
    pub fn uid(&self) -> u32 {
        self.0.stx_uid
    }

    /// The group's id.
    pub fn gid(&self) -> u32 {
        self.0.stx_gid
    }

    /// The file's number on its device.
    pub fn ino(&self) -> u64 {
        self.0.stx_ino
    }

    /// How many names the file has.
    pub fn nlink(&self) -> u64 {
        self.0.stx_nlink.into()
    }

    /// The device on which the file is.
    pub fn dev(&self) -> u64 {
        sys::device(self.0.stx_dev_major, self.0.stx_dev_minor)
    }

    /// The device that the file is, if it is one.
    pub fn rdev(&self) -> u64 {
        sys::device(self.0.stx_rdev_major, self.0.stx_rdev_minor)
    }

    /// The size in which the file system likes to be read and written, in bytes.
    pub fn blksize(&self) -> u64 {
        self.0.stx_blksize.into()
    }

    /// The space that the file takes, in blocks of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.0.stx_blocks
    }

    /// When the metadata was last changed: seconds since the epoch, and nanoseconds after them.
    pub fn changed(&self) -> (i64, u32) {
        (self.0.stx_ctime.tv_sec, self.0.stx_ctime.tv_nsec)
    }

    /// Whether both are of one and the same file.
    pub(super) fn same_file(&self, other: &Metadata) -> bool {
        (self.dev(), self.ino()) == (other.dev(), other.ino())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("file_type", &self.file_type())
            .field("len", &self.len())
            .field("permissions", &self.permissions())
            .field("ino", &self.ino())
            .finish_non_exhaustive()
    }
}

/// What kind of file something is.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let kind = corering::fs::symlink_metadata("/proc/self").await?.file_type();
/// assert!(kind.is_symlink());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType(u32);

impl FileType {
    /// From the type of a directory's entry (`d_type`), which may be unknown.
    pub(super) fn from_entry(kind: u8) -> Option<FileType> {
        (kind != libc::DT_UNKNOWN).then_some(FileType(u32::from(kind) << 12))
    }

    fn is(self, kind: u32) -> bool {
        self.0 == kind
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }

    /// Whether it is a block device.
    pub fn is_block_device(&self) -> bool {
        self.is(libc::S_IFBLK)
    }

    /// Whether it is a character device.
    pub fn is_char_device(&self) -> bool {
        self.is(libc::S_IFCHR)
    }

    /// Whether it is a named pipe.
    pub fn is_fifo(&self) -> bool {
        self.is(libc::S_IFIFO)
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.is(libc::S_IFSOCK)
    }
}

impl fmt::Debug for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::S_IFDIR => "directory",
            libc::S_IFREG => "file",
            libc::S_IFLNK => "symlink",
            libc::S_IFBLK => "block device",
            libc::S_IFCHR => "character device",
            libc::S_IFIFO => "fifo",
            libc::S_IFSOCK => "socket",
            _ => "unknown",
        };
        write!(f, "FileType({name})")
    }
}

/// The times that [`File::set_times`](crate::fs::File::set_times) sets.
///
/// ```no_run
/// # async fn f(file: corering::fs::File) -> std::io::Result<()> {
/// use corering::fs::FileTimes;
/// use std::time::SystemTime;
/// file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "times do nothing until they are set on a file"]
pub struct FileTimes {
    accessed: Option<SystemTime>,
    modified: Option<SystemTime>,
}

impl FileTimes {
    /// No time is to be changed.
    pub fn new() -> FileTimes {
        FileTimes::default()
    }

    /// Sets the time of the last access.
    pub fn set_accessed(mut self, at: SystemTime) -> FileTimes {
        self.accessed = Some(at);
        self
    }

    /// Sets the time of the last change.
    pub fn set_modified(mut self, at: SystemTime) -> FileTimes {
        self.modified = Some(at);
        self
    }

    /// For the kernel: access and change.
    pub(super) fn specs(self) -> io::Result<[Option<(i64, u32)>; 2]> {
        let spec = |at: Option<SystemTime>| at.map(unix_time).transpose();
        Ok([spec(self.accessed)?, spec(self.modified)?])
    }
}

fn system_time(seconds: i64, nanos: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = match seconds >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(whole)?,
        false => SystemTime::UNIX_EPOCH.checked_sub(whole)?,
    };
    second.checked_add(Duration::from_nanos(nanos.into()))
}

/// Seconds since the epoch, negative before it, and nanoseconds after that second.
fn unix_time(at: SystemTime) -> io::Result<(i64, u32)> {
    let spec = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).map(|secs| (secs, after.subsec_nanos())),
        Err(error) => {
            let before = error.duration();
            i64::try_from(before.as_secs()).map(|secs| match before.subsec_nanos() {
                0 => (-secs, 0),
                nanos => (-secs - 1, 1_000_000_000 - nanos),
            })
        }
    };
    spec.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a time beyond all clocks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_there_and_back() {
        for spec in [
            (0, 0),
            (1, 5),
            (-1, 0),
            (-1, 999_999_999),
            (-7, 1),
            (1 << 40, 3),
        ] {
            let at = system_time(spec.0, spec.1).expect("within the clock");
            assert_eq!(unix_time(at).ok(), Some(spec));
        }
    }

    #[test]
    fn kinds_of_entries_are_kinds_of_files() {
        let kind = FileType::from_entry(libc::DT_LNK).expect("known");
        assert!(kind.is_symlink() && !kind.is_file());
        assert_eq!(
            FileType::from_entry(libc::DT_DIR),
            Some(FileType(libc::S_IFDIR))
        );
        assert_eq!(FileType::from_entry(libc::DT_UNKNOWN), None);
        assert_eq!(format!("{kind:?}"), "FileType(symlink)");
    }
}
