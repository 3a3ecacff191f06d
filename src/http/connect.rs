//! A connection of the client, ready for requests: TCP, TLS where the URL says so, HTTP/1.1.
//!
//! ```text
//!   origin ──TcpStream──► http:// ───────────────────────────► hyper's handshake ──► sender
//!                     └─► https:// ──TLS, name verified, ALPN──►┘
//! ```

use super::client::{ClientError, ClientLimits};
use crate::net::TcpStream;
#[cfg(feature = "tls")]
use crate::tls::{TlsConnector, rustls};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::uri::Authority;
use hyper::rt::{Read, Write};
use std::fmt;
#[cfg(feature = "tls")]
use std::{io, sync::OnceLock};

/// What can take a request.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// What a connection is for: whoever shares it shares its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    is_tls: bool,
    /// In small letters; an IPv6 address without its brackets.
    name: String,
    port: u16,
}

/// As messages name it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl Origin {
    /// # Errors
    /// [`ClientError::Url`] for what this client cannot ask for.
    pub(super) fn of(url: &Uri) -> Result<Origin, ClientError> {
        let (is_tls, port) = match url.scheme_str() {
            Some("http") => (false, 80),
            Some("https") if cfg!(feature = "tls") => (true, 443),
            Some("https") => {
                let cure = "build corering with the feature `tls`";
                let what = format!("{} needs TLS: {cure}", shown(url));
                return Err(ClientError::Url(what));
            }
            _ => return Err(no_url(url)),
        };
        let authority = url.authority().ok_or_else(|| no_url(url))?;
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        Ok(Origin {
            is_tls,
            name: bare.unwrap_or(host).to_ascii_lowercase(),
            port: port_of(authority, url)?.unwrap_or(port),
        })
    }
}

/// A URL as messages show it: without the user and the password that it may have.
pub(super) fn shown(url: &Uri) -> String {
    let full = url.to_string();
    let authority = url.authority().map_or("", Authority::as_str);
    match authority.rsplit_once('@') {
        Some((user, _)) => full.replacen(&format!("{user}@"), "", 1),
        None => full,
    }
}

/// The port that stands in the URL. `Authority::port` takes one that is too large for none.
fn port_of(authority: &Authority, url: &Uri) -> Result<Option<u16>, ClientError> {
    let text = authority.as_str();
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let behind = text.strip_prefix(authority.host()).unwrap_or(text);
    match behind.strip_prefix(':') {
        None if behind.is_empty() => Ok(None),
        Some("") => Ok(None),
        port => port.unwrap_or(behind).parse().map(Some).map_err(|_| {
            let cure = "write a number of at most 65535";
            ClientError::Url(format!("{} has a port that is none: {cure}", shown(url)))
        }),
    }
}

fn no_url(url: &Uri) -> ClientError {
    let forms = match cfg!(feature = "tls") {
        true => "http://host/path or https://host/path",
        false => "http://host/path",
    };
    let url = shown(url);
    ClientError::Url(format!(
        "{url} is no URL that this client can ask for: write {forms}"
    ))
}

/// How the connections of a client are made.
#[derive(Debug, Default)]
pub(super) struct Connector {
    /// `None`: trusts the system's roots.
    #[cfg(feature = "tls")]
    tls: Option<TlsConnector>,
}

impl Connector {
    #[cfg(feature = "tls")]
    pub(super) fn with_tls(tls: TlsConnector) -> Connector {
        Connector {
            tls: Some(inside(tls)),
        }
    }

    pub(super) async fn connect(
        &self,
        origin: &Origin,
        limits: &ClientLimits,
    ) -> Result<Sender, ClientError> {
        let address = (origin.name.as_str(), origin.port);
        let stream = TcpStream::connect_timeout(address, limits.connect_time)
            .await
            .map_err(|error| ClientError::Connect(origin.to_string(), error))?;
        let _ = stream.set_nodelay(true);
        // A body that the server does not take keeps its connection no longer than that.
        let _ = stream.set_user_timeout(Some(limits.read_time));
        #[cfg(feature = "tls")]
        if origin.is_tls {
            return self.secure(origin, stream, limits).await;
        }
        begin(stream).await
    }

    #[cfg(feature = "tls")]
    async fn secure(
        &self,
        origin: &Origin,
        stream: TcpStream,
        limits: &ClientLimits,
    ) -> Result<Sender, ClientError> {
        let refused = |error| refusal(origin.to_string(), error);
        let handshake = self.tls().map_err(refused)?.connect(&origin.name, stream);
        match crate::time::timeout(limits.connect_time, handshake).await {
            Ok(shaken) => begin(shaken.map_err(refused)?).await,
            Err(_elapsed) => Err(ClientError::Timeout(
                "waiting for the TLS handshake",
                limits.connect_time,
            )),
        }
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> io::Result<&TlsConnector> {
        match &self.tls {
            Some(tls) => Ok(tls),
            None => system(),
        }
    }
}

/// Trusts the system's roots. To read them takes as long as many requests, so the process does it
/// once.
#[cfg(feature = "tls")]
fn system() -> io::Result<&'static TlsConnector> {
    static SYSTEM: OnceLock<TlsConnector> = OnceLock::new();
    if let Some(tls) = SYSTEM.get() {
        return Ok(tls);
    }
    // Two cores may do it at the same time; one of them is kept.
    let tls = inside(TlsConnector::with_system_roots()?);
    Ok(SYSTEM.get_or_init(|| tls))
}

/// This client speaks HTTP/1.1, whatever else the connector's owner does.
#[cfg(feature = "tls")]
fn inside(tls: TlsConnector) -> TlsConnector {
    tls.alpn(&[b"http/1.1"])
}

async fn begin<S: Read + Write + Unpin + 'static>(stream: S) -> Result<Sender, ClientError> {
    let (sender, connection) = handshake(stream).await.map_err(ClientError::Http)?;
    // It ends with its sender, or with the server; its errors reach whoever waits for it.
    drop(crate::spawn(connection));
    Ok(sender)
}

#[cfg(feature = "tls")]
fn refusal(host: String, error: io::Error) -> ClientError {
    match tls_error(&error) {
        Some(rustls::Error::InvalidCertificate(_)) => ClientError::Certificate(host, error),
        _ => ClientError::Tls(host, error),
    }
}

#[cfg(feature = "tls")]
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Words for what TLS itself has only a name for.
#[cfg(feature = "tls")]
pub(super) fn cure(error: &io::Error) -> Option<&'static str> {
    use rustls::CertificateError::{NotValidForName, Revoked, UnknownIssuer};
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(UnknownIssuer) => Some(
            "it leads to no trusted root (the system's, or those of SSL_CERT_FILE, unless the \
             client was given others)",
        ),
        rustls::Error::InvalidCertificate(NotValidForName) => Some("it is for another name"),
        rustls::Error::InvalidCertificate(Revoked) => Some("its authority has revoked it"),
        _ => None,
    }
}

#[cfg(not(feature = "tls"))]
pub(super) fn cure(_error: &std::io::Error) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Result<Origin, ClientError> {
        Origin::of(&url.parse().expect("a URI"))
    }

    #[test]
    fn messages_show_no_password() {
        for url in [
            "ftp://me:secret@host/a@b",
            "http://me:secret@host:99999/a@b",
        ] {
            let text = origin(url).expect_err("refused").to_string();
            assert!(text.contains("host") && text.contains("/a@b"), "{text}");
            assert!(!text.contains("secret") && !text.contains("me"), "{text}");
        }
    }

    #[test]
    fn connections_are_shared_by_scheme_host_and_port() {
        let plain = origin("http://host/a").unwrap();
        assert_eq!(plain, origin("http://user@host:80/b").unwrap());
        assert_eq!(plain, origin("HTTP://Host:/").unwrap());
        assert_ne!(plain, origin("http://host:443/").unwrap());
        assert_eq!(origin("http://[::1]/").unwrap().port, 80);
        assert_eq!(origin("http://[::1]:8080/").unwrap().name, "::1");
        for wrong in ["/path", "ftp://host/", "host:80"] {
            let error = origin(wrong).unwrap_err().to_string();
            assert!(error.contains("write http://host/path"), "{error}");
        }
    }

    /// Nobody means another port by it, least of all that of the scheme.
    #[test]
    fn a_port_that_is_none_is_refused() {
        for wrong in [
            "http://host:65536/",
            "http://me:1@[::1]:99999/",
            "http://host:x/",
        ] {
            let error = origin(wrong).unwrap_err().to_string();
            assert!(error.contains("at most 65535"), "{error}");
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn https_has_connections_and_a_port_of_its_own() {
        let secret = origin("https://host/").unwrap();
        assert_eq!(secret.to_string(), "host:443");
        assert_ne!(secret, origin("http://host:443/").unwrap());
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn without_tls_the_error_names_the_feature() {
        let error = origin("https://host/").unwrap_err().to_string();
        assert!(error.contains("the feature `tls`"), "{error}");
    }
}
