//! Memory that the kernel has: dropped, forgotten, panicked away, ended, and never touched late.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    clippy::mem_forget,
    reason = "tests look from outside, and do what programs should not"
)]

mod harness;

use corering::buf::{IoBuf, IoBufMut};
use corering::net::TcpStream;
use corering::time::sleep;
use corering::{Metrics, Runtime, spawn};
use futures::FutureExt;
use futures::future::{Either, select};
use harness::net::{half, listener, pair_of, small_pair};
use harness::{Case, Census, Rng, alloc, check_coded, coded_bytes, panic_of, scaled};
use std::cell::Cell;
use std::future::pending;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// Allocates and frees: what was freed too early is used again.
fn churn(rng: &mut Rng) {
    let some: Vec<Vec<u8>> = (0..20)
        .map(|_| vec![0x5a; 64 + rng.below(8_192) as usize])
        .collect();
    std::hint::black_box(&some);
}

/// All operations have been given back.
async fn comes_to_rest(expected: u64) {
    for _ in 0..2_000 {
        if Metrics::current().in_flight <= expected {
            return;
        }
        sleep(MS).await;
    }
    panic!(
        "{} operations are still in flight",
        Metrics::current().in_flight
    );
}

#[test]
fn a01_drop_pending_recv() {
    Case::new("a01_drop_pending_recv").quarantine().run(|| {
        let mut rng = Rng::new();
        runtime().block_on(async {
            let (mut ours, mut theirs) = half().await;
            let mut at = 0;
            for round in 0..1_500 {
                match round % 3 {
                    0 => assert!(
                        ours.read_owned(Vec::with_capacity(4096))
                            .now_or_never()
                            .is_none()
                    ),
                    1 => assert!(ours.recv().now_or_never().is_none()),
                    _ => assert!(ours.read(&mut [0; 4096]).now_or_never().is_none()),
                }
                if round % 2 == 0 {
                    // The cancel has not left yet: the bytes race with it.
                    theirs.write_all(&coded_bytes(1, at, 4096)).expect("sent");
                    churn(&mut rng);
                } else {
                    sleep(Duration::ZERO).await;
                    corering::task::yield_now().await;
                    theirs.write_all(&coded_bytes(1, at, 4096)).expect("sent");
                }
                let mut bytes = vec![0; 4096];
                ours.read_exact(&mut bytes).await.expect("nothing is lost");
                check_coded(1, at, &bytes);
                at += 4096;
            }
            assert_eq!(Metrics::current().stale_completions, 0);
            drop(ours);
            comes_to_rest(0).await;
        });
    });
}

#[test]
fn a03_forget_pending() {
    Case::new("a03_forget_pending")
        .quarantine()
        .seconds(30)
        .run(|| {
            runtime().block_on(sleep(MS));
            let census = Census::take();
            for kind in 0..6 {
                let mut runtime = runtime();
                runtime.block_on(async {
                    let (listener, _) = listener().await;
                    let (mut ours, mut theirs) = half().await;
                    let (mut full, _peer) = small_pair().await;
                    match kind {
                        0 => forget_polled(ours.read_owned(vec![0u8; 4096])),
                        1 => forget_polled(ours.recv()),
                        2 => forget_polled(listener.accept()),
                        3 => forget_polled(full.send_all(vec![7u8; 8 << 20])),
                        4 => forget_polled(TcpStream::connect("127.0.0.1:1")),
                        _ => forget_polled(full.send_zc(vec![7u8; 8 << 20])),
                    }
                    sleep(MS).await;
                    theirs.write_all(&[1; 4096]).expect("sent");
                    sleep(MS).await;
                    drop((ours, full));
                    sleep(MS).await;
                });
                let begin = std::time::Instant::now();
                drop(runtime);
                assert!(begin.elapsed() < Duration::from_secs(3), "kind {kind}");
            }
            let added = census.added();
            // Each forgotten operation may keep its own descriptor, and no ring.
            assert!(added.len() <= 7, "{added:?}");
            assert!(
                !added.iter().any(|name| name.contains("io_uring")),
                "{added:?}"
            );
        });
}

fn forget_polled<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let _ = future.as_mut().now_or_never();
    std::mem::forget(future);
}

#[test]
fn a09_select_churn() {
    let (connections, rounds_min) = scaled((24, 1_000u32), (64, 100_000));
    const LEN_MIN: u64 = 150_000;
    Case::new("a09_select_churn")
        .quarantine()
        .seconds(90)
        .run(|| {
            let mut rng = Rng::new();
            let mut runtime = runtime();
            runtime.block_on(async {
                let (listener, address) = listener().await;
                let mut readers = Vec::new();
                for connection in 0..connections {
                    let (mut ours, theirs) = pair_of(&listener, address).await;
                    let mut theirs = theirs.into_std().await.expect("idle");
                    let mut their_rng = Rng::from_seed(rng.next());
                    let finished = Arc::new(AtomicBool::new(false));
                    let enough = finished.clone();
                    std::thread::spawn(move || {
                        let mut at = 0;
                        while at < LEN_MIN || !enough.load(Ordering::Relaxed) {
                            let len = 1 + their_rng.below(3_000);
                            let bytes = coded_bytes(connection, at, len as usize);
                            theirs.write_all(&bytes).expect("sent");
                            at += len;
                            std::thread::sleep(Duration::from_micros(their_rng.below(300)));
                        }
                    });
                    let mut rng = Rng::from_seed(rng.next());
                    readers.push(spawn(async move {
                        let mut at = 0;
                        let (mut dropped, mut rounds) = (0u32, 0u32);
                        loop {
                            rounds += 1;
                            if rounds >= rounds_min.div_ceil(connections as u32) {
                                finished.store(true, Ordering::Relaxed);
                            }
                            let nap = pin!(sleep(Duration::from_micros(rng.below(200))));
                            if rng.once_in(3) {
                                let room = Vec::with_capacity(1 + rng.below(5_000) as usize);
                                match select(ours.read_owned(room), nap).await {
                                    Either::Left(((result, bytes), _)) => {
                                        assert_eq!(result.expect("read"), bytes.len());
                                        check_coded(connection, at, &bytes);
                                        at += bytes.len() as u64;
                                        if bytes.is_empty() {
                                            return (at, dropped, rounds);
                                        }
                                    }
                                    Either::Right(_) => dropped += 1,
                                }
                            } else {
                                match select(pin!(ours.recv()), nap).await {
                                    Either::Left((Ok(Some(chunk)), _)) => {
                                        check_coded(connection, at, &chunk);
                                        at += chunk.len() as u64;
                                    }
                                    Either::Left((end, _)) => {
                                        assert!(end.expect("read").is_none());
                                        return (at, dropped, rounds);
                                    }
                                    Either::Right(_) => dropped += 1,
                                }
                            }
                        }
                    }));
                }
                let (mut dropped_all, mut rounds_all) = (0, 0);
                for reader in readers {
                    let (at, dropped, rounds) = reader.await.expect("no panic");
                    assert!(at >= LEN_MIN, "{at}");
                    dropped_all += dropped;
                    rounds_all += rounds;
                }
                println!("{dropped_all} of {rounds_all} reads were dropped");
                assert!(dropped_all > 0 && rounds_all >= rounds_min);
                assert_eq!(Metrics::current().stale_completions, 0);
                drop(listener);
                comes_to_rest(0).await;
            });
        });
}

#[test]
fn a11_buffer_contract() {
    Case::new("a11_buffer_contract").run(|| {
        runtime().block_on(async {
            let (mut ours, mut theirs) = half().await;
            theirs.write_all(b"hello").expect("sent");
            let mut buf = Vec::with_capacity(64);
            buf.extend_from_slice(&[0xaa; 50]);
            let place = buf.as_ptr();
            let (result, buf) = ours.read_owned(buf).await;
            assert_eq!((result.expect("read"), &buf[..]), (5, &b"hello"[..]));
            assert_eq!((buf.as_ptr(), buf.capacity()), (place, 64));

            theirs.write_all(b"abc").expect("sent");
            let (result, buf) = ours.read_owned(vec![9; 6].into_boxed_slice()).await;
            assert_eq!(
                (result.expect("read"), &buf[..]),
                (3, &b"abc\x09\x09\x09"[..])
            );

            theirs.write_all(b"defg").expect("sent");
            let (result, buf) = ours.read_owned(Box::new([1u8; 2])).await;
            assert_eq!((result.expect("read"), *buf), (2, *b"de"));
            // To append.
            let begun = b"xy".to_vec();
            let mut begun = begun;
            begun.reserve(16);
            let (result, part) = ours.read_owned(begun.slice(2..)).await;
            assert_eq!(
                (result.expect("read"), &part.into_inner()[..]),
                (2, &b"xyfg"[..])
            );

            let (result, text) = ours.send_all(String::from("owned")).await;
            result.expect("sent");
            assert_eq!(text, "owned");
            ours.send_all("static").await.0.expect("sent");
            ours.send_all(Rc::<[u8]>::from(&b"shared"[..]))
                .await
                .0
                .expect("sent");
            let (result, bufs) = ours
                .send_vectored(vec![b"a".to_vec(), Vec::new(), b"b".to_vec()])
                .await;
            assert_eq!((result.expect("sent"), bufs.len()), (2, 3));
            let mut all = [0; 19];
            theirs.read_exact(&mut all).expect("received");
            assert_eq!(&all, b"ownedstaticsharedab");
            // At the end: nothing, and no old bytes.
            drop(theirs);
            let (result, buf) = ours.read_owned(vec![3u8; 8]).await;
            assert_eq!((result.expect("the end"), buf.len()), (0, 0));
            assert!(ours.recv().await.expect("the end").is_none());
        });
    });
}

#[cfg(feature = "bytes")]
#[test]
fn a11_bytes_contract() {
    Case::new("a11_bytes_contract").run(|| {
        runtime().block_on(async {
            let (mut ours, mut theirs) = half().await;
            theirs.write_all(b"hello").expect("sent");
            let (result, buf) = ours.read_owned(bytes::BytesMut::with_capacity(32)).await;
            assert_eq!((result.expect("read"), &buf[..]), (5, &b"hello"[..]));
            ours.send_all(buf.freeze()).await.0.expect("sent");
            theirs.write_all(b"world").expect("sent");
            let chunk = ours.recv().await.expect("read").expect("bytes");
            let bytes = chunk.into_bytes();
            let other = std::thread::spawn(move || bytes[1..3].to_vec());
            assert_eq!(other.join().expect("no panic"), b"or");
        });
    });
}

/// A buffer without memory of its own: three gigabytes of zeros, mapped without a page behind.
struct Sparse(*const u8, usize);

impl Sparse {
    fn new(len: usize) -> Option<Sparse> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let none = std::ptr::null_mut();
        // SAFETY: a new anonymous mapping touches no memory that exists.
        let ptr = unsafe { libc::mmap(none, len, libc::PROT_READ, flags, -1, 0) };
        (ptr != libc::MAP_FAILED).then(|| Sparse(ptr.cast(), len))
    }
}

// SAFETY: the mapping is never changed nor unmapped.
unsafe impl IoBuf for Sparse {
    fn as_init(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

/// Longer than any one operation moves.
#[test]
fn a12_two_gigabytes_and_more() {
    Case::new("a12_two_gigabytes_and_more").seconds(60).run(|| {
        let len = (1usize << 31) + (1 << 20) + 7;
        let Some(sparse) = Sparse::new(len) else {
            return harness::skip("no room in the address space");
        };
        runtime().block_on(async {
            let (mut ours, mut theirs) = half().await;
            let reader = std::thread::spawn(move || {
                let mut room = vec![1; 1 << 20];
                let mut all = 0u64;
                loop {
                    match theirs.read(&mut room).expect("received") {
                        0 => return all,
                        n => all += n as u64,
                    }
                }
            });
            ours.send_all(sparse).await.0.expect("sent");
            drop(ours);
            sleep(MS).await;
            while !reader.is_finished() {
                sleep(MS).await;
            }
            assert_eq!(reader.join().expect("no panic"), len as u64);
        });
    });
}

#[test]
fn a13_panic_with_op_in_flight() {
    Case::new("a13_panic_with_op_in_flight")
        .quarantine()
        .run(|| {
            let mut rng = Rng::new();
            let mut runtime = runtime();
            runtime.block_on(async {
                let (listener, address) = listener().await;
                for round in 0..200 {
                    let (mut ours, theirs) = pair_of(&listener, address).await;
                    let mut theirs = theirs.into_std().await.expect("idle");
                    struct SendOnDrop<'a>(&'a mut std::net::TcpStream);
                    impl Drop for SendOnDrop<'_> {
                        fn drop(&mut self) {
                            self.0.write_all(&[9; 4096]).expect("sent");
                        }
                    }
                    let task = spawn(async move {
                        let mut read = ours.read_owned(vec![0; 4096]);
                        assert!((&mut read).now_or_never().is_none());
                        if round % 2 == 0 {
                            sleep(Duration::from_micros(50)).await;
                        }
                        // Data arrives while the task unwinds.
                        let _send = SendOnDrop(&mut theirs);
                        panic!("with a read in flight");
                    });
                    assert!(task.await.expect_err("it panics").is_panic());
                    churn(&mut rng);
                }
                drop(listener);
                comes_to_rest(0).await;
            });
            // The main future itself.
            let text = panic_of(|| {
                runtime.block_on(async {
                    let (mut ours, _theirs) = half().await;
                    let mut read = ours.read_owned(vec![0; 4096]);
                    assert!((&mut read).now_or_never().is_none());
                    panic!("the main future");
                })
            });
            assert_eq!(text.as_deref(), Some("the main future"));
            runtime.block_on(comes_to_rest(0));
        });
}

/// A buffer whose destructor uses the runtime in every way.
struct Busy {
    bytes: Box<[u8; 64]>,
    drops: Rc<Cell<u32>>,
    stream: Option<TcpStream>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        drop(self.stream.take());
        let _ = panic_of(|| {
            spawn(async { sleep(MS).await });
            let mut nap = Box::pin(sleep(Duration::from_secs(5)));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = nap.as_mut().poll(&mut cx);
            let _ = Metrics::current();
        });
    }
}

// SAFETY: the bytes have their own box.
unsafe impl IoBuf for Busy {
    fn as_init(&self) -> &[u8] {
        &self.bytes[..]
    }
}

// SAFETY: as above; all of it is initialised.
unsafe impl IoBufMut for Busy {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = &mut self.bytes[..];
        // SAFETY: initialised bytes may be seen as such that need not be.
        unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
    }

    unsafe fn set_len(&mut self, _len: usize) {}
}

#[test]
fn a14_reentrant_buffer_drop() {
    Case::new("a14_reentrant_buffer_drop")
        .quarantine()
        .seconds(30)
        .run(|| {
            runtime().block_on(sleep(MS));
            let census = Census::take();
            let drops = Rc::new(Cell::new(0));
            let mut made = 0;
            for end_first in [false, true] {
                let mut runtime = runtime();
                runtime.block_on(async {
                    let (listener, address) = listener().await;
                    let mut kept = Vec::new();
                    for round in 0..60 {
                        let (mut ours, theirs) = pair_of(&listener, address).await;
                        let (extra, extra_peer) = pair_of(&listener, address).await;
                        made += 1;
                        let busy = Busy {
                            bytes: Box::new([0; 64]),
                            drops: drops.clone(),
                            stream: Some(extra),
                        };
                        let mut read = ours.read_owned(busy);
                        assert!((&mut read).now_or_never().is_none());
                        match round % 3 {
                            0 => drop(read),
                            1 => {
                                read.cancel();
                                let (result, _busy) = read.await;
                                let kind = result.expect_err("cancelled").kind();
                                assert_eq!(kind, std::io::ErrorKind::Interrupted);
                            }
                            _ => std::mem::drop((read, 1)),
                        }
                        kept.push((ours, theirs, extra_peer));
                        if !end_first && round % 7 == 0 {
                            kept.clear();
                            sleep(MS).await;
                        }
                    }
                    if !end_first {
                        kept.clear();
                        drop(listener);
                        sleep(20 * MS).await;
                    }
                });
                drop(runtime);
                assert_eq!(drops.get(), made, "each buffer is dropped once");
            }
            census.assert_same();
        });
}

/// What a runtime's own panic, or an end inside of another one, leaves with the kernel.
#[test]
fn a15_runtime_lost_with_a_read_in_flight() {
    Case::new("a15_runtime_lost_with_a_read_in_flight")
        .quarantine()
        .seconds(30)
        .run(|| {
            let mut rng = Rng::new();
            for _ in 0..20 {
                let mut inner = runtime();
                let (task, mut theirs) = inner.block_on(async {
                    let (mut ours, theirs) = half().await;
                    let task = spawn(async move { ours.read_owned(vec![0; 4096]).await.0 });
                    sleep(MS).await;
                    (task, theirs)
                });
                runtime().block_on(async {
                    // `shutdown` panics in here; the runtime goes without its orderly end.
                    let _ = panic_of(|| inner.shutdown(5 * MS));
                });
                drop(task);
                churn(&mut rng);
                let _ = theirs.write_all(&[0x77; 4096]);
                std::thread::sleep(Duration::from_millis(5));
                alloc::verify();
            }
        });
}

/// In steady state a message costs no allocation, neither on the wire's side nor in a task.
#[test]
fn no_allocation_per_message() {
    Case::new("no_allocation_per_message").seconds(60).run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let (mut server, client) = half().await;
            std::thread::spawn(move || {
                let mut client = client;
                let mut room = [0u8; 64];
                for i in 0..13_000u32 {
                    client.write_all(&[i as u8; 64]).expect("sent");
                    client.read_exact(&mut room).expect("received");
                    assert_eq!(room, [i as u8; 64]);
                }
            });
            let mut buf = [0; 64];
            let mut before = 0;
            for i in 0..12_000 {
                if i == 2_000 {
                    before = alloc::allocations();
                }
                server.read_exact(&mut buf).await.expect("read");
                server.write_all(&buf).await.expect("written");
            }
            let made = alloc::allocations() - before;
            if Metrics::current().buffers == 0 {
                return harness::skip("this kernel has no buffer rings: receives go to the heap");
            }
            assert_eq!(made, 0, "allocations in 10,000 messages by read and write");
        });
    });
}

#[test]
fn no_allocation_per_message_by_recv_and_send() {
    Case::new("no_allocation_per_message_by_recv_and_send")
        .seconds(60)
        .run(|| {
            let mut runtime = runtime();
            runtime.block_on(async {
                let (mut server, client) = half().await;
                std::thread::spawn(move || {
                    let mut client = client;
                    let mut room = [0u8; 64];
                    for i in 0..13_000u32 {
                        client.write_all(&[i as u8; 64]).expect("sent");
                        client.read_exact(&mut room).expect("received");
                    }
                });
                let mut before = 0;
                for i in 0..12_000 {
                    if i == 2_000 {
                        before = alloc::allocations();
                    }
                    let chunk = server.recv().await.expect("read").expect("more");
                    server.send_all(chunk).await.0.expect("sent");
                }
                let made = alloc::allocations() - before;
                if Metrics::current().buffers == 0 {
                    return harness::skip("no buffer rings here: receives go to the heap");
                }
                assert_eq!(
                    made, 0,
                    "allocations in 10,000 messages by recv and send_all"
                );
            });
        });
}

/// Idle connections: a task and a stream each, no buffer, also when they were served before.
#[test]
fn idle_connections_are_small() {
    Case::new("idle_connections_are_small").seconds(60).run(|| {
        // The first ones touch every receive buffer, also where each takes a buffer of its own.
        const FIRST: u64 = 600;
        /// Of one connection, its task included.
        const BYTES_MAX: u64 = 700;
        let room = harness::descriptor_limit().saturating_sub(200) / 2;
        let connections = room.saturating_sub(FIRST).min(5_000);
        if connections < 500 {
            return harness::skip("the limit on descriptors leaves no room for 500 connections");
        }
        let mut runtime = runtime();
        runtime.block_on(async {
            let (listener, address) = listener().await;
            // The clients cost this process nothing but descriptors.
            let clients: Rc<Cell<Vec<std::net::TcpStream>>> = Rc::default();
            let mut kept = Vec::new();
            let mut before = 0;
            for i in 0..connections + FIRST {
                if i == FIRST {
                    before = harness::memory_kib();
                }
                let mut client = std::net::TcpStream::connect(address).expect("connected");
                let (mut stream, _) = listener.accept().await.expect("accepted");
                spawn(async move {
                    while let Ok(Some(chunk)) = stream.recv().await {
                        if stream.send_all(chunk).await.0.is_err() {
                            return;
                        }
                    }
                });
                client.write_all(&[7; 64]).expect("sent");
                client.set_nonblocking(true).expect("set");
                let mut room = [0; 64];
                while client.read(&mut room).is_err() {
                    corering::task::yield_now().await;
                }
                assert_eq!(room, [7; 64]);
                kept.push(client);
            }
            sleep(20 * MS).await;
            let kib = harness::memory_kib().saturating_sub(before);
            println!(
                "{connections} idle connections: {} bytes each",
                kib * 1024 / connections
            );
            if Metrics::current().buffers == 0 {
                return harness::skip("this kernel has no buffer rings: receives go to the heap");
            }
            assert!(
                kib <= connections * BYTES_MAX / 1024 + 512,
                "{kib} KiB for {connections} connections"
            );
            clients.set(kept);
        });
    });
}

/// Futures of every kind that outlive their runtime: no panic, no use of freed memory.
#[test]
fn operations_outlive_their_runtime() {
    Case::new("operations_outlive_their_runtime")
        .quarantine()
        .seconds(30)
        .run(|| {
            runtime().block_on(sleep(MS));
            let census = Census::take();
            let mut runtime = runtime();
            let (mut ours, mut theirs, listener, task) = runtime.block_on(async {
                let (listener, _) = listener().await;
                assert!(listener.accept().now_or_never().is_none());
                let (mut ours, theirs) = half().await;
                assert!(ours.recv().now_or_never().is_none());
                (ours, theirs, listener, spawn(pending::<()>()))
            });
            theirs.write_all(b"late").expect("sent");
            drop(runtime);
            // A write may be taken; the flush behind it must tell.
            let _ = ours.write_all(b"x").now_or_never().expect("answered");
            ours.flush()
                .now_or_never()
                .expect("answered")
                .expect_err("the runtime is gone");
            let (result, _) = ours.send_all(vec![1; 9]).now_or_never().expect("answered");
            result.expect_err("the runtime is gone");
            let read = ours.recv().now_or_never();
            println!(
                "recv: {read:?}, accept: {:?}",
                listener.accept().now_or_never()
            );
            let (result, _) = ours
                .read_owned(vec![0; 8])
                .now_or_never()
                .expect("answered");
            println!("read_owned: {result:?}");
            drop((ours, theirs, listener, task));
            census.assert_same();
        });
}
