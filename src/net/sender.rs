//! The sending half of a stream: bytes that it has accepted, and sends of owned buffers.
//!
//! `write` copies into the queue ([`SendQueue`]), which empties itself; what is large goes past an
//! empty queue, with a plain system call that does not wait. `send` waits for the queue and then
//! gives the kernel the caller's buffer. A `send` that is dropped in flight may have sent any part
//! of its bytes: the stream is *torn* then, and says so until that is acknowledged, for what
//! follows would stand behind bytes that nobody can name.

use crate::buf::{BufResult, IoBuf, Slice};
use crate::driver::fd::Fd;
use crate::driver::submit::{Submit, SubmitMulti};
use crate::driver::sys;
use crate::op::{Send, SendMsg, SendQueue, SendVectored, SendZc, SendZcItem};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long a peer may take nothing of what a dropped stream still has to send.
const LINGER_MAX: Duration = Duration::from_secs(30);

/// From how many bytes on a write does not take the queue, where it may choose. At 16 KiB both cost
/// the same; at 128 KiB the copy costs a third more.
const THROUGH_BYTES_MIN: usize = 32 * 1024;
/// How many bytes of a stream do so within one turn of the loop; what follows takes the queue, for
/// whose room the writer waits. Where the reader keeps up, the kernel alone would take any number
/// at once, and nobody else would have a turn.
const THROUGH_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Sender {
    /// `None` only while the stream is taken apart.
    queue: Option<SendQueue>,
    torn: Cell<bool>,
    /// The write side was shut down here.
    shut: bool,
    through: Cell<Through>,
}

/// How many bytes have gone past the queue, in which turn of the loop.
#[derive(Clone, Copy, Debug, Default)]
struct Through {
    /// The last digits of its number.
    turn: u32,
    bytes: u32,
}

/// A send was dropped before it had completed, so any part of its bytes may have been sent. Every
/// further write fails with this, as the source of an `io::Error` of the kind `BrokenPipe`, until
/// [`clear_torn`](super::TcpStream::clear_torn) is called.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// use corering::net::Torn;
/// if let Err(error) = stream.write_all(b"next").await {
///     let torn = error.get_ref().is_some_and(|source| source.is::<Torn>());
///     assert!(torn || error.raw_os_error().is_some());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn(());

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a send was dropped before it had completed, so an unknown part of its bytes was \
             sent: close the stream, or call clear_torn() if the protocol can go on",
        )
    }
}

impl std::error::Error for Torn {}

impl Sender {
    pub(super) fn new(fd: Fd) -> Sender {
        Sender {
            queue: Some(SendQueue::new(fd)),
            torn: Cell::new(false),
            shut: false,
            through: Cell::default(),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        self.queue().fd()
    }

    fn queue(&self) -> &SendQueue {
        self.queue
            .as_ref()
            .expect("a stream that is used was not taken apart")
    }

    pub(super) fn clear_torn(&self) -> bool {
        self.torn.replace(false)
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.torn.get() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, Torn(())));
        }
        if self.shut {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        Ok(())
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    /// Takes as much of the pieces as there is room for. What is large goes straight to the kernel
    /// if nothing waits before it: the copy into the queue would cost more than the system call.
    /// What the socket has no room for takes the queue.
    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if let Some(sent) = self.send_through(pieces) {
            return Poll::Ready(sent);
        }
        let mut taken = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            match self.queue().poll_push(piece, cx) {
                Poll::Ready(Ok(n)) => taken += n,
                other if taken == 0 => return other,
                _ => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Gives the kernel what is large, if nothing waits before it; `None` where it is to take the
    /// queue, all of it.
    fn send_through(&self, pieces: &[io::IoSlice<'_>]) -> Option<io::Result<usize>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if len < THROUGH_BYTES_MIN {
            return None;
        }
        self.send_past(pieces, len, false)
    }

    /// Gives the kernel the pieces, of `len` bytes, if nothing waits before them; `None` where
    /// they are to take the queue. Where `more` follows at once, the last packet may wait for it.
    pub(super) fn send_past(
        &self,
        pieces: &[io::IoSlice<'_>],
        len: usize,
        more: bool,
    ) -> Option<io::Result<usize>> {
        if !self.queue().has_sent_all() {
            return None;
        }
        let room = self.room_past();
        let sent = match len <= room {
            true => sys::send_now(self.fd(), pieces, more),
            false if room == 0 => return None,
            false => sys::send_now(self.fd(), &beginning(pieces, room), more),
        };
        match &sent {
            // Nothing but empty pieces among those that the kernel takes at once.
            Ok(0) => return None,
            Ok(n) => self.went_past(*n),
            Err(error) if goes_by_the_ring(error) => return None,
            Err(error) => self.fail(error),
        }
        Some(sent)
    }

    /// How many bytes may go past the queue in this turn of the loop.
    pub(super) fn room_past(&self) -> usize {
        let through = self.through.get();
        match through.turn == self.turn() {
            true => THROUGH_BYTES_MAX.saturating_sub(through.bytes as usize),
            false => THROUGH_BYTES_MAX,
        }
    }

    /// Counts what has gone past the queue.
    pub(super) fn went_past(&self, bytes: usize) {
        let turn = self.turn();
        let bytes = (THROUGH_BYTES_MAX - self.room_past() + bytes) as u32;
        self.through.set(Through { turn, bytes });
    }

    fn turn(&self) -> u32 {
        self.fd().driver().turn_number() as u32
    }

    /// What went past the queue, which is idle, has failed: so does what comes later.
    pub(super) fn fail(&self, error: &io::Error) {
        self.queue().fail(error);
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_torn()?;
        self.queue().poll_empty(cx)
    }

    fn check_torn(&self) -> io::Result<()> {
        if self.shut { Ok(()) } else { self.check() }
    }

    /// Sends what was accepted, then ends the write side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        ready!(self.queue().poll_empty(cx))?;
        self.shut = true;
        match sys::shutdown(self.fd(), Shutdown::Write) {
            // The peer was faster: the connection is down on both sides.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// The write side ends as soon as everything is sent, without anybody waiting for it.
    pub(super) fn shutdown_in_background(&mut self) {
        if !self.shut && self.queue.is_some() {
            self.shut = true;
            self.queue().shutdown_when_empty();
        }
    }

    async fn ready_to_send(&self) -> io::Result<()> {
        self.check()?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Awaits a send. From its start to its end the stream counts as torn: so it is, whether the
    /// future is dropped in between or forgotten.
    async fn tearing<F: Future>(&self, send: F) -> F::Output {
        self.torn.set(true);
        let output = send.await;
        self.torn.set(false);
        output
    }

    pub(super) fn send<B: IoBuf>(&self, buf: B) -> Sending<'_, B> {
        Sending {
            sender: self,
            state: State::Queued(buf),
            sent: 0,
            all: false,
        }
    }

    pub(super) fn send_all<B: IoBuf>(&self, buf: B) -> SendingAll<'_, B> {
        let mut sending = self.send(buf);
        sending.all = true;
        SendingAll(sending)
    }

    pub(super) async fn send_vectored<B: IoBuf>(&self, bufs: Vec<B>) -> BufResult<usize, Vec<B>> {
        if let Err(error) = self.ready_to_send().await {
            return (Err(error), bufs);
        }
        let op = SendVectored::new(self.fd().clone(), bufs);
        self.tearing(Submit::new(self.fd().driver(), op)).await
    }

    /// The descriptors go with the first byte.
    pub(super) async fn send_with_fds(&self, bytes: Vec<u8>, fds: Vec<Fd>) -> io::Result<usize> {
        self.ready_to_send().await?;
        let op = SendMsg::new(self.fd().clone(), bytes, None).passing(fds);
        self.tearing(Submit::new(self.fd().driver(), op)).await.0
    }

    pub(super) async fn send_zc<B: IoBuf>(&self, buf: B) -> BufResult<usize, ZeroCopyBuf<B>> {
        let op = SendZc::new(self.fd().clone(), buf);
        let mut submit = SubmitMulti::new(self.fd().driver(), op);
        if let Err(error) = self.ready_to_send().await {
            return (
                Err(error),
                ZeroCopyBuf {
                    submit: Some(submit),
                },
            );
        }
        let sent = poll_fn(|cx| {
            Poll::Ready(match ready!(submit.poll_next(cx)) {
                Some(SendZcItem::Sent(result)) => result,
                _ => unreachable!("the result of a zero-copy send comes first"),
            })
        });
        let result = self.tearing(sent).await;
        (
            result,
            ZeroCopyBuf {
                submit: Some(submit),
            },
        )
    }

    /// Takes the half apart; the queue is idle.
    pub(super) fn release(mut self) {
        drop(self.queue.take().map(SendQueue::release));
    }
}

/// The first `len` bytes of the pieces, which are more.
fn beginning<'a>(pieces: &'a [io::IoSlice<'_>], len: usize) -> Vec<io::IoSlice<'a>> {
    let mut left = len;
    let pieces = pieces.iter().filter(|piece| !piece.is_empty());
    let pieces = pieces.map(|piece| {
        let n = piece.len().min(left);
        left -= n;
        io::IoSlice::new(&piece[..n])
    });
    pieces.take_while(|piece| !piece.is_empty()).collect()
}

impl Drop for Sender {
    fn drop(&mut self) {
        // The queue goes on sending by itself. A peer that takes nothing shall not keep it for
        // ever: the kernel ends such a connection then.
        if self.queue.as_ref().is_some_and(|queue| !queue.is_idle()) {
            let _ = sys::sock(self.fd()).set_tcp_user_timeout(Some(LINGER_MAX));
        }
    }
}

/// Whether a plain call that did not send says nothing of the connection: there was no room, or a
/// filter of system calls lets only the ring send.
fn goes_by_the_ring(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, PermissionDenied, Unsupported, WouldBlock};
    matches!(
        error.kind(),
        WouldBlock | Interrupted | PermissionDenied | Unsupported
    )
}

/// A send of an owned buffer: behind the queue, then from the buffer itself. Written by hand,
/// because it is part of every task that answers, and each byte of it is part of what an idle
/// connection costs: the same as nested `async` functions takes seven times the room.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Sending<'a, B: IoBuf> {
    sender: &'a Sender,
    state: State<B>,
    sent: usize,
    /// Until everything is sent.
    all: bool,
}

/// A send of all of a buffer.
#[must_use = "futures do nothing unless polled"]
pub(super) struct SendingAll<'a, B: IoBuf>(Sending<'a, B>);

impl<B: IoBuf> Future for SendingAll<'_, B> {
    type Output = BufResult<(), B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, buf) = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready((result.map(drop), buf))
    }
}

enum State<B: IoBuf> {
    /// What was written before is still on its way.
    Queued(B),
    InFlight(Submit<Send<Slice<B>>>),
    Done,
}

impl<B: IoBuf> Sending<'_, B> {
    fn start(&mut self, buf: B) {
        let op = Send {
            fd: self.sender.fd().clone(),
            buf: buf.slice(self.sent..),
            all: self.all,
        };
        // Until it completes: a send that is dropped, or forgotten, has torn the stream.
        self.sender.torn.set(true);
        self.state = State::InFlight(Submit::new(self.sender.fd().driver(), op));
    }

    /// The queue is empty, or has failed.
    fn begin(&mut self, queue: io::Result<()>) -> Option<BufResult<usize, B>> {
        let State::Queued(buf) = std::mem::replace(&mut self.state, State::Done) else {
            unreachable!("asked only while it waits for the queue");
        };
        match queue {
            Err(error) => Some((Err(error), buf)),
            Ok(()) if self.all && buf.buf_len() == 0 => Some((Ok(0), buf)),
            Ok(()) => {
                self.start(buf);
                None
            }
        }
    }

    /// A part was sent; what is said of it, unless the rest follows.
    fn advance(&mut self, result: io::Result<usize>, buf: B) -> Option<BufResult<usize, B>> {
        self.state = State::Done;
        self.sender.torn.set(false);
        match result {
            Err(error) => return Some((Err(error), buf)),
            Ok(n) => self.sent += n,
        }
        if !self.all || self.sent >= buf.buf_len() {
            return Some((Ok(self.sent), buf));
        }
        if matches!(result, Ok(0)) {
            return Some((Err(io::ErrorKind::WriteZero.into()), buf));
        }
        self.start(buf);
        None
    }
}

impl<B: IoBuf> Future for Sending<'_, B> {
    /// How many bytes were sent.
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let done = match &mut this.state {
                State::Queued(_) => {
                    let queue = match this.sender.check() {
                        Ok(()) => ready!(this.sender.poll_flush(cx)),
                        torn => torn,
                    };
                    this.begin(queue)
                }
                State::InFlight(submit) => {
                    let (result, slice) = ready!(Pin::new(submit).poll(cx));
                    this.advance(result, slice.into_inner())
                }
                State::Done => panic!("a send was polled after it had completed"),
            };
            if let Some(output) = done {
                return Poll::Ready(output);
            }
        }
    }
}

/// The buffer of a zero-copy send, which the kernel may still be reading: awaiting it gives the
/// buffer back when the kernel is done. Dropped, it goes then by itself.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (result, lent) = stream.send_zc(vec![7u8; 1 << 20]).await;
/// println!("{} bytes sent", result?);
/// let buf: Vec<u8> = lent.await;
/// # Ok(()) }
/// ```
#[must_use = "the buffer comes back only when this is awaited"]
pub struct ZeroCopyBuf<B: IoBuf> {
    submit: Option<SubmitMulti<SendZc<B>>>,
}

impl<B: IoBuf> Future for ZeroCopyBuf<B> {
    type Output = B;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<B> {
        let submit = self.submit.as_mut().expect("a buffer comes back once");
        while submit.is_armed() {
            ready!(submit.poll_next(cx));
        }
        match self.submit.take().map(SubmitMulti::into_op) {
            Some(Ok(op)) => Poll::Ready(op.buf),
            _ => unreachable!("the operation is not armed"),
        }
    }
}

impl<B: IoBuf> fmt::Debug for ZeroCopyBuf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroCopyBuf").finish_non_exhaustive()
    }
}
