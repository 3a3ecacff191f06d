//! Certificates, and an HTTPS server of our own on a thread of its own: TLS below, hyper inside.

#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use corering::net::TcpListener;
use corering::time::sleep;
use corering::tls::{TlsAcceptor, pki_types::PrivateKeyDer};
use corering::{Handle, Runtime, spawn};
use futures::future::{Either, select};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::LOCATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Who signs.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Authority { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Shows a certificate for these names, which is good until that year begins.
    pub fn acceptor(&self, names: &[&str], until: i32) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.certificate, &self.key);
        let chain = vec![signed.expect("signed").der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        TlsAcceptor::with_certificate(chain, key).expect("a certificate with its key")
    }
}

/// An HTTPS server on loopback, until it is dropped.
///
/// It answers with the path; `/slow` after a while; `/hop/3` redirects to `/hop/2`, and so on to
/// the path `/found`; `/loop` redirects to itself; and `/to?URL` to that URL.
pub struct Server {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    thread: Option<(Handle, JoinHandle<()>)>,
}

impl Server {
    pub fn start(acceptor: TlsAcceptor) -> Server {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut runtime = Runtime::new().expect("a runtime");
            let handle = runtime.handle();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address");
                tell.send((address, handle)).expect("the test waits");
                serve(listener, acceptor.alpn(&[b"http/1.1"]), counted).await;
            });
        });
        let (address, handle): (SocketAddr, Handle) = told.recv().expect("it listens");
        Server {
            port: address.port(),
            connections,
            thread: Some((handle, thread)),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// How many connections have shaken hands.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let (handle, thread) = self.thread.take().expect("it is dropped once");
        handle.stop();
        let ended = thread.join();
        assert!(thread::panicking() || ended.is_ok(), "the server failed");
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, connections: Arc<AtomicUsize>) {
    loop {
        let (accepting, ending) = (pin!(listener.accept()), pin!(corering::stopping()));
        let Either::Left((accepted, _)) = select(accepting, ending).await else {
            return;
        };
        let (stream, _) = accepted.expect("accepted");
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        drop(spawn(async move {
            // Who does not trust us hangs up.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            assert_eq!(stream.alpn_protocol(), Some(&b"http/1.1"[..]));
            connections.fetch_add(1, Ordering::SeqCst);
            let _ = http1::Builder::new()
                .serve_connection(stream, service_fn(answer))
                .await;
        }));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let to = match path.strip_prefix("/hop/") {
        _ if path == "/loop" => Some("loop".to_owned()),
        _ if path == "/to" => request.uri().query().map(str::to_owned),
        Some("1") => Some("/found".to_owned()),
        Some(number) => Some(format!("{}", number.parse::<u32>().expect("a number") - 1)),
        None => None,
    };
    if path == "/slow" {
        sleep(Duration::from_millis(300)).await;
    }
    let mut response = Response::new(Full::new(Bytes::from(path)));
    if let Some(to) = to {
        *response.status_mut() = StatusCode::FOUND;
        let to = to.parse().expect("a header");
        response.headers_mut().insert(LOCATION, to);
    }
    Ok(response)
}
