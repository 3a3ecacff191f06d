//! Signals in the simulation: whoever listens is told, whoever does not ends, and no host hears of
//! the real process' signals.

#![cfg(all(feature = "sim", feature = "signal"))]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

use corering::net::{TcpListener, TcpStream};
use corering::server::Server;
use corering::signal::{Signal, SignalKind, ctrl_c, signal};
use corering::sim::{Host, Sim, seeds};
use corering::time::{sleep, timeout};
use corering::{fs, spawn, spawn_on};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

corering::follow_the_seed!();

#[global_allocator]
static ALLOCATOR: corering::sim::GuardAlloc = corering::sim::GuardAlloc::new();

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn idle(sim: &mut Sim, name: &str) -> Host {
    sim.host(name).boot(|_core| async {})
}

// ---------------------------------------------------------------------------------------------
// A service that ends in order

/// Answers each line with itself, slowly; at `SIGTERM` it takes no more connections, and lets
/// those that it has come to their end.
async fn serve() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    let server = Server::start(listener, async |mut stream: TcpStream, _peer| {
        let mut request = [0; 8];
        while stream.read_exact(&mut request).await.is_ok() {
            sleep(50 * MS).await;
            if stream.write_all(&request).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            if corering::task::is_cancelled() {
                return;
            }
        }
    });
    term.recv().await;
    server.close();
    server.wait_closed().await?;
    fs::write("/log", b"ended in order").await
}

async fn connect() -> TcpStream {
    loop {
        match TcpStream::connect("server:7000").await {
            Ok(stream) => return stream,
            Err(_) => sleep(5 * MS).await,
        }
    }
}

#[test]
fn a_server_drains_when_it_is_told_to_end() {
    let ended = std::sync::atomic::AtomicU64::new(0);
    seeds(0..60, |sim| {
        let is_done = Rc::new(Cell::new(false));
        let told = is_done.clone();
        let server = sim.host("server").boot(move |_core| {
            let told = told.clone();
            async move {
                serve().await.expect("nothing fails here");
                told.set(true);
            }
        });
        let client = idle(sim, "client");
        let control = sim.control();
        let host = server.clone();
        sim.block_on(&client, async move {
            let mut stream = connect().await;
            stream.write_all(b"question").await.expect("sent");
            sleep(MS * (control.random() % 60) as u32).await;
            // In the midst of a request, or between two.
            control.signal(&host, SignalKind::terminate());
            let mut answer = [0; 8];
            match stream.read_exact(&mut answer).await {
                Ok(()) => assert_eq!(&answer, b"question"),
                // It had not come to the server before the end.
                Err(error) => assert_ne!(error.kind(), ErrorKind::TimedOut, "{error}"),
            }
        });
        sim.run_until(|| is_done.get());
        assert!(sim.is_up(&server), "the program has ended by itself");
        assert_eq!(
            sim.read_file(&server, "/log").as_deref(),
            Some(&b"ended in order"[..])
        );
        sim.block_on(&client, async {
            let refused = TcpStream::connect("server:7000").await;
            assert!(refused.is_err(), "it takes no more connections");
        });
        ended.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(ended.into_inner() > 0, "some seed has run");
}

// ---------------------------------------------------------------------------------------------
// Without a listener

/// As a crash of the process, and not a loss of power: what was written is in the page cache.
#[test]
fn a_host_that_does_not_listen_ends() {
    let deadly = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::from_raw(libc::SIGKILL),
        SignalKind::from_raw(libc::SIGRTMIN()),
    ];
    for (seed, kind) in (0..).zip(deadly) {
        let mut sim = Sim::new(seed);
        let host = idle(&mut sim, "server");
        let client = idle(&mut sim, "client");
        let (mut ours, gone) = (None, Rc::new(Cell::new(false)));
        let at_end = gone.clone();
        sim.block_on(&host, async {
            fs::write("/file", b"never synced").await.expect("written");
            let listener = TcpListener::bind("0.0.0.0:7000").await.expect("bound");
            drop(spawn(async move {
                let (_stream, _) = listener.accept().await.expect("accepted");
                pending::<()>().await
            }));
        });
        ours.replace(sim.block_on(&client, connect()));
        sim.signal(&host, kind);
        assert!(!sim.is_up(&host), "{kind:?}");
        // The kernel closes what the process had: peers hear of it.
        let mut stream = ours.take().expect("connected");
        sim.block_on(&client, async move {
            let end = timeout(SECOND, stream.recv()).await.expect("told");
            assert!(!matches!(end, Ok(Some(_))));
            at_end.set(true);
        });
        assert!(gone.get());
        // What the process is told now reaches nobody.
        sim.signal(&host, kind);
        sim.restart(&host);
        let bytes = sim.block_on(&host, fs::read("/file")).expect("read");
        assert_eq!(bytes, b"never synced");
        sim.finish();
    }
}

#[test]
fn what_does_nothing_by_default_does_nothing() {
    let mut sim = Sim::new(1);
    let host = idle(&mut sim, "a");
    let harmless = [
        SignalKind::child(),
        SignalKind::window_change(),
        SignalKind::pipe(),
    ];
    for kind in harmless {
        sim.signal(&host, kind);
    }
    for number in [libc::SIGCONT, libc::SIGURG] {
        sim.signal(&host, number);
    }
    assert!(sim.is_up(&host));
    sim.finish();
}

#[test]
fn what_is_not_simulated_is_refused() {
    let text = |number: i32| {
        let mut sim = Sim::new(1);
        let host = idle(&mut sim, "a");
        let panic = catch_unwind(AssertUnwindSafe(|| sim.signal(&host, number)));
        *panic
            .expect_err("refused")
            .downcast::<String>()
            .expect("a text")
    };
    assert!(text(libc::SIGSTOP).contains("`clog`"));
    assert!(text(libc::SIGTSTP).contains("not simulated"));
    for number in [0, -1, 65] {
        assert!(text(number).contains("is no signal"), "{number}");
    }
}

// ---------------------------------------------------------------------------------------------
// Listening

/// What the real kernel does for real listeners (see the unit tests of `signal`), a host does.
#[test]
fn every_listener_on_every_core_is_told_once() {
    seeds(0..50, |sim| {
        let told = Rc::new(RefCell::new(Vec::new()));
        let log = told.clone();
        let host = sim.host("two").cores(2).boot(move |core| {
            let log = log.clone();
            async move {
                let kind = SignalKind::user_defined1();
                let mut all = [signal(kind).unwrap(), signal(kind).unwrap()];
                let mut other = signal(SignalKind::user_defined2()).unwrap();
                for listener in &mut all {
                    listener.recv().await;
                    let again = timeout(100 * MS, listener.recv()).await;
                    log.borrow_mut().push((core, again.is_err()));
                }
                assert!(timeout(MS, other.recv()).await.is_err(), "not its signal");
            }
        });
        sim.run_for(200 * MS);
        sim.signal(&host, SignalKind::user_defined1());
        sim.run_until(|| told.borrow().len() == 4);
        let mut all = told.take();
        all.sort_unstable();
        assert_eq!(all, [(0, true), (0, true), (1, true), (1, true)]);
    });
}

#[test]
fn a_signal_before_the_first_recv_is_told_and_nonsense_is_refused() {
    seeds(0..50, |sim| {
        let host = idle(sim, "a");
        let kind = SignalKind::user_defined2();
        let listener = sim.block_on(&host, async move { signal(kind).unwrap() });
        sim.signal(&host, kind);
        sim.signal(&host, kind);
        sim.block_on(&host, async move {
            let mut listener: Signal = listener;
            assert_eq!(timeout(SECOND, listener.recv()).await, Ok(Some(())));
            assert!(timeout(MS, listener.recv()).await.is_err(), "both are one");
            drop(listener);
            let mut late = signal(kind).unwrap();
            assert!(timeout(50 * MS, late.recv()).await.is_err(), "an old one");
            for number in [0, -1, 129, 9, 11] {
                let error = signal(SignalKind::from_raw(number)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{number}");
            }
        });
        // Once listened for it never does what it does by default, also when nobody listens.
        sim.signal(&host, kind);
        assert!(sim.is_up(&host));
        // Another process knows nothing of that.
        sim.restart(&host);
        sim.signal(&host, kind);
        assert!(!sim.is_up(&host));
    });
}

/// From inside of the simulation: one host tells another, or itself.
#[test]
fn a_host_is_told_by_another_and_by_itself() {
    seeds(0..50, |sim| {
        let count = Rc::new(Cell::new(0));
        let pressed = count.clone();
        let patient = sim.host("patient").boot(move |_core| {
            let pressed = pressed.clone();
            async move {
                loop {
                    ctrl_c().await.expect("listening");
                    pressed.set(pressed.get() + 1);
                }
            }
        });
        let (other, control) = (idle(sim, "other"), sim.control());
        let (target, seen) = (patient.clone(), count.clone());
        sim.block_on(&other, async move {
            // Its first turn comes before it is interrupted.
            sleep(SECOND).await;
            for n in 1..4 {
                control.signal(&target, SignalKind::interrupt());
                while seen.get() < n {
                    sleep(MS).await;
                }
            }
        });
        assert_eq!(count.get(), 3);
        let (control, own) = (sim.control(), other.clone());
        sim.spawn(&other, async move {
            control.signal(&own, libc::SIGTERM);
            // It has this turn to its end, and no other.
            sleep(MS).await;
            unreachable!("nobody listens for it");
        });
        sim.run_for(SECOND);
        assert!(!sim.is_up(&other) && sim.is_up(&patient));
    });
}

/// The real process gets a signal while a host listens for it: only a real listener is told.
#[test]
fn the_process_and_the_hosts_have_signals_of_their_own() {
    let kind = SignalKind::window_change();
    let mut sim = Sim::new(3);
    let host = idle(&mut sim, "a");
    let mut listener = sim.block_on(&host, async move { signal(kind).unwrap() });
    corering::block_on(async move {
        let mut real = signal(kind).unwrap();
        let pid = std::process::id().to_string();
        let mut kill = corering::process::Command::new("kill");
        let status = kill.args(["-WINCH", &pid]).status().await.unwrap();
        assert!(status.success());
        let told = timeout(10 * SECOND, real.recv()).await;
        assert_eq!(told, Ok(Some(())));
    });
    sim.block_on(&host, async move {
        assert!(timeout(SECOND, listener.recv()).await.is_err());
        // Nor does a real core of a host's name hear it.
        let elsewhere = spawn_on(0, || async { corering::core_id() });
        assert_eq!(elsewhere.await.unwrap(), 0);
    });
    sim.signal(&host, kind);
    sim.finish();
}
