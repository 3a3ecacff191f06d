//! Whole files: read, write, copy.

use super::submit::is_interrupted;
use super::{File, FileReader, FileWriter, Metadata, OpenOptions};
use crate::buf::IoBuf;
use crate::driver::sys;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The most bytes of one read: what is cached is copied while it is submitted, on the loop.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Room for the first read of a file whose length nobody knows, such as one in `/proc`.
const UNKNOWN_LEN_BYTES: usize = 8 * 1024;
const COPY_CHUNK_BYTES: usize = 256 * 1024;

/// Reads a whole file.
///
/// A file of known length is read with one operation, and without a copy.
///
/// # Errors
/// As [`File::open`] and [`File::read_at`]; `IsADirectory` for a directory.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = File::open(path).await?;
    let (_, len) = sys::mode_and_len(file.fd())?;
    let mut bytes = Vec::new();
    let room = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    bytes.try_reserve_exact(room)?;
    loop {
        let done = bytes.len();
        // A length of 0 proves nothing, and a file may have grown meanwhile.
        if done > 0 && done as u64 == sys::mode_and_len(file.fd())?.1 {
            return Ok(bytes);
        }
        if done == bytes.capacity() {
            bytes.try_reserve(UNKNOWN_LEN_BYTES)?;
        }
        let room = (bytes.capacity() - done).min(READ_BYTES_MAX);
        let (result, part) = file
            .read_at(bytes.slice(done..done + room), done as u64)
            .await;
        bytes = part.into_inner();
        match result {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(error) if is_interrupted(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a whole file of UTF-8.
///
/// # Errors
/// As [`read`]; `InvalidData` if it is not UTF-8.
///
/// # Cancel safety
/// Safe: nothing is consumed.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let bytes = read(path).await?;
    String::from_utf8(bytes).map_err(|error| {
        let what = format!("the file is not UTF-8: {}", error.utf8_error());
        io::Error::new(ErrorKind::InvalidData, what)
    })
}

/// Writes a whole file: made if it is missing, replaced in place if it is not. Somebody who reads
/// it meanwhile sees a part; [`write_atomic`](super::write_atomic) does not have that.
///
/// The buffer is given away; to write borrowed bytes, pass `bytes.to_vec()`.
///
/// # Errors
/// As [`File::create`] and [`File::write_all_at`].
///
/// # Cancel safety
/// Not safe: the file may have been emptied, and any part may still be written.
pub async fn write(path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
    let file = File::create(path).await?;
    file.write_all_at(contents, 0).await.0
}

/// Copies a file's content and permissions, and says how many bytes that were. Reads and writes
/// overlap. What stands at `to` is replaced in place.
///
/// # Errors
/// `InvalidInput` if `from` is not a regular file, or if both are the same file (which the
/// standard library would empty); otherwise what the kernel says. A part may have been copied.
///
/// # Cancel safety
/// Not safe: a part may have been copied.
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let source = File::open(from).await?;
    let metadata = source.metadata().await?;
    if !metadata.is_file() {
        let what = "the source is neither a regular file nor a link to one";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let target = open_target(&metadata, to.as_ref()).await?;
    let mut reader = FileReader::with_chunk(source, 0, COPY_CHUNK_BYTES);
    let mut writer = FileWriter::with_chunk(target, 0, COPY_CHUNK_BYTES);
    while let Some(chunk) = reader.next_chunk().await? {
        writer.write_chunk(chunk).await?;
        if let Some(spare) = writer.take_spare() {
            reader.recycle(spare);
        }
    }
    writer.flush().await?;
    Ok(writer.written())
}

/// Opens what is to be overwritten with a copy, and empties it.
async fn open_target(source: &Metadata, to: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(source.mode() & 0o777);
    let target = options.open(to).await?;
    let metadata = target.metadata().await?;
    if metadata.same_file(source) {
        let what = "the source and the target are the same file";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    if metadata.is_file() {
        if metadata.len() > 0 {
            target.set_len(0).await?;
        }
        target.set_permissions(source.permissions())?;
    }
    Ok(target)
}
