//! Why a name has no address: it is not there, or nobody could tell.

use hickory_resolver::net::{DnsError, NetError};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a lookup of a [`Resolver`](super::Resolver) failed, with the name that was looked up.
///
/// As an `io::Error`, which [`connect`](crate::net::TcpStream::connect) returns, it is the source
/// of one of this kind: `NotFound` for the first two, `InvalidInput`, `TimedOut`, the kernel's, or
/// `Other`.
///
/// ```
/// use corering::dns::LookupError;
/// use std::io;
///
/// let error = io::Error::from(LookupError::NotFound("nowhere.example".to_owned()));
/// assert_eq!(error.kind(), io::ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "there is no host \"nowhere.example\"");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LookupError {
    /// A name server says that there is no such name.
    NotFound(String),
    /// The name is there, but no address belongs to it.
    NoAddress(String),
    /// This cannot be a host's name, and why.
    Invalid(String, String),
    /// None of these name servers answered in time.
    Timeout(String, Vec<SocketAddr>),
    /// These name servers could not be asked, and what the kernel says.
    Unreachable(String, Vec<SocketAddr>, io::Error),
    /// These name servers answered, but could not help; and what they say.
    Refused(String, Vec<SocketAddr>, String),
}

impl LookupError {
    pub(super) fn of(name: &str, servers: &[SocketAddr], error: NetError) -> LookupError {
        let (name, servers) = (name.to_owned(), servers.to_vec());
        match error {
            error if error.is_nx_domain() => LookupError::NotFound(name),
            NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NoAddress(name),
            NetError::Proto(error) => LookupError::Invalid(name, error.to_string()),
            NetError::Timeout => LookupError::Timeout(name, servers),
            NetError::Io(error) => {
                let error = match error.raw_os_error() {
                    Some(errno) => io::Error::from_raw_os_error(errno),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                LookupError::Unreachable(name, servers, error)
            }
            error => LookupError::Refused(name, servers, error.to_string()),
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            LookupError::NotFound(_) | LookupError::NoAddress(_) => io::ErrorKind::NotFound,
            LookupError::Invalid(..) => io::ErrorKind::InvalidInput,
            LookupError::Timeout(..) => io::ErrorKind::TimedOut,
            LookupError::Unreachable(.., error) => error.kind(),
            LookupError::Refused(..) => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupError::NotFound(name) => write!(f, "there is no host {name:?}"),
            LookupError::NoAddress(name) => write!(f, "the host {name:?} has no address"),
            LookupError::Invalid(name, why) => write!(f, "{name:?} is no host name: {why}"),
            LookupError::Timeout(name, servers) => write!(
                f,
                "no name server told in time where {name:?} is ({servers:?}): are they the right \
                 ones, and does the network let UDP and TCP to them through?"
            ),
            LookupError::Unreachable(name, servers, error) => {
                write!(f, "{name:?} cannot be asked for at {servers:?}: {error}")
            }
            LookupError::Refused(name, servers, why) => {
                write!(
                    f,
                    "the name servers {servers:?} do not look {name:?} up: {why}"
                )
            }
        }
    }
}

impl Error for LookupError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LookupError::Unreachable(.., error) => Some(error),
            _ => None,
        }
    }
}

impl From<LookupError> for io::Error {
    fn from(error: LookupError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}
