//! What listeners are made of: a multishot accept, and the connections that it brought.

use super::backoff::{Backoff, Verdict, judge};
use super::tcp::TcpStream;
use super::waiters::{Waiters, Waiting};
use crate::driver::StopPlace;
use crate::driver::fd::{Fd, Number};
use crate::driver::submit::{Submit, SubmitMulti};
use crate::op::{AcceptMulti, Close};
use crate::time::{Sleep, sleep};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The kernel's queue of connections that nobody has accepted yet; it clamps this to
/// `net.core.somaxconn`.
pub(super) const BACKLOG: u32 = 4096;
/// Accepted connections that may wait in the listener before the kernel is asked to stop.
const QUEUE_MAX: u32 = 1024;

/// A listening socket with its accept.
pub(super) struct Acceptor {
    fd: Fd,
    queue: RefCell<Queue>,
    waiters: Waiters,
}

struct Queue {
    accept: SubmitMulti<AcceptMulti>,
    backoff: Backoff,
    wait: Option<Sleep>,
}

impl Acceptor {
    pub(super) fn new(fd: Fd) -> Acceptor {
        let op = AcceptMulti {
            fd: fd.clone(),
            queue_max: QUEUE_MAX,
        };
        let accept = SubmitMulti::new(fd.driver(), op);
        let queue = Queue {
            accept,
            backoff: Backoff::new(),
            wait: None,
        };
        Acceptor {
            fd,
            queue: RefCell::new(queue),
            waiters: Waiters::default(),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// The next connection, as `finish` makes it of its descriptor.
    pub(super) fn accept<C>(&self, finish: fn(Fd) -> C) -> Accept<'_, C> {
        Accept {
            acceptor: self,
            waiting: self.waiters.place(),
            stop: StopPlace::default(),
            finish,
        }
    }

    /// Ends the accept: the descriptor, and the connections that were accepted already.
    pub(super) async fn into_parts(self) -> io::Result<(Number, Vec<Fd>)> {
        let Acceptor { fd, queue, .. } = self;
        let mut queue = queue.into_inner();
        let mut accepted = Vec::new();
        queue.accept.cancel();
        while queue.accept.is_armed() {
            if let Some(Ok(fd)) = poll_fn(|cx| queue.accept.poll_next(cx)).await {
                accepted.push(fd);
            }
        }
        drop(queue);
        match fd.try_unwrap() {
            Ok(fd) => Ok((fd, accepted)),
            Err(_) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }

    /// Ends the accept, then closes the descriptor.
    pub(super) async fn close(self) -> io::Result<()> {
        let driver = self.fd.driver().clone();
        let (fd, accepted) = self.into_parts().await?;
        drop(accepted);
        Submit::new(&driver, Close(fd)).await
    }

    fn poll_accept(&self, stop: &mut StopPlace, cx: &mut Context<'_>) -> Poll<io::Result<Fd>> {
        let driver = self.fd.driver();
        let mut queue = self.queue.borrow_mut();
        loop {
            if driver.is_stopping() {
                return queue.poll_last_ones(cx);
            }
            // Registered first: the end of the runtime wakes whoever waits here.
            let _ = driver.poll_stopping(stop, cx);
            if let Some(wait) = &mut queue.wait {
                ready!(Pin::new(wait).poll(cx));
                queue.wait = None;
            }
            let error = match ready!(queue.accept.poll_next(cx)) {
                Some(Ok(fd)) => {
                    queue.backoff.reset();
                    return Poll::Ready(Ok(fd));
                }
                Some(Err(error)) => error,
                None => continue,
            };
            match judge(&error) {
                Verdict::GoOn => {}
                Verdict::Wait => {
                    driver.note_accept_backoff();
                    let pause = queue.backoff.next();
                    queue.wait = (!cfg!(break_backoff)).then(|| sleep(pause));
                }
                Verdict::Report => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Queue {
    /// The runtime ends: what was accepted before is still handed out.
    fn poll_last_ones(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fd>> {
        self.accept.cancel();
        while self.accept.is_armed() {
            if let Some(Ok(fd)) = ready!(self.accept.poll_next(cx)) {
                return Poll::Ready(Ok(fd));
            }
        }
        Poll::Ready(Err(io::Error::other(
            "the runtime was asked to end: it accepts no more",
        )))
    }
}

/// The future of [`TcpListener::accept`](super::TcpListener::accept): a connection and its
/// peer's address.
#[must_use = "futures do nothing unless polled"]
pub struct Accept<'a, C = (TcpStream, SocketAddr)> {
    acceptor: &'a Acceptor,
    waiting: Waiting<'a>,
    stop: StopPlace,
    finish: fn(Fd) -> C,
}

impl<C> Future for Accept<'_, C> {
    type Output = io::Result<C>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.acceptor.poll_accept(&mut this.stop, cx) {
            Poll::Ready(result) => {
                this.waiting.leave();
                Poll::Ready(result.map(this.finish))
            }
            Poll::Pending => {
                this.waiting.wait(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl<C> fmt::Debug for Accept<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("fd", &self.acceptor.fd)
            .finish_non_exhaustive()
    }
}

/// The connections of a listener as a stream; made by
/// [`TcpListener::incoming`](super::TcpListener::incoming).
///
/// ```no_run
/// # async fn f(listener: corering::net::TcpListener) -> std::io::Result<()> {
/// use futures::StreamExt;
/// let mut incoming = listener.incoming();
/// while let Some(stream) = incoming.next().await {
///     println!("{}", stream?.peer_addr()?);
/// }
/// # Ok(()) }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a, S = TcpStream> {
    pub(super) accept: Accept<'a, S>,
}

impl<S> futures_core::Stream for Incoming<'_, S> {
    type Item = io::Result<S>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let result = ready!(Pin::new(&mut self.accept).poll(cx));
        let ended = result.is_err() && self.accept.acceptor.fd.driver().is_stopping();
        Poll::Ready(if ended { None } else { Some(result) })
    }
}

impl<S> fmt::Debug for Incoming<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("accept", &self.accept)
            .finish()
    }
}

/// What every listener can do, TCP's or a Unix socket's: one with the field `acceptor`. Its
/// streams, the standard library's listener, the type of addresses, and how an address is found.
macro_rules! listener_methods {
    ($stream:ty, $std:ty, $address:ty, $to_address:path) => {
        pub(super) fn from_fd(fd: Fd) -> Self {
            Self {
                acceptor: Acceptor::new(fd),
            }
        }

        fn fd(&self) -> &Fd {
            self.acceptor.fd()
        }

        /// Takes over a listening socket of the standard library, for this core.
        ///
        /// # Panics
        /// Outside of a runtime.
        pub fn from_std(listener: $std) -> io::Result<Self> {
            let fd = Fd::new(OwnedFd::from(listener), &Driver::current());
            // The ring waits for a socket of either kind; accepted ones are made blocking by it.
            Ok(Self::from_fd(fd))
        }

        /// Gives the socket to the standard library, in blocking mode, and with it the
        /// connections that were accepted already, so that none is lost. Ends the accept first:
        /// no operation of the runtime touches the descriptor any more.
        ///
        /// # Errors
        /// `ResourceBusy` if a clone of the descriptor is in use elsewhere.
        ///
        /// # Cancel safety
        /// Dropping it drops the listener, and resets the connections that it had accepted.
        pub async fn into_std(self) -> io::Result<($std, Vec<$stream>)> {
            let (fd, accepted) = self.acceptor.into_parts().await?;
            let accepted = accepted.into_iter().map(<$stream>::from_fd).collect();
            Ok((<$std>::from(fd.into_owned()), accepted))
        }

        /// Closes the listener: when it returns, its address is free and who connects is refused.
        /// (A drop does the same, some time later.) Connections that were accepted, and that nobody
        /// has taken, are reset.
        ///
        /// # Errors
        /// `ResourceBusy` if a clone of the descriptor is in use elsewhere; it is closed with that.
        ///
        /// # Cancel safety
        /// Safe: dropping it closes the listener too, some time later.
        pub async fn close(self) -> io::Result<()> {
            self.acceptor.close().await
        }

        /// A listening socket of the standard library, of the same address: the queue of
        /// connections is shared. Connections that this listener has accepted already are not
        /// among them.
        pub fn try_clone_to_std(&self) -> io::Result<$std> {
            self.fd().try_clone_to_owned().map(<$std>::from)
        }

        /// The next connection, and its peer's address (if the peer is gone already, an
        /// unspecified one). May be called by several tasks at once.
        ///
        /// # Errors
        /// `ErrorKind::Other` once the runtime was asked to end ([`stopping`](crate::stopping)) and
        /// everything that was accepted is handed out. Otherwise only what makes the listener
        /// useless; what passes (a client that is gone, no descriptor left) is dealt with.
        ///
        /// # Cancel safety
        /// Safe: the connection is returned by the next `accept`.
        pub fn accept(&self) -> Accept<'_, ($stream, $address)> {
            self.acceptor.accept(with_peer)
        }

        /// The connections as a stream, which ends when the runtime is asked to end.
        ///
        /// # Cancel safety
        /// Safe: the connection is returned by the next poll.
        pub fn incoming(&self) -> Incoming<'_, $stream> {
            Incoming {
                accept: self.acceptor.accept(<$stream>::from_fd),
            }
        }

        /// The address on which it listens.
        pub fn local_addr(&self) -> io::Result<$address> {
            $to_address(sys::local_addr(self.fd())?)
        }

        /// The error that the socket has stored, and takes it away (`SO_ERROR`).
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            sys::take_error(self.fd())
        }
    };
}

pub(super) use listener_methods;
