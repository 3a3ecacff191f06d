//! What the simulated kernel was lent, for an allocator that refuses to free it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

/// A range of the program's memory that an operation in flight borrows.
#[derive(Clone, Copy)]
struct Lent {
    begin: u64,
    end: u64,
    name: &'static str,
}

thread_local! {
    static LENT: RefCell<Vec<Lent>> = const { RefCell::new(Vec::new()) };
    static OFF: Cell<bool> = const { Cell::new(false) };
}

/// Notes what an operation borrows.
pub(super) fn lend(ranges: &[(u64, usize)], name: &'static str) {
    LENT.with_borrow_mut(|lent| {
        lent.extend(ranges.iter().filter(|range| range.1 > 0).map(|range| Lent {
            begin: range.0,
            end: range.0 + range.1 as u64,
            name,
        }));
    });
}

/// Notes that an operation has given back what it borrowed.
pub(super) fn give_back(ranges: &[(u64, usize)]) {
    LENT.with_borrow_mut(|lent| {
        for &(begin, len) in ranges.iter().filter(|range| range.1 > 0) {
            let same = |lent: &Lent| lent.begin == begin && lent.end == begin + len as u64;
            if let Some(at) = lent.iter().position(same) {
                lent.swap_remove(at);
            }
        }
    });
}

/// An allocator for tests that finds memory which is freed while a simulated kernel may still
/// write to it: the process is aborted with the name of the operation.
///
/// ```no_run
/// #[global_allocator]
/// static ALLOCATOR: corering::sim::GuardAlloc = corering::sim::GuardAlloc::new();
/// # fn main() {}
/// ```
#[derive(Debug, Default)]
pub struct GuardAlloc<A = System>(A);

impl GuardAlloc {
    /// The allocator; it hands everything to the system's.
    pub const fn new() -> GuardAlloc {
        GuardAlloc(System)
    }
}

impl<A> GuardAlloc<A> {
    /// The same in front of another allocator, for a test that has one of its own.
    pub const fn over(allocator: A) -> GuardAlloc<A> {
        GuardAlloc(allocator)
    }
}

fn check(ptr: *mut u8, layout: Layout) {
    let (begin, end) = (ptr as u64, ptr as u64 + layout.size() as u64);
    let hit = LENT.try_with(|lent| {
        let lent = lent.try_borrow().ok()?;
        let overlaps = |lent: &&Lent| lent.begin < end && begin < lent.end;
        lent.iter().find(overlaps).map(|lent| lent.name)
    });
    if let Ok(Some(name)) = hit {
        if !OFF.replace(true) {
            eprintln!(
                "{} bytes were freed while the kernel has them for {name}",
                layout.size()
            );
            std::process::abort();
        }
    }
}

// SAFETY: every call goes to the other allocator unchanged; the check only reads.
unsafe impl<A: GlobalAlloc> GlobalAlloc for GuardAlloc<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        check(ptr, layout);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        check(ptr, layout);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }
}
