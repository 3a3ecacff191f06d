//! Wrong use says what to do instead: outside of a runtime, after its end, twice, on a wrong core.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "the harness looks at memory"
)]

mod harness;

use corering::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use corering::server::Server;
use corering::time::{Instant, interval, sleep, timeout};
use corering::{Runtime, fs, pipe, process, spawn, stdio};
use futures::FutureExt;
use harness::{Case, panic_of};
use std::future::pending;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// What each panics with, by name; the ones that do not panic are missing.
fn texts<const N: usize>(acts: [(&'static str, fn()); N]) -> Vec<(&'static str, Option<String>)> {
    let called = acts.map(|(name, act)| (name, panic_of(act)));
    called.into()
}

/// Polls it once.
fn once<F: Future>(future: F) {
    let _whatever = future.now_or_never();
}

#[test]
fn outside_of_a_runtime() {
    Case::new("outside_of_a_runtime").run(|| {
        let found = texts([
            ("TcpListener::bind", || {
                once(TcpListener::bind("127.0.0.1:0"))
            }),
            ("TcpStream::connect", || {
                once(TcpStream::connect("127.0.0.1:1"))
            }),
            ("UdpSocket::bind", || once(UdpSocket::bind("127.0.0.1:0"))),
            ("UnixStream::pair", || drop(UnixStream::pair())),
            ("UnixListener::bind", || {
                drop(UnixListener::bind("/tmp/corering-nowhere"))
            }),
            ("UnixDatagram::pair", || drop(UnixDatagram::pair())),
            ("fs::read", || once(fs::read("/dev/null"))),
            ("fs::write_atomic", || {
                once(fs::write_atomic("/tmp/corering-nowhere", ""))
            }),
            ("pipe", || drop(pipe::pipe())),
            ("stdin", || drop(stdio::stdin())),
            ("Command::spawn", || {
                drop(process::Command::new("true").spawn())
            }),
            ("sleep", || once(sleep(HOUR))),
            ("timeout", || once(timeout(HOUR, pending::<()>()))),
            ("interval", || {
                let mut ticks = interval(HOUR);
                // The first tick is at once.
                once(ticks.tick());
                once(ticks.tick());
            }),
            ("spawn", || drop(spawn(async {}))),
            ("spawn_on", || drop(corering::spawn_on(0, || async {}))),
            ("stopping", || once(corering::stopping())),
            ("nop", || once(corering::nop())),
        ]);
        for (name, text) in found {
            let text = text.unwrap_or_else(|| panic!("{name} works outside of a runtime"));
            assert!(text.contains("block_on"), "{name}: {text}");
        }
        // A clock is a clock everywhere.
        assert!(Instant::now() <= Instant::now());
    });
}

/// What has outlived its runtime is inert, and says why.
#[test]
fn after_the_end_of_the_runtime() {
    Case::new("after_the_end_of_the_runtime").run(|| {
        let mut runtime = Runtime::new().unwrap();
        let (mut stream, _peer, listener, file, task) = runtime.block_on(async {
            let (stream, peer) = UnixStream::pair().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let file = fs::File::open("/dev/null").await.unwrap();
            (stream, peer, listener, file, spawn(pending::<()>()))
        });
        drop(runtime);
        let read = file.read_at(vec![0; 8], 0).now_or_never();
        let errors = [
            stream.recv().now_or_never().map(|r| r.unwrap_err()),
            listener.accept().now_or_never().map(|r| r.unwrap_err()),
            read.map(|(result, _)| result.unwrap_err()),
        ];
        for (at, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{at} waits for ever"));
            assert!(error.to_string().contains("runtime"), "{at}: {error}");
        }
        let error = task.now_or_never().expect("it has ended").unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    });
}

#[test]
fn a_server_needs_a_runtime() {
    let mut runtime = Runtime::new().unwrap();
    let bind = TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(bind).unwrap();
    let text = panic_of(|| drop(Server::start(listener, |_, _| async {}))).unwrap();
    assert!(text.contains("corering::block_on"), "{text}");
}

/// hyper's timers may travel, because its types ask for it; they sleep at home only.
#[cfg(feature = "hyper")]
#[test]
fn a_sleep_of_another_core() {
    use hyper::rt::Timer as _;
    corering::block_on(async {
        let mut nap = corering::hyper_rt::Timer::new().sleep(HOUR);
        let text = std::thread::scope(|scope| {
            let away = scope.spawn(|| panic_of(|| nap.as_mut().now_or_never()));
            away.join().unwrap().expect("it panics")
        });
        assert!(text.contains("it belongs to one core"), "{text}");
    });
}
