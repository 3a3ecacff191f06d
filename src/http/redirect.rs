//! Where a redirect leads: RFC 9110, section 15.4, for requests that only read.

use super::connect::shown;
use hyper::header::{HeaderMap, LOCATION};
use hyper::{StatusCode, Uri};
use iri_string::types::{UriAbsoluteStr, UriReferenceStr};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

/// What servers write into a `Location` although no URL has it. All of what is not ASCII, too.
const STRAY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Brackets hold the address of a host, and nothing else.
const STRAY_IN_PATH: &AsciiSet = &STRAY.add(b'[').add(b']');

/// Where the answer to a GET sends its reader; `None` if nowhere.
pub(super) fn location(status: StatusCode, headers: &HeaderMap) -> Option<&[u8]> {
    let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    headers
        .get(LOCATION)
        .filter(|_| redirects)
        .map(|value| value.as_bytes())
}

/// The URL that `location` names, seen from the URL whose answer it stands in.
///
/// # Errors
/// Why it is not gone to: in words that name it, safe to show.
pub(super) fn target(from: &Uri, location: &[u8]) -> Result<Uri, String> {
    let (asked, to) = (shown(from), String::from_utf8_lossy(location));
    let to = to.escape_debug().to_string();
    let nonsense = || format!("{asked} redirects to {to}, which is no URL");
    // The fragment is the reader's matter, and no URI of HTTP has one.
    let location = location.split(|byte| *byte == b'#').next();
    let text = tidied(location.unwrap_or_default());
    let base = tidied(from.to_string().as_bytes());
    let base = UriAbsoluteStr::new(&base).map_err(|_| nonsense())?;
    let reference = UriReferenceStr::new(&text).map_err(|_| nonsense())?;
    let resolved = reference.resolve_against(base).to_string();
    let url: Uri = resolved.parse().map_err(|_| nonsense())?;
    match (from.scheme_str(), url.scheme_str()) {
        (Some("https"), Some("http")) => Err(format!(
            "{asked} redirects to {to}: nothing leads from https:// to http://, where anybody \
             could change it; ask for that URL itself if it may be so"
        )),
        (_, Some("http" | "https")) if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(nonsense()),
    }
}

/// In the letters of a URL, those that only the engine of HTTP allows written in full.
fn tidied(url: &[u8]) -> String {
    let (host, path) = url.split_at(path_at(url));
    let host = percent_encode(host, STRAY);
    format!("{host}{}", percent_encode(path, STRAY_IN_PATH))
}

/// Behind scheme and host, where they stand there.
fn path_at(url: &[u8]) -> usize {
    let is_path = |byte: &u8| b"/?".contains(byte);
    let is_scheme = |text: &[u8]| text.ends_with(b":") && !text.iter().any(is_path);
    match url.windows(2).position(|two| two == b"//") {
        Some(at) if at == 0 || is_scheme(&url[..at]) => {
            let host = &url[at + 2..];
            at + 2 + host.iter().position(is_path).unwrap_or(host.len())
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &str) -> Result<String, String> {
        let from = from.parse().expect("a URI");
        target(&from, location.as_bytes()).map(|url| url.to_string())
    }

    #[test]
    fn locations_are_seen_from_where_they_stand() {
        let from = "http://a:8080/b/c?d";
        for (location, url) in [
            ("http://e/f", "http://e/f"),
            ("https://e", "https://e/"),
            ("//e/f", "http://e/f"),
            ("/e?f#g", "http://a:8080/e?f"),
            ("e/./f", "http://a:8080/b/e/f"),
            ("../../e", "http://a:8080/e"),
            ("?e", "http://a:8080/b/c?e"),
            ("", "http://a:8080/b/c?d"),
            ("#e", "http://a:8080/b/c?d"),
            ("/a b/ü%20", "http://a:8080/a%20b/%C3%BC%20"),
            ("http://[::1]:1/", "http://[::1]:1/"),
            ("//[::1]?a[b]", "http://[::1]/?a%5Bb%5D"),
            (
                "/a[1]?b[]={c|d}^`",
                "http://a:8080/a%5B1%5D?b%5B%5D=%7Bc%7Cd%7D%5E%60",
            ),
            ("?to=http://[e]", "http://a:8080/b/c?to=http://%5Be%5D"),
        ] {
            assert_eq!(to(from, location).as_deref(), Ok(url), "{location:?}");
        }
        assert_eq!(to("http://a", "b").unwrap(), "http://a/b");
        assert_eq!(to("https://a/", "//b/").unwrap(), "https://b/");
        // What the URL of the request may have.
        assert_eq!(
            to("http://[::1]/{a|b}[1]?\u{fc}", "c").unwrap(),
            "http://[::1]/c"
        );
    }

    #[test]
    fn what_is_not_gone_to_is_named() {
        for location in [
            "ftp://e/",
            "file:///etc/passwd",
            "http:///x",
            "http://e:x/",
            "::",
        ] {
            let error = to("http://a/", location).unwrap_err();
            assert!(error.ends_with("which is no URL"), "{location:?}: {error}");
        }
        let error = to("https://a/", "http://a/").unwrap_err();
        assert!(error.contains("from https:// to http://"), "{error}");
        let error = to("http://a/", "ftp://\u{1b}[2J").unwrap_err();
        assert!(error.contains("\\u{1b}[2J"), "{error}");
    }

    #[test]
    fn only_some_answers_redirect() {
        let mut headers = HeaderMap::new();
        let status = |code| StatusCode::from_u16(code).expect("a status");
        assert_eq!(location(status(302), &headers), None);
        headers.insert(LOCATION, "/x".parse().expect("a value"));
        for code in [301, 302, 303, 307, 308] {
            assert_eq!(location(status(code), &headers), Some(&b"/x"[..]));
        }
        for code in [200, 201, 300, 304, 404] {
            assert_eq!(location(status(code), &headers), None);
        }
    }
}
