//! The runtime's own files.

use std::io;
use std::path::PathBuf;

use peer::files::{BLOCK_BYTES, Large, stamp_of};
use tokio_uring::buf::{BoundedBuf, Slice};

pub(crate) use tokio_uring::fs::File;

/// The aligned part of a larger buffer.
pub(crate) type Buf = Slice<Vec<u8>>;

pub(crate) fn block() -> Buf {
    let buf = vec![0; 2 * BLOCK_BYTES];
    let begin = buf.as_ptr().align_offset(BLOCK_BYTES);
    buf.slice(begin..begin + BLOCK_BYTES)
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
    large.open().map(File::from_std)
}

pub(crate) async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    let (written, buf) = file.write_at(buf, offset).submit().await;
    whole(written?)?;
    Ok(buf)
}

pub(crate) async fn read(file: &File, buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let (read, buf) = file.read_at(buf, offset).await;
    whole(read?)?;
    Ok((stamp_of(&buf), buf))
}

/// Its calls that go on until all is done take the buffer apart; a block is done at once.
fn whole(bytes: usize) -> io::Result<()> {
    match bytes {
        BLOCK_BYTES => Ok(()),
        _ => Err(io::Error::other(format!("{bytes} bytes of a block"))),
    }
}

pub(crate) async fn close(file: File) -> io::Result<()> {
    file.close().await
}
