//! The descriptor: kept alive by its operations, closed by the ring on its last drop.
//!
//! A queued entry holds a bare number. If the number were closed and given to another file before
//! the kernel has seen the entry, the operation would work on the wrong file. So every operation
//! owns a clone of its [`Fd`], from the moment it is made until its last completion, and the
//! number is closed only when the last clone is gone.

use super::Driver;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A shared descriptor of this core.
#[derive(Clone)]
pub(crate) struct Fd(Rc<Inner>);

struct Inner {
    raw: RawFd,
    driver: Driver,
}

impl Fd {
    /// Takes over an open descriptor.
    pub(crate) fn new(fd: OwnedFd, driver: &Driver) -> Fd {
        Fd(Rc::new(Inner {
            raw: fd.into_raw_fd(),
            driver: driver.clone(),
        }))
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.0.driver
    }

    /// The descriptor for the kernel's entries.
    pub(crate) fn target(&self) -> io_uring::types::Fd {
        io_uring::types::Fd(self.0.raw)
    }

    /// Whether both are clones of one descriptor.
    pub(crate) fn same(&self, other: &Fd) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The descriptor alone, if no operation and no other handle has it.
    pub(crate) fn try_unwrap(self) -> Result<OwnedFd, Fd> {
        let inner = Rc::try_unwrap(self.0).map_err(Fd)?;
        let raw = inner.raw;
        let inner = std::mem::ManuallyDrop::new(inner);
        // SAFETY: `inner` is never dropped nor used again, so its driver is read out once.
        let driver = unsafe { std::ptr::read(&inner.driver) };
        drop(driver);
        // SAFETY: the number is open, and with `inner` forgotten this is its only owner.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    /// Another descriptor of the same open file, for code outside of the runtime.
    pub(crate) fn try_clone_to_owned(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the number was taken over from an `OwnedFd`, and the last clone is gone.
        let fd = unsafe { OwnedFd::from_raw_fd(self.raw) };
        self.driver.close(fd);
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.raw
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the number stays open while `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0.raw) }
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fd({})", self.0.raw)
    }
}
