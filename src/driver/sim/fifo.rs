//! Pipes within a host: a buffer, and two ends.
//!
//! As on Linux: a write of up to [`ATOMIC`] bytes happens as a whole or waits, a longer one takes
//! what there is room for; a read takes all that is there, up to its room; without a writer an
//! empty pipe is at its end, and without a reader a write fails. No signal is raised: Rust programs
//! ignore `SIGPIPE`.

use super::entry::Sqe;
use super::memory;
use super::state::{Object, State, What};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// Bytes that a pipe holds: 16 pages.
const CAPACITY: usize = 64 * 1024;
/// `PIPE_BUF`: up to so many bytes are written together.
const ATOMIC: usize = 4096;

/// One end of a pipe.
pub(super) struct PipeEnd {
    /// The pipe's.
    pub(super) number: u64,
    writes: bool,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    bytes: VecDeque<u8>,
    has_reader: bool,
    has_writer: bool,
}

/// The ends of a new pipe: to read from, to write to.
pub(super) fn pipe(number: u64) -> [PipeEnd; 2] {
    let shared = Rc::new(RefCell::new(Shared {
        bytes: VecDeque::new(),
        has_reader: true,
        has_writer: true,
    }));
    [false, true].map(|writes| PipeEnd {
        number,
        writes,
        shared: shared.clone(),
    })
}

impl PipeEnd {
    fn read(&self, room: usize) -> Result<Vec<u8>, i32> {
        if self.writes {
            return Err(libc::EBADF);
        }
        let mut shared = self.shared.borrow_mut();
        let n = shared.bytes.len().min(room);
        match n == 0 && room > 0 && shared.has_writer {
            true => Err(libc::EAGAIN),
            false => Ok(shared.bytes.drain(..n).collect()),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, i32> {
        if !self.writes {
            return Err(libc::EBADF);
        }
        let mut shared = self.shared.borrow_mut();
        if bytes.is_empty() {
            return Ok(0);
        }
        if !shared.has_reader {
            return Err(libc::EPIPE);
        }
        let room = CAPACITY - shared.bytes.len();
        if room < bytes.len().min(ATOMIC) && (bytes.len() <= ATOMIC || room == 0) {
            return Err(libc::EAGAIN);
        }
        let n = bytes.len().min(room);
        shared.bytes.extend(&bytes[..n]);
        Ok(n)
    }

    /// What `poll` reports.
    pub(super) fn ready(&self) -> i16 {
        let shared = self.shared.borrow();
        let table = match self.writes {
            true => [
                (shared.bytes.len() < CAPACITY, libc::POLLOUT),
                (!shared.has_reader, libc::POLLERR),
            ],
            false => [
                (!shared.bytes.is_empty(), libc::POLLIN),
                (!shared.has_writer, libc::POLLHUP),
            ],
        };
        let set = table.iter().filter(|(set, _)| *set);
        set.fold(0, |events, (_, event)| events | event)
    }

    /// The last descriptor of this end is gone.
    pub(super) fn close(&self) {
        let mut shared = self.shared.borrow_mut();
        match self.writes {
            true => shared.has_writer = false,
            false => shared.has_reader = false,
        }
    }
}

impl fmt::Display for PipeEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.writes { "writing" } else { "reading" };
        let bytes = self.shared.borrow().bytes.len();
        write!(f, "the {end} end of a pipe with {bytes} bytes in it")
    }
}

impl Object {
    /// The end of a pipe that this is.
    pub(super) fn pipe(&self) -> Option<&PipeEnd> {
        match &self.what {
            What::Pipe(end) => Some(end),
            What::Socket { .. } | What::File(_) | What::Signals => None,
        }
    }
}

impl State {
    pub(super) fn try_read_pipe(&mut self, sqe: &Sqe, file: &Object) -> Result<i32, i32> {
        let end = file.pipe().ok_or(libc::EBADF)?;
        let bytes = end.read(sqe.len as usize)?;
        memory::write(sqe.addr, &bytes);
        self.moved(file, bytes.len())
    }

    pub(super) fn try_write_pipe(&mut self, sqe: &Sqe, file: &Object) -> Result<i32, i32> {
        let end = file.pipe().ok_or(libc::EBADF)?;
        let n = end.write(&memory::read(sqe.addr, sqe.len as usize))?;
        self.moved(file, n)
    }

    /// The other end may go on.
    fn moved(&mut self, file: &Object, n: usize) -> Result<i32, i32> {
        if let Some(what) = file.watched().filter(|_| n > 0) {
            self.poke(what);
        }
        Ok(n as i32)
    }
}
