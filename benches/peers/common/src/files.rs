//! The cases of the workload `files`.

use crate::Case;

const fn case(name: &'static str, about: &'static str, operation: &'static str) -> Case {
    Case {
        name,
        about,
        operation,
        cores: 1,
    }
}

/// Every case.
pub const CASES: &[Case] = &[
    case(
        "small-4k",
        "1,000 files of 4 KiB created, written and closed, 64 in flight",
        "file",
    ),
    case("small-64k", "the same, 64 KiB", "file"),
    case("small-1m", "the same, 1 MiB", "file"),
    case("small-4k-fsync", "the same, 4 KiB, with fsync", "file"),
    case("small-64k-fsync", "the same, 64 KiB, with fsync", "file"),
    case(
        "one-seq-write",
        "one file, 4 KiB writes in order, 64 in flight",
        "block",
    ),
    case(
        "one-rand-write",
        "one file, 4 KiB writes anywhere, 64 in flight",
        "block",
    ),
    case("one-seq-read", "one file, 4 KiB reads in order", "block"),
    case("one-rand-read", "one file, 4 KiB reads anywhere", "block"),
    case("one-seq-write-direct", "the same with O_DIRECT", "block"),
    case("one-rand-write-direct", "the same with O_DIRECT", "block"),
    case("one-seq-read-direct", "the same with O_DIRECT", "block"),
    case("one-rand-read-direct", "the same with O_DIRECT", "block"),
];
