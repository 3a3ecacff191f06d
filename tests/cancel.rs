//! Dropping and aborting what waits: nothing is lost, nothing leaks, nobody hangs.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpSocket, TcpStream};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn, spawn_on};
use futures::FutureExt;
use harness::net::{half, listener, pair, pair_of, small_pair};
use harness::{Case, Census, Rng, check_coded, coded_bytes, scaled};
use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

#[test]
fn c04_recv_timeout_keeps_bytes() {
    Case::new("c04_recv_timeout_keeps_bytes")
        .quarantine()
        .seconds(60)
        .run(|| {
            let mut rng = Rng::new();
            let mut their_rng = Rng::from_seed(rng.next());
            runtime().block_on(async {
                let (mut ours, mut theirs) = half().await;
                const LEN: u64 = 2_000_000;
                std::thread::spawn(move || {
                    let mut at = 0;
                    while at < LEN {
                        let len = (1 + their_rng.below(20_000)).min(LEN - at);
                        theirs
                            .write_all(&coded_bytes(4, at, len as usize))
                            .expect("sent");
                        at += len;
                        std::thread::sleep(Duration::from_micros(their_rng.below(200)));
                    }
                });
                let mut at = 0;
                while at < LEN {
                    let limit = Duration::from_micros(rng.below(100));
                    let mut room = vec![0; 1 + rng.below(30_000) as usize];
                    let bytes = match rng.below(5) {
                        0 => timeout(limit, ours.recv()).await.ok().map(|chunk| {
                            chunk
                                .expect("read")
                                .map_or_else(Vec::new, |chunk| chunk.to_vec())
                        }),
                        1 => timeout(limit, ours.read_owned(room)).await.ok().map(
                            |(result, room)| {
                                assert_eq!(result.expect("read"), room.len());
                                room
                            },
                        ),
                        2 => {
                            let mut read = ours.read_owned(room);
                            let (result, room) = match timeout(limit, &mut read).await {
                                Ok(in_time) => in_time,
                                Err(_) => {
                                    read.cancel();
                                    read.await
                                }
                            };
                            match result {
                                Ok(n) => Some(room[..n].to_vec()),
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Interrupted);
                                    None
                                }
                            }
                        }
                        3 => {
                            let there = timeout(limit, ours.fill_buf()).await;
                            let there = there.ok().map(|there| there.expect("read").to_vec());
                            let n = there.as_ref().map_or(0, Vec::len);
                            ours.consume(n);
                            there
                        }
                        _ => timeout(limit, ours.read(&mut room)).await.ok().map(|n| {
                            room.truncate(n.expect("read"));
                            room
                        }),
                    };
                    let bytes = bytes.unwrap_or_default();
                    check_coded(4, at, &bytes);
                    at += bytes.len() as u64;
                }
                assert_eq!(at, LEN);
                assert!(ours.recv().await.expect("the end").is_none());
            });
        });
}

/// A program in a network namespace of its own, whose packets to 10.9.9.9 go nowhere.
#[test]
fn c07_connect_timeout_blackhole() {
    Case::new("c07_connect_timeout_blackhole")
        .seconds(60)
        .run(|| {
            if !harness::is_root() {
                return harness::skip("a network namespace takes root");
            }
            // SAFETY: gives this process a network of its own.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return harness::skip("no network namespace to be had");
            }
            let ip = |line: &str| {
                let done = std::process::Command::new("ip")
                    .args(line.split(' '))
                    .status();
                done.is_ok_and(|status| status.success())
            };
            // Packets leave for somebody who is not there. (Not every kernel has both kinds.)
            let pair = || ip("link add hole0 type veth peer name hole1") && ip("link set hole1 up");
            let ready = (pair() || ip("link add hole0 type dummy"))
                && ip("addr add 10.9.9.1/24 dev hole0")
                && ip("link set hole0 up")
                && ip("neigh add 10.9.9.9 lladdr 02:00:00:00:00:01 dev hole0");
            if !ready {
                return harness::skip("neither a veth nor a dummy interface to be had");
            }
            runtime().block_on(async {
                let census = Census::take();
                let hole = "10.9.9.9:80";
                let mut set = corering::task::JoinSet::new();
                for i in 0..scaled(300, 1_000) {
                    set.spawn(async move {
                        let begin = std::time::Instant::now();
                        let kind = match i % 3 {
                            0 => {
                                let result = TcpStream::connect_timeout(hole, 50 * MS).await;
                                result.expect_err("nobody is there").kind()
                            }
                            1 => {
                                let limited = timeout(50 * MS, TcpStream::connect(hole)).await;
                                std::io::Error::from(limited.expect_err("nobody is there")).kind()
                            }
                            _ => {
                                let socket = TcpSocket::new_v4().expect("a socket");
                                let connect = socket.connect(hole.parse().expect("an address"));
                                let limited = timeout(50 * MS, connect).await;
                                std::io::Error::from(limited.expect_err("nobody is there")).kind()
                            }
                        };
                        assert_eq!(kind, ErrorKind::TimedOut);
                        assert!(begin.elapsed() >= 50 * MS);
                    });
                }
                while let Some(result) = set.join_next().await {
                    result.expect("no panic");
                }
                sleep(20 * MS).await;
                census.assert_same();
                let left = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("/proc");
                let syn_sent = left.lines().filter(|line| line.contains(" 02 ")).count();
                assert_eq!(syn_sent, 0, "{left}");
                // A limit that is as good as none, and none at all.
                let connect = TcpStream::connect_timeout(hole, Duration::MAX);
                assert!(timeout(20 * MS, connect).await.is_err());
                let error = TcpStream::connect_timeout(hole, Duration::ZERO).await;
                assert_eq!(error.expect_err("no time").kind(), ErrorKind::TimedOut);
            });
        });
}

#[test]
fn c11_abort_each_wait() {
    Case::new("c11_abort_each_wait").seconds(40).run(|| {
        let mut runtime = Runtime::builder()
            .cores(2)
            .pin(false)
            .build()
            .expect("io_uring");
        runtime.block_on(async {
            sleep(MS).await;
            let census = Census::take();
            let (listener, address) = listener().await;
            let mut tasks = Vec::new();
            let (mut a, a_peer) = pair().await;
            tasks.push(("recv", spawn(async move { drop(a.recv().await) })));
            let (mut b, b_peer) = pair().await;
            tasks.push((
                "read_owned",
                spawn(async move { drop(b.read_owned(vec![0; 9]).await) }),
            ));
            let (mut c, c_peer) = small_pair().await;
            tasks.push((
                "send_all",
                spawn(async move { drop(c.send_all(vec![0; 8 << 20]).await) }),
            ));
            let (mut d, d_peer) = small_pair().await;
            tasks.push((
                "write_all",
                spawn(async move { drop(d.write_all(&vec![0; 8 << 20]).await) }),
            ));
            let (mut e, e_peer) = small_pair().await;
            tasks.push((
                "send_zc",
                spawn(async move {
                    loop {
                        if e.send_zc(vec![0; 1 << 20]).await.0.is_err() {
                            pending().await
                        }
                    }
                }),
            ));
            tasks.push((
                "accept",
                spawn(async move { drop(listener.accept().await) }),
            ));
            tasks.push(("sleep", spawn(sleep(Duration::from_secs(99)))));
            tasks.push(("pending", spawn(pending())));
            tasks.push(("join", spawn(async { drop(spawn(pending::<()>()).await) })));
            tasks.push((
                "remote join",
                spawn(async {
                    drop(spawn_on(1, || sleep(Duration::from_secs(99))).await);
                }),
            ));
            tasks.push(("stopping", spawn(corering::stopping())));
            let notify = std::rc::Rc::new(corering::sync::Notify::new());
            let waits = notify.clone();
            tasks.push(("notify", spawn(async move { waits.notified().await })));
            sleep(10 * MS).await;
            for (name, task) in tasks {
                assert!(!task.is_finished(), "{name} waits");
                task.abort();
                let joined = timeout(Duration::from_secs(1), task).await;
                let error = joined
                    .unwrap_or_else(|_| panic!("{name} hangs"))
                    .expect_err(name);
                assert!(error.is_cancelled(), "{name}: {error}");
            }
            drop((a_peer, b_peer, c_peer, d_peer, e_peer));
            sleep(20 * MS).await;
            census.assert_same();
            let error = TcpStream::connect(address)
                .await
                .expect_err("the listener is gone");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
    });
}

/// A send that is dropped in flight tears the stream, and says so until that is acknowledged.
#[test]
fn c12_torn_until_acknowledged() {
    Case::new("c12_torn_until_acknowledged").run(|| {
        runtime().block_on(async {
            let (mut ours, _peer) = small_pair().await;
            let sent = timeout(5 * MS, ours.send_all(vec![1; 16 << 20])).await;
            assert!(sent.is_err(), "the peer reads nothing");
            for _ in 0..3 {
                let error = ours.write(b"x").await.expect_err("torn");
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                let source = error.get_ref().expect("a source");
                assert!(source.is::<corering::net::Torn>(), "{source}");
                assert!(ours.send(vec![1]).await.0.is_err());
                assert!(ours.flush().await.is_err());
            }
            assert!(ours.clear_torn() && !ours.clear_torn());
            ours.write(b"x").await.expect("acknowledged");
        });
    });
}

#[test]
fn c13_last_handle_dropped_with_a_send_in_flight() {
    Case::new("c13_last_handle_dropped_with_a_send_in_flight").run(|| {
        runtime().block_on(async {
            for round in 0..20u64 {
                let (mut ours, peer) = small_pair().await;
                let mut peer = peer.into_std().await.expect("idle");
                let len = 60_000 + round as usize;
                ours.write_all(&coded_bytes(round, 0, len))
                    .await
                    .expect("taken");
                drop(ours);
                let reader = std::thread::spawn(move || {
                    std::thread::sleep(2 * MS);
                    let mut all = Vec::new();
                    peer.read_to_end(&mut all).expect("an orderly end");
                    all
                });
                while !reader.is_finished() {
                    sleep(MS).await;
                }
                let all = reader.join().expect("no panic");
                assert_eq!(all.len(), len, "all that was accepted, then the end");
                check_coded(round, 0, &all);
            }
        });
    });
}

/// Several tasks wait for the same listener; some go away.
#[test]
fn accept_by_many_tasks() {
    Case::new("accept_by_many_tasks").seconds(30).run(|| {
        let mut rng = Rng::new();
        runtime().block_on(async {
            let (listener, address) = listener().await;
            let listener = std::rc::Rc::new(listener);
            let served = std::rc::Rc::new(std::cell::Cell::new(0u32));
            for _ in 0..8 {
                let (listener, served) = (listener.clone(), served.clone());
                let mut rng = Rng::from_seed(rng.next());
                spawn(async move {
                    loop {
                        let nap = Duration::from_micros(rng.below(400));
                        if let Ok(stream) = timeout(nap, listener.accept()).await {
                            stream
                                .expect("accepted")
                                .0
                                .write_all(b"!")
                                .await
                                .expect("written");
                            served.set(served.get() + 1);
                        }
                    }
                });
            }
            let client = std::thread::spawn(move || {
                for _ in 0..500 {
                    let mut stream = std::net::TcpStream::connect(address).expect("connected");
                    stream.read_exact(&mut [0]).expect("served");
                }
            });
            while !client.is_finished() {
                sleep(MS).await;
            }
            client.join().expect("no panic");
            assert_eq!(served.get(), 500);
        });
    });
}

/// Only the last of those who wait is known to the operation; the others must be woken by it.
#[test]
fn accept_passes_the_turn_on() {
    Case::new("accept_passes_the_turn_on").seconds(20).run(|| {
        runtime().block_on(async {
            let (listener, address) = listener().await;
            let listener = std::rc::Rc::new(listener);
            for drop_which in 0..3 {
                let mut tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let listener = listener.clone();
                        spawn(async move { listener.accept().await.map(drop) })
                    })
                    .collect();
                sleep(MS).await;
                tasks.remove(drop_which).abort();
                sleep(MS).await;
                let clients = [
                    TcpStream::connect(address).await,
                    TcpStream::connect(address).await,
                ];
                for task in tasks {
                    let joined = timeout(Duration::from_secs(2), task).await.expect("served");
                    joined.expect("no panic").expect("accepted");
                }
                drop(clients);
            }
        });
    });
}

/// `into_std` after a read that was dropped in flight, on a connection that is idle.
#[test]
fn d04_into_std_after_a_dropped_read() {
    Case::new("d04_into_std_after_a_dropped_read")
        .seconds(20)
        .run(|| {
            runtime().block_on(async {
                let (mut ours, _peer) = pair().await;
                assert!(ours.read_owned(vec![0; 64]).now_or_never().is_none());
                let limited = timeout(Duration::from_secs(2), ours.into_std()).await;
                let stream = limited.expect("nothing is in flight that could not be cancelled");
                stream.expect("nothing was received");
            });
        });
}

/// Clients that come and go while connections are handed to nobody.
#[test]
fn e02_drop_with_accept_pending() {
    Case::new("e02_drop_with_accept_pending")
        .seconds(20)
        .run(|| {
            runtime().block_on(sleep(MS));
            let census = Census::take();
            for clients in [0, 1, 50] {
                let mut runtime = runtime();
                let (address, kept) = runtime.block_on(async {
                    let (listener, address) = listener().await;
                    assert!(listener.accept().now_or_never().is_none());
                    corering::task::yield_now().await;
                    let kept: Vec<_> = (0..clients)
                        .map(|_| std::net::TcpStream::connect(address).expect("ok"))
                        .collect();
                    spawn(async move { drop(listener.accept().await) });
                    sleep(MS).await;
                    (address, kept)
                });
                let begin = std::time::Instant::now();
                drop(runtime);
                assert!(
                    begin.elapsed() < Duration::from_millis(900),
                    "{:?}",
                    begin.elapsed()
                );
                assert!(
                    std::net::TcpStream::connect(address).is_err(),
                    "nobody listens"
                );
                for mut client in kept {
                    // The end, or a reset: in no case silence.
                    client
                        .set_read_timeout(Some(Duration::from_secs(2)))
                        .expect("set");
                    if let Err(error) = client.read(&mut [0]) {
                        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    }
                }
            }
            census.assert_same();
        });
}

/// Operations in flight when the runtime ends are cancelled and waited for: none is leaked.
#[test]
fn e02_the_end_takes_back_what_is_in_flight() {
    Case::new("e02_the_end_takes_back_what_is_in_flight")
        .seconds(60)
        .run(|| {
            // The time that is granted is far longer than anything here takes.
            let builder = Runtime::builder().shutdown_grace(Duration::from_secs(30));
            let mut runtime = builder.build().expect("io_uring works here");
            let _peers = runtime.block_on(async {
                let mut peers = Vec::new();
                for _ in 0..10 {
                    let (mut ours, theirs) = half().await;
                    peers.push(theirs);
                    drop(spawn(async move {
                        let _ = ours.read_owned(vec![0; 100]).await;
                        unreachable!("nothing is sent, and nobody leaves");
                    }));
                }
                while Metrics::current().in_flight < 10 {
                    sleep(MS).await;
                }
                peers
            });
            let report = runtime.shutdown(Duration::ZERO);
            assert_eq!(report.abandoned_tasks, 10, "{report:?}");
            assert_eq!(report.leaked_operations, 0, "{report:?}");
        });
}

/// An orderly end: the listener stops, connections may finish.
#[test]
fn shutdown_lets_connections_finish() {
    Case::new("shutdown_lets_connections_finish")
        .seconds(20)
        .run(|| {
            let mut runtime = Runtime::builder()
                .cores(2)
                .pin(false)
                .build()
                .expect("io_uring");
            let address = runtime.block_on(async {
                let (listener, address) = listener().await;
                spawn(async move {
                    while let Ok((mut stream, _)) = listener.accept().await {
                        spawn(async move {
                            while let Ok(Some(chunk)) = stream.recv().await {
                                sleep(5 * MS).await;
                                stream.send_all(chunk).await.0.expect("sent");
                            }
                        });
                    }
                });
                sleep(MS).await;
                address
            });
            let client = std::thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).expect("connected");
                for _ in 0..10 {
                    stream.write_all(b"work").expect("sent");
                    stream.read_exact(&mut [0; 4]).expect("received");
                }
            });
            runtime.block_on(sleep(20 * MS));
            let report = runtime.shutdown(Duration::from_secs(10));
            client.join().expect("it was served to its end");
            assert!(report.is_clean(), "{report:?}");
        });
}

/// Dropped outside of `block_on`, a descriptor still goes soon.
#[test]
fn d03_drop_outside_of_block_on_closes() {
    Case::new("d03_drop_outside_of_block_on_closes")
        .seconds(20)
        .run(|| {
            let mut runtime = runtime();
            let (listener, address, ours, mut theirs) = runtime.block_on(async {
                let (listener, address) = listener().await;
                let (ours, theirs) = pair_of(&listener, address).await;
                assert!(listener.accept().now_or_never().is_none());
                sleep(MS).await;
                (
                    listener,
                    address,
                    ours,
                    theirs.into_std().await.expect("idle"),
                )
            });
            drop((listener, ours));
            std::thread::sleep(100 * MS);
            theirs.set_read_timeout(Some(100 * MS)).expect("set");
            let end = theirs.read(&mut [0]);
            assert_eq!(end.expect("the stream was closed"), 0);
            assert!(
                std::net::TcpStream::connect(address).is_err(),
                "the listener was closed"
            );
        });
}

/// The end that was read is no loss: the standard library finds it again.
#[test]
fn d04_into_std_after_the_end() {
    Case::new("d04_into_std_after_the_end").seconds(20).run(|| {
        runtime().block_on(async {
            let (mut ours, peer) = pair().await;
            drop(peer);
            assert!(ours.recv().await.expect("the end").is_none());
            let mut plain = ours.into_std().await.expect("nothing is unread");
            assert_eq!(plain.read(&mut [0]).expect("the end"), 0);
        });
    });
}

/// A waker that owns a stream, and so cancels and closes when its last clone is dropped.
struct WakerWithStream {
    _stream: TcpStream,
}

// SAFETY: this test never lets the waker leave its thread.
unsafe impl Send for WakerWithStream {}
// SAFETY: as above.
unsafe impl Sync for WakerWithStream {}

impl std::task::Wake for WakerWithStream {
    fn wake(self: std::sync::Arc<Self>) {}
}

#[test]
fn a14_reentrant_waker_drop_of_an_operation() {
    Case::new("a14_reentrant_waker_drop_of_an_operation")
        .seconds(10)
        .run(|| {
            runtime().block_on(async {
                for how in 0..6 {
                    let (mut inner, inner_peer) = pair().await;
                    assert!(inner.recv().now_or_never().is_none());
                    let inner = WakerWithStream { _stream: inner };
                    let waker: std::task::Waker = std::sync::Arc::new(inner).into();
                    let (listener, _) = listener().await;
                    let (mut ours, mut theirs) = pair().await;
                    let (mut full, _full_peer) = small_pair().await;
                    let mut cx = std::task::Context::from_waker(&waker);
                    let other = std::task::Waker::noop();
                    let mut other = std::task::Context::from_waker(other);
                    theirs.flush().await.expect("idle");
                    match how {
                        0 => {
                            let mut read = Box::pin(ours.recv());
                            assert!(read.as_mut().poll(&mut cx).is_pending());
                            drop(waker);
                            assert!(read.as_mut().poll(&mut other).is_pending());
                        }
                        1 => {
                            let mut read = Box::pin(ours.read_owned(vec![0; 8]));
                            assert!(read.as_mut().poll(&mut cx).is_pending());
                            drop(waker);
                            assert!(read.as_mut().poll(&mut other).is_pending());
                        }
                        2 => {
                            let mut read = Box::pin(ours.read_owned(vec![0; 8]));
                            assert!(read.as_mut().poll(&mut cx).is_pending());
                            drop(waker);
                            drop(read);
                            drop(ours);
                        }
                        3 => {
                            let mut accept = Box::pin(listener.accept());
                            assert!(accept.as_mut().poll(&mut cx).is_pending());
                            drop(waker);
                            assert!(accept.as_mut().poll(&mut other).is_pending());
                        }
                        4 => {
                            let mut send = Box::pin(full.send_all(vec![0; 8 << 20]));
                            assert!(send.as_mut().poll(&mut cx).is_pending());
                            drop(waker);
                            drop(send);
                        }
                        _ => {
                            full.write_all(&[0; 60_000]).await.expect("taken");
                            let mut flush = Box::pin(full.flush());
                            if flush.as_mut().poll(&mut cx).is_pending() {
                                drop(waker);
                                let _ = flush.as_mut().poll(&mut other);
                            }
                        }
                    }
                    sleep(MS).await;
                    drop((listener, inner_peer));
                }
            });
        });
}

/// A close with unread input resets the connection and takes unsent bytes along: TCP's own rule.
/// What the documentation of `write` names as the cure works: shut down, read to the end, drop.
#[test]
fn c13_shut_down_and_read_to_the_end_while_the_peer_talks() {
    Case::new("c13_shut_down_and_read_to_the_end_while_the_peer_talks")
        .seconds(30)
        .run(|| {
            runtime().block_on(async {
                for _ in 0..10 {
                    let (mut ours, peer) = small_pair().await;
                    let mut peer = peer.into_std().await.expect("idle");
                    peer.write_all(&[1; 6_000]).expect("sent");
                    sleep(MS).await;
                    let reader = std::thread::spawn(move || {
                        std::thread::sleep(5 * MS);
                        let mut all = Vec::new();
                        let end = peer.read_to_end(&mut all).map_err(|error| error.kind());
                        (end, all.len())
                    });
                    let bytes = coded_bytes(1, 0, 60_000);
                    ours.write_all(&bytes).await.expect("taken");
                    ours.shutdown(std::net::Shutdown::Write)
                        .await
                        .expect("sent");
                    let mut unread = 0;
                    while let Some(chunk) = ours.recv().await.expect("the peer ends in order") {
                        unread += chunk.len();
                    }
                    assert_eq!(unread, 6_000);
                    drop(ours);
                    assert_eq!(reader.join().expect("no panic"), (Ok(60_000), 60_000));
                }
            });
        });
}

/// Drops outside of the loop flush and reap at once; a completion among those reaped may drop
/// another descriptor. The bytes of many streams that wait in the queue meanwhile stay apart.
#[test]
fn p15_drops_outside_of_the_loop_mix_nothing() {
    Case::new("p15_drops_outside_of_the_loop_mix_nothing").run(|| {
        const STREAMS: u64 = 200;
        let mut runtime = runtime();
        let (mut theirs, mut ours) = runtime.block_on(async {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..STREAMS {
                let (mut stream, peer) = half().await;
                assert!(stream.recv().now_or_never().is_none(), "armed");
                ours.push(stream);
                theirs.push(peer);
            }
            sleep(MS).await;
            (theirs, ours)
        });
        drop(theirs.remove(0));
        for (i, peer) in theirs.iter_mut().enumerate() {
            peer.write_all(&coded_bytes(i as u64, 0, 100))
                .expect("sent");
        }
        std::thread::sleep(20 * MS);
        let (read, write) = ours.remove(0).into_split();
        drop(write);
        drop(read);
        runtime.block_on(async {
            for (i, stream) in ours.iter_mut().enumerate() {
                let mut bytes = [0; 100];
                stream.read_exact(&mut bytes).await.expect("all came");
                check_coded(i as u64, 0, &bytes);
            }
        });
    });
}

/// What is forgotten instead of dropped cannot clean up; the stream still fails closed.
#[test]
#[allow(clippy::mem_forget, reason = "forgetting is what is tested")]
fn p2_forgotten_sends_and_reads_fail_closed() {
    Case::new("p2_forgotten_sends_and_reads_fail_closed").run(|| {
        runtime().block_on(async {
            let (mut ours, _theirs) = small_pair().await;
            let mut send = Box::pin(ours.send_all(vec![1; 16 << 20]));
            assert!((&mut send).now_or_never().is_none());
            std::mem::forget(send);
            let error = ours.write(b"x").await.expect_err("torn");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let (mut ours, mut theirs) = half().await;
            let mut read = Box::pin(ours.read_owned(vec![0; 8]));
            assert!((&mut read).now_or_never().is_none());
            std::mem::forget(read);
            theirs.write_all(b"lost").expect("sent");
            sleep(5 * MS).await;
            assert!(ours.recv().await.is_err(), "not out of order, but an error");
        });
    });
}
