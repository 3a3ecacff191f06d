//! Memory that may be lent to the kernel: who may be a buffer, slices of buffers, and results.
//!
//! A completion-based operation keeps working on its memory after the future that started it is
//! gone, so a buffer is *given* to the operation and comes back with the result ([`BufResult`]).
//! Rules:
//! 1. A buffer's bytes stay where they are when the buffer itself moves ([`IoBuf`]'s contract):
//!    an operation that is dropped in flight moves into the runtime's table with its buffer.
//! 2. A read fills a buffer from its first byte and then sets its length to what was read, so
//!    no stale byte is ever visible. To append, or to fill a part, pass a [`Slice`].
//! 3. An operation moves at most [`LEN_MAX`] bytes; longer buffers see a short count.

mod aligned;
mod impls;
mod slice;

use std::io;
use std::mem::MaybeUninit;

pub use aligned::AlignedBuf;
pub use slice::Slice;

/// The most bytes that one operation moves, in bytes: the kernel's own limit for one transfer.
pub const LEN_MAX: usize = 0x7fff_f000;

/// What an operation that borrowed a buffer returns: its result, and the buffer again.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// let (result, buf) = stream.read_owned(Vec::with_capacity(4096)).await;
/// let n = result?;
/// assert_eq!(buf.len(), n);
/// # Ok(()) }
/// ```
pub type BufResult<T, B> = (io::Result<T>, B);

/// A buffer whose initialised bytes the kernel may read.
///
/// Implemented for `Vec<u8>`, `Box<[u8]>`, `&'static [u8]`, `&'static str`, `String`,
/// [`Slice`], [`AlignedBuf`], `RecvBuf`, and with the feature `bytes` for `Bytes` and `BytesMut`.
///
/// # Safety
/// The bytes that [`as_init`](IoBuf::as_init) returns must stay valid, unmoved and unchanged for
/// as long as the value exists and is not borrowed mutably, even when the value itself is moved
/// to another place in memory. (A `Vec` keeps this; an array `[u8; N]` does not: box it.)
pub unsafe trait IoBuf: Unpin + 'static {
    /// The initialised bytes.
    fn as_init(&self) -> &[u8];

    /// How many bytes are initialised.
    fn buf_len(&self) -> usize {
        self.as_init().len()
    }

    /// A part of this buffer, as a buffer of its own. Of a buffer that can grow, the part may
    /// reach into its spare capacity: `buf.slice(buf.len()..)` on a `Vec` reads behind its end.
    ///
    /// # Panics
    /// If the range is reversed; where a bound lies outside the buffer the use of it is empty.
    fn slice(self, range: impl std::ops::RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// A buffer that the kernel may fill.
///
/// # Safety
/// As [`IoBuf`], for the whole memory that [`as_uninit`](IoBufMut::as_uninit) returns; and that
/// memory begins with the initialised bytes.
pub unsafe trait IoBufMut: IoBuf {
    /// All the memory, initialised or not, from the first byte to the capacity.
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>];

    /// Says that the first `len` bytes now hold what was read. A growable buffer takes `len` as
    /// its length; a buffer of fixed size ignores the call.
    ///
    /// # Safety
    /// The first `len` bytes have been initialised, and `len` is within the capacity.
    unsafe fn set_len(&mut self, len: usize);

    /// How many bytes fit in all.
    fn buf_capacity(&mut self) -> usize {
        self.as_uninit().len()
    }
}

/// Copies `bytes` into the start of `buf` and sets its length; how many fitted.
pub(crate) fn fill<B: IoBufMut>(buf: &mut B, bytes: &[u8]) -> usize {
    let room = buf.as_uninit();
    let n = room.len().min(bytes.len());
    for (to, from) in room.iter_mut().zip(bytes) {
        to.write(*from);
    }
    // SAFETY: the loop above initialised the first `n` bytes, and `n` is at most the room.
    unsafe { buf.set_len(n) };
    n
}
