//! Names that come from strangers: the path in a request, the file name in a URL.
//!
//! Rules for a request:
//! 1. Percent signs are decoded exactly once: `%252e` is the name `%2e`.
//! 2. What cannot be a plain name is refused, never repaired: NUL, `..`, a separator or a backslash
//!    that comes out of the decoding. A file whose name holds a backslash cannot be requested.
//! 3. Empty segments and `.` are folded away; a trailing slash is remembered.
//! 4. Names are bytes, as in the kernel: what is not UTF-8 is kept as it is.
//!
//! The result is relative and has only normal components. That says nothing about symbolic links:
//! open it with `openat2` and `RESOLVE_BENEATH`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// The longest path that the kernel takes, without its closing NUL (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4095;

/// The longest file name that Linux file systems take (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;

/// Everything but the unreserved characters of RFC 3986 is encoded, the colon too: a link must not
/// begin with something like a scheme.
const ENCODED_IN_LINKS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The path of a request, decoded, relative to the root that is served and safe to join to it.
///
/// ```
/// use corering::http::RequestPath;
///
/// let path = RequestPath::parse("//docs/./a%20b/").unwrap();
/// assert_eq!(path.relative().to_str(), Some("docs/a b"));
/// assert!(path.has_trailing_slash());
/// assert_eq!(path.link(), "/docs/a%20b/");
///
/// assert!(RequestPath::parse("/%2e%2e/etc/passwd").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath {
    relative: PathBuf,
    trailing_slash: bool,
}

impl RequestPath {
    /// Reads the path part of a request's target: no query, as `http::Uri::path` gives it.
    ///
    /// # Errors
    /// The reason why the path is refused. [`PathError::status`] is what to answer.
    pub fn parse(target: &str) -> Result<Self, PathError> {
        // An HTTP/1 target in origin form begins with a slash; `*` and authorities do not.
        let Some(target) = target.strip_prefix('/') else {
            return Err(PathError::NotAbsolute);
        };
        let mut relative = PathBuf::new();
        for segment in target.split('/') {
            let name = decode_segment(segment)?;
            if name.is_empty() || name == b"." {
                continue;
            }
            if relative.as_os_str().len() + 1 + name.len() > PATH_BYTES_MAX {
                return Err(PathError::TooLong);
            }
            relative.push(OsString::from_vec(name));
        }
        let last = target.rsplit('/').next().unwrap_or_default();
        let trailing_slash = matches!(decode_segment(last)?.as_slice(), b"" | b".");
        Ok(Self {
            relative,
            trailing_slash,
        })
    }

    /// The path below the root: relative, normal components only; empty for the root itself.
    #[must_use]
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.relative.as_os_str().is_empty()
    }

    /// Whether the client asked for a directory (`/` and `/.` at the end say so). Relative links in
    /// an index page need it, and a file must not be served under such a name.
    #[must_use]
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The canonical, percent-encoded form: one slash at the start, so that it is never taken for
    /// `//another.host`, and one at the end if the request had any.
    #[must_use]
    pub fn link(&self) -> String {
        let mut link = String::from("/");
        for component in &self.relative {
            if link.len() > 1 {
                link.push('/');
            }
            link.push_str(&encode_segment(component.as_bytes()));
        }
        if self.trailing_slash && !self.is_root() {
            link.push('/');
        }
        link
    }
}

/// Why the path of a request is refused.
///
/// ```
/// use corering::http::path::{PathError, RequestPath};
///
/// assert_eq!(RequestPath::parse("/a%00b"), Err(PathError::Nul));
/// assert_eq!(PathError::Nul.status(), 400);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// The target does not begin with a slash.
    NotAbsolute,
    /// A `%` without two hexadecimal digits after it.
    BadEscape,
    /// A NUL byte: the kernel would end the name there.
    Nul,
    /// A `..` segment, written in whatever way.
    Parent,
    /// A `/` or a backslash that came out of the decoding, or a bare backslash.
    Separator,
    /// Longer than [`PATH_BYTES_MAX`], or a segment longer than [`NAME_BYTES_MAX`].
    TooLong,
}

impl PathError {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> hyper::StatusCode {
        match self {
            Self::TooLong => hyper::StatusCode::URI_TOO_LONG,
            _ => hyper::StatusCode::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for PathError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::BadEscape => "the path has a percent sign without two hexadecimal digits",
            Self::Nul => "the path has a NUL byte",
            Self::Parent => "the path has a `..` segment",
            Self::Separator => "the path has a backslash or an encoded slash",
            Self::TooLong => "the path is too long",
        })
    }
}

impl std::error::Error for PathError {}

/// A name as one segment of a link.
#[must_use]
pub fn encode_segment(name: &[u8]) -> String {
    percent_encode(name, ENCODED_IN_LINKS).to_string()
}

fn decode_segment(segment: &str) -> Result<Vec<u8>, PathError> {
    // `percent-encoding` leaves a broken escape as it stands, so that it is looked for first.
    let mut rest = segment.as_bytes();
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        match &rest[percent + 1..] {
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
            }
            _ => return Err(PathError::BadEscape),
        }
    }
    let name: Vec<u8> = percent_decode_str(segment).collect();
    if name.contains(&0) {
        return Err(PathError::Nul);
    }
    if name.contains(&b'/') || name.contains(&b'\\') {
        return Err(PathError::Separator);
    }
    if name == b".." {
        return Err(PathError::Parent);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    Ok(name)
}

/// A name under which the content of a URL can be saved, from the path of that URL.
///
/// It is the last segment, decoded once, with separators and control characters replaced by `_`, at
/// most [`NAME_BYTES_MAX`] bytes, and neither empty nor only dots. A path that ends in a slash
/// gives `index.html`; one that gives no usable name, `download`.
///
/// ```
/// use corering::http::path::file_name_from_url_path;
///
/// assert_eq!(file_name_from_url_path("/pub/linux%20notes.txt"), "linux notes.txt");
/// assert_eq!(file_name_from_url_path("/pub/"), "index.html");
/// assert_eq!(file_name_from_url_path("/pub/..%2f..%2fetc"), ".._.._etc");
/// assert_eq!(file_name_from_url_path("/pub/%2e%2e"), "download");
/// ```
#[must_use]
pub fn file_name_from_url_path(path: &str) -> String {
    let segment = path.rsplit('/').next().unwrap_or_default();
    if segment.is_empty() {
        return "index.html".to_owned();
    }
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    let cleaned: String = decoded.chars().map(harmless).collect();
    let trimmed = cleaned.trim();
    if trimmed.chars().all(|c| c == '.') {
        return "download".to_owned();
    }
    shortened(trimmed, "")
}

/// `_` for what a file name cannot hold, or what a terminal would obey: separators, control
/// characters, and the marks that turn the direction of the text.
fn harmless(c: char) -> char {
    let turns_text = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
    let isolates_text = matches!(c, '\u{2066}'..='\u{2069}');
    if c.is_control() || c == '/' || c == '\\' || turns_text || isolates_text {
        '_'
    } else {
        c
    }
}

/// `stem` + `mark` + `.extension`, the stem cut so that the whole fits into [`NAME_BYTES_MAX`].
fn shortened(name: &str, mark: &str) -> String {
    // An extension longer than this is no extension.
    const EXTENSION_BYTES_MAX: usize = 32;
    let (mut stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_BYTES_MAX => name.split_at(dot),
        _ => (name, ""),
    };
    let room = NAME_BYTES_MAX - mark.len() - extension.len();
    while stem.len() > room {
        let last = stem
            .char_indices()
            .next_back()
            .map_or(0, |(index, _)| index);
        stem = &stem[..last];
    }
    format!("{stem}{mark}{extension}")
}

/// Gives each download a name of its own: the second `a.txt` becomes `a.1.txt`.
///
/// ```
/// use corering::http::path::UniqueNames;
///
/// let mut names = UniqueNames::default();
/// assert_eq!(names.claim("a.txt"), "a.txt");
/// assert_eq!(names.claim("a.txt"), "a.1.txt");
/// ```
#[derive(Debug, Default)]
pub struct UniqueNames {
    /// Each name given out, with the next number to try for it: ten thousand downloads of one name
    /// do not try ten thousand numbers each.
    next: HashMap<String, u64>,
}

impl UniqueNames {
    /// `name` if it is free, else the same with the first free number before its extension.
    pub fn claim(&mut self, name: &str) -> String {
        let Some(mut number) = self.next.get(name).copied() else {
            self.next.insert(name.to_owned(), 1);
            return name.to_owned();
        };
        let free = loop {
            let candidate = shortened(name, &format!(".{number}"));
            number += 1;
            if !self.next.contains_key(&candidate) {
                break candidate;
            }
        };
        self.next.insert(name.to_owned(), number);
        self.next.insert(free.clone(), 1);
        free
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;
    use crate::http::testing::Random;

    fn relative(target: &str) -> String {
        RequestPath::parse(target)
            .unwrap()
            .relative()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn plain_paths() {
        assert_eq!(relative("/"), "");
        assert_eq!(relative("/a/b.txt"), "a/b.txt");
        assert_eq!(relative("/a//./b/"), "a/b");
        assert_eq!(relative("/%61%2Etxt"), "a.txt");
        assert_eq!(relative("/..."), "...");
        assert_eq!(relative("/..a/b.."), "..a/b..");
        assert_eq!(relative("/a+b"), "a+b");
    }

    #[test]
    fn the_trailing_slash_is_remembered() {
        for (target, slash) in [("/", true), ("/a", false), ("/a/", true), ("/a/.", true)] {
            assert_eq!(
                RequestPath::parse(target).unwrap().has_trailing_slash(),
                slash,
                "{target}"
            );
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(relative("/%252e%252e/x"), "%2e%2e/x");
        assert_eq!(relative("/%2525"), "%25");
    }

    #[test]
    fn nothing_escapes() {
        use PathError::{BadEscape, NotAbsolute, Nul, Parent, Separator};
        for (target, error) in [
            ("/..", Parent),
            ("/../etc/passwd", Parent),
            ("/a/../b", Parent),
            ("/%2e%2e/etc", Parent),
            ("/.%2E/etc", Parent),
            ("/%2e%2e%2fetc", Separator),
            ("/..%2fetc", Separator),
            ("/a%2fb", Separator),
            ("/%2fetc/passwd", Separator),
            ("/..%5cwindows", Separator),
            ("/..\\windows", Separator),
            ("/a%00.txt", Nul),
            ("/%00", Nul),
            ("/%", BadEscape),
            ("/%2", BadEscape),
            ("/%zz", BadEscape),
            ("/a%2", BadEscape),
            ("/%%2e", BadEscape),
            ("/%+1", BadEscape),
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("etc/passwd", NotAbsolute),
        ] {
            assert_eq!(RequestPath::parse(target), Err(error), "{target}");
        }
    }

    #[test]
    fn names_are_bytes() {
        let path = RequestPath::parse("/%ff%fe/%C3%A9").unwrap();
        assert_eq!(path.relative().as_os_str().as_bytes(), b"\xff\xfe/\xc3\xa9");
        assert_eq!(path.link(), "/%FF%FE/%C3%A9");
    }

    #[test]
    fn long_paths_are_refused() {
        let name = "x".repeat(NAME_BYTES_MAX);
        assert!(RequestPath::parse(&format!("/{name}")).is_ok());
        assert_eq!(
            RequestPath::parse(&format!("/{name}x")),
            Err(PathError::TooLong)
        );
        let deep = "/abc".repeat(PATH_BYTES_MAX);
        assert_eq!(RequestPath::parse(&deep), Err(PathError::TooLong));
        assert_eq!(PathError::TooLong.status(), 414);
        // Slashes alone are no length.
        assert_eq!(relative(&"/".repeat(100_000)), "");
    }

    #[test]
    fn links_stay_on_this_host() {
        assert_eq!(
            RequestPath::parse("//evil.example/").unwrap().link(),
            "/evil.example/"
        );
        assert_eq!(
            RequestPath::parse("/javascript:x").unwrap().link(),
            "/javascript%3Ax"
        );
        assert_eq!(RequestPath::parse("/a%0d%0ab").unwrap().link(), "/a%0D%0Ab");
        assert_eq!(RequestPath::parse("//").unwrap().link(), "/");
    }

    #[test]
    fn random_targets_never_escape() {
        const PIECES: [&str; 20] = [
            "/", "/", ".", "..", "%2e", "%2E", "%2f", "%5c", "\\", "%00", "%25", "%", "a", "é",
            "%ff", "%c0%ae", "~", ":", "\u{0}", " ",
        ];
        let mut random = Random::new(0x5eed_0001);
        for round in 0..50_000 {
            let pieces = random.below(12);
            let mut target = String::from("/");
            for _ in 0..pieces {
                target.push_str(PIECES[random.below(PIECES.len())]);
            }
            let Ok(path) = RequestPath::parse(&target) else {
                continue;
            };
            let normal = |c: Component<'_>| matches!(c, Component::Normal(_));
            assert!(
                path.relative().components().all(normal),
                "round {round}: {target:?}"
            );
            assert!(
                !path.relative().as_os_str().as_bytes().contains(&0),
                "round {round}"
            );
            let again = RequestPath::parse(&path.link()).unwrap();
            assert_eq!(
                again, path,
                "round {round}: {target:?} does not survive its own link"
            );
        }
    }

    #[test]
    fn names_of_downloads() {
        for (path, name) in [
            ("", "index.html"),
            ("/", "index.html"),
            ("/a/b/c.tar.gz", "c.tar.gz"),
            ("/..", "download"),
            ("/.", "download"),
            ("/%2e%2e", "download"),
            ("/%20", "download"),
            ("/...%20", "download"),
            ("/..%2f..%2fetc%2fpasswd", ".._.._etc_passwd"),
            ("/..%5cx", ".._x"),
            ("/a%00b%0a%1b[2J", "a_b__[2J"),
            ("/%e2%80%aegpj.exe", "_gpj.exe"),
            ("/%ff.bin", "\u{fffd}.bin"),
            ("/%252e%252e", "%2e%2e"),
            ("/100%", "100%"),
        ] {
            assert_eq!(file_name_from_url_path(path), name, "{path}");
        }
    }

    #[test]
    fn long_names_are_cut_before_the_extension() {
        let name = file_name_from_url_path(&format!("/{}.tar", "é".repeat(400)));
        assert!(
            name.len() <= NAME_BYTES_MAX && name.ends_with("é.tar"),
            "{name}"
        );
        let name = file_name_from_url_path(&format!("/a.{}", "x".repeat(400)));
        assert_eq!(name.len(), NAME_BYTES_MAX);
    }

    #[test]
    fn unique_names_stay_unique() {
        let mut names = UniqueNames::default();
        assert_eq!(names.claim("a.1.txt"), "a.1.txt");
        assert_eq!(names.claim("a.txt"), "a.txt");
        assert_eq!(names.claim("a.txt"), "a.2.txt");
        assert_eq!(names.claim("a.1.txt"), "a.1.1.txt");
        assert_eq!(names.claim(".profile"), ".profile");
        assert_eq!(names.claim(".profile"), ".profile.1");
        let long = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(names.claim(&long), long);
        let second = names.claim(&long);
        assert!(
            second.len() == NAME_BYTES_MAX && second.ends_with("x.1"),
            "{second}"
        );
    }

    #[test]
    fn random_names_are_safe_and_unique() {
        let mut random = Random::new(0x5eed_0002);
        let mut names = UniqueNames::default();
        let mut seen = std::collections::HashSet::new();
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..random.below(6)).map(|_| random.byte()).collect();
            let name = names.claim(&file_name_from_url_path(&format!(
                "/{}",
                encode_any(&bytes)
            )));
            assert!(
                !name.is_empty() && name.len() <= NAME_BYTES_MAX,
                "round {round}: {name:?}"
            );
            assert!(!name.contains(['/', '\\', '\0']), "round {round}: {name:?}");
            assert!(
                !name.trim_matches('.').is_empty(),
                "round {round}: {name:?}"
            );
            assert!(seen.insert(name), "round {round}");
        }
    }

    fn encode_any(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
    }
}
