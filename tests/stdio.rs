//! The standard streams, of a child that is asked to use them: pipes, terminals, files.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::Runtime;
use corering::io::{BufReader, copy};
use corering::stdio::{stderr, stdin, stdout};
use corering::time::timeout;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "CORERING_TEST_ROLE";

/// Starts this test again, as a program with this role and these streams.
fn program(role: &str, input: impl Into<Stdio>, output: impl Into<Stdio>) -> Child {
    Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", "role", "--nocapture", "--quiet"])
        .env(ROLE, role)
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .expect("started")
}

/// Its end within some seconds; else it is killed, and that is a failure.
fn end(mut child: Child, limit: Duration) -> String {
    let begin = Instant::now();
    let mut err = child.stderr.take().expect("piped");
    while child.try_wait().expect("ours").is_none() {
        if begin.elapsed() > limit {
            harness::oracle::dump(child.id());
            child.kill().expect("ours");
            child.wait().expect("ours");
            panic!("the program hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut text = String::new();
    err.read_to_string(&mut text).expect("text");
    assert!(child.wait().expect("ours").success(), "{text}");
    text
}

/// The program itself; nothing without a role.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let mut runtime = Runtime::new().expect("io_uring works here");
    runtime.block_on(async {
        match role.as_str() {
            "cat" => {
                let (mut input, mut output) = (stdin().expect("open"), stdout().expect("open"));
                copy(&mut input, &mut output).await.expect("copied");
            }
            "lines" => {
                let mut lines = BufReader::new(stdin().expect("open"));
                let mut output = stdout().expect("open");
                while let Some(line) = lines.next_line().await.expect("read") {
                    let text = format!("<{line}>\n");
                    output.write_all(text.as_bytes()).await.expect("written");
                    output.flush().await.expect("written");
                }
            }
            "leave" => {
                let mut input = stdin().expect("open");
                let pause = Duration::from_millis(50);
                assert!(timeout(pause, input.read(&mut [0; 10])).await.is_err());
                stderr()
                    .expect("open")
                    .write_all(b"left")
                    .await
                    .expect("written");
            }
            other => panic!("no such role: {other}"),
        }
    });
    let begin = Instant::now();
    drop(runtime);
    assert!(
        begin.elapsed() < Duration::from_millis(900),
        "it ends at once"
    );
    std::process::exit(0);
}

/// Both ends of a terminal: ours, and the program's.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: writes two numbers; no name, settings or size are given.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), null.cast()) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    for fd in [ours, theirs] {
        // SAFETY: sets a flag of a descriptor that was just made.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: it was just made, and has no other owner.
    let ours = unsafe { File::from_raw_fd(ours) };
    // SAFETY: as above.
    (ours, unsafe { OwnedFd::from_raw_fd(theirs) })
}

/// What a program could have changed about an open terminal.
fn settings(fd: &impl AsRawFd) -> (i32, [u32; 4]) {
    // SAFETY: an all-zero termios is a valid value.
    let mut termios: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: writes one termios.
    let got = unsafe { libc::tcgetattr(fd.as_raw_fd(), &mut termios) };
    assert_eq!(got, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: reads flags.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    let modes = [
        termios.c_iflag,
        termios.c_oflag,
        termios.c_cflag,
        termios.c_lflag,
    ];
    (flags, modes)
}

#[test]
fn pipes_and_files() {
    let mut child = program("cat", Stdio::piped(), Stdio::piped());
    let (mut to, mut from) = (
        child.stdin.take().expect("piped"),
        child.stdout.take().expect("piped"),
    );
    let bytes = harness::coded_bytes(1, 0, 3 << 20);
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || to.write_all(&sent).expect("written"));
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("read");
    writer.join().expect("no panic");
    end(child, Duration::from_secs(10));
    // The harness of the test says something first.
    assert!(all.ends_with(&bytes));

    // A file at its own position, into a file.
    let name = format!("corering-stdio-{}", std::process::id());
    let paths = ["in", "out"].map(|end| std::env::temp_dir().join(format!("{name}-{end}")));
    std::fs::write(&paths[0], b"skipped, but this is not").expect("written");
    let mut input = File::open(&paths[0]).expect("opened");
    input.read_exact(&mut [0; 9]).expect("read");
    let output = File::create(&paths[1]).expect("made");
    end(program("cat", input, output), Duration::from_secs(10));
    let copied = std::fs::read(&paths[1]).expect("read");
    assert!(copied.ends_with(b"but this is not"));
    for path in paths {
        std::fs::remove_file(path).expect("removed");
    }
}

#[test]
fn lines_of_a_terminal() {
    let (mut ours, theirs) = terminal();
    let before = settings(&theirs);
    let other = theirs.try_clone().expect("cloned");
    let child = program("lines", theirs.try_clone().expect("cloned"), other);
    let mut seen = String::new();
    for line in ["first", "second"] {
        ours.write_all(format!("{line}\n").as_bytes())
            .expect("typed");
        while !seen.contains(&format!("<{line}>")) {
            let mut some = [0; 200];
            let n = ours.read(&mut some).expect("shown");
            seen.push_str(&String::from_utf8_lossy(&some[..n]));
        }
    }
    // Ctrl-D.
    ours.write_all(&[4]).expect("typed");
    end(child, Duration::from_secs(10));
    assert_eq!(settings(&theirs), before);
}

#[test]
fn d07_the_end_with_a_read_pending() {
    // A pipe that nobody writes to.
    let mut child = program("leave", Stdio::piped(), Stdio::null());
    let _kept = child.stdin.take();
    assert!(end(child, Duration::from_secs(10)).ends_with("left"));
    // A terminal at which nobody types.
    let (_ours, theirs) = terminal();
    let before = settings(&theirs);
    let child = program("leave", theirs.try_clone().expect("cloned"), Stdio::null());
    assert!(end(child, Duration::from_secs(10)).ends_with("left"));
    assert_eq!(settings(&theirs), before);
    // One that somebody else has made non-blocking, and whose flag stays.
    // SAFETY: sets a flag of an open file of this test.
    unsafe {
        libc::fcntl(
            theirs.as_raw_fd(),
            libc::F_SETFL,
            before.0 | libc::O_NONBLOCK,
        )
    };
    let child = program("leave", theirs.try_clone().expect("cloned"), Stdio::null());
    assert!(end(child, Duration::from_secs(10)).ends_with("left"));
    assert_eq!(settings(&theirs).0, before.0 | libc::O_NONBLOCK);
}
