//! Two groups of ten, gathered into one; and a third, which is cancelled as a whole.
//!
//! asyncio's `gather(gather(*ones), gather(*twos))` and `group.cancel()`.
//! Run it with `cargo run --example gather`.

use corering::flow::{Gather, gather};
use corering::time::sleep;
use std::time::Duration;

async fn work(group: u32, number: u32) -> u32 {
    // The first of a group sleeps longest; the results are in order all the same.
    sleep(Duration::from_millis(10 * u64::from(10 - number))).await;
    println!("group {group}: {number} has ended");
    group * number
}

fn group(number: u32) -> Gather<u32> {
    gather((0..10).map(move |n| work(number, n)))
}

#[corering::main]
async fn main() {
    let groups = gather([group(1), group(2)]).await;
    for (number, results) in (1..).zip(groups) {
        let results = results.expect("the group has not panicked");
        let results: Vec<u32> = results.into_iter().flatten().collect();
        println!("group {number}: {results:?}");
    }

    let third = group(3);
    sleep(Duration::from_millis(35)).await;
    drop(third);
    println!("group 3 is cancelled");
    sleep(Duration::from_millis(100)).await;
    println!("nobody of it is left: {}", corering::task::all().is_empty());
}
