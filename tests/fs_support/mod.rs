//! What the tests of files share: a directory of their own, mounts, children, random numbers.

#![allow(dead_code, unreachable_pub)] // Each test file uses its part.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with all that is in it.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        TempDir::below(&std::env::temp_dir(), name)
    }

    fn below(parent: &Path, name: &str) -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("corering-{name}-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names in it.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the test's directory");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.expect("an entry").file_name();
            name.to_string_lossy().into_owned()
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file system of its own, unmounted on drop. Needs root.
pub struct Mount(pub TempDir);

impl Mount {
    /// A tmpfs of `kib` KiB, or why there is none.
    pub fn tmpfs(kib: u64) -> Result<Mount, String> {
        let dir = TempDir::new("tmpfs");
        let size = format!("size={kib}k");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], dir.path())?;
        Ok(Mount(dir))
    }

    /// An ext4 in the image, through a loop device, or why there is none.
    pub fn ext4(image: &Path) -> Result<Mount, String> {
        run("mkfs.ext4", &["-q", "-F"], image)?;
        let dir = TempDir::new("ext4");
        let image = image.to_str().expect("the test's own name");
        run("mount", &["-o", "loop", image], dir.path())?;
        Ok(Mount(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if run("umount", &[], self.0.path()).is_err() {
            let _ = run("umount", &["-l"], self.0.path());
        }
    }
}

fn run(program: &str, arguments: &[&str], last: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).arg(last).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Says why a test does not run.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIP {test}: {why}");
}

/// Makes a named pipe; or says that this test does not run for want of one.
pub fn named_pipe(path: &Path, test: &str) -> bool {
    let made = Command::new("mkfifo").arg(path).status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        skip(test, "mkfifo does not work");
    }
    made
}

/// This test alone in a process of its own, with `argument` for [`child_argument`].
pub fn child(test: &str, argument: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, argument).stdin(Stdio::null());
    command
}

const CHILD: &str = "CORERING_TEST_CHILD";

/// Whether this process is the child.
pub fn child_argument() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Random numbers from a seed that is printed, and that `CORERING_SEED` sets.
pub struct Rng(u64);

impl Rng {
    pub fn new(test: &str) -> Rng {
        let given = std::env::var("CORERING_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
            now.map_or(1, |now| now.as_nanos() as u64) | 1
        });
        eprintln!("{test}: replay with CORERING_SEED={seed}");
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Below `end`, small numbers as often as large ones.
    pub fn size(&mut self, end: usize) -> usize {
        let bits = self.below(usize::BITS as usize - end.leading_zeros() as usize + 1);
        self.below((1 << bits).min(end))
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(len).collect()
    }
}

/// How many descriptors are open of what is in the directory. (Other tests run at the same time.)
pub fn descriptors(dir: &TempDir) -> usize {
    let dir = dir.path().canonicalize().expect("the test's directory");
    let open = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let targets = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(&dir)).count()
}
