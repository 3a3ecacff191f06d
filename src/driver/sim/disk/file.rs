//! A file's content, in the page cache and on the disk, and what a power loss leaves of it.
//!
//! ```text
//!   write, set_len, .. ──► cached            what everybody reads
//!                      └─► unsynced ──sync──► durable
//!                              │ failed sync: forgotten, `cached` keeps it
//!                              │ power loss: some of it
//!                              ▼
//!                          durable, and `cached` is read from it anew
//! ```
//! What a power loss leaves:
//! 1. Length, holes and reserved blocks are the file's metadata, of which the disk has one
//!    version: the one after a prefix of the unsynced changes.
//! 2. Data is kept in sectors of 512 bytes, each on its own. A sector has the bytes that it had at
//!    some time since the last sync: where a write was kept in a sector, the earlier ones were too,
//!    because the page that went to the disk had them. Sectors know nothing of each other, so a
//!    later write may be there without an earlier one, and a write in parts.
//! 3. Where the length of (1) covers a write whose data was lost, there is what was there before:
//!    zeros behind the old end. A write whose length was lost does not make the file grow: what
//!    lies behind the end is gone.

use super::content::{Change, Content};
use crate::driver::sim::rng::Rng;
use std::collections::BTreeMap;

/// What a disk writes as one.
pub(super) const SECTOR: u64 = 512;

#[derive(Debug, Default)]
pub(super) struct FileData {
    cached: Content,
    durable: Content,
    /// What `durable` does not have, in order.
    unsynced: Vec<Change>,
}

impl FileData {
    /// What is read.
    pub(super) fn cached(&self) -> &Content {
        &self.cached
    }

    pub(super) fn change(&mut self, change: Change) {
        self.cached.apply(&change);
        self.unsynced.push(change);
    }

    pub(super) fn make_durable(&mut self) {
        for change in self.unsynced.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// A sync failed: what was to be written counts as written, and is not.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    /// Nobody can read it any more, but a power loss may bring it back.
    pub(super) fn drop_cache(&mut self) {
        self.cached = Content::default();
    }

    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        if !changes.is_empty() {
            let fate = Fate::draw(&changes, rng);
            self.apply_fate(&changes, &fate);
        }
        self.cached = self.durable.clone();
    }

    fn apply_fate(&mut self, changes: &[Change], fate: &Fate) {
        for (index, change) in changes.iter().enumerate() {
            let has_metadata = index < fate.metadata;
            match change {
                Change::Write { at, data } => {
                    if has_metadata {
                        self.durable.grow(at + data.len() as u64);
                    }
                    for (sector, at, piece) in sectors(*at, data) {
                        if fate
                            .last_kept
                            .get(&sector)
                            .is_some_and(|last| index <= *last)
                        {
                            self.write_below_end(at, piece);
                        }
                    }
                }
                metadata if has_metadata => self.durable.apply(metadata),
                _ => {}
            }
        }
    }

    fn write_below_end(&mut self, at: u64, data: &[u8]) {
        let room = self.durable.len().saturating_sub(at);
        let len = room.min(data.len() as u64) as usize;
        if len > 0 {
            self.durable.write(at, &data[..len]);
        }
    }
}

/// What was drawn for the unsynced changes of one file.
struct Fate {
    /// How many changes count for the metadata.
    metadata: usize,
    /// The last change whose bytes a sector has, by the sector's number.
    last_kept: BTreeMap<u64, usize>,
}

impl Fate {
    /// Any legal fate may be drawn. Nothing, everything and a prefix have a share of their own,
    /// since of many changes a free choice would hardly ever draw them.
    fn draw(changes: &[Change], rng: &mut Rng) -> Fate {
        let count = changes.len();
        let cut = rng.index(count + 1);
        let (style, metadata) = match rng.below(4) {
            0 => (Style::Prefix(0), 0),
            1 => (Style::Prefix(count), count),
            // The length of the write in the middle of which the power went away: there or not.
            2 => (Style::Prefix(cut), (cut + rng.index(2)).min(count)),
            _ => (Style::Free, if rng.chance(0.5) { count } else { cut }),
        };
        let mut last_kept = BTreeMap::new();
        for (index, change) in changes.iter().enumerate() {
            let Change::Write { at, data } = change else {
                continue;
            };
            // Of each sector: never, always, or as a coin says.
            let keep = match style {
                Style::Prefix(end) if index < end => 1.0,
                Style::Prefix(end) if index > end || metadata == 0 => 0.0,
                Style::Prefix(_) => 0.5,
                Style::Free => [0.0, 0.5, 1.0][rng.index(3)],
            };
            for (sector, _, _) in sectors(*at, data) {
                if rng.chance(keep) {
                    last_kept.insert(sector, index);
                }
            }
        }
        Fate {
            metadata,
            last_kept,
        }
    }
}

#[derive(Clone, Copy)]
enum Style {
    /// The changes before this one, and perhaps a part of it.
    Prefix(usize),
    Free,
}

/// The pieces of a write, with the number of the sector in which each lies and its offset.
fn sectors(at: u64, data: &[u8]) -> impl Iterator<Item = (u64, u64, &[u8])> {
    let end = at + data.len() as u64;
    let first = at / SECTOR;
    (first..end.div_ceil(SECTOR)).map(move |sector| {
        let from = at.max(sector * SECTOR);
        let to = end.min((sector + 1) * SECTOR);
        (
            sector,
            from,
            &data[(from - at) as usize..(to - at) as usize],
        )
    })
}
