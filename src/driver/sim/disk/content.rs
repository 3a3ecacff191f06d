//! What a file contains: bytes with holes between them.
//!
//! Only blocks that were written take memory. A block may be occupied and still have no bytes
//! (preallocated, or zeroed as a whole): it reads as zeros, as a hole does, but takes space.

use super::BLOCK;
use super::ranges::Ranges;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

type Page = [u8; BLOCK as usize];

/// Length, occupied blocks and bytes of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    occupied: Ranges,
    /// The bytes of blocks, by the block's number. What stands behind `len` is zero.
    pages: BTreeMap<u64, Box<Page>>,
}

/// One change of a file's content.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes at an offset; the file grows if they end behind its end.
    Write {
        at: u64,
        data: Rc<[u8]>,
    },
    SetLen(u64),
    /// Zeros; whole blocks are given back.
    Punch(Range<u64>),
    /// Zeros; the blocks stay, or are taken.
    Zero(Range<u64>),
    /// The blocks are taken, and what they read as stays.
    Reserve(Range<u64>),
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many blocks the file occupies.
    pub(super) fn blocks(&self) -> u64 {
        self.occupied.count()
    }

    /// At most `len` bytes, fewer at the end of the file.
    pub(super) fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let len = self.len.saturating_sub(at).min(len as u64);
        let mut bytes = vec![0; len as usize];
        for (block, page) in self.pages.range(blocks_touched(&(at..at + len))) {
            let start = block * BLOCK;
            let common = at.max(start)..(at + len).min(start + BLOCK);
            bytes[within(&common, at)].copy_from_slice(&page[within(&common, start)]);
        }
        bytes
    }

    /// How many of `len` bytes at this offset can be written with this many free blocks.
    pub(super) fn fitting(&self, at: u64, len: u64, free: u64) -> u64 {
        let mut free = free;
        for gap in self.occupied.gaps(blocks_touched(&(at..at + len))) {
            let wanted = gap.end - gap.start;
            if wanted > free {
                return ((gap.start + free) * BLOCK).saturating_sub(at);
            }
            free -= wanted;
        }
        len
    }

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { at, data } => self.write(*at, data),
            Change::SetLen(len) => self.set_len(*len),
            Change::Punch(range) => {
                self.zero(range.clone());
                let inner = range.start.div_ceil(BLOCK)..range.end / BLOCK;
                self.occupied.remove(inner);
            }
            Change::Zero(range) => {
                self.zero(range.clone());
                self.occupied.insert(blocks_touched(range));
            }
            Change::Reserve(range) => self.occupied.insert(blocks_touched(range)),
        }
    }

    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        let end = at + data.len() as u64;
        for block in blocks_touched(&(at..end)) {
            let start = block * BLOCK;
            let common = at.max(start)..end.min(start + BLOCK);
            let page = self
                .pages
                .entry(block)
                .or_insert_with(|| Box::new([0; BLOCK as usize]));
            page[within(&common, start)].copy_from_slice(&data[within(&common, at)]);
        }
        self.occupied.insert(blocks_touched(&(at..end)));
        self.grow(end);
    }

    /// Makes the file this long, if it is shorter.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// The first offset from here on that has bytes of its own, or that has none.
    pub(super) fn find(&self, from: u64, data: bool) -> Option<u64> {
        if from >= self.len {
            return None;
        }
        let mut block = from / BLOCK;
        if data {
            block = *self.pages.range(block..).next()?.0;
        } else {
            while self.pages.contains_key(&block) {
                block += 1;
            }
        }
        let found = from.max(block * BLOCK);
        match data {
            true => (found < self.len).then_some(found),
            // The end of the file counts as a hole.
            false => Some(found.min(self.len)),
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len..self.len);
        }
        self.occupied.remove(len.div_ceil(BLOCK)..u64::MAX);
        self.len = len;
    }

    fn zero(&mut self, range: Range<u64>) {
        let touched: Vec<u64> = self
            .pages
            .range(blocks_touched(&range))
            .map(|(block, _)| *block)
            .collect();
        for block in touched {
            let start = block * BLOCK;
            let common = range.start.max(start)..range.end.min(start + BLOCK);
            if common.end - common.start == BLOCK {
                self.pages.remove(&block);
            } else if let Some(page) = self.pages.get_mut(&block) {
                page[within(&common, start)].fill(0);
            }
        }
    }
}

/// The numbers of the blocks in which these bytes lie.
fn blocks_touched(range: &Range<u64>) -> Range<u64> {
    match range.is_empty() {
        true => 0..0,
        false => range.start / BLOCK..range.end.div_ceil(BLOCK),
    }
}

/// These bytes as indices into something that begins at `start`.
fn within(bytes: &Range<u64>, start: u64) -> Range<usize> {
    (bytes.start - start) as usize..(bytes.end - start) as usize
}
