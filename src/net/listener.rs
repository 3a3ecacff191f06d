//! The listener: a multishot accept that it owns, and the connections that it brought.

use super::addr::{ToSocketAddrs, first_that_works};
use super::backoff::{Backoff, Verdict, judge};
use super::options::socket_addr;
use super::socket::TcpSocket;
use super::tcp::TcpStream;
use crate::driver::fd::Fd;
use crate::driver::submit::SubmitMulti;
use crate::driver::sys;
use crate::driver::{Driver, StopPlace};
use crate::op::AcceptMulti;
use crate::time::{Sleep, sleep};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

/// The kernel's queue of connections that nobody has accepted yet; it clamps this to
/// `net.core.somaxconn`.
pub(super) const BACKLOG: u32 = 4096;
/// Accepted connections that may wait in the listener before the kernel is asked to stop.
const QUEUE_MAX: usize = 1024;

/// A TCP socket that takes connections.
///
/// It keeps one multishot accept with the kernel (`IORING_OP_ACCEPT`), so a connection costs no
/// system call of its own. When descriptors or memory run out, it waits and tries again
/// (see [`Metrics::accept_backoffs`](crate::Metrics::accept_backoffs)): clients stay in the
/// kernel's queue meanwhile.
///
/// A listener belongs to its core. To serve one port on every core, let each core
/// [`bind_reuse_port`](TcpListener::bind_reuse_port): the kernel spreads the connections.
///
/// ```no_run
/// use corering::net::TcpListener;
///
/// fn main() -> std::io::Result<()> {
///     corering::block_on(async {
///         let listener = TcpListener::bind("127.0.0.1:7000").await?;
///         loop {
///             let (mut stream, peer) = listener.accept().await?;
///             println!("hello {peer}");
///             corering::spawn(async move { stream.write_all(b"hello\n").await });
///         }
///     })
/// }
/// ```
pub struct TcpListener {
    fd: Fd,
    queue: RefCell<Queue>,
    waiters: RefCell<Waiters>,
}

/// Who waits in `accept`. Apart from the queue, which is borrowed while wakers are replaced and
/// dropped: the destructor of one may end another's wait.
#[derive(Default)]
struct Waiters {
    /// The one whose waker the operation has.
    last: Option<Waker>,
    others: Vec<Waker>,
}

struct Queue {
    accept: SubmitMulti<AcceptMulti>,
    backoff: Backoff,
    wait: Option<Sleep>,
}

impl TcpListener {
    /// Listens on an address; port 0 lets the kernel pick one. `SO_REUSEADDR` is set, so a server
    /// that was restarted finds its port free.
    ///
    /// # Errors
    /// `AddrInUse` if somebody listens there, `AddrNotAvailable` if this machine has no such
    /// address, `PermissionDenied` for a port below 1024 without the right to it.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_that_works(address, |address| async move { bind(address, false) }).await
    }

    /// Listens together with others that do the same on this address (`SO_REUSEPORT`), such as
    /// the other cores of this runtime: the kernel spreads the connections among them.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind); `AddrInUse` also where one of the others did not ask for it.
    ///
    /// # Cancel safety
    /// Dropping it before it is ready leaves nothing behind.
    pub async fn bind_reuse_port(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_that_works(address, |address| async move { bind(address, true) }).await
    }

    pub(super) fn from_fd(fd: Fd) -> TcpListener {
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
        TcpListener {
            fd,
            queue: RefCell::new(queue),
            waiters: RefCell::default(),
        }
    }

    /// Takes over a listening socket of the standard library, for this core.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let fd = Fd::new(OwnedFd::from(listener), &Driver::current());
        // The ring waits for a socket of either kind; accepted ones are made blocking by it.
        Ok(TcpListener::from_fd(fd))
    }

    /// Gives the socket to the standard library, in blocking mode, and with it the connections
    /// that were accepted already, so that none is lost. Ends the accept first: no operation of
    /// the runtime touches the descriptor any more.
    ///
    /// # Errors
    /// `ResourceBusy` if a clone of the descriptor is in use elsewhere.
    ///
    /// # Cancel safety
    /// Dropping it drops the listener, and resets the connections that it had accepted.
    pub async fn into_std(self) -> io::Result<(std::net::TcpListener, Vec<TcpStream>)> {
        let TcpListener { fd, queue, .. } = self;
        let mut queue = queue.into_inner();
        let mut accepted = Vec::new();
        queue.accept.cancel();
        while queue.accept.is_armed() {
            if let Some(Ok(fd)) = poll_fn(|cx| queue.accept.poll_next(cx)).await {
                accepted.push(TcpStream::from_fd(fd));
            }
        }
        drop(queue);
        match fd.try_unwrap() {
            Ok(fd) => Ok((std::net::TcpListener::from(fd.into_owned()), accepted)),
            Err(_) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }

    /// A listening socket of the standard library, of the same port: the queue of connections
    /// is shared. Connections that this listener has accepted already are not among them.
    pub fn try_clone_to_std(&self) -> io::Result<std::net::TcpListener> {
        self.fd
            .try_clone_to_owned()
            .map(std::net::TcpListener::from)
    }

    /// The next connection, and its peer's address (`0.0.0.0:0` if the peer is gone already).
    /// May be called by several tasks at once.
    ///
    /// # Errors
    /// `ErrorKind::Other` once the runtime was asked to end ([`stopping`](crate::stopping)) and
    /// everything that was accepted is handed out. Otherwise only what makes the listener
    /// useless; what passes (a client that is gone, no descriptor left) is dealt with.
    ///
    /// # Cancel safety
    /// Safe: the connection is returned by the next `accept`.
    pub fn accept(&self) -> Accept<'_> {
        Accept {
            listener: self,
            waiting: None,
            stop: StopPlace::default(),
        }
    }

    /// The connections as a stream, which ends when the runtime is asked to end.
    ///
    /// # Cancel safety
    /// Safe: the connection is returned by the next poll.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            accept: self.accept(),
        }
    }

    /// The address on which it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_addr(sys::local_addr(&self.fd)?)
    }

    /// The time to live of the packets of accepted connections (`IP_TTL`).
    pub fn ttl(&self) -> io::Result<u32> {
        sys::sock(&self.fd).ttl_v4()
    }

    /// Sets the time to live.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        sys::sock(&self.fd).set_ttl_v4(ttl)
    }

    /// The error that the socket has stored, and takes it away (`SO_ERROR`).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(&self.fd)
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

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = TcpSocket::for_address(&address)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The future of [`TcpListener::accept`].
#[must_use = "futures do nothing unless polled"]
pub struct Accept<'a> {
    listener: &'a TcpListener,
    /// The waker with which this waits.
    waiting: Option<Waker>,
    stop: StopPlace,
}

impl Future for Accept<'_> {
    type Output = io::Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let listener = self.listener;
        let result = match listener.poll_accept(&mut self.stop, cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.wait(cx.waker());
                return Poll::Pending;
            }
        };
        self.leave();
        Poll::Ready(result.map(|fd| {
            let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let peer = sys::peer_addr(&fd).and_then(socket_addr).unwrap_or(unknown);
            (TcpStream::from_fd(fd), peer)
        }))
    }
}

impl Accept<'_> {
    /// The operation wakes the last one that polled; whoever polled before is woken by hand.
    fn wait(&mut self, waker: &Waker) {
        let (own, last) = (waker.clone(), waker.clone());
        let unneeded = {
            let mut waiters = self.listener.waiters.borrow_mut();
            let replaced = waiters.last.replace(last);
            let known = |other: &Waker| {
                own.will_wake(other) || waiters.others.iter().any(|known| known.will_wake(other))
            };
            match replaced {
                Some(other) if !known(&other) => {
                    waiters.others.push(other);
                    None
                }
                replaced => replaced,
            }
        };
        drop(unneeded);
        self.waiting = Some(own);
    }

    /// This one waits no longer: somebody else must, for the next connection.
    fn leave(&mut self) {
        if let Some(own) = self.waiting.take() {
            let Waiters { last, others } = self.listener.waiters.take();
            // Whoever polled last waits too, if that was not this one. Outside of the borrow:
            // dropping a waker may drop a future that waits here.
            let last = last.filter(|last| !last.will_wake(&own));
            others.into_iter().chain(last).for_each(Waker::wake);
        }
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("listener", self.listener)
            .finish()
    }
}

/// The connections of a listener as a stream; made by [`TcpListener::incoming`].
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
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a> {
    accept: Accept<'a>,
}

impl futures_core::Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let result = ready!(Pin::new(&mut self.accept).poll(cx));
        let ended = result.is_err() && self.accept.listener.fd.driver().is_stopping();
        Poll::Ready(if ended {
            None
        } else {
            Some(result.map(|(stream, _)| stream))
        })
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.fd.as_raw_fd()).finish()
    }
}
