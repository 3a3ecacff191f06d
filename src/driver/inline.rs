//! File operations that are performed on the spot, by plain system calls, where the builder has
//! asked for that ([`Builder::inline_files`](crate::Builder::inline_files)).
//!
//! The ring hands what makes a file, and every buffered write of most file systems, to a worker
//! thread. The way there costs latency, and the worker's CPU finds the bytes cold. But a call that
//! waits for the disk stops the core. So it is a matter of how long calls took lately:
//! ```text
//!   small, of a kind that is quick ──► system call ──► took over 1 ms: by the ring, ten times
//!                                          │            as long as it took
//!                                          └──► over 1 ms of them in this turn: by the ring
//! ```
//! What may always wait for the disk goes by the ring: to sync, to remove, to cut off or reserve,
//! and writes that are direct, synchronous, large, or at the file's own position (of a pipe).

use super::entry::Sqe;
use super::kernel::now;
use io_uring::{opcode, squeue};
use std::cell::Cell;
use std::io;

/// The largest write on the spot, in bytes.
const WRITE_BYTES_MAX: u32 = 128 * 1024;
/// A call that took longer has waited for something.
const SLOW_NANOS: u64 = 1_000_000;
/// For how many times as long nothing is performed on the spot after that: so no more than about
/// a tenth of a core's time is lost by waiting.
const PAUSE_TIMES: u64 = 10;
/// How much of one turn of the loop such calls may take.
const TURN_NANOS: u64 = 1_000_000;
/// `IOSQE_ASYNC`: a worker is wanted.
const ASYNC: u8 = 1 << 4;

/// What a core knows of its calls.
#[derive(Debug, Default)]
pub(super) struct Inline {
    turn: Cell<u64>,
    turn_nanos: Cell<u64>,
    /// Nothing before this time.
    resume_at: Cell<u64>,
    calls: Cell<u64>,
}

impl Inline {
    /// How many operations were performed here.
    pub(super) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Performs an operation, and says what the ring would say; `None` where it is the ring's.
    /// Its pointers are valid, as they would be in the ring.
    pub(super) fn perform(&self, entry: &squeue::Entry, turn: u64) -> Option<i32> {
        let sqe = Sqe::of(entry);
        if !is_quick(&sqe) {
            return None;
        }
        if self.turn.replace(turn) != turn {
            self.turn_nanos.set(0);
        }
        let begin = now();
        if self.turn_nanos.get() >= TURN_NANOS || begin < self.resume_at.get() {
            return None;
        }
        let result = call(&sqe);
        self.note(begin, now());
        let result = result?;
        self.calls.set(self.calls.get() + 1);
        Some(result)
    }

    fn note(&self, begin: u64, end: u64) {
        let nanos = end.saturating_sub(begin);
        self.turn_nanos.set(self.turn_nanos.get() + nanos);
        if nanos >= SLOW_NANOS {
            self.resume_at.set(end + nanos * PAUSE_TIMES);
        }
    }
}

/// Whether an operation is of a kind that the ring gives to a worker, though it is quick.
fn is_quick(sqe: &Sqe) -> bool {
    let makes = libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY;
    match sqe.opcode {
        _ if sqe.flags & ASYNC != 0 => false,
        opcode::OpenAt::CODE => sqe.op_flags as i32 & makes != 0,
        opcode::Write::CODE => sqe.len <= WRITE_BYTES_MAX && sqe.off != u64::MAX,
        opcode::Close::CODE
        | opcode::Statx::CODE
        | opcode::MkDirAt::CODE
        | opcode::LinkAt::CODE
        | opcode::SymlinkAt::CODE => true,
        opcode::RenameAt::CODE => sqe.op_flags == 0,
        _ => false,
    }
}

/// The system call that the entry stands for; `None` if it turns out to be one that may wait.
fn call(sqe: &Sqe) -> Option<i32> {
    let (first, second) = (
        sqe.addr as *const libc::c_char,
        sqe.off as *const libc::c_char,
    );
    let flags = sqe.op_flags as libc::c_int;
    // The second directory of those that take two.
    let other = sqe.len as libc::c_int;
    let result = match sqe.opcode {
        opcode::OpenAt::CODE => return open(sqe.fd, first, flags, sqe.len),
        opcode::Write::CODE => return write(sqe),
        // SAFETY: the number is the operation's own, and nobody uses it after this.
        opcode::Close::CODE => unsafe { libc::close(sqe.fd) },
        // SAFETY: the path ends with NUL, the answer has room; the operation owns both.
        opcode::Statx::CODE => unsafe {
            libc::statx(sqe.fd, first, flags, sqe.len, second.cast_mut().cast())
        },
        // SAFETY: the path ends with NUL, and the operation owns it.
        opcode::MkDirAt::CODE => unsafe { libc::mkdirat(sqe.fd, first, sqe.len) },
        // SAFETY: both paths end with NUL, and the operation owns them.
        opcode::RenameAt::CODE => unsafe { libc::renameat(sqe.fd, first, other, second) },
        // SAFETY: both paths end with NUL, and the operation owns them.
        opcode::LinkAt::CODE => unsafe { libc::linkat(sqe.fd, first, other, second, flags) },
        // SAFETY: both paths end with NUL, and the operation owns them.
        opcode::SymlinkAt::CODE => unsafe { libc::symlinkat(first, sqe.fd, second) },
        _ => return None,
    };
    Some(answer(result as isize))
}

/// Opens without waiting for the other end of a pipe, as the ring does first.
fn open(dir: i32, path: *const libc::c_char, flags: libc::c_int, mode: u32) -> Option<i32> {
    // SAFETY: the path ends with NUL, and the operation owns it.
    let result =
        answer(unsafe { libc::openat(dir, path, flags | libc::O_NONBLOCK, mode) } as isize);
    if result == -libc::EAGAIN {
        return None;
    }
    if result >= 0 && flags & libc::O_NONBLOCK == 0 {
        // Of these the call sets what may be set, and leaves how the file was opened.
        // SAFETY: touches no memory.
        let _ = unsafe { libc::fcntl(result, libc::F_SETFL, flags) };
    }
    Some(result)
}

fn write(sqe: &Sqe) -> Option<i32> {
    // SAFETY: touches no memory.
    let how = unsafe { libc::fcntl(sqe.fd, libc::F_GETFL) };
    if how < 0 || how & (libc::O_DIRECT | libc::O_SYNC | libc::O_DSYNC) != 0 {
        return None;
    }
    let (bytes, len) = (sqe.addr as *const libc::c_void, sqe.len as usize);
    // SAFETY: the operation owns so many bytes there.
    let result = answer(unsafe { libc::pwrite(sqe.fd, bytes, len, sqe.off as i64) });
    (result != -libc::EAGAIN).then_some(result)
}

/// What a completion says: the result, or the negative number of the error.
fn answer(result: isize) -> i32 {
    match result {
        -1 => -io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
        result => result as i32,
    }
}
