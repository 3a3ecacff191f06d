//! The HTTP server's limits and end, and the client's pool, against plain sockets.

#![allow(clippy::disallowed_methods)] // A test uses sockets and the clock the plain way.

use corering::Runtime;
use corering::http::{Client, ClientError, ClientLimits, Limits, ServeDir, serve};
use corering::net::TcpListener;
use corering::time::{sleep, timeout};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Answers with the path; `/slow` after 200 ms.
async fn echo_path(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(200 * MS).await;
    }
    let path = request.uri().path().to_owned();
    Ok(Response::new(Full::new(Bytes::from(path))))
}

/// Runs a server on a thread of its own while `test` runs; then ends it in order.
fn with_server(limits: Limits, test: impl FnOnce(SocketAddr, corering::Handle)) {
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        let mut runtime = Runtime::new().unwrap();
        let handle = runtime.handle();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send((listener.local_addr().unwrap(), handle)).unwrap();
            serve(listener, service_fn(echo_path), limits)
                .await
                .unwrap();
        });
    });
    let (address, handle) = told.recv().unwrap();
    test(address, handle.clone());
    handle.stop();
    server.join().unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(10_000 * MS)).unwrap();
    stream
}

/// Asks and reads until the body, which is the path, has come.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(path.as_bytes()) {
        let n = stream.read(&mut piece).unwrap();
        assert!(
            n > 0,
            "the connection ended: {}",
            String::from_utf8_lossy(&answer)
        );
        answer.extend_from_slice(&piece[..n]);
    }
    String::from_utf8(answer).unwrap()
}

/// Waits until the peer has closed; what it said before.
fn closed(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

#[test]
fn idle_and_slow_connections_are_closed_and_busy_ones_are_not() {
    let limits = Limits {
        header_time: 150 * MS,
        idle_time: 500 * MS,
        ..Limits::default()
    };
    with_server(limits, |address, _| {
        let start = Instant::now();
        let idle = connect(address);
        let mut slow = connect(address);
        slow.write_all(b"GET / HTTP/1.1\r\nhos").unwrap();
        assert_eq!(closed(slow), "");
        let took = start.elapsed();
        assert!(
            (140 * MS..450 * MS).contains(&took),
            "a slow header: {took:?}"
        );
        assert_eq!(closed(idle), "");
        let took = start.elapsed();
        assert!((490 * MS..2000 * MS).contains(&took), "idle: {took:?}");
        // Requests in between keep it open, also one that takes longer than a header may.
        let mut busy = connect(address);
        for _ in 0..3 {
            thread::sleep(300 * MS);
            ask(&mut busy, "/slow");
        }
        let last = Instant::now();
        assert_eq!(closed(busy), "");
        assert!(
            last.elapsed() >= 490 * MS,
            "idle again: {:?}",
            last.elapsed()
        );
    });
}

#[test]
fn long_headers_are_refused() {
    with_server(Limits::default(), |address, _| {
        let mut stream = connect(address);
        let long = format!(
            "GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
            "x".repeat(20_000)
        );
        stream.write_all(long.as_bytes()).unwrap();
        assert!(closed(stream).starts_with("HTTP/1.1 431"));
        let mut stream = connect(address);
        let many = format!(
            "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "a: b\r\n".repeat(101)
        );
        stream.write_all(many.as_bytes()).unwrap();
        assert!(closed(stream).starts_with("HTTP/1.1 431"));
        let mut stream = connect(address);
        stream.write_all(b"this is no HTTP\r\n\r\n").unwrap();
        assert!(closed(stream).starts_with("HTTP/1.1 400"));
    });
}

#[test]
fn connections_are_limited_and_the_others_wait() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    with_server(limits, |address, _| {
        let (mut first, mut second) = (connect(address), connect(address));
        ask(&mut first, "/1");
        ask(&mut second, "/2");
        let mut third = connect(address);
        third
            .write_all(b"GET /3 HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        third.set_read_timeout(Some(100 * MS)).unwrap();
        assert!(third.read(&mut [0; 10]).is_err(), "it was served");
        drop(first);
        third.set_read_timeout(Some(10_000 * MS)).unwrap();
        assert!(third.read(&mut [0; 10]).unwrap() > 0);
    });
}

#[test]
fn the_end_waits_for_answers_and_not_for_idle_connections() {
    let mut kept = None;
    let mut answering = None;
    with_server(Limits::default(), |address, handle| {
        let mut idle = connect(address);
        ask(&mut idle, "/idle");
        kept = Some(idle);
        let mut slow = connect(address);
        slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        thread::sleep(50 * MS);
        handle.stop();
        answering = Some(slow);
    });
    assert_eq!(closed(kept.unwrap()), "");
    let answer = closed(answering.unwrap());
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("/slow"),
        "{answer}"
    );
}

#[test]
fn the_client_uses_connections_again_and_forgives_stale_ones() {
    // Two requests a connection; then it is closed without a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).unwrap_or(0) == 0 {
                        return;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
                // The third request arrives, and is not answered.
                let _ = stream.read(&mut [0; 1024]);
            });
        }
    });
    corering::block_on(async {
        let client = Client::default();
        let url: Uri = format!("http://{address}/").parse().unwrap();
        for round in 0..10 {
            let mut answer = client.get(&url).await.unwrap();
            assert_eq!(answer.bytes(10).await.unwrap(), b"ok", "{round}");
        }
    });
    let connections = connections.load(Ordering::SeqCst);
    assert_eq!(connections, 5, "two requests a connection");
}

#[test]
fn the_client_limits_its_connections_and_its_patience() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let (now, most) = (open.clone(), peak.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (now, most) = (now.clone(), most.clone());
            thread::spawn(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut request = [0; 1024];
                while let Ok(n) = stream.read(&mut request) {
                    if n == 0 {
                        break;
                    }
                    if !request.starts_with(b"GET /never") {
                        thread::sleep(10 * MS);
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                }
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    corering::block_on(async {
        let client = Client::new(ClientLimits {
            connections_per_host: 3,
            read_time: 300 * MS,
            ..ClientLimits::default()
        });
        let mut tasks = corering::task::JoinSet::new();
        for index in 0..20 {
            let client = client.clone();
            let url: Uri = format!("http://{address}/{index}").parse().unwrap();
            tasks.spawn(async move { client.get(&url).await.unwrap().status().as_u16() });
        }
        while let Some(status) = tasks.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
        let url: Uri = format!("http://{address}/never").parse().unwrap();
        let error = client.get(&url).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout(..)), "{error}");
        let error = client.get(&"/relative".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ClientError::Url(_)), "{error}");
        let error = client
            .get(&"http://127.0.0.1:1/".parse().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Connect(..)), "{error}");
    });
    assert_eq!(peak.load(Ordering::SeqCst), 3);
}

/// A server that answers early, reads no more and keeps the connection: the next request to it is
/// answered or refused in time, on another connection.
#[test]
fn the_client_does_not_wait_for_a_stuck_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 413 no\r\ncontent-length: 0\r\n\r\n");
            kept.push(stream);
        }
    });
    corering::block_on(async {
        let client = Client::new(ClientLimits {
            connect_time: 300 * MS,
            read_time: 300 * MS,
            ..ClientLimits::default()
        });
        let url: Uri = format!("http://{address}/").parse().unwrap();
        let mut large = Request::new(Full::new(Bytes::from(vec![0; 30_000_000])));
        *large.method_mut() = hyper::Method::POST;
        *large.uri_mut() = url.clone();
        // Whether the early answer is seen depends on the race; that it ends does not.
        drop(client.request(large).await);
        let second = timeout(10_000 * MS, client.get(&url)).await;
        assert_eq!(second.expect("in time").unwrap().status().as_u16(), 413);
    });
}

/// A client that pauses before it reads the end of a large file gets all of it: what is still
/// being sent is not idle.
#[test]
fn a_slow_reader_gets_the_whole_answer() {
    let directory = std::env::temp_dir().join(format!("corering-slow-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let sizes: Vec<usize> = (0..32).map(|i| 500_000 + i * 128 * 1024).collect();
    for size in &sizes {
        let file = std::fs::File::create(directory.join(size.to_string())).unwrap();
        file.set_len(*size as u64).unwrap();
    }
    let mut runtime = Runtime::new().unwrap();
    let (listener, address) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    });
    let read = move |size: usize| {
        let mut stream = connect(address);
        write!(stream, "GET /{size} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        thread::sleep(1500 * MS);
        let mut stream = std::io::BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            std::io::BufRead::read_line(&mut stream, &mut line).unwrap();
        }
        let mut body = vec![0; size];
        stream.read_exact(&mut body).map_err(|_| size)
    };
    let clients = thread::spawn(move || {
        let readers = sizes
            .into_iter()
            .map(|size| thread::spawn(move || read(size)));
        let readers: Vec<_> = readers.collect();
        let ended = readers.into_iter().map(|reader| reader.join().unwrap());
        ended.filter_map(Result::err).collect::<Vec<_>>()
    });
    let cut = runtime.block_on(async {
        let service = ServeDir::open(&directory).await.unwrap().into_service();
        let limits = Limits {
            idle_time: 500 * MS,
            ..Limits::default()
        };
        corering::spawn(serve(listener, service, limits));
        while !clients.is_finished() {
            sleep(10 * MS).await;
        }
        clients.join().unwrap()
    });
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(cut, Vec::<usize>::new(), "sizes that came in part");
}
