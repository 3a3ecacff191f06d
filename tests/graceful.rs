//! The end in order, as a program of its own: with `panic=abort`, and under memcheck.
//!
//! `examples/graceful.rs` is built by hand against the library beside this test; where that does
//! not work the cases say `SKIP`.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/graceful.rs");
/// Of memcheck, if it has found something.
const FOUND: i32 = 99;

/// What is dropped at the end must not panic: here that would be the end at once.
#[test]
fn e12_panic_abort_profile() {
    let program = "fn main() { \
         let mut rt = corering::Runtime::builder().cores(2).build().unwrap(); \
         rt.block_on(async { corering::spawn(std::future::pending::<()>()); \
         corering::spawn_on(1, std::future::pending::<()>); \
         corering::time::sleep(std::time::Duration::from_millis(2)).await; }); \
         let r = rt.shutdown(std::time::Duration::from_millis(5)); \
         assert_eq!(r.abandoned_tasks, 2); }";
    let folder = Folder::new("e12");
    let source = folder.0.join("main.rs");
    std::fs::write(&source, program).expect("written");
    for source in [&source, Path::new(EXAMPLE)] {
        match build(source, &folder, &["-C", "panic=abort"]) {
            Err(why) => return harness::skip(why),
            Ok(binary) => ends_well(&binary),
        }
    }
}

/// No invalid read or write, no block that nobody knows any more: after two cores, a connection
/// and an orderly end.
#[test]
fn l10_valgrind_shutdown() {
    let known = Command::new("valgrind").arg("--version").output();
    if !known.is_ok_and(|output| output.status.success()) {
        return harness::skip("valgrind is not installed");
    }
    let folder = Folder::new("l10");
    let binary = match build(Path::new(EXAMPLE), &folder, &["-g"]) {
        Err(why) => return harness::skip(why),
        Ok(binary) => binary,
    };
    let mut memcheck = Command::new("valgrind");
    memcheck
        .args(["--leak-check=full", "--errors-for-leak-kinds=definite"])
        .args(["--show-leak-kinds=definite", "--track-origins=yes"])
        .arg(format!("--error-exitcode={FOUND}"))
        .arg(binary);
    let output = memcheck.output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() != Some(FOUND) && text.contains("unhandled") {
        return harness::skip(format!("this valgrind does not know io_uring: {text}"));
    }
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(text.contains("ERROR SUMMARY: 0 errors"), "{text}");
}

fn ends_well(binary: &Path) {
    let output = Command::new(binary).output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
}

/// The program, built by hand; or why not.
fn build(source: &Path, folder: &Folder, options: &[&str]) -> Result<PathBuf, String> {
    let (rlib, deps) = own_rlib().ok_or("the library's own .rlib was not found beside the test")?;
    let binary = folder.0.join("main");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition", "2024", "-o"])
        .arg(&binary)
        .args(options)
        .arg("--extern")
        .arg(format!("corering={}", rlib.display()))
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg(source)
        .output()
        .map_err(|error| format!("rustc cannot be started: {error}"))?;
    match built.status.success() {
        true => Ok(binary),
        false => {
            let text = String::from_utf8_lossy(&built.stderr);
            Err(format!("it cannot be linked by hand: {text}"))
        }
    }
}

/// The newest library beside this test, and the folder of its dependencies.
fn own_rlib() -> Option<(PathBuf, PathBuf)> {
    let deps = std::env::current_exe().ok()?.parent()?.to_path_buf();
    let is_ours = |name: &str| name.starts_with("libcorering-") && name.ends_with(".rlib");
    let found = std::fs::read_dir(&deps).ok()?.flatten();
    let ours = found.filter(|entry| is_ours(&entry.file_name().to_string_lossy()));
    let newest = ours.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| (entry.path(), deps))
}

/// Removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("corering-{name}-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("a temporary folder");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
