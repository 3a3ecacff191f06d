//! Two cores that pass messages: both look for numbers, and send what they find to core 0 through
//! a channel that holds sixteen; who finds it full waits.
//!
//! asyncio has one loop a process, and `multiprocessing.Queue` between them; here the cores are
//! threads with a loop each. Run it with `cargo run --example cores`.

use corering::sync::channel;

fn main() -> Result<(), corering::BuildError> {
    let mut runtime = corering::Runtime::builder().cores(2).build()?;
    let (sender, mut receiver) = channel(16);
    let found = runtime.block_on(async move {
        for core in 0..2 {
            let sender = sender.clone();
            corering::spawn_on(core, move || async move {
                for number in (core as u64..1000).step_by(2).filter(|n| n % 97 == 0) {
                    sender.send(number).await.expect("core 0 is listening");
                }
            });
        }
        drop(sender);
        let mut found = Vec::new();
        while let Some(number) = receiver.recv().await {
            found.push(number);
        }
        found
    });
    println!("{} multiples of 97: {found:?}", found.len());
    Ok(())
}
