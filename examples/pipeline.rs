//! A pipeline of child processes, `printf .. | sort | uniq -c`, fed and read at the same time; and
//! one that is ended before it has finished.
//!
//! asyncio's `create_subprocess_exec` with pipes, `process.wait()` and `process.kill()`.
//! Run it with `cargo run --example pipeline`.

use corering::io::BufReader;
use corering::process::{Command, Stdio};
use corering::time::timeout;
use std::io;
use std::time::Duration;

const WORDS: &[&str] = &["pear", "apple", "fig", "apple", "pear", "apple"];

#[corering::main]
async fn main() -> io::Result<()> {
    let mut sort = Command::new("sort")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let sorted = sort.stdout.take().expect("piped");
    let mut count = Command::new("uniq")
        .arg("-c")
        .stdin(sorted.into_fd()?)
        .stdout(Stdio::piped())
        .spawn()?;

    let mut words = sort.stdin.take().expect("piped");
    let feeder = corering::spawn(async move {
        for word in WORDS {
            words.write_all(format!("{word}\n").as_bytes()).await?;
        }
        words.close().await
    });
    let mut lines = BufReader::new(count.stdout.take().expect("piped"));
    while let Some(line) = lines.next_line().await? {
        println!("{}", line.trim());
    }
    feeder.await.expect("the task has not panicked")?;
    println!(
        "sort: {}, uniq: {}",
        sort.wait().await?,
        count.wait().await?
    );

    let mut slow = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    if timeout(Duration::from_millis(50), slow.wait())
        .await
        .is_err()
    {
        slow.kill().await?;
        println!("sleep: {}", slow.wait().await?);
    }
    Ok(())
}
