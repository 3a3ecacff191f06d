//! How the program says that something went wrong: what, why, and the cure where one is known.

use std::fmt;
use std::io;

/// A failure that ends the program with status 1.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried, such as "cannot listen on 127.0.0.1:80".
    what: String,
    /// The reason, mostly the system's words.
    why: String,
    /// What the user can do about it.
    cure: Option<String>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            why: why.to_string(),
            cure: None,
        }
    }

    /// A failed system call, with the cure for those errors that have a usual one.
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self {
            cure: usual_cure(error).map(str::to_owned),
            ..Self::new(what, error)
        }
    }

    /// Everything on one line, for a list of failures.
    pub(crate) fn reason(&self) -> String {
        match &self.cure {
            Some(cure) => format!("{}: {} ({cure})", self.what, self.why),
            None => format!("{}: {}", self.what, self.why),
        }
    }

    pub(crate) fn with_cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// `corering: <what>: <why>`, and the cure on a line of its own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corering: {}: {}", self.what, self.why)?;
        match &self.cure {
            Some(cure) => write!(f, "\n          {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Says what was tried when a system call failed.
pub(crate) trait OrFail<T> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> OrFail<T> for io::Result<T> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::io(what(), &error))
    }
}

fn usual_cure(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EADDRINUSE => Some("stop the other server, or choose another port"),
        libc::EADDRNOTAVAIL => Some("use an address of this machine, such as 127.0.0.1"),
        libc::EMFILE => Some("raise the limit of open files: ulimit -n 65536"),
        libc::ENOSPC => Some("free some space, or choose another directory"),
        libc::EROFS => Some("choose a directory that can be written to"),
        libc::ECONNREFUSED => Some("is the server running, and is the port right?"),
        libc::EACCES => Some("check the permissions (a port below 1024 needs root)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_why_cure() {
        let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let result: io::Result<()> = Err(in_use);
        let shown = result
            .or_fail(|| "cannot listen on [::]:80".to_owned())
            .unwrap_err();
        assert_eq!(
            shown.to_string(),
            "corering: cannot listen on [::]:80: Address already in use (os error 98)\n          \
             stop the other server, or choose another port"
        );
        let plain = Failure::new("a", "b");
        assert_eq!(plain.to_string(), "corering: a: b");
        assert_eq!(
            plain.with_cure("c").to_string(),
            "corering: a: b\n          c"
        );
    }
}
