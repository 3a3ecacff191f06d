//! What can pile up has a limit, which is there without being asked for, and can be seen.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::time::{sleep, timeout};
use corering::{Handle, Metrics, Runtime, spawn};
use futures::FutureExt;
use harness::net::{half, listener, pair, pair_of};
use harness::{Case, check_coded, coded_bytes};
use std::io::Write;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A case that has what the kernel has, whatever the environment masks.
fn whole(name: &'static str) -> Case {
    Case::new(name).env("CORERING_MASK", "")
}

#[test]
fn defaults_are_finite_and_seen() {
    Case::new("defaults_are_finite_and_seen").run(|| {
        corering::block_on(async {
            let before = Metrics::current();
            assert!(
                before
                    .kernel_workers
                    .iter()
                    .all(|&most| (1..=64).contains(&most))
            );
            let (mut ours, mut theirs) = pair().await;
            ours.send_all(vec![1; 10]).await.0.expect("sent");
            theirs.recv().await.expect("received");
            let after = Metrics::current();
            assert!(after.buffers > 0 || after.heap_receives > 0);
            assert!(after.buffer_bytes <= 8 << 20, "{}", after.buffer_bytes);
            assert_eq!((after.heap_receive_bytes, after.zero_copy_bytes), (0, 0));
        });
        let mut runtime = Runtime::builder()
            .kernel_workers(2, 3)
            .build()
            .expect("io_uring");
        assert_eq!(runtime.metrics().kernel_workers, [2, 3]);
        runtime.block_on(async {});
    });
}

/// Without receive buffers, idle connections hold memory up to the limit, and no more.
#[test]
fn heap_receives_have_a_limit() {
    const CONNECTIONS: usize = 30;
    const LIMIT: u64 = 64 << 10;
    let case = Case::new("heap_receives_have_a_limit").env("CORERING_MASK", "buffer_ring");
    case.run(|| {
        let builder = Runtime::builder().heap_receive_bytes(LIMIT);
        let mut runtime = builder.build().expect("io_uring works here");
        runtime.block_on(async {
            let (listener, address) = listener().await;
            let (mut clients, mut readers) = (Vec::new(), Vec::new());
            for i in 0..CONNECTIONS as u64 {
                let (client, mut server) = pair_of(&listener, address).await;
                clients.push(client);
                readers.push(spawn(async move {
                    let mut all = vec![0; 50_000];
                    // Given up and begun again, in every state: nothing is lost.
                    for _ in 0..3 {
                        assert!(timeout(MS, server.recv()).await.is_err(), "nothing came");
                    }
                    server.read_exact(&mut all).await.expect("read");
                    check_coded(i, 0, &all);
                    let (result, buf) = server.read_owned(vec![0; 8]).await;
                    assert_eq!((result.expect("read"), &buf[..4]), (4, &b"last"[..]));
                    assert!(server.recv().await.expect("an orderly end").is_none());
                }));
            }
            sleep(30 * MS).await;
            let metrics = Metrics::current();
            assert!(metrics.heap_receive_bytes > 0, "{metrics:?}");
            assert!(metrics.heap_receive_bytes <= LIMIT, "{metrics:?}");
            assert!(
                metrics.heap_receives_put_off >= CONNECTIONS as u64 - 4,
                "{metrics:?}"
            );
            for (i, client) in clients.iter_mut().enumerate() {
                client
                    .write_all(&coded_bytes(i as u64, 0, 50_000))
                    .await
                    .expect("written");
                client.flush().await.expect("sent");
            }
            sleep(30 * MS).await;
            for mut client in clients {
                client.write_all(b"last").await.expect("written");
            }
            for reader in readers {
                let read = timeout(Duration::from_secs(10), reader).await;
                read.expect("it is not forgotten").expect("no panic");
            }
            drop(listener);
            sleep(MS).await;
            let metrics = Metrics::current();
            assert_eq!((metrics.heap_receive_bytes, metrics.in_flight), (0, 0));
        });
    });
}

#[test]
fn zero_copy_sends_have_a_limit() {
    whole("zero_copy_sends_have_a_limit").run(|| {
        for limit in [0, 100_000, u64::MAX] {
            let builder = Runtime::builder().zero_copy_bytes(limit);
            let mut runtime = builder.build().expect("io_uring works here");
            runtime.block_on(async {
                let (mut ours, mut theirs) = pair().await;
                let reader = spawn(async move {
                    let mut all = Vec::new();
                    while let Some(chunk) = theirs.recv().await.expect("received") {
                        all.extend_from_slice(&chunk);
                    }
                    all
                });
                let mut sent = 0;
                let mut lent = Vec::new();
                for _ in 0..8 {
                    let bytes = coded_bytes(3, sent as u64, 40_000);
                    let (result, buf) = ours.send_zc(bytes).await;
                    sent += result.expect("sent");
                    lent.push(buf);
                    assert!(Metrics::current().zero_copy_bytes <= limit);
                }
                for buf in lent {
                    let buf = timeout(Duration::from_secs(5), buf).await;
                    assert_eq!(buf.expect("it comes back").len(), 40_000);
                }
                drop(ours);
                let all = reader.await.expect("no panic");
                assert_eq!(all.len(), sent);
                check_coded(3, 0, &all);
                let metrics = Metrics::current();
                assert_eq!(metrics.zero_copy_bytes, 0, "all of it is back");
                match limit {
                    0 => assert_eq!(metrics.zero_copy_copied, 8),
                    100_000 => assert!((1..8).contains(&metrics.zero_copy_copied)),
                    _ => assert_eq!(metrics.zero_copy_copied, 0),
                }
            });
        }
    });
}

#[test]
fn slow_readers_are_counted() {
    whole("slow_readers_are_counted").run(|| {
        corering::block_on(async {
            let (mut ours, mut theirs) = half().await;
            assert!(ours.recv().now_or_never().is_none());
            let writer = std::thread::spawn(move || {
                theirs.write_all(&vec![5; 4 << 20]).expect("sent");
            });
            sleep(50 * MS).await;
            let stops = Metrics::current().stops;
            assert!(
                stops >= 1 || Metrics::current().starved > 0,
                "nobody was stopped"
            );
            let mut n = 0;
            while let Some(chunk) = ours.recv().await.expect("received") {
                n += chunk.len();
            }
            assert_eq!(n, 4 << 20);
            writer.join().expect("no panic");
        });
    });
}

#[test]
fn a_long_inbox_is_counted() {
    const SPAWNS: u64 = 20_000;
    Case::new("a_long_inbox_is_counted").run(|| {
        corering::block_on(async {
            assert_eq!(Metrics::current().inbox_warnings, 0);
            let handle = Handle::current();
            let foreign = std::thread::spawn(move || {
                (0..SPAWNS).for_each(|_| drop(handle.spawn_on(0, || async {})));
            });
            // The core does something else meanwhile.
            foreign.join().expect("no panic");
            sleep(MS).await;
            let metrics = Metrics::current();
            assert!(metrics.inbox_peak >= SPAWNS, "{}", metrics.inbox_peak);
            assert_eq!(metrics.inbox_warnings, 1);
        });
    });
}
