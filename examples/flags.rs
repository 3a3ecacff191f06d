//! Downloads many small files, twenty at a time, with a progress bar; saving blocks nobody.
//!
//! The `flags` programs of asyncio's tutorials: `async with semaphore:`, `as_completed`, a bar, and
//! a save in an executor. Here the file goes to the ring, so there is no executor. Run it with
//! `cargo run --example flags`: the origin is a part of the program, and two of the flags are not
//! there.

use corering::flow::as_completed;
use corering::fs;
use corering::http::{Client, Limits, ServeDir, serve};
use corering::net::TcpListener;
use corering::sync::Semaphore;
use indicatif::ProgressBar;
use std::cell::Cell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const AT_ONCE: usize = 20;
const FLAG_BYTES_MAX: usize = 1 << 20;

/// `aa` to `hz`.
fn codes() -> Vec<String> {
    let pairs = ('a'..='h').flat_map(|a| ('a'..='z').map(move |b| format!("{a}{b}")));
    pairs.collect()
}

/// Writes all flags but two, and serves them.
async fn start_origin(directory: &Path) -> std::io::Result<String> {
    fs::create_dir_all(directory).await?;
    for (n, code) in codes().iter().enumerate().skip(2) {
        let flag = format!("GIF89a {code}").repeat(50 + n);
        fs::write(directory.join(format!("{code}.gif")), flag.into_bytes()).await?;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let files = ServeDir::open(directory).await?;
    corering::spawn(serve(listener, files.into_service(), Limits::default()));
    Ok(url)
}

struct Downloads {
    client: Client,
    url: String,
    directory: PathBuf,
    at_once: Semaphore,
    /// The most that were under way together.
    most: Cell<usize>,
}

impl Downloads {
    /// The bytes saved; `None` if there is no such flag.
    async fn one(&self, code: &str) -> Result<Option<usize>, Box<dyn Error>> {
        let _permit = self.at_once.acquire().await?;
        let under_way = AT_ONCE - self.at_once.available_permits();
        self.most.set(self.most.get().max(under_way));
        let url = format!("{}/{code}.gif", self.url).parse()?;
        let mut answer = self.client.get(&url).await?;
        let flag = answer.bytes(FLAG_BYTES_MAX).await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let len = flag.len();
        fs::write(self.directory.join(format!("{code}.gif")), flag).await?;
        Ok(Some(len))
    }
}

/// Returns how many were downloaded, how many were not there, and the bytes saved.
async fn all(downloads: Rc<Downloads>) -> Result<(usize, usize, usize), Box<dyn Error>> {
    let codes = codes();
    let bar = ProgressBar::new(codes.len() as u64);
    let mut flags = as_completed(codes.into_iter().map(|code| {
        let downloads = downloads.clone();
        async move { downloads.one(&code).await }
    }));
    let (mut saved, mut missing, mut bytes) = (0, 0, 0);
    while let Some(flag) = flags.next().await {
        match flag?? {
            Some(len) => (saved, bytes) = (saved + 1, bytes + len),
            None => missing += 1,
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((saved, missing, bytes))
}

#[corering::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let here = std::env::temp_dir().join(format!("corering-flags-{}", std::process::id()));
    let downloads = Rc::new(Downloads {
        client: Client::default(),
        url: start_origin(&here.join("origin")).await?,
        directory: here.join("flags"),
        at_once: Semaphore::new(AT_ONCE),
        most: Cell::new(0),
    });
    fs::create_dir(&downloads.directory).await?;
    let (saved, missing, bytes) = all(downloads.clone()).await?;
    println!("{saved} flags saved, {missing} are not there, {bytes} bytes");
    println!("at most {} at a time", downloads.most.get());
    let mut on_disk = 0;
    let mut entries = fs::read_dir(&downloads.directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        on_disk += fs::metadata(entry.path()).await?.len();
    }
    println!("on the disk: {on_disk} bytes");
    fs::remove_dir_all(&here).await?;
    Ok(())
}
