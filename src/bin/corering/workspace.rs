//! The files that `bench download` serves and fetches: made before it, checked and removed after.
//!
//! All of this is ordinary blocking code: it runs outside of the measured time, before the rings
//! exist and after they are gone.
//!
//! On drop the directory is removed with all that is in it, unless it is to be kept. It has a name
//! that did not exist before, so that nothing of the user's is in it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::payload::Payload;

/// Files are made and checked in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// A directory with `objects/` to serve and `downloads/` to fetch into.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    keep: bool,
}

impl Workspace {
    /// Makes a new directory below `parent`, or below the system's directory for temporary files.
    pub(crate) fn create(parent: Option<&Path>, keep: bool) -> io::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let process = std::process::id();
        for attempt in 0..1000 {
            let root = parent.join(format!("corering-bench-{process}-{attempt}"));
            match fs::create_dir(&root) {
                Ok(()) => {
                    let workspace = Self { root, keep };
                    fs::create_dir(workspace.objects())?;
                    fs::create_dir(workspace.downloads())?;
                    return Ok(workspace);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a thousand directories are in the way",
        ))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that the server serves.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The directory that the load saves into.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// Makes one object; its bytes are [`Payload`] number `index`.
    pub(crate) fn make_object(&self, index: u32, size: u64) -> io::Result<()> {
        let mut file = BufWriter::new(File::create_new(self.objects().join(object_name(index)))?);
        let payload = Payload::new(u64::from(index));
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < size {
            let len = (size - offset).min(PIECE_BYTES as u64) as usize;
            payload.fill(offset, &mut piece[..len]);
            file.write_all(&piece[..len])?;
            offset += len as u64;
        }
        file.flush()
    }

    /// Makes an empty file for a download, which overwrites it. Some file systems (ext4) take long
    /// to make a file when many were removed within the last seconds; that shall not be measured.
    pub(crate) fn make_download(&self, index: u32) -> io::Result<()> {
        File::create_new(self.downloads().join(object_name(index))).map(drop)
    }

    /// Reads a downloaded file back: is every byte there, and nothing else?
    pub(crate) fn check_download(&self, index: u32, size: u64) -> io::Result<()> {
        let path = self.downloads().join(object_name(index));
        let mut file = File::open(&path)?;
        let payload = Payload::new(u64::from(index));
        let mut piece = vec![0; PIECE_BYTES];
        let mut offset = 0;
        loop {
            let len = file.read(&mut piece)?;
            if len == 0 {
                break;
            }
            payload
                .check(offset, &piece[..len])
                .map_err(|mismatch| wrong(&path, &mismatch.to_string()))?;
            offset += len as u64;
        }
        if offset == size {
            Ok(())
        } else {
            Err(wrong(&path, &format!("{offset} bytes instead of {size}")))
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("corering: cannot remove {}: {error}", self.root.display());
        }
    }
}

/// The name of an object, in its directory and in its URL.
pub(crate) fn object_name(index: u32) -> String {
    format!("{index:07}.bin")
}

fn wrong(path: &Path, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {why}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_made_checked_and_removed() {
        let workspace = Workspace::create(None, false).unwrap();
        let size = PIECE_BYTES as u64 + 13;
        for index in 0..2 {
            workspace.make_object(index, size).unwrap();
            let name = object_name(index);
            let (from, to) = (
                workspace.objects().join(&name),
                workspace.downloads().join(&name),
            );
            fs::copy(from, to).unwrap();
            workspace.check_download(index, size).unwrap();
        }
        assert!(workspace.check_download(0, size + 1).is_err());
        assert!(workspace.check_download(7, size).is_err());

        let one = workspace.downloads().join(object_name(1));
        fs::copy(workspace.objects().join(object_name(0)), one).unwrap();
        let error = workspace.check_download(1, size).unwrap_err();
        assert!(error.to_string().contains("byte 0 is"), "{error}");

        workspace.make_download(7).unwrap();
        workspace.check_download(7, 0).unwrap();
        let root = workspace.root().to_owned();
        drop(workspace);
        assert!(!root.exists());
    }

    #[test]
    fn a_kept_workspace_stays() {
        let outer = Workspace::create(None, false).unwrap();
        let inner = Workspace::create(Some(outer.root()), true).unwrap();
        let root = inner.root().to_owned();
        drop(inner);
        assert!(root.join("objects").exists());
        assert!(Workspace::create(Some(Path::new("/nowhere")), false).is_err());
    }
}
