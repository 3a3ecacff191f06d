//! epoll, which the standard library does not have.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An epoll instance, for the hand-written loops.
#[derive(Debug)]
pub struct Poll(OwnedFd);

#[allow(unsafe_code)] // The standard library has no epoll.
impl Poll {
    /// One that watches nothing.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `EPOLL_CTL_ADD`, `MOD` or `DEL` of a descriptor, whose events then have the mark.
    pub fn watch(&self, call: i32, fd: RawFd, events: i32, mark: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: mark,
        };
        // SAFETY: the event lives until the call returns; the kernel copies it.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), call, fd, &raw mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits for events; none after a signal.
    pub fn wait(&self, events: &mut [libc::epoll_event]) -> io::Result<usize> {
        let (fd, start, len) = (self.0.as_raw_fd(), events.as_mut_ptr(), events.len());
        // SAFETY: `start` has room for `len` events.
        let count = unsafe { libc::epoll_wait(fd, start, len as i32, -1) };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(0);
        }
        Err(error)
    }
}
