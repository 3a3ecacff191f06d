//! `Range` headers: what is answered lies in the file, and asking for just that gives just that.
//!
//! Input: the header, a line end, and the file's length in decimal.

#![no_main]

use corering::http::range::{ByteRanges, RANGES_MAX, content_range, content_range_unsatisfied};
use std::ops::Range;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (header, len) = text.rsplit_once('\n').unwrap_or((text, ""));
    let len = len.parse().unwrap_or(10_000);
    let answer = ByteRanges::parse(header, len);
    match &answer {
        ByteRanges::None => {}
        ByteRanges::Unsatisfiable => drop(content_range_unsatisfied(len)),
        ByteRanges::One(range) => check(std::slice::from_ref(range), len, &answer),
        ByteRanges::Many(ranges) => {
            assert!((2..=RANGES_MAX).contains(&ranges.len()));
            check(ranges, len, &answer);
        }
    }
    // White space around the header, the unit's case and empty elements say nothing.
    if let Some(set) = header.strip_prefix("bytes=") {
        assert_eq!(ByteRanges::parse(&format!(" \tBYTES={set} "), len), answer);
    }
});

fn check(ranges: &[Range<u64>], len: u64, answer: &ByteRanges) {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    assert!(sorted.windows(2).all(|two| two[0].end <= two[1].start));
    let mut again = Vec::new();
    for range in ranges {
        assert!(range.start < range.end && range.end <= len);
        let said = content_range(range, len);
        let (first, last) = (range.start, range.end - 1);
        assert_eq!(said, format!("bytes {first}-{last}/{len}"));
        again.push(format!("{first}-{last}"));
    }
    let again = format!("bytes={}", again.join(","));
    assert_eq!(&ByteRanges::parse(&again, len), answer);
}
