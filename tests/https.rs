//! HTTPS: the client against a server of ours, the certificates that it refuses, its pool, and
//! where redirects lead.

#![allow(clippy::disallowed_methods)] // A test uses files the plain way.

mod https_support;

use corering::http::{Answer, Client, ClientError, ClientLimits};
use corering::net::TcpListener;
use corering::process::Command;
use corering::spawn;
use corering::time::{sleep, timeout};
use corering::tls::pki_types::{CertificateDer, pem::PemObject};
use corering::tls::{TlsConnector, rustls, rustls::RootCertStore};
use futures::{AsyncReadExt, AsyncWriteExt};
use https_support::{Authority, Server};
use std::cell::Cell;
use std::error::Error;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

const YEAR: i32 = 2100;

fn trusting(authority: &Authority, limits: ClientLimits) -> Client {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
    roots.add(root.expect("a certificate")).expect("a root");
    // What it offers inside is the client's business.
    let connector = TlsConnector::with_roots(roots).alpn(&[b"h2"]);
    Client::with_tls(limits, connector)
}

/// A server for `localhost`, and a client that trusts it.
fn pair() -> (Server, Client) {
    let authority = Authority::new("ours");
    let server = Server::start(authority.acceptor(&["localhost", "127.0.0.1"], YEAR));
    (server, trusting(&authority, ClientLimits::default()))
}

async fn get(client: &Client, url: &str) -> Result<Answer, ClientError> {
    client.get(&url.parse().expect("a URL")).await
}

async fn follow(client: &Client, url: &str, max: usize) -> Result<Answer, ClientError> {
    client
        .get_following(&url.parse().expect("a URL"), max)
        .await
}

async fn text(mut answer: Answer) -> String {
    let body = answer.bytes(10_000).await.expect("a body");
    String::from_utf8(body).expect("text")
}

#[test]
fn connections_are_used_again_over_tls() {
    let (server, client) = pair();
    corering::block_on(async {
        for round in 0..5 {
            let path = format!("/{round}");
            let answer = get(&client, &server.url(&path)).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.url().path(), path);
            assert_eq!(text(answer).await, path);
        }
        assert_eq!(server.connections(), 1);
        // An address is a name too, and another host.
        let url = format!("https://127.0.0.1:{}/ip", server.port);
        assert_eq!(text(get(&client, &url).await.unwrap()).await, "/ip");
        assert_eq!(server.connections(), 2);
        // Nobody shares them who asks for it in the clear.
        let url = format!("http://localhost:{}/plain", server.port);
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, ClientError::Http(_)), "{error}");
    });
}

/// Two requests a connection, then it is cut off without a goodbye, before or after the third.
#[test]
fn a_stale_connection_is_forgiven_over_tls() {
    let authority = Authority::new("ours");
    let acceptor = authority.acceptor(&["localhost"], YEAR);
    let client = trusting(&authority, ClientLimits::default());
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Rc::new(Cell::new(0));
        let counted = connections.clone();
        let serving = spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.set(counted.get() + 1);
                let mut stream = acceptor.accept(stream).await.unwrap();
                for _ in 0..2 {
                    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    stream.write_all(answer).await.unwrap();
                    stream.flush().await.unwrap();
                }
                if counted.get() % 2 == 0 {
                    let _ = stream.read(&mut [0; 1024]).await;
                }
            }
        });
        let url = format!("https://localhost:{port}/");
        for round in 0..12 {
            let answer = get(&client, &url).await;
            assert_eq!(text(answer.unwrap()).await, "ok", "{round}");
        }
        assert_eq!(connections.get(), 6);
        serving.abort();
    });
}

/// A body without a length ends with the server's goodbye; one that is cut off is no body.
#[test]
fn a_body_that_was_cut_off_is_an_error() {
    let authority = Authority::new("ours");
    let acceptor = authority.acceptor(&["localhost"], YEAR);
    let client = trusting(&authority, ClientLimits::default());
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}/",
            listener.local_addr().unwrap().port()
        );
        let serving = spawn(async move {
            for says_goodbye in [true, false] {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf")
                    .await
                    .unwrap();
                stream.flush().await.unwrap();
                if says_goodbye {
                    stream.close().await.unwrap();
                }
            }
        });
        assert_eq!(text(get(&client, &url).await.unwrap()).await, "half");
        let error = get(&client, &url).await.unwrap().bytes(100).await;
        assert!(matches!(error, Err(ClientError::Http(_))), "{error:?}");
        serving.await.unwrap();
    });
}

/// The error of a request to a server with this certificate.
fn refused(server: &Server, client: &Client, host: &str) -> ClientError {
    let url = format!("https://{host}:{}/", server.port);
    let error = corering::block_on(async { get(client, &url).await.unwrap_err() });
    assert!(matches!(error, ClientError::Certificate(..)), "{error}");
    let source = error.source().and_then(|source| source.downcast_ref());
    let source: &std::io::Error = source.expect("what TLS said");
    assert_eq!(source.kind(), ErrorKind::InvalidData);
    let inner = source.get_ref().expect("rustls has said it");
    assert!(inner.is::<rustls::Error>(), "{inner}");
    let start = format!("the certificate of {host}:{} is refused: ", server.port);
    assert!(error.to_string().starts_with(&start), "{error}");
    error
}

#[test]
fn certificates_are_refused_with_the_host_and_the_reason() {
    let authority = Authority::new("ours");
    let client = trusting(&authority, ClientLimits::default());
    let server = Server::start(authority.acceptor(&["localhost", "example.org"], YEAR));
    let error = refused(&server, &client, "127.0.0.1").to_string();
    assert!(error.contains("not valid for name"), "{error}");
    let server = Server::start(authority.acceptor(&["localhost"], 2001));
    let error = refused(&server, &client, "localhost").to_string();
    assert!(error.contains("expired"), "{error}");
    let server = Server::start(Authority::new("a stranger").acceptor(&["localhost"], YEAR));
    let error = refused(&server, &client, "localhost").to_string();
    assert!(error.contains("leads to no trusted root"), "{error}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn what_speaks_no_tls_or_nothing_is_told_apart() {
    let authority = Authority::new("ours");
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = spawn(async move {
            let (mut plain, _) = listener.accept().await.unwrap();
            plain.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await.unwrap();
            let (silent, _) = listener.accept().await.unwrap();
            (plain, silent)
        });
        let client = trusting(
            &authority,
            ClientLimits {
                connect_time: Duration::from_millis(200),
                ..ClientLimits::default()
            },
        );
        let url = format!("https://127.0.0.1:{port}/");
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls(..)), "{error}");
        let start = format!("no TLS with 127.0.0.1:{port}: ");
        assert!(error.to_string().starts_with(&start), "{error}");
        let error = get(&client, &url).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(..)), "{error}");
        assert!(error.to_string().contains("handshake"), "{error}");
        drop(serving.await.unwrap());
    });
}

#[test]
fn redirects_are_followed_within_their_limit() {
    let (server, client) = pair();
    corering::block_on(async {
        let answer = follow(&client, &server.url("/hop/3"), 3).await.unwrap();
        assert_eq!(answer.url().to_string(), server.url("/found"));
        assert_eq!(text(answer).await, "/found");
        assert_eq!(server.connections(), 1, "short bodies are read");
        let answer = follow(&client, &server.url("/found"), 0).await.unwrap();
        assert_eq!(answer.status(), 200);
        for (path, max, last) in [("/hop/3", 2, "/found"), ("/loop", 10, "loop")] {
            let url = server.url(path);
            let error = follow(&client, &url, max).await.unwrap_err();
            assert!(matches!(error, ClientError::Redirect(_)), "{error}");
            let expected = format!("{url} redirects more than {max} times, at last to {last}");
            assert_eq!(error.to_string(), expected);
        }
        // `get` shows it as it is.
        let answer = get(&client, &server.url("/hop/3")).await.unwrap();
        assert_eq!(answer.status(), 302);
    });
}

/// A redirect's body that drips is not waited for.
#[test]
fn redirects_have_no_time_for_slow_bodies() {
    const BYTES: usize = 500;
    let client = Client::new(ClientLimits {
        read_time: Duration::from_millis(200),
        ..ClientLimits::default()
    });
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let serving = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            let head =
                format!("HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: {BYTES}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let dripping = spawn(async move {
                let mut sent = 0;
                while sent < BYTES && stream.write_all(b".").await.is_ok() {
                    sent += 1;
                    sleep(Duration::from_millis(20)).await;
                }
                sent
            });
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            dripping.await.unwrap()
        });
        let answer = timeout(Duration::from_secs(8), follow(&client, &url, 1)).await;
        let answer = answer.expect("it does not read all").unwrap();
        assert_eq!(text(answer).await, "ok");
        assert!(serving.await.unwrap() < BYTES);
    });
}

/// What most servers do on port 80.
#[test]
fn redirects_lead_into_tls() {
    let (server, client) = pair();
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = format!("http://{}/x", listener.local_addr().unwrap());
        let to = server.url("/secret");
        let serving = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 301 Moved\r\nlocation: {to}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let answer = follow(&client, &plain, 1).await.unwrap();
        assert_eq!(text(answer).await, "/secret");
        serving.await.unwrap();
    });
}

#[test]
fn redirects_lead_to_other_hosts_but_not_out_of_tls() {
    let authority = Authority::new("ours");
    let one = Server::start(authority.acceptor(&["localhost"], YEAR));
    let other = Server::start(authority.acceptor(&["localhost"], YEAR));
    let client = trusting(&authority, ClientLimits::default());
    corering::block_on(async {
        let to = |url: &str| one.url(&format!("/to?{url}"));
        let answer = follow(&client, &to(&other.url("/x")), 1).await.unwrap();
        assert_eq!(answer.url().to_string(), other.url("/x"));
        let error = follow(&client, &to("http://127.0.0.1:1/"), 5).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ClientError::Redirect(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("from https:// to http://"), "{text}");
        let error = follow(&client, &to("ftp://127.0.0.1/"), 5).await;
        assert!(matches!(error, Err(ClientError::Redirect(_))), "{error:?}");
    });
}

#[test]
fn the_wait_for_a_connection_has_a_limit_if_it_is_given() {
    let authority = Authority::new("ours");
    let server = Server::start(authority.acceptor(&["localhost"], YEAR));
    let client = trusting(
        &authority,
        ClientLimits {
            connections_per_host: 1,
            acquire_time: Some(Duration::from_millis(50)),
            ..ClientLimits::default()
        },
    );
    corering::block_on(async {
        let (busy, url) = (client.clone(), server.url("/slow"));
        let slow = spawn(async move { text(get(&busy, &url).await.unwrap()).await });
        corering::yield_now().await;
        let error = get(&client, &server.url("/")).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(..)), "{error}");
        assert!(error.to_string().contains("of the pool"), "{error}");
        assert_eq!(slow.await.unwrap(), "/slow");
        assert!(get(&client, &server.url("/")).await.is_ok());
    });
}

/// The system's roots, of which `SSL_CERT_FILE` names a file of ours: in processes of their own,
/// whose environment it is.
#[test]
fn the_systems_roots_are_the_default() {
    const ROLE: &str = "CORERING_TEST_URL";
    if let Ok(url) = std::env::var(ROLE) {
        let end = corering::block_on(async { get(&Client::default(), &url).await });
        match end {
            Ok(answer) => println!("status {}", answer.status()),
            Err(error) => println!("{error}"),
        }
        return;
    }
    let authority = Authority::new("ours");
    let server = Server::start(authority.acceptor(&["localhost"], YEAR));
    let name = format!("corering-https-{}.pem", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, authority.pem()).unwrap();
    let ask = |roots: Option<&std::path::Path>| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "the_systems_roots_are_the_default",
            "--nocapture",
        ]);
        child.env(ROLE, server.url("/")).env_remove("SSL_CERT_DIR");
        match roots {
            Some(file) => child.env("SSL_CERT_FILE", file),
            None => child.env_remove("SSL_CERT_FILE"),
        };
        String::from_utf8(child.output().unwrap().stdout).unwrap()
    };
    let ours = ask(Some(&file));
    assert!(ours.contains("status 200"), "{ours}");
    let missing = ask(Some("/nowhere/at/all.pem".as_ref()));
    assert!(missing.contains("no root certificates"), "{missing}");
    // Whether this machine has any: it does not trust us.
    let systems = ask(None);
    assert!(!systems.contains("status"), "{systems}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn curl_is_served() {
    let curl = std::process::Command::new("curl").arg("--version").output();
    if !curl.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP: there is no curl on this machine");
        return;
    }
    let authority = Authority::new("ours");
    let server = Server::start(authority.acceptor(&["localhost"], YEAR));
    let name = format!("corering-curl-{}.pem", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, authority.pem()).unwrap();
    corering::block_on(async {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--noproxy",
            "*",
            "-L",
            "--max-time",
            "20",
            "--resolve",
        ]);
        curl.arg(format!("localhost:{}:127.0.0.1", server.port));
        curl.arg("--cacert").arg(&file).arg(server.url("/hop/2"));
        let output = curl.output().await.unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"/found", "{complaint}");
    });
    assert_eq!(server.connections(), 1);
    std::fs::remove_file(file).unwrap();
}
