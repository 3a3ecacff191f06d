//! C: what is given up throws nothing away, and asks nothing of the kernel that was not begun.

use crate::harness::{Rng, check_coded, coded_bytes};
use crate::world::{MS, World, closes_come_to_an_end, comes_to_rest, listener, pair, soon};
use corering::net::{TcpListener, TcpStream};
use corering::time::{sleep, timeout};
use corering::{Metrics, fs, spawn};
use futures::FutureExt;
use futures::future::{Either, select};
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

both!(
    c01_never_polled,
    c02_accept_select_no_loss,
    c04_read_owned_that_did_nothing_leaves_nothing,
    c04_recv_timeout_keeps_bytes,
    c06_open_is_given_up,
);

async fn c01_never_polled(world: World) {
    let (listener, address) = listener().await;
    let (mut ours, mut theirs) = pair().await;
    // The first receive of a core makes its buffers; the connection's begin is over with this.
    theirs.write_all(b"x").await.expect("written");
    ours.read_exact(&mut [0]).await.expect("read");
    sleep(100 * MS).await;
    let before = Metrics::current();
    let census = world.census();
    let path = world.dir.join("never");
    for _ in 0..100 {
        drop(ours.recv());
        drop(ours.read(&mut [0; 8]));
        drop(ours.read_owned(vec![0; 8]));
        drop(ours.write_all(b"never"));
        drop(ours.send(vec![1; 8]));
        drop(ours.send_all(vec![1; 8]));
        drop(ours.send_zc(vec![1; 8]));
        drop(ours.send_vectored(vec![vec![1; 8]]));
        drop(ours.shutdown(std::net::Shutdown::Both));
        drop(ours.flush());
        drop(listener.accept());
        drop(listener.incoming());
        drop(TcpStream::connect(address));
        drop(TcpListener::bind(address));
        drop(sleep(MS));
        drop(fs::write(&path, "never"));
        drop(fs::write_atomic(&path, "never"));
        drop(fs::File::create(&path));
        drop(fs::create_dir(&path));
    }
    let after = Metrics::current();
    assert_eq!(after.operations, before.operations);
    let added = census.map(|census| census.added());
    assert_eq!(added.unwrap_or_default(), Vec::<String>::new());
    let missing = fs::metadata(&path).await.expect_err("nothing was created");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    // And it still works.
    ours.write_all(b"ever").await.expect("written");
    ours.flush().await.expect("sent");
    let mut all = [0; 4];
    theirs.read_exact(&mut all).await.expect("received");
    assert_eq!(&all, b"ever");
}

/// Accepts are given up all the time, and every client is served, in the order in which they came.
async fn c02_accept_select_no_loss(world: World) {
    let mut rng = world.rng();
    let (listener, address) = listener().await;
    let census = world.census();
    let mut dropped = 0u32;
    for round in 0..world.rounds(1_500, 60) as u32 {
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(&round.to_le_bytes()).await.expect("taken");
        client.flush().await.expect("sent");
        let mut stream = loop {
            let nap = pin!(sleep(Duration::from_micros(rng.below(150))));
            match select(listener.accept(), nap).await {
                Either::Left((stream, _)) => break stream.expect("accepted").0,
                Either::Right(_) => dropped += 1,
            }
        };
        let mut name = [0; 4];
        stream.read_exact(&mut name).await.expect("read");
        assert_eq!(u32::from_le_bytes(name), round, "in their order");
    }
    println!("{dropped} accepts were dropped");
    if let Some(census) = census {
        closes_come_to_an_end(&census).await;
    }
    drop(listener);
    comes_to_rest().await;
}

/// One read of any kind, given up when the limit has passed; what it brought.
async fn read_some(ours: &mut TcpStream, rng: &mut Rng) -> Vec<u8> {
    let limit = Duration::from_micros(rng.below(100));
    let mut room = vec![0; 1 + rng.below(30_000) as usize];
    let bytes = match rng.below(5) {
        0 => timeout(limit, ours.recv()).await.ok().map(|chunk| {
            let chunk = chunk.expect("read");
            chunk.map_or_else(Vec::new, |chunk| chunk.to_vec())
        }),
        1 => {
            let read = timeout(limit, ours.read_owned(room)).await.ok();
            read.map(|(result, room)| {
                assert_eq!(result.expect("read"), room.len());
                room
            })
        }
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
                    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
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
    bytes.unwrap_or_default()
}

async fn c04_recv_timeout_keeps_bytes(world: World) {
    let mut rng = world.rng();
    let mut their_rng = Rng::from_seed(rng.next());
    let (mut ours, mut theirs) = pair().await;
    let len = world.rounds(2_000_000, 200_000);
    drop(spawn(async move {
        let mut at = 0;
        while at < len {
            let part = (1 + their_rng.below(20_000)).min(len - at);
            let bytes = coded_bytes(4, at, part as usize);
            theirs.send_all(bytes).await.0.expect("sent");
            at += part;
            sleep(Duration::from_micros(their_rng.below(200))).await;
        }
    }));
    let mut at = 0;
    while at < len {
        let bytes = read_some(&mut ours, &mut rng).await;
        check_coded(4, at, &bytes);
        at += bytes.len() as u64;
    }
    assert_eq!(at, len);
    assert!(soon(ours.recv()).await.expect("the end").is_none());
}

/// A `read_owned` that is dropped before it has begun, or into no room, takes nothing and ends
/// nothing. (Without buffer rings its first step cancels a receive into the heap.)
async fn c04_read_owned_that_did_nothing_leaves_nothing(_world: World) {
    async fn send(stream: &mut TcpStream, bytes: &[u8]) {
        stream.write_all(bytes).await.expect("taken");
        stream.flush().await.expect("sent");
    }
    let (mut ours, mut theirs) = pair().await;
    assert!(ours.recv().now_or_never().is_none());
    assert!(ours.read_owned(vec![0; 100]).now_or_never().is_none());
    send(&mut theirs, b"hello").await;
    let chunk = ours.recv().await.expect("no error").expect("no end");
    assert_eq!(chunk[..], b"hello"[..chunk.len()]);
    send(&mut theirs, b"again").await;
    sleep(5 * MS).await;
    let nothing = ours.read_owned(Vec::new());
    drop(timeout(5 * MS, nothing).await);
    let mut rest = vec![0; 10 - chunk.len()];
    ours.read_exact(&mut rest).await.expect("no end");
    assert_eq!(rest, b"helloagain"[chunk.len()..]);
    // No receive is armed now: to the kernel, no room and no bytes are the same zero.
    for bytes_are_there in [false, true] {
        let (mut ours, mut theirs) = pair().await;
        if bytes_are_there {
            send(&mut theirs, b"first").await;
            sleep(5 * MS).await;
        }
        drop(ours.read_owned(Vec::new()).now_or_never());
        if !bytes_are_there {
            send(&mut theirs, b"first").await;
        }
        let mut rest = [0; 5];
        ours.read_exact(&mut rest).await.expect("no end");
        assert_eq!(&rest, b"first");
    }
}

/// Whoever gives up an open before it is submitted, before its result has come, or after that:
/// the file is closed.
async fn c06_open_is_given_up(world: World) {
    let path = world.dir.join("opened");
    let census = world.census();
    for round in 0..world.rounds(60, 15) {
        let mut open = Box::pin(fs::File::create(&path));
        assert!((&mut open).now_or_never().is_none());
        match round % 3 {
            0 => {}
            1 => corering::task::yield_now().await,
            _ => sleep(5 * MS).await,
        }
        drop(open);
    }
    comes_to_rest().await;
    if let Some(census) = census {
        closes_come_to_an_end(&census).await;
    }
    // In the simulation the end of the host looks for open files.
}
