//! Ctrl-C asks every task to end; each cleans up, which may take its time, and is waited for.
//!
//! asyncio's `for task in all_tasks(): task.cancel()`, with `try: .. finally:` in the tasks.
//! Run it with `cargo run --example ctrl_c` and press Ctrl-C; with `-- 1` behind it, it presses
//! Ctrl-C itself after one second.
//!
//! check: 1

use corering::process::Command;
use corering::signal::{SignalKind, signal};
use corering::task::{Builder, CancellationToken, run_until_cancelled};
use corering::time::sleep;
use std::io;
use std::time::Duration;

async fn worker(number: u32) -> u32 {
    let mut rounds = 0;
    while run_until_cancelled(sleep(Duration::from_millis(10)))
        .await
        .is_some()
    {
        rounds += 1;
    }
    println!("worker {number}: asked to end, saving its work");
    sleep(Duration::from_millis(20)).await; // cleaning up may wait, too
    println!("worker {number}: saved");
    rounds
}

/// Does what a finger on Ctrl-C does.
async fn press_ctrl_c(after: Duration) -> io::Result<()> {
    sleep(after).await;
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().await?;
    Ok(())
}

#[corering::main]
async fn main() -> io::Result<()> {
    let all = CancellationToken::new();
    let mut ctrl_c = signal(SignalKind::interrupt())?; // from here on, nothing ends the program
    let workers: Vec<_> = (1..=3)
        .map(|number| {
            let own = Builder::new().name(format!("worker {number}"));
            own.cancellation_token(all.child_token())
                .spawn(worker(number))
        })
        .collect();
    println!("{} workers; Ctrl-C ends them", workers.len());
    if let Some(seconds) = std::env::args().nth(1) {
        let seconds = seconds.parse().map_err(io::Error::other)?;
        corering::spawn(press_ctrl_c(Duration::from_secs_f32(seconds)));
    }
    ctrl_c.recv().await;
    println!("Ctrl-C");
    all.cancel();
    for (number, worker) in (1..).zip(workers) {
        println!("worker {number} has worked: {}", worker.await? > 0);
    }
    Ok(())
}
