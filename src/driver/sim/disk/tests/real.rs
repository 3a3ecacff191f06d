//! The calls of the real kernel, with plain arguments, for comparison.

use crate::driver::sim::disk::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(super) type Answer<T> = Result<T, Errno>;

/// One system call; pointers travel as numbers.
fn call(number: libc::c_long, args: [usize; 5]) -> Answer<usize> {
    let [a, b, c, d, e] = args;
    // SAFETY: the functions below pass pointers to memory that outlives the call, with its length.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(error.raw_os_error().expect("a system call failed"));
    }
    Ok(result as usize)
}

/// A directory of the real file system, in which the same things are done.
#[derive(Debug)]
pub(super) struct Real {
    dir: OwnedFd,
}

fn text(path: &[u8]) -> CString {
    CString::new(path).expect("the test makes no path with NUL")
}

fn raw(fd: &OwnedFd) -> usize {
    fd.as_raw_fd() as usize
}

impl Real {
    pub(super) fn new(dir: OwnedFd) -> Real {
        Real { dir }
    }

    fn at(&self) -> usize {
        raw(&self.dir)
    }

    pub(super) fn open(&self, path: &[u8], flags: i32, mode: u32, resolve: u64) -> Answer<OwnedFd> {
        let path = text(path);
        let how = [flags as u64, mode.into(), resolve];
        let (path_at, how_at) = (path.as_ptr() as usize, how.as_ptr() as usize);
        let fd = match resolve {
            0 => call(
                libc::SYS_openat,
                [self.at(), path_at, flags as usize, mode as usize, 0],
            ),
            _ => call(libc::SYS_openat2, [self.at(), path_at, how_at, 24, 0]),
        }?;
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }

    pub(super) fn make_dir(&self, path: &[u8], mode: u32) -> Answer<()> {
        let path = text(path);
        let args = [self.at(), path.as_ptr() as usize, mode as usize, 0, 0];
        call(libc::SYS_mkdirat, args).map(drop)
    }

    pub(super) fn remove(&self, path: &[u8], directory: bool) -> Answer<()> {
        let path = text(path);
        let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
        let args = [self.at(), path.as_ptr() as usize, flags as usize, 0, 0];
        call(libc::SYS_unlinkat, args).map(drop)
    }

    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> Answer<()> {
        let (from, to) = (text(from), text(to));
        let (from_at, to_at) = (from.as_ptr() as usize, to.as_ptr() as usize);
        call(
            libc::SYS_renameat2,
            [self.at(), from_at, self.at(), to_at, 0],
        )
        .map(drop)
    }

    pub(super) fn link(&self, from: &[u8], to: &[u8]) -> Answer<()> {
        let (from, to) = (text(from), text(to));
        let (from_at, to_at) = (from.as_ptr() as usize, to.as_ptr() as usize);
        call(libc::SYS_linkat, [self.at(), from_at, self.at(), to_at, 0]).map(drop)
    }

    pub(super) fn symlink(&self, target: &[u8], path: &[u8]) -> Answer<()> {
        let (target, path) = (text(target), text(path));
        let (target_at, path_at) = (target.as_ptr() as usize, path.as_ptr() as usize);
        call(libc::SYS_symlinkat, [target_at, self.at(), path_at, 0, 0]).map(drop)
    }

    pub(super) fn read_link(&self, path: &[u8]) -> Answer<Vec<u8>> {
        let path = text(path);
        let mut target = vec![0; 8192];
        let (path_at, target_at) = (path.as_ptr() as usize, target.as_mut_ptr() as usize);
        let args = [self.at(), path_at, target_at, target.len(), 0];
        let len = call(libc::SYS_readlinkat, args)?;
        target.truncate(len);
        Ok(target)
    }

    pub(super) fn set_mode_at(&self, path: &[u8], mode: u32) -> Answer<()> {
        let path = text(path);
        let args = [self.at(), path.as_ptr() as usize, mode as usize, 0, 0];
        call(libc::SYS_fchmodat, args).map(drop)
    }

    /// Kind and mode, links and length.
    pub(super) fn stat_at(&self, path: &[u8], follow: bool) -> Answer<(u32, u32, u64)> {
        let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        statx(self.at(), &text(path), flags)
    }
}

fn statx(at: usize, path: &CString, flags: i32) -> Answer<(u32, u32, u64)> {
    // SAFETY: an all-zero statx is a valid value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let answer = &raw mut stat as usize;
    let mask = libc::STATX_BASIC_STATS as usize;
    let path = path.as_ptr() as usize;
    call(libc::SYS_statx, [at, path, flags as usize, mask, answer])?;
    Ok((stat.stx_mode.into(), stat.stx_nlink, stat.stx_size))
}

pub(super) fn stat(fd: &OwnedFd) -> Answer<(u32, u32, u64)> {
    statx(raw(fd), &text(b""), libc::AT_EMPTY_PATH)
}

pub(super) fn read(fd: &OwnedFd, offset: Option<u64>, len: usize) -> Answer<Vec<u8>> {
    let mut bytes = vec![0; len];
    let at = bytes.as_mut_ptr() as usize;
    let len = match offset {
        None => call(libc::SYS_read, [raw(fd), at, len, 0, 0]),
        Some(offset) => call(libc::SYS_pread64, [raw(fd), at, len, offset as usize, 0]),
    }?;
    bytes.truncate(len);
    Ok(bytes)
}

pub(super) fn write(fd: &OwnedFd, offset: Option<u64>, data: &[u8]) -> Answer<usize> {
    let (at, len) = (data.as_ptr() as usize, data.len());
    match offset {
        None => call(libc::SYS_write, [raw(fd), at, len, 0, 0]),
        Some(offset) => call(libc::SYS_pwrite64, [raw(fd), at, len, offset as usize, 0]),
    }
}

pub(super) fn set_len(fd: &OwnedFd, len: u64) -> Answer<()> {
    call(libc::SYS_ftruncate, [raw(fd), len as usize, 0, 0, 0]).map(drop)
}

pub(super) fn allocate(fd: &OwnedFd, mode: i32, offset: u64, len: u64) -> Answer<()> {
    let args = [raw(fd), mode as usize, offset as usize, len as usize, 0];
    call(libc::SYS_fallocate, args).map(drop)
}

pub(super) fn seek(fd: &OwnedFd, offset: i64, whence: i32) -> Answer<u64> {
    let args = [raw(fd), offset as usize, whence as usize, 0, 0];
    call(libc::SYS_lseek, args).map(|at| at as u64)
}

pub(super) fn set_mode(fd: &OwnedFd, mode: u32) -> Answer<()> {
    call(libc::SYS_fchmod, [raw(fd), mode as usize, 0, 0, 0]).map(drop)
}

pub(super) fn flock(fd: &OwnedFd, operation: i32) -> Answer<()> {
    let operation = operation | libc::LOCK_NB;
    call(libc::SYS_flock, [raw(fd), operation as usize, 0, 0, 0]).map(drop)
}

pub(super) fn sync(fd: &OwnedFd) -> Answer<()> {
    call(libc::SYS_fdatasync, [raw(fd), 0, 0, 0, 0]).map(drop)
}

pub(super) fn dents(fd: &OwnedFd, room: usize) -> Answer<Vec<u8>> {
    let mut answer = vec![0; room];
    let at = answer.as_mut_ptr() as usize;
    let len = call(libc::SYS_getdents64, [raw(fd), at, room, 0, 0])?;
    answer.truncate(len);
    Ok(answer)
}
