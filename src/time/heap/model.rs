//! The timer store against an ordered map: any sequence of steps, from bytes.
//!
//! ```text
//!   byte 0 of a step   what                    the bytes after it
//!   0..=95             set a timer             2: how far ahead of the clock
//!   96..=111           set one at any time     8: when
//!   112..=175          remove one              1: which
//!   176..=191          poll and replace        1: which
//!   192..=255          let time pass, expire   1: how much
//! ```

use super::{Heap, Key};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// A waker that can be told from others.
struct Marked;

impl Wake for Marked {
    fn wake(self: Arc<Self>) {}
}

fn marked() -> Waker {
    Waker::from(Arc::new(Marked))
}

/// The heap, and beside it what it should hold: by deadline, then by the order of setting.
#[derive(Default)]
struct Pair {
    heap: Heap,
    model: BTreeMap<(u64, u64), (Key, Waker)>,
    /// Keys that have fired or were removed.
    dead: Vec<Key>,
    now: u64,
    set: u64,
}

/// Takes the steps that `bytes` describe; panics where heap and map differ.
pub(crate) fn check(bytes: &[u8]) {
    let mut pair = Pair::default();
    let mut bytes = bytes.iter().copied();
    while let Some(what) = bytes.next() {
        let mut number = |len| {
            (&mut bytes)
                .take(len)
                .fold(0, |number, byte| number << 8 | u64::from(byte))
        };
        match what {
            0..=95 => pair.set(pair.now.saturating_add(number(2))),
            96..=111 => pair.set(number(8)),
            112..=175 => pair.remove(number(1) as usize),
            176..=191 => pair.replace(number(1) as usize),
            192..=255 => pair.expire(number(1)),
        }
        pair.compare();
    }
}

impl Pair {
    fn set(&mut self, deadline: u64) {
        let waker = marked();
        let key = self.heap.insert(deadline, waker.clone());
        self.set += 1;
        self.model.insert((deadline, self.set), (key, waker));
    }

    /// The place in the map that a number means.
    fn place(&self, which: usize) -> Option<(u64, u64)> {
        let at = which % self.model.len().max(1);
        self.model.keys().nth(at).copied()
    }

    fn remove(&mut self, which: usize) {
        let Some(place) = self.place(which) else {
            return;
        };
        let (key, waker) = self.model.remove(&place).expect("found one line above");
        let removed = self.heap.remove(key).expect("it has not fired");
        assert!(removed.will_wake(&waker), "another timer was removed");
        assert!(self.heap.remove(key).is_none(), "a removed key is dead");
        self.dead.push(key);
    }

    fn replace(&mut self, which: usize) {
        let Some(place) = self.place(which) else {
            return;
        };
        let (key, waker) = self.model.get_mut(&place).expect("found a few lines above");
        assert!(self.heap.poll(*key).is_pending());
        assert!(self.heap.would_wake(*key, waker));
        let new = marked();
        let old = self.heap.replace(*key, new.clone());
        assert!(old.is_some_and(|old| old.will_wake(waker)));
        *waker = new;
    }

    fn expire(&mut self, nanos: u64) {
        self.now = self.now.saturating_add(nanos);
        while let Some(fired) = self.heap.pop_due(self.now) {
            let ((deadline, _), (key, waker)) = self.model.pop_first().expect("as many");
            assert!(deadline <= self.now, "a timer fired early");
            assert!(fired.will_wake(&waker), "another timer was due");
            assert!(self.heap.poll(key).is_ready());
            self.dead.push(key);
        }
        let next = self.model.keys().next();
        assert!(next.is_none_or(|&(deadline, _)| deadline > self.now));
    }

    fn compare(&self) {
        assert_eq!(self.heap.len(), self.model.len());
        let next = self.model.keys().next().map(|&(deadline, _)| deadline);
        assert_eq!(self.heap.next_deadline(), next);
        self.compare_look(next);
        // A dead key stays dead, although its entry may belong to another timer by now.
        let recent = self.dead.iter().rev().take(4);
        recent.for_each(|&key| assert!(self.heap.poll(key).is_ready()));
    }
}

impl Pair {
    /// The next look is at the first deadline, or a slack later because another is due by then.
    fn compare_look(&self, first: Option<u64>) {
        const SLACK: u64 = 100;
        let look = self.heap.next_look(SLACK);
        let Some(first) = first else {
            return assert_eq!(look, None);
        };
        let late = first.saturating_add(SLACK);
        let mut deadlines = self.model.keys().map(|&(deadline, _)| deadline);
        let crowded = deadlines.any(|deadline| deadline > first && deadline <= late);
        let alone = self.model.range((first, 0)..=(first, u64::MAX)).count() == 1;
        match (crowded, alone) {
            (true, true) => assert_eq!(look, Some(late)),
            (true, false) => assert!(look == Some(late) || look == Some(first)),
            (false, _) => assert_eq!(look, Some(first)),
        }
    }
}

/// Random steps. The seed replays.
#[cfg(test)]
#[test]
fn behaves_like_an_ordered_map() {
    let seed = 0x9e37_79b9_7f4a_7c15u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let bytes: Vec<u8> = (0..60_000).map(|_| random()).collect();
    check(&bytes);
}
