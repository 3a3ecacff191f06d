//! A child that was started.
//!
//! ```text
//!   no status ──wait──► WAITID in flight ──► status
//!       │ drop               │ drop
//!       ▼                    ▼
//!   ended: taken in now   the operation goes on by itself, and takes the end in
//!   else:  WAITID, dropped in flight ──► (as above)
//! ```

use super::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use crate::driver::Driver;
use crate::driver::children::{self, Spawned};
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::op::WaitChild;
use crate::pipe::{Receiver, Sender};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// A child process; made by [`Command::spawn`](super::Command::spawn).
///
/// Dropping it lets the child run on, unless it was started with
/// [`kill_on_drop`](super::Command::kill_on_drop); its end is taken in either way, so that no
/// zombie is left.
///
/// ```
/// use corering::process::{Child, Command, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let child: Child = Command::new("sort")
///         .stdin(Stdio::piped())
///         .stdout(Stdio::piped())
///         .spawn()?;
///     let output = child.communicate("b\na\n").await?;
///     assert_eq!(output.stdout, b"a\nb\n");
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct Child {
    /// What the child reads from, if `Stdio::piped()` was asked for. Take it out to keep it beyond
    /// a [`wait`](Child::wait), which closes it.
    pub stdin: Option<ChildStdin>,
    /// What the child writes, if `Stdio::piped()` was asked for.
    pub stdout: Option<ChildStdout>,
    /// What the child complains, if `Stdio::piped()` was asked for.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

/// The process itself, apart from its pipes.
struct Process {
    pidfd: Fd,
    pid: u32,
    /// How it has ended: known once its end is taken in.
    status: Option<ExitStatus>,
    waiting: Option<Submit<WaitChild>>,
    /// The ring has no `waitid` here, or none for this runtime.
    by_poll: bool,
    kill_on_drop: bool,
    /// It was told to die, so that the end of the runtime waits for its end.
    killed: Rc<Cell<bool>>,
}

impl Child {
    pub(super) fn new(spawned: Spawned, kill_on_drop: bool, driver: &Driver) -> Child {
        let fd = |pipe: OwnedFd| Fd::new(pipe, driver);
        let [stdin, stdout, stderr] = spawned.pipes.map(|pipe| pipe.map(fd));
        Child {
            stdin: stdin.map(|pipe| Sender::new(pipe, false)),
            stdout: stdout.map(|pipe| Receiver::new(pipe, false)),
            stderr: stderr.map(|pipe| Receiver::new(pipe, false)),
            process: Process {
                pidfd: Fd::new(spawned.pidfd, driver),
                pid: spawned.pid,
                status: None,
                waiting: None,
                by_poll: false,
                kill_on_drop,
                killed: Rc::default(),
            },
        }
    }

    /// The number of the process, as long as it means this child: `None` once its end is known.
    pub fn id(&self) -> Option<u32> {
        self.process.status.is_none().then_some(self.process.pid)
    }

    /// Waits for the child's end (`IORING_OP_WAITID`). Closes its standard input first, so that a
    /// child that reads to the end comes to one. Further calls give the same answer at once.
    ///
    /// A child that writes more than a pipe holds (64 KiB) waits until somebody reads: take
    /// [`wait_with_output`](Child::wait_with_output), or read beside this.
    ///
    /// # Errors
    /// `NotFound`, with an explanation, if somebody else has taken the child's end in.
    ///
    /// # Cancel safety
    /// Safe: the next call gives the answer.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        poll_fn(|cx| self.process.poll_wait(cx)).await
    }

    /// How the child has ended, if it has; does not wait.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Tells the child to die (`SIGKILL`), and waits until it has.
    ///
    /// # Errors
    /// `PermissionDenied` if it runs as somebody else; as [`wait`](Child::wait).
    ///
    /// # Cancel safety
    /// Safe: the signal was sent.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Tells the child to die (`SIGKILL`); does not wait. A child that has ended already is fine.
    ///
    /// # Errors
    /// `PermissionDenied` if it runs as somebody else.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Asks the child to end (`SIGTERM`), which it may do in its own time, or not.
    ///
    /// # Errors
    /// `PermissionDenied` if it runs as somebody else.
    pub fn terminate(&mut self) -> io::Result<()> {
        self.send_signal(libc::SIGTERM)
    }

    /// Sends the child a signal, through its descriptor: never to another process that has its
    /// number by now. A child that has ended already is fine.
    ///
    /// # Errors
    /// `InvalidInput` for what is no signal; `PermissionDenied` if it runs as somebody else.
    pub fn send_signal(&mut self, signal: i32) -> io::Result<()> {
        self.process.send_signal(signal)
    }

    /// Reads what the child writes to the pipes that were asked for, both whole in memory and both
    /// at once, until their ends, and waits for the child's. Closes its standard input first.
    ///
    /// A grandchild that has inherited a pipe keeps it open: this waits for it, too.
    ///
    /// # Errors
    /// What reading a pipe says; as [`wait`](Child::wait).
    ///
    /// # Cancel safety
    /// Not safe: it drops the child, and what was read.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        self.talk(&[]).await
    }

    /// Writes `input` to the child, closes its standard input, and does what
    /// [`wait_with_output`](Child::wait_with_output) does, all at once: neither side can wait for
    /// the other, however much goes through in whatever order. A child that does not read all of
    /// its input is fine.
    ///
    /// # Errors
    /// `InvalidInput` if there is input, but `stdin` was not piped or taken out; what reading a
    /// pipe says; as [`wait`](Child::wait).
    ///
    /// # Cancel safety
    /// Not safe: it drops the child, and what was read.
    pub async fn communicate(self, input: impl AsRef<[u8]>) -> io::Result<Output> {
        let input = input.as_ref();
        if self.stdin.is_none() && !input.is_empty() {
            let what = "there is input, but no pipe to the child: add `.stdin(Stdio::piped())`";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        self.talk(input).await
    }

    async fn talk(mut self, input: &[u8]) -> io::Result<Output> {
        let write = write_all(self.stdin.take(), input);
        let read = both(read_all(self.stdout.take()), read_all(self.stderr.take()));
        let (written, (stdout, stderr)) = both(write, read).await;
        written?;
        Ok(Output {
            status: self.wait().await?,
            stdout: stdout?,
            stderr: stderr?,
        })
    }
}

async fn write_all(pipe: Option<ChildStdin>, input: &[u8]) -> io::Result<()> {
    let Some(mut pipe) = pipe else {
        return Ok(());
    };
    let written = match pipe.write_all(input).await {
        Ok(()) => pipe.close().await,
        error => error,
    };
    match written {
        // It has ended, or reads no further.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

async fn read_all(pipe: Option<Receiver>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut all).await?;
    }
    Ok(all)
}

/// Awaits two futures at once.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_output, mut b_output) = (None, None);
    poll_fn(|cx| {
        poll_into(a.as_mut(), &mut a_output, cx);
        poll_into(b.as_mut(), &mut b_output, cx);
        match (a_output.is_some(), b_output.is_some()) {
            (true, true) => Poll::Ready(a_output.take().zip(b_output.take())),
            _ => Poll::Pending,
        }
    })
    .await
    .expect("both are there")
}

fn poll_into<F: Future>(future: Pin<&mut F>, output: &mut Option<F::Output>, cx: &mut Context<'_>) {
    if output.is_none() {
        if let Poll::Ready(value) = future.poll(cx) {
            *output = Some(value);
        }
    }
}

impl Process {
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        loop {
            if let Some(status) = self.status {
                return Poll::Ready(Ok(status));
            }
            let waiting = self.waiting.get_or_insert_with(|| {
                let (pidfd, killed) = (self.pidfd.clone(), self.killed.clone());
                let op = WaitChild::new(pidfd, self.pid, killed, self.by_poll);
                Submit::new(self.pidfd.driver(), op)
            });
            let (result, op) = ready!(Pin::new(waiting).poll(cx));
            self.waiting = None;
            match result {
                Ok(status) => self.status = Some(status),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The ring has no such operation; it can always poll.
                Err(error) if error.raw_os_error().is_none() && !op.by_poll => self.by_poll = true,
                Err(error) => return Poll::Ready(Err(explain(error))),
            }
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        if self.waiting.is_none() {
            self.status = children::try_wait(self.pidfd.as_fd(), false).map_err(explain)?;
            return Ok(self.status);
        }
        // The operation takes the end in, and may have done so: its answer is the only one then.
        match self.poll_wait(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.map(Some),
            // Taken in, and the completion is on its way; or not ended.
            Poll::Pending => match children::try_wait(self.pidfd.as_fd(), true) {
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
                result => result,
            },
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.send_signal(libc::SIGKILL)?;
        self.killed.set(true);
        Ok(())
    }

    fn send_signal(&mut self, signal: i32) -> io::Result<()> {
        if self.status.is_some() {
            return Ok(());
        }
        match children::send_signal(self.pidfd.as_fd(), signal) {
            // It has ended, and its end is about to be taken in.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }
}

fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ECHILD) => children::taken_elsewhere(),
        _ => error,
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        if self.kill_on_drop {
            // One that runs as somebody else lives on.
            let _ = self.kill();
        }
        // An operation that is in flight goes on; otherwise one is begun, and dropped in flight.
        if self.waiting.is_none() && matches!(self.try_wait(), Ok(None)) {
            let cx = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(Err(_)) = self.poll_wait(cx) {
                children::leave(self.pid);
            }
        }
    }
}

impl AsFd for Child {
    /// The child's descriptor (`pidfd_open(2)`), readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid)
            .field("status", &self.status)
            .field("kill_on_drop", &self.kill_on_drop)
            .finish_non_exhaustive()
    }
}
