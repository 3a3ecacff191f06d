//! Provided buffers: the memory of one core into which the kernel receives, and [`RecvBuf`].
//!
//! The kernel picks a buffer only when bytes have come, so an idle connection holds none. Where
//! incremental buffers work, one large buffer is filled piece by piece, by any number of sockets.
//!
//! ```text
//!   with the kernel ──a completion names it──► leased to RecvBufs ──last one dropped──► given back
//!        ▲   (count 1 = the kernel's)            (count = pieces, +1 while the kernel      │
//!        │                                        still fills the rest)                    │
//!        └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//! Rules:
//! 1. A buffer is in the kernel's ring at most once; it goes back when its count reaches zero.
//! 2. The ring's tail and the fill marks are touched by the owner's thread only. A [`RecvBuf`]
//!    dropped on another thread leaves the number of its buffer in a list, and rings the bell if
//!    a stream is waiting for buffers.
//! 3. A piece is exactly as long as what was received: nobody sees a former connection's bytes.
//! 4. The memory lives until the last piece is dropped, and past that where the kernel may still
//!    write (the driver leaks one reference then).

use super::bell::Bell;
use super::returned::Returned;
use super::slot::Cqe;
use super::sys;
use crate::buf::{IoBuf, IoBufMut};
use io_uring::cqueue;
use io_uring::types::BufRingEntry;
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering};

/// Which buffers a receive selects from. A completion names a buffer but not its group, so the
/// numbers of the groups' buffers differ in their upper bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Filled piece by piece where that works: bytes have no bounds.
    Streams,
    /// A buffer for each datagram: what is left of a buffer might be too short for the next one,
    /// and the kernel would cut that off.
    Datagrams,
}

/// Set in the numbers of the buffers for datagrams.
const DATAGRAMS_BIT: u16 = 1 << 15;

impl Group {
    pub(crate) const ALL: [Group; 2] = [Group::Streams, Group::Datagrams];

    /// The group's number.
    pub(crate) fn id(self) -> u16 {
        self as u16
    }

    /// Of the buffer that a completion names.
    pub(crate) fn of(cqe: Cqe) -> Option<Group> {
        let bid = cqueue::buffer_select(cqe.flags)?;
        Some(match bid & DATAGRAMS_BIT {
            0 => Group::Streams,
            _ => Group::Datagrams,
        })
    }

    /// A buffer's number for the kernel.
    fn named(self, bid: u16) -> u16 {
        match self {
            Group::Streams => bid,
            Group::Datagrams => bid | DATAGRAMS_BIT,
        }
    }
}

/// The buffer that a completion names, by its number within its group.
fn selected(cqe: Cqe) -> Option<u16> {
    Some(cqueue::buffer_select(cqe.flags)? & !DATAGRAMS_BIT)
}

/// What stands before a datagram in its buffer, at most: its header, its sender's address, and
/// what the kernel has to say of it. A page, so that buffers begin with pages.
pub(crate) const MESSAGE_HEAD_BYTES: u32 = 4096;

/// How many buffers, and how long each, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    /// A power of two, at most 32768.
    pub(crate) count: u16,
    pub(crate) len: u32,
}

/// The owner's side of a core's buffers.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    /// `count` buffers of `len` bytes, in one mapping.
    memory: NonNull<u8>,
    /// The kernel's ring of `count` entries.
    ring: NonNull<BufRingEntry>,
    config: PoolConfig,
    group: Group,
    incremental: bool,
    /// Per buffer: its pieces, and one more while the kernel has it.
    counts: Box<[AtomicU32]>,
    /// The thread that owns the ring, as [`sys::thread_mark`]; 0 once the driver is gone.
    owner: AtomicUsize,
    side: UnsafeCell<OwnerSide>,
    returned: Returned,
}

/// What only the owner's thread touches.
struct OwnerSide {
    tail: u16,
    /// How far the kernel has filled each buffer.
    filled: Box<[u32]>,
    /// Buffers that the kernel has.
    available: Cell<u32>,
}

// SAFETY: the owner's side is touched on the owner's thread only (rule 2), the rest is atomic,
// locked or immutable, and the memory behind the pointers is owned by this value.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Pool {
    /// Maps the memory and has the ring of its entries registered as this group.
    pub(crate) fn new(
        config: PoolConfig,
        group: Group,
        incremental: bool,
        bell: Arc<Bell>,
        register: impl FnOnce(u64, u16) -> io::Result<()>,
    ) -> io::Result<Pool> {
        let count = usize::from(config.count);
        let memory = sys::map_anonymous(count * config.len as usize)?;
        let entries = sys::map_anonymous(ring_len(config))?.cast::<BufRingEntry>();
        let shared = Arc::new(Shared {
            memory,
            ring: entries,
            config,
            group,
            incremental,
            counts: (0..count).map(|_| AtomicU32::new(0)).collect(),
            owner: AtomicUsize::new(sys::thread_mark()),
            side: UnsafeCell::new(OwnerSide {
                tail: 0,
                filled: vec![0; count].into_boxed_slice(),
                available: Cell::new(0),
            }),
            returned: Returned::new(bell),
        });
        // The mapping lives until the ring is closed: the driver keeps the pool, and leaks it
        // where operations outlive the ring.
        register(entries.as_ptr() as u64, config.count)?;
        for bid in 0..config.count {
            shared.give(bid);
        }
        Ok(Pool { shared })
    }

    /// How many buffers the kernel has; takes in what other threads returned.
    pub(crate) fn available(&self) -> u32 {
        self.take_returned();
        self.shared.side().available.get()
    }

    /// The number of buffers in all.
    pub(crate) fn count(&self) -> u32 {
        u32::from(self.shared.config.count)
    }

    /// The length of all of them, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.shared.config.count) * u64::from(self.shared.config.len)
    }

    /// Buffers that come back from other threads shall end the owner's sleep from now on (or
    /// no longer).
    pub(crate) fn set_wanted(&self, wanted: bool) {
        self.shared.returned.set_wanted(wanted);
    }

    /// Whether another thread returned a buffer that was not taken in yet.
    pub(crate) fn any_returned(&self) -> bool {
        self.shared.returned.any()
    }

    fn take_returned(&self) {
        for bid in self.shared.returned.take() {
            self.shared.give(bid);
        }
    }

    /// Takes in a completion, in the order in which the kernel filled the buffers: notes where in
    /// its buffer the received bytes begin, and leases them. [`take`](Pool::take) must follow,
    /// whenever it may.
    pub(crate) fn note(&self, cqe: &mut Cqe) {
        let Some(bid) = selected(*cqe) else {
            return;
        };
        let shared = &self.shared;
        cqe.buffer_at = shared.fill(bid, cqe.result.max(0) as u32);
        if shared.incremental && cqueue::buffer_more(cqe.flags) {
            shared.counts[usize::from(bid)].fetch_add(1, Ordering::Relaxed);
        } else {
            // The kernel's count passes to the piece.
            let available = &shared.side().available;
            available.set(available.get() - 1);
        }
    }

    /// The bytes of a completion that was noted, if it used a buffer. Called once for each.
    pub(crate) fn take(&self, cqe: Cqe) -> Option<RecvBuf> {
        let bid = selected(cqe)?;
        let shared = &self.shared;
        let offset = usize::from(bid) * shared.config.len as usize + cqe.buffer_at as usize;
        // SAFETY: `note` found the received bytes there, inside the mapping.
        let ptr = unsafe { shared.memory.add(offset) };
        Some(RecvBuf {
            ptr,
            len: cqe.result.max(0) as usize,
            home: Home::Ring(shared.clone(), bid),
        })
    }

    /// The driver's ring is closed: what comes back from now on is only memory.
    pub(crate) fn retire(self, kernel_may_write: bool) {
        self.shared.owner.store(0, Ordering::SeqCst);
        if kernel_may_write {
            // Rule 4: an operation that outlived its ring may still fill a buffer.
            let _leaked = Arc::into_raw(self.shared.clone());
        }
    }
}

/// Looks at what programs hold of a pool, also after its end.
#[cfg(feature = "sim")]
pub(crate) struct Held(Arc<Shared>);

#[cfg(feature = "sim")]
impl Pool {
    pub(crate) fn held(&self) -> Held {
        Held(self.shared.clone())
    }
}

#[cfg(feature = "sim")]
impl Held {
    /// How many pieces were received and not given back.
    pub(crate) fn pieces(&self) -> u64 {
        let counts = self.0.counts.iter();
        let all: u64 = counts
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum();
        // SAFETY: a simulation is one thread, the owner's, and no other borrow is alive here.
        let side = unsafe { &*self.0.side.get() };
        all - u64::from(side.available.get())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

fn ring_len(config: PoolConfig) -> usize {
    usize::from(config.count) * size_of::<BufRingEntry>()
}

impl Shared {
    /// The owner's side; the caller is on the owner's thread.
    fn side(&self) -> &OwnerSide {
        debug_assert_eq!(self.owner.load(Ordering::Relaxed), sys::thread_mark());
        // SAFETY: only the owner's thread comes here, and the only mutable borrows (`give`,
        // `fill`) end before they return.
        unsafe { &*self.side.get() }
    }

    /// Notes that the kernel filled `len` more bytes of buffer `bid`; where they begin.
    fn fill(&self, bid: u16, len: u32) -> u32 {
        debug_assert_eq!(self.owner.load(Ordering::Relaxed), sys::thread_mark());
        // SAFETY: on the owner's thread, and no other borrow is alive here.
        let side = unsafe { &mut *self.side.get() };
        let filled = &mut side.filled[usize::from(bid)];
        let at = *filled;
        assert!(
            len <= self.config.len - at,
            "the kernel reported more bytes than the buffer has"
        );
        *filled += len;
        at
    }

    /// Puts buffer `bid` into the kernel's ring. On the owner's thread.
    fn give(&self, bid: u16) {
        debug_assert_eq!(self.owner.load(Ordering::Relaxed), sys::thread_mark());
        self.counts[usize::from(bid)].store(1, Ordering::Relaxed);
        // SAFETY: on the owner's thread, and no other borrow is alive here.
        let side = unsafe { &mut *self.side.get() };
        side.filled[usize::from(bid)] = 0;
        side.available.set(side.available.get() + 1);
        let at = usize::from(side.tail & (self.config.count - 1));
        side.tail = side.tail.wrapping_add(1);
        let tail = side.tail;
        // SAFETY: `at` is below the number of entries that the mapping holds.
        let entry = unsafe { self.ring.add(at) };
        let address = self.memory.as_ptr() as u64 + u64::from(bid) * u64::from(self.config.len);
        // SAFETY: the kernel reads this entry only after the tail below has passed it, and it is
        // done with it before the buffer comes back; field by field, because the tail shares
        // the first entry's memory.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address);
        entry.set_len(self.config.len);
        entry.set_bid(self.group.named(bid));
        // SAFETY: the mapping begins with an initialised (zeroed, then written) entry.
        let tail_ptr = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: the tail is an aligned word of the mapping, shared with the kernel only.
        let shared_tail = unsafe { AtomicU16::from_ptr(tail_ptr.cast_mut()) };
        shared_tail.store(tail, Ordering::Release);
    }

    /// One piece of buffer `bid` is gone.
    fn release(&self, bid: u16) {
        if self.counts[usize::from(bid)].fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // The pieces' last reads on other threads happen before the kernel writes again.
        std::sync::atomic::fence(Ordering::Acquire);
        let owner = self.owner.load(Ordering::Relaxed);
        if owner == sys::thread_mark() {
            self.give(bid);
        } else if owner != 0 {
            self.returned.push(bid);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let len = usize::from(self.config.count) * self.config.len as usize;
        // SAFETY: the mapping was made in `Pool::new`; no piece and no kernel uses it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), len) };
        // SAFETY: as above, for the ring's entries.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), ring_len(self.config)) };
    }
}

/// Received bytes, in the very memory into which the kernel put them.
///
/// It derefs to `[u8]`, can be [split](RecvBuf::split_to) without a copy, sent back as it is
/// (it is an [`IoBuf`]), and with the feature `bytes` turned into `Bytes`. Dropping it, on any
/// thread, gives the memory back. A program that keeps many of them for long keeps the core's
/// receive buffers busy: streams that find none receive into the heap meanwhile.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// while let Some(mut chunk) = stream.recv().await? {
///     let head = chunk.split_to(chunk.len().min(4));
///     println!("{head:?} and {} bytes more", chunk.len());
///     stream.send_all(chunk).await.0?;
/// }
/// # Ok(()) }
/// ```
pub struct RecvBuf {
    ptr: NonNull<u8>,
    len: usize,
    home: Home,
}

#[derive(Clone)]
enum Home {
    /// A piece of this buffer of this pool.
    Ring(Arc<Shared>, u16),
    /// A piece of these bytes on the heap.
    Heap(Arc<Vec<u8>>),
}

// SAFETY: a piece is read-only memory that nobody writes while a piece of its buffer lives; its
// home is shared by atomics.
unsafe impl Send for RecvBuf {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for RecvBuf {}

impl RecvBuf {
    /// Takes the first `at` bytes away, as a piece of its own, without a copy.
    ///
    /// # Panics
    /// If `at` exceeds the length.
    pub fn split_to(&mut self, at: usize) -> RecvBuf {
        assert!(at <= self.len, "split_to({at}) of {} bytes", self.len);
        let head = RecvBuf {
            ptr: self.ptr,
            len: at,
            home: self.home.clone(),
        };
        if let Home::Ring(shared, bid) = &self.home {
            let old = shared.counts[usize::from(*bid)].fetch_add(1, Ordering::Relaxed);
            if old > u32::MAX / 2 {
                // Only forgetting pieces in a loop gets here; going on would free what is in use.
                std::process::abort();
            }
        }
        self.advance(at);
        head
    }

    /// Forgets the first `n` bytes.
    ///
    /// # Panics
    /// If `n` exceeds the length.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len, "advance({n}) of {} bytes", self.len);
        // SAFETY: `n` is within the piece.
        self.ptr = unsafe { self.ptr.add(n) };
        self.len -= n;
    }

    /// Keeps the first `len` bytes only; nothing happens where there are no more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes as `Bytes`, without copying them; one small allocation.
    #[cfg(feature = "bytes")]
    pub fn into_bytes(self) -> bytes::Bytes {
        bytes::Bytes::from_owner(self)
    }

    /// Whether `next` stands right behind this piece in the same memory: then the two can be
    /// joined with [`unsplit`](RecvBuf::unsplit).
    pub fn is_followed_by(&self, next: &RecvBuf) -> bool {
        let same = match (&self.home, &next.home) {
            (Home::Ring(a, i), Home::Ring(b, j)) => Arc::ptr_eq(a, b) && i == j,
            (Home::Heap(a), Home::Heap(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same && self.ptr.as_ptr() as usize + self.len == next.ptr.as_ptr() as usize
    }

    /// Joins a piece that [follows](RecvBuf::is_followed_by) in the same memory, without a copy.
    ///
    /// # Errors
    /// Gives `next` back if it does not follow.
    pub fn unsplit(&mut self, next: RecvBuf) -> Result<(), RecvBuf> {
        if !self.is_followed_by(&next) {
            return Err(next);
        }
        self.len += next.len;
        Ok(())
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        if let Home::Ring(shared, bid) = &self.home {
            shared.release(*bid);
        }
    }
}

impl From<Vec<u8>> for RecvBuf {
    fn from(bytes: Vec<u8>) -> RecvBuf {
        let bytes = Arc::new(bytes);
        let ptr = NonNull::new(bytes.as_ptr().cast_mut()).expect("a vector's pointer is not null");
        RecvBuf {
            ptr,
            len: bytes.len(),
            home: Home::Heap(bytes),
        }
    }
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the piece's bytes were initialised by the kernel (or the vector), nobody
        // writes them while the piece lives, and its home keeps them mapped.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for RecvBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

// SAFETY: the bytes stay where they are, unchanged, until the last piece is dropped.
unsafe impl IoBuf for RecvBuf {
    fn as_init(&self) -> &[u8] {
        self
    }
}

/// Copies as much of `chunk` as fits to the start of `buf` and takes it off the chunk.
pub(crate) fn drain_into<B: IoBufMut>(chunk: &mut RecvBuf, buf: &mut B) -> usize {
    let n = crate::buf::fill(buf, chunk);
    chunk.advance(n);
    n
}
