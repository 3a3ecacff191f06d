//! Hello, twice, with sleeps that overlap: both are done after 100 ms, not 200.
//!
//! asyncio's first program, `asyncio.gather(greet("ring"), greet("core"))`.
//! Run it with `cargo run --example hello`.

use corering::time::{Instant, sleep};
use std::time::Duration;

async fn greet(name: &str) {
    println!("hello, {name}");
    sleep(Duration::from_millis(100)).await;
    println!("goodbye, {name}");
}

#[corering::main]
async fn main() {
    let begin = Instant::now();
    futures::join!(greet("ring"), greet("core"));
    let both = begin.elapsed();
    let overlapped = both < Duration::from_millis(200);
    println!(
        "{} ms; the sleeps overlapped: {overlapped}",
        both.as_millis()
    );
}
