//! A producer and three consumers on a queue that is shorter than the work.
//!
//! asyncio's `asyncio.Queue(maxsize=3)` with `put`, `get`, `task_done`, `join` and `shutdown`.
//! Run it with `cargo run --example queue`.

use corering::sync::queue::Queue;
use corering::time::sleep;
use std::rc::Rc;
use std::time::Duration;

const ITEMS: u64 = 20;

async fn produce(queue: Rc<Queue<u64>>) {
    for item in 1..=ITEMS {
        // Waits while the queue is full.
        queue
            .put(item)
            .await
            .expect("main has not shut it down yet");
        println!("producer: {item} put, {} in the queue", queue.len());
    }
}

/// Returns what it has worked off.
async fn consume(name: u32, queue: Rc<Queue<u64>>) -> Vec<u64> {
    let mut done = Vec::new();
    // The error says that the queue was shut down, and is empty.
    while let Ok(item) = queue.get().await {
        sleep(Duration::from_millis(item % 4)).await;
        println!("consumer {name}: {item} worked off");
        done.push(item);
        queue.task_done().expect("one for each get");
    }
    done
}

#[corering::main]
async fn main() {
    let queue = Rc::new(Queue::bounded(3));
    let consumers: Vec<_> = (1..=3)
        .map(|name| corering::spawn(consume(name, queue.clone())))
        .collect();
    corering::spawn(produce(queue.clone()))
        .await
        .expect("the producer has not panicked");
    queue.join().await;
    println!("all is worked off");
    queue.shutdown(false);
    let mut all = Vec::new();
    for consumer in consumers {
        all.extend(consumer.await.expect("the consumer has not panicked"));
    }
    println!(
        "{} items, their sum is {}",
        all.len(),
        all.iter().sum::<u64>()
    );
}
