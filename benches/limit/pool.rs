//! The memory that the kernel receives into: one provided-buffer ring, filled incrementally.
//!
//! A buffer is lent to the kernel, cut into pieces by receives, and lent again once the kernel has
//! finished it and every piece has been sent:
//!
//! ```text
//! put --> lent --take--> cut into pieces --last take (no MORE)--> finished
//!          ^                                                          | give_back of the last
//!          +----------------------------------------------------------+ piece
//! ```

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The buffer group of the one ring.
pub(crate) const GROUP: u16 = 0;

/// All buffers together.
const MEMORY_BYTES: usize = 8 << 20;
/// One buffer that is filled bit by bit, and one that a single receive takes whole.
const BUFFER_BYTES_INCREMENTAL: u32 = 128 << 10;
const BUFFER_BYTES_PLAIN: u32 = 16 << 10;
/// `IOU_PBUF_RING_INC`.
const INCREMENTAL: u16 = 2;

/// Received bytes, still where the kernel put them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) buffer: u16,
    pub(crate) start: u32,
    pub(crate) len: u32,
}

pub(crate) struct Pool {
    memory: Map,
    ring: Map,
    buffers: Vec<Buffer>,
    buffer_bytes: u32,
    /// How many buffers were ever lent; what the kernel sees after [`Pool::publish`].
    tail: u16,
    /// Buffers that the kernel has not finished.
    available: usize,
}

#[derive(Clone, Copy, Default)]
struct Buffer {
    /// How far the kernel has filled it.
    used: u32,
    /// Pieces that are not sent yet.
    pieces: u32,
    /// The kernel will not write to it again.
    finished: bool,
}

impl Pool {
    /// The memory alone. It must outlive the ring that [`Pool::register`] is given.
    pub(crate) fn new() -> io::Result<Self> {
        let entries_max = MEMORY_BYTES / BUFFER_BYTES_PLAIN as usize;
        Ok(Self {
            memory: Map::new(MEMORY_BYTES)?,
            ring: Map::new(entries_max * size_of::<BufRingEntry>())?,
            buffers: Vec::new(),
            buffer_bytes: 0,
            tail: 0,
            available: 0,
        })
    }

    /// Lends all buffers: incremental ones, or plain ones where the kernel refuses those.
    pub(crate) fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        self.buffer_bytes = BUFFER_BYTES_INCREMENTAL;
        if let Err(error) = self.register_as(submitter, INCREMENTAL) {
            if error.raw_os_error() != Some(libc::EINVAL) {
                return Err(error);
            }
            self.buffer_bytes = BUFFER_BYTES_PLAIN;
            self.register_as(submitter, 0)?;
        }
        self.buffers = vec![Buffer::default(); self.count()];
        for buffer in 0..self.count() {
            self.put(buffer as u16);
        }
        self.publish();
        Ok(())
    }

    fn register_as(&self, submitter: &Submitter<'_>, flags: u16) -> io::Result<()> {
        let (address, count) = (self.ring.start as u64, self.count() as u16);
        // SAFETY: the mapping is page-aligned, has room for `count` entries, and outlives the
        // kernel's ring, as the caller of `new` promises.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, flags) }
    }

    fn count(&self) -> usize {
        MEMORY_BYTES / self.buffer_bytes as usize
    }

    /// The bytes of a completed receive. `more`: the kernel goes on filling this buffer.
    pub(crate) fn take(&mut self, buffer: u16, len: u32, more: bool) -> Piece {
        let state = &mut self.buffers[usize::from(buffer)];
        let piece = Piece {
            buffer,
            start: state.used,
            len,
        };
        state.used += len;
        state.pieces += 1;
        if !more {
            state.finished = true;
            self.available -= 1;
        }
        piece
    }

    /// A piece of this buffer is done with; the last one lends the buffer again.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        let state = &mut self.buffers[usize::from(buffer)];
        state.pieces -= 1;
        if state.pieces == 0 && state.finished {
            *state = Buffer::default();
            self.put(buffer);
        }
    }

    /// Shows the kernel all buffers that were put since the last call.
    pub(crate) fn publish(&mut self) {
        let first = self.ring.start.cast::<BufRingEntry>();
        // SAFETY: `first` is the first entry of the registered ring.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: the tail is two aligned bytes of our mapping, which the kernel only reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// How many buffers the kernel can receive into.
    pub(crate) fn available(&self) -> usize {
        self.available
    }

    /// Where the piece lies.
    pub(crate) fn address(&self, piece: Piece) -> *const u8 {
        self.buffer_start(piece.buffer)
            .wrapping_add(piece.start as usize)
    }

    fn buffer_start(&self, buffer: u16) -> *mut u8 {
        self.memory
            .start
            .wrapping_add(usize::from(buffer) * self.buffer_bytes as usize)
    }

    fn put(&mut self, buffer: u16) {
        let slot = usize::from(self.tail) % self.count();
        let address = self.buffer_start(buffer) as u64;
        let entry = self.ring.start.cast::<BufRingEntry>().wrapping_add(slot);
        // SAFETY: `slot` is below the number of entries, and the kernel reads an entry only after
        // `publish` has moved the tail past it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.available += 1;
    }
}

/// Anonymous memory of our own, present from the start.
struct Map {
    start: *mut u8,
    len: usize,
}

impl Map {
    fn new(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new anonymous mapping touches no existing memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: start.cast(),
            len,
        })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: this is the whole of a mapping that `new` made and nobody else unmaps.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
