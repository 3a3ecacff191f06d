//! TCP as programs meet it: half-closes, resets, short sends, errors of connect.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};
use futures::{AsyncWrite, StreamExt};
use harness::net::{half, listener, pair, pair_of, reset, small_pair};
use harness::{Case, Census, Rng, check_coded, coded_bytes};
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// The read side alone: what comes afterwards is not for us, and the write side still works.
#[test]
fn g01_shutdown_of_the_read_side() {
    Case::new("g01_shutdown_of_the_read_side")
        .seconds(10)
        .run(|| {
            runtime().block_on(async {
                let (mut ours, mut theirs) = pair().await;
                let (mut read, mut write) = ours.split();
                let (_, sent) = futures::join!(timeout(MS, read.recv()), write.write_all(b"x"));
                sent.expect("written");
                ours.shutdown(Shutdown::Read).await.expect("shut down");
                let end = timeout(Duration::from_secs(2), ours.recv())
                    .await
                    .expect("it ends");
                assert!(end.expect("the end").is_none());
                ours.write_all(b"y").await.expect("written");
                let mut all = [0; 2];
                theirs.read_exact(&mut all).await.expect("read");
                assert_eq!(&all, b"xy");
            });
        });
}

#[test]
fn g04_no_sigpipe() {
    Case::new("g04_no_sigpipe").run(|| {
        // Rust ignores it; a program may not.
        // SAFETY: sets the default action.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        runtime().block_on(async {
            for how in 0..8 {
                let (mut ours, theirs) = half().await;
                reset(theirs);
                sleep(2 * MS).await;
                let mut errors = 0;
                for _ in 0..6 {
                    let result = match how {
                        0 => ours.write_all(b"x").await,
                        1 => ours.send(vec![1]).await.0.map(drop),
                        2 => ours.send_all(vec![1; 100]).await.0,
                        3 => ours.send_vectored(vec![vec![1], vec![2]]).await.0.map(drop),
                        4 => ours.send_zc(vec![1; 100]).await.0.map(drop),
                        5 => ours.write_vectored(&[IoSlice::new(b"a")]).await.map(drop),
                        6 => ours.write(b"x").await.map(drop),
                        _ => ours.shutdown(Shutdown::Write).await,
                    };
                    if let Err(error) = result {
                        errors += 1;
                        let kind = error.kind();
                        let known = [
                            ErrorKind::BrokenPipe,
                            ErrorKind::ConnectionReset,
                            ErrorKind::NotConnected,
                            // A kernel without zero-copy sends.
                            ErrorKind::Unsupported,
                        ];
                        assert!(known.contains(&kind), "{how}: {error}");
                    }
                    sleep(MS).await;
                }
                assert!(how == 7 || errors >= 4, "way {how}: only {errors} errors");
                // By the queue of a stream that is gone, too.
                let (mut ours, theirs) = half().await;
                ours.write_all(&[0; 40_000]).await.expect("taken");
                reset(theirs);
                drop(ours);
                sleep(MS).await;
            }
        });
    });
}

#[test]
fn g08_connect_errors() {
    Case::new("g08_connect_errors").run(|| {
        runtime().block_on(async {
            let census = Census::take();
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let nobody = free.local_addr().expect("it has one");
            drop(free);
            let kind = |result: std::io::Result<TcpStream>| result.expect_err("refused").kind();
            assert_eq!(
                kind(TcpStream::connect(nobody).await),
                ErrorKind::ConnectionRefused
            );
            let limited = TcpStream::connect_timeout(nobody, Duration::from_secs(5)).await;
            assert_eq!(kind(limited), ErrorKind::ConnectionRefused);
            // The next address is tried.
            let (listener, address) = listener().await;
            let both = [nobody, address];
            TcpStream::connect(&both[..]).await.expect("the second");
            assert_eq!(
                kind(TcpStream::connect(Vec::<SocketAddr>::new()).await),
                ErrorKind::InvalidInput
            );
            // A socket of the wrong family.
            let socket = TcpSocket::new_v6().expect("a socket");
            assert!(socket.connect(address).await.is_err());
            for wrong in [
                "",
                ":80",
                "localhost",
                "localhost:99999",
                "a\0b:80",
                "[::1:80",
                "1.2.3.4",
            ] {
                let error = TcpStream::connect(wrong).await.expect_err(wrong);
                assert!(!error.to_string().is_empty());
            }
            assert!(TcpStream::connect("host.invalid:80").await.is_err());
            // Addresses that cannot be reached by anybody.
            let broadcast: SocketAddr = "255.255.255.255:80".parse().expect("an address");
            assert!(TcpStream::connect(broadcast).await.is_err());
            // Bind.
            let taken = TcpListener::bind(address).await.expect_err("taken").kind();
            assert_eq!(taken, ErrorKind::AddrInUse);
            let foreign = TcpListener::bind("192.0.2.1:0")
                .await
                .expect_err("not ours")
                .kind();
            assert_eq!(foreign, ErrorKind::AddrNotAvailable);
            let named = TcpListener::bind("localhost:0").await.expect("by name");
            drop((listener, named));
            sleep(20 * MS).await;
            census.assert_same();
        });
    });
}

#[test]
fn incoming_is_a_stream() {
    Case::new("incoming_is_a_stream").seconds(20).run(|| {
        let mut runtime = runtime();
        let handle = runtime.handle();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let clients: Vec<_> = (0..5)
                .map(|_| std::net::TcpStream::connect(address).expect("ok"))
                .collect();
            let mut incoming = listener.incoming();
            for client in &clients {
                let stream = incoming.next().await.expect("open").expect("accepted");
                assert_eq!(
                    stream.peer_addr().expect("known"),
                    client.local_addr().expect("known")
                );
                assert_eq!(stream.local_addr().expect("known"), address);
            }
            let stop = async {
                sleep(5 * MS).await;
                handle.stop();
            };
            let (end, ()) = futures::join!(incoming.next(), stop);
            assert!(end.is_none(), "the stream ends with the runtime");
        });
    });
}

/// Each core has a listener of its own on one port.
#[test]
fn one_port_on_every_core() {
    Case::new("one_port_on_every_core").seconds(30).run(|| {
        let mut runtime = Runtime::builder()
            .cores(2)
            .pin(false)
            .build()
            .expect("io_uring");
        let address = runtime.block_on(async {
            let first = TcpListener::bind_reuse_port("127.0.0.1:0")
                .await
                .expect("a free port");
            let address = first.local_addr().expect("it has one");
            let serve = |listener: TcpListener| async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    spawn(async move {
                        let core = corering::core_id() as u8;
                        stream.write_all(&[core]).await.expect("written");
                    });
                }
            };
            spawn(serve(first));
            let second = corering::spawn_on(1, move || async move {
                let second = TcpListener::bind_reuse_port(address).await.expect("shared");
                spawn(serve(second));
            });
            second.await.expect("joined");
            address
        });
        let client = std::thread::spawn(move || {
            let mut served = [0u32; 2];
            for _ in 0..200 {
                let mut core = [9];
                let mut stream = std::net::TcpStream::connect(address).expect("connected");
                stream.read_exact(&mut core).expect("served");
                served[usize::from(core[0])] += 1;
            }
            served
        });
        while !client.is_finished() {
            runtime.block_on(sleep(MS));
        }
        let served = client.join().expect("no panic");
        println!("{served:?}");
        assert!(served[0] > 20 && served[1] > 20, "{served:?}");
        assert!(runtime.shutdown(Duration::from_secs(5)).is_clean());
    });
}

#[test]
fn options_are_set_and_read() {
    Case::new("options_are_set_and_read").run(|| {
        runtime().block_on(async {
            let (a, _b) = pair().await;
            a.set_nodelay(true).expect("set");
            assert!(a.nodelay().expect("read"));
            a.set_keepalive(true).expect("set");
            assert!(a.keepalive().expect("read"));
            a.set_ttl(77).expect("set");
            assert_eq!(a.ttl().expect("read"), 77);
            a.set_user_timeout(Some(Duration::from_secs(3)))
                .expect("set");
            assert_eq!(
                a.user_timeout().expect("read"),
                Some(Duration::from_secs(3))
            );
            a.set_linger(Some(Duration::from_secs(1))).expect("set");
            assert_eq!(a.linger().expect("read"), Some(Duration::from_secs(1)));
            assert!(a.take_error().expect("read").is_none());
            assert!(a.recv_buffer_size().expect("read") > 0);
            assert!(format!("{a:?}").contains("127.0.0.1"));
        });
    });
}

/// Full duplex, both faces, many connections at once: every byte once, in order.
#[test]
fn echo_of_many_connections() {
    const LEN: u64 = 200_000;
    Case::new("echo_of_many_connections")
        .quarantine()
        .seconds(90)
        .run(|| {
            let mut rng = Rng::new();
            let mut runtime = Runtime::builder()
                .recv_buffers(16, 4096)
                .build()
                .expect("io_uring");
            runtime.block_on(async {
                let (listener, address) = listener().await;
                let mut set = corering::task::JoinSet::new();
                for connection in 0..30 {
                    let (mut server, client) = pair_of(&listener, address).await;
                    let face = rng.below(4);
                    set.spawn(async move {
                        let mut room = vec![0; 3_000];
                        loop {
                            let done = match face {
                                0 => match server.recv().await.expect("read") {
                                    Some(chunk) => server.send_all(chunk).await.0.map(|()| false),
                                    None => Ok(true),
                                },
                                1 => {
                                    let n = server.read(&mut room).await.expect("read");
                                    server.write_all(&room[..n]).await.map(|()| n == 0)
                                }
                                2 => {
                                    let (result, bytes) = server.read_owned(room).await;
                                    let n = result.expect("read");
                                    let (result, mut bytes) = server.send_all(bytes).await;
                                    bytes.resize(3_000, 0);
                                    room = bytes;
                                    result.map(|()| n == 0)
                                }
                                _ => {
                                    let there = server.fill_buf().await.expect("read").to_vec();
                                    server.consume(there.len());
                                    server.write_all(&there).await.map(|()| there.is_empty())
                                }
                            };
                            if done.expect("written") {
                                return server.shutdown(Shutdown::Write).await.expect("shut down");
                            }
                        }
                    });
                    let mut rng = Rng::from_seed(rng.next());
                    set.spawn(async move {
                        let (mut read, mut write) = client.into_split();
                        let writer = spawn(async move {
                            let mut at = 0;
                            while at < LEN {
                                let len = (1 + rng.below(20_000)).min(LEN - at);
                                let bytes = coded_bytes(connection, at, len as usize);
                                write.write_all(&bytes).await.expect("written");
                                at += len;
                                if rng.once_in(4) {
                                    sleep(Duration::from_micros(rng.below(500))).await;
                                }
                            }
                        });
                        let mut at = 0;
                        while let Some(chunk) = read.recv().await.expect("read") {
                            check_coded(connection, at, &chunk);
                            at += chunk.len() as u64;
                        }
                        assert_eq!(at, LEN);
                        writer.await.expect("no panic");
                    });
                }
                while let Some(result) = set.join_next().await {
                    result.expect("no panic");
                }
                drop(listener);
                sleep(20 * MS).await;
                let metrics = corering::Metrics::current();
                assert_eq!(metrics.buffers_available, metrics.buffers);
                assert_eq!(metrics.in_flight, 0);
            });
        });
}

/// Every sequence that a zero-copy send can take here: sent and released, awaited or not; an
/// error; dropped in flight, which tears the stream and leaves the buffer with the runtime.
#[test]
fn b12_zero_copy_sequences() {
    Case::new("b12_zero_copy_sequences").quarantine().run(|| {
        let census = Census::take();
        let mut runtime = runtime();
        runtime.block_on(async {
            let (mut ours, mut theirs) = pair().await;
            let (result, lent) = ours.send_zc(coded_bytes(1, 0, 1000)).await;
            match result {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    assert_eq!(lent.await.len(), 1000, "the buffer comes back all the same");
                    return harness::skip("no IORING_OP_SEND_ZC here");
                }
                result => assert_eq!(result.expect("sent"), 1000),
            }
            assert_eq!(
                lent.await,
                coded_bytes(1, 0, 1000),
                "the same buffer, unchanged"
            );
            // Not awaited: it goes by itself.
            let (result, lent) = ours.send_zc(coded_bytes(1, 1000, 500)).await;
            assert_eq!(result.expect("sent"), 500);
            drop(lent);
            let mut got = vec![0; 1500];
            theirs.read_exact(&mut got).await.expect("read");
            check_coded(1, 0, &got);
            // Dropped in flight: nobody reads, so it cannot be complete.
            let (mut full, peer) = small_pair().await;
            let dropped = timeout(20 * MS, full.send_zc(vec![7; 16 << 20])).await;
            if dropped.is_err() {
                let error = full.write(b"x").await.expect_err("torn");
                assert!(
                    error
                        .get_ref()
                        .is_some_and(|e| e.is::<corering::net::Torn>())
                );
                assert!(full.clear_torn());
            }
            drop((full, peer));
            // An error gives the buffer back too.
            drop(theirs);
            sleep(5 * MS).await;
            for _ in 0..3 {
                let (result, lent) = ours.send_zc(vec![1; 10]).await;
                assert_eq!(lent.await, [1; 10]);
                if result.is_err() {
                    break;
                }
                sleep(5 * MS).await;
            }
        });
        drop(runtime);
        census.assert_same();
    });
}

/// A listener leaves the runtime with the connections that it had accepted already.
#[test]
fn d04_a_listener_leaves_with_its_connections() {
    Case::new("d04_a_listener_leaves_with_its_connections").run(|| {
        let mut runtime = runtime();
        let (std_listener, address) = runtime.block_on(async {
            let (listener, address) = listener().await;
            // Armed, so that the kernel accepts on the listener's behalf.
            assert!(timeout(MS, listener.accept()).await.is_err());
            let mut early = std::net::TcpStream::connect(address).expect("connected");
            early.write_all(b"early").expect("sent");
            sleep(20 * MS).await;
            let (std_listener, accepted) = listener.into_std().await.expect("nobody else has it");
            let [mut stream] = <[TcpStream; 1]>::try_from(accepted).expect("one was accepted");
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.expect("read");
            assert_eq!(&word, b"early");
            (std_listener, address)
        });
        let late = std::net::TcpStream::connect(address).expect("still listening");
        let (_stream, peer) = std_listener.accept().expect("the standard library accepts");
        assert_eq!(peer, late.local_addr().expect("connected"));
    });
}

/// What has failed once fails again, whatever way the bytes took.
#[test]
fn g04_the_error_of_a_large_write_stays() {
    Case::new("g04_the_error_of_a_large_write_stays").run(|| {
        runtime().block_on(async {
            let (mut ours, theirs) = half().await;
            reset(theirs);
            sleep(2 * MS).await;
            let error = ours.write_all(&[7; 100_000]).await.expect_err("reset");
            for len in [1, 100_000] {
                let again = ours.write_all(&vec![7; len]).await.expect_err("reset");
                assert_eq!(again.raw_os_error(), error.raw_os_error(), "{len} bytes");
            }
        });
    });
}

/// Pieces without a byte in them are no reason to write nothing, however many there are.
#[test]
fn g02_empty_pieces_before_a_large_one() {
    Case::new("g02_empty_pieces_before_a_large_one").run(|| {
        runtime().block_on(async {
            let (mut ours, _theirs) = pair().await;
            let large = [7; 100_000];
            let mut pieces = vec![IoSlice::new(&[]); 2_000];
            pieces.push(IoSlice::new(&large));
            assert!(ours.write_vectored(&pieces).await.expect("written") > 0);
        });
    });
}

/// A reader that keeps up does not keep the writer's core from everything else.
#[test]
fn f05_large_writes_take_turns() {
    const TURN_BYTES_MAX: usize = 2 << 20;
    Case::new("f05_large_writes_take_turns").run(|| {
        runtime().block_on(async {
            let (mut ours, mut theirs) = half().await;
            let reader = std::thread::spawn(move || {
                std::io::copy(&mut theirs, &mut std::io::sink()).expect("read")
            });
            let bytes = vec![7; 64 << 20];
            let mut all = 0;
            for _ in 0..20 {
                let taken = poll_fn(|cx| {
                    let mut taken = 0;
                    while taken <= TURN_BYTES_MAX {
                        match Pin::new(&mut ours).poll_write(cx, &bytes) {
                            Poll::Ready(n) => taken += n.expect("written"),
                            Poll::Pending => break,
                        }
                    }
                    Poll::Ready(taken)
                });
                let taken = taken.await;
                assert!(taken <= TURN_BYTES_MAX, "{taken} bytes at once");
                all += taken as u64;
                sleep(MS).await;
            }
            ours.shutdown(Shutdown::Write).await.expect("shut down");
            assert_eq!(reader.join().expect("it has read"), all);
        });
    });
}
