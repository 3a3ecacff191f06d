//! From a reader to a writer, and both ways between two streams.

use futures_io::{AsyncBufRead, AsyncWrite};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Chunks that one poll copies at most: then others have their turn.
const CHUNKS_PER_POLL: usize = 32;

/// Copies everything to the reader's end, then flushes the writer; how many bytes that were.
///
/// The reader lends its own buffer, so nothing is copied in between. A reader without one gets it
/// from a [`BufReader`](super::BufReader).
///
/// # Errors
/// What the reader or the writer says; `WriteZero` if the writer takes nothing any more.
///
/// # Cancel safety
/// Safe in that every byte is either still in the reader or taken by the writer; how many were
/// copied is lost.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let mut stdin = corering::stdio::stdin()?;
/// let mut stream = corering::net::TcpStream::connect("127.0.0.1:7000").await?;
/// let bytes = corering::io::copy(&mut stdin, &mut stream).await?;
/// # Ok(()) }
/// ```
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncBufRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut way = Way::default();
    poll_fn(|cx| way.poll_copy(reader, writer, cx)).await?;
    poll_fn(|cx| Pin::new(&mut *writer).poll_flush(cx)).await?;
    Ok(way.copied)
}

/// Copies between two streams, both ways at once, until both have ended; how many bytes went from
/// the first to the second, and back. When one has ended, the writing side of the other is closed,
/// and the other way goes on: so half-closed connections pass through a proxy as they are.
///
/// # Errors
/// The first that a stream says; what is on its way then is lost with the streams.
///
/// # Cancel safety
/// Safe in that every byte is either still in one stream or taken by the other; how many were
/// copied is lost, and it may be that one side was closed.
///
/// ```no_run
/// # async fn f(mut client: corering::net::TcpStream) -> std::io::Result<()> {
/// use corering::net::UnixStream;
/// let mut server = UnixStream::connect("/run/backend").await?;
/// let (up, down) = corering::io::copy_bidirectional(&mut client, &mut server).await?;
/// # Ok(()) }
/// ```
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncBufRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncBufRead + AsyncWrite + Unpin + ?Sized,
{
    let (mut there, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let there = there.poll_copy_and_close(a, b, cx)?;
        let back = back.poll_copy_and_close(b, a, cx)?;
        match (there, back) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok::<_, io::Error>(())),
            _ => Poll::Pending,
        }
    })
    .await?;
    Ok((there.copied, back.copied))
}

/// One direction.
#[derive(Default)]
struct Way {
    copied: u64,
    /// The writer has something that it was not told to flush.
    unflushed: bool,
    ended: bool,
    closed: bool,
}

impl Way {
    /// Ready at the reader's end.
    fn poll_copy<R, W>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncBufRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        for _ in 0..CHUNKS_PER_POLL {
            let chunk = match Pin::new(&mut *reader).poll_fill_buf(cx)? {
                Poll::Ready(chunk) => chunk,
                Poll::Pending => {
                    // Whoever reads at the other end may be what the reader waits for.
                    if self.unflushed && Pin::new(&mut *writer).poll_flush(cx)?.is_ready() {
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            };
            if chunk.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let n = ready!(Pin::new(&mut *writer).poll_write(cx, chunk))?;
            if n == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            Pin::new(&mut *reader).consume(n);
            self.copied += n as u64;
            self.unflushed = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_copy_and_close<R, W>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncBufRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        if !self.ended {
            ready!(self.poll_copy(reader, writer, cx))?;
            self.ended = true;
        }
        if !self.closed {
            ready!(Pin::new(writer).poll_close(cx))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
