//! Figures, not checks: `cargo test --release --lib -- --ignored --nocapture timing`.

use super::*;
use crate::task::{spawn, yield_now};
use std::time::Instant;

/// The least time of several rounds, in nanoseconds per operation.
fn report(name: &str, operations: u64, mut round: impl FnMut()) {
    let mut least = f64::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        round();
        least = least.min(start.elapsed().as_nanos() as f64 / operations as f64);
    }
    println!("{name}: {least:.1} ns");
}

/// Runs a root future to its end, as `block_on` would.
fn block_on<F: Future>(executor: &Executor, future: F) -> F::Output {
    let _entered = executor.enter();
    let mut future = std::pin::pin!(future);
    let waker = executor.root_waker();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !executor.take_root_woken() {
            executor.run(&mut Budget::new(256, 0, || 0));
        }
    }
}

#[test]
#[ignore = "prints times"]
fn spawn_join_and_yield() {
    let executor = executor();
    report("spawn + join, 1000 at a time", 1_000_000, || {
        block_on(&executor, async {
            let mut tasks = Vec::with_capacity(1_000);
            for _ in 0..1_000 {
                tasks.extend((0..1_000_u64).map(|n| spawn(async move { n })));
                for task in tasks.drain(..) {
                    task.await.unwrap();
                }
            }
        });
    });
    report("yield among 1000 tasks", 1_000_000, || {
        block_on(&executor, async {
            let tasks: Vec<_> = (0..1_000)
                .map(|_| {
                    spawn(async {
                        for _ in 0..1_000 {
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    report("spawn a million, then join", 1_000_000, || {
        block_on(&executor, async {
            let tasks: Vec<_> = (0..1_000_000_u64)
                .map(|n| spawn(async move { n }))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}
