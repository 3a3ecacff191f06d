//! Much that comes for a reader of hyper's kind, which has room for it.

#![cfg(feature = "hyper")]
#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::TcpStream;
use corering::{Restrict, Runtime};
use harness::{Case, Rng, check_coded, coded_bytes};
use hyper::rt::{Read, ReadBuf};
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::Duration;

/// What hyper does: reads into memory of its own.
async fn read_like_hyper(stream: &mut TcpStream, room: usize) -> std::io::Result<Vec<u8>> {
    let mut memory = vec![MaybeUninit::<u8>::uninit(); room];
    poll_fn(|cx| {
        let mut buf = ReadBuf::uninit(&mut memory);
        let polled = Pin::new(&mut *stream).poll_read(cx, buf.unfilled());
        polled.map_ok(|()| buf.filled().to_vec())
    })
    .await
}

/// A stream to a thread that sends `len` coded bytes in pieces of random lengths, and then `end`s.
fn fed(
    seed: u64,
    len: usize,
    end: fn(std::net::TcpStream),
) -> (std::net::TcpStream, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let sender = std::thread::spawn(move || {
        let mut rng = Rng::from_seed(seed);
        let mut at = 0;
        while at < len {
            let longest = [100, 10_000, 1 << 20][rng.below(3) as usize];
            let n = (1 + rng.below(longest) as usize).min(len - at);
            let bytes = coded_bytes(7, at as u64, n);
            if far.write_all(&bytes).is_err() {
                return;
            }
            at += n;
            if rng.once_in(8) {
                std::thread::sleep(Duration::from_micros(rng.below(1500)));
            }
        }
        end(far);
    });
    (near, sender)
}

/// Every way of reading takes turns; each byte comes once, in its place.
#[test]
fn every_way_of_reading_takes_turns() {
    Case::new("every_way_of_reading_takes_turns").run(|| {
        const LEN: usize = 24 << 20;
        let mut rng = Rng::new();
        for _ in 0..4 {
            let (near, sender) = fed(rng.next(), LEN, drop);
            corering::block_on(async {
                let mut stream = TcpStream::from_std(near).unwrap();
                let mut at = 0;
                loop {
                    let bytes = match rng.below(12) {
                        0 => stream
                            .recv()
                            .await
                            .unwrap()
                            .map_or(Vec::new(), |b| b.to_vec()),
                        1 => {
                            let mut bytes = vec![0; 1 + rng.below(100_000) as usize];
                            let n = stream.read(&mut bytes).await.unwrap();
                            bytes.truncate(n);
                            bytes
                        }
                        2 => {
                            let memory = Vec::with_capacity(1 + rng.below(100_000) as usize);
                            let (result, bytes) = stream.read_owned(memory).await;
                            result.unwrap();
                            bytes
                        }
                        3 => read_like_hyper(&mut stream, 1 + rng.below(8192) as usize)
                            .await
                            .unwrap(),
                        4 => {
                            // Given up after one poll, or not.
                            let mut reading = std::pin::pin!(read_like_hyper(&mut stream, 1 << 18));
                            let polled =
                                poll_fn(|cx| std::task::Poll::Ready(reading.as_mut().poll(cx)));
                            match polled.await {
                                std::task::Poll::Ready(bytes) => bytes.unwrap(),
                                std::task::Poll::Pending => continue,
                            }
                        }
                        _ => read_like_hyper(&mut stream, 1 << 18).await.unwrap(),
                    };
                    if bytes.is_empty() {
                        break;
                    }
                    check_coded(7, at, &bytes);
                    at += bytes.len() as u64;
                }
                assert_eq!(at, LEN as u64);
                // The end stays the end.
                assert!(
                    read_like_hyper(&mut stream, 1 << 18)
                        .await
                        .unwrap()
                        .is_empty()
                );
                assert!(stream.recv().await.unwrap().is_none());
            });
            sender.join().unwrap();
        }
    });
}

#[test]
fn a_reset_is_an_error_and_what_came_before_it_is_read() {
    let (near, sender) = fed(11, 4 << 20, harness::net::reset);
    corering::block_on(async {
        let mut stream = TcpStream::from_std(near).unwrap();
        let mut at = 0;
        let error = loop {
            match read_like_hyper(&mut stream, 1 << 18).await {
                Ok(bytes) => {
                    assert!(!bytes.is_empty(), "a reset is not an end");
                    check_coded(7, at, &bytes);
                    at += bytes.len() as u64;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    sender.join().unwrap();
}

/// Nothing is asked past a ring that is restricted: the bytes come all the same.
#[test]
fn a_restricted_ring_receives_everything_itself() {
    let (near, sender) = fed(12, 4 << 20, drop);
    let builder = Runtime::builder().restrict(Restrict::net());
    builder.build().unwrap().block_on(async {
        let mut stream = TcpStream::from_std(near).unwrap();
        let mut at = 0;
        loop {
            let bytes = read_like_hyper(&mut stream, 1 << 18).await.unwrap();
            if bytes.is_empty() {
                break;
            }
            check_coded(7, at, &bytes);
            at += bytes.len() as u64;
        }
        assert_eq!(at, 4 << 20);
    });
    sender.join().unwrap();
}

/// A stream that waits so leaves nothing behind when it is dropped.
#[test]
fn a_dropped_stream_waits_for_nothing() {
    let (near, sender) = fed(13, 2 << 20, |far| {
        std::thread::sleep(Duration::from_millis(200));
        drop(far);
    });
    corering::block_on(async {
        let mut stream = TcpStream::from_std(near).unwrap();
        let mut at = 0;
        while at < 2 << 20 {
            at += read_like_hyper(&mut stream, 1 << 18).await.unwrap().len();
        }
        let more = corering::time::timeout(
            Duration::from_millis(20),
            read_like_hyper(&mut stream, 1 << 18),
        );
        assert!(more.await.is_err());
        drop(stream);
        corering::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(corering::Metrics::current().in_flight, 0);
    });
    sender.join().unwrap();
}
