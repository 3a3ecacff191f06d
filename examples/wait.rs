//! Waiting for some of many: with a limit of time, for the first that ends, for the first error.
//!
//! asyncio's `done, pending = await asyncio.wait(tasks, timeout=.., return_when=..)`.
//! Run it with `cargo run --example wait`.

use corering::JoinHandle;
use corering::flow::{When, try_wait, wait};
use corering::time::sleep;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(100);

/// Phase `n` takes `n` steps.
fn phases() -> Vec<JoinHandle<u32>> {
    let phase = |n: u32| async move {
        sleep(STEP * n).await;
        n
    };
    (1..=4).map(|n| corering::spawn(phase(n))).collect()
}

/// Fails at the second step.
async fn fragile(n: u32) -> Result<u32, String> {
    sleep(STEP * n).await;
    if n == 2 {
        Err(format!("phase {n} has failed"))
    } else {
        Ok(n)
    }
}

#[corering::main]
async fn main() {
    let waited = wait(phases(), Some(STEP * 5 / 2), When::All).await;
    let done: Vec<_> = waited
        .done
        .into_iter()
        .flat_map(|(_, result)| result)
        .collect();
    println!(
        "in two and a half steps: {done:?} done, {} pending",
        waited.pending.len()
    );
    // They go on until they are asked otherwise.
    let rest = wait(waited.pending, None, When::All).await;
    println!("later: {} more", rest.done.len());

    let waited = wait(phases(), None, When::First).await;
    println!(
        "the first: {} done, {} pending",
        waited.done.len(),
        waited.pending.len()
    );
    waited.pending.iter().for_each(JoinHandle::abort);
    let aborted = wait(waited.pending, None, When::All).await.done;
    let aborted = aborted.iter().filter(|(_, result)| result.is_err()).count();
    println!("aborted: {aborted}");

    let tasks = (1..=4).map(|n| corering::spawn(fragile(n)));
    let waited = try_wait(tasks, None, When::FirstError).await;
    let done: Vec<_> = waited
        .done
        .into_iter()
        .flat_map(|(_, result)| result)
        .collect();
    println!(
        "until the first error: {done:?}, {} pending",
        waited.pending.len()
    );
}
