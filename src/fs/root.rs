//! Opening files below a directory, whatever a stranger's path says.

use super::submit::perform;
use super::{File, ReadDir};
use crate::driver::Driver;
use crate::op::{OpenAt, OpenBeneath, c_path};
use std::io;
use std::path::{Path, PathBuf};

/// A directory out of which no path leads: for the paths of strangers, such as those in requests.
///
/// The kernel itself walks each path and keeps it below the directory (`openat2(2)` with
/// `RESOLVE_BENEATH`): `..` that climbs out, absolute paths, and symbolic links to elsewhere are
/// refused, also where somebody changes the tree meanwhile. Links that stay below are followed.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::fs::Root;
/// let root = Root::open("public").await?;
/// let page = root.open_file("index.html").await?;
/// assert!(root.open_file("../secret").await.is_err());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Root {
    directory: File,
    path: PathBuf,
}

impl Root {
    /// Opens the directory. The path itself may be any.
    ///
    /// # Errors
    /// `NotADirectory`, `NotFound` and what else the kernel says (`openat(2)`).
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// # Cancel safety
    /// Safe: a descriptor that is opened late is closed.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Root> {
        let driver = Driver::current();
        let name = c_path(path.as_ref())?;
        let open = || OpenAt {
            driver: driver.clone(),
            dir: None,
            path: name.clone(),
            flags: libc::O_PATH | libc::O_DIRECTORY,
            waits: false,
            mode: 0,
        };
        Ok(Root {
            directory: perform(&driver, open).await.map(File::new)?,
            path: path.as_ref().to_path_buf(),
        })
    }

    /// Opens a file or a directory below, for reading; the empty path is the root itself. What
    /// was opened, its metadata says. A pipe is opened without waiting for its writer.
    ///
    /// # Errors
    /// `EXDEV` (`CrossesDevices`) for a path that leads out; `ELOOP`; `NotFound`,
    /// `PermissionDenied` and what else the kernel says.
    ///
    /// # Cancel safety
    /// Safe: a file that is opened late is closed.
    pub async fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let name = c_path(path.as_ref())?;
        let dir = self.directory.fd();
        let open = || OpenBeneath::to_read(dir.clone(), name.clone());
        /// Somebody may rename directories all the time; and a file under a lease says `EAGAIN`
        /// to an open that does not wait, for as long as the lease stands.
        const TRIES: u32 = 32;
        let mut tries = 0;
        loop {
            tries += 1;
            match perform(dir.driver(), open).await {
                // Somebody renamed a directory on the way, and the kernel could not be sure.
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < TRIES => {}
                result => return result.map(File::new),
            }
        }
    }

    /// Lists a directory below.
    ///
    /// # Errors
    /// As [`open_file`](Root::open_file); `NotADirectory`.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn read_dir(&self, path: impl AsRef<Path>) -> io::Result<ReadDir> {
        let path = path.as_ref();
        let directory = self.open_file(path).await?;
        if !directory.cached_metadata()?.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        Ok(ReadDir::of(directory.fd().clone(), self.path.join(path)))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // A test makes its files the plain way.
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_path_leads_out() {
        let outer = std::env::temp_dir().join(format!("corering-root-{}", std::process::id()));
        let inner = outer.join("inner");
        std::fs::create_dir_all(inner.join("deep")).unwrap();
        std::fs::write(outer.join("secret"), "secret").unwrap();
        std::fs::write(inner.join("deep/page"), "page").unwrap();
        symlink("deep/page", inner.join("within")).unwrap();
        symlink("../secret", inner.join("out")).unwrap();
        symlink(outer.join("secret"), inner.join("absolute")).unwrap();
        crate::block_on(async {
            let root = Root::open(&inner).await.unwrap();
            for path in ["deep/page", "within", "deep/../deep/page", "./deep/page"] {
                let file = root.open_file(path).await.unwrap();
                assert_eq!(file.cached_metadata().unwrap().len(), 4, "{path}");
            }
            for path in [
                "../secret",
                "out",
                "absolute",
                "/etc/passwd",
                "deep/../../secret",
            ] {
                let error = root.open_file(path).await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EXDEV), "{path}: {error}");
            }
            assert!(
                root.open_file("")
                    .await
                    .unwrap()
                    .cached_metadata()
                    .unwrap()
                    .is_dir()
            );
            let mut names = Vec::new();
            let mut entries = root.read_dir("").await.unwrap();
            while let Some(entry) = entries.next_entry().await.unwrap() {
                names.push(entry.file_name());
            }
            names.sort();
            assert_eq!(names, ["absolute", "deep", "out", "within"]);
            assert!(root.read_dir("within").await.is_err());
            let error = Root::open(outer.join("secret")).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        });
        std::fs::remove_dir_all(&outer).unwrap();
    }
}
