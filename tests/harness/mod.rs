//! What the tests of the runtime share: a child process for each case, and the oracles.
//!
//! Rules:
//! 1. A case runs in a child process of its own ([`Case`]): the test binary starts itself again
//!    for that one name, watches the child, and ends it alone if it hangs.
//! 2. The oracles look from outside: descriptors and memory through `/proc`, CPU time through
//!    `getrusage`, freed memory through the global allocator.
//! 3. A case that cannot run here prints `SKIP: reason` ([`skip`]). A random case prints its seed
//!    and takes it back from the variable `CORERING_SEED`.
//! 4. A case whose size matters has two: one for every check, and the full one that
//!    `CORERING_SCALE=full` asks for ([`scaled`]); `scripts/soak full` runs those.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "no test file uses all of it, and each has a copy of its own"
)]

pub mod alloc;
pub mod everywhere;
pub mod net;
pub mod oracle;
pub mod seccomp;

pub use everywhere::everywhere;
pub use oracle::{Census, cpu_time, memory_kib, memory_peak_kib};

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The child's sign: the name of the case that it shall run.
const CASE: &str = "CORERING_TEST_CASE";
const QUARANTINE: &str = "CORERING_TEST_QUARANTINE";
const SEED: &str = "CORERING_SEED";
const SCALE: &str = "CORERING_SCALE";
/// So many times longer may a case of the full size take.
const FULL_SIZE_LIMIT_FACTOR: u32 = 30;

/// A test that runs in a child process.
pub struct Case {
    name: &'static str,
    limit: Duration,
    quarantine: bool,
    environment: Vec<(&'static str, String)>,
}

impl Case {
    /// The test function's own name.
    pub fn new(name: &'static str) -> Case {
        Case {
            name,
            limit: Duration::from_secs(60),
            quarantine: false,
            environment: Vec::new(),
        }
    }

    /// After how many seconds the child counts as hanging; 60 unless told. At the full size it is
    /// thirty times that.
    pub fn seconds(mut self, seconds: u64) -> Case {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Freed memory is kept and watched: whoever writes to it is found.
    pub fn quarantine(mut self) -> Case {
        self.quarantine = true;
        self
    }

    /// The child finds this variable in its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Case {
        self.environment.push((name, value.into()));
        self
    }

    /// Runs `body` in a child for each of these values of `CORERING_MASK`.
    pub fn run_masked(name: &'static str, masks: &[&str], body: impl FnOnce() + Copy) {
        for mask in masks {
            println!("{name}: CORERING_MASK={mask}");
            Case::new(name).env("CORERING_MASK", *mask).run(body);
            if Case::is_child() {
                return;
            }
        }
    }

    /// Runs `body` in the child; fails as it does.
    pub fn run(self, body: impl FnOnce()) {
        match std::env::var(CASE) {
            Ok(name) if name == self.name => {
                if std::env::var_os(QUARANTINE).is_some() {
                    alloc::quarantine(true);
                }
                body();
                alloc::verify();
            }
            Ok(name) => panic!("the child for `{name}` was asked to run `{}`", self.name),
            Err(_) => self.watch(),
        }
    }

    /// Whether this process is a child that runs one case.
    pub fn is_child() -> bool {
        std::env::var_os(CASE).is_some()
    }

    fn watch(self) {
        let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
        command
            .args(["--exact", self.name, "--nocapture", "--include-ignored"])
            .env(CASE, self.name)
            .envs(self.environment)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.quarantine {
            command.env(QUARANTINE, "1");
        }
        let mut child = command.spawn().expect("the child can be started");
        let out = read_all(child.stdout.take().expect("piped"));
        let err = read_all(child.stderr.take().expect("piped"));
        let begin = Instant::now();
        let limit = self.limit * scaled(1, FULL_SIZE_LIMIT_FACTOR);
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break Some(status);
            }
            if begin.elapsed() > limit {
                println!("{}: hangs after {limit:?}", self.name);
                oracle::dump(child.id());
                child.kill().expect("the child is ours");
                child.wait().expect("the child is ours");
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (out, err) = (out.join().expect("read"), err.join().expect("read"));
        print!("{out}");
        let ran = out.contains("1 passed");
        if status.is_none_or(|status| !status.success()) || !ran {
            eprintln!("{err}");
            match status {
                None => panic!("{}: the child hung", self.name),
                Some(_) if !ran && out.contains("0 passed; 0 failed") => {
                    panic!("{}: there is no test of that name", self.name)
                }
                Some(status) => panic!("{}: the child failed: {status}", self.name),
            }
        }
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What a killed child has left is enough.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether this is the child that runs the case, not the test that watches it.
pub fn is_child() -> bool {
    std::env::var_os(CASE).is_some()
}

/// The size that every check can afford, or the full one where `CORERING_SCALE=full` asks for it.
pub fn scaled<T>(every_time: T, full: T) -> T {
    match std::env::var(SCALE).as_deref() {
        Ok("full") => full,
        Ok(other) => panic!("{SCALE}={other}: only `full` is known"),
        Err(_) => every_time,
    }
}

/// Says why a case does not run here.
pub fn skip(reason: impl std::fmt::Display) {
    println!("SKIP: {reason}");
}

pub fn is_root() -> bool {
    // SAFETY: reads a number.
    unsafe { libc::geteuid() == 0 }
}

/// Becomes an ordinary user, for good; cases take different ones, because limits are per user.
pub fn become_user(uid: u32) {
    let none = std::ptr::null();
    // SAFETY: takes an empty list, touches no memory.
    let groups = unsafe { libc::setgroups(0, none) };
    // SAFETY: changes this process's identity, touches no memory.
    let group = unsafe { libc::setresgid(uid, uid, uid) };
    // SAFETY: as above.
    let user = unsafe { libc::setresuid(uid, uid, uid) };
    // Otherwise `/proc/self` belongs to root.
    // SAFETY: changes a flag of this process.
    let dumpable = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    let done = [groups, group, user, dumpable] == [0; 4];
    assert!(done, "{}", std::io::Error::last_os_error());
}

/// Sets both limits of a resource.
pub fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: the kernel reads one rlimit.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Sets the limit that counts, and leaves the one up to which it may be raised again.
pub fn set_soft_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    unsafe { libc::getrlimit(resource, &mut limit) };
    limit.rlim_cur = value.min(limit.rlim_max);
    // SAFETY: the kernel reads one rlimit.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

pub fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur
}

/// What the panic said.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".into())
}

/// What `act` panics with.
pub fn panic_of<T>(act: impl FnOnce() -> T) -> Option<String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    result.err().map(|payload| panic_text(&*payload))
}

/// A small generator of numbers (SplitMix64); prints its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From `CORERING_SEED`, or from the clock.
    pub fn new() -> Rng {
        let given = std::env::var(SEED).ok().map(|text| {
            let text = text.trim_start_matches("0x");
            u64::from_str_radix(text, 16).expect("CORERING_SEED is a hexadecimal number")
        });
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("it is later than 1970").as_nanos() as u64
        });
        println!("seed: {SEED}={seed:#x}");
        Rng(seed)
    }

    pub fn from_seed(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Byte `at` of connection `connection`: so loss, doubling and mixing show.
pub fn coded(connection: u64, at: u64) -> u8 {
    let word = (connection << 40) ^ at;
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// The bytes `from..from + len` of a connection.
pub fn coded_bytes(connection: u64, from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64)
        .map(|at| coded(connection, at))
        .collect()
}

/// Fails at the first byte that is not its position's.
pub fn check_coded(connection: u64, from: u64, bytes: &[u8]) {
    for (at, &byte) in (from..).zip(bytes) {
        assert_eq!(
            byte,
            coded(connection, at),
            "connection {connection}, byte {at}"
        );
    }
}
