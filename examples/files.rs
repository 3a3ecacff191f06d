//! Files on the ring: written behind the caller's back, read ahead of it, replaced atomically.
//!
//! asyncio has no files and lends them a thread; here they go to the kernel like everything else.
//! Run it with `cargo run --example files`.

use corering::fs::{self, File, FileReader, FileWriter};
use futures::AsyncBufReadExt;
use futures::StreamExt;
use std::io;
use std::path::Path;

async fn write_lines(path: &Path) -> io::Result<u64> {
    let mut writer = FileWriter::new(File::create(path).await?);
    for line in 0..100_000 {
        writer
            .write_all(format!("line {line}\n").as_bytes())
            .await?;
    }
    let file = writer.finish().await?;
    Ok(file.metadata().await?.len())
}

async fn count_lines(path: &Path) -> io::Result<usize> {
    let mut lines = FileReader::new(File::open(path).await?).lines();
    let mut count = 0;
    while let Some(line) = lines.next().await {
        line?;
        count += 1;
    }
    Ok(count)
}

fn main() -> io::Result<()> {
    let directory = std::env::temp_dir().join(format!("corering-files-{}", std::process::id()));
    corering::block_on(async {
        fs::create_dir(&directory).await?;
        let path = directory.join("lines");
        println!("{} bytes written", write_lines(&path).await?);
        println!("{} lines read", count_lines(&path).await?);
        fs::write_atomic(&path, "one line\n").await?;
        println!("replaced by {:?}", fs::read_to_string(&path).await?);
        fs::remove_dir_all(&directory).await
    })
}
