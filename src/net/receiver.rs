//! The receiving half of a stream: a multishot receive that the stream owns, and what it brought.
//!
//! ```text
//!   Idle ──first poll──► Armed ──data──► chunks queue in the slot, up to a cap
//!                          │  ▲                     └─ beyond it: stopped; armed anew when read
//!            no buffers    ▼  │ buffers came back
//!                        InLine ──patience over──► Heap (one receive into own memory) ──► Idle
//!                                                   ▲
//!   Ready (too much such memory is in use: it waits for bytes first)
//!   Late: a `read_owned` was dropped in flight; what it receives is the next chunk
//!   WithFds: one receive that takes descriptors along; who reads without asking drops those
//!   Bulk: nothing is in flight; a reader with much room asks the socket itself (`bulk`)
//! ```
//! Only one receive of a stream is in flight at a time: two would complete in any order.

#[cfg(feature = "hyper")]
mod bulk;

use super::datagram::fds_lost;
use super::owned_read::LateRead;
use crate::driver::Driver;
use crate::driver::buf_ring::{Group, RecvBuf};
use crate::driver::fd::Fd;
use crate::driver::limits::Lent;
use crate::driver::operations::Failure;
use crate::driver::starved::{Place, Turn};
use crate::driver::submit::{Submit, SubmitMulti};
use crate::op::{CONTROL_OF_FDS, Readiness, Received, RecvHeap, RecvMsg, RecvMulti};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What a receive into the heap takes at most, in bytes.
const HEAP_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Receiver {
    armed: SubmitMulti<RecvMulti>,
    /// What was received but not wholly read.
    current: Option<RecvBuf>,
    mode: Mode,
    /// In the line of those who found no buffer: taken in the mode `InLine`, and kept until bytes
    /// have come. Boxed: who always finds one shall not be larger for it.
    place: Option<Box<Place>>,
}

/// What is rare is boxed: an idle stream shall not be larger for it.
enum Mode {
    /// The multishot receive, armed or not.
    Multi,
    InLine,
    Heap(Box<Submit<RecvHeap>>),
    /// Until something has come, so that no memory waits for it.
    Ready(Box<Submit<Readiness>>),
    WithFds(Box<Submit<RecvMsg>>),
    Late(Box<dyn LateRead>),
    #[cfg(feature = "hyper")]
    Bulk(bulk::Bulk),
    /// A `read_owned` is in flight; seen by another read only if it was forgotten.
    Lent,
    /// The peer sends no more.
    End,
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mode::Multi => "Multi",
            Mode::InLine => "InLine",
            Mode::Heap(_) => "Heap",
            Mode::Ready(_) => "Ready",
            Mode::WithFds(_) => "WithFds",
            Mode::Late(_) => "Late",
            #[cfg(feature = "hyper")]
            Mode::Bulk(_) => "Bulk",
            Mode::Lent => "Lent",
            Mode::End => "End",
        })
    }
}

impl Receiver {
    pub(super) fn new(fd: Fd) -> Receiver {
        let driver = fd.driver().clone();
        Receiver {
            armed: SubmitMulti::new(&driver, RecvMulti { fd }),
            current: None,
            mode: Mode::Multi,
            place: None,
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.armed.op().fd
    }

    fn driver(&self) -> &Driver {
        self.armed.driver()
    }

    /// The next chunk; `None` at the end.
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        let Some(mut chunk) = (match self.current.take() {
            Some(chunk) => Some(chunk),
            None => ready!(self.poll_chunk(cx))?,
        }) else {
            return Poll::Ready(Ok(None));
        };
        // Neighbours in the same memory become one chunk, for one send instead of several.
        while self.armed.has_ready() {
            match self.poll_chunk(cx) {
                Poll::Ready(Ok(Some(next))) => {
                    if let Err(next) = chunk.unsplit(next) {
                        self.current = Some(next);
                        break;
                    }
                }
                // An end or an error comes again, with the next call.
                Poll::Ready(Ok(None)) | Poll::Pending => break,
                Poll::Ready(Err(error)) => {
                    self.keep_error(&error);
                    break;
                }
            }
        }
        Poll::Ready(Ok(Some(chunk)))
    }

    /// An error that was found behind a chunk: the kernel has reported it, and will not again.
    fn keep_error(&mut self, error: &io::Error) {
        self.mode = Mode::Late(Box::new(KeptError(Failure::of_error(error))));
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        loop {
            match &mut self.mode {
                Mode::Multi => {
                    if !self.armed.is_armed() && !self.may_arm() {
                        continue;
                    }
                    if let Some(chunk) = ready!(self.poll_multi(cx))? {
                        return Poll::Ready(Ok(Some(chunk)));
                    }
                }
                Mode::InLine => {
                    let place = self.place.get_or_insert_default();
                    let turn = ready!(self.armed.driver().poll_buffers(place, cx));
                    self.mode = match turn {
                        Turn::Buffers => Mode::Multi,
                        Turn::Heap => self.heap_receive(),
                    };
                    if turn == Turn::Buffers {
                        // Not asked again whether buffers are there: it was this one's turn.
                        let _ = ready!(self.poll_multi(cx));
                    }
                }
                Mode::Heap(submit) => {
                    let (result, bytes) = ready!(Pin::new(submit).poll(cx));
                    self.mode = Mode::Multi;
                    match &result {
                        // Cancelled by a `read_owned` that was dropped before it began.
                        Err(error) if is_cancelled(error) => {}
                        _ => return Poll::Ready(result.map(|_| self.taken(bytes.into()))),
                    }
                }
                Mode::WithFds(submit) => {
                    let result = ready!(Pin::new(submit).poll(cx));
                    self.mode = Mode::Multi;
                    match result {
                        Err(error) if is_cancelled(&error) => {}
                        Err(error) => return Poll::Ready(Err(error)),
                        Ok(message) => return Poll::Ready(Ok(self.taken(message.bytes))),
                    }
                }
                Mode::Ready(submit) => {
                    // An error shows in the receive, too.
                    let _ = ready!(Pin::new(submit).poll(cx));
                    let lent = self.driver().heap_receives().lend_anyway(HEAP_BYTES);
                    self.mode = self.heap_receive_with(lent);
                }
                // What is still in flight of the multishot receive is read by it.
                #[cfg(feature = "hyper")]
                Mode::Bulk(_) => self.mode = Mode::Multi,
                Mode::Lent => return Poll::Ready(Err(forgotten())),
                Mode::End => return Poll::Ready(Ok(None)),
                Mode::Late(late) => {
                    let result = ready!(late.poll_late(cx));
                    self.mode = Mode::Multi;
                    match result {
                        Err(error) if is_cancelled(&error) => {}
                        Err(error) => return Poll::Ready(Err(error)),
                        Ok(bytes) => return Poll::Ready(Ok(self.taken(bytes.into()))),
                    }
                }
            }
        }
    }

    /// What came outside of the multishot receive; nothing is the end.
    fn taken(&mut self, bytes: RecvBuf) -> Option<RecvBuf> {
        self.served();
        if bytes.is_empty() {
            self.mode = Mode::End;
            return None;
        }
        Some(bytes)
    }

    /// Bytes have come: the next time, it waits behind all others.
    fn served(&mut self) {
        if let Some(place) = self.place.take() {
            debug_assert!(!place.is_in_line(), "only who is not in line is served");
        }
    }

    /// Whether buffers are there for the multishot receive; sets the mode if not.
    fn may_arm(&mut self) -> bool {
        match self
            .driver()
            .with_pool(Group::Streams, |pool| pool.available() > 0)
        {
            Some(true) => return true,
            Some(false) => self.mode = Mode::InLine,
            None => self.mode = self.heap_receive(),
        }
        false
    }

    /// A receive into the heap; or, where the core's limit allows no more of them to wait, what
    /// comes before it.
    fn heap_receive(&self) -> Mode {
        let driver = self.driver();
        match driver.heap_receives().lend(HEAP_BYTES) {
            Some(lent) => self.heap_receive_with(lent),
            None => Mode::Ready(Box::new(Readiness::of(self.fd(), libc::POLLIN))),
        }
    }

    fn heap_receive_with(&self, lent: Lent) -> Mode {
        let driver = self.driver();
        driver.note_heap_receive();
        let op = RecvHeap::new(self.fd().clone(), HEAP_BYTES, lent);
        Mode::Heap(Box::new(Submit::new(driver, op)))
    }

    /// The next chunk of the multishot receive; `None` when something else is to be done first.
    fn poll_multi(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RecvBuf>>> {
        match ready!(self.armed.poll_next(cx)) {
            Some(Received::Data(chunk)) => {
                self.served();
                Poll::Ready(Ok(Some(chunk)))
            }
            Some(Received::Eof) => {
                self.mode = Mode::End;
                Poll::Ready(Ok(None))
            }
            Some(Received::Paused { starved: true }) => {
                self.mode = Mode::InLine;
                // Nothing follows a completion that says so; the slot is freed by this poll.
                let _ = self.armed.poll_next(cx);
                Poll::Ready(Ok(None))
            }
            // Stopped because the reader was slow, or ended by the kernel: armed anew.
            Some(Received::Paused { starved: false }) | None => Poll::Ready(Ok(None)),
            Some(Received::Failed(error)) => Poll::Ready(Err(error)),
        }
    }

    /// Copies what there is to `buf`; 0 at the end, or for an empty `buf`.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut n = 0;
        while n < buf.len() {
            if n > 0 && self.current.is_none() && !self.armed.has_ready() {
                break;
            }
            let chunk = match self.poll_fill(cx) {
                Poll::Ready(Ok(chunk)) => chunk,
                Poll::Ready(Err(error)) if n > 0 => {
                    self.keep_error(&error);
                    break;
                }
                _ if n > 0 => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            };
            if chunk.is_empty() {
                break;
            }
            let take = chunk.len().min(buf.len() - n);
            buf[n..n + take].copy_from_slice(&chunk[..take]);
            n += take;
            self.consume(take);
        }
        Poll::Ready(Ok(n))
    }

    /// Lends what is there, without a copy; empty at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.current.is_none() {
            self.current = ready!(self.poll_chunk(cx))?;
        }
        Poll::Ready(Ok(self.current.as_deref().unwrap_or_default()))
    }

    /// Takes `n` bytes off what was lent.
    pub(super) fn consume(&mut self, n: usize) {
        if let Some(chunk) = &mut self.current {
            chunk.advance(n);
            if chunk.is_empty() {
                self.current = None;
            }
        }
    }

    /// What waits to be read, if the first poll of a receive would find it.
    pub(super) fn current_mut(&mut self) -> &mut Option<RecvBuf> {
        &mut self.current
    }

    /// Ready once no receive is in flight. What comes in the meantime is kept for the next read;
    /// then this is ready too, with `true`: something is there to be read.
    pub(super) fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.current.is_some() || matches!(self.mode, Mode::End) {
            return Poll::Ready(Ok(true));
        }
        self.armed.cancel();
        while self.armed.is_armed() {
            match ready!(self.armed.poll_next(cx)) {
                Some(Received::Data(chunk)) => {
                    self.current = Some(chunk);
                    return Poll::Ready(Ok(true));
                }
                Some(Received::Eof) => {
                    self.mode = Mode::End;
                    return Poll::Ready(Ok(true));
                }
                Some(Received::Paused { .. }) | None => {}
                Some(Received::Failed(error)) => return Poll::Ready(Err(error)),
            }
        }
        let settled = match &mut self.mode {
            Mode::Multi => return Poll::Ready(Ok(false)),
            Mode::End => return Poll::Ready(Ok(true)),
            Mode::InLine => {
                self.leave_line();
                Ok(None)
            }
            Mode::Heap(submit) => {
                submit.cancel();
                let (result, bytes) = ready!(Pin::new(submit).poll(cx));
                result.map(|_| Some(bytes.into()))
            }
            Mode::WithFds(submit) => {
                submit.cancel();
                ready!(Pin::new(submit).poll(cx)).map(|message| Some(message.bytes))
            }
            Mode::Ready(_) => Ok(None),
            #[cfg(feature = "hyper")]
            Mode::Bulk(_) => Ok(None),
            Mode::Lent => return Poll::Ready(Err(forgotten())),
            // It was cancelled when it was adopted.
            Mode::Late(late) => ready!(late.poll_late(cx)).map(|bytes| Some(bytes.into())),
        };
        self.mode = Mode::Multi;
        match settled {
            Ok(None) => Poll::Ready(Ok(false)),
            Ok(Some(bytes)) => {
                self.current = self.taken(bytes);
                Poll::Ready(Ok(true))
            }
            Err(error) if is_cancelled(&error) => Poll::Ready(Ok(false)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until something can be read, and gives the descriptors that came with its first
    /// byte.
    pub(super) fn poll_with_fds(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<Fd>>> {
        let message = loop {
            let Mode::WithFds(submit) = &mut self.mode else {
                if ready!(self.poll_stop(cx))? {
                    return Poll::Ready(Ok(Vec::new()));
                }
                let op = RecvMsg::new(self.fd().clone(), HEAP_BYTES, CONTROL_OF_FDS);
                self.mode = Mode::WithFds(Box::new(Submit::new(self.driver(), op)));
                continue;
            };
            let result = ready!(Pin::new(submit).poll(cx));
            self.mode = Mode::Multi;
            match result {
                // Cancelled by a `read_owned` that was dropped before it began.
                Err(error) if is_cancelled(&error) => {}
                result => break result?,
            }
        };
        self.current = self.taken(message.bytes);
        Poll::Ready(match message.fds_lost {
            true => Err(fds_lost()),
            false => Ok(message.fds),
        })
    }

    fn leave_line(&mut self) {
        if let Some(mut place) = self.place.take() {
            self.driver().leave_line(&mut place);
        }
    }

    /// A `read_owned` begins, or has come to its end.
    pub(super) fn lend(&mut self, lent: bool) {
        self.mode = if lent { Mode::Lent } else { Mode::Multi };
    }

    /// A `read_owned` was dropped in flight: what it brings is read next.
    pub(super) fn adopt(&mut self, late: Box<dyn LateRead>) {
        self.mode = Mode::Late(late);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.leave_line();
    }
}

/// Whether an operation ended because this stream asked for it; nothing is lost by that.
fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Two receives in flight would complete in any order, so there is no other way out.
fn forgotten() -> io::Error {
    io::Error::other("a read_owned of this stream was forgotten: its bytes are lost, close it")
}

/// An error that is delivered by the next read.
struct KeptError(Failure);

impl LateRead for KeptError {
    fn poll_late(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        Poll::Ready(Err(self.0.to_error()))
    }
}
