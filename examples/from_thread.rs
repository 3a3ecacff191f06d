//! A thread that has no loop of its own calls into one, and waits for a coroutine that runs there.
//!
//! asyncio's `loop.call_soon_threadsafe(..)` and `asyncio.run_coroutine_threadsafe(..).result()`.
//! Run it with `cargo run --example from_thread`.

use corering::time::sleep;
use corering::{Handle, JoinError, Runtime};
use std::thread;
use std::time::Duration;

async fn add(a: u32, b: u32) -> u32 {
    sleep(Duration::from_millis(20)).await;
    a + b
}

/// What the thread does. The closures travel; what they make there need not be `Send`.
fn ask(on_loop: &Handle) -> Result<u32, JoinError> {
    let me = thread::current().id();
    let here = on_loop.call_soon_threadsafe(move || thread::current().id() == me);
    println!("the loop calls on the thread that asked: {}", here.wait()?);
    let sum = on_loop.spawn(|| add(1, 2)).wait()?;
    println!("1 + 2 = {sum}");

    // Patience has an end, and a coroutine that is far away can be cancelled.
    let mut slow = on_loop.spawn(|| sleep(Duration::from_secs(3600)));
    let in_time = slow.wait_timeout(Duration::from_millis(20)).is_some();
    slow.abort();
    let error = slow.wait().expect_err("it was aborted");
    println!(
        "an hour's sleep in time: {in_time}; cancelled: {}",
        error.is_cancelled()
    );
    Ok(sum)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runtime = Runtime::new()?;
    let handle = runtime.handle();
    let thread = thread::spawn(move || {
        let sum = ask(&handle);
        handle.stop();
        sum
    });
    runtime.run_forever();
    let sum = thread.join().expect("the thread has not panicked")?;
    println!("the thread has {sum}, and the loop has stopped");
    Ok(())
}
