//! Which types of the standard library (and of `bytes`) are buffers.

use super::{IoBuf, IoBufMut};
use std::mem::MaybeUninit;

// SAFETY: a vector's bytes live on the heap and do not move with the vector.
unsafe impl IoBuf for Vec<u8> {
    fn as_init(&self) -> &[u8] {
        self
    }
}

// SAFETY: the allocation begins with the initialised bytes and does not move with the vector.
unsafe impl IoBufMut for Vec<u8> {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (ptr, capacity) = (self.as_mut_ptr(), self.capacity());
        // SAFETY: the vector owns `capacity` bytes at `ptr` and is borrowed for as long.
        unsafe { std::slice::from_raw_parts_mut(ptr.cast(), capacity) }
    }

    unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: the caller initialised `len` bytes within the capacity.
        unsafe { Vec::set_len(self, len) }
    }
}

// SAFETY: a box's bytes live on the heap and do not move with the box.
unsafe impl IoBuf for Box<[u8]> {
    fn as_init(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above; all bytes are initialised, and the size is fixed.
unsafe impl IoBufMut for Box<[u8]> {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        as_maybe_uninit(self)
    }

    unsafe fn set_len(&mut self, _len: usize) {}
}

// SAFETY: a box's bytes live on the heap and do not move with the box.
unsafe impl<const N: usize> IoBuf for Box<[u8; N]> {
    fn as_init(&self) -> &[u8] {
        &self[..]
    }
}

// SAFETY: as above; all bytes are initialised, and the size is fixed.
unsafe impl<const N: usize> IoBufMut for Box<[u8; N]> {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        as_maybe_uninit(&mut self[..])
    }

    unsafe fn set_len(&mut self, _len: usize) {}
}

// SAFETY: static bytes never move and never change.
unsafe impl IoBuf for &'static [u8] {
    fn as_init(&self) -> &[u8] {
        self
    }
}

// SAFETY: static bytes never move and never change.
unsafe impl<const N: usize> IoBuf for &'static [u8; N] {
    fn as_init(&self) -> &[u8] {
        &self[..]
    }
}

// SAFETY: static bytes never move and never change.
unsafe impl IoBuf for &'static str {
    fn as_init(&self) -> &[u8] {
        self.as_bytes()
    }
}

// SAFETY: a string's bytes live on the heap and do not move with the string.
unsafe impl IoBuf for String {
    fn as_init(&self) -> &[u8] {
        self.as_bytes()
    }
}

// SAFETY: the bytes live on the heap, and shared bytes cannot be borrowed mutably.
unsafe impl IoBuf for std::rc::Rc<[u8]> {
    fn as_init(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes live on the heap, and shared bytes cannot be borrowed mutably.
unsafe impl IoBuf for std::sync::Arc<[u8]> {
    fn as_init(&self) -> &[u8] {
        self
    }
}

/// Initialised bytes, seen as bytes that may be overwritten.
fn as_maybe_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let (ptr, len) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: same memory, same length, borrowed for as long; only initialised bytes are written.
    unsafe { std::slice::from_raw_parts_mut(ptr.cast(), len) }
}

#[cfg(feature = "bytes")]
mod with_bytes {
    use super::{IoBuf, IoBufMut};
    use std::mem::MaybeUninit;

    // SAFETY: the handle points at shared or static memory that does not move with it.
    unsafe impl IoBuf for bytes::Bytes {
        fn as_init(&self) -> &[u8] {
            self
        }
    }

    // SAFETY: the handle points at heap memory that does not move with it.
    unsafe impl IoBuf for bytes::BytesMut {
        fn as_init(&self) -> &[u8] {
            self
        }
    }

    // SAFETY: the handle owns `capacity` bytes that begin with the initialised ones.
    unsafe impl IoBufMut for bytes::BytesMut {
        fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
            let (ptr, capacity) = (self.as_mut_ptr(), self.capacity());
            // SAFETY: this handle owns `capacity` bytes at `ptr` and is borrowed for as long.
            unsafe { std::slice::from_raw_parts_mut(ptr.cast(), capacity) }
        }

        unsafe fn set_len(&mut self, len: usize) {
            // SAFETY: the caller initialised `len` bytes within the capacity.
            unsafe { bytes::BytesMut::set_len(self, len) }
        }
    }
}
