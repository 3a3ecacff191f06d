//! A minimal HTTP/1.1 client over what a runtime has: a stream that reads and a file that writes.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use super::{GATHER_BYTES, Plan};
use crate::files::Turns;

/// A runtime's sockets and files, with owned buffers.
#[allow(async_fn_in_trait)] // Each is used on one thread, with its own type.
pub trait Wire {
    /// A connected socket.
    type Stream;
    /// A file to be written.
    type File;

    /// Connects.
    async fn connect(origin: SocketAddr) -> io::Result<Self::Stream>;
    /// Sends all of it.
    async fn send(stream: &mut Self::Stream, bytes: Vec<u8>) -> io::Result<()>;
    /// Reads once, into the buffer from there on to its end. Its length stays.
    async fn read(
        stream: &mut Self::Stream,
        buf: Vec<u8>,
        from: usize,
    ) -> io::Result<(usize, Vec<u8>)>;
    /// Creates a file.
    async fn create(path: PathBuf) -> io::Result<Self::File>;
    /// Writes this part of the buffer at that offset of the file.
    async fn write(
        file: &Self::File,
        buf: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> io::Result<Vec<u8>>;
    /// Closes it.
    async fn close(file: Self::File) -> io::Result<()>;
}

/// Fetches objects over one connection until there are no more.
pub async fn copy_some<W: Wire>(plan: &Plan, turns: &Turns) -> io::Result<()> {
    let origin = plan.host().parse().map_err(io::Error::other)?;
    let mut stream = W::connect(origin).await?;
    let mut buf = vec![0; GATHER_BYTES];
    while let Some(object) = turns.take() {
        W::send(&mut stream, request(plan, object)).await?;
        buf = copy::<W>(plan, object, &mut stream, buf).await?;
    }
    Ok(())
}

/// Copies one body to its file; the buffer is full, or the body whole, before it is written.
async fn copy<W: Wire>(
    plan: &Plan,
    object: usize,
    stream: &mut W::Stream,
    mut buf: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let mut filled = 0;
    let (mut begin, body) = loop {
        buf = fill::<W>(stream, buf, &mut filled).await?;
        if let Some(found) = head(&buf[..filled])? {
            break found;
        }
    };
    let file = W::create(plan.path(object)).await?;
    let mut written = 0;
    while written < body {
        let left = body - written;
        while filled < buf.len() && ((filled - begin) as u64) < left {
            buf = fill::<W>(stream, buf, &mut filled).await?;
        }
        let part = begin..filled;
        let len = part.len() as u64;
        if len > left {
            return Err(io::Error::other("there is more than the body"));
        }
        buf = W::write(&file, buf, part, written).await?;
        written += len;
        (begin, filled) = (0, 0);
    }
    W::close(file).await?;
    Ok(buf)
}

async fn fill<W: Wire>(
    stream: &mut W::Stream,
    buf: Vec<u8>,
    filled: &mut usize,
) -> io::Result<Vec<u8>> {
    let (read, buf) = W::read(stream, buf, *filled).await?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *filled += read;
    Ok(buf)
}

/// What asks for an object, and keeps the connection.
#[must_use]
pub fn request(plan: &Plan, object: usize) -> Vec<u8> {
    let (target, host) = (plan.target(object), plan.host());
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// Where the body begins and how long it is; `None` while the head is not whole.
///
/// # Errors
/// When it is not a `200` with a length.
pub fn head(bytes: &[u8]) -> io::Result<Option<(usize, u64)>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = bytes.windows(END.len()).position(|four| four == END) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("the origin said `{status}`")));
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other("the origin gave no length"))?;
    Ok(Some((end + END.len(), length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_or_not_yet() {
        let whole = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 12\r\n\r\nbody";
        assert_eq!(head(whole).unwrap(), Some((whole.len() - 4, 12)));
        assert_eq!(head(&whole[..30]).unwrap(), None);
        assert!(head(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
