//! The kernel and what it borrows: one driver a core.
//!
//! The driver takes entries from operations ([`submit`]), hands them to a kernel ([`kernel`], the
//! seam), and brings completions back to the slots ([`slot`], where the rules stand). It owns the
//! core's receive buffers ([`buf_ring`]) and its bell ([`bell`]).
//!
//! ```text
//!   futures ──► submit ──► slot + entry ──► backlog ──► kernel: submission queue
//!                                                              │ enter, once a turn
//!   wakers ◄── effects, outside of any borrow ◄── slot ◄── kernel: completion queue
//! ```
//! One borrow at a time: a completion is taken in under the borrow, and what follows from it
//! (waking, dropping an output) happens after the borrow has ended, because it may submit.

pub(crate) mod bell;
pub(crate) mod buf_ring;
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that starts processes"
)]
pub(crate) mod children;
pub(crate) mod current;
mod end;
mod entry;
pub(crate) mod fd;
mod inline;
pub(crate) mod kernel;
pub(crate) mod limits;
pub(crate) mod lookup;
pub(crate) mod machine;
pub(crate) mod operations;
pub(crate) mod probe;
mod receive;
pub(crate) mod refusal;
pub(crate) mod restrict;
pub(crate) mod returned;
mod ring;
mod silent;
#[cfg(feature = "sim")]
pub(crate) mod sim;
pub(crate) mod slot;
#[cfg(feature = "http")]
pub(crate) mod stand_in;
pub(crate) mod starved;
pub(crate) mod submit;
#[allow(
    clippy::disallowed_methods,
    reason = "it finds out what a machine allows, past the ring"
)]
pub(crate) mod survey;
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that talks to the system"
)]
pub(crate) mod sys;
mod turn;

pub(crate) use self::end::StopPlace;

use self::bell::Bell;
use self::buf_ring::{Group, Pool, PoolConfig};
use self::current::EnterGuard;
use self::end::Stop;
use self::fd::Number;
use self::inline::Inline;
use self::kernel::{Kernel, Wait};
use self::limits::Account;
use self::operations::{Barred, Failure};
use self::probe::Features;
use self::restrict::Restrict;
use self::ring::{Ring, RingConfig};
use self::silent::Silent;
use self::slot::{Cqe, Dropped, Next, Orphan, Slots, Token, What};
use self::starved::Starved;
use self::submit::{Multi, Single};
use io_uring::{opcode, squeue, types};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Words of `user_data` that belong to the driver itself: their upper half is 0, which no
/// [`Token`] has.
pub(crate) mod note {
    /// Nobody waits: the acknowledgement of a cancel, a linked timeout.
    pub(crate) const IGNORED: u64 = 0;
    /// Another thread has rung.
    pub(crate) const BELL: u64 = 1;
    /// A close that nobody awaits has failed.
    pub(crate) const CLOSE: u64 = 2;
    /// Everything at or below this is a note.
    pub(crate) const LAST: u64 = u32::MAX as u64;
}

/// What a driver is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Submission entries; a power of two.
    pub(crate) entries: u32,
    /// Completion entries.
    pub(crate) completions: u32,
    /// Kernel workers for the file operations of this core (bounded, unbounded).
    pub(crate) workers: [u32; 2],
    /// Receive buffers where they are filled piece by piece, and where each holds one receive.
    pub(crate) incremental: PoolConfig,
    pub(crate) plain: PoolConfig,
    /// Receive buffers for datagrams.
    pub(crate) datagrams: PoolConfig,
    /// Bytes of receives into the heap, and of sends without a copy, that may be in flight.
    pub(crate) heap_receive_bytes_max: u64,
    pub(crate) zero_copy_bytes_max: u64,
    /// How long a core looks for something to do before it sleeps.
    pub(crate) spin_nanos: u64,
    /// Whether quick file operations are plain system calls.
    pub(crate) inline_files: bool,
    /// The only operations that the ring shall take.
    pub(crate) restrict: Option<Restrict>,
}

/// The kernel side of one core. Clones share it; it never leaves its thread.
#[derive(Clone)]
pub(crate) struct Driver(Rc<Inner>);

struct Inner {
    state: RefCell<State>,
    /// One for each [`Group`].
    pools: [RefCell<PoolState>; Group::ALL.len()],
    starved: RefCell<Starved>,
    bell: Arc<Bell>,
    features: Features,
    barred: Barred,
    heap_receives: Rc<Account>,
    zero_copy: Rc<Account>,
    config: Config,
    inline: Inline,
    stop: Stop,
    /// Who looks names up, if not the machine's resolver.
    #[cfg(feature = "dns-hickory")]
    lookup: RefCell<Option<Rc<lookup::Lookup>>>,
    counters: Counters,
    /// Completions are being delivered.
    reaping: Cell<bool>,
    /// How many operations had completed when a spin last ended because something had come.
    spun_at: Cell<u64>,
}

struct State {
    /// `None` once the driver is closed.
    kernel: Option<Kernel>,
    slots: Slots,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<Queued>,
    /// Operations that are submitted at the end of the turn.
    late: Vec<Box<dyn Orphan>>,
    /// No new operations are taken; closes are.
    closing: bool,
    /// The eventfd that the ring polls, where the bell needs one.
    bell_poll: Option<i32>,
    silent: Silent,
}

enum Queued {
    One(squeue::Entry),
    /// Linked: both go into the same `enter`.
    Pair(squeue::Entry, squeue::Entry),
}

/// What a driver is put together from.
struct Parts {
    kernel: Kernel,
    bell: Arc<Bell>,
    bell_poll: Option<i32>,
    pools: [PoolState; 2],
    barred: Barred,
}

enum PoolState {
    NotYet,
    Here(Pool),
    /// Buffer rings do not work here: receives go to the heap.
    Refused,
}

/// What the driver counted since it was made.
#[derive(Default)]
struct Counters {
    submitted: Cell<u64>,
    completed: Cell<u64>,
    stale: Cell<u64>,
    starved: Cell<u64>,
    heap_receives: Cell<u64>,
    close_failed: Cell<u64>,
    destructor_panics: Cell<u64>,
    accept_backoffs: Cell<u64>,
    stops: Cell<u64>,
}

/// A copy of the driver's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverStats {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) enters: u64,
    pub(crate) overflows: u64,
    pub(crate) stale: u64,
    pub(crate) in_flight: u64,
    pub(crate) backlog: u64,
    pub(crate) starved: u64,
    pub(crate) heap_receives: u64,
    pub(crate) buffers_available: u64,
    pub(crate) buffers: u64,
    pub(crate) close_failed: u64,
    pub(crate) destructor_panics: u64,
    pub(crate) accept_backoffs: u64,
    pub(crate) stops: u64,
    pub(crate) buffer_bytes: u64,
    pub(crate) heap_receive_bytes: u64,
    pub(crate) heap_receives_put_off: u64,
    pub(crate) zero_copy_bytes: u64,
    pub(crate) zero_copy_copied: u64,
    pub(crate) kernel_workers: [u32; 2],
    pub(crate) inline_files: u64,
}

fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// The error of everything that is asked of a runtime that has ended.
pub(crate) fn gone() -> io::Error {
    io::Error::other("the corering runtime of this resource has been shut down")
}

thread_local! {
    static CURRENT: RefCell<Option<Driver>> = const { RefCell::new(None) };
}

impl Driver {
    /// A driver on a ring of its own, for this thread.
    pub(crate) fn new(config: Config) -> io::Result<Driver> {
        #[cfg(feature = "sim")]
        if sim::is_here() {
            let what = "inside of a simulation a host's runtime is the simulation's: a second one \
                        would talk to the real machine";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let features = probe::features()?;
        let barred = Barred::new(features.missing, features.masked, config.restrict);
        let sizes = RingConfig {
            entries: config.entries,
            completions: config.completions,
            workers: config.workers,
            disabled: config.restrict.is_some(),
        };
        let ring = Ring::new(sizes, features)?;
        let (bell, bell_poll) = if features.send_msg_ring {
            (Bell::to_ring(ring.as_raw_fd()), None)
        } else {
            let (bell, fd) = Bell::to_eventfd()?;
            if let Some(answer) = barred.answer(opcode::PollAdd::CODE.into()) {
                return Err(Failure::of(answer).to_error());
            }
            (bell, Some(fd))
        };
        let kernel = Kernel::Ring(ring);
        let bell = Arc::new(bell);
        let mut pools = Group::ALL.map(|_| PoolState::NotYet);
        if let (Some(restrict), Kernel::Ring(ring)) = (config.restrict, &kernel) {
            // All that is registered comes before the list, which allows no registration.
            pools = Group::ALL.map(|group| match restrict.receives() {
                true => receive::make_pool(&kernel, group, features, config, &bell),
                false => PoolState::Refused,
            });
            restrict.enable(ring.as_io_uring(), features.missing)?;
        }
        let parts = Parts {
            kernel,
            bell,
            bell_poll,
            pools,
            barred,
        };
        let driver = Driver::on(parts, features, config);
        driver.poll_bell();
        Ok(driver)
    }

    /// A driver on a simulated kernel, for the host of the simulation where this thread is.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(config: Config, features: Features) -> Driver {
        let kernel = sim::open_kernel(config.entries, config.completions);
        let parts = Parts {
            bell: Arc::new(Bell::to_flag(kernel.bell())),
            kernel: Kernel::Sim(kernel),
            bell_poll: None,
            pools: Group::ALL.map(|_| PoolState::NotYet),
            barred: Barred::new(features.missing, features.masked, config.restrict),
        };
        Driver::on(parts, features, config)
    }

    fn on(parts: Parts, features: Features, config: Config) -> Driver {
        let Parts {
            kernel,
            bell,
            bell_poll,
            pools,
            barred,
        } = parts;
        let state = State {
            kernel: Some(kernel),
            slots: Slots::new(),
            backlog: VecDeque::new(),
            late: Vec::new(),
            closing: false,
            bell_poll,
            silent: Silent::new(features.silent_send),
        };
        Driver(Rc::new(Inner {
            state: RefCell::new(state),
            pools: pools.map(RefCell::new),
            starved: RefCell::default(),
            bell,
            features,
            barred,
            heap_receives: Account::new(config.heap_receive_bytes_max),
            zero_copy: Account::new(config.zero_copy_bytes_max),
            config,
            inline: Inline::default(),
            stop: Stop::default(),
            #[cfg(feature = "dns-hickory")]
            lookup: RefCell::default(),
            counters: Counters::default(),
            reaping: Cell::new(false),
            spun_at: Cell::new(u64::MAX),
        }))
    }

    /// The driver of the runtime that runs on this thread.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub(crate) fn current() -> Driver {
        Driver::try_current().expect(
            "there is no corering runtime on this thread: call this inside \
             `Runtime::block_on`, `corering::block_on` or a function marked `#[corering::main]`",
        )
    }

    pub(crate) fn try_current() -> Option<Driver> {
        // A thread that ends may have no thread-locals any more.
        let current = CURRENT.try_with(|current| current.borrow().clone());
        current.ok().flatten()
    }

    /// Makes this the thread's current driver.
    pub(crate) fn enter(&self) -> EnterGuard<Driver> {
        EnterGuard::new(&CURRENT, self.clone())
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.0.bell
    }

    pub(crate) fn features(&self) -> Features {
        self.0.features
    }

    /// Whether operations are refused, because the runtime has ended.
    pub(crate) fn is_closed(&self) -> bool {
        let state = self.0.state.borrow();
        state.closing || state.kernel.is_none()
    }

    /// Whether a plain system call may send what the ring would send now: the runtime has not
    /// ended, this is not a child of its process, and no restriction holds.
    pub(crate) fn may_send_past_the_ring(&self) -> bool {
        let state = self.0.state.borrow();
        let is_ours = |kernel: &Kernel| !kernel.is_forked();
        !state.closing
            && state.kernel.as_ref().is_some_and(is_ours)
            && self.0.config.restrict.is_none()
    }

    /// As [`may_send_past_the_ring`](Driver::may_send_past_the_ring), of calls that only the real
    /// kernel knows.
    pub(crate) fn may_call_past_the_ring(&self) -> bool {
        let is_real = matches!(self.0.state.borrow().kernel, Some(Kernel::Ring(_)));
        is_real && self.may_send_past_the_ring()
    }

    /// How often the kernel was entered: once a turn of the loop, at the least.
    pub(crate) fn turn_number(&self) -> u64 {
        let state = self.0.state.borrow();
        state.kernel.as_ref().map_or(0, |kernel| kernel.counts().1)
    }

    /// How many operations the kernel still owes a last completion.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.state.borrow().slots.in_flight()
    }

    pub(crate) fn note_accept_backoff(&self) {
        bump(&self.0.counters.accept_backoffs);
    }

    pub(crate) fn note_heap_receive(&self) {
        bump(&self.0.counters.heap_receives);
    }

    /// The memory of receives into the heap.
    pub(crate) fn heap_receives(&self) -> &Rc<Account> {
        &self.0.heap_receives
    }

    /// The memory of sends without a copy.
    pub(crate) fn zero_copy(&self) -> &Rc<Account> {
        &self.0.zero_copy
    }

    pub(crate) fn stats(&self) -> DriverStats {
        let (state, counters) = (self.0.state.borrow(), &self.0.counters);
        let (overflows, enters) = state.kernel.as_ref().map_or((0, 0), Kernel::counts);
        let (mut buffers, mut available, mut buffer_bytes) = (0, 0, 0);
        for pool in &self.0.pools {
            if let PoolState::Here(pool) = &*pool.borrow() {
                buffers += pool.count();
                available += pool.available();
                buffer_bytes += pool.bytes();
            }
        }
        DriverStats {
            submitted: counters.submitted.get(),
            completed: counters.completed.get(),
            enters,
            overflows,
            stale: counters.stale.get(),
            in_flight: state.slots.in_flight() as u64,
            backlog: state.backlog.len() as u64,
            starved: counters.starved.get(),
            heap_receives: counters.heap_receives.get(),
            buffers_available: available.into(),
            buffers: buffers.into(),
            close_failed: counters.close_failed.get(),
            destructor_panics: counters.destructor_panics.get(),
            accept_backoffs: counters.accept_backoffs.get(),
            stops: counters.stops.get(),
            buffer_bytes,
            heap_receive_bytes: self.0.heap_receives.bytes(),
            heap_receives_put_off: self.0.heap_receives.refusals(),
            zero_copy_bytes: self.0.zero_copy.bytes(),
            zero_copy_copied: self.0.zero_copy.refusals(),
            kernel_workers: self.0.config.workers,
            inline_files: self.0.inline.calls(),
        }
    }
}

/// Operations.
impl Driver {
    /// Submits an operation; its entry is made outside of the borrow, because a buffer's own code
    /// takes part in that. What is not submitted is answered at once.
    pub(crate) fn submit_single<O: Single>(&self, op: &mut O, waker: &Waker) -> Result<Token, Cqe> {
        drop(self.open_state()?);
        let (entry, link, waker) = (op.prepare(), op.link(), waker.clone());
        self.admit(&entry, link.as_ref())?;
        if self.0.config.inline_files && self.may_call_past_the_ring() {
            if let Some(result) = self.0.inline.perform(&entry, self.turn_number()) {
                return Err(Cqe::of_call(result));
            }
        }
        let mut state = self.open_state()?;
        let token = state.slots.insert_single(waker, What::of(&entry));
        self.queue_op(&mut state, token, entry, link);
        Ok(token)
    }

    /// As [`submit_single`](Driver::submit_single), for one that completes any number of times.
    pub(crate) fn submit_multi<O: Multi>(&self, op: &mut O, waker: &Waker) -> Result<Token, Cqe> {
        drop(self.open_state()?);
        let (entry, link, waker) = (op.prepare(), op.link(), waker.clone());
        self.admit(&entry, link.as_ref())?;
        let mut state = self.open_state()?;
        let token = state
            .slots
            .insert_stream(waker, op.limit(), What::of(&entry));
        self.queue_op(&mut state, token, entry, link);
        Ok(token)
    }

    fn open_state(&self) -> Result<std::cell::RefMut<'_, State>, Cqe> {
        let state = self.0.state.borrow_mut();
        if state.kernel.is_none() || state.closing {
            Err(Cqe::GONE)
        } else {
            Ok(state)
        }
    }

    /// The answer to an operation that this kernel does not have, or that is not allowed.
    #[inline]
    fn admit(&self, entry: &squeue::Entry, link: Option<&squeue::Entry>) -> Result<(), Cqe> {
        let barred = |entry: &squeue::Entry| self.0.barred.answer(entry.get_opcode());
        match barred(entry).or_else(|| link.and_then(barred)) {
            None => Ok(()),
            Some(answer) => Err(answer),
        }
    }

    fn queue_op(
        &self,
        state: &mut State,
        token: Token,
        entry: squeue::Entry,
        link: Option<squeue::Entry>,
    ) {
        bump(&self.0.counters.submitted);
        let entry = entry.user_data(token.user_data());
        state.queue(match link {
            None => Queued::One(entry),
            Some(link) => Queued::Pair(entry, link.user_data(note::IGNORED)),
        });
    }

    pub(crate) fn poll_single(&self, token: Token, waker: &Waker) -> Poll<Cqe> {
        let (cqe, replaced) = {
            let slots = &mut self.0.state.borrow_mut().slots;
            (slots.poll_single(token, waker), slots.take_replaced())
        };
        drop(replaced);
        match cqe {
            Some(cqe) => Poll::Ready(cqe),
            None => Poll::Pending,
        }
    }

    pub(crate) fn poll_stream(&self, token: Token, waker: &Waker) -> Next {
        let (next, replaced) = {
            let slots = &mut self.0.state.borrow_mut().slots;
            (slots.poll_stream(token, waker), slots.take_replaced())
        };
        drop(replaced);
        next
    }

    /// Tells who waits for an operation in flight: its name, and the number of its descriptor if
    /// it has one. `tell` only looks at the waker: the driver is borrowed.
    pub(crate) fn tell_who_waits(&self, mut tell: impl FnMut(&Waker, &'static str, Option<i32>)) {
        for (waker, what) in self.0.state.borrow().slots.waiting() {
            let fd = (what.fd >= 0 && operations::has_descriptor(what.code)).then_some(what.fd);
            tell(waker, operations::name(what.code).unwrap_or("?"), fd);
        }
    }

    pub(crate) fn stream_ended(&self, token: Token) -> bool {
        self.0.state.borrow_mut().slots.stream_ended(token)
    }

    pub(crate) fn stream_has_ready(&self, token: Token) -> bool {
        self.0.state.borrow_mut().slots.stream_has_ready(token)
    }

    /// Asks the kernel to cancel. Its answer proves nothing and is ignored.
    pub(crate) fn cancel(&self, token: Token) {
        let mut state = self.0.state.borrow_mut();
        if state.is_usable() {
            let entry = opcode::AsyncCancel::new(token.user_data()).build();
            state.queue(Queued::One(entry.user_data(note::IGNORED)));
        }
    }

    /// The future of an operation is gone: its slot takes it over, or it is finished here.
    pub(crate) fn orphan(&self, token: Token, orphan: Box<dyn Orphan>, cancel: bool) {
        let (dropped, replaced) = {
            let mut state = self.0.state.borrow_mut();
            if !state.is_usable() && !state.kernel_is_done_with(token) {
                // Rule 7: nobody will ever say that the kernel has finished.
                let _leaked = Box::into_raw(orphan);
                return;
            }
            (
                state.slots.orphan(token, orphan),
                state.slots.take_replaced(),
            )
        };
        drop(replaced);
        match dropped {
            Dropped::InFlight if cancel => {
                self.cancel(token);
                self.flush_outside_of_the_loop();
            }
            Dropped::InFlight => {}
            Dropped::Complete(mut orphan, mut unread) => {
                let last = unread.pop_back();
                self.guarded(|| unread.into_iter().for_each(|cqe| orphan.item(cqe)));
                if let Some(cqe) = last {
                    self.finish(orphan, cqe);
                }
            }
        }
    }

    /// Runs an orphan's last completion, and submits what follows from it.
    fn finish(&self, orphan: Box<dyn Orphan>, cqe: Cqe) {
        if let Some(Some(follow_up)) = self.guarded(|| orphan.last(cqe)) {
            self.submit_late(follow_up);
        }
    }

    /// Submits an operation that nobody awaits, at the end of this turn: its entry is made then,
    /// so it takes along what the turn still adds to it. After the end of the runtime it is
    /// told so at once.
    pub(crate) fn submit_late(&self, orphan: Box<dyn Orphan>) {
        match self.open_state() {
            Ok(mut state) => state.late.push(orphan),
            Err(gone) => drop(orphan.last(gone)),
        }
    }

    /// `may_be_silent`: the visit to the kernel that follows may be a wait for something else.
    fn submit_those_late(&self, may_be_silent: bool) {
        let (mut late, may_be_silent) = {
            let mut state = self.0.state.borrow_mut();
            let possible = may_be_silent && state.silent.is_possible();
            (std::mem::take(&mut state.late), possible)
        };
        for mut orphan in late.drain(..) {
            let entry = orphan.prepare(may_be_silent);
            if let Err(refusal) = self.admit(&entry, None) {
                self.finish(orphan, refusal);
                continue;
            }
            let mut state = self.0.state.borrow_mut();
            let is_silent = orphan.is_silent();
            let token = state.slots.insert_orphan(orphan);
            if is_silent {
                state.silent.push(token);
            }
            self.queue_op(&mut state, token, entry, None);
        }
        // The list keeps its memory. `prepare` submits nothing; what ended by a refusal may.
        let added = std::mem::replace(&mut self.0.state.borrow_mut().late, late);
        self.0.state.borrow_mut().late.extend(added);
    }

    /// A waker may be the program's own: what it panics with must not take the other completions
    /// of this batch, or the whole core, with it.
    fn wake(&self, waker: Waker) {
        self.guarded(|| waker.wake());
    }

    /// Runs destructors of users; a panic in one is counted and goes no further.
    fn guarded<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let result = catch_unwind(AssertUnwindSafe(act));
        if result.is_err() {
            bump(&self.0.counters.destructor_panics);
        }
        result.ok()
    }

    /// What is dropped while no loop of this core runs (between two calls of `block_on`) is
    /// submitted here: otherwise a port would stay bound until somebody runs the core again.
    fn flush_outside_of_the_loop(&self) {
        let current = CURRENT.try_with(|current| {
            let current = current.borrow();
            current
                .as_ref()
                .is_some_and(|driver| Rc::ptr_eq(&driver.0, &self.0))
        });
        if current == Ok(false) && self.enter_kernel(Wait::No).is_ok() {
            self.reap();
        }
    }

    /// Closes a descriptor that no operation uses any more.
    pub(crate) fn close(&self, fd: Number) {
        if let Ok(mut state) = self.0.state.try_borrow_mut() {
            if state.is_usable() {
                let entry = opcode::Close::new(types::Fd(fd.get())).build();
                let entry = entry
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(note::CLOSE);
                state.queue(Queued::One(entry));
                drop(state);
                return self.flush_outside_of_the_loop();
            }
        }
        if sys::close(fd).is_err() {
            bump(&self.0.counters.close_failed);
        }
    }
}

impl State {
    /// Whether entries can be pushed: the ring is open, and this is not a forked child.
    fn is_usable(&self) -> bool {
        self.kernel
            .as_ref()
            .is_some_and(|kernel| !kernel.is_forked())
    }

    fn kernel_is_done_with(&mut self, token: Token) -> bool {
        self.slots.is_complete(token)
    }

    fn queue(&mut self, item: Queued) {
        let kernel = self.kernel.as_mut().expect("checked by the caller");
        if !self.backlog.is_empty() || !push(kernel, &item) {
            self.backlog.push_back(item);
        }
    }

    /// Moves what waits into the submission queue, as far as it has room.
    fn refill(&mut self) {
        let Some(kernel) = self.kernel.as_mut() else {
            return;
        };
        while let Some(item) = self.backlog.front() {
            if !push(kernel, item) {
                return;
            }
            self.backlog.pop_front();
        }
    }
}

fn push(kernel: &mut Kernel, item: &Queued) -> bool {
    match item {
        Queued::One(entry) => kernel.push(entry),
        Queued::Pair(first, second) => kernel.push_pair(first, second),
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
