//! A long life under random load, watched by the oracles: `scripts/soak`.
//!
//! A life is a runtime with two cores that does a number of random deeds at once, many of which
//! are given up half-way, and then ends. After each life nothing may be left: no operation, no
//! descriptor, and after the first few lives no memory either.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::TcpStream;
use corering::task::JoinSet;
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, fs, spawn_on, sync};
use harness::net::{half, listener, pair, small_pair};
use harness::{Case, Census, Rng, check_coded, coded_bytes};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MICROS: Duration = Duration::from_micros(1);
/// Deeds of one life, at most.
const DEEDS_MAX: u64 = 60;
/// Lives until the process has all the memory that it needs.
const WARM_UP_LIVES: u32 = 20;
const GROWTH_KIB_MAX: u64 = 24 << 10;

/// A minute that every check can afford a part of; `scripts/soak` does the rest.
#[test]
fn soak_for_a_moment() {
    Case::new("soak_for_a_moment")
        .quarantine()
        .seconds(60)
        .run(|| live_for(Duration::from_secs(3)));
}

#[test]
#[ignore = "takes as many minutes as CORERING_SOAK_MINUTES says: scripts/soak"]
fn soak() {
    let minutes = std::env::var("CORERING_SOAK_MINUTES").map_or(10, |text| {
        text.parse()
            .expect("CORERING_SOAK_MINUTES is a whole number")
    });
    live_for(Duration::from_secs(minutes * 60));
}

fn live_for(time: Duration) {
    let mut rng = Rng::new();
    drop(Runtime::builder().build().expect("io_uring works here"));
    let (begin, census) = (Instant::now(), Census::take());
    let (mut lives, mut base_kib) = (0, 0);
    let mut said = begin;
    while begin.elapsed() < time {
        one_life(&mut rng);
        census.assert_same();
        lives += 1;
        let kib = harness::memory_kib();
        if lives <= WARM_UP_LIVES {
            base_kib = base_kib.max(kib);
        }
        let grown = kib.saturating_sub(base_kib);
        assert!(
            grown < GROWTH_KIB_MAX,
            "{grown} KiB more after {lives} lives"
        );
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            println!("{:?}: {lives} lives, {kib} KiB", begin.elapsed());
        }
    }
    println!("{lives} lives, {} KiB", harness::memory_kib());
}

fn one_life(rng: &mut Rng) {
    let mut runtime = Runtime::builder()
        .cores(2)
        .pin(false)
        .ring_entries(8 << rng.below(6))
        .recv_buffers(4 << rng.below(5), 4096)
        .build()
        .expect("io_uring works here");
    let deeds = 1 + rng.below(DEEDS_MAX);
    let seeds: Vec<u64> = (0..deeds).map(|_| rng.next()).collect();
    let in_order = !rng.once_in(4);
    runtime.block_on(async {
        let mut set = JoinSet::new();
        for seed in seeds {
            set.spawn(deed(Rng::from_seed(seed)));
        }
        while in_order && !set.is_empty() {
            let joined = set.join_next().await.expect("it is not empty");
            joined.expect("no deed panics");
        }
        // Otherwise all that still runs is dropped, wherever it is.
    });
    assert_eq!(runtime.metrics().stale_completions, 0);
    if in_order {
        runtime.block_on(nothing_in_flight());
    }
    let report = runtime.shutdown(Duration::ZERO);
    assert_eq!(report.leaked_operations, 0, "{report:?}");
}

/// What was given up comes to its end in the kernel soon.
async fn nothing_in_flight() {
    let begin = Instant::now();
    while Metrics::current().in_flight > 0 {
        let late = begin.elapsed() > Duration::from_secs(5);
        assert!(!late, "{:?}", Metrics::current());
        sleep(200 * MICROS).await;
    }
}

async fn deed(mut rng: Rng) {
    for _ in 0..1 + rng.below(4) {
        let patience = MICROS * rng.below(20_000) as u32;
        let give_up = rng.once_in(3);
        let one = one_deed(&mut rng);
        if give_up {
            let _ = timeout(patience, one).await;
        } else {
            one.await;
        }
    }
}

async fn one_deed(rng: &mut Rng) {
    match rng.below(6) {
        0 => talk(rng, pair().await).await,
        1 => talk(rng, small_pair().await).await,
        2 => hang_up(rng).await,
        3 => keep_a_file(rng).await,
        4 => cross_the_cores(rng).await,
        _ => wait(rng).await,
    }
}

/// Position-coded bytes go from one end to the other, whose reads are given up now and then.
async fn talk(rng: &mut Rng, (mut ours, mut theirs): (TcpStream, TcpStream)) {
    let len = rng.below(200_000);
    let sender = async {
        ours.write_all(&coded_bytes(1, 0, len as usize))
            .await
            .expect("written");
        ours.shutdown(std::net::Shutdown::Write)
            .await
            .expect("shut");
    };
    let receiver = async {
        let mut at = 0;
        loop {
            let patience = MICROS * rng.below(500) as u32;
            let read = match rng.below(3) {
                0 => timeout(patience, theirs.recv()).await,
                1 => Ok(theirs.recv().await),
                _ => {
                    let mut room = vec![0; 1 + rng.below(9_000) as usize];
                    let n = theirs.read(&mut room).await.expect("read");
                    check_coded(1, at, &room[..n]);
                    at += n as u64;
                    match n {
                        0 => return at,
                        _ => continue,
                    }
                }
            };
            match read.map(|read| read.expect("read")) {
                Err(_) => {}
                Ok(Some(chunk)) => {
                    check_coded(1, at, &chunk);
                    at += chunk.len() as u64;
                }
                Ok(None) => return at,
            }
        }
    };
    let ((), received) = futures::join!(sender, receiver);
    assert_eq!(received, len, "nothing is lost, nothing doubled");
}

/// Connections that end in the middle, one way or the other.
async fn hang_up(rng: &mut Rng) {
    let (mut ours, theirs) = half().await;
    match rng.below(4) {
        0 => drop(timeout(MICROS * 50, ours.recv()).await),
        1 => drop(timeout(MICROS * 50, ours.read_owned(vec![0; 64])).await),
        2 => drop(timeout(MICROS * 50, ours.send_all(vec![7; 1 << 20])).await),
        _ => {
            let (listener, address) = listener().await;
            let clients: Vec<_> = (0..rng.below(5))
                .map(|_| std::net::TcpStream::connect(address).expect("connected"))
                .collect();
            drop(timeout(MICROS * 50, listener.accept()).await);
            drop((listener, clients));
        }
    }
    match rng.once_in(2) {
        true => harness::net::reset(theirs),
        false => drop(theirs),
    }
}

/// Removes the file also where the deed is given up.
struct Path(PathBuf);

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn keep_a_file(rng: &mut Rng) {
    let name = format!("corering-soak-{}-{:x}", std::process::id(), rng.next());
    let path = Path(std::env::temp_dir().join(name));
    let bytes = coded_bytes(2, 0, rng.below(100_000) as usize);
    fs::write(&path.0, bytes.clone()).await.expect("written");
    if rng.once_in(3) {
        let file = fs::File::open(&path.0).await.expect("open");
        drop(timeout(MICROS * 10, file.read_at(vec![0; 4096], 0)).await);
    }
    let read = fs::read(&path.0).await.expect("read");
    assert!(read == bytes, "the file holds something else");
}

/// A task on the other core, and a channel back.
async fn cross_the_cores(rng: &mut Rng) {
    let (sender, mut receiver) = sync::channel(1 + rng.below(4) as usize);
    let count = rng.below(200);
    let task = spawn_on(rng.below(2) as usize, move || async move {
        for i in 0..count {
            if sender.send(i).await.is_err() {
                return;
            }
        }
    });
    if rng.once_in(5) {
        task.abort();
    }
    let mut next = 0;
    while let Some(i) = receiver.recv().await {
        assert_eq!(i, next, "in order, each once");
        next += 1;
    }
    if task.await.is_ok() {
        assert_eq!(next, count);
    }
}

async fn wait(rng: &mut Rng) {
    let begin = Instant::now();
    let time = MICROS * rng.below(3_000) as u32;
    sleep(time).await;
    assert!(begin.elapsed() >= time, "a timer fired early");
}
