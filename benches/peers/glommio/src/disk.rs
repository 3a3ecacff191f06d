//! The runtime's own files. They keep the buffer of a write and make that of a read, so each block
//! costs an allocation, and with `O_DIRECT` a copy into memory of the runtime's.

use std::io;
use std::path::PathBuf;

use glommio::io::{BufferedFile, DmaFile, OpenOptions};
use peer::files::{BLOCK_BYTES, Large, stamp_of};

pub(crate) enum File {
    Buffered(BufferedFile),
    Direct(DmaFile),
}

pub(crate) type Buf = Vec<u8>;

pub(crate) fn block() -> Buf {
    vec![0; BLOCK_BYTES]
}

pub(crate) async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>> {
    let file = BufferedFile::create(path).await?;
    let written = file.write_at(contents.clone(), 0).await?;
    whole(written, contents.len())?;
    if fsync {
        file.fdatasync().await?;
    }
    file.close().await?;
    Ok(contents)
}

pub(crate) async fn open(large: &Large) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(large.write);
    Ok(if large.direct {
        File::Direct(options.dma_open(&large.path).await?)
    } else {
        File::Buffered(options.buffered_open(&large.path).await?)
    })
}

pub(crate) async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    let (written, buf) = match file {
        File::Buffered(file) => (file.write_at(buf, offset).await?, block()),
        File::Direct(file) => {
            let mut own = file.alloc_dma_buffer(BLOCK_BYTES);
            own.as_bytes_mut().copy_from_slice(&buf);
            (file.write_at(own, offset).await?, buf)
        }
    };
    whole(written, BLOCK_BYTES)?;
    Ok(buf)
}

pub(crate) async fn read(file: &File, buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let read = match file {
        File::Buffered(file) => file.read_at(offset, BLOCK_BYTES).await?,
        File::Direct(file) => file.read_at_aligned(offset, BLOCK_BYTES).await?,
    };
    whole(read.len(), BLOCK_BYTES)?;
    Ok((stamp_of(&read), buf))
}

fn whole(bytes: usize, wanted: usize) -> io::Result<()> {
    if bytes != wanted {
        return Err(io::Error::other(format!("{bytes} of {wanted} bytes")));
    }
    Ok(())
}

pub(crate) async fn close(file: File) -> io::Result<()> {
    match file {
        File::Buffered(file) => file.close().await?,
        File::Direct(file) => file.close().await?,
    }
    Ok(())
}
