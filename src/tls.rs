//! TLS over any stream, by rustls: a connector, an acceptor, and the stream that both make.
//!
//! Rules
//! 1. The records are rustls' business, through the crate `futures-rustls`. Nothing here asks for a
//!    runtime: what reads and writes as a `futures` stream can carry TLS, a
//!    [`TcpStream`](crate::net::TcpStream) or a [`UnixStream`](crate::net::UnixStream) as well as
//!    an [`io::duplex`](crate::io::duplex).
//! 2. The cryptography is always named (`ring`), never the process's default: so no other crate of
//!    the program can take it away.
//! 3. The end of a connection is authentic: a stream that was cut off gives `UnexpectedEof`, and
//!    only the peer's own word (`close_notify`) is an end of file.
//!
//! ```text
//!   connector.connect(name, stream) ──handshake──► TlsStream ──close()──► close_notify, shutdown
//!   acceptor.accept(stream) ─────────handshake──►     │ drop
//!        │ drop, error: the stream is closed          ▼
//!        ▼                                     the peer finds the stream cut off
//! ```
//!
//! # In a simulation
//! TLS runs in a simulation (`corering::sim`) as it is, and certificates are held against the
//! simulated time of day where the test crate has `follow_the_seed!`. The keys are the one thing
//! that does not follow the seed: `ring` draws them by a system call of its own. So the bytes on
//! the wire differ from run to run, but a run is still a function of its seed if their number does
//! not, which is so with certificates of Ed25519 or RSA; signatures of ECDSA vary by a byte or two.
//!
//! # Upgrading a connection
//! asyncio's `start_tls` is [`connect`](TlsConnector::connect) on a stream that has been used
//! already, as SMTP, IMAP, FTP and PostgreSQL do after a few plain lines. What the stream has
//! received and nobody has read is the beginning of the handshake, so nothing is lost. A
//! [`BufReader`](crate::io::BufReader) in between may have read further than the last plain line:
//! its [`buffer`](crate::io::BufReader::buffer) must be empty before
//! [`into_inner`](crate::io::BufReader::into_inner), or somebody has put words into the mouth of
//! the encrypted connection.
//!
//! ```no_run
//! use corering::io::BufReader;
//! use corering::net::TcpStream;
//! use corering::tls::{TlsConnector, TlsStream};
//! use std::io::{Error, Result};
//!
//! async fn start_tls(connector: &TlsConnector, host: &str) -> Result<TlsStream<TcpStream>> {
//!     let mut plain = BufReader::new(TcpStream::connect((host, 25)).await?);
//!     let _greeting = plain.next_line().await?;
//!     plain.get_mut().write_all(b"STARTTLS\r\n").await?;
//!     let _go_ahead = plain.next_line().await?;
//!     if !plain.buffer().is_empty() {
//!         return Err(Error::other("the peer has said more than it may before the handshake"));
//!     }
//!     connector.connect(host, plain.into_inner()).await
//! }
//! ```

pub use futures_rustls::{pki_types, rustls};

use futures_io::{AsyncRead, AsyncWrite};
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, CommonState, ProtocolVersion, RootCertStore, ServerConfig};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Begins TLS as the client. A clone shares the configuration and the sessions to resume.
///
/// ```no_run
/// use corering::net::TcpStream;
/// use corering::tls::rustls::RootCertStore;
/// use corering::tls::{TlsConnector, pki_types::CertificateDer};
/// use corering::tls::pki_types::pem::PemObject;
/// use futures::{AsyncReadExt, AsyncWriteExt};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// // What this machine trusts; or certain roots only:
/// let connector = TlsConnector::with_system_roots()?;
/// let mut roots = RootCertStore::empty();
/// let bundle = corering::fs::read("our-authorities.pem").await?;
/// for certificate in CertificateDer::pem_slice_iter(&bundle) {
///     roots.add(certificate?)?;
/// }
/// let connector = TlsConnector::with_roots(roots).alpn(&[b"http/1.1"]);
/// let stream = TcpStream::connect("example.org:443").await?;
/// let mut stream = connector.connect("example.org", stream).await?;
/// stream.write_all(b"GET / HTTP/1.0\r\nHost: example.org\r\n\r\n").await?;
/// stream.flush().await?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    /// Trusts servers whose certificates lead to these roots; shows no certificate itself.
    #[must_use]
    pub fn with_roots(roots: RootCertStore) -> TlsConnector {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Trusts what this machine trusts: the roots of its store, or those in the file that
    /// `SSL_CERT_FILE` names and in the directories of `SSL_CERT_DIR`. Single certificates that
    /// cannot be read are left out.
    ///
    /// It reads and parses some hundred certificates, which blocks the thread for some
    /// milliseconds: do it once, before a server serves.
    ///
    /// # Errors
    /// `NotFound` if there is no certificate at all; it says where to get them.
    pub fn with_system_roots() -> io::Result<TlsConnector> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _left_out) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let mut what = "no root certificates: install those of this system (the package \
                            ca-certificates), or name a file of them in SSL_CERT_FILE"
                .to_owned();
            for error in &found.errors {
                what.push_str(&format!("; {error}"));
            }
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        Ok(TlsConnector::with_roots(roots))
    }

    /// Offers these protocols for what is inside (ALPN), the best first: `&[b"h2", b"http/1.1"]`.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&[u8]]) -> TlsConnector {
        Arc::make_mut(&mut self.config).alpn_protocols = names(protocols);
        self
    }

    /// Shakes hands with the server at the other end of `stream`, whose certificate must be for
    /// `name`, a host name or an IP address. The stream may have been used before; see
    /// [the module](self) for an upgrade.
    ///
    /// It waits as long as the peer makes it wait: put a [`timeout`](crate::time::timeout())
    /// around it.
    ///
    /// # Errors
    /// `InvalidInput` if `name` is none; `InvalidData` for what TLS refuses, a certificate that is
    /// not trusted first of all, with the [`rustls::Error`] as its source; `UnexpectedEof` if the
    /// peer breaks off; what the stream says.
    ///
    /// # Cancel safety
    /// Dropping it drops the stream, and with it the connection: a handshake has no way back.
    pub async fn connect<S>(&self, name: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(name) = ServerName::try_from(name.to_owned()) else {
            let what =
                format!("{name:?} is neither a host name nor an IP address (without a port)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        };
        let connector = futures_rustls::TlsConnector::from(self.config.clone());
        let inner = connector.connect(name, stream).await?.into();
        Ok(TlsStream { inner })
    }
}

/// Any other configuration: a client's certificate, own verification, a log of the keys. Make it
/// with `ClientConfig::builder_with_provider`.
impl From<Arc<ClientConfig>> for TlsConnector {
    fn from(config: Arc<ClientConfig>) -> TlsConnector {
        TlsConnector { config }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// Begins TLS as the server. A clone shares the configuration.
///
/// ```no_run
/// use corering::net::TcpListener;
/// use corering::time::timeout;
/// use corering::tls::{TlsAcceptor, pki_types};
/// use futures::AsyncWriteExt;
/// use pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
/// use std::time::Duration;
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let chain = corering::fs::read("chain.pem").await?;
/// let key = corering::fs::read("key.pem").await?;
/// let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>()?;
/// let acceptor = TlsAcceptor::with_certificate(chain, PrivateKeyDer::from_pem_slice(&key)?)?;
/// let listener = TcpListener::bind("0.0.0.0:7443").await?;
/// loop {
///     let (stream, _peer) = listener.accept().await?;
///     let acceptor = acceptor.clone();
///     corering::spawn(async move {
///         let handshake = timeout(Duration::from_secs(10), acceptor.accept(stream));
///         let mut stream = handshake.await.map_err(std::io::Error::other)??;
///         stream.write_all(b"hello\n").await?;
///         stream.close().await
///     });
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
}

impl TlsAcceptor {
    /// Shows this chain of certificates, the server's own first; asks clients for none.
    ///
    /// # Errors
    /// `InvalidInput` if the key is of no known kind, or not that of the certificate; with the
    /// [`rustls::Error`] as its source.
    pub fn with_certificate(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> io::Result<TlsAcceptor> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Speaks these protocols inside (ALPN), the best first. A client that offers others only is
    /// refused; one that offers none is not.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&[u8]]) -> TlsAcceptor {
        Arc::make_mut(&mut self.config).alpn_protocols = names(protocols);
        self
    }

    /// Shakes hands with the client at the other end of `stream`, which may have been used before;
    /// see [the module](self) for an upgrade.
    ///
    /// It waits as long as the peer makes it wait: put a [`timeout`](crate::time::timeout())
    /// around it.
    ///
    /// # Errors
    /// `InvalidData` for what TLS refuses, with the [`rustls::Error`] as its source: a client that
    /// speaks no TLS, or has no protocol or cipher in common, or does not trust the certificate;
    /// `UnexpectedEof` if it breaks off; what the stream says.
    ///
    /// # Cancel safety
    /// Dropping it drops the stream, and with it the connection: a handshake has no way back.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = futures_rustls::TlsAcceptor::from(self.config.clone());
        let inner = acceptor.accept(stream).await?.into();
        Ok(TlsStream { inner })
    }
}

/// Any other configuration: certificates by name, clients' certificates, tickets. Make it with
/// `ServerConfig::builder_with_provider`.
impl From<Arc<ServerConfig>> for TlsAcceptor {
    fn from(config: Arc<ServerConfig>) -> TlsAcceptor {
        TlsAcceptor { config }
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn names(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.to_vec()).collect()
}

/// A stream inside of TLS, of either side; made by [`TlsConnector::connect`] and
/// [`TlsAcceptor::accept`].
///
/// It reads and writes by the traits of `futures`, and with the features `tokio-io` and `hyper` by
/// those. Writing fills records that leave when there are enough, or at a `flush`: flush before
/// waiting for an answer. `close` says goodbye (`close_notify`) and shuts the stream's writing side
/// down; a stream that is dropped without it looks to the peer as if somebody had cut it off.
///
/// # Errors
/// Reading gives `UnexpectedEof` where the stream ends without the peer's goodbye, and
/// `InvalidData`, with the [`rustls::Error`] as its source, where somebody has tampered with it.
/// All else is what the stream below says.
///
/// # Cancel safety
/// Dropping a read loses nothing. Dropping a `write_all` may leave any part of the bytes accepted,
/// as whole records that are sent with what is written next: the stream stays usable, but who
/// drops it does not know where it stands. `flush` and `close` can be called again.
///
/// ```
/// use corering::tls::TlsStream;
/// use futures::{AsyncRead, AsyncWrite, AsyncReadExt, AsyncWriteExt};
///
/// async fn ask<S>(stream: &mut TlsStream<S>) -> std::io::Result<Vec<u8>>
/// where
///     S: AsyncRead + AsyncWrite + Unpin,
/// {
///     stream.write_all(b"what time is it?\n").await?;
///     stream.flush().await?;
///     let mut answer = Vec::new();
///     stream.read_to_end(&mut answer).await?;
///     stream.close().await?;
///     Ok(answer)
/// }
/// ```
pub struct TlsStream<S> {
    inner: futures_rustls::TlsStream<S>,
}

impl<S> TlsStream<S> {
    /// The protocol that both sides have agreed on (ALPN), if any was offered.
    #[must_use]
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// The peer's certificates, its own first, if it has shown any.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.state().peer_certificates()
    }

    /// TLS 1.2 or 1.3.
    #[must_use]
    pub fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.state().protocol_version()
    }

    /// On the server's side the name that the client has asked for (SNI), if any.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.inner {
            futures_rustls::TlsStream::Server(server) => server.get_ref().1.server_name(),
            futures_rustls::TlsStream::Client(_) => None,
        }
    }

    /// The stream below, for its addresses and options.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref().0
    }

    /// The stream below. What is read from it or written to it by hand breaks the connection.
    pub fn get_mut(&mut self) -> &mut S {
        self.inner.get_mut().0
    }

    fn state(&self) -> &CommonState {
        self.inner.get_ref().1
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("version", &self.protocol_version())
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Without room there is nothing to read, and rustls would take it for the end.
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(feature = "tokio-io")]
impl<S: AsyncRead + AsyncWrite + Unpin> tokio::io::AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        AsyncRead::poll_read(self, cx, room).map_ok(|n| buf.advance(n))
    }
}

#[cfg(feature = "tokio-io")]
crate::io::write_by_futures!(
    tokio::io::AsyncWrite,
    TlsStream<S>,
    S: AsyncRead + AsyncWrite + Unpin
);

/// What one read of hyper takes at most, in bytes: it goes through a buffer on the stack, because
/// hyper's own may be uninitialised memory.
#[cfg(feature = "hyper")]
const HYPER_READ_BYTES: usize = 8 * 1024;

#[cfg(feature = "hyper")]
impl<S: AsyncRead + AsyncWrite + Unpin> hyper::rt::Read for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; HYPER_READ_BYTES];
        let room = buf.remaining().min(HYPER_READ_BYTES);
        AsyncRead::poll_read(self, cx, &mut chunk[..room]).map_ok(|n| buf.put_slice(&chunk[..n]))
    }
}

#[cfg(feature = "hyper")]
crate::io::write_by_futures!(
    hyper::rt::Write,
    TlsStream<S>,
    S: AsyncRead + AsyncWrite + Unpin
);
