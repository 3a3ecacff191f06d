//! The disk against a real file system, and against the power going away.

#[allow(
    clippy::disallowed_methods,
    reason = "what the disk is compared with is the real one"
)]
mod model;
mod power;
mod real;
mod rules;

use super::{Disk, OpenFile};
use std::time::{SystemTime, UNIX_EPOCH};

/// The seeds of a test: one that is named, or some that are new each time.
#[allow(clippy::disallowed_methods, reason = "seeds that are new each time")]
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let named = std::env::var("CORERING_SEED").ok();
    let named = named.map(|seed| seed.parse().expect("CORERING_SEED is a number"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_nanos() as u64;
    let first = named.unwrap_or(now);
    first..first + if named.is_some() { 1 } else { count }
}

/// Says the seed if the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again with CORERING_SEED={}", self.0);
        }
    }
}

fn disk() -> Disk {
    Disk::new(1 << 20)
}

fn open(disk: &mut Disk, path: &str, flags: i32) -> OpenFile {
    disk.open(None, path.as_bytes(), flags, 0o644, 0, 0)
        .unwrap_or_else(|errno| panic!("{path}: {errno}"))
}

/// A new file with this content.
fn write_new(disk: &mut Disk, path: &str, content: &[u8]) -> OpenFile {
    let mut file = open(disk, path, libc::O_CREAT | libc::O_RDWR | libc::O_TRUNC);
    assert_eq!(disk.write(&mut file, None, content, 0), Ok(content.len()));
    file
}

fn sync_dir(disk: &mut Disk, path: &str) {
    let mut dir = open(disk, path, libc::O_DIRECTORY);
    assert_eq!(disk.sync(&mut dir, false), Ok(()));
    disk.close(dir);
}

/// The content of a file, if it is there.
fn content(disk: &Disk, path: &str) -> Option<Vec<u8>> {
    use super::Snapshot;
    match disk.snapshot().remove(path.as_bytes())? {
        Snapshot::File(bytes) => Some(bytes),
        other => panic!("{path} is no file: {other:?}"),
    }
}
