//! The index page of a directory: one HTML document without scripts, made from a list of entries.
//!
//! Every name is a stranger's: it is escaped where it is shown and percent-encoded where it is
//! linked to, and the page is sent with a policy that forbids scripts
//! ([`CONTENT_SECURITY_POLICY`]).

use std::cmp::Reverse;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use super::path::{RequestPath, encode_segment};

/// The entries that one page shows; it says so when there are more.
pub const ENTRIES_MAX: usize = 10_000;

/// The page needs nothing but its own style.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// One entry of a directory.
///
/// ```
/// use corering::http::listing::{Entry, page};
/// use corering::http::RequestPath;
///
/// let entry = Entry { name: "a<b".into(), directory: false, len: 2048, modified: None };
/// let html = page(&RequestPath::parse("/docs/").unwrap(), vec![entry]);
/// assert!(html.contains("<a href=\"./a%3Cb\">a&lt;b</a>"));
/// assert!(html.contains("2.0 KiB"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the directory has it.
    pub name: OsString,
    /// Whether it is a directory, or a link to one.
    pub directory: bool,
    /// The length in bytes; not shown for a directory.
    pub len: u64,
    /// The time of the last modification, where known.
    pub modified: Option<SystemTime>,
}

/// The index page for `path`: directories first, each group sorted without regard to case.
///
/// The path must have its trailing slash, or the relative links lead elsewhere; see
/// [`Plan::redirect_to_directory`](super::Plan::redirect_to_directory).
#[must_use]
pub fn page(path: &RequestPath, mut entries: Vec<Entry>) -> String {
    entries.retain(can_be_requested);
    entries.sort_by_cached_key(|entry| {
        let name = entry.name.to_string_lossy().to_lowercase();
        (Reverse(entry.directory), name, entry.name.clone())
    });
    let total = entries.len();
    let title = escape(&format!("/{}", path.relative().to_string_lossy()));
    let mut html = String::with_capacity(1024 + total.min(ENTRIES_MAX) * 128);
    let _ = write!(
        html,
        "{HEAD_START}{title}{STYLE}<h1>{title}</h1>\n<table>\n"
    );
    if !path.is_root() {
        html.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    for entry in entries.iter().take(ENTRIES_MAX) {
        push_row(&mut html, entry);
    }
    html.push_str("</table>\n");
    if total > ENTRIES_MAX {
        let _ = writeln!(html, "<p>and {} more", total - ENTRIES_MAX);
    }
    html
}

const HEAD_START: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<title>";

const STYLE: &str = "</title>\n<style>\n\
    :root { color-scheme: light dark }\n\
    body { font: 15px/1.6 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; \
    padding: 0 1rem }\n\
    h1 { font-size: 1.3rem; overflow-wrap: anywhere }\n\
    table { border-collapse: collapse; width: 100% }\n\
    td { padding: .2rem .6rem; border-top: 1px solid #8884; overflow-wrap: anywhere }\n\
    td + td { text-align: right; white-space: nowrap; opacity: .75; \
    font-variant-numeric: tabular-nums }\n\
    tr:hover { background: #8882 }\n\
    a { text-decoration: none }\n\
    a:hover { text-decoration: underline }\n\
    </style>\n";

/// Leaves out the names that [`RequestPath::parse`] refuses.
fn can_be_requested(entry: &Entry) -> bool {
    let name = entry.name.as_bytes();
    let special = matches!(name, b"" | b"." | b"..");
    !special && !name.contains(&b'\\') && !name.contains(&b'/') && !name.contains(&0)
}

fn push_row(html: &mut String, entry: &Entry) {
    let slash = if entry.directory { "/" } else { "" };
    let link = encode_segment(entry.name.as_bytes());
    let shown = escape(&entry.name.to_string_lossy());
    let size = if entry.directory {
        String::new()
    } else {
        size_in_words(entry.len)
    };
    let date = entry.modified.map(date_in_words).unwrap_or_default();
    // The dot keeps a name from being read as a scheme.
    let _ = writeln!(
        html,
        "<tr><td><a href=\"./{link}{slash}\">{shown}{slash}</a><td>{size}<td>{date}"
    );
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn size_in_words(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `06 Nov 1994 08:49`, in UTC: the middle of an HTTP date.
fn date_in_words(time: SystemTime) -> String {
    let date = super::http_date(time);
    date.as_deref()
        .and_then(|date| date.get(5..22))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::http::testing::Random;

    fn entry(name: &str, directory: bool) -> Entry {
        Entry {
            name: name.into(),
            directory,
            len: 5,
            modified: None,
        }
    }

    fn root() -> RequestPath {
        RequestPath::parse("/").unwrap()
    }

    #[test]
    fn directories_come_first_and_case_does_not_count() {
        let names = [("b", false), ("Z", true), ("A", false), ("y", true)];
        let entries = names
            .map(|(name, directory)| entry(name, directory))
            .to_vec();
        let html = page(&root(), entries);
        let at = |text: &str| {
            html.find(text)
                .unwrap_or_else(|| panic!("no {text} in {html}"))
        };
        assert!(at(">y/<") < at(">Z/<") && at(">Z/<") < at(">A<") && at(">A<") < at(">b<"));
    }

    #[test]
    fn only_the_root_has_no_parent() {
        assert!(!page(&root(), vec![]).contains("../"));
        let below = RequestPath::parse("/a/").unwrap();
        assert!(page(&below, vec![]).contains("href=\"../\""));
    }

    #[test]
    fn names_cannot_break_out() {
        let nasty = "\"><script>alert('&')";
        let html = page(
            &root(),
            vec![entry(nasty, false), entry("javascript:alert(1)", false)],
        );
        assert!(!html.contains("<script"));
        assert!(html.contains("&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)"));
        assert!(html.contains("href=\"./javascript%3Aalert%281%29\""));
        let path = RequestPath::parse("/%3Cb%3E%22/").unwrap();
        assert!(page(&path, vec![]).contains("<h1>/&lt;b&gt;&quot;</h1>"));
    }

    #[test]
    fn links_lead_to_the_entry() {
        let mut random = Random::new(0x5eed_0003);
        for round in 0..5_000 {
            let bytes: Vec<u8> = (0..1 + random.below(8)).map(|_| random.byte()).collect();
            let name = OsString::from_vec(bytes);
            let html = page(
                &root(),
                vec![Entry {
                    name: name.clone(),
                    ..entry("", round % 2 == 0)
                }],
            );
            let Some(start) = html.find("href=\".") else {
                assert!(
                    !can_be_requested(&Entry {
                        name,
                        ..entry("", false)
                    }),
                    "round {round}"
                );
                continue;
            };
            let link = &html[start + 7..];
            let link = &link[..link.find('"').unwrap()];
            let path = RequestPath::parse(link).unwrap_or_else(|error| panic!("{round}: {error}"));
            assert_eq!(path.relative().as_os_str(), name, "round {round}");
            assert_eq!(path.has_trailing_slash(), round % 2 == 0);
        }
    }

    #[test]
    fn long_directories_are_cut() {
        let entries = (0..ENTRIES_MAX + 7)
            .map(|n| entry(&n.to_string(), false))
            .collect();
        let html = page(&root(), entries);
        assert_eq!(html.matches("<tr>").count(), ENTRIES_MAX);
        assert!(html.contains("and 7 more"));
    }

    #[test]
    fn sizes_and_dates() {
        for (bytes, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size_in_words(bytes), words);
        }
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date_in_words(time), "06 Nov 1994 08:49");
        assert_eq!(date_in_words(UNIX_EPOCH - Duration::from_secs(1)), "");
    }
}
