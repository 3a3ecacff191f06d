//! A: memory that the kernel has. K: memory that it has had.

use crate::harness::{Rng, check_coded, coded_bytes};
use crate::world::{MS, World, comes_to_rest, listener, pair, pair_of};
use corering::net::TcpStream;
use corering::spawn;
use corering::time::sleep;
use futures::FutureExt;
use futures::future::{Either, select};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

both!(
    a01_drop_pending_recv,
    a09_select_churn,
    a12_odd_sizes,
    k01_recycled_bytes
);

/// Allocates and frees: what was freed too early is used again.
fn churn(rng: &mut Rng) {
    let some: Vec<Vec<u8>> = (0..20)
        .map(|_| vec![0x5a; 64 + rng.below(8_192) as usize])
        .collect();
    std::hint::black_box(&some);
}

/// A receive is dropped while the kernel has it, before and after its cancel has left, and
/// bytes come at that moment: none is lost.
async fn a01_drop_pending_recv(world: World) {
    let mut rng = world.rng();
    let (mut ours, mut theirs) = pair().await;
    let mut at = 0;
    for round in 0..world.rounds(1_500, 60) {
        match round % 3 {
            0 => {
                let read = ours.read_owned(Vec::with_capacity(4096));
                assert!(read.now_or_never().is_none());
            }
            1 => assert!(ours.recv().now_or_never().is_none()),
            _ => assert!(ours.read(&mut [0; 4096]).now_or_never().is_none()),
        }
        if round % 2 == 0 {
            churn(&mut rng);
        } else {
            sleep(Duration::ZERO).await;
            corering::task::yield_now().await;
        }
        let bytes = coded_bytes(1, at, 4096);
        theirs.send_all(bytes).await.0.expect("sent");
        let mut bytes = vec![0; 4096];
        ours.read_exact(&mut bytes).await.expect("nothing is lost");
        check_coded(1, at, &bytes);
        at += 4096;
    }
    world.nothing_stale();
    drop((ours, theirs));
    comes_to_rest().await;
}

async fn write_with_pauses(mut theirs: TcpStream, connection: u64, len: u64, mut rng: Rng) {
    let mut at = 0;
    while at < len {
        let part = 1 + rng.below(3_000);
        let bytes = coded_bytes(connection, at, part as usize);
        theirs.send_all(bytes).await.0.expect("sent");
        at += part;
        sleep(Duration::from_micros(rng.below(300))).await;
    }
}

/// Reads to the end, with reads that are given up whenever a nap is over first.
async fn read_in_a_race(mut ours: TcpStream, connection: u64, mut rng: Rng) -> (u64, u32) {
    let (mut at, mut dropped) = (0, 0);
    loop {
        let nap = pin!(sleep(Duration::from_micros(rng.below(200))));
        let bytes = if rng.once_in(3) {
            let room = Vec::with_capacity(1 + rng.below(5_000) as usize);
            match select(ours.read_owned(room), nap).await {
                Either::Left(((result, bytes), _)) => {
                    assert_eq!(result.expect("read"), bytes.len());
                    Some(bytes)
                }
                Either::Right(_) => None,
            }
        } else {
            match select(pin!(ours.recv()), nap).await {
                Either::Left((chunk, _)) => {
                    let chunk = chunk.expect("read");
                    Some(chunk.map_or_else(Vec::new, |chunk| chunk.to_vec()))
                }
                Either::Right(_) => None,
            }
        };
        match bytes {
            Some(bytes) if bytes.is_empty() => return (at, dropped),
            Some(bytes) => {
                check_coded(connection, at, &bytes);
                at += bytes.len() as u64;
            }
            None => dropped += 1,
        }
    }
}

async fn a09_select_churn(world: World) {
    let mut rng = world.rng();
    let (listener, address) = listener().await;
    let len = world.rounds(150_000, 20_000);
    let mut readers = Vec::new();
    for connection in 0..world.rounds(24, 6) {
        let (ours, theirs) = pair_of(&listener, address).await;
        let (a, b) = (rng.next(), rng.next());
        drop(spawn(write_with_pauses(
            theirs,
            connection,
            len,
            Rng::from_seed(a),
        )));
        readers.push(spawn(read_in_a_race(ours, connection, Rng::from_seed(b))));
    }
    let mut dropped_all = 0;
    for reader in readers {
        let (at, dropped) = reader.await.expect("no panic");
        assert!(at >= len, "{at}");
        dropped_all += dropped;
    }
    assert!(dropped_all > 0, "no read was dropped");
    world.nothing_stale();
    drop(listener);
    comes_to_rest().await;
}

/// Nothing, one byte, more pieces than one call takes.
async fn a12_odd_sizes(world: World) {
    let (mut ours, mut theirs) = pair().await;
    theirs.write_all(b"x").await.expect("sent");
    assert_eq!(ours.read(&mut []).await.expect("nothing"), 0);
    let (result, buf) = ours.read_owned(Vec::new()).await;
    assert_eq!((result.expect("nothing"), buf.len()), (0, 0));
    ours.read_exact(&mut []).await.expect("nothing");
    let mut one = [0];
    ours.read_exact(&mut one).await.expect("it was not lost");
    assert_eq!(&one, b"x");
    assert_eq!(ours.write(&[]).await.expect("nothing"), 0);
    ours.write_all(&[]).await.expect("nothing");
    assert_eq!(ours.write_vectored(&[]).await.expect("nothing"), 0);
    ours.send_all(Vec::new()).await.0.expect("nothing");
    assert_eq!(ours.send(Vec::new()).await.0.expect("nothing"), 0);
    let (result, _) = ours.send_vectored(Vec::<Vec<u8>>::new()).await;
    assert_eq!(result.expect("nothing"), 0);
    ours.flush().await.expect("nothing");
    let pieces: Vec<Vec<u8>> = (0..1_025u32).map(|i| vec![i as u8]).collect();
    let (result, pieces) = ours.send_vectored(pieces).await;
    let sent = result.expect("sent");
    assert!((1..=1_024).contains(&sent) && pieces.len() == 1_025);
    assert!(world.is_simulated() || sent == 1_024);
    let slices = pieces.iter().map(|piece| std::io::IoSlice::new(piece));
    let slices: Vec<_> = slices.collect();
    let taken = ours.write_vectored(&slices).await.expect("taken");
    assert_eq!(taken, 1_025);
    ours.flush().await.expect("sent");
    let mut all = vec![0; sent + taken];
    theirs.read_exact(&mut all).await.expect("received");
    let (first, second) = all.split_at(sent);
    for part in [first, second] {
        assert!((0..).zip(part).all(|(i, &byte)| byte == i as u8));
    }
    let file = corering::fs::File::create_new(world.dir.join("empty")).await;
    let file = file.expect("created");
    assert_eq!(file.write_at(Vec::new(), 0).await.0.expect("nothing"), 0);
    let (result, buf) = file.read_at(Vec::new(), 0).await;
    assert_eq!((result.expect("nothing"), buf.len()), (0, 0));
    let (result, buf) = file.read_at(vec![1; 100], u64::from(u32::MAX)).await;
    assert_eq!((result.expect("the end"), buf.len()), (0, 0));
}

/// A buffer that has held a secret holds one byte of somebody else: that byte alone is shown.
async fn k01_recycled_bytes(world: World) {
    let secret = b"SECRET".repeat(700);
    let (listener, address) = listener().await;
    for _ in 0..world.rounds(300, 20) {
        let (mut ours, mut theirs) = pair_of(&listener, address).await;
        theirs.write_all(&secret[..4096]).await.expect("sent");
        let mut all = vec![0; 4096];
        ours.read_exact(&mut all).await.expect("read");
        drop((ours, theirs));
        let (mut ours, mut theirs) = pair_of(&listener, address).await;
        theirs.write_all(b"1").await.expect("sent");
        let mut chunk = ours.recv().await.expect("read").expect("a byte");
        assert_eq!(&chunk[..], b"1");
        assert!(!format!("{chunk:?}{ours:?}").contains("SECRET"));
        let empty = chunk.split_to(0);
        assert!(empty.is_empty() && chunk.len() == 1);
        chunk.truncate(4096);
        assert_eq!(chunk.len(), 1);
        theirs.write_all(b"2").await.expect("sent");
        let (result, buf) = ours.read_owned(Vec::with_capacity(4096)).await;
        assert_eq!((result.expect("read"), &buf[..]), (1, &b"2"[..]));
    }
}

/// Forgets a future that the kernel has.
fn forget_polled<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let _ = future.as_mut().now_or_never();
    std::mem::forget(future);
}

/// Futures in flight are forgotten: the end of the runtime is orderly, and at most what they own
/// is left.
#[cfg(feature = "sim")]
#[test]
fn a03_forget_pending() {
    corering::sim::seeds(0..20, |sim| {
        let faults = corering::sim::Faults::swarm(sim.seed());
        for kind in 0..6 {
            let mut sim = corering::sim::Sim::with_faults(sim.seed() + kind, faults.clone());
            let host = sim.host("here").boot(|_core| async {});
            sim.block_on(&host, async move {
                let (listener, address) = listener().await;
                let (mut ours, mut theirs) = pair_of(&listener, address).await;
                let (mut full, _peer) = pair_of(&listener, address).await;
                match kind {
                    0 => forget_polled(ours.read_owned(vec![0u8; 4096])),
                    1 => forget_polled(ours.recv()),
                    2 => forget_polled(listener.accept()),
                    3 => forget_polled(full.send_all(vec![7u8; 1 << 20])),
                    4 => forget_polled(TcpStream::connect("127.0.0.1:1")),
                    _ => forget_polled(full.send_zc(vec![7u8; 1 << 20])),
                }
                sleep(MS).await;
                theirs.write_all(&[1; 4096]).await.expect("sent");
                drop((ours, full));
                sleep(MS).await;
            });
            // What was forgotten may keep its descriptor: that is not checked.
            drop(sim);
        }
    });
}
