//! What the runtime itself costs: tasks, wakes, timers, an empty operation, one echo, one file.
//!
//! `cargo bench --bench core`; each figure is wall time on one thread.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock itself.

use corering::net::{TcpListener, TcpStream};
use corering::time::sleep;
use corering::{Runtime, spawn, yield_now};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use std::future::Future;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tasks, timers and operations that are under way together.
const TOGETHER: u64 = 1000;

/// Times `work(n)` on a runtime; it does `n` rounds.
fn on_runtime<F: Future<Output = ()>>(
    bench: &mut criterion::Bencher<'_>,
    mut work: impl FnMut(u64) -> F,
) {
    let mut runtime = Runtime::new().expect("a runtime");
    bench.iter_custom(|rounds| {
        let begin = Instant::now();
        runtime.block_on(work(rounds));
        begin.elapsed()
    });
}

fn tasks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("task");
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function("spawn and join, 1000 together", |bench| {
        on_runtime(bench, |rounds| async move {
            for _ in 0..rounds {
                let tasks: Vec<_> = (0..TOGETHER).map(|i| spawn(async move { i })).collect();
                for task in tasks {
                    black_box(task.await.expect("no panic"));
                }
            }
        });
    });
    group.bench_function("yield among 1000", |bench| {
        on_runtime(bench, |rounds| async move {
            let yields = |_| {
                spawn(async move {
                    for _ in 0..rounds {
                        yield_now().await;
                    }
                })
            };
            join_all((0..TOGETHER).map(yields)).await;
        });
    });
    group.finish();
}

fn wakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wake");
    group.bench_function("another core and back", |bench| {
        let mut runtime = Runtime::builder().cores(2).build().expect("two cores");
        bench.iter_custom(|rounds| {
            let begin = Instant::now();
            runtime.block_on(async move {
                for _ in 0..rounds {
                    let there = corering::spawn_on(1, || async {});
                    there.await.expect("no panic");
                }
            });
            begin.elapsed()
        });
    });
    group.finish();
}

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer");
    group.bench_function("set and drop, 100,000 alive", |bench| {
        on_runtime(bench, |rounds| async move {
            let mut alive = join_all((0..100_000u64).map(|i| sleep(Duration::from_secs(60 + i))));
            assert!(futures::poll!(&mut alive).is_pending());
            for _ in 0..rounds {
                let mut nap = sleep(Duration::from_secs(3600));
                assert!(futures::poll!(&mut nap).is_pending());
            }
        });
    });
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function("fire 1000", |bench| {
        on_runtime(bench, |rounds| async move {
            for _ in 0..rounds {
                let nap = |i| sleep(Duration::from_nanos(1000 + i));
                join_all((0..TOGETHER).map(nap)).await;
            }
        });
    });
    group.finish();
}

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operation");
    group.bench_function("nop, alone", |bench| {
        on_runtime(bench, |rounds| async move {
            for _ in 0..rounds {
                corering::nop().await.expect("a nop");
            }
        });
    });
    group.throughput(Throughput::Elements(64));
    group.bench_function("nop, 64 together", |bench| {
        on_runtime(bench, |rounds| async move {
            for _ in 0..rounds {
                join_all((0..64).map(|_| corering::nop())).await;
            }
        });
    });
    group.finish();
}

async fn echo(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    while let Ok(Some(chunk)) = stream.recv().await {
        stream.send_all(chunk).await.0.expect("the peer reads");
    }
}

fn sockets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    group.bench_function("64 B, both ends on one core", |bench| {
        on_runtime(bench, |rounds| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("bound");
            let server = spawn(echo(listener));
            let mut stream = TcpStream::connect(address).await.expect("the server");
            let mut answer = [0; 64];
            for _ in 0..rounds {
                stream.write_all(&[7; 64]).await.expect("the server reads");
                stream
                    .read_exact(&mut answer)
                    .await
                    .expect("the server answers");
            }
            drop(stream);
            server.await.expect("no panic");
        });
    });
    group.finish();
}

fn files(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("file");
    // A file system in memory: a disk would be measured instead of the runtime.
    let path = format!("/dev/shm/corering-bench-{}", std::process::id());
    group.bench_function("write and read 4 KiB, open and close", |bench| {
        on_runtime(bench, |rounds| {
            let path = path.clone();
            async move {
                for _ in 0..rounds {
                    corering::fs::write(&path, vec![7u8; 4096])
                        .await
                        .expect("room");
                    black_box(corering::fs::read(&path).await.expect("it was written"));
                }
                corering::fs::remove_file(&path).await.expect("it is there");
            }
        });
    });
    group.finish();
}

criterion_group!(all, tasks, wakes, timers, operations, sockets, files);
criterion_main!(all);
