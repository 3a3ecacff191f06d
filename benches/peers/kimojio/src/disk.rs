//! The runtime's own calls for files.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use kimojio::operations::{self, OFlags};
use peer::files::{Block, Large, stamp_of};

pub(crate) type File = OwnedFd;
pub(crate) type Buf = Block;

pub(crate) fn block() -> Buf {
    Block::new()
}

pub(crate) async fn create(path: PathBuf, contents: Vec<u8>, fsync: bool) -> io::Result<Vec<u8>> {
    let path = CString::new(path.into_os_string().into_vec()).map_err(io::Error::other)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
    let file = operations::open(&path, flags, 0o666.into()).await?;
    write_all(&file, &contents, 0).await?;
    if fsync {
        operations::fsync(&file).await?;
    }
    operations::close(file).await?;
    Ok(contents)
}

pub(crate) async fn open(large: &Large) -> io::Result<File> {
    large.open().map(OwnedFd::from)
}

pub(crate) async fn write(file: &File, buf: Buf, offset: u64) -> io::Result<Buf> {
    write_all(file, &buf, offset).await?;
    Ok(buf)
}

pub(crate) async fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = operations::pwrite(file, bytes, offset).await?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

pub(crate) async fn read(file: &File, mut buf: Buf, offset: u64) -> io::Result<(u64, Buf)> {
    let bytes = operations::pread(file, &mut buf, offset).await?;
    if bytes != buf.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((stamp_of(&buf), buf))
}

pub(crate) async fn close(file: File) -> io::Result<()> {
    Ok(operations::close(file).await?)
}
