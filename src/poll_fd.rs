//! The readiness of descriptors that belong to somebody else.

use crate::driver::fd::Fd;
use crate::driver::{Driver, children};
use crate::op::Readiness;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// What a descriptor is ready for; the result of [`PollFd::readable`] and
/// [`PollFd::writable`].
///
/// ```no_run
/// # async fn f(watch: corering::PollFd<std::os::fd::OwnedFd>) -> std::io::Result<()> {
/// let ready: corering::Ready = watch.readable().await?;
/// if ready.is_closed() && !ready.is_readable() {
///     println!("the other side is gone, and has left nothing to read");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(i16);

impl Ready {
    /// A read will not wait (`POLLIN`).
    pub const fn is_readable(self) -> bool {
        self.0 & libc::POLLIN != 0
    }

    /// A write will not wait (`POLLOUT`).
    pub const fn is_writable(self) -> bool {
        self.0 & libc::POLLOUT != 0
    }

    /// There is urgent data, or an exceptional condition (`POLLPRI`).
    pub const fn is_priority(self) -> bool {
        self.0 & libc::POLLPRI != 0
    }

    /// The other side has hung up (`POLLHUP`); there may still be something to read.
    pub const fn is_closed(self) -> bool {
        self.0 & libc::POLLHUP != 0
    }

    /// There is an error to be fetched (`POLLERR`).
    pub const fn is_error(self) -> bool {
        self.0 & libc::POLLERR != 0
    }

    /// The word of `poll(2)`.
    pub const fn as_raw_value(self) -> i16 {
        self.0
    }
}

/// Waits until a descriptor that the runtime knows nothing of is ready: a library's socket, an
/// inotify or timer descriptor, a serial line. What asyncio calls `add_reader` and `add_writer`.
///
/// It owns `T`, and watches a duplicate of its descriptor: closing or replacing the number
/// elsewhere cannot make it watch another file, and `T` is closed by its own drop and nothing
/// else. Nothing is read or written and no flag is set here: set `O_NONBLOCK` where `T` is used.
///
/// Each wait is one poll of the ring (`IORING_OP_POLL_ADD`), which looks first and waits then. So
/// no edge can be missed, and there is no readiness to be cleared: what is ready stays ready until
/// it is used up. Regular files are always ready; use [`fs`](crate::fs) for them.
///
/// ```
/// use corering::PollFd;
/// use std::io::{ErrorKind, Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let (ours, mut theirs) = UnixStream::pair()?;
///     ours.set_nonblocking(true)?;
///     let ours = PollFd::new(ours)?;
///     theirs.write_all(b"ping")?;
///     let mut buf = [0; 8];
///     let n = ours.read_with(|mut stream| stream.read(&mut buf)).await?;
///     assert_eq!(&buf[..n], b"ping");
///     Ok(())
/// })
/// # }
/// ```
///
/// A callback on each readiness is a task that loops:
///
/// ```no_run
/// # use std::os::unix::net::UnixStream;
/// # fn f(watch: corering::PollFd<UnixStream>, on_readable: impl Fn(&UnixStream) + 'static) {
/// let handle = corering::spawn(async move {
///     while let Ok(ready) = watch.readable().await {
///         if ready.is_error() {
///             break;
///         }
///         on_readable(watch.get_ref());
///     }
/// });
/// # }
/// ```
pub struct PollFd<T> {
    inner: T,
    watched: Fd,
}

impl<T: AsFd> PollFd<T> {
    /// Watches `inner`, on this core.
    ///
    /// # Errors
    /// `EMFILE` if this process has no descriptor left for the duplicate; `Unsupported` in a
    /// simulation, unless it is a socket or a pipe of the simulation itself.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn new(inner: T) -> io::Result<PollFd<T>> {
        let driver = Driver::current();
        let number = children::foreign(inner.as_fd())?;
        let watched = Fd::from_number(number, &driver);
        Ok(PollFd { inner, watched })
    }
}

impl<T> PollFd<T> {
    /// Waits until a read will not wait, the other side has hung up, or there is an error.
    ///
    /// # Errors
    /// `EPERM`-like words of the kernel for what cannot be polled.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. Any number of tasks may wait at once.
    pub async fn readable(&self) -> io::Result<Ready> {
        self.ready(libc::POLLIN).await
    }

    /// Waits until a write will not wait, the other side has hung up, or there is an error.
    ///
    /// # Errors
    /// As [`readable`](PollFd::readable).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. Any number of tasks may wait at once.
    pub async fn writable(&self) -> io::Result<Ready> {
        self.ready(libc::POLLOUT).await
    }

    /// Waits for any of these events of `poll(2)`, such as `libc::POLLPRI`; an error and a hang-up
    /// are always told.
    ///
    /// # Errors
    /// As [`readable`](PollFd::readable).
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed. Any number of tasks may wait at once.
    pub async fn ready(&self, events: i16) -> io::Result<Ready> {
        loop {
            match Readiness::of(&self.watched, events).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(Ready),
            }
        }
    }

    /// Tries `read` at once, and again whenever there is something to read, until it says anything
    /// else than `WouldBlock`.
    ///
    /// # Errors
    /// Those of `read`; as [`readable`](PollFd::readable).
    ///
    /// # Cancel safety
    /// Safe: `read` has happened only if the call is ready.
    pub async fn read_with<R>(&self, mut read: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        loop {
            match read(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.readable().await?;
        }
    }

    /// Tries `write` at once, and again whenever there is room, until it says anything else than
    /// `WouldBlock`.
    ///
    /// # Errors
    /// Those of `write`; as [`readable`](PollFd::readable).
    ///
    /// # Cancel safety
    /// Safe: `write` has happened only if the call is ready.
    pub async fn write_with<R>(&self, mut write: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        loop {
            match write(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.writable().await?;
        }
    }

    /// What is watched.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// What is watched. Give it another descriptor, and the old one is still watched.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// What was watched, as it was given.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsFd> AsFd for PollFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsRawFd> AsRawFd for PollFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl<T: fmt::Debug> fmt::Debug for PollFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollFd")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
