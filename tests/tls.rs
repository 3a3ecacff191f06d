//! TLS over our streams: handshakes, what is inside, the ways it ends, and outside programs at the
//! other end.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "a test writes its files the plain way; the harness looks at memory"
)]

mod harness;

use corering::io::{BufReader, duplex};
use corering::net::{TcpListener, TcpStream, UnixStream};
use corering::process::{Command, Stdio};
use corering::spawn;
use corering::time::{sleep, timeout};
use corering::tls::rustls::{self, RootCertStore, ServerConfig};
use corering::tls::{TlsAcceptor, TlsConnector, TlsStream, pki_types};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, join};
use harness::net::pair;
use harness::{Case, check_coded, coded_bytes, everywhere};
use pki_types::PrivateKeyDer;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, SignatureAlgorithm,
};
use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

/// An authority, and the certificate that it has signed.
struct Papers {
    authority: Certificate,
    certificate: Certificate,
    key: KeyPair,
}

impl Papers {
    fn new(algorithm: &'static SignatureAlgorithm) -> Papers {
        let mut params = CertificateParams::new([]).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate_for(algorithm).expect("a key");
        let authority = params.self_signed(&authority_key).expect("signed");
        let names = ["localhost".to_string(), "127.0.0.1".to_string()];
        let params = CertificateParams::new(names).expect("names");
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let certificate = params.signed_by(&key, &authority, &authority_key);
        Papers {
            authority,
            certificate: certificate.expect("signed"),
            key,
        }
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("a root");
        TlsConnector::with_roots(roots)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let chain = vec![self.certificate.der().clone()];
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        TlsAcceptor::with_certificate(chain, key).expect("a certificate with its key")
    }
}

/// One set for the whole process.
fn papers() -> &'static Papers {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    PAPERS.get_or_init(|| Papers::new(&PKCS_ECDSA_P256_SHA256))
}

fn private_key() -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(papers().key.serialize_der()).expect("a key")
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(papers().authority.der().clone()).expect("a root");
    roots
}

fn connector() -> TlsConnector {
    papers().connector()
}

fn acceptor() -> TlsAcceptor {
    papers().acceptor()
}

/// Both ends of a connection inside of TLS.
async fn shake<C, S>(client: C, server: S) -> (TlsStream<C>, TlsStream<S>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (connector, acceptor) = (connector(), acceptor());
    let client = connector.connect("localhost", client);
    let (client, server) = join!(client, acceptor.accept(server));
    (client.expect("connected"), server.expect("accepted"))
}

#[test]
fn both_sides_know_what_was_agreed_on() {
    papers();
    everywhere("both_sides_know_what_was_agreed_on", || async {
        let (client, server) = pair().await;
        let connector = connector().alpn(&[b"h2", b"http/1.1"]);
        let acceptor = acceptor().alpn(&[b"http/1.1"]);
        let connecting = connector.connect("localhost", client);
        let (client, server) = join!(connecting, acceptor.accept(server));
        let (client, server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(server.alpn_protocol(), client.alpn_protocol());
        let version = rustls::ProtocolVersion::TLSv1_3;
        assert_eq!(client.protocol_version(), Some(version));
        assert_eq!(server.server_name(), Some("localhost"));
        assert_eq!(client.server_name(), None);
        let shown = client.peer_certificates().expect("the server shows one");
        assert_eq!(shown[0], *papers().certificate.der());
        assert_eq!(server.peer_certificates(), None);
        let peer = client.get_ref().peer_addr().unwrap();
        assert_eq!(peer, server.get_ref().local_addr().unwrap());
    });
}

/// Many records each way, with both queues full meanwhile.
#[test]
fn bytes_go_both_ways_and_end_with_a_goodbye() {
    const BYTES: usize = 50_000;
    papers();
    everywhere("bytes_go_both_ways_and_end_with_a_goodbye", || async {
        let (client, server) = pair().await;
        let (client, mut server) = shake(client, server).await;
        let echo = spawn(async move {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.expect("read to its end");
            check_coded(1, 0, &all);
            server.write_all(&coded_bytes(2, 0, BYTES)).await.unwrap();
            server.close().await.expect("closed");
            all.len()
        });
        let (mut read, mut write) = client.split();
        let writing = async {
            write.write_all(&coded_bytes(1, 0, BYTES)).await.unwrap();
            write.close().await.expect("closed");
        };
        let mut all = Vec::new();
        let (_, result) = join!(writing, read.read_to_end(&mut all));
        assert_eq!(result.expect("read to its end"), BYTES);
        check_coded(2, 0, &all);
        assert_eq!(echo.await.unwrap(), BYTES);
        // The end stays the end.
        assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_stream_that_is_cut_off_is_no_end_of_file() {
    papers();
    everywhere("a_stream_that_is_cut_off_is_no_end_of_file", || async {
        let (client, server) = pair().await;
        let (mut client, mut server) = shake(client, server).await;
        server.write_all(b"half of the st").await.unwrap();
        server.flush().await.unwrap();
        drop(server);
        let mut all = Vec::new();
        let error = client.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(all, b"half of the st");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    });
}

#[test]
fn start_tls_upgrades_a_stream_that_was_used() {
    papers();
    everywhere("start_tls_upgrades_a_stream_that_was_used", || async {
        let (client, mut server) = pair().await;
        let serving = spawn(async move {
            server.write_all(b"220 ready\r\n").await.unwrap();
            let mut plain = BufReader::new(server);
            assert_eq!(plain.next_line().await.unwrap().unwrap(), "STARTTLS");
            plain.get_mut().write_all(b"220 go\r\n").await.unwrap();
            assert!(plain.buffer().is_empty());
            let mut secret = acceptor().accept(plain.into_inner()).await.unwrap();
            let mut question = [0; 4];
            secret.read_exact(&mut question).await.unwrap();
            secret.write_all(&question).await.unwrap();
            secret.close().await.unwrap();
        });
        let mut plain = BufReader::new(client);
        assert_eq!(plain.next_line().await.unwrap().unwrap(), "220 ready");
        plain.get_mut().write_all(b"STARTTLS\r\n").await.unwrap();
        assert_eq!(plain.next_line().await.unwrap().unwrap(), "220 go");
        let mut secret = connector()
            .connect("localhost", plain.into_inner())
            .await
            .unwrap();
        secret.write_all(b"ping").await.unwrap();
        secret.flush().await.unwrap();
        let mut answer = Vec::new();
        secret.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"ping");
        serving.await.unwrap();
    });
}

#[test]
fn a_dropped_read_loses_nothing() {
    const ROUNDS: u64 = 50;
    papers();
    everywhere("a_dropped_read_loses_nothing", || async {
        let (client, server) = pair().await;
        let (mut client, mut server) = shake(client, server).await;
        let writing = spawn(async move {
            for round in 0..ROUNDS {
                let piece = coded_bytes(7, round * 100, 100);
                server.write_all(&piece).await.unwrap();
                server.flush().await.unwrap();
                sleep(Duration::from_micros(50 * (round % 7))).await;
            }
            server.close().await.unwrap();
        });
        let (mut at, mut round, mut buf) = (0, 0, [0; 64]);
        loop {
            round += 1;
            let limit = Duration::from_micros(1 + round % 90);
            match timeout(limit, client.read(&mut buf)).await {
                Ok(Ok(0)) => break,
                Ok(result) => {
                    let n = result.unwrap();
                    check_coded(7, at, &buf[..n]);
                    at += n as u64;
                }
                Err(_elapsed) => {}
            }
        }
        assert_eq!(at, ROUNDS * 100);
        writing.await.unwrap();
    });
}

#[test]
fn a_dropped_handshake_closes_the_connection() {
    papers();
    everywhere("a_dropped_handshake_closes_the_connection", || async {
        let (client, mut server) = pair().await;
        let connector = connector();
        let handshake = connector.connect("localhost", client);
        assert!(timeout(Duration::from_millis(5), handshake).await.is_err());
        let mut hello = Vec::new();
        let end = server.read_to_end(&mut hello).await;
        // The hello came, and then the end.
        assert!(end.is_ok() && hello.first() == Some(&22), "{end:?}");
    });
}

fn tls_error(error: &std::io::Error) -> &rustls::Error {
    let inner = error.get_ref().expect("it has a source");
    inner.downcast_ref().expect("rustls has said it")
}

#[test]
fn who_is_not_trusted_is_refused_by_name() {
    papers();
    everywhere("who_is_not_trusted_is_refused_by_name", || async {
        let acceptor = acceptor();
        // Nobody trusts nobody.
        let (client, server) = pair().await;
        let stranger = TlsConnector::with_roots(RootCertStore::empty());
        let connecting = stranger.connect("localhost", client);
        let (client, server) = join!(connecting, acceptor.accept(server));
        let error = client.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let unknown = rustls::CertificateError::UnknownIssuer;
        let expected = rustls::Error::InvalidCertificate(unknown);
        assert_eq!(*tls_error(&error), expected);
        assert_eq!(server.unwrap_err().kind(), ErrorKind::InvalidData);
        // The certificate is somebody else's.
        let (client, server) = pair().await;
        let connector = connector();
        let connecting = connector.connect("example.org", client);
        let (client, _server) = join!(connecting, acceptor.accept(server));
        let text = client.unwrap_err().to_string();
        assert!(text.contains("not valid for name"), "{text}");
        // An address is a name too.
        let (client, server) = pair().await;
        let connecting = connector.connect("127.0.0.1", client);
        let (client, server) = join!(connecting, acceptor.accept(server));
        assert!(client.is_ok() && server.is_ok());
    });
}

#[test]
fn wrong_input_is_an_error_that_says_so() {
    papers();
    everywhere("wrong_input_is_an_error_that_says_so", || async {
        let (client, mut server) = pair().await;
        let error = connector().connect("localhost:443", client).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("without a port"), "{error}");
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "it was dropped");
        // A key that is another's.
        let other = KeyPair::generate().unwrap().serialize_der();
        let other = PrivateKeyDer::try_from(other).unwrap();
        let chain = vec![papers().certificate.der().clone()];
        let error = TlsAcceptor::with_certificate(chain, other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        // No TLS at all, and no protocol in common.
        let (mut client, server) = pair().await;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let error = acceptor().accept(server).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let (client, server) = pair().await;
        let (connector, acceptor) = (connector().alpn(&[b"h2"]), acceptor().alpn(&[b"smtp"]));
        let connecting = connector.connect("localhost", client);
        let (client, server) = join!(connecting, acceptor.accept(server));
        let error = server.unwrap_err();
        assert_eq!(*tls_error(&error), rustls::Error::NoApplicationProtocol);
        assert!(client.is_err());
    });
}

#[test]
fn a_client_shows_its_certificate() {
    papers();
    everywhere("a_client_shows_its_certificate", || async {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![papers().certificate.der().clone()];
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots()),
            provider.clone(),
        );
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain.clone(), private_key())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots())
            .with_client_auth_cert(chain, private_key())
            .unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (client, server) = pair().await;
        let connecting = connector.connect("localhost", client);
        let (client, server) = join!(connecting, acceptor.accept(server));
        let version = rustls::ProtocolVersion::TLSv1_2;
        assert_eq!(client.unwrap().protocol_version(), Some(version));
        let server = server.unwrap();
        assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
    });
}

#[test]
fn any_stream_carries_it() {
    papers();
    everywhere("any_stream_carries_it", || async {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = shake(here, there).await;
        here.write_all(b"unix").await.unwrap();
        here.close().await.unwrap();
        let mut all = Vec::new();
        there.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"unix");
        // TLS inside of TLS, over a connection in memory.
        let (here, there) = duplex(1000);
        let (here, there) = shake(here, there).await;
        let (mut here, mut there) = shake(here, there).await;
        here.write_all(b"memory").await.unwrap();
        here.flush().await.unwrap();
        let mut word = [0; 6];
        there.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"memory");
        assert_eq!(there.read(&mut []).await.unwrap(), 0);
        here.write_all(b"!").await.unwrap();
        here.close().await.unwrap();
        assert_eq!(there.read(&mut word).await.unwrap(), 1, "no room is no end");
    });
}

/// With `tokio-io` the libraries that want those traits take it too.
#[cfg(feature = "tokio-io")]
#[test]
fn tokios_traits_lead_inside() {
    use std::future::poll_fn;
    use std::pin::Pin;
    papers();
    everywhere("tokios_traits_lead_inside", || async {
        let (client, server) = pair().await;
        let (mut client, mut server) = shake(client, server).await;
        let written =
            poll_fn(|cx| tokio::io::AsyncWrite::poll_write(Pin::new(&mut client), cx, b"in"));
        assert_eq!(written.await.unwrap(), 2);
        let ended = poll_fn(|cx| tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut client), cx));
        ended.await.unwrap();
        let mut room = [0; 8];
        let mut room = tokio::io::ReadBuf::new(&mut room);
        let read =
            poll_fn(|cx| tokio::io::AsyncRead::poll_read(Pin::new(&mut server), cx, &mut room));
        read.await.unwrap();
        assert_eq!(room.filled(), b"in");
    });
}

/// With `hyper` the streams are a connection of HTTP as they are.
#[cfg(feature = "http")]
#[test]
fn http_is_spoken_inside() {
    use http_body_util::{BodyExt, Empty, Full};
    use hyper::{Request, Response, body::Bytes, service::service_fn};
    papers();
    everywhere("http_is_spoken_inside", || async {
        let (client, server) = pair().await;
        let (client, server) = shake(client, server).await;
        let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
            let body = Full::new(Bytes::from(request.uri().path().repeat(5_000)));
            Ok::<_, std::convert::Infallible>(Response::new(body))
        });
        let serving = spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            http.serve_connection(server, service).await.is_ok()
        });
        let handshake = hyper::client::conn::http1::handshake(client);
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = spawn(connection);
        for path in ["/one", "/two"] {
            let request = Request::get(path).header("host", "localhost");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, path.repeat(5_000));
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        assert!(serving.await.unwrap(), "the client has said goodbye");
    });
}

/// Equal seeds give equal traces: what `ring` draws by itself changes bytes, but no length.
#[cfg(feature = "sim")]
#[test]
fn a_simulated_handshake_is_a_function_of_the_seed() {
    use corering::sim::Sim;
    // Signatures of one length.
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    let papers = PAPERS.get_or_init(|| Papers::new(&rcgen::PKCS_ED25519));
    let run = |seed: u64| {
        let mut sim = Sim::new(seed);
        sim.host("server").boot(move |_core| async {
            let listener = TcpListener::bind("0.0.0.0:443").await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = papers.acceptor().accept(stream).await.unwrap();
            let mut question = [0; 4];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(&question.repeat(10_000)).await.unwrap();
            stream.close().await.unwrap();
        });
        let client = sim.host("client").boot(|_core| async {});
        sim.block_on(&client, async {
            let plain = loop {
                match TcpStream::connect("server:443").await {
                    Ok(stream) => break stream,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            };
            let mut stream = papers
                .connector()
                .connect("localhost", plain)
                .await
                .unwrap();
            stream.write_all(b"ping").await.unwrap();
            stream.flush().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all.len(), 40_000);
        });
        sim.trace_hash()
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

// ---------------------------------------------------------------------------------------------
// Programs that are not ours

/// The papers as files, for as long as this lives.
struct Files(std::path::PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let directory =
            std::env::temp_dir().join(format!("corering-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let files = Files(directory);
        std::fs::write(files.path("root.pem"), papers().authority.pem()).unwrap();
        std::fs::write(files.path("cert.pem"), papers().certificate.pem()).unwrap();
        std::fs::write(files.path("key.pem"), papers().key.serialize_pem()).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_there(program: &str, version: &str) -> bool {
    let found = std::process::Command::new(program).arg(version).output();
    let found = found.is_ok();
    if !found {
        harness::skip(format!("there is no {program} on this machine"));
    }
    found
}

/// Serves one connection after another: the first line comes back, as an answer of HTTP.
async fn serve_lines(listener: TcpListener, connections: usize) {
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor().accept(stream).await.unwrap();
        let mut stream = BufReader::new(stream);
        let line = stream.next_line().await.unwrap().unwrap();
        let answer = format!("HTTP/1.0 200 OK\r\n\r\nyou said: {line}\n");
        let mut stream = stream.into_inner();
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.close().await.unwrap();
    }
}

#[test]
fn curl_and_openssl_are_served() {
    if !is_there("curl", "--version") || !is_there("openssl", "version") {
        return;
    }
    Case::new("curl_and_openssl_are_served").run(|| {
        let files = Files::new("served");
        corering::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let serving = spawn(serve_lines(listener, 3));
            let mut curl = Command::new("curl");
            let url = format!("https://localhost:{port}/hello");
            curl.args(["-sS", "--noproxy", "*", "--http1.0", "--cacert"]);
            curl.arg(files.path("root.pem")).arg(url);
            curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
            let output = curl.output().await.unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!(text, "you said: GET /hello HTTP/1.0\n", "{complaint}");
            for version in ["-tls1_2", "-tls1_3"] {
                let mut openssl = Command::new("openssl");
                let to = format!("127.0.0.1:{port}");
                openssl.args(["s_client", "-quiet", "-verify_return_error", version]);
                openssl.args(["-servername", "localhost", "-connect", &to, "-CAfile"]);
                openssl.arg(files.path("root.pem"));
                openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
                openssl.stderr(Stdio::piped());
                let child = openssl.spawn().unwrap();
                let output = child.communicate("good day\r\n").await.unwrap();
                let text = String::from_utf8_lossy(&output.stdout);
                let complaint = String::from_utf8_lossy(&output.stderr);
                assert!(text.ends_with("you said: good day\n"), "{text}{complaint}");
            }
            serving.await.unwrap();
        });
    });
}

#[test]
fn openssl_serves_us() {
    if !is_there("openssl", "version") {
        return;
    }
    Case::new("openssl_serves_us").run(|| {
        let files = Files::new("serves");
        corering::block_on(async {
            let port = free_port().await;
            let mut openssl = Command::new("openssl");
            openssl.args(["s_server", "-quiet", "-rev", "-accept", &port, "-cert"]);
            openssl.arg(files.path("cert.pem")).arg("-key");
            openssl.arg(files.path("key.pem")).kill_on_drop(true);
            openssl.stdin(Stdio::null());
            let mut child = openssl.spawn().unwrap();
            let stream = loop {
                match TcpStream::connect(format!("127.0.0.1:{port}")).await {
                    Ok(stream) => break stream,
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
                assert!(child.try_wait().unwrap().is_none(), "it did not start");
            };
            let stream = connector().connect("localhost", stream).await.unwrap();
            let mut stream = BufReader::new(stream);
            for (line, reversed) in [("drawer", "reward"), ("stressed", "desserts")] {
                let line = format!("{line}\n");
                stream.get_mut().write_all(line.as_bytes()).await.unwrap();
                stream.get_mut().flush().await.unwrap();
                assert_eq!(stream.next_line().await.unwrap().unwrap(), reversed);
            }
            stream.get_mut().close().await.unwrap();
            child.kill().await.unwrap();
        });
    });
}

async fn free_port() -> String {
    let (listener, address) = harness::net::listener().await;
    listener.close().await.unwrap();
    address.port().to_string()
}
