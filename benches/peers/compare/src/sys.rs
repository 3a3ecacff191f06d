//! The system calls that the standard library does not have.

use std::io;
use std::time::Duration;

/// Where the contender runs.
pub(crate) const PEER_CPU: usize = 0;
/// Where everything else runs.
pub(crate) const LOAD_CPU: usize = 1;

/// Keeps the calling thread, and every process that it starts from now on, on these CPUs.
#[allow(unsafe_code)]
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = [0_u64; 16];
    for cpu in cpus {
        set[cpu / 64] |= 1 << (cpu % 64);
    }
    // SAFETY: the set is as long as said, and the call only reads it.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
    check(result)
}

/// User and system time of a process since it began: all of its threads, those that have ended and
/// the kernel's workers too, in nanoseconds.
#[allow(unsafe_code)]
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    // The clock of another process: `MAKE_PROCESS_CPUCLOCK` in the kernel; 2 is the scheduler's.
    let clock = (!(pid as libc::clockid_t) << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Takes this process into a network of its own, in which nothing is set up yet.
#[allow(unsafe_code)]
pub(crate) fn leave_network() -> io::Result<()> {
    // SAFETY: the call takes a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Asks a process to end.
#[allow(unsafe_code)]
pub(crate) fn terminate(pid: u32) -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    check(unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) })
}

/// Waits until the descriptor has something to read, or so long.
#[allow(unsafe_code)]
pub(crate) fn readable(fd: i32, limit: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: there is one entry, which lives until the call returns.
    let ready = unsafe { libc::poll(&raw mut entry, 1, limit.as_millis() as i32) };
    check(ready)?;
    Ok(ready > 0)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
