//! Three coroutines that interleave: each computes a factorial and sleeps before every step.
//!
//! asyncio's `gather(factorial("A", 2), factorial("B", 3), factorial("C", 4))`.
//! Run it with `cargo run --example interleave`.

use corering::flow::gather;
use corering::time::sleep;
use std::time::Duration;

async fn factorial(name: &str, number: u64) -> u64 {
    let mut product = 1;
    for factor in 2..=number {
        println!("{name}: computing factorial({number}), at {factor}");
        sleep(Duration::from_millis(50)).await;
        product *= factor;
    }
    println!("{name}: factorial({number}) = {product}");
    product
}

#[corering::main]
async fn main() -> Result<(), corering::JoinError> {
    let products = gather([("A", 2), ("B", 3), ("C", 4)].map(|(name, n)| factorial(name, n)));
    // The order is that of the questions, whoever was first.
    let products: Vec<u64> = products.await.into_iter().collect::<Result<_, _>>()?;
    println!("{products:?}");
    Ok(())
}
