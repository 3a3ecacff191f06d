//! Stand-ins: bytes in the place of a part of an open file, for code that only hands them on.
//!
//! What lies between a file and a socket (hyper, for one) takes bytes in memory, though the kernel
//! could send them from its own, with `sendfile(2)`. A [`StandIn`] is memory that may be read, but
//! is not what the file says: its *address* tells whose place it takes. So a piece of it, cut from
//! wherever, is enough to find the file and the offset again.
//!
//! ```text
//!   make(file, at, len) ──► StandIn ──other code hands it on, whole or in pieces──► find(piece)
//!                              │ dropped                                        file, offset
//!                              └─► the file is let go, the slot is free
//! ```
//! Rules:
//! 1. Each has a slot of the thread's region, which is only reserved addresses: whoever reads them
//!    reads zero pages, and at the beginning a text that says what this is, for whoever gets it by
//!    mistake. Nothing writes to a slot that has ever been given out.
//! 2. A piece is found on the thread that has made it. To all others it is memory.
//! 3. One that is dropped on another thread leaves its number; the slot is cleared when the next
//!    one is made at home.
//! 4. The region lives as long as any of its stand-ins.

use super::fd::Fd;
use super::sys;
use crate::threads::{Mutex, MutexGuard};
use std::cell::RefCell;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};

/// The most bytes that one stands for.
pub(crate) const STAND_IN_BYTES_MAX: usize = 1024 * 1024;
/// Stand-ins of a thread at the same time: what is sent to that many slow readers.
const SLOTS_MAX: usize = 1024;
/// Addresses, not memory: 1 GiB.
const REGION_BYTES: usize = SLOTS_MAX * STAND_IN_BYTES_MAX;

/// What stands at the beginning of a slot.
const TEXT: &[u8] = b"corering: this is not the file. It stands for a part of it, and was to be \
    replaced by the connection that sends it, but something else has read it: see \
    corering::http::ServeDir::sendfile.\n";

thread_local! {
    static REGION: RefCell<Region> = const { RefCell::new(Region::Unused) };
}

/// A part of a file, from an offset on.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub(crate) file: Fd,
    pub(crate) at: u64,
}

/// Bytes that stand for a part of a file.
#[derive(Debug)]
pub(crate) struct StandIn {
    memory: Arc<Memory>,
    slot: u16,
    len: usize,
}

/// One for `len` bytes of the file from `at` on; `None` where there is no slot for it, or where
/// this machine was found not to send files ([`give_up`]).
///
/// # Panics
/// If `len` is 0 or more than [`STAND_IN_BYTES_MAX`].
pub(crate) fn make(file: &Fd, at: u64, len: usize) -> Option<StandIn> {
    assert!((1..=STAND_IN_BYTES_MAX).contains(&len), "{len} bytes");
    let file = file.clone();
    let (made, late) = REGION.with_borrow_mut(|region| {
        if matches!(region, Region::Unused) {
            *region = Table::new().map_or(Region::Refused, Region::Here);
        }
        let Region::Here(table) = region else {
            return (None, Vec::new());
        };
        let late = table.take_returned();
        (table.add(FilePart { file, at }, len), late)
    });
    // Closes files, outside of the borrow.
    drop(late);
    made
}

/// What a piece stands for, which is as long as the piece; `None` if it is only what it says.
pub(crate) fn find(piece: &[u8]) -> Option<FilePart> {
    REGION.with_borrow(|region| match region {
        Region::Here(table) => table.find(piece),
        _ => None,
    })
}

/// No more of them are made on this thread: its system calls do not send files. Those that there
/// are stay what they are.
pub(crate) fn give_up() {
    REGION.with_borrow_mut(|region| {
        if let Region::Here(table) = region {
            table.refused = true;
        }
    });
}

/// A thread's stand-ins.
enum Region {
    Unused,
    Here(Table),
    /// There are no addresses for it: a limit on them, perhaps.
    Refused,
}

struct Table {
    memory: Arc<Memory>,
    /// Of each slot that was ever used.
    parts: Vec<Option<FilePart>>,
    /// Slots that were used and are free: the last one first.
    free: Vec<u16>,
    refused: bool,
}

impl Table {
    fn new() -> Option<Table> {
        let memory = Memory {
            begin: sys::reserve(REGION_BYTES).ok()?,
            returned: Mutex::new(Vec::new()),
        };
        Some(Table {
            memory: Arc::new(memory),
            parts: Vec::new(),
            free: Vec::new(),
            refused: false,
        })
    }

    fn add(&mut self, part: FilePart, len: usize) -> Option<StandIn> {
        if self.refused {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.new_slot()?,
        };
        self.parts[usize::from(slot)] = Some(part);
        Some(StandIn {
            memory: self.memory.clone(),
            slot,
            len,
        })
    }

    /// A slot that was never used.
    fn new_slot(&mut self) -> Option<u16> {
        let slot = self.parts.len();
        if slot == SLOTS_MAX || self.memory.label(slot).is_err() {
            return None;
        }
        self.parts.push(None);
        Some(slot as u16)
    }

    fn find(&self, piece: &[u8]) -> Option<FilePart> {
        let begin = self.memory.begin.as_ptr() as usize;
        let offset = (piece.as_ptr() as usize).checked_sub(begin)?;
        let part = self.parts.get(offset / STAND_IN_BYTES_MAX)?.as_ref()?;
        Some(FilePart {
            file: part.file.clone(),
            at: part.at + (offset % STAND_IN_BYTES_MAX) as u64,
        })
    }

    /// The slot is free; what it stood for.
    fn clear(&mut self, slot: u16) -> Option<FilePart> {
        self.free.push(slot);
        self.parts[usize::from(slot)].take()
    }

    /// Clears what was dropped elsewhere.
    fn take_returned(&mut self) -> Vec<Option<FilePart>> {
        let returned = std::mem::take(&mut *self.memory.returned());
        returned.into_iter().map(|slot| self.clear(slot)).collect()
    }
}

/// The addresses of a region, which other threads may read.
#[derive(Debug)]
struct Memory {
    begin: NonNull<u8>,
    /// Slots whose stand-in was dropped on another thread.
    returned: Mutex<Vec<u16>>,
}

// SAFETY: the mapping is this value's, and is only read once it can be reached (`label`).
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Where a slot begins.
    fn slot(&self, slot: usize) -> NonNull<u8> {
        debug_assert!(slot < SLOTS_MAX);
        // SAFETY: the region has this many slots.
        unsafe { self.begin.add(slot * STAND_IN_BYTES_MAX) }
    }

    /// Writes the text to a slot that was never given out.
    fn label(&self, slot: usize) -> io::Result<()> {
        let begin = self.slot(slot);
        sys::make_writable(begin, TEXT.len())?;
        // SAFETY: just made writable, and nobody has a reference into a slot before its first use.
        unsafe { begin.copy_from_nonoverlapping(NonNull::from(TEXT).cast(), TEXT.len()) };
        Ok(())
    }

    fn returned(&self) -> MutexGuard<'_, Vec<u16>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no stand-in, each of which holds it, is left.
        unsafe { sys::unmap(self.begin, REGION_BYTES) };
    }
}

impl AsRef<[u8]> for StandIn {
    fn as_ref(&self) -> &[u8] {
        let begin = self.memory.slot(usize::from(self.slot));
        // SAFETY: a slot is mapped, readable and at least `len` bytes long while `memory` lives,
        // and is not written any more since it was given out.
        unsafe { std::slice::from_raw_parts(begin.as_ptr(), self.len) }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // A thread that ends may have no thread-locals any more, and is nobody's home then.
        let part = REGION.try_with(|region| match &mut *region.borrow_mut() {
            Region::Here(table) if Arc::ptr_eq(&table.memory, &self.memory) => {
                Ok(table.clear(self.slot))
            }
            _ => Err(()),
        });
        match part {
            // Closes the file if it was the last that has it: outside of the borrow.
            Ok(Ok(part)) => drop(part),
            _ => self.memory.returned().push(self.slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(test: impl FnOnce(Fd)) {
        crate::block_on(async {
            let driver = super::super::Driver::current();
            test(Fd::new(sys::eventfd().unwrap(), &driver));
        });
    }

    #[test]
    fn a_piece_tells_its_file_and_offset() {
        with_file(|file| {
            let first = make(&file, 7_000, 50_000).unwrap();
            let second = make(&file, 1 << 40, STAND_IN_BYTES_MAX).unwrap();
            let bytes = first.as_ref();
            assert_eq!(bytes.len(), 50_000);
            assert!(bytes.starts_with(b"corering: this is not the file"));
            assert!(bytes[TEXT.len()..].iter().all(|byte| *byte == 0));
            let at = |piece: &[u8]| find(piece).map(|part| part.at);
            assert_eq!(at(bytes), Some(7_000));
            assert_eq!(at(&bytes[49_999..]), Some(56_999));
            assert_eq!(at(second.as_ref()), Some(1 << 40));
            let last = &second.as_ref()[STAND_IN_BYTES_MAX - 1..];
            assert_eq!(at(last), Some((1 << 40) + (1 << 20) - 1));
            assert!(find(bytes).unwrap().file.same(&file));
            assert_eq!(at(b"other memory"), None);
        });
    }

    #[test]
    fn a_slot_is_used_again_and_its_file_let_go() {
        with_file(|file| {
            let first = make(&file, 0, 1).unwrap();
            let place = first.as_ref().as_ptr();
            drop(first);
            let second = make(&file, 1, 1).unwrap();
            assert_eq!(second.as_ref().as_ptr(), place);
            drop(second);
            let alone = file.try_unwrap().expect("no slot has it any more");
            drop(alone.into_owned());
        });
        with_file(|file| {
            let all: Vec<_> = std::iter::from_fn(|| make(&file, 0, 1)).collect();
            assert_eq!(all.len(), SLOTS_MAX);
            drop(all);
            assert!(make(&file, 0, 1).is_some());
        });
    }

    #[test]
    fn what_is_dropped_elsewhere_comes_home() {
        with_file(|file| {
            let away = make(&file, 5, 10).unwrap();
            let place = away.as_ref().as_ptr() as usize;
            std::thread::spawn(move || {
                assert!(find(away.as_ref()).is_none(), "known at home only");
                assert!(away.as_ref().starts_with(b"corering: "));
            })
            .join()
            .unwrap();
            let next = make(&file, 6, 10).unwrap();
            assert_eq!(next.as_ref().as_ptr() as usize, place);
        });
    }

    #[test]
    fn memory_outlives_its_thread() {
        let away = std::thread::spawn(|| {
            let mut away = None;
            with_file(|file| away = make(&file, 0, 100_000));
            away.unwrap()
        });
        let away = away.join().unwrap();
        assert!(find(away.as_ref()).is_none());
        assert_eq!(away.as_ref()[99_999], 0);
    }

    #[test]
    fn a_machine_that_sends_no_files_gets_no_more() {
        std::thread::spawn(|| {
            with_file(|file| {
                let before = make(&file, 3, 1).unwrap();
                give_up();
                assert!(make(&file, 4, 1).is_none());
                assert_eq!(find(before.as_ref()).unwrap().at, 3);
            });
        })
        .join()
        .unwrap();
    }
}
