//! Which CPUs a thread may use.

use std::io;

/// As many CPUs as 64 times this.
const CPU_SET_WORDS: usize = 16;

/// The CPUs that this thread may use.
#[allow(unsafe_code)]
pub(crate) fn allowed() -> io::Result<Vec<usize>> {
    let mut set = [0_u64; CPU_SET_WORDS];
    // SAFETY: the set is as long as said.
    let len = unsafe { libc::sched_getaffinity(0, size_of_val(&set), set.as_mut_ptr().cast()) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_there = |cpu: &usize| set[cpu / 64] & (1 << (cpu % 64)) != 0;
    Ok((0..CPU_SET_WORDS * 64).filter(is_there).collect())
}

/// Keeps this thread, and what it starts, on one CPU.
#[allow(unsafe_code)]
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = [0_u64; CPU_SET_WORDS];
    set[cpu / 64] = 1 << (cpu % 64);
    // SAFETY: the set is as long as said, and the call only reads it.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
