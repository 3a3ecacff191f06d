//! A small HTTP/1.1 client: hyper on our sockets, with a pool of connections per host.
//!
//! ```text
//!   request ──permit of the host──► idle connection, or a new one ──► head of the answer
//!                                        ▲                                │
//!                                        └── body read to its end ◄── Answer::chunk
//!                                            (dropped before: the connection is closed)
//! ```
//! Rules:
//! 1. A host has so many connections at most; who comes later waits, first come first served.
//! 2. An idle connection may be closed by the server at the moment when it is used again. A request
//!    that fails so is made once more, on a new connection, if it is idempotent or was not sent.
//! 3. Every wait for the network has a limit, that for the address of a name the resolver's own;
//!    the wait for a connection has one if it is given.

use super::connect::{Connector, Origin, Sender, cure, shown};
use super::redirect;
use crate::sync::{OwnedPermit, Semaphore};
use crate::time::{Elapsed, Instant, timeout};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What a [`Client`] may use, and how long it waits.
///
/// ```
/// use corering::http::ClientLimits;
/// let limits = ClientLimits { connections_per_host: 4, ..ClientLimits::default() };
/// assert_eq!(limits.connect_time.as_secs(), 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections to one host (and port, and scheme) at the same time. 32.
    pub connections_per_host: usize,
    /// How long a request waits while all connections to its host are taken. `None`: as long as
    /// it takes.
    pub acquire_time: Option<Duration>,
    /// To connect, for each address of the host; and for the TLS handshake. 10 s. The lookup of
    /// the host's name has its resolver's limit.
    pub connect_time: Duration,
    /// From the request to the head of the answer, and from one piece of its body to the next.
    /// 30 s.
    pub read_time: Duration,
    /// How long an idle connection is kept. 30 s, which is less than most servers keep theirs.
    pub idle_time: Duration,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            connections_per_host: 32,
            acquire_time: None,
            connect_time: Duration::from_secs(10),
            read_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(30),
        }
    }
}

/// An HTTP/1.1 client of one core. Clones share one pool of connections.
///
/// It keeps no cookies, and follows redirects where it is asked to
/// ([`get_following`](Client::get_following)).
///
/// With the feature `tls` it takes `https://` URLs, too. The server must show a certificate for the
/// host of the URL that leads to one of the roots: the system's, unless the client is made
/// `with_tls`. They are read once, at the first such request of the process, which blocks its core
/// for some milliseconds; `TlsConnector::with_system_roots` does it where it suits.
///
/// ```no_run
/// # async fn f() -> Result<(), corering::http::ClientError> {
/// use corering::http::Client;
/// let client = Client::default();
/// let mut answer = client.get(&"http://localhost:8080/big.iso".parse().unwrap()).await?;
/// println!("{} {:?}", answer.status(), answer.content_length());
/// while let Some(chunk) = answer.chunk().await? {
///     println!("{} bytes", chunk.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Client {
    pool: Rc<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    limits: ClientLimits,
    connector: Connector,
    hosts: RefCell<HashMap<Origin, Rc<Host>>>,
}

/// One scheme, host and port, as it stands in URLs.
#[derive(Debug)]
struct Host {
    origin: Origin,
    permits: Rc<Semaphore>,
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Client {
    /// A client with these limits.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Client {
        Client::with_connector(limits, Connector::default())
    }

    /// A client with these limits, whose `https://` connections this connector makes: with other
    /// roots, or a certificate of the client's own. It offers `http/1.1` inside (ALPN), whatever
    /// the connector does.
    ///
    /// ```no_run
    /// use corering::http::{Client, ClientLimits};
    /// use corering::tls::pki_types::{CertificateDer, pem::PemObject};
    /// use corering::tls::{TlsConnector, rustls::RootCertStore};
    ///
    /// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut roots = RootCertStore::empty();
    /// roots.add(CertificateDer::from_pem_slice(&corering::fs::read("our-ca.pem").await?)?)?;
    /// let client = Client::with_tls(ClientLimits::default(), TlsConnector::with_roots(roots));
    /// let answer = client.get(&"https://intranet.example/".parse()?).await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(limits: ClientLimits, connector: crate::tls::TlsConnector) -> Client {
        Client::with_connector(limits, Connector::with_tls(connector))
    }

    fn with_connector(limits: ClientLimits, connector: Connector) -> Client {
        let pool = Pool {
            limits,
            connector,
            hosts: RefCell::default(),
        };
        Client {
            pool: Rc::new(pool),
        }
    }

    /// Asks for a resource.
    ///
    /// # Errors
    /// See [`request`](Client::request).
    ///
    /// # Cancel safety
    /// Safe: the connection is closed.
    pub async fn get(&self, url: &Uri) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.clone();
        self.request(request).await
    }

    /// Asks for a resource, and for what it redirects to (301, 302, 303, 307 and 308), at most
    /// `redirects_max` times. The answer says at which [`url`](Answer::url) it was found.
    ///
    /// Nothing leads from `https://` to `http://`, where anybody could change it.
    ///
    /// # Errors
    /// See [`request`](Client::request); and [`ClientError::Redirect`] for one redirect too many,
    /// or one that leads to what is not asked for.
    ///
    /// # Cancel safety
    /// Safe: the connection is closed.
    ///
    /// ```no_run
    /// # async fn f(client: corering::http::Client) -> Result<(), corering::http::ClientError> {
    /// let answer = client.get_following(&"http://localhost/latest".parse().unwrap(), 10).await?;
    /// println!("{} from {}", answer.status(), answer.url());
    /// # Ok(()) }
    /// ```
    pub async fn get_following(
        &self,
        url: &Uri,
        redirects_max: usize,
    ) -> Result<Answer, ClientError> {
        let mut answer = self.get(url).await?;
        for _ in 0..redirects_max {
            let Some(location) = redirect::location(answer.status, &answer.headers) else {
                return Ok(answer);
            };
            let next = redirect::target(&answer.url, location).map_err(ClientError::Redirect)?;
            answer.skip_short().await;
            drop(answer);
            answer = self.get(&next).await?;
        }
        match redirect::location(answer.status, &answer.headers) {
            None => Ok(answer),
            Some(location) => Err(ClientError::Redirect(format!(
                "{} redirects more than {redirects_max} times, at last to {}",
                shown(url),
                String::from_utf8_lossy(location).escape_debug()
            ))),
        }
    }

    /// Makes a request. Its URL stands in full (`http://host/path`); `Host` is added. A user and a
    /// password in it are not sent: who has them sets the header `Authorization`.
    ///
    /// An answer of any status is `Ok`.
    ///
    /// # Errors
    /// [`ClientError`]: what was being done, and why it failed.
    ///
    /// # Cancel safety
    /// As the request's own: it may have been made. The connection is closed.
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let url = request.uri().clone();
        let host = self.pool.host(&url)?;
        let permit = self.pool.permit(&host).await?;
        let request = in_origin_form(request)?;
        let again = match self.pool.take_idle(&host).await {
            None => request,
            Some(sender) => match self.send(sender, request.clone()).await {
                Err(Sent { error, stale: true }) => {
                    // The pool's other connections are as old: this one shall be new.
                    drop(error);
                    request
                }
                Err(Sent { error, .. }) => return Err(error),
                Ok(sent) => return Ok(self.answer(url, sent, host, permit)),
            },
        };
        let pool = &self.pool;
        let sender = pool.connector.connect(&host.origin, &pool.limits).await?;
        match self.send(sender, again).await {
            Ok(sent) => Ok(self.answer(url, sent, host, permit)),
            Err(Sent { error, .. }) => Err(error),
        }
    }

    async fn send(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Sender), Sent> {
        let repeatable = request.method().is_idempotent();
        let sending = sender.try_send_request(request);
        match timeout(self.pool.limits.read_time, sending).await {
            Ok(Ok(response)) => Ok((response, sender)),
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().is_some();
                let error = failed.into_error();
                let stale = unsent || (repeatable && ended_early(&error));
                let error = ClientError::Http(error);
                Err(Sent { error, stale })
            }
            Err(Elapsed { .. }) => Err(Sent {
                error: ClientError::Timeout("waiting for the answer", self.pool.limits.read_time),
                stale: false,
            }),
        }
    }

    fn answer(
        &self,
        url: Uri,
        (response, sender): (Response<Incoming>, Sender),
        host: Rc<Host>,
        permit: OwnedPermit,
    ) -> Answer {
        let (head, body) = response.into_parts();
        let mut answer = Answer {
            url,
            status: head.status,
            headers: head.headers,
            body,
            read_time: self.pool.limits.read_time,
            connection: Some(Connection {
                sender,
                host,
                _permit: permit,
            }),
        };
        if answer.body.is_end_stream() {
            answer.give_back();
        }
        answer
    }
}

/// A request that failed.
struct Sent {
    error: ClientError,
    /// The connection had been closed before: another one may do better.
    stale: bool,
}

/// The connection was closed or reset before an answer began.
fn ended_early(error: &hyper::Error) -> bool {
    let by_io = error.source().and_then(|source| source.downcast_ref());
    let reset = by_io.is_some_and(|error: &io::Error| {
        matches!(
            error.kind(),
            // The last one is TLS that was cut off.
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    });
    error.is_incomplete_message() || error.is_closed() || error.is_canceled() || reset
}

impl Pool {
    fn host(&self, url: &Uri) -> Result<Rc<Host>, ClientError> {
        let origin = Origin::of(url)?;
        let mut hosts = self.hosts.borrow_mut();
        if let Some(host) = hosts.get(&origin) {
            return Ok(host.clone());
        }
        // A crawler meets many hosts: those of whom nothing is left are forgotten.
        hosts.retain(|_, host| Rc::strong_count(host) > 1 || host.has_idle(self.limits.idle_time));
        let host = Rc::new(Host {
            origin: origin.clone(),
            permits: Rc::new(Semaphore::new(self.limits.connections_per_host)),
            idle: RefCell::default(),
        });
        hosts.insert(origin, host.clone());
        Ok(host)
    }

    async fn permit(&self, host: &Host) -> Result<OwnedPermit, ClientError> {
        let acquiring = host.permits.clone().acquire_owned();
        let permit = match self.limits.acquire_time {
            None => acquiring.await,
            Some(limit) => timeout(limit, acquiring).await.map_err(|_elapsed| {
                ClientError::Timeout("waiting for a connection of the pool", limit)
            })?,
        };
        Ok(permit.expect("nobody closes the semaphore"))
    }

    /// A connection that can take a request, the last used one first.
    async fn take_idle(&self, host: &Host) -> Option<Sender> {
        host.has_idle(self.limits.idle_time);
        loop {
            let mut idle = host.idle.borrow_mut().pop()?;
            // Ready in the same turn, or after the connection's task has had its own; unless the
            // server answered early, and does not read the rest of the request before.
            let ready = timeout(self.limits.connect_time, idle.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(idle.sender);
            }
        }
    }
}

impl Host {
    /// Closes the connections that were idle for too long; whether any is left.
    fn has_idle(&self, limit: Duration) -> bool {
        let mut idle = self.idle.borrow_mut();
        if !idle.is_empty() {
            let now = Instant::now();
            idle.retain(|idle| !idle.sender.is_closed() && now - idle.since < limit);
        }
        !idle.is_empty()
    }
}

/// A request that goes to the host itself: the path in its line, the host as a header.
fn in_origin_form(request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, ClientError> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().map_or("", |authority| {
        let text = authority.as_str();
        text.rsplit_once('@').map_or(text, |(_, host)| host)
    });
    let host = HeaderValue::from_str(authority)
        .map_err(|_| ClientError::Url(format!("{authority:?} is no host")))?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = match head.method {
        Method::OPTIONS if path == "*" => Uri::from_static("*"),
        _ => path
            .parse()
            .map_err(|error| ClientError::Url(format!("{path:?} is no path: {error}")))?,
    };
    head.uri = target;
    head.headers.entry(HOST).or_insert(host);
    Ok(Request::from_parts(head, body))
}

#[derive(Debug)]
struct Connection {
    sender: Sender,
    host: Rc<Host>,
    /// Given back after the sender is in the pool.
    _permit: OwnedPermit,
}

/// To read so much of a redirect's body, in bytes, costs less than a new connection.
const SKIPPED_BYTES_MAX: u64 = 16 * 1024;

/// The answer to a request: its head is here, its body comes.
///
/// Read it to its end, and the connection is used again; drop it before, and the connection is
/// closed.
///
/// ```no_run
/// # async fn f(mut answer: corering::http::Answer) -> Result<(), corering::http::ClientError> {
/// assert!(answer.status().is_success());
/// let body = answer.bytes(1 << 20).await?;
/// println!("{} bytes", body.len());
/// # Ok(()) }
/// ```
pub struct Answer {
    url: Uri,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    read_time: Duration,
    connection: Option<Connection>,
}

impl fmt::Debug for Answer {
    /// How many headers, not which: they may say who somebody is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The URL that was asked for; after redirects, the last one.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The announced length of the body, in bytes; `None` where it is not announced.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// The next piece of the body, which is never empty; `None` at its end.
    ///
    /// # Errors
    /// [`ClientError::Http`] if the body breaks off before its announced end, or the connection
    /// does; [`ClientError::Timeout`] if nothing comes for too long.
    ///
    /// # Cancel safety
    /// Safe: the piece is returned by the next call.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = match timeout(self.read_time, self.body.frame()).await {
                Ok(None) => {
                    self.give_back();
                    return Ok(None);
                }
                Ok(Some(frame)) => frame,
                Err(Elapsed { .. }) => {
                    self.connection = None;
                    return Err(ClientError::Timeout("reading the body", self.read_time));
                }
            };
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) if !data.is_empty() => return Ok(Some(data)),
                // Nothing, or trailers.
                Ok(_) => {}
                Err(error) => {
                    self.connection = None;
                    return Err(ClientError::Http(error));
                }
            }
        }
    }

    /// The rest of the body in one piece, of at most `len_max` bytes.
    ///
    /// # Errors
    /// As [`chunk`](Answer::chunk); [`ClientError::TooLong`].
    ///
    /// # Cancel safety
    /// Not safe: what came before the drop is lost.
    pub async fn bytes(&mut self, len_max: usize) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > len_max {
                self.connection = None;
                return Err(ClientError::TooLong(len_max));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Reads a body that is announced as short, so that its connection can be used again. What
    /// goes wrong closes it, and concerns nobody.
    async fn skip_short(&mut self) {
        if self
            .content_length()
            .is_some_and(|len| len <= SKIPPED_BYTES_MAX)
        {
            let limit = self.read_time;
            // For all of it, not for each piece: a body that drips would hold the redirect up.
            drop(timeout(limit, self.bytes(SKIPPED_BYTES_MAX as usize)).await);
        }
    }

    /// The body is read to its end: the connection can be used again.
    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            let Connection {
                sender,
                host,
                _permit: permit,
            } = connection;
            if !sender.is_closed() {
                let since = Instant::now();
                host.idle.borrow_mut().push(Idle { sender, since });
            }
            drop(permit);
        }
    }
}

/// Why a request of a [`Client`] failed.
///
/// ```
/// let error = corering::http::ClientError::TooLong(10);
/// assert_eq!(error.to_string(), "the body is longer than 10 bytes");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be asked for.
    Url(String),
    /// The host (and port) was not reached.
    Connect(String, io::Error),
    /// The host (and port) showed a certificate that is not trusted: of another name, out of date,
    /// or of no known authority. The error's source is the `rustls::Error`. (Feature `tls`.)
    Certificate(String, io::Error),
    /// The host (and port) was reached, but TLS did not come about; or there are no roots to trust.
    /// (Feature `tls`.)
    Tls(String, io::Error),
    /// A redirect leads to where the client does not go, or there are too many.
    Redirect(String),
    /// What was being done, and how long it was waited for.
    Timeout(&'static str, Duration),
    /// The connection broke off, or the server spoke no HTTP.
    Http(hyper::Error),
    /// The body has more bytes than the caller wanted.
    TooLong(usize),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Url(why) | ClientError::Redirect(why) => f.write_str(why),
            ClientError::Connect(host, error) => write!(f, "cannot connect to {host}: {error}"),
            ClientError::Certificate(host, error) => {
                write!(f, "the certificate of {host} is refused: ")?;
                match cure(error) {
                    Some(why) => f.write_str(why),
                    None => error.fmt(f),
                }
            }
            ClientError::Tls(host, error) => write!(f, "no TLS with {host}: {error}"),
            ClientError::Timeout(what, limit) => {
                write!(f, "nothing came for {limit:?} while {what}")
            }
            ClientError::Http(error) => match error.source() {
                Some(source) => write!(f, "{error}: {source}"),
                None => error.fmt(f),
            },
            ClientError::TooLong(max) => write!(f, "the body is longer than {max} bytes"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ClientError::Connect(_, error)
            | ClientError::Certificate(_, error)
            | ClientError::Tls(_, error) => Some(error),
            ClientError::Http(error) => Some(error),
            _ => None,
        }
    }
}
