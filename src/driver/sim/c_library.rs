//! What the C library asks the system, answered by the simulation where a test crate wants it.

use super::here;
use std::mem::MaybeUninit;

#[doc(hidden)]
pub use libc::timespec as __Timespec;

/// The C library's `getrandom`, for threads that are inside of a simulation and those that are
/// not.
///
/// # Safety
/// As for the C function: `to` has room for `len` bytes.
#[doc(hidden)]
pub unsafe fn __getrandom(to: *mut u8, len: usize, flags: u32) -> isize {
    if !super::is_here() {
        // SAFETY: the caller's arguments, passed on to the kernel.
        return unsafe { libc::syscall(libc::SYS_getrandom, to, len, flags) } as isize;
    }
    // SAFETY: the caller of the C function vouches for `len` writable bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<u8>>(), len) };
    for chunk in bytes.chunks_mut(8) {
        let word = here().world.random_for_the_library().to_ne_bytes();
        for (to, byte) in chunk.iter_mut().zip(word) {
            to.write(byte);
        }
    }
    len as isize
}

/// The C library's `clock_gettime`, in the same way.
///
/// # Safety
/// As for the C function: `to` has room for a `timespec`.
#[doc(hidden)]
pub unsafe fn __clock_gettime(clock: i32, to: *mut libc::timespec) -> i32 {
    let simulated = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => clocks().map(|(_, wall)| wall),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => {
            clocks().map(|(now, _)| now)
        }
        _ => None,
    };
    let Some(nanos) = simulated else {
        // SAFETY: the caller's arguments, passed on to the kernel.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, to) } as i32;
    };
    let time = libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    };
    // SAFETY: the caller of the C function vouches for one writable `timespec`.
    unsafe { to.write(time) };
    0
}

/// The two clocks of the C library: since boot, and since the epoch.
fn clocks() -> Option<(u64, u64)> {
    super::is_here().then(|| {
        let world = here().world;
        (world.now(), world.wall())
    })
}
