//! A server: a task for each connection, a limit on how many, and an end in order. asyncio's
//! `start_server`.
//!
//! ```text
//!   accept ──permit of the limit──► task: handler(stream, address)
//!     │ close(), the runtime or the starting task is asked to end
//!     └─► listener dropped; every connection is asked to end ──last one──► closed
//! ```
//!
//! Rules
//! 1. The permit is taken before the connection: what is over the limit waits in the listener and
//!    in the kernel, and costs no task.
//! 2. A close asks ([`task::cancelled`]); only an abort drops.
//! 3. `closed` is set when the last connection has ended, never before.

use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use crate::sync::{Event, Semaphore};
use crate::task::{self, CancellationToken};
use crate::time::timeout;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Connections of one server at the same time, unless told otherwise.
const CONNECTIONS_MAX: usize = 10_000;

/// What a [`Server`] takes connections from.
///
/// ```
/// use corering::server::Listener;
/// use std::io;
///
/// /// Counts the connections of another listener.
/// struct Counting<L>(L, std::cell::Cell<u64>);
///
/// impl<L: Listener> Listener for Counting<L> {
///     type Stream = L::Stream;
///     type Address = L::Address;
///
///     async fn accept(&self) -> io::Result<(L::Stream, L::Address)> {
///         let accepted = self.0.accept().await?;
///         self.1.set(self.1.get() + 1);
///         Ok(accepted)
///     }
/// }
/// ```
#[allow(
    async_fn_in_trait,
    reason = "tasks stay on their core: nobody asks for `Send`"
)]
pub trait Listener: 'static {
    /// A connection.
    type Stream: 'static;
    /// The address of a peer.
    type Address: 'static;

    /// The next connection. It must be safe to drop; it holds up all others while it runs, so a
    /// handshake belongs into the handler.
    ///
    /// # Errors
    /// Only what makes the listener useless: it closes the server.
    async fn accept(&self) -> io::Result<(Self::Stream, Self::Address)>;

    /// Closes the listener, so that its address is free once it returns. By default a drop.
    ///
    /// # Errors
    /// What the kernel says; the server does not mind.
    async fn close(self) -> io::Result<()>
    where
        Self: Sized,
    {
        drop(self);
        Ok(())
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Address = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }

    async fn close(self) -> io::Result<()> {
        TcpListener::close(self).await
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = std::os::unix::net::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::Address)> {
        UnixListener::accept(self).await
    }

    async fn close(self) -> io::Result<()> {
        UnixListener::close(self).await
    }
}

/// How a [`Server`] is started.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::net::TcpListener;
/// use corering::server::Builder;
///
/// let listener = TcpListener::bind("127.0.0.1:7000").await?;
/// let server = Builder::new().max_connections(100).start(listener, |mut stream, peer| async move {
///     stream.write_all(format!("hello {peer}\n").as_bytes()).await
/// });
/// server.wait_closed().await
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct Builder {
    connections_max: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A server of at most 10,000 connections at the same time.
    pub fn new() -> Builder {
        Builder {
            connections_max: CONNECTIONS_MAX,
        }
    }

    /// How many connections are handled at the same time; more wait until one has ended.
    ///
    /// # Panics
    /// If it is 0: nobody would ever be served.
    pub fn max_connections(mut self, connections: usize) -> Builder {
        assert!(
            connections > 0,
            "a server without connections serves nobody: allow at least one"
        );
        self.connections_max = connections;
        self
    }

    /// Starts to accept: `handler` is called with each connection and its peer's address, and what
    /// it returns runs as a task of its own on this core. Its output is dropped; a panic ends that
    /// connection alone (see [`on_task_panic`](crate::Builder::on_task_panic)).
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn start<L, H, F>(self, listener: L, handler: H) -> Server
    where
        L: Listener,
        H: Fn(L::Stream, L::Address) -> F + 'static,
        F: Future + 'static,
    {
        let inner = Rc::new(Inner {
            connections_max: self.connections_max,
            slots: Rc::new(Semaphore::new(self.connections_max)),
            connections: Cell::new(0),
            closing: task::token().child_token(),
            aborted: CancellationToken::new(),
            closed: Event::new(),
            error: RefCell::new(None),
        });
        drop(task::spawn(serve(inner.clone(), listener, handler)));
        Server { inner }
    }
}

/// A running server: accepts connections, and gives each to a task of its own. Clones are handles
/// of the same.
///
/// It belongs to its core. To serve one port on every core, start one on each, on a listener of
/// [`bind_reuse_port`](TcpListener::bind_reuse_port). Dropping the handle leaves the server
/// running, until its runtime is asked to end ([`stopping`](crate::stopping)), or the task that has
/// started it ([`JoinHandle::cancel`](crate::task::JoinHandle::cancel)).
///
/// A handler that wants to hear of the end waits for [`task::cancelled`]
/// beside its next request; one that does not look is awaited all the same.
///
/// ```
/// use corering::net::{TcpListener, TcpStream};
/// use corering::server::Server;
/// use corering::task::run_until_cancelled;
/// use std::time::Duration;
///
/// async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
///     while let Some(chunk) = run_until_cancelled(stream.recv()).await {
///         let Some(chunk) = chunk? else { break };
///         stream.send_all(chunk).await.0?; // what has begun is finished
///     }
///     Ok(())
/// }
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = Server::start(listener, |stream, _peer| echo(stream));
///
///     let mut client = TcpStream::connect(address).await?;
///     client.write_all(b"ping").await?;
///     client.read_exact(&mut [0; 4]).await?;
///     // The client stays connected; the server ends nevertheless.
///     assert_eq!(server.shutdown(Duration::from_secs(5)).await?, 0);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Rc<Inner>,
}

struct Inner {
    connections_max: usize,
    slots: Rc<Semaphore>,
    connections: Cell<usize>,
    /// Ends the accepting; the connections' tokens are its children.
    closing: CancellationToken,
    /// Drops the handlers.
    aborted: CancellationToken,
    closed: Event,
    /// What made the listener useless.
    error: RefCell<Option<io::Error>>,
}

impl Server {
    /// Starts a server of at most 10,000 connections; see [`Builder::start`].
    ///
    /// # Panics
    /// If the thread runs no core; see [`spawn`](crate::spawn).
    #[track_caller]
    pub fn start<L, H, F>(listener: L, handler: H) -> Server
    where
        L: Listener,
        H: Fn(L::Stream, L::Address) -> F + 'static,
        F: Future + 'static,
    {
        Builder::new().start(listener, handler)
    }

    /// Accepts no more, closes the listener, and asks every connection to end. Clients that nobody
    /// had accepted yet are refused.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    /// Closes, and drops every handler where it stands, at its next turn.
    pub fn abort(&self) {
        self.close();
        self.inner.aborted.cancel();
    }

    /// Waits until the server has closed, its address is free and the last connection has ended.
    /// It does not close it, and it does not hurry anybody: see [`shutdown`](Server::shutdown).
    ///
    /// # Errors
    /// What made the listener useless, to whoever waits first; see [`TcpListener::accept`].
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.inner.closed.wait().await;
        match self.inner.error.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Closes, gives the connections this long to end, then aborts the rest; how many those were.
    ///
    /// # Errors
    /// As [`wait_closed`](Server::wait_closed).
    ///
    /// # Cancel safety
    /// Safe: the server stays closed, and the connections go on until somebody aborts them.
    pub async fn shutdown(&self, limit: Duration) -> io::Result<usize> {
        self.close();
        if let Ok(result) = timeout(limit, self.wait_closed()).await {
            return result.map(|()| 0);
        }
        let late = self.connections();
        self.abort();
        self.wait_closed().await.map(|()| late)
    }

    /// How many connections are being handled.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.connections.get()
    }

    /// Whether it still accepts.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.inner.closing.is_cancelled()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("serving", &self.is_serving())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// The server's own task.
async fn serve<L, H, F>(inner: Rc<Inner>, listener: L, handler: H)
where
    L: Listener,
    H: Fn(L::Stream, L::Address) -> F + 'static,
    F: Future + 'static,
{
    let accepting = accept_all(&inner, &listener, handler);
    if let Some(Err(error)) = inner.closing.run_until_cancelled(accepting).await {
        inner.error.replace(Some(error));
    }
    // The connections hear of it first: they need not wait for the kernel.
    inner.closing.cancel();
    let _closed_anyway = listener.close().await;
    // Every connection has one; so all have ended when this has them all.
    let _all = inner.slots.acquire_many(inner.connections_max).await;
    inner.closed.set();
}

/// Accepts until the runtime is asked to end, or the listener is useless.
async fn accept_all<L, H, F>(inner: &Rc<Inner>, listener: &L, handler: H) -> io::Result<()>
where
    L: Listener,
    H: Fn(L::Stream, L::Address) -> F + 'static,
    F: Future + 'static,
{
    let handler = Rc::new(handler);
    while let Some(slot) = unless_stopping(inner.slots.clone().acquire_owned()).await {
        let slot = slot.expect("nobody closes the semaphore");
        let (stream, address) = match listener.accept().await {
            Err(_) if crate::is_stopping() => break,
            accepted => accepted?,
        };
        let (handler, connection) = (handler.clone(), Connection::new(inner.clone()));
        let token = inner.closing.child_token();
        let task = task::Builder::new().cancellation_token(token);
        drop(task.spawn(async move {
            let (_slot, connection) = (slot, connection);
            // Called in here, so that its panic is this connection's alone.
            let handling = async { handler(stream, address).await };
            drop(connection.0.aborted.run_until_cancelled(handling).await);
        }));
    }
    Ok(())
}

/// Counts itself.
struct Connection(Rc<Inner>);

impl Connection {
    fn new(inner: Rc<Inner>) -> Connection {
        inner.connections.set(inner.connections.get() + 1);
        Connection(inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let connections = &self.0.connections;
        connections.set(connections.get() - 1);
    }
}

/// The output of `future`, or `None` as soon as the runtime is asked to end.
pub(crate) async fn unless_stopping<F: Future>(future: F) -> Option<F::Output> {
    let (mut future, mut stopping) = (pin!(future), pin!(crate::stopping()));
    poll_fn(|cx| match stopping.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => future.as_mut().poll(cx).map(Some),
    })
    .await
}
