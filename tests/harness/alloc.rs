//! The global allocator of the tests: it counts, and on demand it keeps what was freed.
//!
//! Quarantine: a freed block is filled with a pattern and kept; when it leaves, and at the end,
//! the pattern must still be there. So a write after the free is found, also one of the kernel.
//! It is switched on per child process ([`super::Case::quarantine`]).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

const PATTERN: u8 = 0xd5;
/// Blocks that are kept, at most, and their bytes.
const BLOCKS_MAX: usize = 1 << 14;
const BYTES_MAX: usize = 64 << 20;
/// Larger blocks are not kept.
const BLOCK_LEN_MAX: usize = 4 << 20;

struct Watching;

#[cfg(not(feature = "sim"))]
#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// It also refuses to free what a simulated kernel has.
#[cfg(feature = "sim")]
#[global_allocator]
static ALLOCATOR: corering::sim::GuardAlloc<Watching> = corering::sim::GuardAlloc::over(Watching);

static QUARANTINE: AtomicBool = AtomicBool::new(false);
static KEPT: Locked = Locked {
    taken: AtomicBool::new(false),
    kept: std::cell::UnsafeCell::new(Kept {
        blocks: [(0, 0, 0); BLOCKS_MAX],
        first: 0,
        len: 0,
        bytes: 0,
    }),
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations that this thread has made.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Freed blocks are kept from now on, or no longer.
pub fn quarantine(on: bool) {
    QUARANTINE.store(on, Ordering::SeqCst);
}

/// Every kept block still has the pattern.
pub fn verify() {
    KEPT.with(|kept| {
        for at in 0..kept.len {
            check(kept.blocks[(kept.first + at) % BLOCKS_MAX]);
        }
    });
}

/// A ring of blocks: address, length, alignment.
struct Kept {
    blocks: [(usize, usize, usize); BLOCKS_MAX],
    first: usize,
    len: usize,
    bytes: usize,
}

struct Locked {
    taken: AtomicBool,
    kept: std::cell::UnsafeCell<Kept>,
}

// SAFETY: `with` lets one thread in at a time.
unsafe impl Sync for Locked {}

impl Locked {
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        while self.taken.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: the flag above is held by this thread alone, and `act` allocates nothing.
        let result = act(unsafe { &mut *self.kept.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}

fn check((address, len, _): (usize, usize, usize)) {
    // SAFETY: a kept block is not given to anybody until it leaves the ring.
    let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, len) };
    if bytes.iter().any(|&byte| byte != PATTERN) {
        let text = b"a freed block was written to\n";
        // SAFETY: writes a constant to the standard error; nothing here may allocate.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
        std::process::abort();
    }
}

// SAFETY: memory comes from the system's allocator and goes back to it once.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, word for word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if !QUARANTINE.load(Ordering::Relaxed) || layout.size() > BLOCK_LEN_MAX {
            // SAFETY: the caller's promise, word for word.
            return unsafe { System.dealloc(ptr, layout) };
        }
        // SAFETY: the block is the caller's until here and nobody's from here on.
        unsafe { ptr.write_bytes(PATTERN, layout.size()) };
        KEPT.with(|kept| {
            while kept.len == BLOCKS_MAX || (kept.len > 0 && kept.bytes + layout.size() > BYTES_MAX)
            {
                let block = kept.blocks[kept.first];
                check(block);
                kept.first = (kept.first + 1) % BLOCKS_MAX;
                kept.len -= 1;
                kept.bytes -= block.1;
                // SAFETY: the block came with this size and alignment.
                let layout = unsafe { Layout::from_size_align_unchecked(block.1, block.2) };
                // SAFETY: it has just left the ring, where it stood once.
                unsafe { System.dealloc(block.0 as *mut u8, layout) };
            }
            let last = (kept.first + kept.len) % BLOCKS_MAX;
            kept.blocks[last] = (ptr as usize, layout.size(), layout.align());
            kept.len += 1;
            kept.bytes += layout.size();
        });
    }

    // `realloc` is the default one: `alloc`, copy, `dealloc`, so that it is seen too.
}
