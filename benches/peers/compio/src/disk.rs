//! The runtime's own files.

use std::io;
use std::path::PathBuf;

use compio::BufResult;
use compio::fs::OpenOptions;
use compio::io::{AsyncReadAtExt, AsyncWriteAtExt};
use peer::files::{BLOCK_BYTES, Block, Large, stamp_of};

pub(crate) use compio::fs::File;

pub(crate) type Buf = &'static mut [u8; BLOCK_BYTES];

pub(crate) fn block() -> Buf {
    Block::leak()
}

pub(crate) async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>> {
    let mut file = File::create(path).await?;
    let BufResult(written, contents) = file.write_all_at(contents, 0).await;
    written?;
    if fsync {
        file.sync_all().await?;
    }
    file.close().await?;
    Ok(contents)
}

pub(crate) async fn open(large: &Large) -> io::Result<File> {
    let flags = if large.direct { libc::O_DIRECT } else { 0 };
    let mut options = OpenOptions::new();
    options.read(true).write(large.write).custom_flags(flags);
    options.open(&large.path).await
}

pub(crate) async fn write(mut file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    let BufResult(written, buf) = file.write_all_at(buf, offset).await;
    written?;
    Ok(buf)
}

pub(crate) async fn read(file: &File, buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let BufResult(read, buf) = file.read_exact_at(buf, offset).await;
    read?;
    Ok((stamp_of(&buf[..]), buf))
}

pub(crate) async fn close(file: File) -> io::Result<()> {
    file.close().await
}
