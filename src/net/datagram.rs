//! What datagram sockets are made of: a multishot receive of messages, and what it brought.
//!
//! ```text
//!   Idle ──first poll──► Armed ──datagram──► queues in the slot, up to a cap
//!                          │  ▲                └─ beyond it: stopped; armed anew when read, and
//!             no buffers,  │  │                   meanwhile the kernel's own buffer drops
//!   longer datagrams, or   ▼  │ done
//!      descriptors wanted  Alone (one receive into own memory)
//! ```
//! One receive of a socket is in flight at a time. A datagram without bytes ends the multishot
//! receive but not the socket, and so does an error that a peer's answer has left: the next call
//! arms it anew.

use super::waiters::Waiters;
use crate::buf::{BufResult, IoBuf};
use crate::driver::buf_ring::{Group, RecvBuf};
use crate::driver::children;
use crate::driver::fd::{Fd, Number};
use crate::driver::slot::Limit;
use crate::driver::submit::{Submit, SubmitMulti};
use crate::driver::sys;
use crate::op::{Arrived, CONTROL_OF_FDS, FDS_MAX, Message, RecvMsg, RecvMsgMulti, Send, SendMsg};
use socket2::SockAddr;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What of received datagrams may wait for the reader before the kernel is asked to stop: so many
/// bytes, and of short ones no more than as if each had so many.
const QUEUE: Limit = Limit::Messages {
    bytes: 256 * 1024,
    least: 2 * 1024,
};

/// A datagram, with all that is known of it: see
/// [`UdpSocket::recv_datagram`](super::UdpSocket::recv_datagram).
///
/// ```no_run
/// # async fn f(socket: corering::net::UdpSocket) -> std::io::Result<()> {
/// let datagram = socket.recv_datagram().await?;
/// println!("{} bytes from {}", datagram.buf.len(), datagram.from);
/// if !datagram.truncated {
///     socket.send_buf_to(datagram.buf, datagram.from).await.0?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram<A = SocketAddr> {
    /// Its bytes, in the memory into which the kernel put them; there may be none.
    pub buf: RecvBuf,
    /// Who has sent it.
    pub from: A,
    /// It was longer than there was room (`MSG_TRUNC`): the rest is gone.
    pub truncated: bool,
    /// The kernel has joined datagrams of this length, of which the last may be shorter
    /// (`UDP_GRO`, see [`UdpSocket::set_gro`](super::UdpSocket::set_gro)).
    pub segment_len: Option<usize>,
}

impl<A> Datagram<A> {
    /// The datagrams that the kernel has joined, one by one; the one where it has joined none.
    /// Nothing is copied.
    pub fn into_segments(self) -> impl Iterator<Item = RecvBuf> {
        let len = self.segment_len.unwrap_or(usize::MAX);
        let mut rest = Some(self.buf);
        std::iter::from_fn(move || {
            let mut segment = rest.take()?;
            if segment.len() > len {
                let first = segment.split_to(len);
                rest = Some(segment);
                segment = first;
            }
            Some(segment)
        })
    }
}

/// A datagram socket with its receive.
pub(super) struct Inbox {
    fd: Fd,
    state: RefCell<State>,
    waiters: Waiters,
}

struct State {
    armed: SubmitMulti<RecvMsgMulti>,
    alone: Option<Submit<RecvMsg>>,
    /// Received, but not taken: peeked at, or the rest of what the kernel has joined.
    current: Option<Message>,
    /// The longest datagram that is received whole.
    len_max: usize,
    /// Room for what comes with a datagram; for descriptors only where whoever reads takes them.
    control_len: usize,
    with_fds: bool,
}

/// How the kernel's joined datagrams are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    AsTheyCame,
    OneByOne,
}

impl Inbox {
    /// What the kernel has to say of each datagram takes up to `control_len` bytes.
    pub(super) fn new(fd: Fd, control_len: usize) -> Inbox {
        let op = RecvMsgMulti::new(fd.clone(), control_len, QUEUE);
        let armed = SubmitMulti::new(fd.driver(), op);
        let state = State {
            armed,
            alone: None,
            current: None,
            len_max: fd.driver().datagram_len_max(),
            control_len,
            with_fds: false,
        };
        Inbox {
            fd,
            state: RefCell::new(state),
            waiters: Waiters::default(),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// From now on, datagrams up to so many bytes are received whole.
    pub(super) fn set_len_max(&self, bytes: usize) {
        let mut state = self.state.borrow_mut();
        state.len_max = bytes.max(self.fd.driver().datagram_len_max());
        state.begin_anew();
    }

    /// The next message, of those that the kernel has joined as it came or one by one.
    pub(super) async fn next(&self, joined: Joined) -> io::Result<Message> {
        self.wait(|state, cx| state.poll_next(&self.fd, joined, cx))
            .await
    }

    /// What the next message is, which stays the next one.
    pub(super) async fn peek<T>(&self, mut look: impl FnMut(&Message) -> T) -> io::Result<T> {
        self.wait(|state, cx| {
            let message = ready!(state.poll_message(&self.fd, cx))?;
            let seen = look(&message);
            state.current = Some(message);
            Poll::Ready(Ok(seen))
        })
        .await
    }

    /// The next message, with the descriptors that came along.
    pub(super) async fn next_with_fds(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        self.wait(|state, cx| {
            if !std::mem::replace(&mut state.with_fds, true) {
                state.begin_anew();
            }
            let mut message = ready!(state.poll_message(&self.fd, cx))?;
            if std::mem::take(&mut message.fds_lost) {
                message.fds.clear();
                state.current = Some(message);
                return Poll::Ready(Err(fds_lost()));
            }
            let fds = std::mem::take(&mut message.fds);
            Poll::Ready(Ok((message, into_owned(fds))))
        })
        .await
    }

    async fn wait<T>(
        &self,
        mut poll: impl FnMut(&mut State, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut place = self.waiters.place();
        poll_fn(|cx| {
            let result = poll(&mut self.state.borrow_mut(), cx);
            match result {
                Poll::Pending => place.wait(cx.waker()),
                Poll::Ready(_) => place.leave(),
            }
            result
        })
        .await
    }

    /// Ends the receive, if nothing waits to be read.
    pub(super) async fn quiet(&self) -> io::Result<()> {
        poll_fn(|cx| self.state.borrow_mut().poll_quiet(cx)).await
    }

    /// The descriptor of a quiet socket; the socket again, if an operation has it still.
    #[allow(clippy::result_large_err, reason = "the socket itself comes back")]
    pub(super) fn unwrap(self) -> Result<Number, Inbox> {
        let Inbox { fd, state, .. } = self;
        let State {
            len_max,
            control_len,
            with_fds,
            ..
        } = state.into_inner();
        fd.try_unwrap().map_err(|fd| {
            let mut inbox = Inbox::new(fd, control_len);
            let state = inbox.state.get_mut();
            (state.len_max, state.with_fds) = (len_max, with_fds);
            inbox
        })
    }
}

impl State {
    /// What is in flight no longer fits what is wanted; what it still brings is kept.
    fn begin_anew(&mut self) {
        self.armed.cancel();
        if let Some(alone) = &mut self.alone {
            alone.cancel();
        }
    }

    fn poll_next(
        &mut self,
        fd: &Fd,
        joined: Joined,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Message>> {
        let mut message = ready!(self.poll_message(fd, cx))?;
        match message.segment_len {
            Some(len) if joined == Joined::OneByOne && message.bytes.len() > len => {
                let first = Message {
                    bytes: message.bytes.split_to(len),
                    from: message.from.clone(),
                    segment_len: None,
                    truncated: false,
                    fds: Vec::new(),
                    fds_lost: false,
                };
                self.current = Some(message);
                Poll::Ready(Ok(first))
            }
            _ => Poll::Ready(Ok(message)),
        }
    }

    fn poll_message(&mut self, fd: &Fd, cx: &mut Context<'_>) -> Poll<io::Result<Message>> {
        loop {
            if let Some(message) = self.current.take() {
                return Poll::Ready(Ok(message));
            }
            if let Some(alone) = &mut self.alone {
                let result = ready!(Pin::new(alone).poll(cx));
                self.alone = None;
                match result {
                    Err(error) if is_cancelled(&error) => continue,
                    result => return Poll::Ready(result),
                }
            }
            if !self.armed.is_armed() && !self.may_arm(fd) {
                self.alone = Some(self.receive_alone(fd));
                continue;
            }
            match ready!(self.armed.poll_next(cx)) {
                Some(Arrived::Message(message)) => return Poll::Ready(Ok(message)),
                Some(Arrived::Failed(error)) => return Poll::Ready(Err(error)),
                Some(Arrived::Paused { starved: true }) => {
                    // Nothing follows a completion that says so; the slot is freed by this poll.
                    let _ = self.armed.poll_next(cx);
                    self.alone = Some(self.receive_alone(fd));
                }
                // Stopped because the reader was slow, or ended by the kernel: armed anew.
                Some(Arrived::Paused { starved: false }) | None => {}
            }
        }
    }

    /// Whether the core's buffers are fit for what is wanted, and one is there.
    fn may_arm(&self, fd: &Fd) -> bool {
        let driver = fd.driver();
        !self.with_fds
            && self.len_max <= driver.datagram_len_max()
            && driver.with_pool(Group::Datagrams, |pool| pool.available() > 0) == Some(true)
    }

    fn receive_alone(&self, fd: &Fd) -> Submit<RecvMsg> {
        fd.driver().note_heap_receive();
        let control_len = match self.with_fds {
            true => CONTROL_OF_FDS,
            false => self.control_len,
        };
        let op = RecvMsg::new(fd.clone(), self.len_max, control_len);
        Submit::new(fd.driver(), op)
    }

    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.begin_anew();
        while self.current.is_none() && self.armed.is_armed() {
            match ready!(self.armed.poll_next(cx)) {
                Some(Arrived::Message(message)) => self.current = Some(message),
                Some(Arrived::Failed(error)) => return Poll::Ready(Err(error)),
                Some(Arrived::Paused { .. }) | None => {}
            }
        }
        if let (None, Some(alone)) = (&self.current, &mut self.alone) {
            let result = ready!(Pin::new(alone).poll(cx));
            self.alone = None;
            match result {
                Ok(message) => self.current = Some(message),
                Err(error) if is_cancelled(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if self.current.is_some() {
            let what = "received datagrams were not read yet: read them first";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ResourceBusy, what)));
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

/// Whether an operation ended because this socket asked for it; nothing is lost by that.
fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}

/// Copies what fits.
pub(super) fn copy_to(buf: &mut [u8], bytes: &[u8]) -> usize {
    let n = buf.len().min(bytes.len());
    buf[..n].copy_from_slice(&bytes[..n]);
    n
}

/// Sends one datagram, to this address or to the one to which the socket is connected.
pub(super) async fn send<B: IoBuf>(fd: &Fd, buf: B, to: Option<SockAddr>) -> BufResult<usize, B> {
    let (driver, fd) = (fd.driver(), fd.clone());
    match to {
        None => {
            Submit::new(
                driver,
                Send {
                    fd,
                    buf,
                    all: false,
                },
            )
            .await
        }
        to => Submit::new(driver, SendMsg::new(fd, buf, to)).await,
    }
}

/// Numbers of these descriptors that stay open until the kernel has taken them, whatever becomes
/// of the descriptors themselves.
pub(super) fn to_pass(fd: &Fd, fds: &[BorrowedFd<'_>]) -> io::Result<Vec<Fd>> {
    if fds.len() > FDS_MAX {
        let what = format!(
            "{} descriptors for one message, {FDS_MAX} are the most: send several",
            fds.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    if !fds.is_empty() {
        children::can_pass()?;
    }
    let duplicate = |&passed: &BorrowedFd<'_>| {
        sys::duplicate(passed).map(|number| Fd::from_number(number, fd.driver()))
    };
    fds.iter().map(duplicate).collect()
}

/// What was received becomes the caller's.
pub(super) fn into_owned(fds: Vec<Fd>) -> Vec<OwnedFd> {
    fds.into_iter()
        .filter_map(|fd| fd.try_unwrap().ok())
        .map(Number::into_owned)
        .collect()
}

/// Some of the descriptors of a message did not reach this process.
pub(super) fn fds_lost() -> io::Error {
    io::Error::other(
        "descriptors came along that are lost: the limit on open files is reached (raise \
         RLIMIT_NOFILE), or they came while a receive without descriptors was waiting; the bytes \
         come with the next call",
    )
}

/// What every datagram socket can do, UDP's or a Unix socket's: one with the field `inbox`. The
/// standard library's socket, the type of addresses, how an address is found, and the room for
/// what the kernel has to say of a datagram.
macro_rules! datagram_methods {
    ($std:ty, $address:ty, $to_address:path, $control_len:expr) => {
        pub(super) fn from_fd(fd: Fd) -> Self {
            Self {
                inbox: Inbox::new(fd, $control_len),
            }
        }

        fn fd(&self) -> &Fd {
            self.inbox.fd()
        }

        /// Takes over a socket of the standard library, for this core.
        ///
        /// # Panics
        /// Outside of a runtime.
        pub fn from_std(socket: $std) -> io::Result<Self> {
            let fd = Fd::new(OwnedFd::from(socket), &Driver::current());
            Ok(Self::from_fd(fd))
        }

        /// Gives the socket to the standard library, in blocking mode. Ends the receive first, so
        /// no operation of the runtime touches the descriptor any more.
        ///
        /// # Errors
        /// [`IntoStdError`], with the socket, if received datagrams were not read yet (they would
        /// be lost), or while an orphaned operation has the descriptor.
        ///
        /// # Cancel safety
        /// Dropping it drops the socket.
        #[allow(clippy::result_large_err, reason = "the socket itself comes back")]
        pub async fn into_std(self) -> Result<$std, IntoStdError<Self>> {
            if let Err(error) = self.inbox.quiet().await {
                return Err(IntoStdError {
                    stream: self,
                    error,
                });
            }
            self.inbox
                .unwrap()
                .map(|fd| <$std>::from(fd.into_owned()))
                .map_err(|inbox| IntoStdError::in_flight(Self { inbox }))
        }

        /// Receives the next datagram, and says how long it is; see
        /// [`recv_from`](Self::recv_from).
        ///
        /// # Errors
        /// As [`recv_from`](Self::recv_from).
        ///
        /// # Cancel safety
        /// Safe: the datagram is returned by the next call.
        pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
            let message = self.inbox.next(Joined::OneByOne).await?;
            Ok(copy_to(buf, &message.bytes))
        }

        /// Receives the next datagram, and says how long it is and who sent it. What does not fit
        /// into `buf` is gone, as with `recvfrom(2)`; [`recv_datagram`](Self::recv_datagram) and
        /// [`peek_from`](Self::peek_from) lose nothing. A datagram may have no bytes: 0 is not an
        /// end. May be called by several tasks at once; each datagram goes to one.
        ///
        /// The kernel receives into the core's buffers (`IORING_OP_RECVMSG`, multishot). Up to
        /// 128 datagrams, or 256 KiB, wait in the socket for their reader; then in the kernel's
        /// own buffer ([`set_recv_buffer_size`](Self::set_recv_buffer_size)).
        ///
        /// # Errors
        /// What `recvmsg(2)` says. On a connected socket also what the peer's machine answered to
        /// an earlier datagram: `ConnectionRefused` is reported once, by a send or a receive, and
        /// the socket goes on.
        ///
        /// # Cancel safety
        /// Safe: the datagram is returned by the next call.
        pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $address)> {
            let message = self.inbox.next(Joined::OneByOne).await?;
            let n = copy_to(buf, &message.bytes);
            Ok((n, $to_address(message.from)?))
        }

        /// Receives the next datagram in the memory into which the kernel put it, and says
        /// whether it was cut off.
        ///
        /// # Errors
        /// As [`recv_from`](Self::recv_from).
        ///
        /// # Cancel safety
        /// Safe: the datagram is returned by the next call.
        pub async fn recv_datagram(&self) -> io::Result<Datagram<$address>> {
            let message = self.inbox.next(Joined::AsTheyCame).await?;
            Ok(Datagram {
                from: $to_address(message.from)?,
                buf: message.bytes,
                truncated: message.truncated,
                segment_len: message.segment_len,
            })
        }

        /// Copies the start of the next datagram, which stays the next one.
        ///
        /// # Errors
        /// As [`recv_from`](Self::recv_from).
        ///
        /// # Cancel safety
        /// Safe: nothing is taken.
        pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.peek_from(buf).await.map(|(n, _)| n)
        }

        /// Copies the start of the next datagram, which stays the next one, and says who sent it.
        ///
        /// # Errors
        /// As [`recv_from`](Self::recv_from).
        ///
        /// # Cancel safety
        /// Safe: nothing is taken.
        pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, $address)> {
            let see = |message: &Message| {
                let segment = message.segment_len.unwrap_or(usize::MAX);
                let len = message.bytes.len().min(segment);
                (copy_to(buf, &message.bytes[..len]), message.from.clone())
            };
            let (n, from) = self.inbox.peek(see).await?;
            Ok((n, $to_address(from)?))
        }

        /// Sends a datagram to the address to which the socket is connected.
        ///
        /// # Errors
        /// `NotConnected` or `InvalidInput` without such an address; a datagram that is too long;
        /// `ConnectionRefused` and what else `send(2)` says.
        ///
        /// # Cancel safety
        /// Dropped before it is ready, the datagram is sent wholly or not at all.
        pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
            self.send_buf(buf.to_vec()).await.0
        }

        /// Sends a datagram from `buf` itself, without a copy (`IORING_OP_SEND`), to the address
        /// to which the socket is connected.
        ///
        /// # Errors
        /// As [`send`](Self::send).
        ///
        /// # Cancel safety
        /// Dropped before it is ready, the datagram is sent wholly or not at all; the buffer does
        /// not come back.
        pub async fn send_buf<B: IoBuf>(&self, buf: B) -> BufResult<usize, B> {
            send(self.fd(), buf, None).await
        }

        /// Up to how many bytes a datagram is received whole: by default as long as the
        /// [buffers of the core](crate::Builder::datagram_buffers) are, which is the least. Above
        /// that, each datagram is received into memory of its own of this size.
        pub fn set_datagram_len_max(&self, bytes: usize) {
            self.inbox.set_len_max(bytes);
        }

        /// The address to which the socket is connected.
        ///
        /// # Errors
        /// `NotConnected` where it is not.
        pub fn peer_addr(&self) -> io::Result<$address> {
            $to_address(sys::peer_addr(self.fd())?)
        }
    };
}

pub(super) use datagram_methods;
