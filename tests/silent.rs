//! Sends that say nothing when they succeed: what needs to be known of them is known all the same.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::Metrics;
use corering::net::TcpListener;
use corering::time::sleep;
use harness::net::listener;
use harness::{Case, check_coded, coded_bytes};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const REQUESTS: u64 = 500;

fn masked() -> bool {
    std::env::var("CORERING_MASK").is_ok_and(|mask| mask.contains("silent_send"))
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("somebody listens");
    let patience = Some(Duration::from_secs(5));
    client.set_read_timeout(patience).expect("a socket has one");
    client
}

async fn echo(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.expect("a client");
    while let Ok(Some(bytes)) = stream.recv().await {
        stream.write_all(&bytes).await.expect("it reads");
    }
}

#[test]
fn one_call_a_request() {
    Case::new("one_call_a_request").seconds(20).run(|| {
        corering::block_on(async {
            let (listener, address) = listener().await;
            let asking = std::thread::spawn(move || {
                let mut client = client(address);
                for round in 0..REQUESTS {
                    let (sent, mut back) = ([round as u8; 64], [0; 64]);
                    client.write_all(&sent).expect("sent");
                    client.read_exact(&mut back).expect("answered");
                    assert_eq!(sent, back);
                }
            });
            let begin = Metrics::current().enters;
            echo(listener).await;
            let enters = Metrics::current().enters - begin;
            asking.join().expect("no panic");
            let most = if masked() { 2 * REQUESTS } else { REQUESTS };
            assert!(enters <= most + most / 10 + 10, "{enters} calls");
        });
    });
}

/// The loop sleeps for long after it: the bytes, and the end of the connection, are there before.
#[test]
fn the_end_of_a_dropped_stream_is_not_late() {
    Case::new("the_end_of_a_dropped_stream_is_not_late")
        .seconds(20)
        .run(|| {
            corering::block_on(async {
                let (listener, address) = listener().await;
                let (told, all_came) = corering::sync::oneshot();
                std::thread::spawn(move || {
                    let mut text = String::new();
                    let read = client(address).read_to_string(&mut text);
                    let _ = told.send(read.map(|_| text));
                });
                let (mut stream, _) = listener.accept().await.expect("a client");
                stream.write_all(b"goodbye").await.expect("accepted");
                drop(stream);
                let text = all_came.await.expect("the thread tells");
                assert_eq!(text.expect("in time"), "goodbye");
            });
        });
}

#[test]
fn a_flush_hears_of_it() {
    Case::new("a_flush_hears_of_it").seconds(20).run(|| {
        corering::block_on(async {
            let (listener, address) = listener().await;
            let mut client = client(address);
            let (mut stream, _) = listener.accept().await.expect("a client");
            for pause in [false, true] {
                stream.write_all(b"some").await.expect("accepted");
                if pause {
                    sleep(Duration::from_millis(5)).await;
                }
                let flushed = corering::time::timeout(Duration::from_secs(5), stream.flush());
                flushed.await.expect("in time").expect("flushed");
                client.read_exact(&mut [0; 4]).expect("they are there");
            }
        });
    });
}

/// What finds no room, or too little, is sent when there is some.
#[test]
fn a_peer_that_takes_its_time_gets_everything() {
    Case::new("a_peer_that_takes_its_time_gets_everything")
        .seconds(60)
        .run(|| {
            const BYTES: usize = 16 << 20;
            corering::block_on(async {
                let (listener, address) = listener().await;
                let reading = std::thread::spawn(move || {
                    let (mut client, mut got) = (client(address), Vec::new());
                    let mut buf = vec![0; 100_000];
                    while got.len() < BYTES {
                        let n = client.read(&mut buf).expect("more comes");
                        assert!(n > 0, "all of it comes");
                        got.extend_from_slice(&buf[..n]);
                        if got.len() % 7 == 0 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    }
                    check_coded(0, 0, &got);
                });
                let (mut stream, _) = listener.accept().await.expect("a client");
                let bytes = coded_bytes(0, 0, BYTES);
                let mut rest = &bytes[..];
                let mut size = 1;
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(size.min(rest.len()));
                    stream.write_all(now).await.expect("accepted");
                    rest = later;
                    size = size * 3 % 50_021 + 1;
                    // Each turn sends what it has.
                    corering::yield_now().await;
                }
                // Nobody waits for the last of them.
                sleep(Duration::from_millis(1)).await;
                while !reading.is_finished() {
                    sleep(Duration::from_millis(5)).await;
                }
                reading.join().expect("every byte, in order");
            });
        });
}

/// A send that waits for room has completed, what was written meanwhile is about to leave, and then
/// one more byte is written: it is behind a send that nobody waits for, and leaves all the same.
#[test]
fn what_is_written_behind_it_leaves_too() {
    Case::new("what_is_written_behind_it_leaves_too")
        .seconds(30)
        .run(|| {
            corering::block_on(async {
                let (listener, address) = listener().await;
                let mut client = client(address);
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut accepted = 0;
                while let Poll::Ready(n) = futures::poll!(pin!(stream.write(&[7; 10_000]))) {
                    accepted += n.expect("accepted");
                    // The kernel takes what it has room for.
                    corering::yield_now().await;
                }
                let (told, all_came) = corering::sync::oneshot();
                std::thread::spawn(move || {
                    let mut all = vec![0; accepted + 1];
                    let read = client.read_exact(&mut all);
                    let _ = told.send(read.map(|()| all));
                });
                // The write that found no room has left its waker.
                let mut woken = false;
                poll_fn(|_| match std::mem::replace(&mut woken, true) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                stream.write_all(&[8]).await.expect("there is room");
                let all = all_came.await.expect("the thread tells").expect("in time");
                assert_eq!(all.last(), Some(&8));
            });
        });
}
