//! The doctor on machines that refuse, that limit, and that do well: `corering doctor` and the
//! library's `doctor()`.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::doctor::{Checkup, Outcome, Report, Verdict};
use corering::{BuildErrorKind, Runtime};
use harness::{Case, Census, become_user, seccomp, set_limit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CALLS: [(u32, &str); 3] = [
    (seccomp::SETUP, "io_uring_setup"),
    (seccomp::ENTER, "io_uring_enter"),
    (seccomp::REGISTER, "io_uring_register"),
];

/// The command, which inherits what this thread is under.
fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corering"));
    command.arg("doctor").args(arguments).stdin(Stdio::null());
    let output = command.output().expect("the command can be started");
    assert_no_panic(&output);
    output
}

fn assert_no_panic(output: &Output) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("panicked"), "{err}");
    assert!(output.status.code().is_some(), "{:?}: {err}", output.status);
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(output: &Output) -> Value {
    let text = text(output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Not a matter of this thread's filters: they are for good.
fn in_thread(body: impl FnOnce() + Send + 'static) {
    std::thread::spawn(body).join().expect("no panic");
}

/// What a builder says here is what the doctor says, word for word.
fn assert_same_as_the_builder(report: &Report) {
    let error = Runtime::new().expect_err("refused");
    let finding = &report.findings[0];
    assert_eq!(finding.verdict, Verdict::Refused);
    assert_eq!(finding.kind, Some(error.kind()));
    assert_eq!(finding.cause, error.cause());
    assert_eq!(finding.cure, error.cure());
    let text = error.to_string();
    assert!(text.contains(&finding.cause), "{text}");
    assert!(text.contains(&finding.cure), "{text}");
}

/// Each part of a value, as a path without the numbers of lists.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(value, &format!("{path}.{name}"), into);
            }
        }
        Value::Array(items) => {
            into.insert(format!("{path}[]"));
            items
                .iter()
                .for_each(|item| shape(item, &format!("{path}[]"), into));
        }
        _ => drop(into.insert(path.to_string())),
    }
}

fn rows(report: &Value) -> Vec<(String, String)> {
    let word = |row: &Value, field: &str| row[field].as_str().expect("a word").to_string();
    let rows = report["trials"].as_array().expect("a list").iter();
    rows.map(|row| (word(row, "name"), word(row, "outcome")))
        .collect()
}

/// Whether this kernel has all that the crate can use, and the crate may use it.
fn is_new() -> bool {
    if std::env::var_os("CORERING_MASK").is_some() {
        return false;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut parts = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(15))
}

#[test]
fn a_healthy_machine_is_fine() {
    Case::new("a_healthy_machine_is_fine").run(|| {
        if !is_new() {
            return harness::skip(
                "it takes Linux 6.15, which has all that the crate can use, and no mask",
            );
        }
        let output = doctor(&["--json"]);
        let report = json(&output);
        assert_eq!(output.status.code(), Some(0), "{report:#}");
        assert_eq!(report["verdict"], "fine");
        assert_eq!(report["findings"], Value::Array(Vec::new()));
        assert_eq!(report["ring"]["works"], true);
        let rows = rows(&report);
        assert!(rows.len() > 40, "{rows:?}");
        let others: Vec<_> = rows.iter().filter(|row| row.1 != "works").collect();
        assert!(others.is_empty(), "{others:?}");
        let names: BTreeSet<_> = rows.iter().map(|row| &row.0).collect();
        assert_eq!(names.len(), rows.len(), "a name stands for one row");
        let measured = &report["measured"];
        assert!(measured["nops_per_second"].as_u64() > Some(0), "{measured}");
        for figure in ["echo_p50", "echo_p99", "write_4k_p50", "write_1m_p50"] {
            let figure = &measured[format!("{figure}_nanos")];
            assert!(figure.as_u64() > Some(0), "{measured}");
        }
        let output = doctor(&["--quick"]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.starts_with("fine: "), "{text}");
        assert!(!text.contains("measured"), "{text}");
    });
}

/// It may be called anywhere, as often as one likes, and leaves nothing behind.
#[test]
fn nothing_is_left_behind() {
    Case::new("nothing_is_left_behind").run(|| {
        let mut runtime = Runtime::new().expect("the machine can");
        let report = runtime.block_on(async { Checkup::new().cores(2).examine() });
        let census = Census::take();
        let begin = Instant::now();
        let again = runtime.block_on(async { corering::doctor() });
        println!("took {:?}\n{again}", begin.elapsed());
        assert_eq!(report.trials.len(), again.trials.len());
        assert!(again.verdict <= Verdict::Degraded);
        census.assert_same();
        harness::oracle::assert_threads(2);
        assert_eq!(runtime.block_on(async { 1 }), 1);
        let dir = Dir::new("temporary");
        let mut command = Command::new(env!("CARGO_BIN_EXE_corering"));
        let output = command.arg("doctor").env("TMPDIR", &dir.0).output();
        assert_no_panic(&output.expect("the command can be started"));
        assert_eq!(std::fs::read_dir(&dir.0).expect("read").count(), 0);
    });
}

#[test]
fn each_refused_call_is_named() {
    Case::new("each_refused_call_is_named").run(|| {
        for errno in [libc::EPERM, libc::ENOSYS] {
            for (number, name) in CALLS {
                in_thread(move || {
                    seccomp::deny(number, errno);
                    refused_call(name, errno);
                });
            }
        }
    });
}

fn refused_call(name: &str, errno: i32) {
    let begin = Instant::now();
    let output = doctor(&["--quick"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let words = [
        "refused: corering cannot run here",
        "a seccomp filter blocks",
        name,
        "--security-opt seccomp=",
        "type: Localhost",
        "security_opt:",
        "SystemCallFilter=",
        "corering doctor --write-seccomp",
    ];
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    let output = doctor(&["--quick", "--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(report["ring"]["seccomp"], "filter");
    for call in report["ring"]["calls"].as_array().expect("a list") {
        let refused = call["name"] == name;
        assert_eq!(call["works"], !refused, "{call}");
        let expected = if refused {
            Value::from(errno)
        } else {
            Value::Null
        };
        assert_eq!(call["errno"], expected, "{call}");
    }
    assert!(rows(&report).iter().all(|row| row.1 == "not_tried"));
    assert_eq!(report["findings"][0]["kind"], "blocked");
    let report = corering::doctor();
    assert!(report.findings[0].cause.contains(name));
    assert_eq!(report.findings[0].kind, Some(BuildErrorKind::Blocked));
    assert_same_as_the_builder(&report);
}

/// As a container of Docker sees it.
#[test]
fn three_refused_calls() {
    Case::new("three_refused_calls").run(|| {
        CALLS
            .iter()
            .for_each(|(number, _)| seccomp::deny(*number, libc::EPERM));
        let report = corering::doctor();
        let words = "io_uring_setup, io_uring_enter and io_uring_register";
        assert!(report.findings[0].cause.contains(words), "{report}");
        assert_same_as_the_builder(&report);
        assert_eq!(doctor(&["--quick"]).status.code(), Some(2));
    });
}

/// A filter that ends the process: the doctor outlives it, and says so.
#[test]
fn a_deadly_filter_is_survived() {
    Case::new("a_deadly_filter_is_survived").run(|| {
        for (number, name) in CALLS {
            in_thread(move || {
                seccomp::kill(number);
                let output = doctor(&["--quick"]);
                let text = text(&output);
                assert_eq!(output.status.code(), Some(2), "{text}");
                assert!(text.contains("signal 31 ends the process"), "{text}");
                assert!(
                    text.contains(&format!("a seccomp filter blocks {name},")),
                    "{text}"
                );
            });
        }
    });
}

/// What the doctor says to an ordinary user with so much locked memory.
fn with_memlock(kib: u64, uid: u32, body: impl FnOnce(Report)) {
    if !harness::is_root() {
        return harness::skip("it takes another user");
    }
    set_limit(libc::RLIMIT_MEMLOCK, kib << 10);
    become_user(uid);
    let census = Census::take();
    let report = corering::doctor();
    println!("{report}");
    census.assert_same();
    assert!(!report.limits.memlock_exempt);
    assert_eq!(report.limits.memlock_bytes, Some(kib << 10));
    body(report);
}

fn places(report: &Report) -> Vec<&str> {
    let remedies = report.findings.iter().flat_map(|finding| &finding.remedies);
    remedies.map(|remedy| remedy.lines.as_str()).collect()
}

#[test]
fn memlock_zero() {
    Case::new("memlock_zero").seconds(30).run(|| {
        with_memlock(0, 60_105, |report| {
            assert_eq!(report.verdict, Verdict::Refused);
            assert_eq!(report.limits.rings_fit, Some(0));
            assert_eq!(report.findings[0].kind, Some(BuildErrorKind::LockedMemory));
            let lines = places(&report).join("\n");
            assert!(lines.contains("LimitMEMLOCK="), "{lines}");
            assert!(lines.contains("--ulimit memlock="), "{lines}");
            assert_same_as_the_builder(&report);
        });
    });
}

/// A small ring fits, the usual one does not.
#[test]
fn memlock_64_kib() {
    Case::new("memlock_64_kib").seconds(60).run(|| {
        with_memlock(64, 60_164, |report| {
            assert_eq!(report.verdict, Verdict::Degraded, "{report}");
            assert!(report.ring.works);
            assert_eq!(report.limits.rings_fit, Some(0));
            assert!(places(&report).join("\n").contains("LimitMEMLOCK="));
        });
    });
}

/// What the doctor computes is what the kernel counts: so many default rings fit, and no more.
#[test]
fn the_computed_number_of_rings_fits() {
    Case::new("the_computed_number_of_rings_fits")
        .seconds(60)
        .run(|| {
            let ring = corering::doctor().limits.ring_bytes;
            let kib = 3 * ring / 1024 + 8;
            with_memlock(kib, 60_103, |report| {
                assert_eq!(report.limits.rings_fit, Some(3));
                if !is_new() {
                    return harness::skip("older kernels count a few pages more");
                }
                // The memory of closed rings comes back late; smaller ones would hide a mistake.
                std::thread::sleep(Duration::from_millis(300));
                let rings: Vec<_> = (0..4).map(|_| raw_ring()).collect();
                assert_eq!(rings, [true, true, true, false]);
            });
        });
}

/// A ring with the builder's default sizes, kept open; whether it could be made.
fn raw_ring() -> bool {
    const CQSIZE: u32 = 1 << 3;
    const NO_SQARRAY: u32 = 1 << 16;
    let mut params = [0u32; 30];
    params[1] = 4096;
    params[2] = CQSIZE | NO_SQARRAY;
    // SAFETY: the kernel reads and writes its 120 bytes of parameters.
    unsafe { libc::syscall(libc::SYS_io_uring_setup, 256, params.as_mut_ptr()) >= 0 }
}

#[test]
fn an_ordinary_user() {
    Case::new("an_ordinary_user").run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user");
        }
        become_user(65_534);
        let report = corering::doctor();
        println!("{report}");
        assert!(report.ring.works);
        assert!(!report.limits.memlock_exempt);
        if is_new() {
            let works = |outcome| outcome == Outcome::Works;
            assert!(
                report.trials.iter().all(|row| works(row.outcome)),
                "{report}"
            );
        }
    });
}

/// From the lowest limit at which the program can be loaded at all.
#[test]
fn few_descriptors() {
    Case::new("few_descriptors").seconds(120).run(|| {
        let command = env!("CARGO_BIN_EXE_corering");
        let dir = Dir::new("few");
        let mut codes = BTreeSet::new();
        for limit in [4, 5, 6, 7, 8, 10, 12, 16, 24, 64] {
            let line = format!("ulimit -n {limit}; exec {command} doctor --quick");
            let output = Command::new("sh")
                .args(["-c", &line])
                .env("TMPDIR", &dir.0)
                .stdin(Stdio::null())
                .output();
            let output = output.expect("there is a shell");
            assert_no_panic(&output);
            let text = text(&output);
            let code = output.status.code().expect("it ended");
            println!("{limit}: {code}");
            assert!([1, 2].contains(&code), "{limit}: {code}\n{text}");
            assert!(text.contains("ulimit -n"), "{limit}: {text}");
            assert!(text.contains("LimitNOFILE="), "{limit}: {text}");
            codes.insert(code);
            let left = std::fs::read_dir(&dir.0).expect("read").count();
            assert_eq!(left, 0, "{limit}: temporary files were left behind");
        }
        assert_eq!(codes, BTreeSet::from([1, 2]));
    });
}

/// No `/proc`, no `/sys`, no `/tmp`, nothing.
#[test]
fn a_bare_chroot() {
    Case::new("a_bare_chroot").run(|| {
        if !harness::is_root() {
            return harness::skip("chroot takes root");
        }
        let is_new = is_new();
        let _root = Chroot::enter();
        let report = corering::doctor();
        println!("{report}");
        assert!(report.ring.works);
        assert_eq!(report.ring.sysctl, None);
        assert_eq!(report.ring.seccomp, Some("off"));
        assert_eq!(report.limits.somaxconn, None);
        assert_eq!(report.verdict, Verdict::Degraded);
        let cures: Vec<_> = report
            .findings
            .iter()
            .map(|finding| &finding.cure)
            .collect();
        assert!(cures.iter().any(|cure| cure.contains("TMPDIR")), "{report}");
        // With a directory for temporary files there is nothing to complain about.
        std::fs::create_dir("/tmp").expect("made");
        let report = corering::doctor();
        if is_new {
            assert_eq!(report.verdict, Verdict::Fine, "{report}");
        }
        assert_eq!(std::fs::read_dir("/tmp").expect("read").count(), 0);
    });
}

/// In a chroot, the filter is still found out about.
#[test]
fn a_bare_chroot_under_a_filter() {
    Case::new("a_bare_chroot_under_a_filter").run(|| {
        if !harness::is_root() {
            return harness::skip("chroot takes root");
        }
        let _root = Chroot::enter();
        seccomp::deny(seccomp::SETUP, libc::EPERM);
        let report = corering::doctor();
        assert_eq!(report.verdict, Verdict::Refused);
        assert_eq!(report.ring.seccomp, Some("filter"));
        assert!(report.findings[0].cause.contains("seccomp"), "{report}");
        assert_same_as_the_builder(&report);
    });
}

/// This process in an empty directory, until the end.
struct Chroot {
    /// The way back.
    outside: std::fs::File,
    path: PathBuf,
}

impl Chroot {
    fn enter() -> Chroot {
        let name = format!("corering-chroot-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let outside = std::fs::File::open("/").expect("opened");
        std::fs::create_dir(&path).expect("made");
        std::env::set_current_dir(&path).expect("it is there");
        change_root();
        Chroot { outside, path }
    }
}

fn change_root() {
    // SAFETY: the path ends with NUL.
    assert_eq!(unsafe { libc::chroot(c".".as_ptr()) }, 0);
}

impl Drop for Chroot {
    fn drop(&mut self) {
        // SAFETY: touches no memory.
        unsafe { libc::fchdir(self.outside.as_raw_fd()) };
        change_root();
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[test]
fn the_json_keeps_its_shape() {
    Case::new("the_json_keeps_its_shape").run(|| {
        let fine = json(&doctor(&["--quick", "--json"]));
        let cores = json(&doctor(&["--quick", "--json", "--cores", "3"]));
        seccomp::deny(seccomp::SETUP, libc::EPERM);
        let refused = json(&doctor(&["--json"]));
        let shape_of = |report: &Value| {
            let mut report = report.clone();
            // A list that may be empty has no shape.
            report["findings"] = Value::Null;
            report["ring"]["container"] = Value::Null;
            let mut paths = BTreeSet::new();
            shape(&report, "", &mut paths);
            paths
        };
        assert_eq!(shape_of(&fine), shape_of(&refused));
        assert_eq!(shape_of(&fine), shape_of(&cores));
        let names = |report: &Value| {
            let rows = rows(report);
            rows.into_iter().map(|row| row.0).collect::<Vec<_>>()
        };
        assert_eq!(names(&fine), names(&refused));
        let expected = [
            ".cpus.allowed[]",
            ".cpus.cores_asked",
            ".cpus.quota",
            ".cpus.quota_from",
            ".findings",
            ".kernel.gvisor",
            ".kernel.old_enough",
            ".kernel.oldest",
            ".kernel.release",
            ".limits.descriptors",
            ".limits.descriptors_max",
            ".limits.memlock_bytes",
            ".limits.memlock_exempt",
            ".limits.ring_bytes",
            ".limits.rings_fit",
            ".limits.somaxconn",
            ".measured",
            ".ring.calls[]",
            ".ring.calls[].errno",
            ".ring.calls[].error",
            ".ring.calls[].name",
            ".ring.calls[].works",
            ".ring.container",
            ".ring.seccomp",
            ".ring.sysctl",
            ".ring.sysctl_group",
            ".ring.works",
            ".trials[]",
            ".trials[].detail",
            ".trials[].name",
            ".trials[].optional",
            ".trials[].outcome",
            ".trials[].since",
            ".verdict",
        ];
        assert_eq!(shape_of(&fine), expected.map(str::to_string).into());
        let finding = &refused["findings"][0];
        for field in ["verdict", "cause", "cure"] {
            assert!(finding[field].is_string(), "{finding}");
        }
        assert!(finding["remedies"][0]["place"].is_string(), "{finding}");
        assert!(finding["remedies"][0]["lines"].is_string(), "{finding}");
    });
}

#[test]
fn a_masked_feature_is_named() {
    Case::new("a_masked_feature_is_named").run(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corering"));
        command
            .args(["doctor", "--quick", "--json"])
            .env("CORERING_MASK", "incremental, send_zc");
        let output = command.output().expect("the command can be started");
        assert_no_panic(&output);
        let report = json(&output);
        assert_eq!(output.status.code(), Some(1), "{report:#}");
        assert_eq!(report["verdict"], "degraded");
        let others: Vec<_> = rows(&report)
            .into_iter()
            .filter(|row| row.1 != "works")
            .collect();
        let masked = |name: &str| (name.to_string(), "masked".to_string());
        if is_new() {
            assert_eq!(others, [masked("incremental"), masked("send_zc")]);
            assert_eq!(
                report["findings"].as_array().expect("a list").len(),
                1,
                "{report:#}"
            );
        }
        let cause = report["findings"][0]["cause"].as_str().expect("a text");
        assert!(
            cause.contains("CORERING_MASK forbids incremental, send_zc"),
            "{cause}"
        );
    });
}

/// A limit on the length of files lets one operation fail, and no other.
#[test]
fn a_failing_operation_is_named() {
    Case::new("a_failing_operation_is_named").run(|| {
        // SAFETY: what this signal would do is end the process; it is ignored from now on.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        set_limit(libc::RLIMIT_FSIZE, 1024);
        let report = corering::doctor();
        let failed = report
            .trials
            .iter()
            .filter(|row| row.outcome == Outcome::Fails);
        let failed: Vec<_> = failed.filter(|row| !row.optional).collect();
        assert_eq!(failed.len(), 1, "{report}");
        assert_eq!(failed[0].name, "fallocate");
        let detail = failed[0].detail.as_deref().expect("it says why");
        assert!(detail.contains("File too large"), "{detail}");
        assert_eq!(report.verdict, Verdict::Degraded);
        let cause = &report.findings[0].cause;
        assert!(cause.ends_with("does not work: fallocate"), "{cause}");
    });
}

#[test]
fn no_thread_to_be_had() {
    Case::new("no_thread_to_be_had").run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user, whose limit on processes is set to 1");
        }
        become_user(60_115);
        set_limit(libc::RLIMIT_NPROC, 1);
        let report = corering::doctor();
        assert_eq!(report.verdict, Verdict::Refused);
        assert_eq!(report.findings[0].kind, Some(BuildErrorKind::Thread));
        assert!(report.findings[0].cure.contains("ulimit -u"), "{report}");
        assert!(
            report
                .trials
                .iter()
                .all(|row| row.outcome == Outcome::NotTried)
        );
    });
}

#[test]
fn more_cores_than_cpus() {
    Case::new("more_cores_than_cpus").run(|| {
        let cpus = corering::doctor().cpus.allowed.len();
        let report = Checkup::new().cores(cpus + 1).examine();
        assert_eq!(report.verdict, Verdict::Degraded);
        let found = |word: &str| {
            report
                .findings
                .iter()
                .any(|finding| finding.cause.contains(word))
        };
        assert!(
            found(&format!("{} cores were asked for", cpus + 1)),
            "{report}"
        );
        let none = Checkup::new().cores(0).examine();
        assert_eq!(none.verdict, Verdict::Refused);
        assert_eq!(none.findings[0].kind, Some(BuildErrorKind::Settings));
    });
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let name = format!("corering-doctor-test-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("made");
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn written(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("it was written");
    serde_json::from_str(&text).expect("it is JSON")
}

/// The names of the rules with this action.
fn names_with(profile: &Value, action: &str) -> Vec<String> {
    let rules = profile["syscalls"].as_array().expect("a list").iter();
    let rules = rules.filter(|rule| rule["action"] == action);
    let names = rules.flat_map(|rule| rule["names"].as_array().expect("a list"));
    names
        .map(|name| name.as_str().expect("a name").to_string())
        .collect()
}

#[test]
fn a_profile_is_written() {
    Case::new("a_profile_is_written").run(|| {
        let dir = Dir::new("profile");
        let file = dir.0.join("profile.json");
        let output = doctor(&["--write-seccomp", file.to_str().expect("a plain name")]);
        assert_eq!(output.status.code(), Some(0));
        let profile = written(&file);
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ALLOW");
        let allowed = names_with(&profile, "SCMP_ACT_ALLOW");
        assert_eq!(allowed, CALLS.map(|call| call.1.to_string()));
        let denied = names_with(&profile, "SCMP_ACT_ERRNO");
        for name in [
            "mount",
            "bpf",
            "kexec_load",
            "setns",
            "clone3",
            "userfaultfd",
        ] {
            assert!(denied.iter().any(|denied| denied == name), "{name}");
        }
        assert!(!denied.iter().any(|name| name.starts_with("io_uring")));
        for rule in profile["syscalls"].as_array().expect("a list") {
            for argument in rule["args"].as_array().into_iter().flatten() {
                assert!(
                    argument["index"].is_u64() && argument["value"].is_u64(),
                    "{rule}"
                );
                let op = argument["op"].as_str().expect("a word");
                assert!(op.starts_with("SCMP_CMP_"), "{rule}");
            }
        }
    });
}

#[test]
fn a_profile_is_extended() {
    Case::new("a_profile_is_extended").run(|| {
        let dir = Dir::new("base");
        let (base, file) = (dir.0.join("base.json"), dir.0.join("profile.json"));
        let of = |path: &Path| path.to_str().expect("a plain name").to_string();
        let write = || doctor(&["--write-seccomp", &of(&file), "--seccomp-base", &of(&base)]);
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
        std::fs::write(&base, text).expect("written");
        assert_eq!(write().status.code(), Some(0));
        let profile = written(&file);
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let allowed = names_with(&profile, "SCMP_ACT_ALLOW");
        assert_eq!(allowed[0], "read");
        assert_eq!(allowed[1..], CALLS.map(|call| call.1.to_string()));
        std::fs::write(&base, "no profile").expect("written");
        std::fs::remove_file(&file).expect("removed");
        let output = write();
        assert_eq!(output.status.code(), Some(1));
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains("base.json is no seccomp profile"), "{err}");
        assert!(!file.exists());
    });
}

#[test]
fn mistakes_in_the_options() {
    Case::new("mistakes_in_the_options").run(|| {
        for arguments in [
            &["--cores", "0"][..],
            &["--cores", "many"],
            &["--seccomp-base", "x"],
            &["--write-seccomp", "x", "--json"],
            &["--quicker"],
        ] {
            assert_eq!(doctor(arguments).status.code(), Some(2), "{arguments:?}");
        }
        let output = doctor(&["--write-seccomp", "/proc/no/such/place"]);
        assert_eq!(output.status.code(), Some(1));
    });
}

/// The sysctl of the whole machine, given back at the end.
struct Sysctl(String);

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

impl Sysctl {
    fn set(value: &str) -> Sysctl {
        let before = std::fs::read_to_string(SYSCTL).expect("Linux 6.6");
        std::fs::write(SYSCTL, value).expect("root may");
        Sysctl(before)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        std::fs::write(SYSCTL, &self.0).expect("root may");
    }
}

/// The command, where any user may start it.
fn copy_of_the_command(dir: &Dir) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.0.join("corering");
    std::fs::copy(env!("CARGO_BIN_EXE_corering"), &path).expect("copied");
    let everybody = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, everybody()).expect("it is ours");
    std::fs::set_permissions(&dir.0, everybody()).expect("it is ours");
    path
}

#[test]
#[ignore = "it takes io_uring away from the whole machine for a moment: run it alone, as root"]
fn the_sysctl_is_named() {
    Case::new("the_sysctl_is_named").run(|| {
        let dir = Dir::new("sysctl");
        let command = copy_of_the_command(&dir);
        let (output, report, error) = {
            let _sysctl = Sysctl::set("2");
            (
                doctor(&["--quick"]),
                corering::doctor(),
                Runtime::new().expect_err("refused"),
            )
        };
        let text_of_2 = text(&output);
        assert_eq!(output.status.code(), Some(2));
        for word in [
            "io_uring_disabled is 2",
            "sysctl -w kernel.io_uring_disabled=0",
            "sysctl.d",
        ] {
            assert!(text_of_2.contains(word), "no `{word}` in: {text_of_2}");
        }
        let finding = &report.findings[0];
        assert_eq!(finding.kind, Some(BuildErrorKind::Disabled));
        assert_eq!(
            (&*finding.cause, &*finding.cure),
            (error.cause(), error.cure())
        );

        // Root may pass; an ordinary user may not.
        let (works, output) = {
            let _sysctl = Sysctl::set("1");
            let mut command = Command::new(command);
            command.args(["doctor", "--quick"]).uid(60_107).gid(60_107);
            (
                Runtime::new().is_ok(),
                command.output().expect("it can be started"),
            )
        };
        assert!(works);
        let text_of_1 = text(&output);
        assert_eq!(output.status.code(), Some(2), "{text_of_1}");
        for word in ["io_uring_disabled is 1", "kernel.io_uring_group"] {
            assert!(text_of_1.contains(word), "no `{word}` in: {text_of_1}");
        }
        println!("{text_of_2}\n{text_of_1}");
    });
}
