//! The body of an answer that comes from a file: read from the ring, sent without a copy here.
//!
//! A piece of up to [`ONE_READ_MAX`] bytes is one read, made before the headers leave. What is
//! longer is read in chunks of [`CHUNK_BYTES`], with the next one in flight while hyper sends.
//! A file that turns out shorter than the headers have said breaks the connection off.
//!
//! Where the connection sends files by itself ([`Way::SendFile`]), a part of at least
//! [`STAND_IN_BYTES_MIN`] bytes that the kernel has in memory is not read at all: its frame is a
//! stand-in. What the kernel would have to fetch from the disk is read, so that no core waits for
//! the disk.

use super::plan::{Body as Planned, Part};
use crate::fs::{File, STAND_IN_BYTES_MAX};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// What is read in one piece, in bytes.
pub(super) const ONE_READ_MAX: u64 = 128 * 1024;
/// The pieces of what is longer, in bytes.
const CHUNK_BYTES: u64 = 256 * 1024;

/// From how many bytes on a part is worth a stand-in.
const STAND_IN_BYTES_MIN: u64 = 32 * 1024;

/// How a body gets what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It reads the file.
    Read,
    /// Its frames may stand for parts of the file, which the connection sends.
    SendFile,
}

impl Way {
    /// The frame for the beginning of a range, if it may be a stand-in.
    fn stand_in(self, file: &File, range: &Range<u64>) -> Option<Bytes> {
        let len = range.end - range.start;
        if self == Way::Read || len < STAND_IN_BYTES_MIN {
            return None;
        }
        let len = len.min(STAND_IN_BYTES_MAX as u64) as usize;
        file.stand_in(range.start, len).map(Bytes::from_owner)
    }
}

/// The body of an answer of [`ServeDir`](super::ServeDir).
///
/// Where that was asked for [`sendfile`](super::ServeDir::sendfile), its frames are not what the
/// file says.
///
/// ```
/// use corering::http::FileBody;
/// use hyper::body::Body;
/// assert!(FileBody::empty().is_end_stream());
/// assert_eq!(FileBody::from("text".to_string()).size_hint().exact(), Some(4));
/// ```
#[derive(Default)]
pub struct FileBody {
    /// What is sent first.
    bytes: Option<Bytes>,
    file: Option<Chunks>,
    /// What comes behind that.
    parts: VecDeque<Part>,
    /// Bytes that are not handed out.
    left: u64,
}

impl fmt::Debug for FileBody {
    /// Lengths, not contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBody")
            .field("bytes", &self.bytes.as_ref().map(Bytes::len))
            .field("file", &self.file)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl FileBody {
    /// Nothing.
    #[must_use]
    pub fn empty() -> FileBody {
        FileBody::default()
    }

    fn of(bytes: Bytes) -> FileBody {
        FileBody {
            left: bytes.len() as u64,
            bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
            ..FileBody::default()
        }
    }

    /// What the plan says, of the file that it was made for.
    pub(super) async fn planned(body: Planned, file: File, way: Way) -> io::Result<FileBody> {
        let left = body.len();
        match body {
            Planned::Empty => Ok(FileBody::empty()),
            Planned::Text(text) => Ok(text.into()),
            Planned::File(range) if left <= ONE_READ_MAX => {
                if let Some(bytes) = way.stand_in(&file, &range) {
                    return Ok(FileBody::of(bytes));
                }
                let buf = Vec::with_capacity(left as usize);
                let (result, buf) = file.read_exact_at(buf, range.start).await;
                result.map(|()| FileBody::of(buf.into()))
            }
            Planned::File(range) => {
                let file = Some(Chunks::new(Rc::new(file), range, way));
                Ok(FileBody {
                    file,
                    left,
                    ..FileBody::empty()
                })
            }
            Planned::Parts(parts) => {
                let file = Some(Chunks::new(Rc::new(file), 0..0, way));
                Ok(FileBody {
                    file,
                    parts: parts.into(),
                    left,
                    ..FileBody::empty()
                })
            }
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(bytes) = self.bytes.take() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            let Some(file) = &mut self.file else {
                return Poll::Ready(None);
            };
            if let Some(chunk) = ready!(file.poll_chunk(cx)) {
                return Poll::Ready(Some(chunk));
            }
            match self.parts.pop_front() {
                None => self.file = None,
                Some(part) => {
                    file.range = part.range;
                    self.bytes = Some(Bytes::from(part.head));
                }
            }
        }
    }
}

impl From<String> for FileBody {
    fn from(text: String) -> FileBody {
        FileBody::of(text.into())
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = ready!(self.poll_bytes(cx));
        if let Some(Ok(bytes)) = &bytes {
            self.left -= bytes.len() as u64;
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A read in flight: how many bytes came, and the buffer.
type Reading = Pin<Box<dyn Future<Output = (io::Result<()>, Vec<u8>)>>>;

/// The next chunk.
enum Ahead {
    Reading(Reading),
    StandIn(Bytes),
}

/// A range of a file, chunk by chunk, one of them ahead where it is read.
struct Chunks {
    file: Rc<File>,
    way: Way,
    /// What no read was started for.
    range: Range<u64>,
    ahead: Option<Ahead>,
}

impl Chunks {
    fn new(file: Rc<File>, range: Range<u64>, way: Way) -> Chunks {
        Chunks {
            file,
            way,
            range,
            ahead: None,
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut reading = match self.ahead.take().or_else(|| self.start()) {
            None => return Poll::Ready(None),
            Some(Ahead::StandIn(bytes)) => return Poll::Ready(Some(Ok(bytes))),
            Some(Ahead::Reading(reading)) => reading,
        };
        let Poll::Ready((result, buf)) = reading.as_mut().poll(cx) else {
            self.ahead = Some(Ahead::Reading(reading));
            return Poll::Pending;
        };
        if let Err(error) = result {
            self.range = 0..0;
            return Poll::Ready(Some(Err(error)));
        }
        // Started before this chunk is sent; the waker is renewed by the next poll.
        self.ahead = self.start();
        if let Some(Ahead::Reading(next)) = &mut self.ahead {
            if let Poll::Ready(early) = next.as_mut().poll(cx) {
                *next = Box::pin(std::future::ready(early));
            }
        }
        Poll::Ready(Some(Ok(Bytes::from(buf))))
    }

    fn start(&mut self) -> Option<Ahead> {
        if let Some(bytes) = self.way.stand_in(&self.file, &self.range) {
            self.range.start += bytes.len() as u64;
            return Some(Ahead::StandIn(bytes));
        }
        let at = self.range.start;
        let len = (self.range.end - at).min(CHUNK_BYTES);
        if len == 0 {
            return None;
        }
        self.range.start += len;
        let file = self.file.clone();
        Some(Ahead::Reading(Box::pin(async move {
            file.read_exact_at(Vec::with_capacity(len as usize), at)
                .await
        })))
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("file", &self.file)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
