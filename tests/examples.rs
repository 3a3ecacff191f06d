//! The programs of `examples/`, each run as a process of its own: its output, its exit status, and
//! what Ctrl-C does to it. Every example has a test of its name.
//!
//! `cargo test` builds the examples; `cargo test --test examples` alone does not, and says so where
//! one is missing.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts programs and opens sockets the plain way"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// An example that has printed nothing for so long counts as hanging.
const PATIENCE: Duration = Duration::from_secs(180);

// ---------------------------------------------------------------------------------------------
// Running

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo puts an example: beside the directory of this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent);
    let program = profile
        .expect("target/PROFILE/deps")
        .join("examples")
        .join(name);
    assert!(
        program.is_file(),
        "{} is not there: build it first, with `cargo build --examples`",
        program.display()
    );
    program
}

/// An example that runs; it is ended with the test at the latest.
struct Running {
    name: String,
    child: Child,
    errors: Option<thread::JoinHandle<String>>,
    lines: Receiver<String>,
}

impl Running {
    fn start(name: &str, arguments: &[&str]) -> Running {
        let mut child = Command::new(program(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example can be started");
        let mut stderr = child.stderr.take().expect("piped");
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // What a killed program has left is enough.
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // The test may want no more of them.
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Running {
            name: name.to_string(),
            child,
            errors: Some(errors),
            lines,
        }
    }

    /// The next line that the program prints; `None` once it has closed its output.
    fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} hangs", self.name),
        }
    }

    fn line(&mut self) -> String {
        self.next_line()
            .unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// The address at the end of the next line.
    fn address(&mut self) -> String {
        let line = self.line();
        line.rsplit(' ').next().expect("it has words").to_string()
    }

    /// Ctrl-C, for this process alone.
    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &pid]).status();
        assert!(status.expect("kill can be started").success());
    }

    /// What else it prints, once it has ended.
    fn end(mut self) -> Ended {
        let lines = iter::from_fn(|| self.next_line()).collect();
        let status = self.child.wait().expect("the child is ours");
        let errors = self.errors.take().expect("taken once");
        Ended {
            status,
            lines,
            errors: errors.join().expect("it only reads"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, and then neither has anything to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ended {
    status: ExitStatus,
    lines: Vec<String>,
    errors: String,
}

impl Ended {
    fn success(self) -> Vec<String> {
        let (lines, errors) = (self.lines.join("\n"), self.errors);
        assert!(self.status.success(), "{}\n{lines}\n{errors}", self.status);
        self.lines
    }
}

/// Runs an example to its end, which is a good one; the lines that it has printed.
fn run(name: &str) -> Vec<String> {
    Running::start(name, &[]).end().success()
}

/// Where a line stands; it stands there once.
fn place(lines: &[String], line: &str) -> usize {
    let places: Vec<_> = (0..lines.len()).filter(|at| lines[*at] == line).collect();
    assert_eq!(places.len(), 1, "{line:?} in {lines:#?}");
    places[0]
}

/// The lines stand in this order, with others in between.
fn assert_order(lines: &[String], order: &[&str]) {
    let places: Vec<_> = order.iter().map(|line| place(lines, line)).collect();
    assert!(places.is_sorted(), "{order:?} in {lines:#?}");
}

/// The lines with this beginning, without it.
fn behind<'a>(lines: &'a [String], begin: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(begin))
        .collect()
}

/// The first number in a text.
fn number(text: &str) -> u64 {
    let digits = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let end = digits.find(|letter: char| !letter.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no number in {text:?}"))
}

// ---------------------------------------------------------------------------------------------
// The list

#[test]
fn every_example_has_a_test_and_says_how_it_is_run() {
    let source = include_str!("examples.rs");
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("there are examples") {
        let path = entry.expect("the directory can be read").path();
        let name = path
            .file_stem()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let file = if path.is_dir() {
            path.join("main.rs")
        } else {
            path
        };
        let test = format!("#[test]\nfn {name}() {{");
        assert!(
            source.contains(&test),
            "tests/examples.rs has no test `{name}`"
        );
        let text = std::fs::read_to_string(&file).expect("it can be read");
        let header: Vec<_> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect();
        let header = header.join(" ");
        let words: Vec<_> = header.split_whitespace().collect();
        let header = words.join(" ");
        let start = format!("--example {name}");
        assert!(
            header.contains(&start),
            "{} says not how it is run",
            file.display()
        );
        count += 1;
    }
    assert!(count >= 20, "{count} examples");
}

// ---------------------------------------------------------------------------------------------
// Tasks

#[test]
fn hello() {
    let lines = run("hello");
    assert_order(&lines, &["hello, ring", "goodbye, ring"]);
    assert_order(&lines, &["hello, core", "goodbye, core"]);
    // Both have said hello before any says goodbye.
    assert_order(&lines, &["hello, ring", "goodbye, core"]);
    assert_order(&lines, &["hello, core", "goodbye, ring"]);
    assert!(number(&lines[4]) >= 100, "a sleep was early: {lines:?}");
}

#[test]
fn interleave() {
    let lines = run("interleave");
    assert_order(
        &lines,
        &[
            "A: computing factorial(2), at 2",
            "B: computing factorial(3), at 2",
            "C: computing factorial(4), at 2",
            "A: factorial(2) = 2",
        ],
    );
    assert_order(
        &lines,
        &[
            "C: computing factorial(4), at 2",
            "B: computing factorial(3), at 3",
            "C: computing factorial(4), at 4",
            "C: factorial(4) = 24",
        ],
    );
    assert_eq!(lines.last().map(String::as_str), Some("[2, 6, 24]"));
    assert_eq!(lines.len(), 10);
}

#[test]
fn spinner() {
    let ended = Running::start("spinner", &[]).end();
    let frames: Vec<_> = ended.errors.split('\r').collect();
    assert_eq!(frames[..3], ["", "| thinking!", "/ thinking!"]);
    // The last thing that it does is to wipe its line.
    let [.., wiped, rest] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!((wiped.trim(), *rest), ("", ""));
    assert_eq!(wiped.len(), "| thinking!".len());
    assert_eq!(
        ended.success(),
        ["the spinner has spun: true", "answer: 42"]
    );
}

#[test]
fn callbacks() {
    let lines = run("callbacks");
    assert_order(
        &lines,
        &[
            "the loop runs",
            "eggs after 2 minutes",
            "soup after 4 minutes",
            "no cake: it is burnt",
            "the last one stops the loop",
        ],
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn gather() {
    let lines = run("gather");
    for group in [1, 2] {
        let ended = behind(&lines, &format!("group {group}: "));
        assert_eq!(ended.len(), 11, "ten, and their results: {ended:?}");
        let results: Vec<u64> = (0..10).map(|n| n * group).collect();
        assert_eq!(*ended.last().expect("eleven"), format!("{results:?}"));
    }
    let cancelled = place(&lines, "group 3 is cancelled");
    let (before, after) = lines.split_at(cancelled);
    assert!(behind(before, "group 3: ").len() < 10, "{before:?}");
    assert_eq!(after[1..], ["nobody of it is left: true"]);
}

#[test]
fn wait() {
    let lines = run("wait");
    let in_time = behind(&lines, "in two and a half steps: ")[0];
    let (done, pending) = in_time.split_once(" done, ").expect("two counts");
    let all = ["[1]", "[1, 2]", "[1, 2, 3]", "[1, 2, 3, 4]"];
    let done = 1 + all.iter().position(|some| *some == done).expect("in order") as u64;
    assert_eq!(done + number(pending), 4, "{in_time}");
    assert_eq!(behind(&lines, "later: "), [format!("{} more", 4 - done)]);

    let first = behind(&lines, "the first: ")[0];
    let (done, pending) = first.split_once(" done, ").expect("two counts");
    let (done, pending) = (number(done), number(pending));
    assert!(done >= 1 && done + pending == 4, "{first}");
    assert_eq!(number(behind(&lines, "aborted: ")[0]), pending);

    let failed = behind(&lines, "until the first error: ")[0];
    assert!(
        failed.starts_with("[Ok(1), Err(\"phase 2 has failed\")"),
        "{failed}"
    );
}

#[test]
fn ctrl_c() {
    let mut running = Running::start("ctrl_c", &[]);
    assert_eq!(running.line(), "3 workers; Ctrl-C ends them");
    thread::sleep(Duration::from_millis(100));
    running.interrupt();
    assert_eq!(running.line(), "Ctrl-C");
    let lines = running.end().success();
    for worker in 1..=3 {
        let asked = format!("worker {worker}: asked to end, saving its work");
        let saved = format!("worker {worker}: saved");
        assert_order(
            &lines,
            &[&asked, &saved, &format!("worker {worker} has worked: true")],
        );
    }
    assert_eq!(lines.len(), 9);
}

#[test]
fn ctrl_c_presses_itself() {
    let lines = Running::start("ctrl_c", &["0.1"]).end().success();
    assert_eq!(lines.len(), 11, "{lines:#?}");
}

#[test]
fn call_order() {
    assert_eq!(
        run("call_order"),
        [
            "main goes first: it has not waited yet",
            "call_soon, the first",
            "call_soon, the second",
            "call_soon, the third",
            "call_soon, asked for by the second",
            "call_later, 20 ms",
            "call_later, 40 ms",
            "call_at, 60 ms from now",
            "the cancelled one was called: false",
        ]
    );
}

#[test]
fn from_thread() {
    assert_eq!(
        run("from_thread"),
        [
            "the loop calls on the thread that asked: false",
            "1 + 2 = 3",
            "an hour's sleep in time: false; cancelled: true",
            "the thread has 3, and the loop has stopped",
        ]
    );
}

#[test]
fn executor() {
    let lines = run("executor");
    for n in 0..6 {
        place(&lines, &format!("blocks({n}) = {}", n * n));
    }
    let most = behind(&lines, "[0, 1, 4, 9, 16, 25], ");
    assert!((1..=3).contains(&number(most[0])), "{most:?}");
    assert_eq!(lines[7..], ["meanwhile the loop was alive: true"]);
}

#[test]
fn cache_lock() {
    assert_eq!(
        run("cache_lock"),
        [
            "parse: fetching /index",
            "use: /index is in the cache",
            "log: /index is in the cache",
            "all have the same page: true",
            "pages in the cache: 1",
        ]
    );
}

#[test]
fn queue() {
    let lines = run("queue");
    let put: Vec<_> = behind(&lines, "producer: ")
        .into_iter()
        .map(number)
        .collect();
    assert_eq!(put, (1..=20).collect::<Vec<_>>());
    for line in behind(&lines, "producer: ") {
        let (_, waiting) = line.split_once(" put, ").expect("its length");
        assert!(number(waiting) <= 3, "{line}");
    }
    let mut done: Vec<_> = (1..=3)
        .flat_map(|consumer| behind(&lines, &format!("consumer {consumer}: ")))
        .map(number)
        .collect();
    done.sort_unstable();
    assert_eq!(done, put);
    assert_eq!(
        lines[40..],
        ["all is worked off", "20 items, their sum is 210"]
    );
}

#[test]
fn timers() {
    let lines = run("timers");
    assert!(lines[0].starts_with("1000000 timers set in "), "{lines:?}");
    assert!(
        lines[0].ends_with(", 100000 of them cancelled"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["fired: 900000, early: 0, out of order: 0"]);
}

#[test]
fn cores() {
    let lines = run("cores");
    let found = behind(&lines, "11 multiples of 97: [")[0];
    let found = found.trim_end_matches(']').split(", ").map(number);
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    assert_eq!(found, (0..11).map(|n| n * 97).collect::<Vec<_>>());
}

// ---------------------------------------------------------------------------------------------
// The network

#[test]
fn headers() {
    let lines = run("headers");
    for origin in 1..=3 {
        let name = format!("origin-{origin}");
        let asked = place(&lines, &format!("asking {name}"));
        assert!(asked < 3, "all are asked before any answers: {lines:#?}");
        let expected = ["HTTP/1.0 200 OK", "Server: an example", "Content-Length: 0"];
        assert_eq!(behind(&lines, &format!("{name}: ")), expected);
    }
    assert_eq!(lines[12..], ["3 of 3 hosts have answered"]);
}

#[test]
fn echo() {
    let lines = run("echo");
    for client in 1..=20 {
        let peer = behind(&lines, &format!("client {client} is "))[0];
        place(
            &lines,
            &format!("received \"hello from client {client}\" from {peer}"),
        );
    }
    place(&lines, "20 of 20 clients have their words back");
}

#[test]
fn echo_serves() {
    let mut server = Running::start("echo", &["127.0.0.1:0"]);
    let address = server.address();
    let mut stream = TcpStream::connect(address).expect("it listens");
    let me = stream.local_addr().expect("connected");
    stream.write_all(b"ping").expect("it can be sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"ping");
    assert_eq!(server.line(), format!("received \"ping\" from {me}"));
    drop(stream);
    assert_eq!(server.line(), format!("{me} has closed"));
}

#[test]
fn pages() {
    let lines = run("pages");
    for page in 0..20 {
        place(&lines, &format!("page {page}: {} bytes", 1000 + page));
    }
    assert!(place(&lines, "page 19: 1019 bytes") < place(&lines, "page 0: 1000 bytes"));
    assert_eq!(lines[20..], ["20190 bytes in all"]);
}

#[test]
fn flags() {
    let lines = run("flags");
    let saved = behind(&lines, "206 flags saved, 2 are not there, ")[0];
    let most = number(behind(&lines, "at most ")[0]);
    assert!((2..=20).contains(&most), "{lines:?}");
    assert_eq!(behind(&lines, "on the disk: "), [saved]);
}

#[test]
fn crawler() {
    assert_eq!(
        run("crawler"),
        ["52 pages in the database", "/50 is 404", "/51 is 404"]
    );
}

#[test]
fn crawler_of_a_host_that_is_not_there() {
    let lines = Running::start("crawler", &["http://127.0.0.1:1/"])
        .end()
        .success();
    assert!(lines[0].starts_with("failed: "), "{lines:?}");
    assert_eq!(lines[1..], ["0 pages in the database"]);
}

#[test]
fn udp_echo() {
    let lines = run("udp_echo");
    assert!(
        lines[0].starts_with("waiting for datagrams on 127.0.0.1:"),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["hello, ring"]);
}

#[test]
fn udp_echo_serves() {
    let mut server = Running::start("udp_echo", &["127.0.0.1:0"]);
    let address = server.address();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    socket.send(b"ping").expect("it can be sent");
    let mut answer = [0; 16];
    let len = socket.recv(&mut answer).expect("it answers");
    assert_eq!(&answer[..len], b"ping");
}

#[test]
fn unix_chat() {
    assert_eq!(
        run("unix_chat"),
        [
            "ann hears  ann: is anybody here?",
            "ann hears  bob: I am",
            "bob hears  bob: I am",
        ]
    );
}

#[test]
fn graceful() {
    assert_eq!(run("graceful"), ["ended in order: true"]);
}

#[test]
fn http() {
    assert_eq!(
        run("http"),
        ["200 OK: you asked for /one", "200 OK: you asked for /two"]
    );
}

// ---------------------------------------------------------------------------------------------
// Files and processes

#[test]
fn files() {
    assert_eq!(
        run("files"),
        [
            "1088890 bytes written",
            "100000 lines read",
            "replaced by \"one line\\n\"",
        ]
    );
}

#[test]
fn pipeline() {
    assert_eq!(
        run("pipeline"),
        [
            "3 apple",
            "1 fig",
            "2 pear",
            "sort: exit status: 0, uniq: exit status: 0",
            "sleep: signal: 9 (SIGKILL)",
        ]
    );
}

#[test]
fn store() {
    let lines = run("store");
    place(&lines, "stopped; the second life:");
    place(&lines, "client-0: Some(\"round 49\")");
    place(&lines, "gone: None");
}
