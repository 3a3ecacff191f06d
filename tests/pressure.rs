//! Pressure: full queues, slow readers, hoarded buffers, floods. No loss, no spin, no growth.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{RecvBuf, TcpStream};
use corering::task::{JoinSet, yield_now};
use corering::time::{Instant, sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use futures::FutureExt;
use harness::net::{half, listener, pair, pair_of, reset};
use harness::{Case, Rng, check_coded, coded_bytes, scaled, seccomp};
use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

fn small(entries: u32, completions: u32) -> Runtime {
    let builder = Runtime::builder()
        .ring_entries(entries)
        .completion_entries(completions);
    builder.build().expect("io_uring works here")
}

/// Far more operations at once than the submission queue has entries.
#[test]
fn b01_sq_burst() {
    Case::new("b01_sq_burst").seconds(60).run(|| {
        let mut runtime = small(8, 16);
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let mut set = JoinSet::new();
            let mut peers = Vec::new();
            for i in 0..400u64 {
                let (mut ours, peer) = pair_of(&listener, address).await;
                peers.push(peer);
                set.spawn(async move {
                    ours.send_all(coded_bytes(i, 0, 100)).await.0.expect("sent");
                    let (result, bytes) = ours.read_owned(vec![0; 64]).await;
                    assert_eq!(result.expect("read"), 1);
                    assert_eq!(bytes, [i as u8]);
                });
            }
            let mut readers = JoinSet::new();
            for (i, mut peer) in (0..).zip(peers) {
                readers.spawn(async move {
                    let mut bytes = vec![0; 100];
                    peer.read_exact(&mut bytes).await.expect("read");
                    check_coded(i, 0, &bytes);
                    peer.write_all(&[i as u8]).await.expect("written");
                    peer.flush().await.expect("sent");
                });
            }
            while let Some(result) = set.join_next().await {
                result.expect("each completes once");
            }
            while let Some(result) = readers.join_next().await {
                result.expect("each completes once");
            }
            // The closes of all these wait for room, too.
            for _ in 0..1_000 {
                if Metrics::current().backlog == 0 {
                    break;
                }
                yield_now().await;
            }
            let metrics = Metrics::current();
            assert_eq!((metrics.stale_completions, metrics.backlog), (0, 0));
        });
    });
}

/// Each turn queues far more than the submission queue holds, and drops it again at once: it does
/// not pile up, and who does not give up is served meanwhile.
#[test]
fn b01_what_is_dropped_does_not_pile_up() {
    const READERS: u64 = 100;
    Case::new("b01_what_is_dropped_does_not_pile_up").run(|| {
        let mut runtime = small(8, 16);
        runtime.block_on(async {
            let (mut ours, mut peer) = pair().await;
            spawn(async move {
                while let Some(chunk) = peer.recv().await.expect("read") {
                    peer.send_all(chunk).await.0.expect("sent");
                }
            });
            let own_program = std::env::current_exe().expect("a path");
            let file = corering::fs::File::open(own_program).await.expect("open");
            let (file, peak) = (Rc::new(file), Rc::new(Cell::new(0)));
            let mut set = JoinSet::new();
            for _ in 0..READERS {
                let (file, peak) = (file.clone(), peak.clone());
                set.spawn(async move {
                    for _ in 0..300 {
                        drop(file.read_at(vec![0; 8], 0).now_or_never());
                        peak.set(peak.get().max(Metrics::current().backlog));
                        yield_now().await;
                    }
                });
            }
            let (mut pings, begin) = (0, Metrics::current().enters);
            while !set.is_empty() {
                ours.write_all(b"ping").await.expect("written");
                ours.read_exact(&mut [0; 4]).await.expect("read");
                pings += 1;
                while let Some(result) = set.try_join_next() {
                    result.expect("no panic");
                }
            }
            let enters = Metrics::current().enters - begin;
            let peak = peak.get();
            println!("{pings} pings, {enters} enters, {peak} entries waited");
            assert!(peak < 10_000, "{peak} entries wait");
            assert!(pings > 5, "{pings} pings");
        });
    });
}

/// Completions pile up far beyond the queue while a task holds the thread.
#[test]
fn b02_cq_burst() {
    Case::new("b02_cq_burst").seconds(60).run(|| {
        let mut runtime = small(8, 16);
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let mut tasks = Vec::new();
            let mut peers = Vec::new();
            for _ in 0..300 {
                let (mut ours, peer) = pair_of(&listener, address).await;
                peers.push(peer.into_std().await.expect("idle"));
                tasks.push(spawn(async move {
                    let mut all = 0;
                    while let Some(chunk) = ours.recv().await.expect("read") {
                        check_coded(7, all, &chunk);
                        all += chunk.len() as u64;
                    }
                    all
                }));
            }
            sleep(5 * MS).await;
            for round in 0..5 {
                for peer in &mut peers {
                    peer.write_all(&coded_bytes(7, round * 50, 50))
                        .expect("sent");
                }
                std::thread::sleep(10 * MS);
                sleep(MS).await;
            }
            drop(peers);
            for task in tasks {
                assert_eq!(
                    task.await.expect("no panic"),
                    250,
                    "nothing is lost, nothing doubled"
                );
            }
            println!("{} overflows", Metrics::current().overflows);
            assert_eq!(Metrics::current().stale_completions, 0);
        });
    });
}

/// Completions that found no room come although the core never sleeps and submits nothing.
#[test]
fn b02_cq_overflow_of_a_busy_core() {
    Case::new("b02_cq_overflow_of_a_busy_core")
        .seconds(60)
        .run(|| {
            let mut runtime = small(8, 8);
            runtime.block_on(async {
                let (listener, address) = listener().await;
                let mut tasks = Vec::new();
                let mut peers = Vec::new();
                for _ in 0..100 {
                    let (mut ours, peer) = pair_of(&listener, address).await;
                    peers.push(peer.into_std().await.expect("idle"));
                    // The stream stays: its end would submit something.
                    tasks.push(spawn(async move {
                        let received = ours.recv().await.map(|_| ());
                        (ours, received)
                    }));
                }
                sleep(5 * MS).await;
                for peer in &mut peers {
                    peer.write_all(b"!").expect("sent");
                }
                let begin = Instant::now();
                while tasks.iter().any(|task| !task.is_finished()) {
                    let waited = begin.elapsed();
                    assert!(waited < Duration::from_secs(5), "completions are missing");
                    yield_now().await;
                }
            });
            assert!(
                runtime.metrics().overflows > 0,
                "the queue was not too small"
            );
        });
}

#[test]
fn b03_cq_overflow_multishot() {
    Case::new("b03_cq_overflow_multishot").seconds(60).run(|| {
        let mut runtime = small(8, 8);
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let served = Rc::new(Cell::new(0));
            let count = served.clone();
            spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("it goes on");
                    let count = count.clone();
                    spawn(async move {
                        let mut all = 0;
                        while let Some(chunk) = stream.recv().await.expect("read") {
                            check_coded(3, all, &chunk);
                            all += chunk.len() as u64;
                        }
                        assert_eq!(all, 3_000);
                        count.set(count.get() + 1);
                    });
                }
            });
            sleep(MS).await;
            for _ in 0..6 {
                // All of them arrive while this task holds the thread.
                let mut clients: Vec<_> = (0..100)
                    .map(|_| std::net::TcpStream::connect(address).expect("connected"))
                    .collect();
                for part in 0..3 {
                    for client in &mut clients {
                        client
                            .write_all(&coded_bytes(3, part * 1_000, 1_000))
                            .expect("sent");
                    }
                }
                drop(clients);
                sleep(MS).await;
            }
            for _ in 0..500 {
                if served.get() == 600 {
                    break;
                }
                sleep(10 * MS).await;
            }
            assert_eq!(served.get(), 600, "no connection and no byte is lost");
        });
    });
}

/// Whatever ends a receive, its buffers come back.
#[test]
fn b11_pool_returns_on_error() {
    Case::new("b11_pool_returns_on_error")
        .quarantine()
        .seconds(60)
        .run(|| {
            let mut runtime = Runtime::builder()
                .recv_buffers(8, 1024)
                .build()
                .expect("io_uring");
            let mut rng = Rng::new();
            runtime.block_on(async {
                let (listener, address) = listener().await;
                for round in 0..400 {
                    let (mut ours, peer) = pair_of(&listener, address).await;
                    let mut peer = peer.into_std().await.expect("idle");
                    let len = 1 + rng.below(6_000) as usize;
                    let how = rng.below(7);
                    let task = spawn(async move {
                        match how {
                            0 => drop(ours.recv().await),
                            1 => drop(timeout(Duration::ZERO, ours.recv()).await),
                            2 => {
                                let _chunk = ours.recv().await;
                                if let Ok(Some(_)) = _chunk {
                                    std::panic::panic_any(1u8);
                                }
                            }
                            3 => while let Ok(Some(_)) = ours.recv().await {},
                            4 => drop(ours.read_owned(Vec::with_capacity(16)).await),
                            5 => {
                                let chunk = ours.recv().await;
                                std::thread::spawn(move || drop(chunk))
                                    .join()
                                    .expect("no panic");
                            }
                            _ => std::future::pending().await,
                        }
                    });
                    yield_now().await;
                    let _ = peer.write_all(&vec![round as u8; len]);
                    if rng.once_in(2) {
                        reset(peer);
                    } else {
                        drop(peer);
                    }
                    if how == 6 {
                        sleep(MS / 4).await;
                        task.abort();
                    }
                    let _ = timeout(Duration::from_secs(5), task)
                        .await
                        .expect("it ends");
                }
                drop(listener);
                for _ in 0..1_000 {
                    let metrics = Metrics::current();
                    if metrics.buffers_available == metrics.buffers && metrics.in_flight == 0 {
                        break;
                    }
                    sleep(MS).await;
                }
                let metrics = Metrics::current();
                assert_eq!(
                    metrics.buffers_available, metrics.buffers,
                    "the pool is whole again"
                );
                assert_eq!((metrics.in_flight, metrics.stale_completions), (0, 0));
            });
        });
}

/// A program keeps every buffer of the core; other connections go on, through the heap.
#[test]
fn hoarded_buffers_starve_nobody() {
    Case::new("hoarded_buffers_starve_nobody")
        .seconds(60)
        .run(|| {
            let mut runtime = Runtime::builder()
                .recv_buffers(4, 4096)
                .build()
                .expect("io_uring");
            runtime.block_on(async {
                let (mut greedy, mut feeder) = half().await;
                feeder
                    .write_all(&coded_bytes(1, 0, 64 << 10))
                    .expect("sent");
                let mut hoard: Vec<RecvBuf> = Vec::new();
                let mut at = 0;
                while at < 40 << 10 {
                    let chunk = timeout(Duration::from_secs(5), greedy.recv())
                        .await
                        .expect("it goes on");
                    let chunk = chunk.expect("read").expect("bytes");
                    check_coded(1, at, &chunk);
                    at += chunk.len() as u64;
                    hoard.push(chunk);
                }
                // 20 others, meanwhile.
                let (listener, address) = listener().await;
                let mut set = JoinSet::new();
                for i in 2..22 {
                    let (mut ours, mut theirs) = pair_of(&listener, address).await;
                    set.spawn(async move {
                        let mut at = 0;
                        while let Some(chunk) = ours.recv().await.expect("read") {
                            check_coded(i, at, &chunk);
                            at += chunk.len() as u64;
                        }
                        assert_eq!(at, 60_000);
                    });
                    spawn(async move {
                        for part in 0..20 {
                            theirs
                                .write_all(&coded_bytes(i, part * 3_000, 3_000))
                                .await
                                .expect("ok");
                            sleep(MS).await;
                        }
                    });
                }
                while let Some(result) = timeout(Duration::from_secs(20), set.join_next())
                    .await
                    .expect("nobody starves")
                {
                    result.expect("no panic");
                }
                let metrics = Metrics::current();
                println!(
                    "{} starved, {} heap receives",
                    metrics.starved, metrics.heap_receives
                );
                assert!(metrics.heap_receives > 0);
                // What was hoarded has not changed; it goes back from another thread.
                let mut at = 0;
                for chunk in &hoard {
                    check_coded(1, at, chunk);
                    at += chunk.len() as u64;
                }
                std::thread::spawn(move || drop(hoard))
                    .join()
                    .expect("no panic");
                let (mut ours, mut theirs) = half().await;
                theirs.write_all(b"again").expect("sent");
                assert_eq!(
                    &ours.recv().await.expect("read").expect("bytes")[..],
                    b"again"
                );
                let metrics = Metrics::current();
                assert!(
                    metrics.buffers_available + 1 >= metrics.buffers,
                    "{metrics:?}"
                );
            });
        });
}

/// A buffer that another thread drops must not keep the core awake.
#[test]
fn a_buffer_dropped_elsewhere_costs_nothing() {
    Case::new("a_buffer_dropped_elsewhere_costs_nothing")
        .seconds(20)
        .run(|| {
            let mut runtime = Runtime::builder()
                .recv_buffers(8, 1024)
                .build()
                .expect("io_uring");
            runtime.block_on(async {
                let (mut ours, mut theirs) = half().await;
                theirs.write_all(&[1; 1024]).expect("sent");
                let chunk = ours.recv().await.expect("read").expect("bytes");
                // Nothing is asked of the pool after the drop: that would take it in.
                let (cpu, enters) = (harness::cpu_time(), Metrics::current().enters);
                std::thread::spawn(move || drop(chunk))
                    .join()
                    .expect("no panic");
                sleep(Duration::from_millis(400)).await;
                let used = harness::cpu_time() - cpu;
                let enters = Metrics::current().enters - enters;
                assert!(
                    used < 60 * MS,
                    "{used:?} and {enters} system calls in 400 ms of nothing"
                );
            });
        });
}

/// A reader that does not read stops the writer, and memory stays where it is.
#[test]
fn slow_reader_back_pressure() {
    Case::new("slow_reader_back_pressure").seconds(60).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let mut peers = Vec::new();
            let sent = Rc::new(Cell::new(0u64));
            harness::oracle::reset_peak();
            let before = harness::memory_kib();
            for i in 0..20 {
                let (mut ours, mut peer) = pair_of(&listener, address).await;
                let sent = sent.clone();
                spawn(async move {
                    for part in 0.. {
                        let bytes = coded_bytes(i, part * 10_000, 10_000);
                        if ours.write_all(&bytes).await.is_err() {
                            return;
                        }
                        sent.set(sent.get() + 10_000);
                    }
                });
                // The receive is armed; nobody takes what it brings.
                let first = peer.recv().await.expect("read").expect("bytes");
                peers.push((i, first.len() as u64, peer));
            }
            let mut stopped = 0;
            for _ in 0..100 {
                stopped = sent.get();
                sleep(200 * MS).await;
                if sent.get() == stopped {
                    break;
                }
            }
            assert_eq!(sent.get(), stopped, "the writers wait");
            let grown = harness::memory_peak_kib().saturating_sub(before);
            println!(
                "{} KiB taken of 20 writers, memory +{grown} KiB",
                stopped >> 10
            );
            assert!(grown < 40 * 1024, "{grown} KiB for 20 connections");
            // And it goes on when they read.
            for (i, mut at, mut peer) in peers {
                while at < 3_000_000 {
                    let chunk = peer.recv().await.expect("read").expect("bytes");
                    check_coded(i, at, &chunk);
                    at += chunk.len() as u64;
                }
            }
        });
    });
}

/// Tasks that are always ready let the sockets have their turns.
#[test]
fn f07_yield_loop_vs_io() {
    Case::new("f07_yield_loop_vs_io").seconds(60).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            for _ in 0..20 {
                spawn(async {
                    loop {
                        yield_now().await;
                    }
                });
            }
            let (mut server, mut client) = half().await;
            let thread = std::thread::spawn(move || {
                let mut times = Vec::new();
                for _ in 0..300 {
                    let begin = std::time::Instant::now();
                    client.write_all(b"ping").expect("sent");
                    client.read_exact(&mut [0; 4]).expect("received");
                    times.push(begin.elapsed());
                }
                times.sort();
                times
            });
            while let Some(chunk) = server.recv().await.expect("read") {
                server.send_all(chunk).await.0.expect("sent");
            }
            let times = thread.join().expect("no panic");
            println!("median {:?}, p99 {:?}", times[150], times[297]);
            assert!(times[150] < 20 * MS, "{:?}", times[150]);
        });
    });
}

/// One connection that floods leaves the others their turns.
#[test]
fn a_flood_starves_nobody() {
    Case::new("a_flood_starves_nobody").seconds(60).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            for _ in 0..2 {
                let (mut flooded, mut flooder) = half().await;
                std::thread::spawn(move || {
                    let bytes = vec![0; 1 << 20];
                    while flooder.write_all(&bytes).is_ok() {}
                });
                spawn(async move { while let Ok(Some(_)) = flooded.recv().await {} });
            }
            let (mut ours, mut theirs) = pair().await;
            let mut worst = Duration::ZERO;
            let all = Instant::now();
            for _ in 0..100 {
                let begin = Instant::now();
                ours.write_all(b"ping").await.expect("written");
                theirs.read_exact(&mut [0; 4]).await.expect("read");
                worst = worst.max(begin.elapsed());
            }
            println!("100 pings in {:?}, worst {worst:?}", all.elapsed());
            assert!(all.elapsed() < Duration::from_secs(10));
        });
    });
}

#[test]
fn g12_connect_flood() {
    Case::new("g12_connect_flood").seconds(60).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.expect("it goes on");
                    spawn(async move {
                        stream.write_all(b"!").await.expect("written");
                        let _ = stream.recv().await;
                    });
                }
            });
            let room = harness::descriptor_limit() / 3;
            let mut set = JoinSet::new();
            for _ in 0..room.min(scaled(1_500, 5_000)) {
                set.spawn(async move {
                    let mut stream = TcpStream::connect(address).await.expect("connected");
                    stream.read_exact(&mut [0]).await.expect("served");
                });
            }
            while let Some(result) = set.join_next().await {
                result.expect("none is lost");
            }
        });
    });
}

const ERRNOS: &[i32] = &[libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];

/// Every k-th `io_uring_enter` fails while bytes go round.
#[test]
fn b04_enter_errno_matrix_echo() {
    Case::new("b04_enter_errno_matrix_echo")
        .seconds(90)
        .run(|| {
            for every in [2, 5, 13] {
                std::thread::spawn(move || {
                    let (give, take) = std::sync::mpsc::channel::<std::net::SocketAddr>();
                    let client = std::thread::spawn(move || {
                        let address = take.recv().expect("sent below");
                        let mut stream = std::net::TcpStream::connect(address).expect("connected");
                        let mut room = vec![0; 3_000];
                        for round in 0..100 {
                            stream
                                .write_all(&coded_bytes(5, round * 3_000, 3_000))
                                .expect("sent");
                            stream.read_exact(&mut room).expect("received");
                            check_coded(5, round * 3_000, &room);
                        }
                    });
                    let ((), failed) = seccomp::answer_enters(every, ERRNOS, || {
                        let mut runtime = runtime();
                        runtime.block_on(async {
                            let (listener, address) = listener().await;
                            give.send(address).expect("the client waits");
                            let (mut stream, _) = listener.accept().await.expect("accepted");
                            while let Some(chunk) = stream.recv().await.expect("read") {
                                stream.send_all(chunk).await.0.expect("sent");
                            }
                            assert_eq!(Metrics::current().stale_completions, 0);
                        });
                    });
                    client.join().expect("no panic");
                    println!("every {every}: {failed} calls failed");
                    assert!(failed > 5);
                })
                .join()
                .expect("no panic");
            }
        });
}
