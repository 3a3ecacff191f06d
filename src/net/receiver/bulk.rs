//! Much that comes for a reader with room for it: received straight into the reader's memory.
//!
//! hyper has memory of its own, so what the multishot receive brings is copied once more; at
//! 128 KiB a piece that is a tenth of what a large download costs. A reader that was given a large
//! piece, and has room for another, is served by plain receives that do not wait; what waits
//! between them is a poll, which holds no buffer.
//! ```text
//!   Multi ──large piece──► Stopping ──cancelled, all of it read──► Try ──► the reader's memory
//!     ▲                                                            │ ▲
//!     └────────── a read with less room ◄──────────── nothing there▼ │ something has come
//!                                                                 Wait
//! ```

use super::{Mode, Receiver};
use crate::driver::submit::Submit;
use crate::driver::sys;
use crate::op::{Readiness, Received};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A piece of so many bytes says that much is coming.
const PIECE_BYTES_MIN: usize = 64 * 1024;
/// A reader with less room is served from the core's buffers. hyper asks for less when little has
/// come twice in a row.
const ROOM_BYTES_MIN: usize = 32 * 1024;

/// What such a reader waits for.
pub(super) enum Bulk {
    /// The end of the multishot receive, which is being cancelled.
    Stopping,
    /// Nothing: the socket is asked next.
    Try,
    /// Something to come.
    Wait(Box<Submit<Readiness>>),
}

impl Receiver {
    /// Puts some of what comes into hyper's memory; nothing at the end.
    pub(in super::super) fn poll_cursor(
        &mut self,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = cursor.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        if room >= ROOM_BYTES_MIN && ready!(self.poll_direct(cx, &mut cursor))? {
            return Poll::Ready(Ok(()));
        }
        let chunk = ready!(self.poll_fill(cx))?;
        let n = chunk.len().min(room);
        cursor.put_slice(&chunk[..n]);
        self.consume(n);
        if n >= PIECE_BYTES_MIN {
            self.begin_bulk();
        }
        Poll::Ready(Ok(()))
    }

    fn begin_bulk(&mut self) {
        if matches!(self.mode, Mode::Multi) && self.driver().may_call_past_the_ring() {
            self.armed.cancel();
            self.mode = Mode::Bulk(Bulk::Stopping);
        }
    }

    /// Whether the reader's memory has got something; `false` where it is to be served otherwise.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        cursor: &mut hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        while let (Mode::Bulk(bulk), None) = (&mut self.mode, &self.current) {
            match bulk {
                // The runtime has ended meanwhile, or this is a child of its process.
                Bulk::Try if !self.armed.driver().may_call_past_the_ring() => {
                    self.mode = Mode::Multi;
                }
                Bulk::Stopping if !self.armed.is_armed() => *bulk = Bulk::Try,
                Bulk::Stopping => match ready!(self.armed.poll_next(cx)) {
                    Some(Received::Data(chunk)) => self.current = Some(chunk),
                    Some(Received::Eof) => self.mode = Mode::End,
                    Some(Received::Failed(error)) => return Poll::Ready(Err(error)),
                    Some(Received::Paused { .. }) | None => {}
                },
                Bulk::Try => match sys::recv_now(self.fd(), cursor) {
                    Ok(0) => self.mode = Mode::End,
                    Ok(_) => return Poll::Ready(Ok(true)),
                    Err(error) => self.after_nothing(error)?,
                },
                Bulk::Wait(submit) => {
                    // An error shows in the receive, too.
                    let _ = ready!(Pin::new(&mut **submit).poll(cx));
                    *bulk = Bulk::Try;
                }
            }
        }
        Poll::Ready(Ok(false))
    }

    /// What comes next where the socket gave nothing.
    fn after_nothing(&mut self, error: io::Error) -> io::Result<()> {
        self.mode = match error.kind() {
            io::ErrorKind::WouldBlock => {
                Mode::Bulk(Bulk::Wait(Box::new(Readiness::of(self.fd(), libc::POLLIN))))
            }
            io::ErrorKind::Interrupted => Mode::Bulk(Bulk::Try),
            // A filter of system calls lets only the ring receive.
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => Mode::Multi,
            _ => return Err(error),
        };
        Ok(())
    }
}
