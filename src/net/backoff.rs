//! What an error of `accept` means for the listener.

use std::io;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// What a listener does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The error belongs to one connection that failed before it was accepted.
    GoOn,
    /// Something has run out that others give back: try again later.
    Wait,
    /// The listener itself is at fault.
    Report,
}

pub(super) fn judge(error: &io::Error) -> Verdict {
    match error.raw_os_error() {
        Some(
            libc::ECANCELED
            | libc::EINTR
            | libc::EAGAIN
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ETIMEDOUT,
        ) => Verdict::GoOn,
        // EPERM is a firewall's word for one connection; it may say it for many in a row.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM) => {
            Verdict::Wait
        }
        _ => Verdict::Report,
    }
}

/// Waits that double, from 5 ms to a second, until something succeeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff(FIRST)
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }
}
