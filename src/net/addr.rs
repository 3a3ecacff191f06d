//! What can be turned into socket addresses.

use crate::driver::lookup;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Something that names one or more socket addresses: an address, a host name with a port, a
/// list. Names are looked up by the machine's resolver, on one helper thread; or by the core itself
/// where a `dns::Resolver` is installed (feature `dns-hickory`).
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// use corering::net::TcpStream;
/// TcpStream::connect("localhost:8080").await?;
/// TcpStream::connect(("127.0.0.1", 8080)).await?;
/// # Ok(()) }
/// ```
pub trait ToSocketAddrs {
    #[doc(hidden)]
    fn to_question(&self) -> io::Result<Question>;
}

/// What has to be asked to get the addresses.
#[doc(hidden)]
#[derive(Debug)]
pub enum Question {
    Known(Vec<SocketAddr>),
    Name(String, u16),
}

/// The addresses of a host, with the port; in the order in which they should be tried.
///
/// # Errors
/// What the resolver says: no such name, no answer.
///
/// # Cancel safety
/// Dropping it loses nothing; a question that was asked is still answered, to nobody.
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// let addresses = corering::net::lookup_host("localhost:80").await?;
/// assert!(addresses.iter().all(|address| address.port() == 80));
/// # Ok(()) }
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    match host.to_question()? {
        Question::Known(addresses) => Ok(addresses),
        Question::Name(host, port) => lookup::lookup(&host, port).await,
    }
}

/// Tries `attempt` on each address until one succeeds.
pub(super) async fn first_that_works<T, Fut>(
    host: impl ToSocketAddrs,
    mut attempt: impl FnMut(SocketAddr) -> Fut,
) -> io::Result<T>
where
    Fut: Future<Output = io::Result<T>>,
{
    let mut last = None;
    for address in lookup_host(host).await? {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    let none = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the list of addresses is empty",
        )
    };
    Err(last.unwrap_or_else(none))
}

macro_rules! known {
    ($($type:ty),*) => {
        $(impl ToSocketAddrs for $type {
            fn to_question(&self) -> io::Result<Question> {
                Ok(Question::Known(vec![(*self).into()]))
            }
        })*
    };
}

known!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl ToSocketAddrs for [SocketAddr] {
    fn to_question(&self) -> io::Result<Question> {
        Ok(Question::Known(self.to_vec()))
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_question(&self) -> io::Result<Question> {
        Ok(Question::Known(self.clone()))
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_question(&self) -> io::Result<Question> {
        let (host, port) = *self;
        // An IPv6 address may stand in brackets, as it does in a URL.
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match bare.unwrap_or(host).parse::<IpAddr>() {
            Ok(ip) => Ok(Question::Known(vec![SocketAddr::new(ip, port)])),
            Err(_) => name(host, port),
        }
    }
}

fn name(host: &str, port: u16) -> io::Result<Question> {
    if host.is_empty() || host.contains('\0') {
        let what = format!("{host:?} is no host name");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(Question::Name(host.to_owned(), port))
}

impl ToSocketAddrs for (String, u16) {
    fn to_question(&self) -> io::Result<Question> {
        (self.0.as_str(), self.1).to_question()
    }
}

impl ToSocketAddrs for str {
    fn to_question(&self) -> io::Result<Question> {
        if let Ok(address) = self.parse() {
            return Ok(Question::Known(vec![address]));
        }
        let parts = self.rsplit_once(':');
        let port = parts.and_then(|(_, port)| port.parse().ok());
        match (parts, port) {
            (Some((host, _)), Some(port)) => (host, port).to_question(),
            _ => {
                let what = format!("{self:?} is no address: it needs a host and a port, host:80");
                Err(io::Error::new(io::ErrorKind::InvalidInput, what))
            }
        }
    }
}

impl ToSocketAddrs for String {
    fn to_question(&self) -> io::Result<Question> {
        self.as_str().to_question()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_question(&self) -> io::Result<Question> {
        (**self).to_question()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_resolver_and_nonsense_is_refused() {
        for text in ["127.0.0.1:80", "[::1]:80"] {
            assert!(
                matches!(text.to_question(), Ok(Question::Known(_))),
                "{text}"
            );
        }
        assert!(matches!(
            ("[::1]", 80).to_question(),
            Ok(Question::Known(_))
        ));
        assert!(matches!(
            "localhost:80".to_question(),
            Ok(Question::Name(..))
        ));
        for text in ["localhost", "host:99999", ":80", "", "a\0b:80"] {
            let error = text.to_question().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}");
        }
    }
}
