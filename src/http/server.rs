//! The HTTP/1.1 server: hyper on our sockets, with limits, one task a connection.
//!
//! ```text
//!   accept ──permit of the connection limit──► task: hyper's connection + the watch
//!     │ stopping                                  │ ends by itself, by the watch, or drains
//!     └─► every connection: finish the answer, then close ──► all permits back: served
//! ```
//! The watch knows what a connection is doing, and gives it so long:
//! ```text
//!   Idle ──bytes──► Head ──request complete──► Busy ──answer's body dropped──► Idle
//!    └ idle_time     └ header_time              └ unlimited; what is sent must move: write_time
//! ```

use super::send_files;
use super::watch::{Watch, Watched};
use crate::is_stopping;
use crate::net::{TcpListener, TcpStream};
use crate::server::unless_stopping;
use crate::sync::{Notify, OwnedPermit, Semaphore};
use crate::time::{Instant, Sleep, sleep_until};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a stranger may cost a server. All limits are finite by default.
///
/// ```
/// use corering::http::Limits;
/// let limits = Limits { connections: 100, ..Limits::default() };
/// assert_eq!(limits.header_bytes, 16 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time, of this listener; more wait in the kernel's queue. 10,000.
    pub connections: usize,
    /// Bytes of a request's line and headers together; more is answered with 431. 16 KiB.
    pub header_bytes: usize,
    /// Headers of a request; more is answered with 431. 100.
    pub headers: usize,
    /// From the first byte of a request to the end of its headers. 10 s.
    pub header_time: Duration,
    /// Between an answer, or the connecting, and the next request's first byte. 60 s.
    pub idle_time: Duration,
    /// How long the peer may acknowledge nothing of what is sent (`TCP_USER_TIMEOUT`). 30 s.
    pub write_time: Duration,
}

/// hyper's own default: to set it makes every request allocate.
const HEADERS: usize = 100;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 10_000,
            header_bytes: 16 * 1024,
            headers: HEADERS,
            header_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
        }
    }
}

/// Serves HTTP/1.1 on a listener, until the runtime is asked to end.
///
/// Then it accepts no more, lets every connection finish the answer that it is sending (idle ones
/// close at once), and returns when all are closed. It does not hurry them: a deadline is the
/// caller's ([`timeout`](crate::time::timeout()), or
/// [`Runtime::shutdown`](crate::Runtime::shutdown)).
///
/// A connection that goes wrong ends alone. An error of the service breaks its connection off.
///
/// # Errors
/// Only what makes the listener useless; see [`TcpListener::accept`].
///
/// # Cancel safety
/// Dropping it stops accepting; connections go on, and drain when the runtime is asked to end.
///
/// ```no_run
/// use corering::http::{Limits, serve};
/// use corering::net::TcpListener;
/// use http_body_util::Full;
/// use hyper::{Request, Response, body::Bytes, service::service_fn};
/// use std::convert::Infallible;
///
/// # async fn f() -> std::io::Result<()> {
/// let hello = service_fn(|_: Request<hyper::body::Incoming>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello\n"))))
/// });
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// serve(listener, hello, Limits::default()).await
/// # }
/// ```
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let slots = Rc::new(Semaphore::new(limits.connections));
    let all = limits.connections;
    let server = Rc::new(Server::new(limits));
    let result = loop {
        let Some(slot) = unless_stopping(slots.clone().acquire_owned()).await else {
            break Ok(());
        };
        let slot = slot.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let task = connection(stream, service.clone(), server.clone(), slot);
                drop(crate::spawn(task));
            }
            Err(_) if is_stopping() => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(listener);
    if result.is_ok() {
        server.drain();
        // Every connection has one; so all are closed when this has them all.
        let _ = slots.acquire_many(all).await;
    }
    result
}

/// What all connections of a listener share.
struct Server {
    limits: Limits,
    http: http1::Builder,
    draining: Cell<bool>,
    drain: Notify,
}

impl Server {
    fn new(limits: Limits) -> Server {
        let mut http = http1::Builder::new();
        // The watch keeps the time: hyper's own timer would cost an allocation a request, and
        // does not tell an idle connection from a slow one.
        http.header_read_timeout(None);
        http.max_header_size(limits.header_bytes);
        if limits.headers != HEADERS {
            http.max_headers(limits.headers);
        }
        Server {
            limits,
            http,
            draining: Cell::new(false),
            drain: Notify::new(),
        }
    }

    fn drain(&self) {
        self.draining.set(true);
        self.drain.notify_waiters();
    }
}

async fn connection<S, B>(stream: TcpStream, service: S, server: Rc<Server>, slot: OwnedPermit)
where
    S: Service<Request<Incoming>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Both only make it better: a peer that is gone already shows at the first read.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_user_timeout(Some(server.limits.write_time));
    let watch = Rc::new(Watch::new(send_files::prepare(&stream)));
    let io = Watched::new(stream, watch.clone());
    let serving = watch.clone();
    let watched = service_fn(move |mut request| {
        let busy = serving.busy();
        if serving.sends_files() {
            send_files::mark(&mut request);
        }
        let answer = service.call(request);
        async move {
            let response = answer.await?;
            // The body is dropped when it is sent, and the mark with it.
            Ok::<_, S::Error>(response.map(|body| {
                body.map_err(move |error| {
                    let _until_the_body_is_dropped = &busy;
                    error
                })
            }))
        }
    });
    let mut http = pin!(server.http.serve_connection(io, watched));
    let mut told = pin!(server.drain.notified());
    let mut draining = false;
    let mut clock = Clock::new(&server.limits);
    poll_fn(|cx| {
        if !draining && (server.draining.get() || !clock.started) {
            // Polled once, so that it wakes this task; the flag tells the rest.
            draining = told.as_mut().poll(cx).is_ready() || server.draining.get();
            if draining {
                http.as_mut().graceful_shutdown();
            }
        }
        // Its errors are the peer's: it went away, or spoke no HTTP and has been told so.
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        clock.poll_over(&watch, cx)
    })
    .await;
    drop(slot);
}

/// The time that a connection has for what it is doing.
struct Clock<'a> {
    limits: &'a Limits,
    sleep: Sleep,
    started: bool,
}

impl Clock<'_> {
    fn new(limits: &Limits) -> Clock<'_> {
        Clock {
            limits,
            sleep: sleep_until(Instant::now() + limits.idle_time),
            started: false,
        }
    }

    /// Ready when the time is over. The timer is moved only when it would come too late, or has
    /// come too early: so an ordinary request never moves it.
    fn poll_over(&mut self, watch: &Watch, cx: &mut Context<'_>) -> Poll<()> {
        self.started = true;
        let deadline = watch.deadline(self.limits);
        if let Some(deadline) = deadline.filter(|deadline| *deadline < self.sleep.deadline()) {
            self.sleep.reset(deadline);
        }
        while Pin::new(&mut self.sleep).poll(cx).is_ready() {
            let now = Instant::now();
            match deadline {
                Some(deadline) if deadline <= now => return Poll::Ready(()),
                Some(deadline) => self.sleep.reset(deadline),
                None => self.sleep.reset(now + self.limits.idle_time),
            }
        }
        Poll::Pending
    }
}
