//! HTTP/1.1, by hyper on our sockets: a server ([`serve()`]), a file service ([`ServeDir`]) and a
//! pooled client ([`Client`]), with the feature `tls` also of `https://`.
//!
//! Every decision of the file service is a pure function: the public modules open no file, read
//! no clock and touch no socket. The file service asks for a decision, then carries it out:
//!
//! ```text
//! request target --path::RequestPath::parse--> safe relative path --> open below the root
//!                                                                       |
//!             +------------------ metadata of the open descriptor <-----+
//!             v
//! plan::Plan::file(request, metadata) --> status, headers, body
//!             |                                             |
//!             | a directory                                 | Body::File(range), ...
//!             v                                             v
//! listing::page(path, entries)                  read that range, send it
//! ```
//!
//! Rules:
//! 1. The path is decoded once, and what it names stands below the root, or it is refused.
//!    Symbolic links are the kernel's matter ([`fs::Root`](crate::fs::Root)).
//! 2. The metadata is read from the open descriptor, so that what is promised in the headers is
//!    what is read.
//! 3. Time comes in as a value.
//! 4. A file's bytes pass through this process, unless [`ServeDir::sendfile`] says that nobody
//!    looks at them there, and [`serve()`] has the connection: then the kernel sends what it has in
//!    memory, and the frames of the body only stand for it.

mod body;
mod client;
pub mod conditional;
mod connect;
mod files;
pub mod listing;
pub mod path;
pub mod plan;
pub mod range;
mod redirect;
mod send_files;
mod server;
pub mod types;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use body::FileBody;
pub use client::{Answer, Client, ClientError, ClientLimits};
pub use conditional::FileVersion;
pub use files::ServeDir;
pub use path::RequestPath;
pub use plan::{Body, Plan};
pub use server::{Limits, serve};

/// The last second that an HTTP date can express, which has four digits for the year.
const HTTP_DATE_MAX_SECONDS: u64 = 253_402_300_799;

/// `time` cut to whole seconds, as HTTP dates are, or `None` where HTTP cannot say it: before 1970
/// or after 9999. (`httpdate` panics there, and a file may carry any time at all.)
fn whole_seconds(time: SystemTime) -> Option<SystemTime> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (seconds <= HTTP_DATE_MAX_SECONDS).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}

/// `time` in the form of the `Last-Modified` header, where HTTP can express it.
fn http_date(time: SystemTime) -> Option<String> {
    whole_seconds(time).map(httpdate::fmt_http_date)
}

#[cfg(test)]
mod testing {
    /// A small generator (xorshift) for the randomised tests; the seed stands in each test.
    pub(super) struct Random(u64);

    impl Random {
        pub(super) fn new(seed: u64) -> Self {
            assert_ne!(seed, 0, "xorshift stays at zero");
            Self(seed)
        }

        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        pub(super) fn below(&mut self, limit: usize) -> usize {
            ((self.next() >> 32) as usize) % limit
        }

        pub(super) fn byte(&mut self) -> u8 {
            (self.next() >> 40) as u8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_http_cannot_express_are_left_out() {
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(
            http_date(at(784_111_777)).unwrap(),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(http_date(UNIX_EPOCH - Duration::from_nanos(1)), None);
        assert!(
            http_date(at(HTTP_DATE_MAX_SECONDS))
                .unwrap()
                .contains("9999")
        );
        assert_eq!(http_date(at(HTTP_DATE_MAX_SECONDS + 1)), None);
    }
}
