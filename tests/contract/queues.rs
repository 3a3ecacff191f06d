//! B: rings that are too small, completions that come in bursts, buffers that must come home.

use crate::harness::{check_coded, coded_bytes};
use crate::world::{MS, World, comes_to_rest, listener, pair, pair_of, reset, soon};
use corering::net::TcpStream;
use corering::task::{JoinSet, yield_now};
use corering::time::{sleep, timeout};
use corering::{Metrics, spawn};
use std::io::ErrorKind;
use std::time::Duration;

both!(
    b01_sq_burst,
    b02_cq_burst,
    b08_multishot_ends_anytime,
    b11_pool_returns_on_error,
    b12_zero_copy_sequences,
);

/// More operations at once than the submission queue has entries, each completed once, and begun
/// in their order.
async fn b01_sq_burst(world: World) {
    let (listener, address) = listener().await;
    let mut set = JoinSet::new();
    let mut peers = Vec::new();
    for i in 0..world.rounds(200, 40) {
        let (mut ours, peer) = pair_of(&listener, address).await;
        peers.push(peer);
        set.spawn(async move {
            ours.send_all(coded_bytes(i, 0, 100)).await.0.expect("sent");
            let (result, bytes) = ours.read_owned(vec![0; 64]).await;
            assert_eq!(result.expect("read"), 1);
            assert_eq!(bytes, [i as u8]);
        });
    }
    for (i, mut peer) in (0..).zip(peers) {
        set.spawn(async move {
            let mut bytes = vec![0; 100];
            peer.read_exact(&mut bytes).await.expect("read");
            check_coded(i, 0, &bytes);
            peer.write_all(&[i as u8]).await.expect("written");
            peer.flush().await.expect("sent");
        });
    }
    let many = (0..world.rounds(5_000, 500)).map(|_| corering::nop());
    for nop in futures::future::join_all(many).await {
        nop.expect("each completes once");
    }
    while let Some(result) = set.join_next().await {
        result.expect("each completes once");
    }
    // The closes of all these wait for room, too.
    for _ in 0..10_000 {
        if Metrics::current().backlog == 0 {
            break;
        }
        yield_now().await;
    }
    assert_eq!(Metrics::current().backlog, 0);
    world.nothing_stale();
}

/// Completions pile up beyond the queue, because what they wait for comes all at once.
async fn b02_cq_burst(world: World) {
    let (listener, address) = listener().await;
    let mut tasks = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..world.rounds(200, 40) {
        let (mut ours, peer) = pair_of(&listener, address).await;
        peers.push(peer);
        tasks.push(spawn(async move {
            let mut all = 0;
            while let Some(chunk) = ours.recv().await.expect("read") {
                check_coded(7, all, &chunk);
                all += chunk.len() as u64;
            }
            all
        }));
    }
    for round in 0..5 {
        let send = async |peer: &mut TcpStream| {
            let bytes = coded_bytes(7, round * 50, 50);
            peer.send_all(bytes).await.0.expect("sent");
        };
        futures::future::join_all(peers.iter_mut().map(send)).await;
        sleep(MS).await;
    }
    drop(peers);
    for task in tasks {
        let all = soon(task).await.expect("no panic");
        assert_eq!(all, 250, "nothing is lost, nothing doubled");
    }
    world.nothing_stale();
}

/// However the kernel ends its multishot operations, a program sees connections and bytes.
async fn b08_multishot_ends_anytime(world: World) {
    let (listener, address) = listener().await;
    let mut clients = JoinSet::new();
    let count = world.rounds(200, 30);
    for i in 0..count {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            for part in 0..10 {
                let bytes = coded_bytes(i, part * 500, 500);
                stream.send_all(bytes).await.0.expect("sent");
                yield_now().await;
            }
            let mut number = [0; 8];
            stream.read_exact(&mut number).await.expect("an answer");
            assert_eq!(u64::from_le_bytes(number), 5_000);
        });
    }
    for _ in 0..count {
        let (mut stream, _) = soon(listener.accept()).await.expect("it goes on");
        clients.spawn(async move {
            let mut all = 0u64;
            while all < 5_000 {
                let chunk = stream.recv().await.expect("read").expect("more");
                all += chunk.len() as u64;
            }
            stream.write_all(&all.to_le_bytes()).await.expect("written");
            stream.flush().await.expect("sent");
        });
    }
    while let Some(result) = soon(clients.join_next()).await {
        result.expect("no panic");
    }
}

async fn receive_in_some_way(mut ours: TcpStream, how: u64) {
    match how {
        0 => drop(ours.recv().await),
        1 => drop(timeout(Duration::ZERO, ours.recv()).await),
        2 => {
            let chunk = ours.recv().await;
            if let Ok(Some(_)) = chunk {
                std::panic::resume_unwind(Box::new(1u8));
            }
        }
        3 => while let Ok(Some(_)) = ours.recv().await {},
        4 => drop(ours.read_owned(Vec::with_capacity(16)).await),
        5 => {
            let mut kept = Vec::new();
            while let Ok(Some(mut chunk)) = ours.recv().await {
                kept.push(chunk.split_to(chunk.len() / 2));
            }
        }
        _ => std::future::pending().await,
    }
}

/// Whatever ends a receive, its buffers come back.
async fn b11_pool_returns_on_error(world: World) {
    let mut rng = world.rng();
    let (listener, address) = listener().await;
    for round in 0..world.rounds(400, 40) {
        let (ours, mut peer) = pair_of(&listener, address).await;
        let len = 1 + rng.below(6_000) as usize;
        let how = rng.below(7);
        let task = spawn(receive_in_some_way(ours, how));
        yield_now().await;
        let _ = peer.send_all(vec![round as u8; len]).await;
        match rng.once_in(2) {
            true => reset(peer),
            false => drop(peer),
        }
        if how == 6 {
            sleep(MS / 4).await;
            task.abort();
        }
        let _ = soon(task).await;
    }
    drop(listener);
    comes_to_rest().await;
    let metrics = Metrics::current();
    let (home, all) = (metrics.buffers_available, metrics.buffers);
    assert_eq!(home, all, "the pool is whole again");
    world.nothing_stale();
}

/// Sends without a copy: sent and released, awaited or not; dropped in flight; failed.
async fn b12_zero_copy_sequences(_world: World) {
    let (mut ours, mut theirs) = pair().await;
    let (result, lent) = ours.send_zc(coded_bytes(1, 0, 1000)).await;
    let first = match result {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            assert_eq!(lent.await.len(), 1000, "the buffer comes back all the same");
            return;
        }
        result => result.expect("sent"),
    };
    let same = coded_bytes(1, 0, 1000);
    assert_eq!(lent.await, same, "the same buffer, unchanged");
    // Not awaited: it goes by itself.
    let (result, lent) = ours.send_zc(coded_bytes(1, first as u64, 500)).await;
    let second = result.expect("sent");
    drop(lent);
    let mut got = vec![0; first + second];
    theirs.read_exact(&mut got).await.expect("read");
    check_coded(1, 0, &got);
    // Dropped in flight: a stream that may have sent a part is torn.
    let (mut full, peer) = pair().await;
    for _ in 0..100 {
        if timeout(MS, full.send_zc(vec![7; 1 << 20])).await.is_err() {
            let error = full.write(b"x").await.expect_err("torn");
            let torn = error
                .get_ref()
                .is_some_and(|e| e.is::<corering::net::Torn>());
            assert!(torn, "{error}");
            assert!(full.clear_torn());
            break;
        }
    }
    drop((full, peer));
    // An error gives the buffer back too.
    drop(theirs);
    for _ in 0..5 {
        let (result, lent) = ours.send_zc(vec![1; 10]).await;
        assert_eq!(soon(lent).await, [1; 10]);
        if result.is_err() {
            break;
        }
        sleep(5 * MS).await;
    }
}
