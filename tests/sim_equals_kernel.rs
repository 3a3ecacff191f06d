//! The simulated kernel against the real one: the same small programs on both.
//!
//! What a program of files comes to is decided: both say the same, to the error number. What a
//! program of sockets comes to depends on who is first: whatever the real kernel is seen to do in
//! many runs must be among what the simulation does with some seed.
#![cfg(feature = "sim")]
#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::fs::{self, File, OpenOptions};
use corering::net::{TcpListener, TcpStream};
use corering::pipe::{Receiver, Sender, pipe};
use corering::sim::{Faults, Sim};
use corering::time::{sleep, timeout};
use corering::{PollFd, Runtime, spawn};
use futures::{FutureExt, StreamExt};
use harness::net::pair;
use harness::{Case, Rng};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A result in words that do not depend on where it was come by.
fn said<T: Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => match error.raw_os_error() {
            Some(errno) => format!("errno {errno}"),
            None => format!("{:?}", error.kind()),
        },
    }
}

fn simulated<F>(seed: u64, faults: Faults, body: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let mut sim = Sim::with_faults(seed, faults);
    let host = sim.host("here").boot(|_core| async {});
    let output = sim.block_on(&host, body);
    sim.finish();
    output
}

// ---------------------------------------------------------------------------------------------
// Files

/// One step with files, in this directory; what came of it.
async fn file_step(dir: &Path, rng: &mut Rng, open: &mut Vec<File>) -> String {
    const NAMES: [&str; 7] = ["a", "b", "d", "d/x", "a/y", "l", "gone/z"];
    let mut name = || dir.join(NAMES[rng.below(NAMES.len() as u64) as usize]);
    let (path, other) = (name(), name());
    let (at, len) = (rng.below(9_000), rng.below(5_000) as usize);
    let file = match open.len() {
        0 => None,
        count => Some(&open[rng.below(count as u64) as usize]),
    };
    match (rng.below(20), file) {
        (0..4, _) => {
            let bits = rng.next();
            let mut options = OpenOptions::new();
            options.read(bits & 1 > 0).write(bits & 2 > 0);
            options.append(bits & 12 == 12).create(bits & 16 > 0);
            options
                .truncate(bits & 96 == 96)
                .create_new(bits & 896 == 896);
            let opened = options.open(&path).await;
            let text = said(opened.as_ref().map(drop).map_err(again));
            open.extend(opened);
            format!("open {text}")
        }
        (4, Some(_)) => {
            let last = open.pop().expect("there is one");
            format!("close {}", said(last.close().await))
        }
        (5..8, Some(file)) => {
            let bytes = vec![at as u8 | 1; len];
            format!("write {}", said(file.write_all_at(bytes, at).await.0))
        }
        (8..10, Some(file)) => {
            let (result, bytes) = file.read_exact_at(vec![0; len], at).await;
            let sum = bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
            format!("read {} {sum}", said(result))
        }
        (10, Some(file)) => format!("set_len {}", said(file.set_len(at).await)),
        (11, Some(file)) => format!("sync {}", said(file.sync_all().await)),
        (12, _) => format!("rename {}", said(fs::rename(&path, &other).await)),
        (13, _) => format!("remove {}", said(fs::remove_file(&path).await)),
        (14, _) => format!("rmdir {}", said(fs::remove_dir(&path).await)),
        (15, _) => format!("mkdir {}", said(fs::create_dir(&path).await)),
        (16, _) => format!("link {}", said(fs::hard_link(&path, &other).await)),
        (17, _) => format!("symlink {}", said(fs::symlink("a", &path).await)),
        (18, _) => format!("whole {}", said(fs::write(&path, vec![1; len]).await)),
        _ => {
            let found = fs::symlink_metadata(&path).await;
            let found = found.map(|meta| (meta.is_dir(), meta.is_symlink(), length(&meta)));
            format!("stat {} {}", said(found), said(names(dir).await))
        }
    }
}

fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error.kind().into(),
    }
}

/// A directory's length is the file system's own affair.
fn length(meta: &fs::Metadata) -> u64 {
    if meta.is_dir() { 0 } else { meta.len() }
}

async fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut entries = fs::read_dir(dir).await?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

async fn file_program(dir: PathBuf, seed: u64) -> Vec<String> {
    let mut rng = Rng::from_seed(seed);
    let mut open = Vec::new();
    let mut said = Vec::new();
    for _ in 0..40 {
        said.push(file_step(&dir, &mut rng, &mut open).await);
    }
    said
}

/// Programs of files say the same on both.
#[test]
fn files_say_the_same() {
    Case::new("files_say_the_same").seconds(120).run(|| {
        let mut runtime = Runtime::new().expect("io_uring works here");
        for seed in 0..150 {
            let name = format!("corering-equal-{}-{seed}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&dir).expect("a directory");
            let real = runtime.block_on(file_program(dir.clone(), seed));
            std::fs::remove_dir_all(&dir).expect("the test's own");
            let sim = simulated(seed, Faults::swarm(seed), async move {
                fs::create_dir("/dir").await.expect("made");
                file_program("/dir".into(), seed).await
            });
            for (step, (real, sim)) in real.iter().zip(&sim).enumerate() {
                assert_eq!(real, sim, "seed {seed}, step {step}: real, simulated");
            }
        }
    });
}

// ---------------------------------------------------------------------------------------------
// Sockets

/// One step of one end: what came of it, without counts that depend on the time.
async fn socket_step(stream: &mut Option<TcpStream>, what: u64, pause: Duration) -> String {
    let Some(this) = stream else {
        return "gone".into();
    };
    let limit = 20 * MS;
    match what {
        0 => said(this.send_all(vec![1; 300]).await.0),
        1 => said(this.write_all(&[1; 300]).await),
        2 => match timeout(limit, this.recv()).await {
            Ok(chunk) => said(chunk.map(|chunk| chunk.is_some())),
            Err(_) => "nothing comes".into(),
        },
        3 => {
            let mut read = this.read_owned(vec![0; 100]);
            let _ = (&mut read).now_or_never();
            sleep(pause).await;
            read.cancel();
            said(read.await.0.map(|n| n > 0))
        }
        4 => said(this.shutdown(Shutdown::Write).await),
        5 => said(this.shutdown(Shutdown::Both).await),
        // The pause: both kernels close a socket in their own time, and what is sent meanwhile
        // arrives before the close on one and after it on the other.
        6 => {
            sleep(pause).await;
            this.set_zero_linger().expect("set");
            drop(stream.take());
            "reset".into()
        }
        7 => {
            sleep(pause).await;
            drop(stream.take());
            "dropped".into()
        }
        8 => {
            let _ = this.recv().now_or_never();
            "a receive is given up".into()
        }
        _ => {
            sleep(pause).await;
            "naps".into()
        }
    }
}

const STEPS: u64 = 10;

/// The steps of one end, until it has gone.
async fn one_end(stream: TcpStream, steps: Vec<u64>, mut rng: Rng) -> Vec<String> {
    let mut stream = Some(stream);
    let mut all = Vec::new();
    for what in steps {
        let pause = Duration::from_micros(rng.below(300));
        all.push(socket_step(&mut stream, what, pause).await);
    }
    all
}

/// What one run of a program comes to: `steps` are the first end's, then the other's.
async fn socket_program(program: [Vec<u64>; 2], seed: u64) -> String {
    let (a, b) = pair().await;
    let mut rng = Rng::from_seed(seed);
    let [first, second] = program;
    let other = spawn(one_end(b, second, Rng::from_seed(rng.next())));
    let one = one_end(a, first, Rng::from_seed(rng.next())).await;
    format!("{one:?} {:?}", other.await.expect("no panic"))
}

/// Whatever the real kernel does, the simulation does too.
#[test]
fn sockets_do_what_the_kernel_does() {
    const REAL_RUNS: u64 = 25;
    const SEEDS_MAX: u64 = 3_000;
    Case::new("sockets_do_what_the_kernel_does").seconds(240).run(|| {
        let mut runtime = Runtime::new().expect("io_uring works here");
        for number in 0..60 {
            let mut rng = Rng::from_seed(number);
            let program = [(); 2].map(|()| {
                let len = 1 + rng.below(4);
                (0..len).map(|_| rng.below(STEPS)).collect::<Vec<_>>()
            });
            let mut unseen = BTreeSet::new();
            for run in 0..REAL_RUNS {
                unseen.insert(runtime.block_on(socket_program(program.clone(), run)));
            }
            let mut seen = BTreeSet::new();
            for seed in 0..SEEDS_MAX {
                if unseen.is_empty() {
                    break;
                }
                let run = socket_program(program.clone(), seed);
                let outcome = simulated(seed, Faults::swarm(seed), run);
                unseen.remove(&outcome);
                seen.insert(outcome);
            }
            assert!(
                unseen.is_empty(),
                "program {number} {program:?}: the real kernel does {unseen:#?}, the simulation \
                 only {seen:#?}"
            );
        }
    });
}

/// Errors of connecting and binding are the same.
#[test]
fn errors_of_addresses_are_the_same() {
    async fn program() -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let mut all = vec![
            said(TcpListener::bind(address).await.map(drop)),
            said(TcpListener::bind("203.0.113.7:0").await.map(drop)),
        ];
        drop(listener);
        sleep(20 * MS).await;
        all.push(said(TcpStream::connect(address).await.map(drop)));
        all.push(said(TcpStream::connect("127.0.0.1:0").await.map(drop)));
        all
    }
    Case::new("errors_of_addresses_are_the_same").run(|| {
        let real = corering::block_on(program());
        for seed in 0..50 {
            let sim = simulated(seed, Faults::swarm(seed), program());
            assert_eq!(real, sim, "seed {seed}: real, simulated");
        }
    });
}

// ---------------------------------------------------------------------------------------------
// Pipes

/// One step with a pipe; what came of it. Writes are whole pages: a kernel counts in those.
async fn pipe_step(
    ends: &mut (Option<Sender>, Option<Receiver>),
    what: u64,
    limit: Duration,
) -> String {
    const PAGE: usize = 4096;
    let number = (what / 8) as usize;
    match (what % 8, ends) {
        (0..3, (Some(sender), _)) => {
            let bytes = vec![what as u8; PAGE * (1 + number % 20)];
            let written = async {
                sender.write_all(&bytes).await?;
                sender.flush().await
            };
            let written = timeout(limit, written).await;
            format!("write {}", written.map_or_else(|_| "waits".into(), said))
        }
        (3..5, (_, Some(receiver))) => {
            let (mut got, mut sum) = (0, 0);
            let ended = loop {
                // How much one read finds depends on how far the writer is: let it come to rest.
                sleep(limit).await;
                let left = number % 100_000 - got;
                match timeout(limit, receiver.fill_buf()).await {
                    Err(_) => break "waits".into(),
                    Ok(Ok([])) => break "end".into(),
                    Ok(Ok(_)) if left == 0 => break "enough".into(),
                    Ok(Err(error)) => break said::<()>(Err(error)),
                    Ok(Ok(chunk)) => {
                        let n = chunk.len().min(left);
                        sum += chunk[..n].iter().map(|&b| u64::from(b)).sum::<u64>();
                        got += n;
                        receiver.consume(n);
                    }
                }
            };
            format!("read {got} {sum} {ended}")
        }
        (5, (sender, receiver)) => {
            let both = libc::POLLIN | libc::POLLOUT;
            let polled = match (sender, receiver) {
                (Some(sender), _) if number % 2 == 0 => {
                    let watched = PollFd::new(&*sender).expect("watched");
                    timeout(limit, watched.ready(both)).await
                }
                (_, Some(receiver)) => {
                    let watched = PollFd::new(&*receiver).expect("watched");
                    timeout(limit, watched.ready(both)).await
                }
                _ => return "nobody polls".into(),
            };
            let polled = polled.map(|ready| said(ready.map(|ready| ready.as_raw_value())));
            format!("poll {}", polled.unwrap_or_else(|_| "waits".into()))
        }
        (6, (sender, _)) if number % 4 == 0 => format!("no sender {:?}", sender.take().is_some()),
        (7, (_, receiver)) if number % 4 == 0 => {
            format!("no receiver {:?}", receiver.take().is_some())
        }
        _ => "gone".into(),
    }
}

async fn pipe_program(seed: u64, limit: Duration) -> Vec<String> {
    let mut rng = Rng::from_seed(seed);
    let (sender, receiver) = pipe().expect("a pipe");
    let mut ends = (Some(sender), Some(receiver));
    let mut all = Vec::new();
    for _ in 0..12 {
        let what = rng.next() >> 8;
        all.push(pipe_step(&mut ends, what, limit).await);
        // Ends are closed in the kernels' own time.
        sleep(limit).await;
    }
    all
}

/// What a pipe has room for, where it ends, and what `poll` says of it.
#[test]
fn pipes_say_the_same() {
    Case::new("pipes_say_the_same").seconds(120).run(|| {
        let mut runtime = Runtime::new().expect("io_uring works here");
        // All at once: what takes its time here is to be sure that nothing more happens.
        let programs = (0..300).map(spawn_program);
        let real = runtime.block_on(async { futures::future::join_all(programs).await });
        for (seed, real) in (0..).zip(real) {
            let program = pipe_program(seed, Duration::from_secs(1));
            let sim = simulated(seed, Faults::swarm(seed), program);
            for (step, (real, sim)) in real.iter().zip(&sim).enumerate() {
                assert_eq!(real, sim, "seed {seed}, step {step}: real, simulated");
            }
        }
    });
}

async fn spawn_program(seed: u64) -> Vec<String> {
    spawn(pipe_program(seed, 60 * MS)).await.expect("no panic")
}
