//! What a connection is doing, seen from outside of hyper: by its reads, its requests and answers.

use super::server::Limits;
use crate::net::{TcpStream, Waiting};
use crate::time::Instant;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request has come since.
    Idle(Instant),
    /// A request has begun, and its headers are not complete.
    Head(Instant),
    /// Requests are being answered.
    Busy,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    phase: Cell<Phase>,
    /// hyper has bytes that the socket does not take yet; perhaps of an answer whose body is
    /// dropped. `write_time` is their limit.
    stuck: Cell<bool>,
    /// The connection can send parts of files that their stand-ins name.
    sends_files: bool,
}

impl Watch {
    pub(super) fn new(sends_files: bool) -> Watch {
        Watch {
            phase: Cell::new(Phase::Idle(Instant::now())),
            stuck: Cell::new(false),
            sends_files,
        }
    }

    pub(super) fn sends_files(&self) -> bool {
        self.sends_files
    }

    fn has_read(&self) {
        if let Phase::Idle(_) = self.phase.get() {
            self.phase.set(Phase::Head(Instant::now()));
        }
    }

    /// A write was tried. The time of what comes next begins when the answer has left.
    fn has_written(&self, taken: bool) {
        if self.stuck.replace(!taken) && taken {
            match self.phase.get() {
                Phase::Idle(_) => self.phase.set(Phase::Idle(Instant::now())),
                Phase::Head(_) => self.phase.set(Phase::Head(Instant::now())),
                Phase::Busy => {}
            }
        }
    }

    /// A request is complete; its answer is under way until the mark is dropped.
    pub(super) fn busy(self: &Rc<Self>) -> Busy {
        self.phase.set(Phase::Busy);
        Busy(self.clone())
    }

    /// Until when the connection may go on like this.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.phase.get() {
            _ if self.stuck.get() => None,
            Phase::Idle(since) => Some(since + limits.idle_time),
            Phase::Head(since) => Some(since + limits.header_time),
            Phase::Busy => None,
        }
    }
}

/// An answer is under way. (hyper answers one request of a connection at a time.)
#[derive(Debug)]
pub(super) struct Busy(Rc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.phase.set(Phase::Idle(Instant::now()));
    }
}

/// A stream whose reads are watched, and whose writes may contain stand-ins for parts of files.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    watch: Rc<Watch>,
    waiting: Waiting,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, watch: Rc<Watch>) -> Watched {
        let waiting = Waiting::default();
        Watched {
            stream,
            watch,
            waiting,
        }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl hyper::rt::Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.as_mut().stream().poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            self.watch.has_read();
        }
        read
    }
}

impl hyper::rt::Write for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = if this.watch.sends_files {
            this.stream.poll_write_files(cx, bufs, &mut this.waiting)
        } else {
            let stream = Pin::new(&mut this.stream);
            hyper::rt::Write::poll_write_vectored(stream, cx, bufs)
        };
        this.watch.has_written(wrote.is_ready());
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_flush(self.stream(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        hyper::rt::Write::poll_shutdown(self.stream(), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_deadline() {
        let limits = Limits::default();
        let watch = Rc::new(Watch::new(false));
        let start = Instant::now();
        let until = |watch: &Watch| watch.deadline(&limits).map(|at| at.duration_since(start));
        assert!(until(&watch).unwrap() <= limits.idle_time);
        watch.has_read();
        let head = until(&watch).unwrap();
        assert!(head >= limits.header_time && head < limits.idle_time);
        watch.has_read();
        assert_eq!(until(&watch), Some(head), "more bytes give no more time");
        let busy = watch.busy();
        watch.has_read();
        assert_eq!(until(&watch), None);
        drop(busy);
        assert!(until(&watch).unwrap() >= limits.idle_time);
    }
}
