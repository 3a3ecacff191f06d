//! The runtime's own files.

use std::io;
use std::path::PathBuf;

use corering::buf::AlignedBuf;
use corering::fs;
use peer::files::{BLOCK_BYTES, Large, stamp_of};

pub(crate) use corering::fs::File;

pub(crate) type Buf = AlignedBuf;

pub(crate) fn block() -> Buf {
    let mut buf = AlignedBuf::new(BLOCK_BYTES);
    buf.resize(BLOCK_BYTES);
    buf
}

pub(crate) async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>> {
    let file = File::create(path).await?;
    let (written, contents) = file.write_all_at(contents, 0).await;
    written?;
    if fsync {
        file.sync_all().await?;
    }
    file.close().await?;
    Ok(contents)
}

pub(crate) async fn open(large: &Large) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .write(large.write)
        .direct(large.direct)
        .open(&large.path)
        .await
}

pub(crate) async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    let (written, buf) = file.write_all_at(buf, offset).await;
    written?;
    Ok(buf)
}

pub(crate) async fn read(file: &File, buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let (read, buf) = file.read_exact_at(buf, offset).await;
    read?;
    Ok((stamp_of(&buf), buf))
}

pub(crate) async fn close(file: File) -> io::Result<()> {
    file.close().await
}
