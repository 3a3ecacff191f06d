//! A buffer for `O_DIRECT`: its address, and usually its length, are multiples of a block.

use super::{IoBuf, IoBufMut};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Heap bytes at an aligned address, for files opened with `O_DIRECT`.
///
/// It has a fixed capacity, rounded up to the alignment, and a length, which a read sets.
///
/// ```
/// use corering::buf::AlignedBuf;
/// let mut block = AlignedBuf::new(5000);
/// assert_eq!(block.capacity(), 8192);
/// assert_eq!(block.as_ptr() as usize % AlignedBuf::ALIGN, 0);
/// block.resize(4096);
/// block.fill(7);
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    layout: Layout,
}

impl AlignedBuf {
    /// The alignment of [`new`](AlignedBuf::new), in bytes: enough for every common disk.
    pub const ALIGN: usize = 4096;

    /// An empty buffer with room for at least `capacity` bytes, aligned to [`Self::ALIGN`].
    ///
    /// # Panics
    /// If `capacity` exceeds what an allocation may hold.
    pub fn new(capacity: usize) -> AlignedBuf {
        AlignedBuf::with_align(capacity, Self::ALIGN)
    }

    /// An empty buffer with room for at least `capacity` bytes, aligned to `align`.
    ///
    /// # Panics
    /// If `align` is not a power of two, or `capacity` exceeds what an allocation may hold.
    pub fn with_align(capacity: usize, align: usize) -> AlignedBuf {
        assert!(
            align.is_power_of_two(),
            "the alignment {align} is not a power of two"
        );
        let layout = capacity
            .max(1)
            .checked_next_multiple_of(align)
            .and_then(|size| Layout::from_size_align(size, align).ok())
            .expect("an aligned buffer larger than the address space");
        // SAFETY: the layout's size is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else {
            handle_alloc_error(layout)
        };
        AlignedBuf {
            ptr,
            len: 0,
            layout,
        }
    }

    /// A buffer with the bytes of `bytes`; the capacity is rounded up to the alignment.
    pub fn from_slice(bytes: &[u8]) -> AlignedBuf {
        let mut buf = AlignedBuf::new(bytes.len());
        buf.len = bytes.len();
        buf.copy_from_slice(bytes);
        buf
    }

    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// Sets the length; bytes that were never written are zero.
    ///
    /// # Panics
    /// If `len` exceeds the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(
            len <= self.capacity(),
            "{len} bytes do not fit in {}",
            self.capacity()
        );
        self.len = len;
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from the allocator with this very layout.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}

// SAFETY: the buffer owns its memory alone, like a `Box<[u8]>`.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared references only read the bytes.
unsafe impl Sync for AlignedBuf {}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: all memory was zeroed at allocation, and `len` is within it.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and the buffer is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("align", &self.layout.align())
            .finish()
    }
}

// SAFETY: the bytes live on the heap and do not move with the handle.
unsafe impl IoBuf for AlignedBuf {
    fn as_init(&self) -> &[u8] {
        self
    }
}

// SAFETY: the allocation begins with the initialised bytes and does not move with the handle.
unsafe impl IoBufMut for AlignedBuf {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (ptr, capacity) = (self.ptr.as_ptr(), self.capacity());
        // SAFETY: the buffer owns `capacity` bytes at `ptr` and is borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(ptr.cast(), capacity) }
    }

    unsafe fn set_len(&mut self, len: usize) {
        self.len = len;
    }
}
