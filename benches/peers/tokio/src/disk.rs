//! `tokio::fs`, and for reads and writes at an offset, which it does not have, the pool below it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use peer::files::{Block, Large, read_blocking, stamp_of, write_blocking};
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

pub(crate) type File = Arc<std::fs::File>;
pub(crate) type Buf = Block;

pub(crate) fn block() -> Buf {
    Block::new()
}

pub(crate) async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>> {
    if fsync {
        let mut file = tokio::fs::File::create(path).await?;
        file.write_all(&contents).await?;
        file.sync_all().await?;
    } else {
        tokio::fs::write(path, &contents).await?;
    }
    Ok(contents)
}

pub(crate) async fn open(large: &Large) -> io::Result<File> {
    large.open().map(Arc::new)
}

pub(crate) async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    let file = Arc::clone(file);
    let write = move || write_blocking(&file, &buf, offset).map(|()| buf);
    spawn_blocking(write).await.map_err(io::Error::other)?
}

pub(crate) async fn read(file: &File, mut buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let file = Arc::clone(file);
    let read = move || read_blocking(&file, &mut buf, offset).map(|()| (stamp_of(&buf), buf));
    spawn_blocking(read).await.map_err(io::Error::other)?
}

pub(crate) async fn close(_file: File) -> io::Result<()> {
    Ok(())
}
