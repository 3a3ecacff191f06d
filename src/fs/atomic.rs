//! Replacing a file so that there is always either the old one or the new one, complete.
//!
//! ```text
//!   directory opened ─► temp made ─► written ─► fsync ─► rename ─► directory fsync ─► Ok
//!                           │ error, or drop, in any of these before the rename is done
//!                           ▼
//!                        temp removed: the old file stands as it was
//! ```

use super::submit::{detach, perform};
use super::{File, symlink_metadata};
use crate::buf::IoBuf;
use crate::driver::Driver;
use crate::driver::submit::Submit;
use crate::driver::sys;
use crate::op::{OpenTemp, Remove, Rename, c_path};
use std::ffi::{CString, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How often a name is drawn before giving up; each is one of 2⁶⁴.
const NAMES_MAX: usize = 4;

/// Replaces a file's content atomically and durably: whoever opens it, even after a crash, finds
/// the old content or the new one, and after `Ok` the new one is on the disk.
///
/// The content is written to a temporary file beside it (`.name.`*16 digits*`.tmp`), which is
/// synced and renamed over `path`; then the directory is synced. The new file has the read, write
/// and execute permissions of a regular file that it replaces, otherwise the mode `0o666` less
/// the umask; owner, other names and extended attributes are not carried over. A symbolic link is
/// replaced, not followed.
///
/// # Errors
/// What the kernel says. The old file is as it was and the temporary one is removed, unless the
/// sync of the directory fails, the last step: then the new file stands, but may not outlive a
/// crash. `InvalidInput` for a path without a file name.
///
/// # Cancel safety
/// A dropped call leaves the old file or the new one, and removes the temporary file. (A process
/// that is killed leaves it behind.)
pub async fn write_atomic(path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
    let path = path.as_ref();
    let target = c_path(path)?;
    let driver = Driver::current();
    let directory = File::open(parent(path)).await?;
    let mode = match symlink_metadata(path).await {
        // Not set-user-ID and its kin, as after any write: the new file may have another owner.
        Ok(old) if old.is_file() => Some(old.mode() & 0o777),
        Ok(old) if old.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (file, temp) = make_temp(&driver, path, mode).await?;
    file.write_all_at(contents, 0).await.0?;
    if let Some(mode) = mode {
        file.set_permissions(sys::Permissions::from_mode(mode))?;
    }
    file.sync_all().await?;
    let rename = || Rename {
        from: temp.path.clone(),
        to: target.clone(),
    };
    perform(&driver, rename).await?;
    temp.keep();
    directory.sync_all().await
}

/// Makes the temporary file. No more may be allowed on it than on the one that it replaces.
async fn make_temp(driver: &Driver, path: &Path, mode: Option<u32>) -> io::Result<(File, Temp)> {
    let mut result = Err(io::Error::from_raw_os_error(libc::EEXIST));
    for _ in 0..NAMES_MAX {
        let name = c_path(&temp_path(path, sys::random_u64())?)?;
        let op = OpenTemp::new(driver, name.clone(), mode.unwrap_or(0o666) & 0o777);
        match Submit::new(driver, op).await {
            Ok(fd) => return Ok((File::new(fd), Temp::new(driver, name))),
            Err(error) => {
                let kind = error.kind();
                result = Err(error);
                if !matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Interrupted) {
                    break;
                }
            }
        }
    }
    result
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The name of the temporary file. A long name is cut, so that the new one is not too long.
fn temp_path(path: &Path, random: u64) -> io::Result<PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    const NAME_BYTES_MAX: usize = 200;
    let Some(name) = path.file_name() else {
        let what = format!("the path {path:?} does not end with a file's name");
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    };
    let name = name.as_bytes();
    let mut temp = vec![b'.'];
    temp.extend_from_slice(&name[..name.len().min(NAME_BYTES_MAX)]);
    temp.extend_from_slice(format!(".{random:016x}.tmp").as_bytes());
    Ok(parent(path).join(OsString::from_vec(temp)))
}

/// A temporary file that is removed on drop.
struct Temp {
    driver: Driver,
    path: CString,
    unwanted: bool,
}

impl Temp {
    fn new(driver: &Driver, path: CString) -> Temp {
        Temp {
            driver: driver.clone(),
            path,
            unwanted: true,
        }
    }

    /// It has its place.
    fn keep(mut self) {
        self.unwanted = false;
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.unwanted {
            return;
        }
        let op = Remove {
            dir: None,
            path: self.path.clone(),
            directory: false,
            detached: true,
        };
        // Where the ring is gone, a plain call has to do; and if that fails, nothing can be done.
        if let Some(Err(_)) = detach(&self.driver, op) {
            let _ = sys::unlink(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temporary_file_is_a_neighbour() {
        let temp = temp_path(Path::new("dir/name.txt"), 0xab).expect("it has a name");
        assert_eq!(temp, Path::new("dir/.name.txt.00000000000000ab.tmp"));
        let temp = temp_path(Path::new("name"), 1).expect("it has a name");
        assert_eq!(temp, Path::new("./.name.0000000000000001.tmp"));
        let long = temp_path(&Path::new("/").join("x".repeat(255)), 1).expect("it has a name");
        assert!(long.file_name().is_some_and(|name| name.len() <= 255));
        for bad in ["/", "..", ""] {
            let error = temp_path(Path::new(bad), 1).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
