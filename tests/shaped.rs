//! Links that are slow, and ports that are few: each in a network of the case's own.
//!
//! The child leaves for a network namespace, which ends with it. Root only, and `ip` and `tc`:
//! elsewhere the cases say `SKIP`.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::TcpStream;
use corering::time::sleep;
use corering::{Metrics, Runtime, spawn};
use harness::net::{listener, pair_of};
use harness::{Case, Census, check_coded, coded_bytes, scaled};
use std::cell::Cell;
use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// A megabit per second.
const LINK_BYTES_PER_SECOND: u64 = 125_000;
const CONNECTIONS: u64 = 20;
/// What a connection may hold here, in the runtime and in the kernel, before its writer waits.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
/// What a connection may cost this process.
const MEMORY_KIB_MAX: u64 = 256;

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// A network with nothing but a loopback, set up by these commands; or why there is none.
fn own_network(commands: &[&str]) -> Result<(), String> {
    if !harness::is_root() {
        return Err("a network namespace takes root".into());
    }
    // SAFETY: gives this process a network of its own.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let why = std::io::Error::last_os_error();
        return Err(format!("no network namespace to be had: {why}"));
    }
    for command in commands {
        let mut words = command.split(' ');
        let program = words.next().expect("a program");
        let mut command_line = Command::new(program);
        let done = command_line.args(words).stderr(Stdio::piped()).output();
        let done = done.map_err(|error| format!("{program}: {error}"))?;
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{command}: {}", why.trim()));
        }
    }
    Ok(())
}

/// What twenty writers have been told that it is taken, and what has arrived.
#[derive(Clone, Default)]
struct Counts {
    taken: Rc<Cell<u64>>,
    arrived: Rc<Cell<u64>>,
}

/// Writers are as slow as their link: what they are told that it is taken leaves, or fits into a
/// bounded room.
#[test]
fn g17_shaped_link() {
    Case::new("g17_shaped_link").seconds(60).run(|| {
        let commands = [
            "ip link set lo mtu 1500 up",
            "tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 400ms",
        ];
        if let Err(why) = own_network(&commands) {
            return harness::skip(why);
        }
        let mut runtime = runtime();
        let before = harness::memory_kib();
        harness::oracle::reset_peak();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let counts = Counts::default();
            // All of them before the link is full.
            let mut pairs = Vec::new();
            for _ in 0..CONNECTIONS {
                pairs.push(pair_of(&listener, address).await);
            }
            for (number, (ours, theirs)) in (0..).zip(pairs) {
                spawn(write_for_ever(ours, number, counts.taken.clone()));
                spawn(read_for_ever(theirs, number, counts.arrived.clone()));
            }
            watch(&counts, Duration::from_secs(scaled(4, 60))).await;
        });
        let grown = harness::memory_peak_kib().saturating_sub(before);
        println!("memory: +{grown} KiB for {CONNECTIONS} connections");
        // The receive buffers are the core's, not a connection's.
        let shared = runtime.metrics().buffer_bytes >> 10;
        assert!(grown < shared + CONNECTIONS * MEMORY_KIB_MAX, "{grown} KiB");
        // The link would take a minute for what is queued; the end does not.
        let begin = Instant::now();
        let report = runtime.shutdown(200 * MS);
        assert!(begin.elapsed() < Duration::from_secs(4), "{report:?}");
        assert_eq!(report.leaked_operations, 0, "{report:?}");
    });
}

async fn watch(counts: &Counts, time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        sleep(100 * MS).await;
        let (taken, arrived) = (counts.taken.get(), counts.arrived.get());
        let ahead = taken - arrived;
        assert!(ahead < CONNECTIONS * AHEAD_BYTES_MAX, "{ahead} bytes ahead");
        let link = LINK_BYTES_PER_SECOND * (begin.elapsed().as_secs() + 2);
        assert!(arrived < link, "{arrived} bytes on this link?");
    }
    let (taken, arrived) = (counts.taken.get(), counts.arrived.get());
    println!("{taken} bytes taken, {arrived} arrived");
    assert!(arrived > LINK_BYTES_PER_SECOND / 4, "{arrived} bytes");
    // The receivers' side holds nothing back, and most writers wait.
    let now = Metrics::current();
    assert_eq!((now.stale_completions, now.heap_receive_bytes), (0, 0));
}

async fn write_for_ever(mut to: TcpStream, number: u64, taken: Rc<Cell<u64>>) {
    const LEN: usize = 10_000;
    for part in 0.. {
        let bytes = coded_bytes(number, part * LEN as u64, LEN);
        match number % 2 {
            0 => to.write_all(&bytes).await.expect("written"),
            _ => to.send_all(bytes).await.0.expect("sent"),
        }
        taken.set(taken.get() + LEN as u64);
    }
}

async fn read_for_ever(mut from: TcpStream, number: u64, arrived: Rc<Cell<u64>>) {
    let mut at = 0;
    while let Some(chunk) = from.recv().await.expect("read") {
        check_coded(number, at, &chunk);
        at += chunk.len() as u64;
        arrived.set(arrived.get() + chunk.len() as u64);
    }
}

/// No port is left: an error that says so, and it goes on as soon as there is one again.
#[test]
fn g18_port_exhaustion() {
    const PORTS: usize = 50;
    Case::new("g18_port_exhaustion").run(|| {
        let set = own_network(&["ip link set lo up"]).and_then(|()| {
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40049")
                .map_err(|error| format!("ip_local_port_range: {error}"))
        });
        if let Err(why) = set {
            return harness::skip(why);
        }
        let mut runtime = runtime();
        runtime.block_on(async {
            let listener = corering::net::TcpListener::bind("127.0.0.1:80").await;
            let listener = listener.expect("nobody else is in this network");
            let address = listener.local_addr().expect("it has an address");
            let census = Census::take();
            for round in 0..3 {
                let (mut kept, mut refused) = (Vec::new(), 0);
                for _ in 0..PORTS + 10 {
                    match TcpStream::connect(address).await {
                        Ok(stream) => {
                            let peer = listener.accept().await.expect("accepted").0;
                            kept.push((stream, peer));
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::AddrNotAvailable, "{error}");
                            refused += 1;
                        }
                    }
                }
                assert_eq!((kept.len(), refused), (PORTS, 10), "round {round}");
                for (stream, peer) in kept {
                    // Neither end keeps its port for its last packets.
                    stream.set_zero_linger().expect("set");
                    drop(stream);
                    drop(peer);
                }
                sleep(50 * MS).await;
                assert_eq!(census.added(), Vec::<String>::new());
            }
        });
    });
}
