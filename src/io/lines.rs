//! Lines as a stream.

use super::buf_reader::BufReader;
use futures_core::{FusedStream, Stream};
use futures_io::AsyncRead;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The lines of a reader, as a `Stream`; made by [`BufReader::lines`].
///
/// After an error it is at its end: the line that could not be had is still in the reader
/// ([`into_reader`](Lines::into_reader)). Dropping `next()` loses nothing.
///
/// ```
/// use corering::io::{BufReader, Lines};
/// use futures::TryStreamExt;
///
/// # fn main() -> std::io::Result<()> {
/// corering::block_on(async {
///     let lines: Lines<_> = BufReader::new(&b"one\ntwo\r\nthree"[..]).lines();
///     let all: Vec<String> = lines.try_collect().await?;
///     assert_eq!(all, ["one", "two", "three"]);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Lines<R> {
    reader: BufReader<R>,
    ended: bool,
}

impl<R> Lines<R> {
    pub(super) fn new(reader: BufReader<R>) -> Lines<R> {
        Lines {
            reader,
            ended: false,
        }
    }

    /// The reader, with all that was not handed out.
    pub fn into_reader(self) -> BufReader<R> {
        self.reader
    }
}

impl<R: AsyncRead + Unpin> Stream for Lines<R> {
    type Item = io::Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let line = ready!(self.reader.poll_next_line(cx)).transpose();
        self.ended = !matches!(line, Some(Ok(_)));
        Poll::Ready(line)
    }
}

impl<R: AsyncRead + Unpin> FusedStream for Lines<R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}
