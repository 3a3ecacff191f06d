//! The real kernel: one io_uring, set up with the best flags that work, entered once a turn.
//!
//! Rules:
//! 1. Every `enter` passes `GETEVENTS`: with `DEFER_TASKRUN` nothing else runs completions, and
//!    a loop that is never idle would starve its sockets.
//! 2. One `enter` runs at most 20 deferred completions. `TASKRUN_FLAG` makes visible that more
//!    wait; then even a turn that submits nothing enters ([`Ring::work_left`]). It does not keep
//!    the loop from sleeping: an `enter` that waits runs deferred completions first, and the flag
//!    may be stale. (The kernel sets it after it has queued the work; where the work is run in
//!    between, the flag stays set until the next completion, and the loop would spin till then.)
//! 3. A deadline that has passed becomes "do not wait", never a zero timeout, which would sleep
//!    through a timer interrupt.
//! 4. An `enter` that fails is forgiven where that is part of life ([`Forgiving`]).
//! 5. A ring belongs to the thread and process that made it: after a `fork` the child's memory
//!    has no queues (`dontfork`) and a word of its own tells it so (`ForkMark`).

use super::kernel::{Forgiving, Wait, now};
use super::probe::Features;
use super::slot::Cqe;
use io_uring::{IoUring, cqueue, squeue};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const ENTER_ABS_TIMER: u32 = 1 << 5;
const ENTER_NO_IOWAIT: u32 = 1 << 7;
const REGISTER_RING_FDS: u32 = 20;
/// `IOU_PBUF_RING_INC`: the kernel fills a buffer piece by piece.
const BUFFERS_INCREMENTAL: u16 = 2;
pub(super) const UNREGISTER_RING_FDS: u8 = 21;

/// The sizes of a ring, and of what the kernel may start on its behalf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingConfig {
    /// Submission entries, a power of two.
    pub(crate) entries: u32,
    /// Completion entries; at least `entries`.
    pub(crate) completions: u32,
    /// Kernel workers for file operations of this core: bounded and unbounded kinds.
    pub(crate) workers: [u32; 2],
    /// Nothing can be submitted before it is enabled, which
    /// [`Restrict::enable`](super::restrict::Restrict::enable) does.
    pub(crate) disabled: bool,
}

/// The kernel's `struct io_uring_getevents_arg`.
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    ts: u64,
}

#[repr(C)]
struct Timespec {
    sec: i64,
    nsec: i64,
}

impl Timespec {
    fn from_nanos(nanos: u64) -> Timespec {
        Timespec {
            sec: (nanos / 1_000_000_000) as i64,
            nsec: (nanos % 1_000_000_000) as i64,
        }
    }
}

/// One io_uring of this thread.
pub(crate) struct Ring {
    ring: IoUring,
    features: Features,
    /// The ring's number in this thread's table of registered rings, which saves a lookup a call.
    registered: Option<u32>,
    mark: ForkMark,
    forgiving: Forgiving,
    enters: u64,
    overflows: u64,
    /// The completion queue was overflown when it was looked at last.
    overflown: bool,
    /// The ring is this thread's alone.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Ring {
    /// A ring of this size, or a smaller one where the limit on locked memory asks for it.
    pub(crate) fn new(config: RingConfig, features: Features) -> io::Result<Ring> {
        let ring = build_shrinking(config, features)?;
        let registered = features
            .registered_ring
            .then(|| register_ring_fd(&ring))
            .flatten();
        let mut workers = config.workers;
        // Unsupported only before 5.15, far below what this crate needs; the default bounds stand
        // where it is refused.
        let _ = ring.submitter().register_iowq_max_workers(&mut workers);
        Ok(Ring {
            ring,
            features,
            registered,
            mark: ForkMark::new()?,
            forgiving: Forgiving::default(),
            enters: 0,
            overflows: 0,
            overflown: false,
            _not_send: std::marker::PhantomData,
        })
    }

    pub(crate) fn as_io_uring(&self) -> &IoUring {
        &self.ring
    }

    /// Registers provided buffers; see [`Kernel`](super::kernel::Kernel::register_buffers).
    pub(crate) fn register_buffers(
        &self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) -> io::Result<()> {
        let flags = if incremental { BUFFERS_INCREMENTAL } else { 0 };
        let submitter = self.ring.submitter();
        // SAFETY: the caller keeps the memory mapped until the kernel is done with it.
        unsafe { submitter.register_buf_ring_with_flags(address, entries, group, flags) }
    }

    /// Whether this process is a forked child of the ring's.
    pub(crate) fn is_forked(&self) -> bool {
        self.mark.is_wiped()
    }

    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    pub(crate) fn overflows(&self) -> u64 {
        self.overflows
    }

    pub(crate) fn push(&mut self, entry: &squeue::Entry) -> bool {
        self.mark.check();
        // SAFETY: whoever made the entry (an `Op`) keeps its memory until the last completion.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    pub(crate) fn queued(&mut self) -> usize {
        self.mark.check();
        self.ring.submission().len()
    }

    pub(crate) fn push_pair(&mut self, first: &squeue::Entry, second: &squeue::Entry) -> bool {
        self.mark.check();
        let pair = [first.clone(), second.clone()];
        // SAFETY: as for `push`; `push_multiple` takes both or none.
        unsafe { self.ring.submission().push_multiple(&pair) }.is_ok()
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Cqe)> {
        self.mark.check();
        let cqe: cqueue::Entry = self.ring.completion().next()?;
        Some((
            cqe.user_data(),
            Cqe {
                result: cqe.result(),
                flags: cqe.flags(),
                buffer_at: 0,
            },
        ))
    }

    pub(crate) fn has_work(&mut self) -> bool {
        self.work_left() || !self.ring.completion().is_empty()
    }

    pub(crate) fn is_settled(&mut self) -> bool {
        self.queued() == 0 && self.ring.completion().is_empty() && !self.overflown()
    }

    fn work_left(&mut self) -> bool {
        self.overflown() || self.ring.submission().taskrun()
    }

    pub(crate) fn overflown(&mut self) -> bool {
        // A forked child has no queues to look into.
        self.mark.check();
        let overflown = !cfg!(break_overflow) && self.ring.submission().cq_overflow();
        // The flag stands until an `enter` has flushed it: it is counted when it rises.
        self.overflows += u64::from(overflown && !self.overflown);
        self.overflown = overflown;
        overflown
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let queued = self.queued() as u32;
        let (want, timeout) = match wait {
            Wait::No => (0, None),
            Wait::Forever => (1, None),
            Wait::Until(at) => match self.timeout(at) {
                Some(timeout) => (1, Some(timeout)),
                None => (0, None),
            },
        };
        if want == 0 && queued == 0 && !self.work_left() {
            return Ok(());
        }
        self.enters += 1;
        match self.enter_call(queued, want, timeout.as_ref()) {
            Ok(()) => {
                self.forgiving.all_is_well();
                Ok(())
            }
            Err(error) => {
                let visible = !self.ring.completion().is_empty();
                if let Some(pause) = self.forgiving.forgive(error, visible)? {
                    super::sys::pause(pause);
                }
                Ok(())
            }
        }
    }

    /// The argument of a wait until `at`: absolute where the kernel knows that, else relative.
    fn timeout(&self, at: u64) -> Option<Timespec> {
        if self.features.abs_timer {
            // The kernel's own clock would find a passed deadline only after a timer interrupt.
            return (at > now()).then(|| Timespec::from_nanos(at));
        }
        at.checked_sub(now())
            .filter(|&left| left > 0)
            .map(Timespec::from_nanos)
    }

    fn enter_call(&self, queued: u32, want: u32, timeout: Option<&Timespec>) -> io::Result<()> {
        let mut flags = ENTER_GETEVENTS;
        let fd = match self.registered {
            Some(index) => {
                flags |= ENTER_REGISTERED_RING;
                index
            }
            None => self.ring.as_raw_fd() as u32,
        };
        if self.features.no_iowait {
            flags |= ENTER_NO_IOWAIT;
        }
        let arg = GetEventsArg {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: 0,
            ts: timeout.map_or(0, |ts| std::ptr::from_ref(ts) as u64),
        };
        let (ptr, len) = match timeout {
            Some(_) => {
                flags |= ENTER_EXT_ARG;
                if self.features.abs_timer {
                    flags |= ENTER_ABS_TIMER;
                }
                (std::ptr::from_ref(&arg), size_of::<GetEventsArg>())
            }
            None => (std::ptr::null(), 0),
        };
        // SAFETY: the ring is open, and `arg` with the timespec that it names outlives the call.
        let n =
            unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, queued, want, flags, ptr, len) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for Ring {
    /// The thread's table holds the ring as a descriptor does: what stays there keeps the ring,
    /// and its locked memory, until the thread ends.
    fn drop(&mut self) {
        if let (Some(index), false) = (self.registered, self.is_forked()) {
            let mut entry = RingEntry {
                offset: index,
                resv: 0,
                data: 0,
            };
            // Refused only to a thread that is not the ring's, and this type stays on its own.
            let _ = entry.register(&self.ring, UNREGISTER_RING_FDS.into());
        }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// How often a ring that does not fit into the limit on locked memory is tried again before it
/// is made smaller: the kernel gives a closed ring's memory back late.
const MEMLOCK_TRIES: u32 = 3;
const MEMLOCK_PAUSE_MILLIS: u64 = 5;
/// The tries for the smallest ring, with pauses that double up to 80 ms: 235 ms in all.
const MEMLOCK_LAST_TRIES: u32 = 6;
const ENTRIES_MIN: u32 = 8;

fn build_shrinking(config: RingConfig, features: Features) -> io::Result<IoUring> {
    let (mut entries, mut completions) = (config.entries, config.completions);
    let (mut tries, mut halvings) = (0, 0);
    loop {
        let error = match build(entries, completions, config.disabled, features) {
            Ok(ring) => return Ok(ring),
            Err(error) => error,
        };
        if error.raw_os_error() != Some(libc::ENOMEM) {
            return Err(error);
        }
        tries += 1;
        if tries < MEMLOCK_TRIES {
            super::sys::pause(std::time::Duration::from_millis(MEMLOCK_PAUSE_MILLIS));
        } else if entries > ENTRIES_MIN {
            (entries, completions) = (entries / 2, (completions / 2).max(entries / 2));
            halvings += 1;
        } else if tries < MEMLOCK_TRIES + MEMLOCK_LAST_TRIES + halvings {
            let doubled = MEMLOCK_PAUSE_MILLIS << (tries - MEMLOCK_TRIES - halvings).min(4);
            super::sys::pause(std::time::Duration::from_millis(doubled));
        } else {
            return Err(error);
        }
    }
}

fn build(
    entries: u32,
    completions: u32,
    disabled: bool,
    features: Features,
) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_clamp()
        .setup_cqsize(completions.max(entries))
        .setup_submit_all();
    builder.setup_coop_taskrun().setup_taskrun_flag();
    builder.setup_single_issuer().setup_defer_taskrun();
    if features.no_sqarray {
        builder.setup_no_sqarray();
    }
    if disabled {
        builder.setup_r_disabled();
    }
    builder.build(entries)
}

/// The kernel's `struct io_uring_rsrc_update`: an entry of this thread's own table of rings.
#[repr(C)]
struct RingEntry {
    offset: u32,
    resv: u32,
    data: u64,
}

impl RingEntry {
    /// How many entries were entered or taken out: 1, or something has failed.
    fn register(&mut self, ring: &IoUring, operation: u32) -> libc::c_long {
        let (number, fd) = (libc::SYS_io_uring_register, ring.as_raw_fd());
        let arg = std::ptr::from_mut(self);
        // SAFETY: the ring is open, and the kernel reads and writes one entry during the call.
        unsafe { libc::syscall(number, fd, operation, arg, 1) }
    }
}

/// Enters the ring in this thread's own table, whose index is cheaper to use than a descriptor.
fn register_ring_fd(ring: &IoUring) -> Option<u32> {
    let mut entry = RingEntry {
        offset: u32::MAX,
        resv: 0,
        data: ring.as_raw_fd() as u64,
    };
    let n = entry.register(ring, REGISTER_RING_FDS);
    (n == 1).then_some(entry.offset)
}

/// A page that a forked child finds empty.
struct ForkMark(std::ptr::NonNull<u32>);

impl ForkMark {
    const LEN: usize = 4096;
    const PARENT: u32 = 1;

    fn new() -> io::Result<ForkMark> {
        let page = super::sys::map_anonymous(Self::LEN)?.cast::<u32>();
        // SAFETY: the page was mapped one line above and is writable.
        unsafe { page.write_volatile(Self::PARENT) };
        // SAFETY: the advice covers exactly the page that was mapped above.
        unsafe { libc::madvise(page.as_ptr().cast(), Self::LEN, libc::MADV_WIPEONFORK) };
        Ok(ForkMark(page))
    }

    #[inline]
    fn is_wiped(&self) -> bool {
        // SAFETY: the page lives as long as the mark; a child reads its own, wiped copy.
        let word = unsafe { self.0.read_volatile() };
        word != Self::PARENT
    }

    #[inline]
    fn check(&self) {
        assert!(
            !self.is_wiped(),
            "a runtime does not survive fork(): this child process must build its own, \
             or call exec"
        );
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly the page that `new` mapped; nobody else knows its address.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::LEN) };
    }
}
