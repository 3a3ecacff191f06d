//! Conditional requests: has the client's copy of a file gone stale? (RFC 9110, section 13)
//!
//! The order of the conditions is the RFC's (section 13.2.2), and it matters:
//!
//! ```text
//! If-Match ------------ no match -------------------------> 412
//!   | absent: If-Unmodified-Since -- changed since -------> 412
//!   v
//! If-None-Match ------- match --- GET, HEAD: 304, else ---> 412
//!   | absent: If-Modified-Since ---- GET, HEAD: unchanged > 304
//!   v
//! If-Range (GET with Range) -- does not match ------------> the whole file
//!   v
//! proceed
//! ```
//!
//! A date that cannot be read is ignored. A list of tags that cannot be read matches nothing, so
//! that a broken `If-Match` refuses and a broken `If-None-Match` serves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header::{
    AsHeaderName, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// A file changed less than this ago may change again within the same tick of its time stamp, or
/// the same second of its `Last-Modified`: until then its validators are weak (section 8.8.2.2).
pub const STRONG_AFTER: Duration = Duration::from_secs(2);

/// What tells one version of a file from another: its metadata at the time of the request.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use corering::http::FileVersion;
///
/// let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
/// let old = FileVersion { len: 16, modified: UNIX_EPOCH, inode: 255 };
/// assert_eq!(old.etag(now), "\"ff-10-0\"");
/// let fresh = FileVersion { modified: now, ..old };
/// assert!(fresh.etag(now).starts_with("W/"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    /// The length in bytes.
    pub len: u64,
    /// The time of the last modification (`mtime`).
    pub modified: SystemTime,
    /// The inode number: a file replaced by a rename differs even when length and time agree.
    pub inode: u64,
}

impl FileVersion {
    /// The metadata of a file as a version, for instance from `File::metadata`.
    #[must_use]
    pub fn of(metadata: &crate::fs::Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: metadata.modified().unwrap_or(UNIX_EPOCH),
            inode: metadata.ino(),
        }
    }

    /// The value of the `ETag` header: strong, unless the file changed within [`STRONG_AFTER`].
    #[must_use]
    pub fn etag(&self, now: SystemTime) -> String {
        let weak = if self.is_strong(now) { "" } else { "W/" };
        format!("{weak}\"{}\"", self.opaque())
    }

    /// The value of the `Last-Modified` header; `None` for a time that HTTP cannot express, and for
    /// one in the future, which section 8.8.2.1 forbids to send.
    #[must_use]
    pub fn last_modified(&self, now: SystemTime) -> Option<String> {
        if self.modified > now {
            None
        } else {
            super::http_date(self.modified)
        }
    }

    /// The tag without quotes and weakness.
    pub(super) fn opaque(&self) -> String {
        let (sign, since) = match self.modified.duration_since(UNIX_EPOCH) {
            Ok(since) => ("", since),
            Err(before) => ("-", before.duration()),
        };
        format!(
            "{:x}-{:x}-{sign}{:x}",
            self.inode,
            self.len,
            since.as_nanos()
        )
    }

    fn is_strong(&self, now: SystemTime) -> bool {
        // A time in the future says nothing about the age.
        now.duration_since(self.modified)
            .is_ok_and(|age| age >= STRONG_AFTER)
    }

    fn matches(&self, tag: &Tag<'_>, comparison: Comparison, now: SystemTime) -> bool {
        let strong = !tag.weak && self.is_strong(now);
        tag.opaque == self.opaque() && (strong || comparison == Comparison::Weak)
    }

    /// Whether the file changed after this HTTP date, in whole seconds as the date is.
    fn changed_since(&self, date: SystemTime) -> bool {
        super::whole_seconds(self.modified).unwrap_or(self.modified) > date
    }
}

/// What the conditions of a request say.
///
/// ```
/// use std::time::UNIX_EPOCH;
/// use corering::http::conditional::{Decision, FileVersion, decide};
/// use hyper::{HeaderMap, Method, header::IF_NONE_MATCH};
///
/// let file = FileVersion { len: 0, modified: UNIX_EPOCH, inode: 1 };
/// let now = std::time::SystemTime::now();
/// let mut headers = HeaderMap::new();
/// headers.insert(IF_NONE_MATCH, file.etag(now).parse().unwrap());
/// assert_eq!(decide(&Method::GET, &headers, &file, now), Decision::NotModified);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Serve the file, and the range that the request asks for, if any.
    Proceed,
    /// Serve the whole file: `If-Range` names another version.
    ProceedWhole,
    /// 304: the client's copy is good.
    NotModified,
    /// 412: the file is not the version that the client wants to act on.
    PreconditionFailed,
}

/// Evaluates the conditions in the headers of a request for an existing file.
#[must_use]
pub fn decide(
    method: &Method,
    headers: &HeaderMap,
    file: &FileVersion,
    now: SystemTime,
) -> Decision {
    if headers.contains_key(IF_MATCH) {
        if !any_tag_matches(headers, IF_MATCH, file, Comparison::Strong, now) {
            return Decision::PreconditionFailed;
        }
    } else if date(headers, IF_UNMODIFIED_SINCE).is_some_and(|date| file.changed_since(date)) {
        return Decision::PreconditionFailed;
    }

    let reads = method == Method::GET || method == Method::HEAD;
    if headers.contains_key(IF_NONE_MATCH) {
        if any_tag_matches(headers, IF_NONE_MATCH, file, Comparison::Weak, now) {
            return if reads {
                Decision::NotModified
            } else {
                Decision::PreconditionFailed
            };
        }
    } else if reads
        && date(headers, IF_MODIFIED_SINCE).is_some_and(|date| !file.changed_since(date))
    {
        return Decision::NotModified;
    }

    if headers.contains_key(IF_RANGE) && !if_range_matches(headers, file, now) {
        return Decision::ProceedWhole;
    }
    Decision::Proceed
}

/// `If-Range` holds one tag or one date, and either must be strong and match exactly: the client
/// joins the range to what it has (section 13.1.5).
fn if_range_matches(headers: &HeaderMap, file: &FileVersion, now: SystemTime) -> bool {
    let Some(value) = single(headers, IF_RANGE) else {
        return false;
    };
    if let Some((tag, rest)) = Tag::parse(value) {
        return rest.is_empty() && file.matches(&tag, Comparison::Strong, now);
    }
    let Ok(date) = httpdate::parse_http_date(value) else {
        return false;
    };
    file.is_strong(now) && super::whole_seconds(file.modified) == Some(date)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Both tags are strong and equal: the bytes are the same.
    Strong,
    /// Equal but for their weakness: good enough to show.
    Weak,
}

/// An entity tag, section 8.8.3.
struct Tag<'a> {
    weak: bool,
    opaque: &'a str,
}

impl<'a> Tag<'a> {
    /// The tag at the start of `text`, and what follows it.
    fn parse(text: &'a str) -> Option<(Self, &'a str)> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        Some((Self { weak, opaque }, rest))
    }
}

/// Whether any tag of a list, in one header line or several, is the file's; `*` is any file.
fn any_tag_matches(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    file: &FileVersion,
    comparison: Comparison,
    now: SystemTime,
) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            let mut rest = value.trim();
            if rest == "*" {
                return true;
            }
            loop {
                rest = rest.trim_start_matches([' ', '\t', ',']);
                match Tag::parse(rest) {
                    None => return false,
                    Some((tag, _)) if file.matches(&tag, comparison, now) => return true,
                    Some((_, after)) => rest = after,
                }
            }
        })
}

fn date(headers: &HeaderMap, name: impl AsHeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(single(headers, name)?).ok()
}

/// The value of a header that must not stand twice; what is not text counts as absent.
fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::Decision::{NotModified, PreconditionFailed, Proceed, ProceedWhole};
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const TAG: &str = "\"7-64-ae1bf1c05e9d66f\"";

    fn modified() -> SystemTime {
        UNIX_EPOCH + Duration::new(784_111_777, 999_999_999)
    }

    fn now() -> SystemTime {
        modified() + Duration::from_secs(3600)
    }

    fn file() -> FileVersion {
        FileVersion {
            len: 100,
            modified: modified(),
            inode: 7,
        }
    }

    fn tag() -> String {
        file().etag(now())
    }

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn get(pairs: &[(&'static str, &str)]) -> Decision {
        decide(&Method::GET, &map(pairs), &file(), now())
    }

    #[test]
    fn no_conditions() {
        assert_eq!(get(&[]), Proceed);
        assert_ne!(tag(), TAG, "the tag of another file");
    }

    #[test]
    fn if_none_match() {
        assert_eq!(get(&[("if-none-match", &tag())]), NotModified);
        assert_eq!(
            get(&[("if-none-match", &format!("W/{}", tag()))]),
            NotModified
        );
        assert_eq!(get(&[("if-none-match", "*")]), NotModified);
        assert_eq!(
            get(&[("if-none-match", &format!("\"a,b\" ,, W/\"c\",{}", tag()))]),
            NotModified
        );
        assert_eq!(
            get(&[("if-none-match", "\"a\""), ("if-none-match", &tag())]),
            NotModified
        );
        assert_eq!(get(&[("if-none-match", TAG)]), Proceed);
        assert_eq!(get(&[("if-none-match", "\"a\", *")]), Proceed);
        assert_eq!(get(&[("if-none-match", tag().trim_matches('"'))]), Proceed);
        let put = decide(
            &Method::PUT,
            &map(&[("if-none-match", "*")]),
            &file(),
            now(),
        );
        assert_eq!(put, PreconditionFailed);
    }

    #[test]
    fn broken_tags_match_nothing() {
        for broken in ["", "\"", "W/", "w/\"x\"", ",,,", "\"a", "a\"", "W/W/\"a\""] {
            assert_eq!(get(&[("if-none-match", broken)]), Proceed, "{broken:?}");
            assert_eq!(
                get(&[("if-match", broken)]),
                PreconditionFailed,
                "{broken:?}"
            );
        }
    }

    #[test]
    fn if_modified_since_compares_whole_seconds() {
        assert_eq!(get(&[("if-modified-since", BEFORE)]), Proceed);
        assert_eq!(get(&[("if-modified-since", SAME)]), NotModified);
        assert_eq!(get(&[("if-modified-since", AFTER)]), NotModified);
        assert_eq!(get(&[("if-modified-since", "yesterday")]), Proceed);
        assert_eq!(
            get(&[("if-modified-since", SAME), ("if-modified-since", SAME)]),
            Proceed
        );
        // The two obsolete forms, which a server must still read (section 5.6.7).
        assert_eq!(
            get(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")]),
            NotModified
        );
        assert_eq!(
            get(&[("if-modified-since", "Sun Nov  6 08:49:37 1994")]),
            NotModified
        );
        let head = decide(
            &Method::HEAD,
            &map(&[("if-modified-since", SAME)]),
            &file(),
            now(),
        );
        assert_eq!(head, NotModified);
        let post = decide(
            &Method::POST,
            &map(&[("if-modified-since", SAME)]),
            &file(),
            now(),
        );
        assert_eq!(post, Proceed);
    }

    #[test]
    fn a_tag_outranks_a_date() {
        assert_eq!(
            get(&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)]),
            Proceed
        );
        assert_eq!(
            get(&[("if-none-match", &tag()), ("if-modified-since", BEFORE)]),
            NotModified
        );
        assert_eq!(
            get(&[("if-match", &tag()), ("if-unmodified-since", BEFORE)]),
            Proceed
        );
        assert_eq!(
            get(&[("if-match", "\"x\""), ("if-unmodified-since", AFTER)]),
            PreconditionFailed
        );
    }

    #[test]
    fn preconditions_come_before_freshness() {
        let both = [("if-match", "\"x\""), ("if-none-match", "*")];
        assert_eq!(get(&both), PreconditionFailed);
        let both = [
            ("if-unmodified-since", BEFORE),
            ("if-modified-since", AFTER),
        ];
        assert_eq!(get(&both), PreconditionFailed);
        assert_eq!(
            get(&[("if-match", "*"), ("if-none-match", &tag())]),
            NotModified
        );
    }

    #[test]
    fn if_match_is_strong() {
        assert_eq!(get(&[("if-match", &tag())]), Proceed);
        assert_eq!(get(&[("if-match", "*")]), Proceed);
        assert_eq!(
            get(&[("if-match", &format!("W/{}", tag()))]),
            PreconditionFailed
        );
        let fresh = decide(
            &Method::GET,
            &map(&[("if-match", &tag())]),
            &file(),
            modified(),
        );
        assert_eq!(fresh, PreconditionFailed);
    }

    #[test]
    fn if_unmodified_since() {
        assert_eq!(get(&[("if-unmodified-since", BEFORE)]), PreconditionFailed);
        assert_eq!(get(&[("if-unmodified-since", SAME)]), Proceed);
        assert_eq!(get(&[("if-unmodified-since", "?")]), Proceed);
    }

    #[test]
    fn if_range_needs_an_exact_and_strong_match() {
        assert_eq!(get(&[("if-range", &tag())]), Proceed);
        assert_eq!(get(&[("if-range", SAME)]), Proceed);
        for other in ["\"x\"", "*", "", BEFORE, AFTER, "W/\"7-64-0\""] {
            assert_eq!(get(&[("if-range", other)]), ProceedWhole, "{other}");
        }
        assert_eq!(
            get(&[("if-range", &format!("{}, \"b\"", tag()))]),
            ProceedWhole
        );
        assert_eq!(
            get(&[("if-range", &tag()), ("if-range", &tag())]),
            ProceedWhole
        );
        for strong in [tag(), SAME.to_owned()] {
            let soon = modified() + Duration::from_millis(1999);
            let fresh = decide(&Method::GET, &map(&[("if-range", &strong)]), &file(), soon);
            assert_eq!(fresh, ProceedWhole);
        }
    }

    #[test]
    fn odd_times() {
        let ancient = FileVersion {
            modified: UNIX_EPOCH - Duration::new(1, 5),
            ..file()
        };
        assert_eq!(ancient.last_modified(now()), None);
        assert_eq!(ancient.etag(now()), "\"7-64--3b9aca05\"");
        let headers = map(&[("if-modified-since", SAME)]);
        assert_eq!(decide(&Method::GET, &headers, &ancient, now()), NotModified);
        let future = FileVersion {
            modified: now() + Duration::from_secs(9),
            ..file()
        };
        assert_eq!(future.last_modified(now()), None);
        assert!(future.etag(now()).starts_with("W/"));
    }

    #[test]
    fn each_part_of_the_version_counts() {
        let base = file();
        let later = modified() + Duration::from_nanos(1);
        for other in [
            FileVersion { len: 101, ..base },
            FileVersion { inode: 8, ..base },
            FileVersion {
                modified: later,
                ..base
            },
        ] {
            assert_ne!(base.etag(now()), other.etag(now()));
        }
    }
}
