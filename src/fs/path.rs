//! What is done to a name: ask, rename, link, remove.

use super::metadata::Metadata;
use super::submit::perform;
use crate::driver::Driver;
use crate::driver::sys::{self, Permissions};
use crate::op::{Link, OpenAt, Remove, Rename, Stat, StatTarget, Symlink, c_path};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the kernel knows of a file (`statx(2)`); symbolic links are followed.
///
/// # Errors
/// What the kernel says, such as `NotFound`.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    stat(path.as_ref(), true).await
}

/// What the kernel knows of a file, or of the symbolic link that stands there (`statx(2)`).
///
/// # Errors
/// What the kernel says, such as `NotFound`.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    stat(path.as_ref(), false).await
}

async fn stat(path: &Path, follow: bool) -> io::Result<Metadata> {
    let path = c_path(path)?;
    let op = || {
        let path = path.clone();
        Stat::new(StatTarget::Path { path, follow })
    };
    perform(&Driver::current(), op).await.map(Metadata::new)
}

/// Whether something stands there; symbolic links are followed (`statx(2)`).
///
/// # Errors
/// What the kernel says, if it cannot tell.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Renames a file or directory, over a file that stands there (`renameat(2)`).
///
/// # Errors
/// What the kernel says, such as `CrossesDevices`.
///
/// # Cancel safety
/// Not safe: it may still happen after the drop, but never in part.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (c_path(from.as_ref())?, c_path(to.as_ref())?);
    let op = || Rename {
        from: from.clone(),
        to: to.clone(),
    };
    perform(&Driver::current(), op).await
}

/// Removes a file, or the symbolic link that stands there (`unlinkat(2)`).
///
/// # Errors
/// What the kernel says, such as `IsADirectory`.
///
/// # Cancel safety
/// Not safe: it may still happen after the drop.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = c_path(path.as_ref())?;
    let op = || Remove {
        dir: None,
        path: path.clone(),
        directory: false,
        detached: false,
    };
    perform(&Driver::current(), op).await
}

/// Makes a second name for a file (`linkat(2)`); a symbolic link gets one itself.
///
/// # Errors
/// What the kernel says, such as `AlreadyExists`.
///
/// # Cancel safety
/// Not safe: it may still happen after the drop.
pub async fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (c_path(original.as_ref())?, c_path(link.as_ref())?);
    let op = || Link {
        from: from.clone(),
        to: to.clone(),
    };
    perform(&Driver::current(), op).await
}

/// Makes a symbolic link at `link` that names `original` (`symlinkat(2)`).
///
/// # Errors
/// What the kernel says, such as `AlreadyExists`.
///
/// # Cancel safety
/// Not safe: it may still happen after the drop.
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (target, link) = (c_path(original.as_ref())?, c_path(link.as_ref())?);
    let op = || Symlink {
        target: target.clone(),
        link: link.clone(),
    };
    perform(&Driver::current(), op).await
}

/// What a symbolic link names (`readlink(2)`, after the ring has walked the path).
///
/// # Errors
/// `InvalidInput` if it is not a symbolic link; otherwise what the kernel says.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref();
    symlink_metadata(path).await?;
    let target = sys::read_link(&c_path(path)?)?;
    Ok(PathBuf::from(OsString::from_vec(target)))
}

/// Sets who may do what; symbolic links are followed (`fchmodat(2)`, after the ring has walked
/// the path).
///
/// # Errors
/// What the kernel says, such as `PermissionDenied`.
///
/// # Cancel safety
/// Safe: it is done by the last poll, or not at all.
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref();
    metadata(path).await?;
    sys::set_mode_at(&c_path(path)?, permissions.mode() & 0o7777)
}

/// The absolute path of what stands there, without links and dots (`openat(2)` with `O_PATH`,
/// then the kernel's own name for it in `/proc`).
///
/// # Errors
/// What the kernel says, such as `NotFound`; `Unsupported` where `/proc` is not mounted.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = c_path(path.as_ref())?;
    let driver = Driver::current();
    let op = || OpenAt {
        driver: driver.clone(),
        dir: None,
        path: path.clone(),
        flags: libc::O_PATH,
        mode: 0,
        waits: false,
    };
    let fd = perform(&driver, op).await?;
    let name = sys::path_of(&fd).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let what = "`canonicalize` asks /proc/self/fd, and /proc is not mounted";
            io::Error::new(ErrorKind::Unsupported, what)
        }
        _ => error,
    })?;
    Ok(PathBuf::from(OsString::from_vec(name)))
}
