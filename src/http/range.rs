//! Byte ranges: what a `Range` header asks of a file of a given length (RFC 9110, section 14).
//!
//! Rules:
//! 1. A header that is malformed, or in another unit, is ignored: the whole file is served.
//! 2. A header that is well formed and of which no range exists is unsatisfiable: 416.
//! 3. A header that costs more than the whole file (more than [`RANGES_MAX`] ranges, or ranges that
//!    overlap) is ignored as well. Section 14.2 allows it, and amplification attacks need it.
//! 4. Numbers have no upper limit in the grammar, so they saturate here: they are past the end of
//!    any file.

use std::ops::Range;

/// The ranges of one request that are answered; a request for more gets the whole file.
pub const RANGES_MAX: usize = 16;

/// What a `Range` header means for one file. The ranges are of bytes, end exclusive, not empty, and
/// within the file.
///
/// ```
/// use corering::http::range::ByteRanges;
///
/// assert_eq!(ByteRanges::parse("bytes=-100", 1000), ByteRanges::One(900..1000));
/// assert_eq!(ByteRanges::parse("bytes=1000-", 1000), ByteRanges::Unsatisfiable);
/// assert_eq!(ByteRanges::parse("lines=1-2", 1000), ByteRanges::None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRanges {
    /// Serve the whole file: the header is malformed, in another unit, or asks too much.
    None,
    /// One range.
    One(Range<u64>),
    /// Two ranges up to [`RANGES_MAX`], in the order of the request, none overlapping another.
    Many(Vec<Range<u64>>),
    /// Well formed, but no byte of the file is in any range: answer 416.
    Unsatisfiable,
}

impl ByteRanges {
    /// Reads the value of a `Range` header for a file of `len` bytes.
    ///
    /// An empty file has no range that `Content-Range` could name, so that for `len == 0` a suffix
    /// range (satisfiable by the RFC) gives [`ByteRanges::None`].
    #[must_use]
    pub fn parse(header: &str, len: u64) -> Self {
        let Some((unit, set)) = header.trim_matches(OWS).split_once('=') else {
            return Self::None;
        };
        if !unit.eq_ignore_ascii_case("bytes") {
            return Self::None;
        }
        let mut specs: usize = 0;
        let mut ranges: Vec<Range<u64>> = Vec::new();
        // Empty elements of a list are legal (section 5.6.1.2), and count towards the limit.
        for (index, spec) in set
            .split(',')
            .map(|spec| spec.trim_matches(OWS))
            .enumerate()
        {
            if index >= RANGES_MAX {
                return Self::None;
            }
            if spec.is_empty() {
                continue;
            }
            specs += 1;
            match resolve(spec, len) {
                Spec::Malformed => return Self::None,
                Spec::Outside => {}
                // Only a suffix range of an empty file resolves to an empty range.
                Spec::Within(range) if range.is_empty() => return Self::None,
                Spec::Within(range) => ranges.push(range),
            }
        }
        match ranges.len() {
            0 if specs == 0 => Self::None,
            0 => Self::Unsatisfiable,
            1 => Self::One(ranges.remove(0)),
            _ if overlap(&ranges) => Self::None,
            _ => Self::Many(ranges),
        }
    }
}

/// The value of `Content-Range` for one range of a file of `len` bytes.
///
/// ```
/// assert_eq!(corering::http::range::content_range(&(0..10), 100), "bytes 0-9/100");
/// ```
///
/// # Panics
/// When the range is empty or goes past `len`: no header can say that.
#[must_use]
pub fn content_range(range: &Range<u64>, len: u64) -> String {
    assert!(
        range.start < range.end && range.end <= len,
        "{range:?} is not in a file of {len}"
    );
    format!("bytes {}-{}/{len}", range.start, range.end - 1)
}

/// The value of `Content-Range` in a 416 answer.
///
/// ```
/// assert_eq!(corering::http::range::content_range_unsatisfied(100), "bytes */100");
/// ```
#[must_use]
pub fn content_range_unsatisfied(len: u64) -> String {
    format!("bytes */{len}")
}

/// Optional white space, section 5.6.3.
const OWS: [char; 2] = [' ', '\t'];

enum Spec {
    Malformed,
    Outside,
    Within(Range<u64>),
}

/// One element of the list: `first-`, `first-last` or `-suffix`.
fn resolve(spec: &str, len: u64) -> Spec {
    let Some((first, last)) = spec.split_once('-') else {
        return Spec::Malformed;
    };
    if first.is_empty() {
        return match number(last) {
            None => Spec::Malformed,
            Some(0) => Spec::Outside,
            Some(suffix) => Spec::Within(len.saturating_sub(suffix)..len),
        };
    }
    let Some(first) = number(first) else {
        return Spec::Malformed;
    };
    let last = if last.is_empty() {
        Some(u64::MAX)
    } else {
        number(last)
    };
    match last {
        None => Spec::Malformed,
        Some(last) if last < first => Spec::Malformed,
        Some(_) if first >= len => Spec::Outside,
        Some(last) => Spec::Within(first..last.saturating_add(1).min(len)),
    }
}

/// Digits only (no sign, which `str::parse` would take), saturating.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_by_key(|range| range.start);
    sorted.windows(2).any(|pair| pair[0].end > pair[1].start)
}

#[cfg(test)]
mod tests {
    use super::ByteRanges::{Many, None, One, Unsatisfiable};
    use super::*;

    fn parse(header: &str) -> ByteRanges {
        ByteRanges::parse(header, 1000)
    }

    #[test]
    fn one_range() {
        assert_eq!(parse("bytes=0-0"), One(0..1));
        assert_eq!(parse("bytes=0-499"), One(0..500));
        assert_eq!(parse("bytes=500-"), One(500..1000));
        assert_eq!(parse("bytes=999-"), One(999..1000));
        assert_eq!(parse("bytes=-1"), One(999..1000));
        assert_eq!(parse("bytes=-1000"), One(0..1000));
        assert_eq!(parse("bytes=-5000"), One(0..1000));
        assert_eq!(parse("bytes=990-99999"), One(990..1000));
    }

    #[test]
    fn the_unit_has_no_case_and_space_stands_only_around_commas() {
        assert_eq!(parse("BYTES=0-1"), One(0..2));
        assert_eq!(parse(" \tbytes=0-1\t "), One(0..2));
        assert_eq!(parse("bytes= 0-1 ,\t5-6 "), Many(vec![0..2, 5..7]));
        assert_eq!(parse("bytes =0-1"), None);
        assert_eq!(parse("bytes=0 -1"), None);
        assert_eq!(parse("bytes=0- 1"), None);
        assert_eq!(parse("bytes=- 1"), None);
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=--1",
            "bytes=5-3",
            "bytes=a-b",
            "bytes=0-1;q=1",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1.0-2",
            "bytes=0x1-2",
            "bytes=1-2-3",
            "bytes==0-1",
            "lines=0-1",
            "=0-1",
            "bytes:0-1",
            "bytes=٣-٤",
            "bytes=0-1,x",
            "bytes=1",
        ] {
            assert_eq!(parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn ranges_outside_the_file_are_unsatisfiable() {
        assert_eq!(parse("bytes=1000-"), Unsatisfiable);
        assert_eq!(parse("bytes=1000-1000"), Unsatisfiable);
        assert_eq!(parse("bytes=-0"), Unsatisfiable);
        assert_eq!(parse("bytes=2000-3000,5000-"), Unsatisfiable);
        assert_eq!(ByteRanges::parse("bytes=0-", 0), Unsatisfiable);
        assert_eq!(ByteRanges::parse("bytes=-0", 0), Unsatisfiable);
    }

    #[test]
    fn an_empty_file_answers_a_suffix_range_whole() {
        assert_eq!(ByteRanges::parse("bytes=-5", 0), None);
        assert_eq!(ByteRanges::parse("bytes=-5,-6", 0), None);
    }

    #[test]
    fn huge_numbers_saturate() {
        let nines = "9".repeat(5000);
        assert_eq!(parse(&format!("bytes=0-{nines}")), One(0..1000));
        assert_eq!(parse(&format!("bytes={nines}-")), Unsatisfiable);
        assert_eq!(parse(&format!("bytes=-{nines}")), One(0..1000));
        assert_eq!(
            parse("bytes=18446744073709551615-18446744073709551615"),
            Unsatisfiable
        );
        let whole = ByteRanges::parse("bytes=0-18446744073709551615", u64::MAX);
        assert_eq!(whole, One(0..u64::MAX));
        let last = ByteRanges::parse("bytes=18446744073709551614-", u64::MAX);
        assert_eq!(last, One(u64::MAX - 1..u64::MAX));
    }

    #[test]
    fn several_ranges_keep_their_order_and_lose_those_outside() {
        assert_eq!(parse("bytes=500-599,0-99"), Many(vec![500..600, 0..100]));
        assert_eq!(parse("bytes=0-0,,,5-5,"), Many(vec![0..1, 5..6]));
        assert_eq!(parse("bytes=0-9,2000-"), One(0..10));
        assert_eq!(parse("bytes=0-9,10-19"), Many(vec![0..10, 10..20]));
    }

    #[test]
    fn overlapping_ranges_are_ignored() {
        assert_eq!(parse("bytes=0-10,10-20"), None);
        assert_eq!(parse("bytes=0-,0-,0-"), None);
        assert_eq!(parse("bytes=100-200,-950"), None);
    }

    #[test]
    fn too_many_ranges_are_ignored_and_cost_nothing() {
        let many = |count: u64| {
            let list: Vec<String> = (0..count).map(|n| format!("{}-{}", n * 2, n * 2)).collect();
            format!("bytes={}", list.join(","))
        };
        assert!(
            matches!(ByteRanges::parse(&many(16), 1 << 20), Many(ranges) if ranges.len() == 16)
        );
        assert_eq!(ByteRanges::parse(&many(17), 1 << 20), None);
        assert_eq!(ByteRanges::parse(&many(10_000), 1 << 20), None);
        assert_eq!(parse(&format!("bytes={}", ",".repeat(10_000))), None);
    }

    #[test]
    #[should_panic(expected = "is not in a file")]
    fn content_range_of_nothing_is_refused() {
        let _ = content_range(&(5..5), 10);
    }
}
