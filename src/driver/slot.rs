//! The life of one in-flight operation.
//!
//! A slot stands for one entry that the kernel has, or will get. Its rules are the law of this
//! crate; every other module relies on them:
//! 1. A slot is freed only by a completion of its *own* operation without `MORE`. The completion
//!    of a cancel proves nothing: the kernel may still write the buffer long after it. Only a
//!    *silent* operation has none when it succeeds: it must not wait, so it is over when the call
//!    that has taken its entry returns, and what fails of it has been told by then (`silent.rs`).
//! 2. A zero-copy send keeps its buffer until the notification, and never makes the caller wait.
//! 3. Once pushed, an entry's memory is never freed because `enter` failed.
//! 4. Dropping a pending operation queues a cancel and gives the operation to its slot. Cancels
//!    and closes always find room: the driver has its own overflow queue.
//! 5. Effects (wakes, drops of outputs) run after the driver's borrow has ended: destructors may
//!    submit. So every function here *returns* what its caller has to do, and does nothing else.
//! 6. An operation owns its descriptor: a queued entry holds a bare number that must not be
//!    reused before the kernel has seen it.
//! 7. Closing the ring ends nothing. Whatever is still in flight then is leaked and counted.
//!
//! ```text
//!   submit ──► Single{waker} ──last completion──► Done(cqe) ──poll──► freed
//!                  │ orphan                          │ orphan
//!                  ▼                                 ▼
//!              Orphan(op) ──last completion──► freed; the output is made and dropped
//!                  ▲
//!                  │ orphan
//!   submit ──► Stream{waker, ready, ended} ──pop──► item … ended and empty: freed
//! ```

use super::operations::Failure;
use io_uring::{cqueue, squeue};
use slab::Slab;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::task::Waker;

/// What the kernel said of an operation: the result (or a negative errno) and the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cqe {
    pub(crate) result: i32,
    pub(crate) flags: u32,
    /// Where in its provided buffer the received bytes begin; the driver notes it when the
    /// completion comes, because later the order in which buffers were filled is not known.
    pub(crate) buffer_at: u32,
}

impl Cqe {
    /// The operation was never submitted: its runtime has been shut down.
    pub(crate) const GONE: Cqe = Cqe {
        result: i32::MIN,
        flags: 0,
        buffer_at: 0,
    };

    /// A silent operation has done all of its work.
    pub(crate) const SILENT: Cqe = Cqe {
        result: i32::MAX,
        flags: 0,
        buffer_at: 0,
    };

    /// What a plain system call came to: its result, or the negative number of its error.
    pub(crate) fn of_call(result: i32) -> Cqe {
        Cqe {
            result,
            flags: 0,
            buffer_at: 0,
        }
    }

    /// Whether the same operation will complete again.
    pub(crate) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The result as a count, or the error.
    pub(crate) fn count(self) -> std::io::Result<usize> {
        match self.result {
            n if n >= 0 => Ok(n as usize),
            _ => Err(Failure::of(self).to_error()),
        }
    }
}

/// The name of an in-flight operation, as it travels through `user_data`.
///
/// ```text
///   bits  0..32  index of the slot                  (finds the operation without a search)
///   bits 32..64  generation, never 0                (tells a stale or foreign completion apart)
/// ```
/// Words whose upper half is 0 are the driver's own notes ([`super::note`]) and have no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    index: u32,
    generation: NonZeroU32,
}

impl Token {
    pub(crate) fn user_data(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    fn from_user_data(word: u64) -> Option<Token> {
        Some(Token {
            index: word as u32,
            generation: NonZeroU32::new((word >> 32) as u32)?,
        })
    }
}

/// An operation that nobody awaits: its future is gone, or it never had one (what a stream has
/// accepted to send). It is kept until the kernel is done with its memory.
pub(crate) trait Orphan {
    /// One completion, with more to come.
    fn item(&mut self, cqe: Cqe);

    /// The last completion. What is returned is submitted in its turn: so a queue of bytes
    /// empties itself, whether or not the stream that filled it is still there.
    fn last(self: Box<Self>, cqe: Cqe) -> Option<Box<dyn Orphan>>;

    /// The entry, of one that is submitted as an orphan. It may be a silent one if `may_be_silent`:
    /// see [`is_silent`](Orphan::is_silent).
    fn prepare(&mut self, may_be_silent: bool) -> squeue::Entry {
        let _ = may_be_silent;
        unreachable!("this was submitted by its future")
    }

    /// Whether the entry that was prepared is silent: over when the kernel has taken it, told of
    /// only where it has not done all of its work, and [`Cqe::SILENT`] otherwise.
    fn is_silent(&self) -> bool {
        false
    }

    /// Whether it waits for something that may never happen.
    fn may_wait_for_ever(&self) -> bool {
        false
    }
}

/// How much a stream of completions may pile up before the kernel is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// So many completions.
    Items(u32),
    /// So many bytes, as the sum of the results.
    Bytes(u32),
    /// So many bytes, where each completion counts as `least` bytes at the least: so there are
    /// never more than `bytes / least` of them either.
    Messages { bytes: u32, least: u32 },
}

impl Limit {
    fn weight(self, cqe: Cqe) -> u32 {
        match self {
            Limit::Items(_) => 1,
            Limit::Bytes(_) => cqe.result.max(0) as u32,
            Limit::Messages { least, .. } => least.max(cqe.result.max(0) as u32),
        }
    }

    fn max(self) -> u32 {
        match self {
            Limit::Items(max) | Limit::Bytes(max) | Limit::Messages { bytes: max, .. } => max,
        }
    }
}

/// What a slot waits for.
enum Life {
    Single {
        waker: Option<Waker>,
    },
    Done(Cqe),
    Stream(Stream),
    Orphan(Box<dyn Orphan>),
    /// An orphan's completion runs right now, outside of the driver's borrow.
    Acting,
}

struct Stream {
    waker: Option<Waker>,
    ready: Queue,
    /// The sum of what stands in `ready`, in the unit of `limit`.
    weight: u32,
    limit: Limit,
    /// The kernel was asked to stop, because the reader has not kept up.
    stopping: bool,
    /// The completion without `MORE` has come.
    ended: bool,
}

struct Slot {
    generation: NonZeroU32,
    what: What,
    life: Life,
}

/// An idle connection has one: it shall not take more than a line of the processor's cache.
const _: () = assert!(size_of::<Slot>() <= 64);

/// What was asked of the kernel, for people who want to know what a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct What {
    pub(crate) code: u8,
    /// As it stands in the entry: a descriptor of most operations.
    pub(crate) fd: i32,
}

impl What {
    /// Of an operation that nobody awaits.
    const ORPHANED: What = What { code: 0, fd: -1 };

    pub(crate) fn of(entry: &squeue::Entry) -> What {
        /// Where `struct io_uring_sqe` has its `fd`: behind an opcode, flags and a priority.
        const FD_AT: usize = 4;
        let entry_at: *const u8 = std::ptr::from_ref(entry).cast();
        // SAFETY: an entry is the kernel's struct of 64 bytes, so these four are in it.
        let fd_at = unsafe { entry_at.add(FD_AT) };
        // SAFETY: as above; they are initialised, and any bits are a number.
        let fd = unsafe { fd_at.cast::<i32>().read_unaligned() };
        What {
            code: entry.get_opcode() as u8,
            fd,
        }
    }
}

/// What the driver has to do after a completion has been taken in.
pub(crate) enum Effect {
    None,
    Wake(Waker),
    /// Ask the kernel to end this multishot operation, then wake the reader if there is one.
    Stop(Token, Option<Waker>),
    /// Run the orphan's completion, then [`Slots::put_back`] what must go on living.
    Act(Token, Box<dyn Orphan>),
    /// No operation has this name (any more): count it.
    Stale,
}

/// What a reader of a multishot operation finds.
pub(crate) enum Next {
    Item(Cqe),
    Pending,
    /// The operation has ended and everything was read: the slot is freed.
    Ended,
}

/// What becomes of an operation that is dropped.
pub(crate) enum Dropped {
    /// The kernel still has it: the slot owns it now.
    InFlight,
    /// It was complete: here it is again, with the completions that nobody has read.
    Complete(Box<dyn Orphan>, VecDeque<Cqe>),
}

/// All operations of one driver.
pub(crate) struct Slots {
    slots: Slab<Slot>,
    unread: Unread,
    /// Of the newest operation.
    generation: NonZeroU32,
    /// A waker that was replaced: the caller takes it out and drops it after the borrow (rule 5),
    /// because its destructor may be the program's own, and submit.
    replaced: Option<Waker>,
    /// Operations that the kernel still owes a last completion.
    in_flight: usize,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots {
            slots: Slab::new(),
            unread: Unread::default(),
            generation: NonZeroU32::MIN,
            replaced: None,
            in_flight: 0,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn insert_single(&mut self, waker: Waker, what: What) -> Token {
        self.insert(Life::Single { waker: Some(waker) }, what)
    }

    pub(crate) fn insert_stream(&mut self, waker: Waker, limit: Limit, what: What) -> Token {
        let stream = Stream {
            waker: Some(waker),
            ready: Queue::EMPTY,
            weight: 0,
            limit,
            stopping: false,
            ended: false,
        };
        self.insert(Life::Stream(stream), what)
    }

    pub(crate) fn insert_orphan(&mut self, orphan: Box<dyn Orphan>) -> Token {
        self.insert(Life::Orphan(orphan), What::ORPHANED)
    }

    fn insert(&mut self, life: Life, what: What) -> Token {
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.in_flight += 1;
        let generation = self.generation;
        let index = self.slots.insert(Slot {
            generation,
            what,
            life,
        });
        let index = u32::try_from(index).expect("fewer than 2^32 operations in flight");
        Token { index, generation }
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        find(&mut self.slots, token)
    }

    /// Whether the operation of this name is still in its slot.
    pub(crate) fn has(&mut self, token: Token) -> bool {
        self.slot(token).is_some()
    }

    fn free(&mut self, token: Token) -> Life {
        self.slots.remove(token.index as usize).life
    }

    /// Takes in one completion.
    pub(crate) fn complete(&mut self, user_data: u64, cqe: Cqe) -> Effect {
        let Some(token) = Token::from_user_data(user_data) else {
            return Effect::Stale;
        };
        let Some(slot) = find(&mut self.slots, token) else {
            return Effect::Stale;
        };
        let effect = match &mut slot.life {
            Life::Single { waker } => {
                debug_assert!(!cqe.more(), "a single-shot operation completes once");
                let waker = waker.take();
                slot.life = Life::Done(cqe);
                waker.map_or(Effect::None, Effect::Wake)
            }
            Life::Stream(stream) if stream.ended => return Effect::Stale,
            Life::Stream(stream) => stream.take_in(token, cqe, &mut self.unread),
            Life::Orphan(_) => match std::mem::replace(&mut slot.life, Life::Acting) {
                Life::Orphan(orphan) => Effect::Act(token, orphan),
                _ => unreachable!("matched as an orphan one line above"),
            },
            Life::Done(_) | Life::Acting => return Effect::Stale,
        };
        if !cqe.more() {
            self.in_flight -= 1;
            if let Effect::Act(..) = effect {
                self.free(token);
            }
        }
        effect
    }

    /// An orphan has seen a completion that was not its last: it goes on waiting.
    pub(crate) fn put_back(&mut self, token: Token, orphan: Box<dyn Orphan>) {
        let slot = self.slot(token).expect("an acting orphan keeps its slot");
        slot.life = Life::Orphan(orphan);
    }

    /// The result of a single-shot operation, if it is there; the slot is freed then.
    pub(crate) fn poll_single(&mut self, token: Token, waker: &Waker) -> Option<Cqe> {
        let slot = self
            .slot(token)
            .expect("a future's slot lives until it is polled or dropped");
        match &mut slot.life {
            Life::Single { waker: stored } => {
                self.replaced = store(stored, waker);
                None
            }
            Life::Done(cqe) => {
                let cqe = *cqe;
                self.free(token);
                Some(cqe)
            }
            _ => unreachable!("a single-shot operation waits or is done"),
        }
    }

    /// The next completion of a multishot operation.
    pub(crate) fn poll_stream(&mut self, token: Token, waker: &Waker) -> Next {
        let stream = stream_of(&mut self.slots, token);
        match self.unread.pop(&mut stream.ready) {
            Some(cqe) => {
                stream.weight -= stream.limit.weight(cqe);
                Next::Item(cqe)
            }
            None if stream.ended => {
                self.free(token);
                Next::Ended
            }
            None => {
                self.replaced = store(&mut stream.waker, waker);
                Next::Pending
            }
        }
    }

    /// Whether the last completion of this multishot operation has come.
    pub(crate) fn stream_ended(&mut self, token: Token) -> bool {
        stream_of(&mut self.slots, token).ended
    }

    /// Whether completions of this multishot operation wait to be read.
    pub(crate) fn stream_has_ready(&mut self, token: Token) -> bool {
        !stream_of(&mut self.slots, token).ready.is_empty()
    }

    /// The future of this operation is gone: the slot takes what the kernel may still use.
    pub(crate) fn orphan(&mut self, token: Token, orphan: Box<dyn Orphan>) -> Dropped {
        let slot = find(&mut self.slots, token)
            .expect("a future's slot lives until it is polled or dropped");
        match &mut slot.life {
            Life::Single { waker } => {
                let replaced = waker.take();
                slot.life = Life::Orphan(orphan);
                self.replaced = replaced;
                Dropped::InFlight
            }
            Life::Done(cqe) => {
                let unread = VecDeque::from([*cqe]);
                self.free(token);
                Dropped::Complete(orphan, unread)
            }
            Life::Stream(stream) => {
                let unread = self.unread.take(&mut stream.ready);
                let replaced = stream.waker.take();
                if stream.ended {
                    self.replaced = replaced;
                    self.free(token);
                    return Dropped::Complete(orphan, unread);
                }
                // Those that came already are delivered first; the last is not among them.
                slot.life = Life::Orphan(match unread.is_empty() {
                    true => orphan,
                    false => Box::new(WithUnread {
                        unread,
                        orphan: Some(orphan),
                    }),
                });
                self.replaced = replaced;
                Dropped::InFlight
            }
            Life::Orphan(_) | Life::Acting => unreachable!("an operation is dropped once"),
        }
    }

    /// The waker that the last call has replaced, for the caller to drop after the borrow.
    pub(crate) fn take_replaced(&mut self) -> Option<Waker> {
        self.replaced.take()
    }

    /// Whether the kernel has sent this operation's last completion.
    pub(crate) fn is_complete(&mut self, token: Token) -> bool {
        match self.slot(token).map(|slot| &slot.life) {
            Some(Life::Done(_)) => true,
            Some(Life::Stream(stream)) => stream.ended,
            _ => false,
        }
    }

    /// Operations in flight whose future is gone, and which will end by themselves.
    pub(crate) fn orphans(&self) -> usize {
        let is_orphan = |slot: &Slot| match &slot.life {
            Life::Orphan(orphan) => !orphan.may_wait_for_ever(),
            Life::Acting => true,
            _ => false,
        };
        self.slots
            .iter()
            .filter(|(_, slot)| is_orphan(slot))
            .count()
    }

    /// Who waits for an operation in flight, and for what.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (&Waker, What)> {
        self.slots.iter().filter_map(|(_, slot)| {
            let waker = match &slot.life {
                Life::Single { waker } => waker.as_ref(),
                Life::Stream(stream) => stream.waker.as_ref(),
                Life::Done(_) | Life::Orphan(_) | Life::Acting => None,
            };
            waker.map(|waker| (waker, slot.what))
        })
    }

    /// Takes out every orphan, for a driver that ends with operations in flight: the caller
    /// must leak them (rule 7).
    pub(crate) fn take_orphans(&mut self) -> Vec<Box<dyn Orphan>> {
        let mut orphans = Vec::new();
        for (_, slot) in &mut self.slots {
            if let Life::Orphan(_) = slot.life {
                if let Life::Orphan(orphan) = std::mem::replace(&mut slot.life, Life::Acting) {
                    orphans.push(orphan);
                }
            }
        }
        orphans
    }
}

fn find(slots: &mut Slab<Slot>, token: Token) -> Option<&mut Slot> {
    let slot = slots.get_mut(token.index as usize)?;
    (cfg!(break_generation) || slot.generation == token.generation).then_some(slot)
}

fn stream_of(slots: &mut Slab<Slot>, token: Token) -> &mut Stream {
    let slot = find(slots, token).expect("a stream's slot lives until it ended or was dropped");
    match &mut slot.life {
        Life::Stream(stream) => stream,
        _ => unreachable!("a multishot operation streams until it is dropped"),
    }
}

impl Stream {
    fn take_in(&mut self, token: Token, cqe: Cqe, unread: &mut Unread) -> Effect {
        self.weight += self.limit.weight(cqe);
        unread.push(&mut self.ready, cqe);
        self.ended = !cqe.more();
        let waker = self.waker.take();
        if self.weight >= self.limit.max() && !self.stopping && !self.ended {
            self.stopping = true;
            return Effect::Stop(token, waker);
        }
        waker.map_or(Effect::None, Effect::Wake)
    }
}

/// The completions that wait to be read, of all multishot operations: a stream that waits for the
/// next one holds no memory for it.
#[derive(Default)]
struct Unread {
    entries: Slab<Entry>,
}

struct Entry {
    cqe: Cqe,
    /// The next one of the same operation.
    next: u32,
}

/// The unread completions of one operation, in order: the first and the last of them.
struct Queue {
    first: u32,
    last: u32,
}

/// No entry.
const NONE: u32 = u32::MAX;
/// Entries for which memory is kept when all were read.
const ENTRIES_KEPT: usize = 4096;

impl Queue {
    const EMPTY: Queue = Queue {
        first: NONE,
        last: NONE,
    };

    fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

impl Unread {
    fn push(&mut self, queue: &mut Queue, cqe: Cqe) {
        let at = self.entries.insert(Entry { cqe, next: NONE });
        let at = u32::try_from(at).expect("fewer than 2^32 completions wait");
        match queue.is_empty() {
            true => queue.first = at,
            false => self.entries[queue.last as usize].next = at,
        }
        queue.last = at;
    }

    fn pop(&mut self, queue: &mut Queue) -> Option<Cqe> {
        if queue.is_empty() {
            return None;
        }
        let Entry { cqe, next } = self.entries.remove(queue.first as usize);
        queue.first = next;
        if self.entries.is_empty() && self.entries.capacity() > ENTRIES_KEPT {
            // What a crowd has left behind does not stay for good.
            self.entries = Slab::new();
        }
        Some(cqe)
    }

    /// All of them.
    fn take(&mut self, queue: &mut Queue) -> VecDeque<Cqe> {
        std::iter::from_fn(|| self.pop(queue)).collect()
    }
}

/// An orphaned multishot operation with completions that had come before the drop. They are
/// delivered before the next one, so that the order of completions is kept.
struct WithUnread {
    unread: VecDeque<Cqe>,
    orphan: Option<Box<dyn Orphan>>,
}

impl WithUnread {
    fn deliver_unread(&mut self) -> &mut Box<dyn Orphan> {
        let orphan = self
            .orphan
            .as_mut()
            .expect("taken only by the last completion");
        for cqe in self.unread.drain(..) {
            orphan.item(cqe);
        }
        orphan
    }
}

impl Orphan for WithUnread {
    fn item(&mut self, cqe: Cqe) {
        self.deliver_unread().item(cqe);
    }

    fn last(mut self: Box<Self>, cqe: Cqe) -> Option<Box<dyn Orphan>> {
        self.deliver_unread();
        self.orphan.take().and_then(|orphan| orphan.last(cqe))
    }
}

/// Stores `waker`; returns the one that stood there before, if it was another.
fn store(stored: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match stored {
        Some(old) if old.will_wake(waker) => None,
        _ => stored.replace(waker.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cqe(result: i32) -> Cqe {
        Cqe {
            result,
            ..Cqe::GONE
        }
    }

    /// The kernel may name an operation that has ended, whose slot another one has by now.
    #[test]
    fn a_stale_completion_finds_nobody() {
        let mut slots = Slots::new();
        let waker = Waker::noop();
        let first = slots.insert_single(waker.clone(), What::ORPHANED);
        assert!(matches!(
            slots.complete(first.user_data(), cqe(1)),
            Effect::Wake(_)
        ));
        assert_eq!(slots.poll_single(first, waker), Some(cqe(1)));
        let second = slots.insert_single(waker.clone(), What::ORPHANED);
        assert_eq!(first.index, second.index, "the slot is used again");
        for stale in [first.user_data(), 7 << 32, u64::MAX] {
            assert!(matches!(slots.complete(stale, cqe(9)), Effect::Stale));
            assert_eq!(slots.poll_single(second, waker), None);
        }
        assert_eq!(slots.in_flight(), 1);
        assert!(matches!(
            slots.complete(second.user_data(), cqe(2)),
            Effect::Wake(_)
        ));
        assert_eq!(slots.poll_single(second, waker), Some(cqe(2)));
        assert_eq!(slots.in_flight(), 0);
    }

    /// The completions of all operations stand in one place, and each finds its own, in order.
    #[test]
    fn unread_completions_keep_their_order() {
        let more = |result| Cqe {
            flags: 2,
            ..cqe(result)
        };
        assert!(more(0).more());
        let mut slots = Slots::new();
        let waker = Waker::noop();
        let limit = Limit::Items(u32::MAX);
        let streams = [0; 3].map(|_| slots.insert_stream(waker.clone(), limit, What::ORPHANED));
        const EACH: i32 = 2 * ENTRIES_KEPT as i32;
        for i in 0..EACH {
            for token in streams {
                slots.complete(token.user_data(), more(i));
            }
        }
        for i in 0..EACH {
            for token in &streams[..2] {
                assert!(slots.stream_has_ready(*token));
                let next = slots.poll_stream(*token, waker);
                assert!(matches!(next, Next::Item(cqe) if cqe.result == i));
            }
        }
        assert!(!slots.stream_has_ready(streams[0]));
        assert!(matches!(
            slots.poll_stream(streams[0], waker),
            Next::Pending
        ));
        // One that is dropped takes its own along.
        slots.complete(streams[2].user_data(), cqe(EACH));
        let Dropped::Complete(_, unread) = slots.orphan(streams[2], Box::new(Nothing)) else {
            panic!("its last completion has come");
        };
        let results: Vec<i32> = unread.iter().map(|cqe| cqe.result).collect();
        assert_eq!(results, (0..=EACH).collect::<Vec<_>>());
        assert_eq!(slots.unread.entries.capacity(), 0, "a crowd leaves nothing");
    }

    struct Nothing;

    impl Orphan for Nothing {
        fn item(&mut self, _cqe: Cqe) {}

        fn last(self: Box<Self>, _cqe: Cqe) -> Option<Box<dyn Orphan>> {
            None
        }
    }
}
