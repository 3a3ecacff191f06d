//! A part of a buffer, as a buffer.

use super::{IoBuf, IoBufMut};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Bound, RangeBounds};

/// A part of a buffer that is a buffer itself: made by [`IoBuf::slice`], undone by
/// [`into_inner`](Slice::into_inner).
///
/// ```
/// use corering::buf::IoBuf;
/// let part = vec![1, 2, 3, 4].slice(1..3);
/// assert_eq!(part.as_init(), [2, 3]);
/// assert_eq!(part.into_inner(), vec![1, 2, 3, 4]);
/// ```
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buf: B, range: impl RangeBounds<usize>) -> Slice<B> {
        let begin = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at.saturating_add(1),
            Bound::Excluded(&at) => at,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= end, "slice: the range {begin}..{end} is reversed");
        Slice { buf, begin, end }
    }

    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// The whole buffer, by reference.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// Where the part begins in the buffer, in bytes.
    pub fn begin(&self) -> usize {
        self.begin
    }
}

impl<B: IoBuf> fmt::Debug for Slice<B> {
    /// Lengths, not contents: what is in a buffer does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("begin", &self.begin)
            .field("len", &self.as_init().len())
            .finish_non_exhaustive()
    }
}

// SAFETY: the inner buffer's bytes keep the contract, and a part of them does too.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn as_init(&self) -> &[u8] {
        let all = self.buf.as_init();
        let end = self.end.min(all.len());
        &all[self.begin.min(end)..end]
    }
}

// SAFETY: as above; the part begins with its own initialised bytes, because the offset is at
// most the inner buffer's initialised length (`as_uninit` is empty otherwise).
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let initialised = self.buf.buf_len();
        let all = self.buf.as_uninit();
        let end = self.end.min(all.len());
        if self.begin > initialised {
            return &mut [];
        }
        &mut all[self.begin.min(end)..end]
    }

    unsafe fn set_len(&mut self, len: usize) {
        // A part in the middle of a longer buffer must not cut off what stands behind it.
        let len_new = (self.begin + len).max(self.buf.buf_len());
        // SAFETY: bytes up to `begin` were initialised before (see `as_uninit`), the next `len`
        // by the caller, and those below the old length always were.
        unsafe { self.buf.set_len(len_new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::fill;

    #[test]
    fn a_slice_behind_the_end_appends() {
        let mut buf = Vec::with_capacity(8);
        buf.extend_from_slice(b"ab");
        let mut part = buf.slice(2..);
        assert_eq!(part.as_init(), b"");
        assert!(part.buf_capacity() >= 6);
        assert_eq!(fill(&mut part, b"cd"), 2);
        assert_eq!(part.into_inner(), b"abcd");
    }

    #[test]
    fn a_slice_in_the_middle_keeps_the_rest() {
        let mut part = b"abcdef".to_vec().slice(1..=2);
        assert_eq!(fill(&mut part, b"XYZ"), 2);
        assert_eq!(part.as_init(), b"XY");
        assert_eq!(part.into_inner(), b"aXYdef");
    }

    #[test]
    fn out_of_bounds_is_empty_and_exposes_nothing() {
        let mut part = Vec::<u8>::with_capacity(16).slice(4..8);
        assert_eq!(part.as_init(), b"");
        assert_eq!(part.buf_capacity(), 0);
        assert_eq!(fill(&mut part, b"zz"), 0);
    }
}
