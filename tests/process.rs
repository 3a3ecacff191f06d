//! Child processes: their ends, their pipes, and what is left of them.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::process::{Command, Stdio};
use corering::time::{Instant, sleep, timeout};
use corering::{PollFd, Restrict, Runtime, pipe, spawn};
use harness::{Case, Census, oracle};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// The children of this process, by the state that the kernel gives them.
fn children() -> Vec<(u32, char)> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("readable") {
        let name = entry.expect("readable").file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let behind = stat.rsplit_once(") ").expect("the name is in brackets").1;
        let mut words = behind.split(' ');
        let state = words.next().expect("a state").chars().next().expect("one");
        if words.next().and_then(|word| word.parse().ok()) == Some(own) {
            found.push((pid, state));
        }
    }
    found
}

/// No child is left, after some time for those whose end is on its way.
async fn no_children() {
    let begin = Instant::now();
    while !children().is_empty() {
        assert!(begin.elapsed() < LIMIT, "left: {:?}", children());
        sleep(5 * MS).await;
    }
}

#[test]
fn ends_and_how() {
    for mask in ["", "waitid", "waitid,send_msg_ring"] {
        Case::new("ends_and_how")
            .env("CORERING_MASK", mask)
            .run(|| {
                let mut runtime = runtime();
                let census = Census::take();
                runtime.block_on(async {
                    let status = Command::new("true").status().await.expect("started");
                    assert!(status.success());
                    let status = Command::shell("exit 7").status().await.expect("started");
                    assert_eq!(status.code(), Some(7));
                    let status = Command::shell("kill -TERM $$").status().await;
                    assert_eq!(status.expect("started").signal(), Some(libc::SIGTERM));
                    let error = Command::new("/no/such/program").spawn().expect_err("none");
                    assert_eq!(error.kind(), ErrorKind::NotFound);

                    let mut child = Command::new("sleep").arg("60").spawn().expect("started");
                    let pid = child.id().expect("it runs");
                    assert_eq!(child.try_wait().expect("ours"), None);
                    assert!(timeout(20 * MS, child.wait()).await.is_err());
                    assert_eq!(child.try_wait().expect("ours"), None);
                    child.terminate().expect("it runs");
                    let status = timeout(LIMIT, child.wait()).await.expect("it ends");
                    assert_eq!(status.expect("ours").signal(), Some(libc::SIGTERM));
                    assert_eq!(child.id(), None);
                    assert!(child.try_wait().expect("known").is_some());
                    child.start_kill().expect("nothing to do");
                    child.kill().await.expect("nothing to do");
                    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
                    let error = child.send_signal(4000).err();
                    assert!(error.is_none(), "it has ended");
                    no_children().await;
                });
                census.assert_same();
            });
        if std::env::var_os("CORERING_TEST_CASE").is_some() {
            return;
        }
    }
}

#[test]
fn try_wait_beside_a_wait_that_was_dropped() {
    Case::new("try_wait_beside_a_wait_that_was_dropped").run(|| {
        runtime().block_on(async {
            for _ in 0..50 {
                let mut child = Command::new("true").spawn().expect("started");
                drop(timeout(Duration::ZERO, child.wait()).await);
                let status = loop {
                    if let Some(status) = child.try_wait().expect("ours") {
                        break status;
                    }
                    sleep(MS).await;
                };
                assert!(status.success());
                assert!(child.wait().await.expect("known").success());
            }
            no_children().await;
        });
    });
}

/// Megabytes through a child that writes while it reads, in both pipes at once.
#[test]
fn communicate_megabytes() {
    Case::new("communicate_megabytes").run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            let input = harness::coded_bytes(1, 0, 8 << 20);
            let child = Command::shell("tee /dev/stderr")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("started");
            let output = timeout(LIMIT, child.communicate(&input)).await;
            let output = output.expect("no deadlock").expect("no error");
            assert!(output.status.success());
            assert!(output.stdout == input && output.stderr == input);

            // One that does not read its input.
            let child = Command::new("true").stdin(Stdio::piped()).spawn();
            let output = child.expect("started").communicate(&input).await;
            assert!(output.expect("no error").status.success());
            // Input without a pipe.
            let child = Command::new("true").spawn().expect("started");
            let error = child.communicate("x").await.expect_err("nowhere to");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let output = Command::shell("cat; echo out; echo err >&2").output().await;
            let output = output.expect("started");
            assert_eq!(
                (&output.stdout[..], &output.stderr[..]),
                (&b"out\n"[..], &b"err\n"[..])
            );
            no_children().await;
        });
        census.assert_same();
    });
}

#[test]
fn thousands_of_children() {
    Case::new("thousands_of_children").seconds(120).run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        let threads = oracle::threads();
        runtime.block_on(async {
            for round in 0..40 {
                let mut tasks = Vec::new();
                for number in 0..50 {
                    tasks.push(spawn(async move {
                        let line = format!("exit {}", number % 100);
                        let mut child = Command::shell(line).spawn().expect("started");
                        match (round + number) % 5 {
                            // Nobody waits, or not to the end.
                            0 => drop(child),
                            1 => drop(timeout(MS, child.wait()).await),
                            2 => child.kill().await.expect("ours"),
                            _ => {
                                let status = child.wait().await.expect("ours");
                                assert_eq!(status.code(), Some(number % 100));
                            }
                        }
                    }));
                }
                for task in tasks {
                    task.await.expect("no panic");
                }
            }
            no_children().await;
        });
        assert_eq!(oracle::threads(), threads, "there is no helper thread");
        census.assert_same();
    });
}

#[test]
fn dropped_children() {
    Case::new("dropped_children").run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            // Killed with its handle, waited for or not.
            for waited in [false, true] {
                let mut command = Command::new("sleep");
                let mut child = command
                    .arg("60")
                    .kill_on_drop(true)
                    .spawn()
                    .expect("started");
                if waited {
                    assert!(timeout(5 * MS, child.wait()).await.is_err());
                }
                drop(child);
                no_children().await;
            }
            // Not killed: it runs on, and its end is taken in.
            let child = Command::new("sleep").arg("0.2").spawn().expect("started");
            drop(child);
            assert_eq!(children().len(), 1);
            no_children().await;
        });
        census.assert_same();
        // The end of the runtime waits for those that were killed, and for no others.
        let pid = runtime.block_on(async {
            let mut command = Command::new("sleep");
            command.arg("60");
            drop(command.kill_on_drop(true).spawn().expect("started"));
            let child = command.kill_on_drop(false).spawn().expect("started");
            child.id().expect("it runs")
        });
        let begin = std::time::Instant::now();
        let report = runtime.shutdown(Duration::from_secs(30));
        assert!(report.is_clean(), "{report:?}");
        assert!(begin.elapsed() < Duration::from_secs(10));
        let left = children();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].0, pid);
        // SAFETY: sends a signal to a child of this process.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        while children()[0].1 != 'Z' {
            std::thread::yield_now();
        }
        // Whoever starts the next one takes it in.
        let mut runtime = self::runtime();
        runtime.block_on(async {
            assert!(
                Command::new("true")
                    .status()
                    .await
                    .expect("started")
                    .success()
            );
            assert_eq!(children(), []);
        });
    });
}

/// Nobody may take the child's end away, but if somebody does, that is said.
#[test]
fn somebody_else_waits() {
    Case::new("somebody_else_waits").run(|| {
        // SAFETY: the kernel takes the ends of children in by itself from now on.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        runtime().block_on(async {
            // It may have ended before there is a descriptor of it, or while it is waited for.
            for line in ["exit", "sleep 0.1"] {
                let result = timeout(LIMIT, Command::shell(line).status()).await;
                let error = result.expect("it ends").expect_err("taken in");
                assert!(error.to_string().contains("SIGCHLD"), "{error}");
            }
        });
    });
}

#[test]
fn close_on_exec() {
    Case::new("close_on_exec").run(|| {
        let list = || {
            std::process::Command::new("ls")
                .arg("/proc/self/fd")
                .output()
        };
        // What the test itself was started with comes along.
        let before = list().expect("started").stdout;
        runtime().block_on(async {
            let (sender, receiver) = pipe::pipe().expect("a pipe");
            let stdin = corering::stdio::stdin().expect("null");
            let (one, _other) = UnixStream::pair().expect("a pair");
            let watched = PollFd::new(one).expect("watched");
            let cat = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("started");
            let output = Command::new("ls").arg("/proc/self/fd").output().await;
            assert_eq!(output.expect("started").stdout, before);
            drop((sender, receiver, stdin, watched));
            assert!(cat.communicate("").await.expect("ours").status.success());
        });
    });
}

/// The runtime of a program that does not ignore SIGPIPE, on a kernel with or without the flag.
#[test]
fn no_sigpipe_of_pipes() {
    Case::new("no_sigpipe_of_pipes").run(|| {
        // SAFETY: sets the default action.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        runtime().block_on(async {
            let (mut sender, receiver) = pipe::pipe().expect("a pipe");
            drop(receiver);
            // The ring closes it with the next turn.
            sleep(5 * MS).await;
            sender.write_all(b"x").await.expect("accepted");
            let error = sender.flush().await.expect_err("nobody reads");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let error = sender.write(b"x").await.expect_err("nobody reads");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            sender.close().await.expect_err("it is told once more");
            sender.close().await.expect("it is closed");
            let (mut sender, receiver) = pipe::pipe().expect("a pipe");
            drop(receiver);
            sleep(5 * MS).await;
            sender.write_all(b"y").await.expect("accepted");
            drop(sender);
            sleep(5 * MS).await;
        });
    });
}

#[test]
fn pipes_lose_nothing() {
    Case::new("pipes_lose_nothing").run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            let (mut sender, mut receiver) = pipe::pipe().expect("a pipe");
            const LEN: usize = 3 << 20;
            let writer = spawn(async move {
                for from in (0..LEN).step_by(10_000) {
                    let bytes = harness::coded_bytes(1, from as u64, 10_000.min(LEN - from));
                    sender.write_all(&bytes).await.expect("written");
                }
                // The queue empties itself, and closes the end then.
                drop(sender);
            });
            let mut all = Vec::new();
            let mut buf = [0; 7000];
            loop {
                let read = receiver.read(&mut buf);
                match timeout(Duration::from_micros(30), read).await {
                    Ok(Ok(0)) => break,
                    Ok(n) => all.extend_from_slice(&buf[..n.expect("read")]),
                    Err(_) => {}
                }
            }
            writer.await.expect("no panic");
            assert_eq!(all.len(), LEN);
            harness::check_coded(1, 0, &all);
        });
        census.assert_same();
    });
}

/// The end of a pipe as the next child's stream, and what is refused.
#[test]
fn pipes_between_children() {
    Case::new("pipes_between_children").run(|| {
        runtime().block_on(async {
            let (sender, mut receiver) = pipe::pipe().expect("a pipe");
            let mut first = Command::new("printf")
                .arg("b\\na\\n")
                .stdout(Stdio::piped())
                .spawn()
                .expect("started");
            let stdout = first.stdout.take().expect("piped");
            let mut second = Command::new("sort")
                .stdin(stdout.into_fd().expect("untouched"))
                .stdout(sender.into_fd().expect("untouched"))
                .spawn()
                .expect("started");
            let mut text = String::new();
            // The command has our ends until it is dropped: it was, with the statement.
            receiver.read_to_string(&mut text).await.expect("read");
            assert_eq!(text, "a\nb\n");
            assert!(first.wait().await.expect("ours").success());
            assert!(second.wait().await.expect("ours").success());

            let (mut sender, mut receiver) = pipe::pipe().expect("a pipe");
            assert!(timeout(MS, receiver.read(&mut [0])).await.is_err());
            let error = receiver.into_fd().expect_err("a read was begun");
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
            // The descriptor is closed once its read has ended.
            sleep(10 * MS).await;
            assert!(sender.write_all(b"x").await.is_ok());
            assert!(sender.flush().await.is_err());
        });
    });
}

#[test]
fn restricted_to_children() {
    Case::new("restricted_to_children").run(|| {
        let restrict = Restrict::process();
        let mut restricted = Runtime::builder()
            .restrict(restrict)
            .build()
            .expect("built");
        restricted.block_on(async {
            let child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("started");
            let output = child.communicate("text").await.expect("allowed");
            assert_eq!(output.stdout, b"text");
            let error = corering::fs::read("/etc/hostname")
                .await
                .expect_err("forbidden");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        });
        drop(restricted);
        let restrict = Restrict::net();
        let mut restricted = Runtime::builder()
            .restrict(restrict)
            .build()
            .expect("built");
        restricted.block_on(async {
            // Waiting needs a poll alone, which every runtime may.
            assert!(
                Command::new("true")
                    .status()
                    .await
                    .expect("waited")
                    .success()
            );
            let error = Command::new("true").output().await.expect_err("forbidden");
            assert!(error.to_string().contains("Restrict::"), "{error}");
            no_children().await;
        });
    });
}

#[test]
fn poll_fd() {
    Case::new("poll_fd").run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            ours.set_nonblocking(true).expect("set");
            theirs.set_nonblocking(true).expect("set");
            let ours = std::rc::Rc::new(PollFd::new(ours).expect("watched"));
            // Nothing to read yet; a wait that is dropped takes nothing with it.
            assert!(timeout(5 * MS, ours.readable()).await.is_err());
            assert!(ours.writable().await.expect("room").is_writable());
            let waits = [0, 1, 2].map(|_| {
                let ours = ours.clone();
                spawn(async move { ours.readable().await.expect("polled") })
            });
            sleep(MS).await;
            (&theirs).write_all(b"ping").expect("sent");
            for wait in waits {
                assert!(wait.await.expect("no panic").is_readable());
            }
            // What is not used up stays ready.
            assert!(ours.readable().await.expect("polled").is_readable());
            let mut buf = [0; 8];
            let n = ours.read_with(|mut stream| stream.read(&mut buf)).await;
            assert_eq!(&buf[..n.expect("read")], b"ping");

            // Back-pressure, and the end.
            let sent = ours.clone();
            let writer = spawn(async move {
                let mut left = 1 << 20;
                while left > 0 {
                    let chunk = [1; 4096];
                    let n = sent.write_with(|mut stream| stream.write(&chunk)).await;
                    left -= n.expect("written").min(left);
                }
            });
            let theirs = PollFd::new(theirs).expect("watched");
            let mut all = 0;
            while all < 1 << 20 {
                let mut buf = [0; 10_000];
                let n = theirs.read_with(|mut stream| stream.read(&mut buf)).await;
                all += n.expect("read");
            }
            writer.await.expect("no panic");
            drop(theirs.into_inner());
            let ready = ours.readable().await.expect("polled");
            assert!(ready.is_closed(), "{ready:?}");
        });
        census.assert_same();
    });
}

/// Typed errors that say why, and what to do instead; nothing reaches the real machine.
#[cfg(feature = "sim")]
#[test]
fn a_simulation_has_none_of_it() {
    let census = Census::take();
    let mut sim = corering::sim::Sim::new(1);
    let host = sim.host("alone").boot(|_core| async {});
    let (one, other) = UnixStream::pair().expect("a pair");
    sim.block_on(&host, async move {
        let mut command = Command::new("true");
        let kill = Command::new("true").kill_on_drop(true).spawn().err();
        let processes = [
            command.spawn().err(),
            command.status().await.err(),
            command.output().await.err(),
            Command::shell("exit 3").output().await.err(),
            kill,
        ];
        let streams = [
            corering::stdio::stdin().err(),
            corering::stdio::stdout().err(),
            corering::stdio::stderr().err(),
        ];
        let process = (&processes[..], ["child processes", "host of its own"]);
        let stream = (&streams[..], ["standard streams", "`io::duplex`"]);
        let foreign = [PollFd::new(one).err()];
        let foreign = (&foreign[..], ["real machine", "sockets and pipes"]);
        for (errors, parts) in [process, stream, foreign] {
            for error in errors {
                let error = error.as_ref().expect("it is not simulated");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let text = error.to_string();
                assert!(text.starts_with("a simulation has no "), "{text}");
                assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            }
        }
    });
    sim.finish();
    drop(other);
    census.assert_same();
}
