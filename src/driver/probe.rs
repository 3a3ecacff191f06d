//! The self-test: which optional features of this kernel work, found by using each one once.
//!
//! A version number proves nothing (features are backported, masked by seccomp, or broken), and a
//! listing only says that an opcode exists. So a small ring is made once a process, each feature
//! is performed on it, and what does not do what it should is not used. What the crate cannot do
//! without ([`required`]) gives an error that the runtime's builder explains.

use super::bell::Bell;
use super::buf_ring::{Group, Pool, PoolConfig};
use super::operations::{OpSet, maskable_names};
use super::ring::{Ring, RingConfig};
use super::slot::Cqe;
use super::{kernel, note, sys};
use crate::driver::kernel::Wait;
use io_uring::{IoUring, Probe, opcode, squeue, types};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};

/// What works beyond the baseline (Linux 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// `IORING_SETUP_NO_SQARRAY` (6.6): one indirection less for each entry.
    pub(crate) no_sqarray: bool,
    /// A registered ring descriptor: 50 to 75 ns less for each `enter`.
    pub(crate) registered_ring: bool,
    /// `IORING_ENTER_ABS_TIMER` (6.12): waits name the deadline itself.
    pub(crate) abs_timer: bool,
    /// `IORING_ENTER_NO_IOWAIT` (6.15): an idle loop does not look like one that waits for a disk.
    pub(crate) no_iowait: bool,
    /// `IORING_REGISTER_SEND_MSG_RING` (6.13): any thread wakes a core without an eventfd.
    pub(crate) send_msg_ring: bool,
    /// Provided-buffer rings and multishot receive (6.0); without them receives go to the heap.
    pub(crate) buffer_ring: bool,
    /// Incremental buffers (6.12): large buffers, filled piece by piece.
    pub(crate) incremental: bool,
    /// Sends that tell only what they have not sent ([`super::silent`]; 6.0): no completion, and no
    /// end of a wait, for one that has sent everything.
    pub(crate) silent_send: bool,
    /// Multishot accept (5.19); without it each connection is asked for by itself.
    pub(crate) accept_multishot: bool,
    /// `IORING_OP_FTRUNCATE` (6.9).
    pub(crate) ftruncate: bool,
    /// The operations of the crate that this kernel lacks, and those that the environment forbids.
    pub(crate) missing: OpSet,
    pub(crate) masked: OpSet,
}

impl Features {
    /// Whether this kernel has an operation, and the environment does not forbid it.
    pub(crate) fn offers(&self, name: &str) -> bool {
        !self.missing.has_name(name) && !self.masked.has_name(name)
    }

    /// Features and operations that the environment forbids: names with commas between them in
    /// `CORERING_MASK`. A way to see what a program does on an older kernel.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is neither, or of an operation that nothing goes without.
    fn mask(&mut self, names: &str) -> io::Result<()> {
        let names = names.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            match name {
                "no_sqarray" => self.no_sqarray = false,
                "registered_ring" => self.registered_ring = false,
                "abs_timer" => self.abs_timer = false,
                "no_iowait" => self.no_iowait = false,
                "send_msg_ring" => self.send_msg_ring = false,
                // Multishot receives need the buffers, and the buffers serve nothing else.
                "buffer_ring" | "recv_multishot" => self.buffer_ring = false,
                "incremental" => self.incremental = false,
                "silent_send" => self.silent_send = false,
                "accept_multishot" => self.accept_multishot = false,
                // An operation with a substitute.
                "ftruncate" => self.ftruncate = false,
                operation if self.masked.insert_by_name(operation) => {}
                unknown => return Err(unknown_mask(unknown)),
            }
        }
        Ok(())
    }
}

fn unknown_mask(name: &str) -> io::Error {
    let what = format!(
        "the environment variable CORERING_MASK names `{name}`, which cannot be masked. Features: \
         no_sqarray, registered_ring, abs_timer, no_iowait, send_msg_ring, buffer_ring, \
         recv_multishot, incremental, silent_send, accept_multishot. Operations: {}",
        maskable_names()
    );
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The features of this process's kernel; the first call runs the self-test.
///
/// # Errors
/// What refused the first ring, or which operation of the baseline is missing; `InvalidInput` for
/// a mask that names what there is not.
pub(crate) fn features() -> io::Result<Features> {
    static FEATURES: OnceLock<Features> = OnceLock::new();
    if let Some(features) = FEATURES.get() {
        return Ok(*features);
    }
    let mut features = run()?;
    if let Ok(names) = std::env::var("CORERING_MASK") {
        features.mask(&names)?;
    }
    Ok(*FEATURES.get_or_init(|| features))
}

/// The features of this kernel as they are, whatever the environment says; a fresh self-test.
///
/// # Errors
/// As [`features`].
pub(crate) fn found() -> io::Result<Features> {
    run()
}

const CONFIG: RingConfig = RingConfig {
    entries: 8,
    completions: 32,
    workers: [1, 1],
    disabled: false,
};

fn run() -> io::Result<Features> {
    // The baseline, with the features that set-up itself refuses tried first.
    let mut features = Features {
        no_sqarray: true,
        ..Features::default()
    };
    let mut ring = match Ring::new(CONFIG, features) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            features.no_sqarray = false;
            Ring::new(CONFIG, features)?
        }
        other => other?,
    };
    if !nop_completes(&mut ring)? {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    let probe = required(ring.as_io_uring())?;
    features.missing = OpSet::missing_in(&probe);
    // As old as the baseline, and not to be seen otherwise than by an accept.
    features.accept_multishot = true;
    features.ftruncate = probe.is_supported(opcode::Ftruncate::CODE);
    features.send_msg_ring = message_arrives(&mut ring);
    features.no_iowait = ring.as_io_uring().params().is_feature_no_iowait();
    drop(ring);
    features.registered_ring = works(
        Features {
            registered_ring: true,
            ..features
        },
        nop_completes,
    );
    features.no_iowait = features.no_iowait
        && works(
            Features {
                no_iowait: true,
                ..features
            },
            nop_completes,
        );
    features.abs_timer = works(
        Features {
            abs_timer: true,
            ..features
        },
        wait_ends_in_time,
    );
    features.silent_send = works(features, sends_are_silent);
    features.buffer_ring = works(features, |ring| receives(ring, false));
    features.incremental = features.buffer_ring && works(features, |ring| receives(ring, true));
    Ok(features)
}

/// What there is no way around.
fn required(ring: &IoUring) -> io::Result<Probe> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::AcceptMulti::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::Connect::CODE,
        opcode::OpenAt::CODE,
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::Statx::CODE,
        opcode::UnlinkAt::CODE,
    ];
    let all = needed.iter().all(|&code| probe.is_supported(code));
    let params = ring.params();
    if all && params.is_feature_ext_arg() && params.is_feature_nodrop() {
        Ok(probe)
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// Whether `test` succeeds on a ring with these features.
fn works(features: Features, test: impl FnOnce(&mut Ring) -> io::Result<bool>) -> bool {
    Ring::new(CONFIG, features)
        .and_then(|mut ring| test(&mut ring))
        .unwrap_or(false)
}

const TEST: u64 = 1 << 32;
const PATIENCE_NANOS: u64 = 200_000_000;

/// The next completion that belongs to the test, if it comes in time.
fn next(ring: &mut Ring, user_data: u64) -> io::Result<Option<Cqe>> {
    let end = kernel::now() + PATIENCE_NANOS;
    while kernel::now() < end {
        while let Some((word, cqe)) = ring.pop() {
            if word == user_data {
                return Ok(Some(cqe));
            }
        }
        ring.enter(Wait::Until(end))?;
    }
    Ok(None)
}

fn nop_completes(ring: &mut Ring) -> io::Result<bool> {
    ring.push(&opcode::Nop::new().build().user_data(TEST));
    Ok(next(ring, TEST)?.is_some_and(|cqe| cqe.result == 0))
}

fn wait_ends_in_time(ring: &mut Ring) -> io::Result<bool> {
    let begin = kernel::now();
    ring.enter(Wait::Until(begin + 50_000))?;
    let took = kernel::now() - begin;
    Ok((50_000..PATIENCE_NANOS).contains(&took))
}

fn message_arrives(ring: &mut Ring) -> bool {
    sys::send_msg_ring(ring.as_raw_fd(), note::BELL).is_ok()
        && matches!(next(ring, note::BELL), Ok(Some(_)))
}

/// One send says nothing, and has sent; one that has no room for all says how much it has sent, and
/// one that has no room at all says so too; none of them waits.
fn sends_are_silent(ring: &mut Ring) -> io::Result<bool> {
    /// More than a socket has room for.
    const MUCH: usize = 4 << 20;
    let (tx, mut rx) = UnixStream::pair()?;
    let bytes = vec![7; MUCH];
    let send = |len: u32, word| {
        let entry = opcode::Send::new(types::Fd(tx.as_raw_fd()), bytes.as_ptr(), len);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT;
        let entry = entry.flags(flags).build();
        entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(word)
    };
    ring.push(&send(5, TEST + 1));
    ring.push(&opcode::Nop::new().build().user_data(TEST));
    ring.enter(Wait::No)?;
    // The first completion is the second entry's: the first one's would have come before it.
    let silent = matches!(ring.pop(), Some((TEST, _)));
    let mut five = [0; 5];
    rx.read_exact(&mut five)?;
    ring.push(&send(MUCH as u32, TEST + 2));
    ring.push(&send(5, TEST + 3));
    ring.enter(Wait::No)?;
    let part = matches!(ring.pop(), Some((word, cqe))
        if word == TEST + 2 && (1..MUCH as i32).contains(&cqe.result));
    let full = matches!(ring.pop(), Some((word, cqe))
        if word == TEST + 3 && cqe.result == -libc::EAGAIN);
    Ok(silent && part && full && five == [7; 5])
}

/// Two pieces through a multishot receive into a small buffer ring come out as they went in.
fn receives(ring: &mut Ring, incremental: bool) -> io::Result<bool> {
    let (mut tx, rx) = UnixStream::pair()?;
    let config = PoolConfig {
        count: 2,
        len: 4096,
    };
    let bell = Arc::new(Bell::to_ring(ring.as_raw_fd()));
    let group = Group::Streams;
    let pool = Pool::new(config, group, incremental, bell, |address, entries| {
        ring.register_buffers(address, entries, group.id(), incremental)
    })?;
    let fd = types::Fd(rx.as_raw_fd());
    let receive = opcode::RecvMulti::new(fd, group.id()).build();
    ring.push(&receive.user_data(TEST));
    let mut good = true;
    let mut last = None;
    for text in [&b"first"[..], b"second"] {
        tx.write_all(text)?;
        let Some(mut cqe) = next(ring, TEST)? else {
            return end_receive(ring, pool, None);
        };
        pool.note(&mut cqe);
        let chunk = pool.take(cqe);
        good &= chunk.as_deref() == Some(text);
        // An incremental buffer goes on after the first piece; a plain one is used up.
        good &= io_uring::cqueue::buffer_more(cqe.flags) == incremental;
        last = Some((cqe, chunk));
    }
    good &= last.is_some_and(|(cqe, _)| cqe.more());
    end_receive(ring, pool, Some(rx)).map(|ended| ended && good)
}

/// Ends the test's receive before its buffers go: only its own last completion proves that.
fn end_receive(ring: &mut Ring, pool: Pool, rx: Option<UnixStream>) -> io::Result<bool> {
    ring.push(
        &opcode::AsyncCancel::new(TEST)
            .build()
            .user_data(note::IGNORED),
    );
    let ended = loop {
        match next(ring, TEST)? {
            Some(cqe) if cqe.more() => {}
            last => break last.is_some(),
        }
    };
    drop(rx);
    pool.retire(!ended);
    Ok(ended)
}
