//! Random programs, on the simulated disk and on the real one: every answer is the same.

use super::real::{self, Answer, Real};
use super::{Seed, seeds};
use crate::driver::sim::disk::{Disk, Ino, OpenFile, Snapshot};
use crate::driver::sim::rng::Rng;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const STEPS: usize = 4000;
const OPEN_MAX: usize = 12;

#[test]
fn the_same_program_has_the_same_answers_on_a_real_disk() {
    for seed in seeds(4) {
        eprintln!("seed {seed}");
        let _seed = Seed(seed);
        let mut both = Both::new(seed);
        for step in 0..STEPS {
            let (what, simulated, real) = both.step();
            assert_eq!(simulated, real, "step {step}: {what} (the second is real)");
            if step % 500 == 499 {
                both.compare_trees();
            }
        }
        both.compare_trees();
    }
}

/// What was asked, and both answers.
type Step = (String, Answer<String>, Answer<String>);

struct Both {
    rng: Rng,
    disk: Disk,
    /// Where the paths of the program begin: two directories below the top, so that `..` has
    /// somewhere to lead.
    at: Option<Ino>,
    real: Real,
    /// What stands for the real disk's root.
    top: PathBuf,
    open: Vec<(OpenFile, OwnedFd)>,
}

impl Drop for Both {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

fn shown<T: Debug>(answer: Answer<T>) -> Answer<String> {
    answer.map(|value| format!("{value:?}"))
}

impl Both {
    fn new(seed: u64) -> Both {
        let name = format!("corering-disk-{}-{seed}", std::process::id());
        let top = std::env::temp_dir().join(name);
        fs::create_dir_all(top.join("outer/inner")).expect("the temporary directory takes it");
        fs::create_dir(top.join("tmp")).expect("the temporary directory takes it");
        let top = fs::canonicalize(top).expect("it was made");
        let dir = fs::File::open(top.join("outer/inner")).expect("it was made");
        let mut disk = Disk::new(1 << 30);
        disk.make_dir(None, b"outer", 0o755, 0).expect("it is new");
        disk.make_dir(None, b"outer/inner", 0o755, 0)
            .expect("it is new");
        let at = disk
            .stat_at(None, b"outer/inner", true)
            .expect("it was made")
            .ino;
        Both {
            rng: Rng::new(seed),
            disk,
            at: Some(at),
            real: Real::new(dir.into()),
            top,
            open: Vec::new(),
        }
    }

    fn step(&mut self) -> Step {
        match self.rng.below(20) {
            0..5 => self.step_open(),
            5..12 if !self.open.is_empty() => self.step_file(),
            12 if !self.open.is_empty() => self.step_close(),
            _ => self.step_path(),
        }
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.rng.index(values.len())]
    }

    fn path(&mut self) -> Vec<u8> {
        let mut path = Vec::new();
        let mut up = 0;
        for _ in 0..self.one_of(&[1, 1, 1, 2, 2, 3]) {
            let part = match self.rng.below(40) {
                0 => ".",
                1 if up < 2 => "..",
                2 => "outer",
                3 => "inner",
                _ => self.one_of(&["a", "b", "c", "d", "e"]),
            };
            up += usize::from(part == "..");
            path.extend(part.as_bytes());
            path.push(b'/');
        }
        match self.rng.below(100) {
            0 => return Vec::new(),
            1 => path.extend([b'n'; 255]),
            2 => path.extend([b'n'; 256]),
            3 => path.extend([b'/'; 4096]),
            4..12 => {}
            12..15 => path.push(b'/'),
            _ => drop(path.pop()),
        }
        path
    }

    /// A path that does not lead up, for symbolic links.
    fn target(&mut self) -> Vec<u8> {
        let path = self.path();
        match path.windows(2).any(|pair| pair == b"..") {
            true => b"a".to_vec(),
            false => path,
        }
    }

    fn step_open(&mut self) -> Step {
        let path = self.path();
        let mut flags = self.one_of(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        for (flag, one_in) in [
            (libc::O_CREAT, 2),
            (libc::O_EXCL, 6),
            (libc::O_TRUNC, 6),
            (libc::O_APPEND, 6),
            (libc::O_DIRECTORY, 8),
            (libc::O_NOFOLLOW, 6),
            (libc::O_PATH, 12),
            (libc::O_DSYNC, 40),
        ] {
            if self.rng.below(one_in) == 0 {
                flags |= flag;
            }
        }
        let makes = flags & libc::O_CREAT != 0;
        let mode = if makes {
            self.one_of(&[0o644, 0o755, 0o600])
        } else {
            0
        };
        let resolve = match flags & libc::O_PATH {
            0 => self.one_of(&[0, 0, 0, libc::RESOLVE_BENEATH, libc::RESOLVE_NO_SYMLINKS]),
            _ => 0,
        };
        let what = format!("open {} {flags:o} {resolve}", path.escape_ascii());
        let simulated = self.disk.open(self.at, &path, flags, mode, resolve, 0);
        let real = self.real.open(&path, flags, mode, resolve);
        let answers = (
            simulated.as_ref().map(|_| String::new()).map_err(|e| *e),
            real.as_ref().map(|_| String::new()).map_err(|e| *e),
        );
        if let (Ok(simulated), Ok(real)) = (simulated, real) {
            self.open.push((simulated, real));
            if self.open.len() > OPEN_MAX {
                drop(self.step_close());
            }
        }
        (what, answers.0, answers.1)
    }

    fn step_close(&mut self) -> Step {
        let index = self.rng.index(self.open.len());
        let (simulated, real) = self.open.swap_remove(index);
        self.disk.close(simulated);
        drop(real);
        ("close".to_string(), Ok(String::new()), Ok(String::new()))
    }

    fn step_path(&mut self) -> Step {
        let (a, b, at) = (self.path(), self.path(), self.at);
        let flag = self.rng.chance(0.5);
        let mode = self.one_of(&[0o644, 0o700, 0o4711]);
        let names = format!("{} {}", a.escape_ascii(), b.escape_ascii());
        let (disk, real) = (&mut self.disk, &self.real);
        let (what, simulated, real) = match self.rng.below(16) {
            0..2 => (
                "make_dir",
                shown(disk.make_dir(at, &a, 0o755, 0)),
                shown(real.make_dir(&a, 0o755)),
            ),
            2..6 => (
                "remove",
                shown(disk.remove(at, &a, flag, 0)),
                shown(real.remove(&a, flag)),
            ),
            6..9 => (
                "rename",
                shown(disk.rename((at, &a), (at, &b), 0)),
                shown(real.rename(&a, &b)),
            ),
            9..11 => (
                "link",
                shown(disk.link((at, &a), (at, &b), 0)),
                shown(real.link(&a, &b)),
            ),
            11..13 => return self.step_symlink(),
            13 => (
                "read_link",
                shown(disk.read_link(at, &a)),
                shown(real.read_link(&a)),
            ),
            14 => (
                "set_mode_at",
                shown(disk.set_mode_at(at, &a, mode, 0)),
                shown(real.set_mode_at(&a, mode)),
            ),
            _ => (
                "stat_at",
                shown(disk.stat_at(at, &a, flag).map(stat_of)),
                shown(real.stat_at(&a, flag).map(without_directory_sizes)),
            ),
        };
        (format!("{what} {names} {flag}"), simulated, real)
    }

    fn step_symlink(&mut self) -> Step {
        let (target, path) = (self.target(), self.path());
        let what = format!("symlink {} {}", target.escape_ascii(), path.escape_ascii());
        let simulated = self.disk.symlink(&target, self.at, &path, 0);
        let real = self.real.symlink(&target, &path);
        (what, shown(simulated), shown(real))
    }

    fn step_file(&mut self) -> Step {
        let mut offset = match self.rng.below(10) {
            0 => Some(u64::MAX - self.rng.below(2)),
            1..5 => Some(self.rng.below(20_000)),
            _ => None,
        };
        let place = self.rng.below(20_000);
        let len = self.one_of(&[0, 1, 100, 512, 4096, 9000]);
        let data: Vec<u8> = (0..len).map(|_| self.rng.below(256) as u8).collect();
        let mode = self.one_of(&[
            0,
            libc::FALLOC_FL_KEEP_SIZE,
            libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE,
            libc::FALLOC_FL_PUNCH_HOLE,
        ]);
        let whence = self.one_of(&[libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END]);
        let lock = self.one_of(&[libc::LOCK_SH, libc::LOCK_EX, libc::LOCK_UN]);
        let back = place as i64 - 10_000;
        let index = self.rng.index(self.open.len());
        let choice = self.rng.below(18);
        let disk = &mut self.disk;
        let (simulated, real) = &mut self.open[index];
        let is_dir = stat_of(disk.stat(simulated)).0 & libc::S_IFMT == libc::S_IFDIR;
        // The calls of old look at the offset first, those of the ring at how the file was opened;
        // and a directory's position differs.
        let is_negative = offset.is_some_and(|offset| offset > i64::MAX as u64);
        if is_dir || is_negative && !(simulated.may_read() && simulated.may_write()) {
            offset = Some(place);
        }
        let (what, simulated, real) = match choice {
            0..4 => (
                format!("read {offset:?} {len}"),
                shown(disk.read(simulated, offset, len)),
                shown(real::read(real, offset, len)),
            ),
            4..9 => (
                format!("write {offset:?} {len}"),
                shown(disk.write(simulated, offset, &data, 0)),
                shown(real::write(real, offset, &data)),
            ),
            9 => (
                format!("set_len {place}"),
                shown(disk.set_len(simulated, place, 0)),
                shown(real::set_len(real, place)),
            ),
            10 => (
                format!("allocate {mode} {place} {len}"),
                shown(disk.allocate(simulated, mode, place, len as u64, 0)),
                shown(real::allocate(real, mode, place, len as u64)),
            ),
            // A place in a directory means something to its own file system only.
            11..13 if !is_dir => (
                format!("seek {back} {whence}"),
                shown(disk.seek(simulated, back, whence)),
                shown(real::seek(real, back, whence)),
            ),
            13 => (
                "set_mode".to_string(),
                shown(disk.set_mode(simulated, 0o640, 0)),
                shown(real::set_mode(real, 0o640)),
            ),
            14 => (
                format!("flock {lock}"),
                shown(disk.flock(simulated, lock)),
                shown(real::flock(real, lock)),
            ),
            // From the beginning: where a new name turns up in a listing is each file system's own.
            15 => (
                "dents".to_string(),
                shown(disk.seek(simulated, 0, libc::SEEK_SET))
                    .and_then(|_| shown(listing(|room| disk.dents(simulated, room)))),
                shown(real::seek(real, 0, libc::SEEK_SET))
                    .and_then(|_| shown(listing(|room| real::dents(real, room)))),
            ),
            16 => (
                "sync".to_string(),
                shown(disk.sync(simulated, true)),
                shown(real::sync(real)),
            ),
            _ => (
                "stat and path".to_string(),
                Ok(format!(
                    "{:?} {}",
                    stat_of(disk.stat(simulated)),
                    path_of(disk, simulated)
                )),
                real::stat(real)
                    .map(without_directory_sizes)
                    .map(|stat| format!("{stat:?} {}", real_path(&self.top, real))),
            ),
        };
        let (file, _) = &self.open[index];
        (format!("{what} of {file:?}"), simulated, real)
    }

    fn compare_trees(&self) {
        let mut real = BTreeMap::from([(b"/".to_vec(), Snapshot::Directory)]);
        real_tree(&self.top, &self.top, &mut real);
        assert_eq!(self.disk.snapshot(), real);
    }
}

type Stat = (u32, u32, u64);

fn stat_of(stat: crate::driver::sim::disk::meta::Stat) -> Stat {
    without_directory_sizes((stat.mode, stat.links, stat.len))
}

/// File systems differ in what they count of a directory.
fn without_directory_sizes((mode, links, len): Stat) -> Stat {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => (mode, links.min(1), 0),
        _ => (mode, links, len),
    }
}

/// The path; of a file that is gone only that it is, since the kernel follows renames before that.
fn comparable(path: &[u8]) -> String {
    match path.ends_with(b" (deleted)") {
        true => "(deleted)".to_string(),
        false => path.escape_ascii().to_string(),
    }
}

fn path_of(disk: &Disk, file: &OpenFile) -> String {
    comparable(&disk.path_of(file))
}

fn real_path(top: &Path, fd: &OwnedFd) -> String {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = fs::read_link(link).expect("the descriptor is open");
    let path = path.as_os_str().as_bytes();
    let below = path.strip_prefix(top.as_os_str().as_bytes());
    match below.expect("all is below the top") {
        b"" => "/".to_string(),
        below => comparable(below),
    }
}

/// Names and kinds of what is left of a listing, sorted.
fn listing(mut dents: impl FnMut(usize) -> Answer<Vec<u8>>) -> Answer<Vec<(String, u8)>> {
    let mut all = Vec::new();
    loop {
        let answer = dents(600)?;
        let mut rest = &answer[..];
        while !rest.is_empty() {
            let len = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
            let name = rest[19..len].split(|byte| *byte == 0).next();
            let name = name.unwrap_or_default().escape_ascii().to_string();
            all.push((name, rest[18]));
            rest = &rest[len..];
        }
        if answer.is_empty() {
            all.sort();
            return Ok(all);
        }
    }
}

fn real_tree(top: &Path, dir: &Path, tree: &mut BTreeMap<Vec<u8>, Snapshot>) {
    for entry in fs::read_dir(dir).expect("it is a directory") {
        let path = entry.expect("it can be listed").path();
        let kind = fs::symlink_metadata(&path)
            .expect("it is there")
            .file_type();
        let below = path.strip_prefix(top).expect("it is below the top");
        let name = [b"/", below.as_os_str().as_bytes()].concat();
        if kind.is_dir() {
            tree.insert(name, Snapshot::Directory);
            real_tree(top, &path, tree);
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("it is a link");
            tree.insert(
                name,
                Snapshot::Symlink(target.as_os_str().as_bytes().to_vec()),
            );
        } else {
            tree.insert(name, Snapshot::File(fs::read(&path).expect("it is a file")));
        }
    }
}
