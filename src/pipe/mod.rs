//! Pipes: from one process to another, or within one.
//!
//! A [`Receiver`] owns its read and what has come, so dropping a `read` loses nothing. A [`Sender`]
//! has a queue that empties itself: what `write` has accepted is written whether or not anybody
//! waits, also when the sender is dropped. The descriptors are close-on-exec, and stay in blocking
//! mode: the ring waits for them anyway, and whoever inherits the other end sees an ordinary pipe.
//!
//! A write to a pipe that nobody reads is an error of the kind `BrokenPipe`, never a signal: the
//! kernel is told so with each write (`RWF_NOSIGNAL`, Linux 6.18). On older kernels the program's
//! own setting counts, and Rust programs ignore `SIGPIPE` unless they say otherwise; where it is at
//! its default, as in a C program that embeds the runtime, the first write blocks it on the
//! runtime's thread.
//!
//! In a simulation a pipe is one of the host's own: between its tasks, since it has no other
//! processes.

mod receiver;
mod sender;

pub use receiver::Receiver;
pub use sender::Sender;

use crate::driver::fd::Fd;
use crate::driver::{Driver, children, sys};
use std::io;

/// A pipe (`pipe2(2)`): what is written to the sender can be read from the receiver.
///
/// # Errors
/// `EMFILE` if this process has no descriptor left.
///
/// # Panics
/// Outside of a runtime.
///
/// ```
/// corering::block_on(async {
///     let (mut sender, mut receiver) = corering::pipe::pipe()?;
///     sender.write_all(b"through the kernel").await?;
///     drop(sender);
///     let mut all = Vec::new();
///     receiver.read_to_end(&mut all).await?;
///     assert_eq!(all, b"through the kernel");
///     Ok::<_, std::io::Error>(())
/// })
/// # .unwrap();
/// ```
#[track_caller]
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let driver = Driver::current();
    let [read, write] = children::pipe()?;
    let (read, write) = (
        Fd::from_number(read, &driver),
        Fd::from_number(write, &driver),
    );
    Ok((Sender::new(write, false), Receiver::new(read, false)))
}

/// Whether reads and writes of this descriptor may wait where the ring believes that they will
/// not: a terminal, or another device.
fn needs_worker(fd: &Fd) -> io::Result<bool> {
    let (mode, _) = sys::mode_and_len(fd)?;
    Ok(mode & libc::S_IFMT == libc::S_IFCHR)
}

/// The error of a conversion that would lose bytes or pull a descriptor from under an operation.
fn in_flight(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, what)
}
