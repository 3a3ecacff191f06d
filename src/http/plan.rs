//! The one place where an HTTP answer is decided: status, headers, and which bytes of the file.
//!
//! The I/O part only carries a [`Plan`] out. It sends the status and headers as they are, then the
//! body, and decides nothing:
//!
//! ```text
//! admit(method, target) --Err(plan)--> send
//!   | Ok(path)
//!   v
//! open below the root --error--> Plan::open_failed --> send
//!   |
//!   +-- directory, no slash ---> Plan::redirect_to_directory --> send
//!   +-- directory -------------> index.html, or Plan::page(listing::page(..)) --> send
//!   +-- file, with slash ------> Plan::error(404) --> send
//!   '-- file ------------------> Plan::file --> send
//! ```

use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, RANGE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};

use super::conditional::{Decision, FileVersion, decide};
use super::range::{ByteRanges, content_range, content_range_unsatisfied};
use super::{listing, path::RequestPath, types};

/// An answer that only has to be sent.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use corering::http::{Body, FileVersion, Plan};
/// use hyper::{HeaderMap, Method, header::RANGE};
///
/// let file = FileVersion { len: 1000, modified: UNIX_EPOCH, inode: 1 };
/// let now = UNIX_EPOCH + Duration::from_secs(3600);
/// let mut headers = HeaderMap::new();
/// headers.insert(RANGE, "bytes=0-99".parse().unwrap());
///
/// let plan = Plan::file(&Method::GET, &headers, "a.txt", &file, now);
/// assert_eq!(plan.status, 206);
/// assert_eq!(plan.headers["content-range"], "bytes 0-99/1000");
/// assert_eq!(plan.body, Body::File(0..100));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status of the answer.
    pub status: StatusCode,
    /// All its headers but those that the HTTP engine adds (`Date`, `Connection`).
    pub headers: HeaderMap,
    /// Its body, already empty where the method is HEAD.
    pub body: Body,
}

/// What to send after the headers. `Content-Length` stands in them already and says this length;
/// when the file turns out shorter, the connection must be broken off, never padded.
///
/// ```
/// assert_eq!(corering::http::Body::File(10..30).len(), 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// This text.
    Text(String),
    /// These bytes of the file, end exclusive.
    File(Range<u64>),
    /// Several ranges, as `multipart/byteranges`.
    Parts(Vec<Part>),
}

/// One step of [`Body::Parts`]: first the text, then these bytes of the file.
///
/// ```
/// use corering::http::plan::Part;
///
/// let closing = Part { head: "\r\n--boundary--\r\n".into(), range: 0..0 };
/// assert!(closing.range.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The boundary and the headers of the part.
    pub head: String,
    /// The bytes; empty in the last step, which closes the list.
    pub range: Range<u64>,
}

impl Body {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Text(text) => text.len() as u64,
            Self::File(range) => range.end - range.start,
            Self::Parts(parts) => {
                let lengths = parts
                    .iter()
                    .map(|part| part.head.len() as u64 + (part.range.end - part.range.start));
                lengths.fold(0, u64::saturating_add)
            }
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks what can be checked before any file is opened.
///
/// # Errors
/// The answer to send instead: 405 for a method other than GET and HEAD, 400 or 414 for a path that
/// is refused.
///
/// ```
/// use corering::http::plan::admit;
/// use hyper::Method;
///
/// assert_eq!(admit(&Method::POST, "/").unwrap_err().status, 405);
/// assert_eq!(admit(&Method::GET, "/../x").unwrap_err().status, 400);
/// assert!(admit(&Method::GET, "/x").is_ok());
/// ```
pub fn admit(method: &Method, target: &str) -> Result<RequestPath, Box<Plan>> {
    if !reads(method) {
        let mut plan = Plan::error(method, StatusCode::METHOD_NOT_ALLOWED);
        plan.headers
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Err(Box::new(plan));
    }
    RequestPath::parse(target).map_err(|error| Box::new(Plan::error(method, error.status())))
}

impl Plan {
    /// The answer to a GET or HEAD for an existing regular file.
    ///
    /// `name` decides the content type, `file` is the metadata of the open descriptor, and `now`
    /// the time of the request. Conditions come before ranges; ranges count for GET only. Several
    /// are sent as `multipart/byteranges`, unless that would be longer than the file.
    #[must_use]
    pub fn file(
        method: &Method,
        headers: &HeaderMap,
        name: impl AsRef<Path>,
        file: &FileVersion,
        now: SystemTime,
    ) -> Self {
        let decision = decide(method, headers, file, now);
        match decision {
            Decision::PreconditionFailed => {
                return Self::error(method, StatusCode::PRECONDITION_FAILED);
            }
            Decision::NotModified => {
                let mut plan = Self::new(StatusCode::NOT_MODIFIED, Body::Empty);
                plan.insert_validators(file, now);
                return plan;
            }
            Decision::Proceed | Decision::ProceedWhole => {}
        }
        let ranges = if method == Method::GET && decision == Decision::Proceed {
            requested_ranges(headers, file.len)
        } else {
            ByteRanges::None
        };
        let content_type = types::content_type(name);
        let mut plan = match ranges {
            ByteRanges::None => Self::new(StatusCode::OK, Body::File(0..file.len)),
            ByteRanges::One(range) => {
                let mut plan = Self::new(StatusCode::PARTIAL_CONTENT, Body::File(range.clone()));
                plan.insert(CONTENT_RANGE, content_range(&range, file.len));
                plan
            }
            ByteRanges::Many(ranges) => Self::parts(&ranges, &content_type, file),
            ByteRanges::Unsatisfiable => {
                let mut plan = Self::error(method, StatusCode::RANGE_NOT_SATISFIABLE);
                plan.insert(CONTENT_RANGE, content_range_unsatisfied(file.len));
                return plan;
            }
        };
        plan.insert_default_type(&content_type);
        plan.headers
            .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        plan.insert_validators(file, now);
        plan.finish(method)
    }

    /// A page that was made for this request, see [`listing::page`].
    #[must_use]
    pub fn page(method: &Method, html: String) -> Self {
        let mut plan = Self::new(StatusCode::OK, Body::Text(html));
        plan.insert_default_type("text/html; charset=utf-8");
        plan.headers
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let policy = HeaderValue::from_static(listing::CONTENT_SECURITY_POLICY);
        plan.headers.insert(CONTENT_SECURITY_POLICY, policy);
        plan.finish(method)
    }

    /// The answer to a request that names a directory without the slash at its end. The query is
    /// dropped, for it means nothing here.
    #[must_use]
    pub fn redirect_to_directory(method: &Method, path: &RequestPath) -> Self {
        let link = path.link();
        let slash = if link.ends_with('/') { "" } else { "/" };
        let mut plan = Self::error(method, StatusCode::MOVED_PERMANENTLY);
        plan.insert(LOCATION, format!("{link}{slash}"));
        plan
    }

    /// A status with its name as the text: 404 and the like.
    #[must_use]
    pub fn error(method: &Method, status: StatusCode) -> Self {
        let mut plan = Self::new(status, Body::Text(format!("{status}\n")));
        plan.insert_default_type("text/plain; charset=utf-8");
        plan.finish(method)
    }

    /// The answer when the file could not be opened or its metadata not read.
    ///
    /// What is out of bounds looks like what does not exist; what passes by itself is 503.
    #[must_use]
    pub fn open_failed(method: &Method, error: &io::Error) -> Self {
        let status = match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG) => 404,
            // `RESOLVE_BENEATH` says this of a path that leaves the root.
            Some(libc::EXDEV) => 404,
            // A socket, or a device without a driver, is nothing to serve.
            Some(libc::ENXIO | libc::ENODEV | libc::EINVAL) => 404,
            Some(libc::EACCES | libc::EPERM) => 403,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN | libc::ETIMEDOUT) => {
                503
            }
            _ => 500,
        };
        Self::error(
            method,
            StatusCode::from_u16(status).expect("each stands above"),
        )
    }

    fn new(status: StatusCode, body: Body) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self {
            status,
            headers,
            body,
        }
    }

    /// Several ranges, or the whole file if that is not longer.
    fn parts(ranges: &[Range<u64>], content_type: &str, file: &FileVersion) -> Self {
        // The boundary must not occur in the file. By chance it does not, for it holds the time
        // stamp in nanoseconds; who plants it there spoils only a file that is theirs.
        let boundary = format!("corering-{}", file.opaque());
        let mut parts = Vec::with_capacity(ranges.len() + 1);
        for (index, range) in ranges.iter().enumerate() {
            let before = if index == 0 { "" } else { "\r\n" };
            let content_range = content_range(range, file.len);
            let head = format!(
                "{before}--{boundary}\r\nContent-Type: {content_type}\r\n\
                 Content-Range: {content_range}\r\n\r\n"
            );
            parts.push(Part {
                head,
                range: range.clone(),
            });
        }
        parts.push(Part {
            head: format!("\r\n--{boundary}--\r\n"),
            range: 0..0,
        });
        let body = Body::Parts(parts);
        if body.len() >= file.len {
            return Self::new(StatusCode::OK, Body::File(0..file.len));
        }
        let mut plan = Self::new(StatusCode::PARTIAL_CONTENT, body);
        plan.insert(
            CONTENT_TYPE,
            format!("multipart/byteranges; boundary={boundary}"),
        );
        plan
    }

    fn insert_validators(&mut self, file: &FileVersion, now: SystemTime) {
        self.insert(ETAG, file.etag(now));
        if let Some(date) = file.last_modified(now) {
            self.insert(LAST_MODIFIED, date);
        }
    }

    fn insert_default_type(&mut self, content_type: &str) {
        if !self.headers.contains_key(CONTENT_TYPE) {
            self.insert(CONTENT_TYPE, content_type.to_owned());
        }
    }

    fn insert(&mut self, name: HeaderName, value: String) {
        let value = HeaderValue::try_from(value).expect("made of printable ASCII only");
        self.headers.insert(name, value);
    }

    /// Puts the length in, and takes the body away from an answer to HEAD.
    fn finish(mut self, method: &Method) -> Self {
        self.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        if method == Method::HEAD || self.body.is_empty() {
            self.body = Body::Empty;
        }
        self
    }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// More than one `Range` line is malformed, and so ignored.
fn requested_ranges(headers: &HeaderMap, len: u64) -> ByteRanges {
    let mut values = headers.get_all(RANGE).iter();
    match (
        values.next().and_then(|value| value.to_str().ok()),
        values.next(),
    ) {
        (Some(value), None) => ByteRanges::parse(value, len),
        _ => ByteRanges::None,
    }
}

#[cfg(test)]
mod tests;
