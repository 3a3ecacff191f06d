//! A spinner beside a slow function. When the answer arrives, the spinner is asked to end, and
//! wipes its line before it does.
//!
//! asyncio's `spinner = create_task(spin("thinking!"))`, then `spinner.cancel()`, and a
//! `CancelledError` that `spin` catches. Run it with `cargo run --example spinner`.

use corering::task::run_until_cancelled;
use corering::time::sleep;
use std::io::{self, Write};
use std::time::Duration;

/// Returns how many pictures it has shown.
async fn spin(message: &str) -> io::Result<u32> {
    let mut terminal = io::stderr();
    let mut shown = 0;
    for picture in ['|', '/', '-', '\\'].into_iter().cycle() {
        write!(terminal, "\r{picture} {message}")?;
        shown += 1;
        // `None`: somebody wants it to end.
        if run_until_cancelled(sleep(Duration::from_millis(50)))
            .await
            .is_none()
        {
            break;
        }
    }
    write!(terminal, "\r{:1$}\r", "", 2 + message.len())?;
    Ok(shown)
}

async fn slow_function() -> u32 {
    sleep(Duration::from_millis(500)).await; // pretend to wait for a disk far away
    42
}

#[corering::main]
async fn main() -> io::Result<()> {
    let spinner = corering::spawn(spin("thinking!"));
    let answer = slow_function().await;
    spinner.cancel();
    let shown = spinner.await??;
    println!("the spinner has spun: {}", shown > 1);
    println!("answer: {answer}");
    Ok(())
}
