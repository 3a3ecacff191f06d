//! Trials of operations on files and paths, in a directory of their own.

use super::{How, Place, Row, Tried, Trouble, check, feature, given, row};
use crate::driver::fd::{Fd, Number};
use crate::driver::submit::Submit;
use crate::driver::survey;
use crate::op::{
    self, Allocate, Close, Fsync, Link, MakeDir, OpenAt, OpenBeneath, OpenTemp, Read, Readv,
    Remove, Rename, SetLen, Stat, StatTarget, Symlink, Write, WriteBehind, Writev, c_path,
};
use std::ffi::CString;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};

const BYTES: &[u8] = b"what the doctor wrote";
/// The offset that means: at the file's own position.
const HERE: u64 = u64::MAX;

pub(super) const ROWS: &[Row] = &[
    row(
        "openat",
        "5.6",
        How::Perform(|place| Box::pin(open(place, false))),
    ),
    row(
        "openat_async",
        "5.6",
        How::Perform(|place| Box::pin(open(place, true))),
    ),
    row(
        "openat_excl",
        "5.6",
        How::Perform(|place| Box::pin(open_temp(place))),
    ),
    row(
        "openat2",
        "5.6",
        How::Perform(|place| Box::pin(open_beneath(place))),
    ),
    row("close", "5.6", How::Perform(|place| Box::pin(close(place)))),
    row("read", "5.6", How::Perform(|place| Box::pin(read(place)))),
    row("readv", "5.1", How::Perform(|place| Box::pin(readv(place)))),
    row("write", "5.6", How::Perform(|place| Box::pin(write(place)))),
    row(
        "write_here",
        "5.6",
        How::Perform(|place| Box::pin(write_here(place))),
    ),
    row(
        "writev",
        "5.1",
        How::Perform(|place| Box::pin(writev(place))),
    ),
    row(
        "fsync",
        "5.1",
        How::Perform(|place| Box::pin(fsync(place, false))),
    ),
    row(
        "fdatasync",
        "5.1",
        How::Perform(|place| Box::pin(fsync(place, true))),
    ),
    row(
        "fallocate",
        "5.6",
        How::Perform(|place| Box::pin(fallocate(place))),
    ),
    feature(
        "ftruncate",
        "6.9",
        |has| has.ftruncate,
        How::Perform(|place| Box::pin(ftruncate(place))),
    ),
    row("statx", "5.6", How::Perform(|place| Box::pin(statx(place)))),
    row(
        "mkdirat",
        "5.15",
        How::Perform(|place| Box::pin(mkdir(place))),
    ),
    row(
        "renameat",
        "5.11",
        How::Perform(|place| Box::pin(rename(place))),
    ),
    row(
        "linkat",
        "5.15",
        How::Perform(|place| Box::pin(link(place))),
    ),
    row(
        "symlinkat",
        "5.15",
        How::Perform(|place| Box::pin(symlink(place))),
    ),
    row(
        "unlinkat",
        "5.11",
        How::Perform(|place| Box::pin(remove(place))),
    ),
];

/// A file of this name with [`BYTES`] in it, and its path for the kernel.
fn file(place: &Place, name: &str) -> Result<(PathBuf, CString), Trouble> {
    let path = given(place.dir()?.file(name, BYTES))?;
    let for_kernel = given(c_path(&path))?;
    Ok((path, for_kernel))
}

/// The same, open for reading and writing.
fn open_file(place: &Place, name: &str) -> Result<(PathBuf, Fd), Trouble> {
    let (path, _) = file(place, name)?;
    let fd = place.fd(given(survey::open(&path))?);
    Ok((path, fd))
}

/// A name that nothing has.
fn free(place: &Place, name: &str) -> Result<(PathBuf, CString), Trouble> {
    let path = place.dir()?.free(name);
    let for_kernel = given(c_path(&path))?;
    Ok((path, for_kernel))
}

fn holds(path: &Path, bytes: &[u8]) -> Tried {
    let content = given(survey::content(path))?;
    check(content == bytes, "other bytes than those that were written")
}

async fn open(place: &Place, waits: bool) -> Tried {
    let (_, path) = file(place, "open")?;
    let op = OpenAt {
        driver: place.driver.clone(),
        dir: None,
        path,
        flags: libc::O_RDONLY,
        mode: 0,
        waits,
    };
    Submit::new(&place.driver, op).await?;
    Ok(())
}

async fn open_temp(place: &Place) -> Tried {
    let (path, for_kernel) = free(place, "temp")?;
    Submit::new(
        &place.driver,
        OpenTemp::new(&place.driver, for_kernel, 0o600),
    )
    .await?;
    holds(&path, b"")
}

async fn open_beneath(place: &Place) -> Tried {
    let beneath = given(place.dir()?.directory("beneath"))?;
    let dir = place.fd(given(survey::open_dir(&beneath))?);
    let here = OpenBeneath::to_read(dir.clone(), c"".into());
    Submit::new(&place.driver, here).await?;
    let above = OpenBeneath::to_read(dir, c"..".into());
    let refused = Submit::new(&place.driver, above).await.is_err();
    check(refused, "it led out of its directory")
}

async fn close(place: &Place) -> Tried {
    let (fd, _other) = given(survey::socket_pair())?;
    Submit::new(&place.driver, Close(Number::new(fd.into_raw_fd()))).await?;
    Ok(())
}

async fn read(place: &Place) -> Tried {
    let (_, fd) = open_file(place, "read")?;
    let buf = Vec::with_capacity(BYTES.len());
    let (result, buf) = Submit::new(&place.driver, Read { fd, buf, offset: 0 }).await;
    result?;
    check(buf == BYTES, "other bytes than those in the file")
}

async fn readv(place: &Place) -> Tried {
    let (_, fd) = open_file(place, "readv")?;
    let bufs = vec![Vec::with_capacity(4), Vec::with_capacity(BYTES.len() - 4)];
    let (result, bufs) = Submit::new(&place.driver, Readv::new(fd, bufs, 0)).await;
    result?;
    check(bufs.concat() == BYTES, "other bytes than those in the file")
}

async fn write(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "write")?;
    let op = Write {
        fd,
        buf: b"HOW".to_vec(),
        offset: 1,
    };
    Submit::new(&place.driver, op).await.0?;
    holds(&path, &[&BYTES[..1], b"HOW", &BYTES[4..]].concat())
}

/// What a writer has accepted, at the file's own position.
async fn write_here(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "write_here")?;
    for (bytes, written) in [(b"WHO", 0), (b"XX ", 2)] {
        let op = WriteBehind {
            fd: fd.clone(),
            bytes: op::Bytes::Own(bytes.to_vec()),
            written,
            offset: HERE,
        };
        Submit::new(&place.driver, op).await.0?;
    }
    holds(&path, &[b"WHO ", &BYTES[4..]].concat())
}

async fn writev(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "writev")?;
    let bufs = vec![b"HO".to_vec(), b"W".to_vec()];
    Submit::new(&place.driver, Writev::new(fd, bufs, 1))
        .await
        .0?;
    holds(&path, &[&BYTES[..1], b"HOW", &BYTES[4..]].concat())
}

/// Nobody keeps a sync's result in mind but its caller.
struct Forgotten;

impl op::Verdict for Forgotten {
    fn synced(&self, _: &io::Result<()>) {}
}

async fn fsync(place: &Place, data_only: bool) -> Tried {
    let (_, fd) = open_file(place, "fsync")?;
    let op = Fsync {
        fd,
        data_only,
        verdict: Forgotten,
    };
    Ok(Submit::new(&place.driver, op).await?)
}

async fn fallocate(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "fallocate")?;
    let op = Allocate {
        fd,
        offset: 0,
        len: 4096,
        mode: 0,
    };
    match Submit::new(&place.driver, op).await {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err(Trouble::NotTried("the file system has none".into()))
        }
        result => {
            result?;
            check(
                given(survey::content(&path))?.len() == 4096,
                "the file did not grow",
            )
        }
    }
}

async fn ftruncate(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "ftruncate")?;
    Submit::new(&place.driver, SetLen { fd, len: 4 }).await?;
    holds(&path, &BYTES[..4])
}

async fn statx(place: &Place) -> Tried {
    let (path, fd) = open_file(place, "statx")?;
    let path = given(c_path(&path))?;
    let targets = [
        StatTarget::Fd(fd),
        StatTarget::Path {
            path: path.clone(),
            follow: true,
        },
        StatTarget::Path {
            path,
            follow: false,
        },
    ];
    for target in targets {
        let metadata = Submit::new(&place.driver, Stat::new(target)).await?;
        check(
            metadata.stx_size == BYTES.len() as u64,
            "another length than the file's",
        )?;
    }
    Ok(())
}

async fn mkdir(place: &Place) -> Tried {
    let (path, for_kernel) = free(place, "mkdir")?;
    let op = MakeDir {
        path: for_kernel,
        mode: 0o700,
    };
    Submit::new(&place.driver, op).await?;
    check(survey::open_dir(&path).is_ok(), "there is no directory")
}

async fn rename(place: &Place) -> Tried {
    let (_, from) = file(place, "rename")?;
    let (path, to) = free(place, "renamed")?;
    Submit::new(&place.driver, Rename { from, to }).await?;
    holds(&path, BYTES)
}

async fn link(place: &Place) -> Tried {
    let (_, from) = file(place, "link")?;
    let (path, to) = free(place, "linked")?;
    match Submit::new(&place.driver, Link { from, to }).await {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(Trouble::NotTried(
            "the file system has no hard links".into(),
        )),
        result => {
            result?;
            holds(&path, BYTES)
        }
    }
}

async fn symlink(place: &Place) -> Tried {
    let (_, target) = file(place, "symlink")?;
    let (path, link) = free(place, "symlinked")?;
    Submit::new(&place.driver, Symlink { target, link }).await?;
    holds(&path, BYTES)
}

/// A file, and a directory by way of its parent.
async fn remove(place: &Place) -> Tried {
    let (path, for_kernel) = file(place, "unlink")?;
    given(place.dir()?.directory("rmdir"))?;
    let parent = place.fd(given(survey::open_dir(place.dir()?.path()))?);
    for (dir, path, directory) in [
        (None, for_kernel, false),
        (Some(parent), c"rmdir".into(), true),
    ] {
        let op = Remove {
            dir,
            path,
            directory,
            detached: false,
        };
        Submit::new(&place.driver, op).await?;
    }
    check(
        !survey::exists(&path.to_string_lossy()),
        "the file is still there",
    )
}
