//! Writes among whose pieces there are parts of files: the kernel sends those from its own memory.
//!
//! The pieces come through code that knows nothing of it; a part shows by its address
//! ([`stand_in`]). What stands before it goes first, and both in one packet where they fit:
//! ```text
//!   [head, part, ..] ──sent past the queue (MSG_MORE)──► [part, ..] ──sendfile(2)──► ..
//!        └─ or by the queue ──────────────────────────►    ├ the queue is not empty: wait for it
//!                                                          ├ no room: wait for it (poll)
//!                                                          └ refused: read a piece, write that
//! ```
//! Rules:
//! 1. It never says that more was written than was.
//! 2. What goes past the queue has the same limit in a turn of the loop as every other write,
//!    except that a part that may begin may be finished: a rest of some bytes would cost the peer
//!    and us a packet.
//! 3. A file that has become shorter is an error, of which the connection cannot recover.

use super::sender::Sender;
use super::tcp::TcpStream;
use crate::buf::BufResult;
use crate::driver::stand_in::{self, FilePart};
use crate::driver::submit::Submit;
use crate::driver::{children, sys};
use crate::op::{Read, Readiness};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is read and written at a time where the kernel does not send files, in bytes: what the
/// queue takes at once.
const READ_BYTES_MAX: usize = 64 * 1024;

impl TcpStream {
    /// Prepares the connection for [`poll_write_files`](TcpStream::poll_write_files); whether it
    /// may send files at all. Not where only the ring may send.
    pub(crate) fn prepare_for_files(&self) -> bool {
        let fd = self.halves.tx.fd();
        let may = fd.driver().may_send_past_the_ring() && sys::set_nonblocking(fd).is_ok();
        if may {
            // `sendfile(2)` has no flag against it.
            children::hold_off_sigpipe();
        }
        may
    }

    /// As `poll_write_vectored`, where any piece may stand for a part of a file of this core. It
    /// is asked with the same first piece until that is taken.
    pub(crate) fn poll_write_files(
        &self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
        waiting: &mut Waiting,
    ) -> Poll<io::Result<usize>> {
        let parts = pieces
            .iter()
            .enumerate()
            .filter(|(_, piece)| !piece.is_empty());
        let mut parts = parts.map(|(at, piece)| (at, stand_in::find(piece)));
        match parts.find_map(|(at, part)| Some((at, part?))) {
            None => self.halves.tx.poll_write_vectored(cx, pieces),
            Some((at, part)) => {
                let (before, piece) = (&pieces[..at], &pieces[at]);
                match before.iter().all(|piece| piece.is_empty()) {
                    true => self.halves.tx.poll_write_part(cx, piece, &part, waiting),
                    false => self
                        .halves
                        .tx
                        .poll_write_head(cx, before, piece.len(), &part),
                }
            }
        }
    }
}

/// What the connection's first piece, a part of a file, waits for. It costs something only then.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Option<Box<Wait>>);

#[derive(Debug)]
struct Wait {
    /// Of the piece.
    address: *const u8,
    what: What,
}

#[derive(Debug)]
enum What {
    Room(Submit<Readiness>),
    Contents(Submit<Read<Vec<u8>>>),
}

/// How a part's wait has ended.
enum Woken {
    /// Perhaps there is room now.
    MayTry,
    Read(BufResult<usize, Vec<u8>>),
}

impl Waiting {
    /// How the wait of this piece has ended; of another one there is none.
    fn poll(&mut self, cx: &mut Context<'_>, piece: &[u8]) -> Poll<Woken> {
        let Some(wait) = self
            .0
            .as_mut()
            .filter(|wait| wait.address == piece.as_ptr())
        else {
            self.0 = None;
            return Poll::Ready(Woken::MayTry);
        };
        let woken = match &mut wait.what {
            // What is wrong with the socket shows when it is tried.
            What::Room(submit) => {
                let _ = ready!(Pin::new(submit).poll(cx));
                Woken::MayTry
            }
            What::Contents(submit) => Woken::Read(ready!(Pin::new(submit).poll(cx))),
        };
        self.0 = None;
        Poll::Ready(woken)
    }

    fn start(&mut self, piece: &[u8], what: What) {
        let address = piece.as_ptr();
        self.0 = Some(Box::new(Wait { address, what }));
    }
}

/// What came of giving a part to the kernel.
enum Given {
    Sent(usize),
    /// The socket has none, or this turn of the loop has not.
    NoRoom,
    /// The kernel sends no files, or not this one.
    Refused,
    Failed(io::Error),
}

impl Sender {
    /// Writes what stands before a part of a file, and with it as much of the part as goes at
    /// once.
    fn poll_write_head(
        &self,
        cx: &mut Context<'_>,
        head: &[io::IoSlice<'_>],
        part_len: usize,
        part: &FilePart,
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let len = head.iter().map(|piece| piece.len()).sum();
        let sent = match self.send_past(head, len, true) {
            None => return self.poll_write_vectored(cx, head),
            Some(sent) => sent?,
        };
        if sent < len {
            return Poll::Ready(Ok(sent));
        }
        match self.give(part, part_len) {
            Given::Sent(n) => Poll::Ready(Ok(sent + n)),
            // It is tried again alone, and says then what is the matter.
            Given::NoRoom | Given::Refused | Given::Failed(_) => Poll::Ready(Ok(sent)),
        }
    }

    /// Writes a part of a file, which stands first.
    fn poll_write_part(
        &self,
        cx: &mut Context<'_>,
        piece: &[u8],
        part: &FilePart,
        waiting: &mut Waiting,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        loop {
            match ready!(waiting.poll(cx, piece)) {
                Woken::Read((result, buf)) => match result {
                    Ok(0) => return Poll::Ready(Err(ended())),
                    Ok(n) => return self.poll_write(cx, &buf[..n.min(piece.len())]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Woken::MayTry => {}
            }
            let what = match self.give(part, piece.len()) {
                Given::Sent(n) => return Poll::Ready(Ok(n)),
                Given::Failed(error) => return Poll::Ready(Err(error)),
                Given::NoRoom => What::Room(self.wait_for_room()),
                Given::Refused => What::Contents(self.read(part, piece.len())),
            };
            waiting.start(piece, what);
        }
    }

    /// Gives the kernel as much of a part as it takes at once. Nothing waits in the queue.
    fn give(&self, part: &FilePart, len: usize) -> Given {
        if !self.fd().driver().may_send_past_the_ring() {
            return Given::Refused;
        }
        if self.room_past() == 0 {
            return Given::NoRoom;
        }
        match sys::sendfile(self.fd(), &part.file, part.at, len) {
            Ok(0) => Given::Failed(ended()),
            Ok(n) => {
                self.went_past(n);
                Given::Sent(n)
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Given::NoRoom,
                // A filter of system calls: it will not change its mind.
                Some(libc::EPERM | libc::ENOSYS) => {
                    stand_in::give_up();
                    Given::Refused
                }
                Some(libc::EINVAL | libc::EOPNOTSUPP) => Given::Refused,
                _ => {
                    self.fail(&error);
                    Given::Failed(error)
                }
            },
        }
    }

    /// Ends in a later turn of the loop, when the socket has room.
    fn wait_for_room(&self) -> Submit<Readiness> {
        Readiness::of(self.fd(), libc::POLLOUT)
    }

    fn read(&self, part: &FilePart, len: usize) -> Submit<Read<Vec<u8>>> {
        let op = Read {
            fd: part.file.clone(),
            buf: Vec::with_capacity(len.min(READ_BYTES_MAX)),
            offset: part.at,
        };
        Submit::new(self.fd().driver(), op)
    }
}

fn ended() -> io::Error {
    let what = "the file has become shorter while it was sent";
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}
