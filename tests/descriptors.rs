//! Descriptors: close-on-exec, closed in time, never used after it, never one too many.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use futures::FutureExt;
use harness::net::{half, listener, pair, pair_of, reset};
use harness::{Case, Census, scaled, set_soft_limit};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// A read is queued and its handle dropped; the number goes to another connection at once.
#[test]
fn d01_queued_then_closed_no_victim() {
    Case::new("d01_queued_then_closed_no_victim")
        .quarantine()
        .run(|| {
            runtime().block_on(async {
                let (listener, address) = listener().await;
                for round in 0..300u32 {
                    let (mut doomed, mut doomed_peer) = pair_of(&listener, address).await;
                    assert!(doomed.read_owned(vec![0; 16]).now_or_never().is_none());
                    let number = doomed.as_raw_fd();
                    drop(doomed);
                    // Whoever opens next may get the number, but only once it is really free.
                    let (mut victim, mut victim_peer) = pair_of(&listener, address).await;
                    let same = victim.as_raw_fd() == number || victim_peer.as_raw_fd() == number;
                    victim_peer
                        .write_all(&round.to_le_bytes())
                        .await
                        .expect("written");
                    let mut name = [0; 4];
                    let read = timeout(Duration::from_secs(2), victim.read_exact(&mut name)).await;
                    read.expect("nobody stole it").expect("read");
                    assert_eq!(u32::from_le_bytes(name), round, "the same number: {same}");
                    assert!(doomed_peer.recv().await.is_ok_and(|chunk| chunk.is_none()));
                }
            });
        });
}

#[test]
fn d03_drop_closes_soon() {
    Case::new("d03_drop_closes_soon").run(|| {
        runtime().block_on(async {
            let census = Census::take();
            let (listener, address) = listener().await;
            let (mut ours, mut theirs) = pair_of(&listener, address).await;
            assert!(listener.accept().now_or_never().is_none());
            assert!(ours.recv().now_or_never().is_none());
            drop(ours);
            let end = timeout(Duration::from_secs(1), theirs.recv())
                .await
                .expect("soon");
            assert!(end.expect("an orderly end").is_none());
            drop((theirs, listener));
            sleep(50 * MS).await;
            assert_eq!(census.added(), Vec::<String>::new());
            TcpListener::bind(address)
                .await
                .expect("the port is free again");
        });
    });
}

#[test]
fn d04_into_std_with_ops() {
    Case::new("d04_into_std_with_ops").seconds(20).run(|| {
        runtime().block_on(async {
            let (listener, address) = listener().await;
            // Unread bytes stay with the stream.
            let (mut ours, mut theirs) = pair_of(&listener, address).await;
            theirs.write_all(b"unread").await.expect("written");
            theirs.flush().await.expect("sent");
            assert!(ours.recv().now_or_never().is_none());
            sleep(5 * MS).await;
            let kept = ours.into_std().await.expect_err("bytes would be lost");
            assert_eq!(kept.error.kind(), ErrorKind::ResourceBusy);
            let mut ours = kept.stream;
            let mut all = [0; 6];
            ours.read_exact(&mut all).await.expect("nothing is lost");
            assert_eq!(&all, b"unread");
            // An armed receive, and queued bytes: it waits for both.
            assert!(ours.recv().now_or_never().is_none());
            ours.write_all(b"queued").await.expect("taken");
            let mut plain = ours.into_std().await.expect("idle now");
            theirs
                .read_exact(&mut all)
                .await
                .expect("it was sent first");
            assert_eq!(&all, b"queued");
            theirs.write_all(b"plain!").await.expect("written");
            theirs.flush().await.expect("sent");
            plain
                .read_exact(&mut all)
                .expect("it blocks, and nobody else reads");
            assert_eq!(&all, b"plain!");
            // And back.
            let mut again = TcpStream::from_std(plain).expect("a stream");
            theirs.write_all(b"return").await.expect("written");
            again.read_exact(&mut all).await.expect("read");
            assert_eq!(&all, b"return");
            let census = Census::take();
            drop((again, theirs));
            sleep(10 * MS).await;
            assert_eq!(census.len() - Census::take().len(), 2);
        });
    });
}

/// One of everything that has a descriptor, alive while another program is started.
#[test]
fn d05_cloexec_census() {
    const MASKS: [&str; 2] = ["", "send_msg_ring,registered_ring,accept_multishot"];
    Case::run_masked("d05_cloexec_census", &MASKS, || {
        // What this process was itself started with.
        let Ok(before) = inherited() else {
            return harness::skip("no `ls` here");
        };
        let builder = || Runtime::builder().cores(2).pin(false);
        let mut runtime = builder().build().expect("io_uring");
        let restricted = builder().restrict(corering::Restrict::all_used()).build();
        runtime.block_on(async {
            let sockets = every_kind_of_socket().await;
            let files = every_kind_of_file().await;
            #[cfg(feature = "signal")]
            let signals = corering::signal::signal(corering::signal::SignalKind::user_defined1());
            let open = inherited().expect("it could be started before");
            assert_eq!(open.len(), before.len(), "{open:?}, and before {before:?}");
            drop((sockets, files));
            #[cfg(feature = "signal")]
            drop(signals);
        });
        drop(restricted.expect("io_uring"));
    });
}

/// What another program finds open that is started now.
fn inherited() -> std::io::Result<Vec<String>> {
    let mut ls = std::process::Command::new("ls");
    let child = ls.args(["-l", "/proc/self/fd"]).output()?;
    let list = String::from_utf8_lossy(&child.stdout);
    let open = list.lines().filter(|line| line.contains(" -> "));
    Ok(open.map(str::to_owned).collect())
}

async fn every_kind_of_socket() -> impl Sized {
    let (listener, address) = listener().await;
    let (mut client, mut server) = pair_of(&listener, address).await;
    client.write_all(b"x").await.expect("written");
    server.recv().await.expect("read");
    let (timed, accepted) = futures::join!(
        TcpStream::connect_timeout(address, Duration::from_secs(2)),
        listener.accept()
    );
    let plain = accepted
        .expect("accepted")
        .0
        .into_std()
        .await
        .expect("idle");
    let halves = timed.expect("connected").into_split();
    let unbound = (TcpSocket::new_v4(), TcpSocket::new_v6());
    let shared = TcpListener::bind_reuse_port("127.0.0.1:0")
        .await
        .expect("bound");
    let armed = shared.accept().now_or_never();
    let clone = listener.try_clone_to_std().expect("cloned");
    let looked_up = corering::net::lookup_host("localhost:1").await;
    (
        listener,
        client,
        server,
        plain,
        halves,
        unbound,
        shared,
        armed.is_none(),
        clone,
        looked_up,
    )
}

async fn every_kind_of_file() -> impl Sized {
    use corering::fs;
    let dir = std::env::temp_dir().join(format!("corering-d05-{}", std::process::id()));
    fs::create_dir_all(&dir).await.expect("made");
    let path = dir.join("a");
    let options = || {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true);
        options
    };
    let file = options().open(&path).await.expect("opened");
    let plain = options().open(&path).await.expect("opened").into_std();
    let root = fs::Root::open(&dir).await.expect("opened");
    let beneath = root.open_file("a").await.expect("opened");
    let mut entries = fs::read_dir(&dir).await.expect("opened");
    entries.next_entry().await.expect("listed");
    let mut reader = fs::FileReader::new(fs::File::open(&path).await.expect("opened"));
    reader.read(&mut [0; 4]).await.expect("read");
    let writer = fs::FileWriter::new(fs::File::create(dir.join("b")).await.expect("made"));
    fs::write_atomic(dir.join("c"), b"x".to_vec())
        .await
        .expect("written");
    fs::remove_dir_all(&dir).await.expect("removed");
    (file, plain, root, beneath, entries, reader, writer)
}

/// No descriptor is left: the listener waits, costs nothing, and serves when some are free again.
#[test]
fn g10_accept_emfile() {
    Case::new("g10_accept_emfile").seconds(40).run(|| {
        // The kernel reads the limit when the accept is queued.
        set_soft_limit(libc::RLIMIT_NOFILE, 64);
        let mut runtime = runtime();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let served = std::rc::Rc::new(std::cell::Cell::new(0));
            let count = served.clone();
            spawn(async move {
                let mut kept = Vec::new();
                loop {
                    let (mut stream, _) = listener.accept().await.expect("it does not end");
                    stream.write_all(b"!").await.expect("written");
                    count.set(count.get() + 1);
                    kept.push(stream);
                }
            });
            sleep(MS).await;
            let mut clients: Vec<_> = (0..10).map(|_| socket_of(address)).collect();
            // The clients have their sockets; what is accepted finds no number.
            let mut fillers = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                fillers.push(file);
            }
            for client in &clients {
                connect(client, address);
            }
            sleep(50 * MS).await;
            let (cpu, enters) = (harness::cpu_time(), Metrics::current().enters);
            sleep(Duration::from_millis(600)).await;
            let used = harness::cpu_time() - cpu;
            let enters = Metrics::current().enters - enters;
            assert_eq!(served.get(), 0);
            assert!(Metrics::current().accept_backoffs >= 1);
            assert!(used < 60 * MS, "{used:?} of 600 ms");
            assert!(enters < 100, "{enters} system calls");
            fillers.clear();
            for _ in 0..400 {
                if served.get() == 10 {
                    break;
                }
                sleep(10 * MS).await;
            }
            assert_eq!(served.get(), 10, "the waiting clients are served");
            for client in &mut clients {
                client.read_exact(&mut [0]).expect("received");
            }
        });
    });
}

fn socket_of(address: std::net::SocketAddr) -> std::net::TcpStream {
    use std::os::fd::FromRawFd;
    assert!(address.is_ipv4());
    // SAFETY: makes a new descriptor.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: it was made one line above, for nobody else.
    unsafe { std::net::TcpStream::from_raw_fd(raw) }
}

fn connect(socket: &std::net::TcpStream, address: std::net::SocketAddr) {
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    };
    let (ptr, len) = (std::ptr::from_ref(&name).cast(), size_of_val(&name) as u32);
    // SAFETY: the kernel reads one address.
    let result = unsafe { libc::connect(socket.as_raw_fd(), ptr, len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn g18_churn() {
    let connections = scaled(6_000, 100_000);
    Case::new("g18_churn").seconds(90).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    spawn(async move {
                        if let Ok(Some(chunk)) = stream.recv().await {
                            let _ = stream.send_all(chunk).await;
                        }
                    });
                }
            });
            let one = async |i: u32| {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                stream.write_all(&i.to_le_bytes()).await.expect("written");
                let mut back = [0; 4];
                stream.read_exact(&mut back).await.expect("read");
                assert_eq!(u32::from_le_bytes(back), i);
                // Neither end is left waiting for its last packets.
                stream.set_zero_linger().expect("set");
            };
            for i in 0..500 {
                one(i).await;
            }
            sleep(20 * MS).await;
            let (census, memory) = (Census::take(), harness::memory_kib());
            for i in 0..connections {
                one(i).await;
            }
            sleep(20 * MS).await;
            census.assert_same();
            let grown = harness::memory_kib().saturating_sub(memory);
            assert!(
                grown < 3 * 1024,
                "{connections} connections that are gone keep {grown} KiB"
            );
            let metrics = Metrics::current();
            assert_eq!(
                (metrics.in_flight, metrics.backlog),
                (1, 0),
                "the accept alone"
            );
            assert_eq!((metrics.stale_completions, metrics.close_failed), (0, 0));
        });
    });
}

#[test]
fn g02_rst_on_recv() {
    Case::new("g02_rst_on_recv").run(|| {
        runtime().block_on(async {
            let census = Census::take();
            for round in 0..60 {
                let (mut ours, mut theirs) = half().await;
                let task = spawn(async move {
                    match round % 3 {
                        0 => ours.recv().await.map(drop),
                        1 => ours.read(&mut [0; 64]).await.map(drop),
                        _ => ours.read_owned(vec![0; 64]).await.0.map(drop),
                    }
                    .expect_err("a reset")
                    .kind()
                });
                sleep(Duration::from_micros(200)).await;
                if round % 2 == 1 {
                    // Unread bytes of the peer's make its close a reset, too.
                    let _ = theirs.flush();
                }
                reset(theirs);
                let kind = timeout(Duration::from_secs(2), task).await.expect("soon");
                assert_eq!(kind.expect("no panic"), ErrorKind::ConnectionReset);
            }
            // Behind bytes that were received before: those come first, then the error.
            let (mut ours, mut theirs) = half().await;
            assert!(ours.recv().now_or_never().is_none());
            sleep(MS).await;
            theirs.write_all(b"last words").expect("sent");
            reset(theirs);
            sleep(5 * MS).await;
            let words = ours.recv().await.expect("they came").expect("bytes");
            assert_eq!(&words[..], b"last words");
            let error = ours.recv().await.expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            drop((ours, words));
            sleep(10 * MS).await;
            census.assert_same();
        });
    });
}

#[test]
fn two_streams_of_one_connection_do_not_mix() {
    Case::new("two_streams_of_one_connection_do_not_mix").run(|| {
        runtime().block_on(async {
            let (a, b) = (pair().await, pair().await);
            let (read_a, write_a) = a.0.into_split();
            let (read_b, write_b) = b.0.into_split();
            let error = read_a.reunite(write_b).expect_err("of different streams");
            let (read_a, write_b) = (error.0, error.1);
            let mut whole = read_a.reunite(write_a).expect("of one stream");
            let mut peer = a.1;
            whole.write_all(b"x").await.expect("written");
            peer.read_exact(&mut [0]).await.expect("read");
            drop(read_b.reunite(write_b).expect("of one stream"));
            let mut b_peer = b.1;
            assert!(b_peer.recv().await.expect("an orderly end").is_none());
        });
    });
}
