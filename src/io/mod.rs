//! Reading and writing with a buffer: lines with a limit, frames, water marks, copies.
//!
//! Everything here works on the traits of `futures` (`AsyncRead`, `AsyncBufRead`, `AsyncWrite`),
//! which all streams, pipes and files of this crate have, and on no runtime in particular.
//!
//! # What is here, and what is not
//! The crate `futures` brings the rest, and it works on the same types: `AsyncReadExt`,
//! `AsyncWriteExt` (`split`, `take`, `chain`), `io::empty`, `io::sink`, `io::Cursor`. Here is what
//! it has not, or does otherwise:
//! - [`BufReader`]: lines, delimiters and exact lengths that may be dropped at any time, with a
//!   limit on what one line may cost;
//! - [`BufWriter`]: a queue with water marks, as asyncio's `write` and `drain`;
//! - [`copy`] and [`copy_bidirectional`], which copy nothing in between;
//! - [`duplex`]: a connection in memory, for tests of protocols.
//!
//! A [`TcpStream`](crate::net::TcpStream) has a queue of its own that empties itself, and a
//! [`FileWriter`](crate::fs::FileWriter) collects large writes: neither needs a [`BufWriter`].
//!
//! asyncio's `open_connection` is two halves and these two types:
//!
//! ```no_run
//! # async fn f() -> std::io::Result<()> {
//! use corering::io::{BufReader, BufWriter};
//! use corering::net::TcpStream;
//!
//! let (read, write) = TcpStream::connect("example.org:80").await?.into_split();
//! let (mut reader, mut writer) = (BufReader::new(read), BufWriter::new(write));
//! writer.push(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n")?;
//! writer.drain().await?;
//! while let Some(line) = reader.next_line().await? {
//!     println!("{line}");
//!     if line.is_empty() {
//!         break;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Codecs
//! Frames of a protocol are the business of a codec, and there are two well-kept crates of them.
//! `asynchronous-codec` works on the traits of `futures`, so it takes any stream as it is:
//!
//! ```
//! use asynchronous_codec::{Framed, LengthCodec};
//! use futures::{SinkExt, TryStreamExt};
//!
//! # fn main() -> std::io::Result<()> {
//! corering::block_on(async {
//!     let (here, there) = corering::net::UnixStream::pair()?;
//!     let mut here = Framed::new(here, LengthCodec);
//!     let mut there = Framed::new(there, LengthCodec);
//!     here.send("a frame".into()).await?;
//!     assert_eq!(there.try_next().await?.as_deref(), Some(&b"a frame"[..]));
//!     Ok(())
//! })
//! # }
//! ```
//!
//! `tokio_util::codec::Framed` takes the same streams with the feature `tokio-io` (traits only, no
//! tokio runtime). Give a codec a limit on the length of a frame, as
//! `LengthDelimitedCodec::builder().max_frame_length(..)`: a stranger names that length.

mod buf_reader;
mod buf_writer;
#[cfg(any(feature = "tokio-io", all(feature = "hyper", feature = "tls")))]
mod by_futures;
mod copy;
mod duplex;
mod lines;
mod owned;

pub use buf_reader::{BufReader, LineTooLong};
pub use buf_writer::{BufWriter, QueueFull};
#[cfg(any(feature = "tokio-io", all(feature = "hyper", feature = "tls")))]
pub(crate) use by_futures::write_by_futures;
pub use copy::{copy, copy_bidirectional};
pub use duplex::{DuplexStream, duplex};
pub use lines::Lines;
pub use owned::WriteOwned;
