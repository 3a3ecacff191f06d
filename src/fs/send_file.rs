//! From a file to a stream.

use super::{File, FileReader};
use crate::io::WriteOwned;
use std::io;
use std::ops::{Bound, RangeBounds};

/// Bytes of one read and one send.
const CHUNK_BYTES: u64 = 256 * 1024;

/// Sends a part of a file, or with `..` all of it, and says how many bytes that were: fewer than
/// the range has if the file ends first.
///
/// What `sendfile(2)` is for, by reads of the ring and sends of the same memory, with the next
/// chunks being read while one is sent. That was measured faster than a splice here, for which the
/// kernel takes a worker thread at every hop. Memory: at most five chunks of 256 KiB, less for a
/// short range.
///
/// # Errors
/// What reading the file or sending says; what was sent by then is sent.
///
/// # Cancel safety
/// Not safe: any part may have been sent, and a stream is [torn](crate::net::Torn) then.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// use corering::fs::{self, File};
/// let file = File::open("movie.mkv").await?;
/// let sent = fs::send_file(&mut stream, &file, 1_000_000..).await?;
/// # Ok(()) }
/// ```
pub async fn send_file(
    to: &mut impl WriteOwned,
    file: &File,
    range: impl RangeBounds<u64>,
) -> io::Result<u64> {
    let begin = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => u64::MAX,
    };
    let wanted = end.saturating_sub(begin);
    let mut left = wanted;
    if left == 0 {
        return Ok(0);
    }
    let chunk_bytes = left.min(CHUNK_BYTES) as usize;
    let mut reader = FileReader::with_chunk(file.share(), begin, chunk_bytes);
    while left > 0 {
        let Some(mut chunk) = reader.next_chunk().await? else {
            break;
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chunk.len() as u64;
        let (result, chunk) = to.write_all_owned(chunk).await;
        result?;
        reader.recycle(chunk);
    }
    Ok(wanted - left)
}
