//! Blocking functions on threads of their own, three at a time, while the loop goes on.
//!
//! asyncio's `loop.run_in_executor(ThreadPoolExecutor(max_workers=3), blocks, n)`.
//! Run it with `cargo run --example executor`.

#![allow(
    clippy::disallowed_methods,
    reason = "it is about functions that block"
)]

use corering::flow::gather;
use corering::spawn_blocking;
use corering::sync::Semaphore;
use corering::task::run_until_cancelled;
use corering::time::sleep;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

static RUNNING: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(0);

fn blocks(n: u32) -> u32 {
    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(running, Ordering::SeqCst);
    thread::sleep(Duration::from_millis(60));
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    n * n
}

#[corering::main]
async fn main() {
    let ticking = corering::spawn(async {
        let mut ticks = 0;
        while run_until_cancelled(sleep(Duration::from_millis(10)))
            .await
            .is_some()
        {
            ticks += 1;
        }
        ticks
    });
    let three = Rc::new(Semaphore::new(3));
    let squares = gather((0..6).map(|n| {
        let three = three.clone();
        async move {
            let _permit = three.acquire().await.expect("nobody closes it");
            let square = spawn_blocking(move || blocks(n))
                .await
                .expect("it does not panic");
            println!("blocks({n}) = {square}");
            square
        }
    }));
    let squares: Vec<u32> = squares.await.into_iter().flatten().collect();
    println!("{squares:?}, {} at a time", MOST.load(Ordering::SeqCst));
    ticking.cancel();
    let ticks = ticking.await.expect("it only counts");
    println!("meanwhile the loop was alive: {}", ticks > 1);
}
