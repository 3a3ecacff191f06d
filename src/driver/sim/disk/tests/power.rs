//! What a power loss leaves: nothing that was synced is lost, nothing appears that never was, and
//! everything that is legal happens for some seed.

use super::{Seed, seeds};
use super::{content, disk, open, sync_dir, write_new};
use crate::driver::sim::disk::file::SECTOR;
use crate::driver::sim::disk::{Disk, OpenFile, Snapshot};
use crate::driver::sim::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

const OLD: [u8; 3000] = [b'o'; 3000];
const NEW: [u8; 5000] = [b'n'; 5000];

/// What is found after a power loss, over many seeds.
fn outcomes<T: Ord>(world: impl Fn() -> Disk, seen: impl Fn(&Disk) -> T) -> BTreeSet<T> {
    let outcome = |seed| {
        let _seed = Seed(seed);
        let mut disk = world();
        disk.power_loss(&mut Rng::new(seed));
        seen(&disk)
    };
    (0..3000).map(outcome).collect()
}

/// A file that is replaced: temporary file, rename, each with a sync or without.
fn replaced(sync_file: bool, sync_directory: bool) -> Disk {
    let mut disk = disk();
    let mut old = write_new(&mut disk, "/file", &OLD);
    assert_eq!(disk.sync(&mut old, false), Ok(()));
    sync_dir(&mut disk, "/");
    let mut new = write_new(&mut disk, "/temp", &NEW);
    if sync_file {
        assert_eq!(disk.sync(&mut new, true), Ok(()));
    }
    let at = (None, &b"/temp"[..]);
    assert_eq!(disk.rename(at, (None, b"/file"), 0), Ok(()));
    if sync_directory {
        sync_dir(&mut disk, "/");
    }
    disk
}

fn file(disk: &Disk) -> Vec<u8> {
    content(disk, "/file").expect("the file always has its name")
}

#[test]
fn an_atomic_replacement_is_durable_and_whole() {
    let found = outcomes(|| replaced(true, true), file);
    assert_eq!(found, BTreeSet::from([NEW.to_vec()]));
}

#[test]
fn without_the_sync_of_the_directory_it_is_the_old_or_the_new_one() {
    let found = outcomes(|| replaced(true, false), file);
    assert_eq!(found, BTreeSet::from([OLD.to_vec(), NEW.to_vec()]));
    let temps = outcomes(
        || replaced(true, false),
        |disk| content(disk, "/temp").is_some(),
    );
    assert_eq!(temps.len(), 2, "the temporary file stays or not");
}

#[test]
fn without_the_sync_of_the_file_it_may_be_torn() {
    let found = outcomes(|| replaced(false, true), file);
    assert!(found.contains(&NEW[..]) && found.contains(&b""[..]));
    let sectors = |bytes: &Vec<u8>| -> Vec<u8> {
        let chunks = bytes.chunks(SECTOR as usize);
        chunks
            .map(|chunk| {
                assert!(
                    chunk.iter().all(|byte| *byte == chunk[0]),
                    "torn in a sector"
                );
                chunk[0]
            })
            .collect()
    };
    let kinds: BTreeSet<Vec<u8>> = found.iter().map(sectors).collect();
    assert!(kinds.iter().flatten().all(|byte| [b'n', 0].contains(byte)));
    assert!(kinds.len() > 100, "many ways to be torn: {}", kinds.len());
}

#[test]
fn a_file_that_is_overwritten_has_old_and_new_sectors() {
    let world = || {
        let mut disk = disk();
        let mut file = write_new(&mut disk, "/file", &[1; 2048]);
        disk.sync_all();
        for (at, byte) in [(0, 2), (256, 3), (1024, 4)] {
            assert_eq!(disk.write(&mut file, Some(at), &[byte; 512], 0), Ok(512));
        }
        disk
    };
    let found = outcomes(world, |disk| {
        let bytes = file(disk);
        assert_eq!(bytes.len(), 2048);
        assert!(
            bytes[1024..]
                .chunks(512)
                .all(|sector| sector.iter().all(|b| *b == sector[0]))
        );
        [
            bytes[0],
            bytes[256],
            bytes[511],
            bytes[512],
            bytes[768],
            bytes[1024],
            bytes[1536],
        ]
    });
    // First sector: old, one write, both. Second: old, or the later write. Third: old or new.
    assert_eq!(found.len(), 3 * 2 * 2);
    assert!(
        found.contains(&[1, 1, 1, 1, 1, 4, 1]),
        "a later write without the earlier ones"
    );
    assert!(
        !found.iter().any(|bytes| bytes[0] == 1 && bytes[1] == 3),
        "the page had both"
    );
}

#[test]
fn the_length_is_one_that_the_file_had() {
    let world = || {
        let mut disk = disk();
        let mut file = write_new(&mut disk, "/file", &[1; 700]);
        disk.sync_all();
        assert_eq!(disk.set_len(&file, 100, 0), Ok(()));
        assert_eq!(disk.write(&mut file, Some(5000), &[2; 10], 0), Ok(10));
        assert_eq!(disk.set_len(&file, 300, 0), Ok(()));
        disk
    };
    let found = outcomes(world, |disk| {
        let bytes = file(disk);
        let cut = bytes.iter().take(700).filter(|byte| **byte == 1).count();
        assert!(cut == 100 || cut == 700);
        (bytes.len(), cut, bytes.get(5000).copied())
    });
    let lengths: BTreeSet<usize> = found.iter().map(|(len, ..)| *len).collect();
    assert_eq!(lengths, BTreeSet::from([700, 100, 5010, 300]));
    assert!(found.contains(&(5010, 100, Some(2))) && found.contains(&(5010, 100, Some(0))));
}

/// What nobody synced is often on the disk all the same, and never more than there was.
#[test]
fn what_a_kernel_writes_back_may_be_durable() {
    let written_back = || {
        let mut disk = disk();
        let _open = write_new(&mut disk, "/file", &NEW);
        disk.write_back(&mut Rng::new(0));
        disk
    };
    let found = outcomes(written_back, |disk| content(disk, "/file").map(|c| c.len()));
    assert!(
        found.is_subset(&BTreeSet::from([None, Some(0), Some(NEW.len())])),
        "{found:?}"
    );
    let mut always = 0;
    for seed in 0..100 {
        let mut disk = disk();
        let _open = write_new(&mut disk, "/file", &NEW);
        disk.write_back(&mut Rng::new(seed));
        let mut lost = 0;
        for other in 0..20 {
            disk.power_loss(&mut Rng::new(other));
            lost += usize::from(content(&disk, "/file").is_none_or(|c| c != NEW));
        }
        always += usize::from(lost == 0);
    }
    assert!(
        (5..95).contains(&always),
        "{always} of 100 were written back whole"
    );
}

#[test]
fn a_sync_of_a_file_does_not_save_its_name() {
    let world = || {
        let mut disk = disk();
        disk.make_dir(None, b"/dir", 0o755, 0).expect("it is new");
        let mut file = write_new(&mut disk, "/dir/file", &NEW);
        assert_eq!(disk.sync(&mut file, false), Ok(()));
        disk
    };
    let names = |disk: &Disk| disk.snapshot().into_keys().collect::<Vec<_>>();
    assert_eq!(
        outcomes(world, names).len(),
        3,
        "nothing, the directory, both"
    );
    let world = || {
        let mut disk = world();
        sync_dir(&mut disk, "/dir");
        disk
    };
    assert_eq!(
        outcomes(world, names).len(),
        2,
        "the directory itself may be lost"
    );
    let world = || {
        let mut disk = world();
        sync_dir(&mut disk, "/");
        disk
    };
    let found = outcomes(world, |disk| content(disk, "/dir/file"));
    assert_eq!(found, BTreeSet::from([Some(NEW.to_vec())]));
}

#[test]
fn a_failed_sync_is_reported_once_and_its_data_is_lost() {
    let mut disk = disk();
    let mut file = write_new(&mut disk, "/file", &OLD);
    let mut other = open(&mut disk, "/file", libc::O_RDONLY);
    disk.sync_all();
    assert_eq!(disk.write(&mut file, Some(0), &NEW, 0), Ok(NEW.len()));
    disk.fail_next_sync(Some(file.ino()), libc::EIO);
    sync_dir(&mut disk, "/");
    assert_eq!(disk.sync(&mut file, true), Err(libc::EIO));
    assert_eq!(disk.sync(&mut file, true), Ok(()));
    let mut third = open(&mut disk, "/file", libc::O_RDONLY);
    assert_eq!(disk.sync(&mut third, true), Ok(()));
    assert_eq!(disk.sync(&mut other, true), Err(libc::EIO));
    assert_eq!(disk.sync(&mut other, true), Ok(()));
    assert_eq!(content(&disk, "/file").as_deref(), Some(&NEW[..]));
    disk.power_loss(&mut Rng::new(1));
    assert_eq!(content(&disk, "/file").as_deref(), Some(&OLD[..]));
    let mut file = open(&mut disk, "/file", libc::O_RDWR);
    disk.fail_next_sync(None, libc::ENOSPC);
    assert_eq!(disk.sync(&mut file, true), Err(libc::ENOSPC));
    assert_eq!(disk.sync(&mut file, true), Ok(()));
}

#[test]
fn a_write_that_syncs_is_durable() {
    let world = || {
        let mut disk = disk();
        write_new(&mut disk, "/file", b"");
        sync_dir(&mut disk, "/");
        let mut file = open(&mut disk, "/file", libc::O_WRONLY | libc::O_DSYNC);
        assert_eq!(disk.write(&mut file, None, &NEW, 0), Ok(NEW.len()));
        disk
    };
    assert_eq!(outcomes(world, file), BTreeSet::from([NEW.to_vec()]));
}

#[test]
fn what_was_moved_is_never_lost() {
    let world = || {
        let mut disk = disk();
        disk.make_dir(None, b"/a", 0o755, 0).expect("it is new");
        disk.make_dir(None, b"/a/b", 0o755, 0).expect("it is new");
        write_new(&mut disk, "/a/b/file", &NEW);
        disk.sync_all();
        let mut rename = |from: &str, to: &str| {
            let (from, to) = ((None, from.as_bytes()), (None, to.as_bytes()));
            assert_eq!(disk.rename(from, to, 0), Ok(()));
        };
        // A directory turned inside out, and its place taken by what is new.
        rename("/a/b", "/b");
        rename("/a", "/b/a");
        rename("/b/file", "/b/a/file");
        disk.make_dir(None, b"/c", 0o755, 0).expect("it is new");
        assert_eq!(
            disk.rename((None, b"/b/a/file"), (None, b"/c/file"), 0),
            Ok(())
        );
        assert_eq!(disk.remove(None, b"/b/a", true, 0), Ok(()));
        write_new(&mut disk, "/b/file", &OLD);
        disk
    };
    let found = outcomes(world, |disk| {
        let tree = disk.snapshot();
        let whole = |node: &&Snapshot| **node == Snapshot::File(NEW.to_vec());
        assert_eq!(tree.values().filter(whole).count(), 1, "{:?}", tree.keys());
        tree.into_keys().collect::<Vec<_>>()
    });
    assert!(found.len() > 6, "{found:?}");
}

#[test]
fn what_is_removed_comes_back_with_what_was_durable() {
    let world = || {
        let mut disk = disk();
        let mut file = write_new(&mut disk, "/file", &OLD);
        disk.sync_all();
        assert_eq!(disk.write(&mut file, Some(0), &NEW, 0), Ok(NEW.len()));
        assert_eq!(disk.remove(None, b"/file", false, 0), Ok(()));
        disk.close(file);
        assert_eq!(disk.free_bytes(), 1 << 20);
        disk
    };
    let found = outcomes(world, |disk| content(disk, "/file"));
    assert!(found.contains(&None) && found.contains(&Some(OLD.to_vec())));
    let gone = || {
        let mut disk = world();
        sync_dir(&mut disk, "/");
        assert_eq!(
            disk.inodes.len(),
            2,
            "nothing is kept of what cannot come back"
        );
        disk
    };
    assert_eq!(
        outcomes(gone, |disk| content(disk, "/file")),
        BTreeSet::from([None])
    );
}

#[test]
#[should_panic(expected = "before the host lost its power")]
fn an_open_file_does_not_outlive_the_power() {
    let mut disk = disk();
    let mut file = write_new(&mut disk, "/file", b"");
    disk.power_loss(&mut Rng::new(1));
    let _ = disk.sync(&mut file, true);
}

/// Random programs with syncs and power losses in them. Each byte that is written names its file
/// and the write, so what is found can be judged.
#[test]
fn random_programs_keep_the_promises() {
    for seed in seeds(300) {
        let _seed = Seed(seed);
        let mut rng = Rng::new(seed);
        let mut program = Program::new();
        for _ in 0..rng.between(1, 120) {
            program.step(&mut rng);
        }
        program.disk.power_loss(&mut rng);
        program.check();
        // The disk goes on as a whole one.
        program.disk.sync_all();
        let tree = program.disk.snapshot();
        program.disk.power_loss(&mut rng);
        assert_eq!(program.disk.snapshot(), tree);
    }
}

const DIRS: [&str; 3] = ["/", "/one/", "/one/two/"];
const LEN_MAX: usize = 4000;

struct Program {
    disk: Disk,
    next: u8,
    /// For each file, by the number in its first bytes' place: what each byte may be.
    files: BTreeMap<u64, Possible>,
    open: Vec<OpenFile>,
    /// Directory entries that must be there, until their directory is changed again.
    durable_names: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Possible {
    /// Since the last sync, for each offset: bit n is set if it may be n. A program makes fewer
    /// than 128 writes.
    bytes: Vec<u128>,
    lens: BTreeSet<usize>,
    now: Vec<u8>,
}

impl Possible {
    fn wrote(&mut self, at: usize, data: &[u8]) {
        self.now.resize(self.now.len().max(at + data.len()), 0);
        self.now[at..at + data.len()].copy_from_slice(data);
        self.note();
    }

    fn cut(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.note();
        // If the file grows again, the new length may be kept and the new data lost.
        for possible in self.bytes.iter_mut().skip(len) {
            *possible |= 1;
        }
    }

    fn note(&mut self) {
        self.lens.insert(self.now.len());
        self.bytes.resize_with(LEN_MAX * 2, || 1);
        for (possible, byte) in self.bytes.iter_mut().zip(&self.now) {
            *possible |= 1 << byte;
        }
    }

    fn synced(&mut self) {
        self.lens = BTreeSet::from([self.now.len()]);
        // Behind the end there is nothing, and then zeros.
        let byte = |at: usize| 1 << self.now.get(at).copied().unwrap_or(0);
        self.bytes = (0..LEN_MAX * 2).map(byte).collect();
    }
}

impl Program {
    fn new() -> Program {
        let mut disk = Disk::new(1 << 24);
        for dir in &DIRS[1..] {
            disk.make_dir(None, dir.as_bytes(), 0o755, 0)
                .expect("it is new");
        }
        disk.sync_all();
        Program {
            disk,
            next: 0,
            files: BTreeMap::new(),
            open: Vec::new(),
            durable_names: BTreeMap::new(),
        }
    }

    fn path(rng: &mut Rng) -> String {
        format!("{}f{}", DIRS[rng.index(DIRS.len())], rng.below(4))
    }

    fn step(&mut self, rng: &mut Rng) {
        let path = Program::path(rng);
        match rng.below(11) {
            9 => self.disk.write_back(rng),
            0 | 1 => {
                let file = open(&mut self.disk, &path, libc::O_CREAT | libc::O_RDWR);
                let number = self.ino(&path).expect("it was opened");
                let possible = self.files.entry(number).or_default();
                if possible.lens.is_empty() {
                    possible.synced();
                    self.durable_names.remove(&path);
                }
                self.open.push(file);
            }
            2 => {
                let removed = self.disk.remove(None, path.as_bytes(), false, 0);
                if removed.is_ok() {
                    self.durable_names.remove(&path);
                }
            }
            3 => {
                let to = Program::path(rng);
                let ends = ((None, path.as_bytes()), (None, to.as_bytes()));
                if path != to && self.disk.rename(ends.0, ends.1, 0).is_ok() {
                    self.durable_names.remove(&path);
                    self.durable_names.remove(&to);
                }
            }
            4 => self.sync_directory(rng),
            5..9 if !self.open.is_empty() => self.change_file(rng),
            _ if !self.open.is_empty() => {
                let file = self.open.swap_remove(rng.index(self.open.len()));
                self.disk.close(file);
            }
            _ => {}
        }
    }

    fn ino(&self, path: &str) -> Option<u64> {
        let stat = self.disk.stat_at(None, path.as_bytes(), false);
        stat.ok().map(|stat| stat.ino.0)
    }

    fn sync_directory(&mut self, rng: &mut Rng) {
        let dir = DIRS[rng.index(DIRS.len())];
        sync_dir(&mut self.disk, dir);
        for name in 0..4 {
            let path = format!("{dir}f{name}");
            if let Some(number) = self.ino(&path) {
                self.durable_names.insert(path, number);
            }
        }
    }

    fn change_file(&mut self, rng: &mut Rng) {
        let index = rng.index(self.open.len());
        let file = &mut self.open[index];
        let possible = self.files.get_mut(&file.ino().0).expect("it was noted");
        let (at, len) = (rng.index(LEN_MAX), rng.index(LEN_MAX));
        match rng.below(6) {
            0 => {
                assert_eq!(self.disk.set_len(file, len as u64, 0), Ok(()));
                possible.cut(len);
            }
            1 => {
                assert_eq!(self.disk.sync(file, rng.chance(0.5)), Ok(()));
                possible.synced();
            }
            2 => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                let end = (at + len + 1).min(possible.now.len());
                if at < end {
                    let range = (at as u64, (end - at) as u64);
                    assert_eq!(self.disk.allocate(file, mode, range.0, range.1, 0), Ok(()));
                    possible.now[at..end].fill(0);
                    possible.note();
                }
            }
            _ => {
                self.next += 1;
                let data = vec![self.next; len + 1];
                assert_eq!(
                    self.disk.write(file, Some(at as u64), &data, 0),
                    Ok(len + 1)
                );
                possible.wrote(at, &data);
            }
        }
    }

    fn check(&self) {
        for (path, number) in &self.durable_names {
            assert_eq!(self.ino(path), Some(*number), "{path} was synced");
        }
        for (path, node) in self.disk.snapshot() {
            let Snapshot::File(bytes) = node else {
                continue;
            };
            let path = String::from_utf8(path).expect("the test's names are text");
            let number = self.ino(&path).expect("it is in the tree");
            let possible = &self.files[&number];
            assert!(
                possible.lens.contains(&bytes.len()),
                "{path}: {}",
                bytes.len()
            );
            for (at, byte) in bytes.iter().enumerate() {
                assert!(
                    possible.bytes[at] >> byte & 1 == 1,
                    "{path} at {at}: {byte}"
                );
            }
        }
    }
}
