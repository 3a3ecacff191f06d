//! The memory of ended tasks, which a core keeps for its next ones.
//!
//! Tasks come and go in crowds, most of them of few sizes; the allocator's own fast lists hold a
//! handful of each. With these, spawn and join cost a third less.
//!
//! Rules
//! 1. A block in a list was allocated with its list's size and [`ALIGN`], and nothing points to it.
//! 2. The blocks kept are at most [`KEPT_BYTES_MAX`] together: what a crowd has left behind does
//!    not stay with the core for good.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// What tasks are aligned to, unless their future asks for more; those are not kept.
const ALIGN: usize = align_of::<usize>();
/// One list for each multiple of [`ALIGN`] up to this size.
const SIZE_MAX: usize = 512;
const LISTS: usize = SIZE_MAX / ALIGN + 1;
/// Two thousand small tasks. Under a sanitizer none: it watches blocks that were given back.
const KEPT_BYTES_MAX: usize = if cfg!(plain_blocks) { 0 } else { 256 << 10 };

/// The blocks that a core keeps, by size.
pub(super) struct Blocks {
    /// The newest block of each size; its first word is the next one, or null.
    lists: [Cell<*mut u8>; LISTS],
    kept_bytes: Cell<usize>,
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        Blocks {
            lists: [const { Cell::new(ptr::null_mut()) }; LISTS],
            kept_bytes: Cell::new(0),
        }
    }

    /// Memory for a task.
    #[inline]
    pub(super) fn take(&self, layout: Layout) -> NonNull<u8> {
        if let Some(block) = self.list(layout).and_then(pop) {
            self.kept_bytes.set(self.kept_bytes.get() - layout.size());
            return block;
        }
        allocate(layout)
    }

    /// Keeps a block for a later task, or gives it back to the allocator.
    ///
    /// # Safety
    /// The block was allocated with this layout, of a task, and is not used anymore.
    #[inline]
    pub(super) unsafe fn keep(&self, block: NonNull<u8>, layout: Layout) {
        let kept_bytes = self.kept_bytes.get() + layout.size();
        match self.list(layout) {
            Some(list) if kept_bytes <= KEPT_BYTES_MAX => {
                // SAFETY: the block is the caller's to give, aligned to a word and no smaller.
                unsafe { block.cast::<*mut u8>().write(list.get()) };
                list.set(block.as_ptr());
                self.kept_bytes.set(kept_bytes);
            }
            // SAFETY: the caller's promise, word for word.
            _ => unsafe { release(block, layout) },
        }
    }

    /// The list of the blocks with this layout, if such are kept.
    #[inline]
    fn list(&self, layout: Layout) -> Option<&Cell<*mut u8>> {
        if layout.align() != ALIGN {
            return None;
        }
        self.lists.get(layout.size() / ALIGN)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (words, list) in self.lists.iter().enumerate() {
            let layout = Layout::from_size_align(words * ALIGN, ALIGN)
                .expect("the sizes are multiples of a word, and small");
            while let Some(block) = pop(list) {
                // SAFETY: rule 1; the list does not have it anymore.
                unsafe { release(block, layout) };
            }
        }
    }
}

/// Takes the newest block out of a list.
#[inline]
fn pop(list: &Cell<*mut u8>) -> Option<NonNull<u8>> {
    let block = NonNull::new(list.get())?;
    // SAFETY: a block in a list is ours alone; `keep` has written its first word.
    list.set(unsafe { block.cast::<*mut u8>().read() });
    Some(block)
}

fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0, "a task has a header");
    // SAFETY: the size is not zero.
    let block = unsafe { alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a task's memory back to the allocator.
///
/// # Safety
/// As for [`Blocks::keep`].
pub(super) unsafe fn release(block: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's promise, word for word.
    unsafe { dealloc(block.as_ptr(), layout) };
}
