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

/// An open descriptor's number, alone: whoever has it is the one to close it. Dropping it closes
/// nothing, because only the driver knows whose number it is, this process's or a simulation's.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a number that is dropped stays open"]
pub(crate) struct Number(RawFd);

impl Number {
    /// A number that a kernel has given out for this caller alone.
    pub(crate) fn new(raw: RawFd) -> Number {
        Number(raw)
    }

    pub(crate) fn get(&self) -> RawFd {
        self.0
    }

    /// The number as the standard library owns it.
    ///
    /// # Panics
    /// If it is a simulation's: no system call knows it.
    pub(crate) fn into_owned(self) -> OwnedFd {
        #[cfg(feature = "sim")]
        assert!(
            !super::sim::owns(self.0),
            "a simulated descriptor cannot be given to the standard library"
        );
        // SAFETY: a number is open and has one owner, which it leaves here.
        unsafe { OwnedFd::from_raw_fd(self.0) }
    }
}

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
        Fd::from_number(Number(fd.into_raw_fd()), driver)
    }

    /// Takes over a number that the kernel has just given out.
    pub(crate) fn from_number(number: Number, driver: &Driver) -> Fd {
        Fd(Rc::new(Inner {
            raw: number.0,
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
    pub(crate) fn try_unwrap(self) -> Result<Number, Fd> {
        let inner = Rc::try_unwrap(self.0).map_err(Fd)?;
        let raw = inner.raw;
        let inner = std::mem::ManuallyDrop::new(inner);
        // SAFETY: `inner` is never dropped nor used again, so its driver is read out once.
        let driver = unsafe { std::ptr::read(&inner.driver) };
        drop(driver);
        Ok(Number(raw))
    }

    /// Another descriptor of the same open file, for code outside of the runtime.
    pub(crate) fn try_clone_to_owned(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.close(Number(self.raw));
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
