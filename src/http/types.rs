//! The `Content-Type` of a file, by the extension of its name.

use std::borrow::Cow;
use std::path::Path;

/// The type of what nobody knows; browsers then save it instead of showing it.
pub const UNKNOWN: &str = "application/octet-stream";

/// The value of `Content-Type` for a file of this name.
///
/// Text is said to be UTF-8: a browser would otherwise take it for a legacy encoding. JSON, XML and
/// SVG carry their encoding themselves.
///
/// ```
/// use corering::http::types::content_type;
///
/// assert_eq!(content_type("index.html"), "text/html; charset=utf-8");
/// assert_eq!(content_type("photo.JPG"), "image/jpeg");
/// assert_eq!(content_type("no-extension"), "application/octet-stream");
/// ```
#[must_use]
pub fn content_type(name: impl AsRef<Path>) -> Cow<'static, str> {
    match mime_guess::from_path(name).first_raw() {
        None => Cow::Borrowed(UNKNOWN),
        Some(text) if text.starts_with("text/") => Cow::Owned(format!("{text}; charset=utf-8")),
        Some("application/javascript") => Cow::Borrowed("text/javascript; charset=utf-8"),
        Some(other) => Cow::Borrowed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_browsers_depend_on() {
        for (name, expected) in [
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.wasm", "application/wasm"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.md", "text/markdown; charset=utf-8"),
            ("a.png", "image/png"),
            ("a.mp4", "video/mp4"),
            ("a.pdf", "application/pdf"),
            ("a.tar.gz", "application/gzip"),
            ("a.woff2", "font/woff2"),
            (".html", UNKNOWN),
            ("a.", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_that_is_not_unicode_still_has_a_type() {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"\xff.png");
        assert_eq!(content_type(name), "image/png");
    }
}
