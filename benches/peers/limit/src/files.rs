//! Hand-written loops for files, 64 under way.
//!
//! Small files: what the ring would only hand to a worker (open, a write of up to 64 KiB, close) is
//! a plain call; large writes and fsync are the ring's. The variant `ring` has the ring do all of
//! it. The one large file: one entry a block, one enter a turn.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use peer::files::{BLOCK_BYTES, Block, IN_FLIGHT, Large, Plan, Small, create_blocking, stamp};
use peer::files::{Turns, stamp_of};
use peer::{Figures, Job, Measured, Meter};

const RING_ENTRIES: u32 = 256;
/// A write of so many bytes is cheaper inline than by a kernel worker.
const INLINE_BYTES_MAX: usize = 64 << 10;

pub(crate) fn measure(job: &Job) -> Measured {
    let all_by_ring = job.is_variant("ring")?;
    let plan = Plan::of(job)?;
    let figures = match &plan {
        Plan::Small(small) if !all_by_ring && !small.fsync && small.bytes <= INLINE_BYTES_MAX => {
            make_inline(small)?
        }
        Plan::Small(small) => make(small, all_by_ring)?,
        Plan::Large(large) => go_over(large)?,
    };
    plan.verify()?;
    Ok(figures)
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(RING_ENTRIES)
}

fn make_inline(small: &Small) -> io::Result<Figures> {
    let mut contents = small.contents();
    let meter = Meter::begin();
    for file in 0..small.files {
        stamp(&mut contents, file as u64);
        create_blocking(&small.path(file), &contents, false)?;
    }
    Ok(meter.end(small.files as u64))
}

/// What comes next for a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Open,
    Write,
    Sync,
    Close,
}

/// A file under way. Its memory is lent to the kernel from a push to the completion.
struct Making {
    step: Step,
    path: CString,
    contents: Vec<u8>,
    file: Option<OwnedFd>,
}

fn make(small: &Small, all_by_ring: bool) -> io::Result<Figures> {
    let mut ring = ring()?;
    let turns = Turns::new(small.files);
    let slots = (0..IN_FLIGHT.min(small.files)).map(|_| Making::new(small));
    // For good: an error may leave entries behind.
    let under_way = slots.collect::<Vec<_>>().leak();
    let meter = Meter::begin();
    let mut open = 0;
    for (index, making) in under_way.iter_mut().enumerate() {
        open += usize::from(making.begin(small, &turns, all_by_ring)?);
        push(&mut ring, making.entry(), index)?;
    }
    while open > 0 {
        ring.submit_and_wait(1)?;
        for (index, result) in completions(&mut ring)? {
            let making = &mut under_way[index];
            let goes_on = making.advance(result, small, all_by_ring)?
                || making.begin(small, &turns, all_by_ring)?;
            if goes_on {
                push(&mut ring, making.entry(), index)?;
            } else {
                open -= 1;
            }
        }
    }
    Ok(meter.end(small.files as u64))
}

impl Making {
    fn new(small: &Small) -> Self {
        Self {
            step: Step::Open,
            path: CString::default(),
            contents: small.contents(),
            file: None,
        }
    }

    /// Begins the next file; `false` if there is none.
    fn begin(&mut self, small: &Small, turns: &Turns, all_by_ring: bool) -> io::Result<bool> {
        let Some(file) = turns.take() else {
            return Ok(false);
        };
        stamp(&mut self.contents, file as u64);
        let path = small.path(file);
        if all_by_ring {
            self.path = CString::new(path.into_os_string().into_vec())?;
            self.step = Step::Open;
            return Ok(true);
        }
        let mut made = File::create(path)?;
        self.step = Step::Write;
        if small.bytes <= INLINE_BYTES_MAX {
            io::Write::write_all(&mut made, &self.contents)?;
            self.step = Step::Sync;
        }
        self.file = Some(made.into());
        Ok(true)
    }

    /// Takes the result of its step; `false` if the file is closed.
    #[allow(unsafe_code)]
    fn advance(&mut self, result: i32, small: &Small, all_by_ring: bool) -> io::Result<bool> {
        self.step = match self.step {
            Step::Open => {
                // SAFETY: the kernel has just opened it for this entry, and nobody else has it.
                self.file = Some(unsafe { OwnedFd::from_raw_fd(result) });
                Step::Write
            }
            Step::Write if result as usize != small.bytes => {
                return Err(io::Error::other(format!("{result} bytes of a file")));
            }
            Step::Write if small.fsync => Step::Sync,
            Step::Write | Step::Sync if all_by_ring => Step::Close,
            Step::Write | Step::Sync => {
                self.file = None;
                return Ok(false);
            }
            Step::Close => return Ok(false),
        };
        Ok(true)
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = Fd(self
            .file
            .as_ref()
            .map_or(libc::AT_FDCWD, AsRawFd::as_raw_fd));
        match self.step {
            Step::Open => opcode::OpenAt::new(fd, self.path.as_ptr())
                .flags(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC | libc::O_CLOEXEC)
                .mode(0o666)
                .build(),
            Step::Write => {
                let (start, len) = (self.contents.as_ptr(), self.contents.len());
                opcode::Write::new(fd, start, len as u32).build()
            }
            Step::Sync => opcode::Fsync::new(fd).build(),
            Step::Close => {
                // The kernel closes it: the number is no longer ours.
                let fd = self.file.take().map(std::os::fd::IntoRawFd::into_raw_fd);
                opcode::Close::new(Fd(fd.expect("an open file is closed"))).build()
            }
        }
    }
}

fn go_over(large: &Large) -> io::Result<Figures> {
    let mut ring = ring()?;
    let file = large.open()?;
    let turns = Turns::new(large.order.len());
    // For good: an error may leave entries behind.
    let under_way = vec![(0, Block::new()); IN_FLIGHT.min(large.order.len())].leak();
    let mut open = 0;
    let meter = Meter::begin();
    for (index, (number, block)) in under_way.iter_mut().enumerate() {
        let turn = turns.take().expect("there are no more slots than blocks");
        *number = large.order[turn];
        push(&mut ring, entry(large, &file, *number, block), index)?;
        open += 1;
    }
    while open > 0 {
        ring.submit_and_wait(1)?;
        for (index, result) in completions(&mut ring)? {
            let (number, block) = &mut under_way[index];
            if result as usize != BLOCK_BYTES {
                return Err(io::Error::other(format!("{result} bytes of a block")));
            }
            if !large.write {
                Large::check_read(*number, stamp_of(block))?;
            }
            let Some(turn) = turns.take() else {
                open -= 1;
                continue;
            };
            *number = large.order[turn];
            push(&mut ring, entry(large, &file, *number, block), index)?;
        }
    }
    Ok(meter.end(large.order.len() as u64))
}

fn entry(large: &Large, file: &File, number: u32, block: &mut Block) -> squeue::Entry {
    let (fd, len) = (Fd(file.as_raw_fd()), BLOCK_BYTES as u32);
    let offset = Large::offset(number);
    if large.write {
        stamp(block, Large::written_stamp(number));
        return opcode::Write::new(fd, block.as_ptr(), len)
            .offset(offset)
            .build();
    }
    opcode::Read::new(fd, block.as_mut_ptr(), len)
        .offset(offset)
        .build()
}

/// Queues the entry of the slot `index`.
#[allow(unsafe_code)]
fn push(ring: &mut IoUring, entry: squeue::Entry, index: usize) -> io::Result<()> {
    let entry = entry.user_data(index as u64);
    // SAFETY: the slot of `index` lives for good, and touches its memory again only after the
    // completion.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)
}

/// The slots whose entry has completed, with their results.
fn completions(ring: &mut IoUring) -> io::Result<Vec<(usize, i32)>> {
    let take = |completion: cqueue::Entry| match completion.result() {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
        result => Ok((completion.user_data() as usize, result)),
    };
    ring.completion().map(take).collect()
}
