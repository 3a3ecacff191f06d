//! The command `corering`, run as a user runs it: its benchmarks, servers and downloads.
//!
//! What needs a program that is missing here (curl, wrk, nginx) is skipped, and says so.

#![allow(clippy::disallowed_methods)] // A test uses files and sockets the plain way.

mod https_support;

use https_support::Authority;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that is removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("corering-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes without a pattern that a mistake would repeat.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn corering(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corering"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    corering(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A child process that is ended at the end of its test.
///
/// By SIGTERM first: nginx then ends its workers, too, which have our standard output.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success(), "kill -s {name} {pid}");
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal("TERM");
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(2) {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of ours, on a port that it has chosen.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut command = corering(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        let process = Process(child);
        BufReader::new(out).read_line(&mut line).unwrap();
        let start = line
            .find("127.0.0.1:")
            .unwrap_or_else(|| panic!("{line:?}"));
        let end = line[start + 10..].find(|c: char| !c.is_ascii_digit());
        let address = line[start..start + 10 + end.unwrap()].parse().unwrap();
        Server { process, address }
    }

    fn files(dir: &Dir, more: &[&str]) -> Server {
        let path = dir.0.to_str().unwrap();
        let mut arguments = vec!["serve", "files", path, "--addr", "127.0.0.1:0"];
        arguments.extend(more);
        Server::start(&arguments)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends it as a service manager does.
    fn end(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.wait().code(), Some(0));
    }
}

fn has(program: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).exists());
    if !found {
        eprintln!("SKIP: there is no {program} on this machine");
    }
    found
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

// ---------------------------------------------------------------------------------------------
// Benchmarks

#[test]
fn bench_echo_reports_in_json_and_draws() {
    let dir = Dir::new();
    let svg = dir.0.join("echo.svg");
    let arguments = [
        "bench",
        "echo",
        "-t",
        "1s",
        "--warmup",
        "100ms",
        "-c",
        "8",
        "--depth",
        "4",
        "--rounds",
        "2",
        "--load-cores",
        "2",
        "-s",
        "1k",
        "-q",
        "--json",
        "--svg",
        svg.to_str().unwrap(),
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!(round["errors"], 0);
        let requests = round["requests"].as_u64().unwrap();
        assert!(requests > 100, "{requests}");
        assert_eq!(round["bytes"].as_u64().unwrap(), requests * 1024);
        let us = |name: &str| round[name].as_f64().unwrap();
        assert!(us("p50_us") > 0.0 && us("p50_us") <= us("p99_us") && us("p99_us") <= us("max_us"));
        assert!(
            us("server_cpu_s") > 0.0 && us("server_enters") > 0.0,
            "{round}"
        );
        assert!(!round["over_time"].as_array().unwrap().is_empty());
    }
    assert_eq!(report["mode"]["loop"], "closed");
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

#[test]
fn bench_echo_keeps_a_rate_and_carries_large_messages() {
    let rate = [
        "bench", "echo", "-t", "1s", "-c", "4", "--rate", "500", "-q", "--json",
    ];
    let output = run(&rate);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let requests = report["rounds"][0]["requests"].as_u64().unwrap();
    assert!((400..=600).contains(&requests), "{requests}");
    let large = [
        "bench", "echo", "-t", "500ms", "-c", "2", "-s", "3m", "--depth", "3", "-q",
    ];
    let output = run(&large);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("0 errors, every byte checked"), "{table}");
}

#[test]
fn bench_download_fetches_and_checks() {
    let dir = Dir::new();
    let place = dir.0.to_str().unwrap();
    let arguments = [
        "bench",
        "download",
        "--objects",
        "60",
        "-s",
        "300k",
        "-j",
        "7",
        "--dir",
        place,
        "-q",
        "--rounds",
        "2",
        "--json",
    ];
    let output = run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for round in report["rounds"].as_array().unwrap() {
        assert_eq!(
            (&round["requests"], &round["errors"]),
            (&60.into(), &0.into())
        );
        assert_eq!(round["bytes"], 60 * 300 * 1024);
    }
    assert!(dir.names().is_empty(), "left behind: {:?}", dir.names());
}

#[test]
fn an_interrupted_benchmark_removes_its_files() {
    let dir = Dir::new();
    let place = dir.0.to_str().unwrap();
    let arguments = [
        "bench",
        "download",
        "--objects",
        "200000",
        "--dir",
        place,
        "-q",
    ];
    let mut process = Process(corering(&arguments).spawn().unwrap());
    eventually("it has begun", || !dir.names().is_empty());
    thread::sleep(Duration::from_millis(100));
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(130));
    assert!(dir.names().is_empty(), "left behind: {:?}", dir.names());
}

// ---------------------------------------------------------------------------------------------
// Servers

#[test]
fn serve_echo_sends_back_what_comes() {
    let server = Server::start(&["serve", "echo", "127.0.0.1:0", "--cores", "2"]);
    let clients = (0..8).map(|_| {
        let mut stream = server.connect();
        thread::spawn(move || {
            let sent = bytes(1 << 20);
            let mut writer = stream.try_clone().unwrap();
            let copy = sent.clone();
            let writing = thread::spawn(move || {
                writer.write_all(&copy).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            writing.join().unwrap();
            assert!(received == sent, "{} bytes came back", received.len());
        })
    });
    let clients: Vec<_> = clients.collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    // An idle connection does not hold the end up.
    let mut idle = server.connect();
    idle.write_all(b"x").unwrap();
    idle.read_exact(&mut [0]).unwrap();
    server.end();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

/// Runs curl; returns the status, the headers with their names in lower case, and the body.
fn curl(arguments: &[&str]) -> (u16, String, Vec<u8>) {
    let output = Command::new("curl")
        .args(["-s", "-i", "--max-time", "20", "--path-as-is"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "curl {arguments:?}: {}",
        output.status
    );
    let end = output
        .stdout
        .windows(4)
        .position(|four| four == b"\r\n\r\n");
    let (head, body) = output.stdout.split_at(end.unwrap() + 4);
    let lines = String::from_utf8_lossy(head).into_owned();
    let lines = lines.split('\n').map(|line| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_lowercase()),
        None => line.to_owned(),
    });
    let head = lines.collect::<Vec<_>>().join("\n");
    (head[9..12].parse().unwrap(), head, body.to_vec())
}

#[test]
fn serve_files_answers_curl() {
    if !has("curl") {
        return;
    }
    let outer = Dir::new();
    outer.file("secret.txt", b"secret");
    let dir = Dir(outer.0.join("public"));
    let (small, large) = (bytes(1000), bytes(3_000_000));
    dir.file("small.txt", &small);
    dir.file("large.bin", &large);
    dir.file("empty", b"");
    dir.file("sub/a & b.txt", b"ab");
    dir.file("page/index.html", b"<p>index");
    std::os::unix::fs::symlink("../secret.txt", dir.0.join("out.txt")).unwrap();
    let server = Server::files(&dir, &[]);
    let url = |path: &str| server.url(path);

    for (path, content) in [
        ("/small.txt", &small),
        ("/large.bin", &large),
        ("/empty", &vec![]),
    ] {
        let (status, head, body) = curl(&[&url(path)]);
        assert_eq!(status, 200, "{path}");
        assert!(body == *content, "{path}: {} bytes", body.len());
        assert!(
            head.contains(&format!("content-length: {}\r", content.len())),
            "{head}"
        );
        let (status, with_head, body) = curl(&["--head", &url(path)]);
        assert_eq!((status, body.len()), (200, 0));
        assert!(
            with_head.contains(&format!("content-length: {}\r", content.len())),
            "{with_head}"
        );
    }
    let (status, head, body) = curl(&["-r", "100-199", &url("/small.txt")]);
    assert_eq!((status, body.as_slice()), (206, &small[100..200]));
    assert!(head.contains("content-range: bytes 100-199/1000"), "{head}");
    let (status, _, body) = curl(&["-r", "1000000-2500000", &url("/large.bin")]);
    assert!(status == 206 && body == large[1_000_000..=2_500_000]);
    let (status, head, body) = curl(&["-r", "0-9,500000-1500009", &url("/large.bin")]);
    assert!(
        status == 206 && head.contains("multipart/byteranges"),
        "{head}"
    );
    assert!(body.windows(10).any(|window| *window == large[..10]));
    assert!(
        head.contains(&format!("content-length: {}\r", body.len())),
        "{head}"
    );
    let (status, head, _) = curl(&["-r", "5000-", &url("/small.txt")]);
    assert_eq!(status, 416);
    assert!(head.contains("content-range: bytes */1000"), "{head}");

    let (_, head, _) = curl(&[&url("/small.txt")]);
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {head}"))
            .to_owned()
    };
    let modified = header("last-modified: ");
    let since = format!("If-Modified-Since: {modified}");
    let (status, _, body) = curl(&["-H", &since, &url("/small.txt")]);
    assert_eq!((status, body.len()), (304, 0), "{since}");
    let tag = format!("If-None-Match: {}", header("etag: "));
    assert_eq!(curl(&["-H", &tag, &url("/small.txt")]).0, 304, "{tag}");

    for path in [
        "/none",
        "/small.txt/",
        "/out.txt",
        "/sub/none",
        "/sub/../none",
    ] {
        let status = curl(&[&url(path)]).0;
        assert!(matches!(status, 404 | 400), "{path}: {status}");
    }
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/sub/../../secret.txt",
        "/..%2fsecret.txt",
    ] {
        let (status, _, body) = curl(&[&url(path)]);
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        assert!(!body.windows(6).any(|window| window == b"secret"), "{path}");
    }
    assert_eq!(curl(&["-X", "POST", "-d", "x", &url("/small.txt")]).0, 405);
    assert_eq!(curl(&[&url("/page/")]).2, b"<p>index");
    let (status, head, _) = curl(&[&url("/sub")]);
    assert!(
        status == 301 && head.contains("location: /sub/\r"),
        "{head}"
    );
    let (status, _, body) = curl(&[&url("/sub/")]);
    let page = String::from_utf8(body).unwrap();
    assert!(
        status == 200 && page.contains("a &amp; b.txt") && page.contains("a%20"),
        "{page}"
    );
    let (_, _, body) = curl(&[&url("/")]);
    let page = String::from_utf8(body).unwrap();
    assert!(
        page.contains("large.bin") && !page.contains("out.txt"),
        "{page}"
    );
    server.end();

    let server = Server::files(&dir, &["--no-listing"]);
    assert_eq!(curl(&[&server.url("/sub/")]).0, 403);
    assert_eq!(curl(&[&server.url("/page/")]).0, 200);
    server.end();
}

#[test]
fn serve_files_under_wrk_meets_no_error() {
    if !has("wrk") {
        return;
    }
    let dir = Dir::new();
    dir.file("1k.bin", &bytes(1024));
    dir.file("300k.bin", &bytes(300 * 1024));
    let server = Server::files(&dir, &["--cores", "2"]);
    for name in ["/1k.bin", "/300k.bin"] {
        let url = server.url(name);
        let wrk = Command::new("wrk")
            .args(["-t1", "-c40", "-d1s", &url])
            .output();
        let text = String::from_utf8(wrk.unwrap().stdout).unwrap();
        assert!(text.contains("Requests/sec"), "{text}");
        assert!(
            !text.contains("Socket errors") && !text.contains("Non-2xx"),
            "{text}"
        );
    }
    server.end();
}

#[test]
fn what_is_in_flight_is_finished_before_the_end() {
    let dir = Dir::new();
    let content = bytes(20_000_000);
    dir.file("large", &content);
    let mut server = Server::files(&dir, &[]);
    let mut stream = server.connect();
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut received = vec![0; 100_000];
    stream.read_exact(&mut received).unwrap();
    server.process.signal("TERM");
    eventually("it accepts no more", || {
        TcpStream::connect(server.address).is_err()
    });
    stream.read_to_end(&mut received).unwrap();
    let begin = received
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(
        received[begin..] == content,
        "{} bytes",
        received.len() - begin
    );
    assert_eq!(server.process.wait().code(), Some(0));
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let dir = Dir::new();
    dir.file("large", &bytes(50_000_000));
    let stalled = |server: &Server| {
        let mut stream = server.connect();
        stream
            .write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream
    };
    // Until the time is over.
    let mut server = Server::files(&dir, &["--drain", "300ms"]);
    let _stream = stalled(&server);
    let start = Instant::now();
    server.process.signal("INT");
    assert_eq!(server.process.wait().code(), Some(0));
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "{:?}",
        start.elapsed()
    );
    // Until a second signal.
    let mut server = Server::files(&dir, &["--drain", "60s"]);
    let _stream = stalled(&server);
    server.process.signal("TERM");
    eventually("it accepts no more", || {
        TcpStream::connect(server.address).is_err()
    });
    server.process.signal("TERM");
    assert_eq!(server.process.wait().code(), Some(143));
}

#[test]
fn mistakes_are_one_clear_message_and_status_1() {
    let dir = Dir::new();
    let file = dir.file("file", b"x");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (dir, file) = (dir.0.to_str().unwrap(), file.to_str().unwrap());
    let cases: [(&[&str], &str); 6] = [
        (&["serve", "echo", &taken], "choose another port"),
        (
            &["serve", "echo", &taken, "--cores", "2"],
            "choose another port",
        ),
        (
            &["serve", "files", dir, "--addr", &taken],
            "choose another port",
        ),
        (
            &["serve", "echo", "192.0.2.1:7000"],
            "an address of this machine",
        ),
        (&["serve", "files", file], "it is not a directory"),
        (&["serve", "files", "/nowhere/at/all"], "No such file"),
    ];
    let _listener = TcpListener::bind(&taken);
    for (arguments, cure) in cases {
        let output = run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.starts_with("corering: ") && text.contains(cure),
            "{arguments:?}: {text}"
        );
        assert!(text.lines().count() <= 2, "{text}");
    }
}

#[test]
fn a_second_server_on_the_same_port_is_told_so() {
    let server = Server::start(&["serve", "echo", "127.0.0.1:0", "--cores", "2"]);
    let output = run(&["serve", "echo", &server.address.to_string(), "--cores", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    server.end();
}

// ---------------------------------------------------------------------------------------------
// Downloads

#[test]
fn get_from_nginx() {
    if !has("nginx") {
        return;
    }
    let (dir, to) = (Dir::new(), Dir::new());
    let mut urls = Vec::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for index in 0..50 {
        let name = format!("www/file{index}");
        dir.file(&name, &bytes(index * 9_973));
        urls.push(format!("http://127.0.0.1:{port}/file{index}"));
    }
    urls.push(format!("http://127.0.0.1:{port}/missing"));
    let _nginx = nginx(&dir, port);
    let output = get(&to, &urls, &["-j", "20"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/missing: the server answered 404"), "{text}");
    assert!(text.contains("1 of 51 are missing"), "{text}");
    assert_eq!(to.names().len(), 50, "{:?}", to.names());
    for index in 0..50 {
        let got = fs::read(to.0.join(format!("file{index}"))).unwrap();
        assert!(
            got == bytes(index * 9_973),
            "file{index}: {} bytes",
            got.len()
        );
    }
    // Once more, over what is there.
    let output = get(&to, &urls[..50], &["-j", "3", "-q"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
    assert_eq!(to.names().len(), 50);
}

fn nginx(dir: &Dir, port: u16) -> Process {
    let place = dir.0.display();
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        temporary.push_str(&format!("{kind}_temp_path {place}/{kind};\n"));
    }
    let config = format!(
        "daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; {temporary}\n\
         server {{ listen 127.0.0.1:{port}; root {place}/www; }} }}"
    );
    let config = dir.file("nginx.conf", config.as_bytes());
    // Its worker may run as somebody else, who must reach the files.
    let _ = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(&dir.0)
        .status();
    let program = [
        "/usr/sbin/nginx",
        "/usr/bin/nginx",
        "/sbin/nginx",
        "/usr/local/bin/nginx",
    ];
    let program = program
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(config).arg("-p").arg(&dir.0);
    let process = Process(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("nginx listens", || TcpStream::connect(address).is_ok());
    process
}

fn get(to: &Dir, urls: &[String], more: &[&str]) -> Output {
    let mut command = corering(&["get", "-o", to.0.to_str().unwrap()]);
    command.args(more).args(urls).output().unwrap()
}

/// Answers every connection with these bytes, then closes it, or keeps it open.
fn answer_with(answer: &'static [u8], close: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            if !close {
                open.push(stream);
            }
        }
    });
    address
}

#[test]
fn a_truncated_body_is_a_failure_and_leaves_nothing() {
    let bodies: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\ntoo short",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ];
    for body in bodies {
        let to = Dir::new();
        let url = format!("http://{}/file", answer_with(body, true));
        let output = get(&to, &[url], &[]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("1 of 1 are missing"),
            "{}",
            stderr(&output)
        );
        assert!(to.names().is_empty(), "{:?}", to.names());
    }
    let to = Dir::new();
    let body = b"HTTP/1.1 200 OK\r\n\r\nuntil the end of the connection";
    let url = format!("http://{}/file", answer_with(body, true));
    let output = get(&to, &[url], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let got = fs::read(to.0.join("file")).unwrap();
    assert_eq!(got, b"until the end of the connection");
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let to = Dir::new();
    let body = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    let url = format!("http://{}/file", answer_with(body, false));
    let output = get(&to, &[url], &["--timeout", "200ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("nothing came for 200ms"),
        "{}",
        stderr(&output)
    );
    assert!(to.names().is_empty(), "{:?}", to.names());
}

#[test]
fn ctrl_c_leaves_no_half_files() {
    let to = Dir::new();
    let body = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    let stalled = answer_with(body, false);
    let whole = answer_with(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole", true);
    let urls: Vec<_> = (0..10)
        .map(|index| match index {
            0 => format!("http://{whole}/whole"),
            index => format!("http://{stalled}/file{index}"),
        })
        .collect();
    let mut command = corering(&["get", "-o", to.0.to_str().unwrap()]);
    let mut process = Process(command.args(&urls).stderr(Stdio::null()).spawn().unwrap());
    eventually("all have begun", || {
        let names = to.names();
        names.len() == 10 && names.contains(&"whole".to_owned())
    });
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(130));
    assert_eq!(to.names(), ["whole"]);
}

#[test]
fn get_says_where_it_cannot_write() {
    let dir = Dir::new();
    let file = dir.file("file", b"x");
    let output = run(&["get", "http://127.0.0.1:1/x", "-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot make"),
        "{}",
        stderr(&output)
    );
    let output = run(&["get", "http://127.0.0.1:1/x", "-o", dir.0.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot connect to 127.0.0.1:1"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn get_over_tls_trusts_the_authorities_that_it_is_given() {
    let (to, authority) = (Dir::new(), Authority::new("ours"));
    let server = https_support::Server::start(authority.acceptor(&["localhost"], 2100));
    let file = Dir::new();
    let ours = file.file("ca.pem", authority.pem().as_bytes());
    let other = Authority::new("a stranger").pem();
    let other = file.file("other.pem", other.as_bytes());
    let none = file.file("none.pem", b"nothing");
    let [ours, other, none] = [&ours, &other, &none].map(|path| path.to_str().unwrap());
    let urls = [server.url("/a"), server.url("/hop/3")];
    let output = get(&to, &urls, &["--cacert", ours]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(to.names(), ["3", "a"], "a redirect does not name the file");
    assert_eq!(fs::read(to.0.join("a")).unwrap(), b"/a");
    assert_eq!(fs::read(to.0.join("3")).unwrap(), b"/found");
    let failures: [(&str, &[&str], &str); 5] = [
        (
            "/hop/3",
            &["--cacert", ours, "--max-redirs", "2"],
            "redirects more than 2 times",
        ),
        (
            "/hop/3",
            &["--cacert", ours, "--max-redirs", "0"],
            "302 Found: it is at 2",
        ),
        (
            "/to?http://127.0.0.1:1/",
            &["--cacert", ours],
            "from https:// to http://",
        ),
        (
            "/a",
            &["--cacert", other],
            "is refused: it leads to no trusted root",
        ),
        ("/a", &["--cacert", none], "has no authority to trust"),
    ];
    for (path, options, why) in failures {
        let output = get(&Dir::new(), &[server.url(path)], options);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(stderr(&output).contains(why), "{path}: {}", stderr(&output));
    }
}
