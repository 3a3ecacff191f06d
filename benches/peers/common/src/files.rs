//! The workload `files`: its cases, what is written, and how it is checked.
//!
//! The loops of the cases are the macro [`file_loops`](crate::file_loops): the same text, compiled
//! against each runtime. Every task has one buffer; what differs between two writes are the eight
//! bytes at its begin and its end ([`stamp`]).

mod loops;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Case, Job, Stop};

/// How many files, or blocks, are under way at a time.
pub const IN_FLIGHT: usize = 64;
/// How many small files are made.
const SMALL_FILES: usize = 1_000;
/// The size of the one large file's blocks.
pub const BLOCK_BYTES: usize = 4 << 10;
/// The size of the one large file.
const LARGE_BYTES: usize = 256 << 20;
/// The stamp of a block is its number; that of an overwritten one has this bit, too.
const OVERWRITTEN: u64 = 1 << 63;

const fn case(name: &'static str, about: &'static str, operation: &'static str) -> Case {
    Case {
        name,
        about,
        operation,
        cores: 1,
    }
}

/// Every case.
pub const CASES: &[Case] = &[
    case(
        "small-4k",
        "1,000 files of 4 KiB created, written and closed, 64 in flight",
        "file",
    ),
    case("small-64k", "the same, 64 KiB", "file"),
    case("small-1m", "the same, 1 MiB", "file"),
    case("small-4k-fsync", "the same, 4 KiB, with fsync", "file"),
    case("small-64k-fsync", "the same, 64 KiB, with fsync", "file"),
    case(
        "one-seq-write",
        "one file of 256 MiB, 4 KiB writes in order, 64 in flight",
        "block",
    ),
    case("one-rand-write", "the same, writes anywhere", "block"),
    case("one-seq-read", "the same, reads in order", "block"),
    case("one-rand-read", "the same, reads anywhere", "block"),
    case(
        "one-seq-write-direct",
        "one file of 256 MiB with O_DIRECT, 4 KiB writes in order, 64 in flight",
        "block",
    ),
    case(
        "one-rand-write-direct",
        "the same, writes anywhere",
        "block",
    ),
    case("one-seq-read-direct", "the same, reads in order", "block"),
    case("one-rand-read-direct", "the same, reads anywhere", "block"),
];

/// What a case asks for.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Many files.
    Small(Small),
    /// One file, which is there already.
    Large(Large),
}

/// Files to be made. `N` is the file `N` of the folder.
#[derive(Clone, Debug)]
pub struct Small {
    dir: PathBuf,
    /// How many.
    pub files: usize,
    /// The size of each.
    pub bytes: usize,
    /// Whether each is durable before it is closed.
    pub fsync: bool,
}

/// Blocks to be read or written.
#[derive(Clone, Debug)]
pub struct Large {
    /// The file.
    pub path: PathBuf,
    /// Whether it is written, or read.
    pub write: bool,
    /// Whether it is opened with `O_DIRECT`.
    pub direct: bool,
    /// The numbers of the blocks, each once, in their order.
    pub order: Vec<u32>,
}

impl Plan {
    /// Reads the name of the case; makes the one large file, and has it on the disk.
    ///
    /// # Errors
    /// `unsupported` for a name that says nothing.
    pub fn of(job: &Job) -> Result<Self, Stop> {
        let words: Vec<&str> = job.case.name.split('-').collect();
        match words[..] {
            ["small", size, ref rest @ ..] => Ok(Self::Small(Small {
                dir: job.dir.clone(),
                files: job.scaled(SMALL_FILES),
                bytes: small_bytes(size),
                fsync: rest == ["fsync"],
            })),
            ["one", order, access, ref rest @ ..] => {
                let blocks = job.scaled(LARGE_BYTES / BLOCK_BYTES) as u32;
                let mut large = Large {
                    path: job.dir.join("large"),
                    write: access == "write",
                    direct: rest == ["direct"],
                    order: (0..blocks).collect(),
                };
                large.make()?;
                if order == "rand" {
                    shuffle(&mut large.order);
                }
                Ok(Self::Large(large))
            }
            _ => Err(Stop::unsupported(format!("`{}`", job.case.name))),
        }
    }

    /// Whether everything is as it was asked for.
    pub fn verify(&self) -> io::Result<()> {
        match self {
            Self::Small(small) => small.verify(),
            Self::Large(large) => large.verify(),
        }
    }
}

fn small_bytes(size: &str) -> usize {
    match size {
        "4k" => 4 << 10,
        "64k" => 64 << 10,
        _ => 1 << 20,
    }
}

impl Small {
    /// Where a file is.
    #[must_use]
    pub fn path(&self, file: usize) -> PathBuf {
        self.dir.join(file.to_string())
    }

    /// What a file has in it, up to its stamp, which is its number.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        vec![0x5a; self.bytes]
    }

    fn verify(&self) -> io::Result<()> {
        let mut expected = self.contents();
        for file in 0..self.files {
            stamp(&mut expected, file as u64);
            if fs::read(self.path(file))? != expected {
                return Err(io::Error::other(format!("the file {file} differs")));
            }
        }
        Ok(())
    }
}

impl Large {
    /// What a block is stamped with when it is written.
    #[must_use]
    pub fn written_stamp(block: u32) -> u64 {
        u64::from(block) | OVERWRITTEN
    }

    /// Where a block is.
    #[must_use]
    pub fn offset(block: u32) -> u64 {
        u64::from(block) * BLOCK_BYTES as u64
    }

    /// A block that was read is the one that was asked for.
    pub fn check_read(block: u32, stamp: u64) -> io::Result<()> {
        if stamp != u64::from(block) {
            let wrong = format!("the block {block} has the stamp {stamp:#x}");
            return Err(io::Error::other(wrong));
        }
        Ok(())
    }

    /// Opens it as std does, for runtimes that take over such a file.
    pub fn open(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = if self.direct { libc::O_DIRECT } else { 0 };
        let mut options = File::options();
        options.read(true).write(self.write).custom_flags(flags);
        options.open(&self.path)
    }

    fn make(&self) -> io::Result<()> {
        let mut file = io::BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        let mut block = vec![0; BLOCK_BYTES];
        for &number in &self.order {
            stamp(&mut block, u64::from(number));
            file.write_all(&block)?;
        }
        file.flush()?;
        file.get_ref().sync_all()
    }

    fn verify(&self) -> io::Result<()> {
        let mut file = io::BufReader::with_capacity(1 << 20, File::open(&self.path)?);
        let mut expected = vec![0; BLOCK_BYTES];
        let mut block = vec![0; BLOCK_BYTES];
        for number in 0..self.order.len() as u32 {
            let mark = if self.write {
                Self::written_stamp(number)
            } else {
                u64::from(number)
            };
            stamp(&mut expected, mark);
            file.read_exact(&mut block)?;
            if block != expected {
                return Err(io::Error::other(format!("the block {number} differs")));
            }
        }
        Ok(())
    }
}

/// An order that is the same in every run.
fn shuffle(order: &mut [u32]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
}

/// Marks both ends of a buffer, so that one which is torn or in the wrong place is found.
pub fn stamp(buf: &mut [u8], mark: u64) {
    let mark = mark.to_le_bytes();
    buf[..8].copy_from_slice(&mark);
    let end = buf.len() - 8;
    buf[end..].copy_from_slice(&mark);
}

/// The mark of a buffer.
///
/// # Panics
/// If it is shorter than a mark.
#[must_use]
pub fn stamp_of(buf: &[u8]) -> u64 {
    u64::from_le_bytes(buf[..8].try_into().expect("eight bytes"))
}

/// What tasks take turns to do: the numbers below `end`, each once.
#[derive(Debug)]
pub struct Turns {
    next: AtomicUsize,
    end: usize,
}

impl Turns {
    /// All of them.
    #[must_use]
    pub fn new(end: usize) -> Self {
        Self {
            next: AtomicUsize::new(0),
            end,
        }
    }

    /// The next one.
    #[must_use]
    pub fn take(&self) -> Option<usize> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (turn < self.end).then_some(turn)
    }
}

/// A block of memory that `O_DIRECT` takes.
#[derive(Clone, Debug)]
pub struct Block(Box<Page>);

#[derive(Clone, Debug)]
#[repr(align(4096))]
struct Page([u8; BLOCK_BYTES]);

impl Block {
    /// A block of zeros.
    #[must_use]
    pub fn new() -> Self {
        Self(Box::new(Page([0; BLOCK_BYTES])))
    }

    /// A block of zeros that lives as long as the process, for runtimes that lend such memory to
    /// the kernel.
    pub fn leak() -> &'static mut [u8; BLOCK_BYTES] {
        &mut Box::leak(Box::new(Page([0; BLOCK_BYTES]))).0
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

impl std::ops::DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0.0
    }
}

/// Creates and writes a small file by the calls that block, for the pools of threads.
pub fn create_blocking(path: &Path, contents: &[u8], fsync: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(contents)?;
    if fsync { file.sync_all() } else { Ok(()) }
}

/// Writes one block of the large file by a call that blocks.
pub fn write_blocking(file: &File, block: &Block, offset: u64) -> io::Result<()> {
    file.write_all_at(block, offset)
}

/// Reads one block of the large file by a call that blocks.
pub fn read_blocking(file: &File, block: &mut Block, offset: u64) -> io::Result<()> {
    file.read_exact_at(block, offset)
}
