//! The standard streams, on the ring.
//!
//! Each is a duplicate of the process's descriptor, close-on-exec; the descriptor itself stays
//! open. Nothing is changed on the open file, which a shell and other processes share: no
//! `O_NONBLOCK`, no terminal settings. So a program may end while a read is pending, at any time,
//! and leaves the terminal as it was.
//!
//! They do not know the standard library's buffers: what `print!` holds back comes later than what
//! is written here, and bytes that one side has read ahead the other does not see. Use one or the
//! other. A simulation has none: there each gives `Unsupported`.

use crate::driver::fd::Fd;
use crate::driver::{Driver, children};
use crate::pipe::{Receiver, Sender};
use std::io;
use std::os::fd::RawFd;

/// What [`stdin`] returns: all that can be read from is one type.
pub type Stdin = Receiver;
/// What [`stdout`] returns: all that can be written to is one type.
pub type Stdout = Sender;
/// What [`stderr`] returns: all that can be written to is one type.
pub type Stderr = Sender;

fn duplicate(number: RawFd) -> io::Result<Fd> {
    let driver = Driver::current();
    let number = children::standard_stream(number)?;
    Ok(Fd::from_number(number, &driver))
}

/// The standard input, whatever it is: a pipe, a terminal, a file at its own position.
///
/// Each call makes a handle of its own, which reads ahead for itself: make one and keep it. A read
/// that waits holds no thread, except that of a terminal, for as long as a line takes to be copied.
///
/// # Errors
/// `EBADF` if the process was started without; `EMFILE`; `Unsupported` in a simulation.
///
/// # Panics
/// Outside of a runtime.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut lines = corering::io::BufReader::new(corering::stdio::stdin()?);
/// while let Some(line) = lines.next_line().await? {
///     println!("{line}");
/// }
/// # Ok(()) }
/// ```
#[track_caller]
pub fn stdin() -> io::Result<Stdin> {
    Receiver::of_any(duplicate(0)?)
}

/// The standard output.
///
/// What was written leaves by itself, in order. A program that ends at once after it should
/// [`flush`](Sender::flush): the end of the runtime waits for at most half of its
/// [grace](crate::Builder::shutdown_grace).
///
/// # Errors
/// `EBADF` if the process was started without; `EMFILE`; `Unsupported` in a simulation.
///
/// # Panics
/// Outside of a runtime.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut out = corering::stdio::stdout()?;
/// out.write_all(b"42\n").await?;
/// out.flush().await?;
/// # Ok(()) }
/// ```
#[track_caller]
pub fn stdout() -> io::Result<Stdout> {
    Sender::of_any(duplicate(1)?)
}

/// The standard error output; as [`stdout`], also in that it is written behind the caller's back.
///
/// # Errors
/// `EBADF` if the process was started without; `EMFILE`; `Unsupported` in a simulation.
///
/// # Panics
/// Outside of a runtime.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut err = corering::stdio::stderr()?;
/// err.write_all(b"it went wrong\n").await?;
/// err.flush().await?;
/// # Ok(()) }
/// ```
#[track_caller]
pub fn stderr() -> io::Result<Stderr> {
    Sender::of_any(duplicate(2)?)
}
