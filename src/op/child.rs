//! Waiting for the end of a child process.

use crate::driver::children;
use crate::driver::fd::Fd;
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use io_uring::{opcode, squeue};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitStatus;
use std::rc::Rc;

/// Waits until a child has ended, and takes its end in (`waitid`): it is no zombie then.
///
/// A drop in flight does not cancel it, so the end of a child that nobody waits for is taken in
/// too. Only the end of the runtime cancels it; then the child is [left](children::leave).
pub(crate) struct WaitChild {
    pidfd: Fd,
    pid: u32,
    info: Box<libc::siginfo_t>,
    /// Where the ring has no `waitid`: poll the descriptor, then ask.
    pub(crate) by_poll: bool,
    /// The child was told to die, so its end is near.
    killed: Rc<Cell<bool>>,
}

impl WaitChild {
    pub(crate) fn new(pidfd: Fd, pid: u32, killed: Rc<Cell<bool>>, by_poll: bool) -> WaitChild {
        WaitChild {
            pidfd,
            pid,
            info: children::no_info(),
            by_poll,
            killed,
        }
    }

    fn result(&self, cqe: Cqe) -> io::Result<ExitStatus> {
        cqe.count()?;
        let status = match self.by_poll {
            true => children::try_wait(self.pidfd.as_fd(), false)?,
            false => children::exit_status(&self.info),
        };
        // A debugger may have stopped in between.
        status.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }
}

// SAFETY: the siginfo has its own box, which the operation owns.
unsafe impl Op for WaitChild {
    fn prepare(&mut self) -> squeue::Entry {
        if self.by_poll {
            return opcode::PollAdd::new(self.pidfd.target(), libc::POLLIN as u32).build();
        }
        let id = self.pidfd.as_raw_fd() as libc::id_t;
        opcode::WaitId::new(libc::P_PIDFD, id, libc::WEXITED)
            .infop(&raw mut *self.info)
            .build()
    }

    fn cancel_on_drop(&self) -> bool {
        false
    }

    fn may_wait_for_ever(&self) -> bool {
        !self.killed.get()
    }
}

impl Single for WaitChild {
    /// How the child has ended, and the operation's parts again.
    type Output = (io::Result<ExitStatus>, WaitChild);

    fn complete(self, cqe: Cqe) -> (io::Result<ExitStatus>, WaitChild) {
        (self.result(cqe), self)
    }

    fn orphaned(self, cqe: Cqe) -> Option<WaitChild> {
        match self.result(cqe) {
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(self),
            Err(_) => {
                children::leave(self.pid);
                None
            }
        }
    }
}

impl std::fmt::Debug for WaitChild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WaitChild({})", self.pid)
    }
}
