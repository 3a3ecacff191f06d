//! The cases of the workload `download`.
//!
//! The origin serves `/small/0` to `/small/1999` (100 KiB each) and `/large/0` to `/large/19`
//! (50 MiB each). The object of the number `N` is stored as the file `N` of the given folder; the
//! driver compares it with the original afterwards.

use crate::Case;

/// Every case; its name is the origin's folder.
pub const CASES: &[Case] = &[
    Case {
        name: "small",
        about: "2,000 objects of 100 KiB, 20 at a time, saved to files",
        operation: "object",
        cores: 1,
    },
    Case {
        name: "large",
        about: "20 objects of 50 MiB, 20 at a time, saved to files",
        operation: "object",
        cores: 1,
    },
];

/// How many objects a case has, and the size of each.
#[must_use]
pub fn objects(case: &Case) -> (usize, usize) {
    match case.name {
        "small" => (2_000, 100 << 10),
        _ => (20, 50 << 20),
    }
}

/// How many are fetched at a time.
pub const IN_FLIGHT: usize = 20;
