//! The plain system calls on child processes, on pipes, on the standard streams, and on descriptors
//! that go to other processes.
//!
//! They are part of the seam, as [`sys`](super::sys) is. A simulation has pipes, no processes and
//! no terminal, and passes no descriptors: these say `Unsupported` there, and nothing reaches the
//! real machine.

use super::fd::Number;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// Children that nobody waits for any more, and that had not ended when their runtime did. Whoever
/// starts the next child takes in those that have ended since.
static LEFT: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A child that has just been started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    /// Our ends of the pipes that were asked for: stdin, stdout, stderr.
    pub(crate) pipes: [Option<OwnedFd>; 3],
}

/// The answer of a simulation, which has no such thing: what to do instead.
fn only_real(what: &str, instead: &str) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if super::sim::is_here() {
        let what = format!("a simulation has no {what}: {instead}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    let _ = (what, instead);
    Ok(())
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Starts a child. It blocks until the new program runs, or the kernel has said why it cannot:
/// the standard library does it, by `posix_spawn(3)` where that is enough.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Spawned> {
    only_real(
        "child processes, only this program's own code runs in it",
        "let the code take a function that does what the child would, or make the child's work a \
         service on a host of its own",
    )?;
    reap_left();
    let mut child = command.spawn()?;
    let pidfd = match pidfd_open(child.id()) {
        Ok(pidfd) => pidfd,
        // It has ended, and its number may be another's by now: it must not be killed.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(taken_elsewhere()),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            let what = format!("no descriptor for the child, which was killed: {error}");
            return Err(io::Error::new(error.kind(), what));
        }
    };
    Ok(Spawned {
        pid: child.id(),
        pidfd,
        pipes: [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ],
    })
}

/// The end of a child is nobody's to wait for.
pub(crate) fn taken_elsewhere() -> io::Error {
    let what = "somebody else has taken the child's end in: this process ignores SIGCHLD, or some \
                part of it waits for any child";
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// A close-on-exec descriptor of a child (`pidfd_open(2)`).
pub(super) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor, touches no memory.
    let raw = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just given the number out, to this caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Sends a signal to the child itself, whatever its number is used for by now
/// (`pidfd_send_signal(2)`).
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (number, raw) = (libc::SYS_pidfd_send_signal, pidfd.as_raw_fd());
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no memory is named.
    check(unsafe { libc::syscall(number, raw, signal, no_info, 0) }).map(drop)
}

/// How the child has ended, if it has (`waitid(2)`). It is a zombie no longer, unless `keep`.
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>, keep: bool) -> io::Result<Option<ExitStatus>> {
    let id = pidfd.as_raw_fd() as libc::id_t;
    wait_now(libc::P_PIDFD, id, if keep { libc::WNOWAIT } else { 0 })
}

fn wait_now(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<ExitStatus>> {
    let mut info = no_info();
    let options = options | libc::WEXITED | libc::WNOHANG;
    // SAFETY: the kernel writes one siginfo.
    check(unsafe { libc::waitid(kind, id, &mut *info, options) }.into())?;
    Ok(exit_status(&info))
}

/// Room for what `waitid` says.
pub(crate) fn no_info() -> Box<libc::siginfo_t> {
    // SAFETY: an all-zero siginfo is a valid value.
    Box::new(unsafe { std::mem::zeroed() })
}

/// What `waitid` has said, in the words of the standard library.
pub(crate) fn exit_status(info: &libc::siginfo_t) -> Option<ExitStatus> {
    // SAFETY: the kernel fills in the fields of a child, or leaves all of them zero.
    if unsafe { info.si_pid() } == 0 {
        return None;
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Some(ExitStatus::from_raw(match info.si_code {
        libc::CLD_EXITED => (status & 0xff) << 8,
        libc::CLD_DUMPED => status | 0x80,
        _ => status,
    }))
}

/// Nobody will wait for this child: its end is taken in now, or when the next one is started.
pub(crate) fn leave(pid: u32) {
    LEFT.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(pid);
    reap_left();
}

fn reap_left() {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|&pid| matches!(wait_now(libc::P_PID, pid, 0), Ok(None)));
}

/// A pipe, both ends close-on-exec: to read from, to write to.
pub(crate) fn pipe() -> io::Result<[Number; 2]> {
    #[cfg(feature = "sim")]
    if super::sim::is_here() {
        return super::sim::calls::pipe().map(|ends| ends.map(Number::new));
    }
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two numbers.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok(ends.map(Number::new))
}

/// Whether descriptors can be passed through Unix sockets.
pub(crate) fn can_pass() -> io::Result<()> {
    only_real(
        "passing of descriptors",
        "what a receiver gets is the standard library's, which reaches the real machine; send a \
         path, or let the receiver connect for itself",
    )
}

/// Another, close-on-exec number of a standard stream: 0, 1 or 2. The number itself stays open
/// whatever happens to this one, and the flags of the open file, which other processes may share,
/// are left as they are.
pub(crate) fn standard_stream(number: RawFd) -> io::Result<Number> {
    only_real(
        "standard streams",
        "let the code take any reader and writer, and give it a pipe or `io::duplex` here",
    )?;
    // SAFETY: the number is not kept; where it is closed the kernel says so.
    let stream = unsafe { BorrowedFd::borrow_raw(number) };
    let duplicate = stream.try_clone_to_owned()?;
    Ok(Number::new(duplicate.into_raw_fd()))
}

/// Another, close-on-exec number of a descriptor that is not the runtime's; in a simulation, of one
/// of the simulation's own.
pub(crate) fn foreign(fd: BorrowedFd<'_>) -> io::Result<Number> {
    #[cfg(feature = "sim")]
    if super::sim::owns(fd.as_raw_fd()) {
        return super::sim::calls::duplicate(fd.as_raw_fd()).map(Number::new);
    }
    only_real(
        "descriptors of the real machine",
        "what reads them is outside of it; its own sockets and pipes can be watched",
    )?;
    let duplicate = fd.try_clone_to_owned()?;
    Ok(Number::new(duplicate.into_raw_fd()))
}

/// Keeps a write to a pipe without a reader from ending the process: for kernels that cannot be
/// told so with the write itself. Where the program ignores or handles `SIGPIPE`, as every Rust
/// program does unless it says otherwise, nothing is changed; else the signal is blocked on this
/// thread, for good.
pub(crate) fn hold_off_sigpipe() {
    // SAFETY: an all-zero action is a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads the action of a signal into it.
    let known = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) };
    if known == 0 && action.sa_sigaction != libc::SIG_DFL {
        return;
    }
    // SAFETY: an all-zero set is a valid value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes to the set alone.
    unsafe { libc::sigemptyset(&mut set) };
    // SAFETY: as above; the signal exists.
    unsafe { libc::sigaddset(&mut set, libc::SIGPIPE) };
    // SAFETY: reads the set, and changes this thread's mask.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}
