//! `corering serve`: servers that other programs can use.
//!
//! ```text
//!   listen on core 0 (fails: one line, status 1) ──► the other cores listen on the same port
//!        │ every core serves
//!        ▼ SIGTERM, Ctrl-C
//!   stop: accept no more, finish what is in flight ──all done, or the time is over──► status 0
//!        └─ a second signal ──────────────────────────────────────────────► ends at once
//! ```

use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::http::{Limits, ServeDir, serve};
use corering::net::{TcpListener, TcpStream};
use corering::signal::{Signal, SignalKind, signal};
use corering::sync::Notify;
use corering::task::JoinSet;
use corering::time::timeout;
use corering::{Handle, JoinError, Runtime};

use crate::args::{Running, ServeEcho, ServeFiles};
use crate::fail::{Failure, OrFail};
use crate::race::{First, race};

/// Sends back whatever arrives, until Ctrl-C.
pub(crate) fn echo(args: &ServeEcho) -> Result<(), Failure> {
    let what = |address: SocketAddr| format!("echoing on {address}");
    run(args.addr, &args.running, what, echo_all)
}

/// Serves a directory over HTTP/1.1, until Ctrl-C.
pub(crate) fn files(args: &ServeFiles) -> Result<(), Failure> {
    let directory = args.dir.clone();
    check_directory(&directory)?;
    let what = |address: SocketAddr| format!("serving {} on http://{address}/", args.dir.display());
    let listing = !args.no_listing;
    run(args.addr, &args.running, what, move |listener| {
        files_on(directory.clone(), listing, listener)
    })
}

/// Echoes on this core, until the runtime is asked to end and every connection has been answered.
pub(crate) async fn echo_all(listener: TcpListener) -> io::Result<()> {
    let ending = Rc::new(Notify::new());
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(echo_one(stream, ending.clone()))),
            Err(_) if corering::is_stopping() => break,
            Err(error) => return Err(error),
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    ending.notify_waiters();
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Sends back what comes, in the very buffers in which it came. Its errors are the peer's.
async fn echo_one(mut stream: TcpStream, ending: Rc<Notify>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut ended = pin!(ending.notified());
    while !corering::is_stopping() {
        match race(stream.recv(), ended.as_mut()).await {
            First::Left(chunk) => match chunk? {
                Some(chunk) => stream.send_all(chunk).await.0?,
                None => break,
            },
            First::Right(()) => break,
        }
    }
    // What came until now is answered too.
    while let First::Left(Ok(Some(chunk))) = race(stream.recv(), async {}).await {
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

/// Serves a directory on this core.
pub(crate) async fn files_on(
    directory: PathBuf,
    listing: bool,
    listener: TcpListener,
) -> io::Result<()> {
    // Nothing stands between the two that would look at a body.
    let files = ServeDir::open(directory).await?.sendfile(true);
    let files = files.listing(listing);
    serve(listener, files.into_service(), Limits::default()).await
}

/// Said before the port is taken: the most common mistakes, each with its cure.
fn check_directory(directory: &Path) -> Result<(), Failure> {
    let what = || format!("cannot serve {}", directory.display());
    let metadata = std::fs::metadata(directory).or_fail(what)?;
    if metadata.is_dir() {
        return Ok(());
    }
    let cure = "name the directory that the file is in";
    Err(Failure::new(what(), "it is not a directory").with_cure(cure))
}

/// Runs `server` on every core until a signal has asked for the end.
fn run<F, Fut>(
    address: SocketAddr,
    running: &Running,
    what: impl Fn(SocketAddr) -> String,
    server: F,
) -> Result<(), Failure>
where
    F: Fn(TcpListener) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let cores = usize::from(running.cores);
    let mut runtime = Runtime::builder()
        .cores(cores)
        .build()
        .map_err(|error| Failure::new("cannot start", error))?;
    let cannot_listen = || format!("cannot listen on {address}");
    if cores > 1 {
        // Another server that shares its port in the same way would go unnoticed otherwise.
        let free = runtime.block_on(async { TcpListener::bind(address).await.map(drop) });
        free.or_fail(cannot_listen)?;
    }
    let drain = running.drain;
    let handle = runtime.handle();
    let clean = runtime.block_on(async move {
        let listener = match cores {
            1 => TcpListener::bind(address).await,
            _ => TcpListener::bind_reuse_port(address).await,
        };
        let listener = listener.or_fail(cannot_listen)?;
        let address = listener.local_addr().or_fail(cannot_listen)?;
        let signals = Signals::new().or_fail(|| "cannot listen to signals".to_owned())?;
        let servers = start(&handle, address, listener, &server);
        announce(&what(address), cores);
        until_ended(servers, signals, &handle, drain).await
    })?;
    drop(runtime.shutdown(Duration::ZERO));
    if !clean {
        eprintln!("corering: not everything was finished within {drain:?}");
    }
    Ok(())
}

type Servers = JoinSet<io::Result<()>>;

/// Starts the server on each core; all but core 0 listen on the address that it got.
fn start<F, Fut>(handle: &Handle, address: SocketAddr, listener: TcpListener, server: &F) -> Servers
where
    F: Fn(TcpListener) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let mut servers = JoinSet::new();
    servers.spawn(server(listener));
    for core in 1..handle.cores() {
        let server = server.clone();
        let there = handle.spawn_on(core, move || async move {
            server(TcpListener::bind_reuse_port(address).await?).await
        });
        servers.spawn(async move {
            there
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)))
        });
    }
    servers
}

/// Waits for a signal, then for what is in flight; whether all of it was finished.
async fn until_ended(
    mut servers: Servers,
    mut signals: Signals,
    handle: &Handle,
    drain: Duration,
) -> Result<bool, Failure> {
    if let First::Right(result) = race(signals.next(), servers.join_next()).await {
        return Err(ended(result));
    }
    handle.stop();
    let finish = timeout(drain, async {
        while servers.join_next().await.is_some() {}
    });
    match race(signals.next(), finish).await {
        First::Left(kind) => std::process::exit(128 + kind.as_raw_value()),
        First::Right(in_time) => Ok(in_time.is_ok()),
    }
}

/// A server ends only when it is told to; unless something is wrong with it.
fn ended(result: Option<Result<io::Result<()>, JoinError>>) -> Failure {
    let what = "a core has stopped serving";
    match result {
        Some(Ok(Err(error))) => Failure::io(what, &error),
        Some(Err(error)) => Failure::new(what, error),
        _ => Failure::new(what, "nobody asked for it"),
    }
}

/// The signals that ask for the end.
pub(crate) struct Signals([Signal; 2]);

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self([interrupt, signal(SignalKind::terminate())?]))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> SignalKind {
        poll_fn(|cx| {
            let signals = self.0.iter_mut();
            let mut arrived = signals.filter_map(|signal| match signal.poll_recv(cx) {
                Poll::Ready(Some(())) => Some(signal.kind()),
                _ => None,
            });
            arrived.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// One line on standard output: what runs and where, also for scripts that wait for it.
fn announce(what: &str, cores: usize) {
    let cores = match cores {
        1 => "1 core".to_owned(),
        n => format!("{n} cores"),
    };
    let mut out = io::stdout().lock();
    // A reader that is gone is no reason not to serve.
    let _ = writeln!(out, "corering: {what} ({cores}); Ctrl-C ends it").and_then(|()| out.flush());
}
