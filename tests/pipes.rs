//! Pipes: the same bodies on the real ring and in the simulation, there under many seeds.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::pipe::{Receiver, Sender, pipe};
use corering::spawn;
use corering::time::{sleep, timeout};
use corering::{PollFd, yield_now};
use futures::FutureExt;
use harness::{Rng, check_coded, coded_bytes, everywhere};
use std::io::{self, ErrorKind};
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);

fn ends() -> (Sender, Receiver) {
    pipe().expect("a pipe")
}

/// What comes until the end of the pipe, in pieces and with reads that are given up.
async fn drain(receiver: &mut Receiver, rng: &mut Rng) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let mut room = vec![0; 1 + rng.below(9_000) as usize];
        let limit = Duration::from_micros(rng.below(200));
        match timeout(limit, receiver.read(&mut room)).await {
            Ok(Ok(0)) => return all,
            Ok(n) => all.extend_from_slice(&room[..n.expect("read")]),
            Err(_) => {}
        }
        if rng.once_in(10) {
            sleep(limit).await;
        }
    }
}

/// Every byte, once, in order, with an end behind them.
async fn bytes() {
    const LEN: usize = 150_000;
    let mut rng = Rng::from_seed(7);
    let (mut sender, mut receiver) = ends();
    let mut pieces = rng.clone();
    let writer = spawn(async move {
        let mut at = 0;
        while at < LEN {
            let len = (1 + pieces.below(20_000) as usize).min(LEN - at);
            let bytes = coded_bytes(1, at as u64, len);
            sender.write_all(&bytes).await.expect("written");
            at += len;
            if pieces.once_in(4) {
                sender.flush().await.expect("written");
                yield_now().await;
            }
        }
        // The queue empties itself, and closes the end then.
        drop(sender);
    });
    let all = drain(&mut receiver, &mut rng).await;
    writer.await.expect("no panic");
    assert_eq!(all.len(), LEN);
    check_coded(1, 0, &all);
    // The end stays the end.
    assert_eq!(receiver.read(&mut [0; 8]).await.expect("read"), 0);
}

#[test]
fn pipes_keep_every_byte() {
    everywhere("pipes_keep_every_byte", bytes);
}

/// A pipe without a reader of its bytes takes what it has room for, and no more.
async fn full() {
    let (mut sender, mut receiver) = ends();
    let mut accepted: usize = 0;
    let piece = [1; 5_000];
    while let Ok(n) = timeout(100 * MS, sender.write(&piece)).await {
        accepted += n.expect("there is a reader");
        assert!(accepted < 1 << 20, "nobody reads");
    }
    assert!(accepted > 64 * 1024, "{accepted}");
    assert!(timeout(20 * MS, sender.flush()).await.is_err());
    // Once it is read there is room again.
    let mut room = [0; 4096];
    let mut read = 0;
    while read < accepted {
        read += receiver.read(&mut room).await.expect("read");
    }
    assert_eq!(read, accepted);
    sender.write_all(b"more").await.expect("written");
    sender.close().await.expect("closed");
    let mut rest = Vec::new();
    receiver.read_to_end(&mut rest).await.expect("read");
    assert_eq!(rest, b"more");
}

#[test]
fn pipes_push_back() {
    everywhere("pipes_push_back", full);
}

/// Without a reader a write is an error, not a signal; a closed end says so.
async fn without_a_reader() {
    let (mut sender, receiver) = ends();
    sender.write_all(b"unread").await.expect("accepted");
    sender.flush().await.expect("written");
    drop(receiver);
    sleep(50 * MS).await;
    let mut broken = async |bytes: &[u8]| {
        let result = match sender.write_all(bytes).await {
            Ok(()) => sender.flush().await,
            Err(error) => Err(error),
        };
        result.expect_err("nobody reads").kind()
    };
    assert_eq!(broken(b"gone").await, ErrorKind::BrokenPipe);
    assert_eq!(broken(b"gone again").await, ErrorKind::BrokenPipe);
    // A writer that waits for room is told as well.
    let (mut sender, receiver) = ends();
    let waits = spawn(async move {
        loop {
            sender.write_all(&[0; 4096]).await?;
        }
        #[allow(unreachable_code, reason = "it names the type")]
        io::Result::Ok(())
    });
    sleep(5 * MS).await;
    assert!(!waits.is_finished());
    drop(receiver);
    let error = waits.await.expect("no panic").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn pipes_without_a_reader_are_broken() {
    everywhere("pipes_without_a_reader_are_broken", without_a_reader);
}

/// The end comes behind what was written, also for a reader that waits already.
async fn end() {
    let (mut sender, mut receiver) = ends();
    assert!(receiver.fill_buf().now_or_never().is_none());
    sender.close().await.expect("closed");
    let error = sender.write(b"x").await.expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(receiver.read(&mut [0; 1]).await.expect("read"), 0);
    let (mut sender, mut receiver) = ends();
    sender.write_all(b"last words").await.expect("written");
    drop(sender);
    let mut text = String::new();
    receiver.read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "last words");
    let mut exact = [0; 2];
    let error = receiver.read_exact(&mut exact).await.expect_err("the end");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn pipes_end_behind_what_was_written() {
    everywhere("pipes_end_behind_what_was_written", end);
}

/// Readiness, in the words of `poll`.
async fn readiness() {
    let (mut sender, receiver) = ends();
    let reads = PollFd::new(receiver).expect("watched");
    assert!(timeout(5 * MS, reads.readable()).await.is_err());
    let waits = async {
        sender.write_all(b"ready").await.expect("written");
        sender.flush().await.expect("written");
    };
    let (ready, ()) = futures::join!(reads.readable(), waits);
    assert!(ready.expect("polled").is_readable());
    let writes = PollFd::new(sender).expect("watched");
    assert!(writes.writable().await.expect("polled").is_writable());
    // Both the watched duplicate and the end itself have to go.
    drop(writes);
    let ready = timeout(1_000 * MS, reads.ready(0)).await;
    let ready = ready.expect("the writer is gone").expect("polled");
    assert!(ready.is_closed());
    let (sender, receiver) = ends();
    let writes = PollFd::new(sender).expect("watched");
    drop(receiver);
    let ready = timeout(1_000 * MS, writes.ready(0)).await;
    let ready = ready.expect("the reader is gone").expect("polled");
    assert!(ready.is_error());
}

#[test]
fn pipes_can_be_polled() {
    everywhere("pipes_can_be_polled", readiness);
}

/// Two pipes make a conversation; many of them do not mix.
async fn conversations() {
    let talks = (0..10_u64).map(|number| async move {
        let ((mut ask, mut asked), (mut answer, mut answered)) = (ends(), ends());
        let other = spawn(async move {
            let mut room = [0; 300];
            loop {
                match asked.read(&mut room).await.expect("read") {
                    0 => return,
                    n => answer.write_all(&room[..n]).await.expect("written"),
                }
            }
        });
        for round in 0..5 {
            let bytes = coded_bytes(number, round * 300, 300);
            ask.write_all(&bytes).await.expect("written");
            let mut room = [0; 300];
            answered.read_exact(&mut room).await.expect("answered");
            check_coded(number, round * 300, &room);
        }
        drop(ask);
        other.await.expect("no panic");
        assert_eq!(answered.read(&mut [0; 1]).await.expect("read"), 0);
    });
    futures::future::join_all(talks).await;
}

#[test]
fn pipes_do_not_mix() {
    everywhere("pipes_do_not_mix", conversations);
}

/// Descriptors run out, and come back; a host that dies takes its pipes along.
#[cfg(feature = "sim")]
#[test]
fn pipes_count_as_descriptors_of_their_host() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("few").descriptors(9).boot(|_core| async {});
        sim.block_on(&host, async {
            let mut all = Vec::new();
            let error = loop {
                match pipe() {
                    Ok(ends) => all.push(ends),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.raw_os_error(), all.len()), (Some(libc::EMFILE), 4));
            all.clear();
            while pipe().is_err() {
                sleep(MS).await;
            }
        });
        sim.spawn(&host, async {
            let (mut sender, mut receiver) = ends();
            sender.write_all(b"in it").await.expect("written");
            receiver.read_exact(&mut [0; 9]).await.expect("never");
        });
        sim.run_for(10 * MS);
        sim.kill(&host);
        sim.restart(&host);
        sim.block_on(&host, end());
    });
}
