//! A set of numbers, kept as ranges: the blocks that a file occupies.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// The end of each range, by its start.
    ends: BTreeMap<u64, u64>,
    /// How many numbers are in all of them.
    count: u64,
}

impl Ranges {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Neighbours that touch are joined as well.
        for (old_start, old_end) in self.meeting(start.saturating_sub(1)..end.saturating_add(1)) {
            self.ends.remove(&old_start);
            self.count -= old_end - old_start;
            start = start.min(old_start);
            end = end.max(old_end);
        }
        self.ends.insert(start, end);
        self.count += end - start;
    }

    pub(super) fn remove(&mut self, range: Range<u64>) {
        for (start, end) in self.meeting(range.clone()) {
            self.ends.remove(&start);
            self.count -= end - start;
            for rest in [start..range.start, range.end..end] {
                if !rest.is_empty() {
                    self.ends.insert(rest.start, rest.end);
                    self.count += rest.end - rest.start;
                }
            }
        }
    }

    /// The parts of `range` that are not in the set, in order.
    pub(super) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        for (start, end) in self.meeting(range.clone()) {
            if at < start {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// The ranges that have something in common with this one.
    fn meeting(&self, range: Range<u64>) -> Vec<(u64, u64)> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.ends.range(..range.start).next_back();
        let before = before.filter(|(_, end)| **end > range.start);
        let within = self.ends.range(range);
        before
            .into_iter()
            .chain(within)
            .map(|(start, end)| (*start, *end))
            .collect()
    }
}
