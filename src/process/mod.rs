//! Child processes: starting them, talking to them, and waiting for their end.
//!
//! A [`Command`] is the standard library's, and starts a child the same way. What waits is the
//! ring's: the pipes are read and written by it ([`pipe`](crate::pipe)), and the end of the child
//! is an operation (`IORING_OP_WAITID`, Linux 6.7; before that a poll of its descriptor). There is
//! no helper thread and no handler of `SIGCHLD`.
//!
//! ```text
//!   Command ── spawn ──► Child ── wait ──► ExitStatus
//!                         │ drop
//!                         ├── kill_on_drop: SIGKILL ─┐
//!                         └─────────────────────────►┴─► its end is taken in by the operation
//! ```
//! No zombie is left: the end of a child whose [`Child`] was dropped is taken in too. Children that
//! are still alive when the runtime ends live on; their ends are taken in when the process starts
//! the next child, or, when it ends itself, by `init`.
//!
//! Two things are for the whole process to decide, and not for a library: if it ignores `SIGCHLD`
//! or waits for any child (`waitpid(-1)`), the end of a child may be taken in elsewhere, and
//! waiting for it fails with an error that says so.
//!
//! A simulation has no processes: there [`Command::spawn`] gives `Unsupported`.

mod child;
mod command;

pub use child::Child;
pub use command::Command;
pub use std::process::{ExitStatus, Output, Stdio};

/// A child's standard input: all that can be written to is one type.
pub type ChildStdin = crate::pipe::Sender;
/// A child's standard output: all that can be read from is one type.
pub type ChildStdout = crate::pipe::Receiver;
/// A child's standard error output: all that can be read from is one type.
pub type ChildStderr = crate::pipe::Receiver;
