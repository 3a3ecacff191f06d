//! The simulated kernel: below the same seam as the ring, decoding the same 64-byte entries.
//!
//! A [`World`] has hosts, each with a disk, descriptors and one or several cores, and a network
//! between them. All of it runs on one thread, on a clock that moves only when nobody can run (and
//! a little with every turn), and every choice is made by one generator: so a run is a function of
//! the binary and the seed.
//!
//! ```text
//!   driver ── entry ──► queue ──► socket_ops (wait for net)      ──┐ deferred work, at `enter`,
//!                           └───► file_ops   (wait for a worker) ──┤ in the seed's order
//!   driver ◄── completion ◄─────────────────────────────────────────┘
//!   plain system calls ──► calls          state: everything there is, and what happens by itself
//! ```
//! Rules:
//! 1. Effects on the program's memory happen at completion, through the raw address, also after
//!    the ring was closed: what was freed too early is found.
//! 2. Whatever Linux may do is done with some probability; what it never does is never done.
//!    KERNEL behaviour that is not simulated is listed in [`crate::sim`].
//! 3. An operation that is not known is a panic with its number, never a silent success.
//! 4. No address, real time or thread decides anything.

mod c_library;
pub(crate) mod calls;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "a disk offers more than the ring asks for")
)]
mod disk;
mod entry;
mod faults;
mod fifo;
mod file_ops;
mod guard;
mod memory;
mod messages;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "a network offers more than the ring asks for")
)]
mod net;
mod oracle;
mod queue;
pub(crate) mod rng;
#[cfg_attr(
    not(feature = "signal"),
    allow(dead_code, reason = "without that feature no program listens")
)]
pub(crate) mod signals;
mod socket_ops;
mod state;
mod trace;

#[doc(hidden)]
pub use c_library::{__Timespec, __clock_gettime, __getrandom};
pub use faults::Faults;
pub use guard::GuardAlloc;

pub(crate) use disk::Disk;
pub(crate) use disk::Snapshot;
pub(crate) use net::{Death, HostId, Interface, Link};
pub(crate) use oracle::{Watch, complain};
pub(crate) use signals::Reaction;

use self::memory::BufferRing;
use self::state::{Host, State};
use self::trace::Micros;
use super::kernel::{Forgiving, Wait};
use super::operations::OpSet;
use super::probe::Features;
use super::slot::Cqe;
use entry::Sqe;
use io_uring::squeue;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Turns without anything happening, after which a simulation is called stuck.
const IDLE_TURNS_MAX: u64 = 200_000;

/// A world. Clones share it.
#[derive(Clone)]
pub(crate) struct World(Rc<RefCell<State>>);

/// Where this thread is: in a world, and there on a host.
#[derive(Clone)]
struct Here {
    world: World,
    host: usize,
    core: usize,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
    /// The clock of the world in which this thread is; 0 outside of any.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// The thread is on a host of a world until this is dropped.
pub(crate) struct OnHost(Option<Here>);

impl Drop for OnHost {
    fn drop(&mut self) {
        let before = self.0.take();
        let _ = HERE.try_with(|here| {
            let now = before.as_ref().map_or(0, |here| here.world.now());
            let _ = NOW.try_with(|cell| cell.set(now));
            here.replace(before)
        });
    }
}

/// What the scheduler is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Give this core a turn.
    Run(usize),
    /// The time that was asked for has come.
    TimeIsUp,
    /// Nobody can run, and nothing will happen.
    Deadlock,
    /// Somebody runs, and nothing happens.
    Livelock,
}

/// Whether this descriptor is a simulation's.
pub(crate) fn owns(number: i32) -> bool {
    number >= state::NUMBER_MIN
}

/// Whether this thread is inside of a simulation.
pub(crate) fn is_here() -> bool {
    NOW.get() != 0
}

/// The simulated clock, if this thread is inside of a simulation.
pub(crate) fn now() -> Option<u64> {
    match NOW.get() {
        0 => None,
        now => Some(now),
    }
}

fn here() -> Here {
    try_here().expect(
        "a socket or file of a simulated host was used outside of it: do that in a future of this \
         host, such as one for `Sim::block_on`",
    )
}

fn try_here() -> Option<Here> {
    HERE.with_borrow(Option::clone)
}

/// The kernel of a new core on the host where this thread is.
pub(crate) fn open_kernel(entries: u32, completions: u32) -> SimKernel {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let index = here.core;
    let core = state.open_core(here.host, index, entries as usize, completions as usize);
    drop(state);
    SimKernel {
        world: here.world,
        core,
        forgiving: Forgiving::default(),
    }
}

/// The simulated side of [`Kernel`](super::kernel::Kernel).
pub(crate) struct SimKernel {
    world: World,
    core: usize,
    forgiving: Forgiving,
}

impl SimKernel {
    /// What rings for this core.
    pub(crate) fn bell(&self) -> Arc<AtomicBool> {
        self.world.0.borrow().cores[self.core].rung.clone()
    }

    pub(crate) fn push(&mut self, entry: &squeue::Entry) -> bool {
        let core = &mut self.world.0.borrow_mut().cores[self.core];
        let room = core.submitted.len() < core.entries;
        if room {
            core.submitted.push_back(Sqe::of(entry));
        }
        room
    }

    pub(crate) fn queued(&self) -> usize {
        self.world.0.borrow().cores[self.core].submitted.len()
    }

    pub(crate) fn push_pair(&mut self, first: &squeue::Entry, second: &squeue::Entry) -> bool {
        let core = &mut self.world.0.borrow_mut().cores[self.core];
        let room = core.submitted.len() + 2 <= core.entries;
        if room {
            core.submitted.extend([Sqe::of(first), Sqe::of(second)]);
        }
        room
    }

    /// Submits, and waits in the midst of a turn: only this core's events happen meanwhile. For
    /// the end of a runtime; a core that runs [lies down](SimKernel::lie_down).
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.submit()?;
        let until = match wait {
            Wait::No => return Ok(()),
            Wait::Until(at) => at,
            Wait::Forever => u64::MAX,
        };
        let mut state = self.world.0.borrow_mut();
        loop {
            if state.cores[self.core].is_runnable(state.now) {
                let _ = state.enter(self.core);
                if !state.cores[self.core].visible.is_empty() {
                    return Ok(());
                }
            }
            let Some(next) = state.next_time().filter(|&next| next <= until) else {
                let end = state.now.max(until.min(state.now + 1_000_000_000));
                state.set_now(end);
                return Ok(());
            };
            state.set_now(next);
            state.fire();
        }
    }

    pub(crate) fn is_settled(&mut self) -> bool {
        let core = &self.world.0.borrow().cores[self.core];
        core.submitted.is_empty() && core.visible.is_empty() && core.overflow.is_empty()
    }

    /// Submits, and waits: the scheduler gives this core its next turn when the wait is over.
    pub(crate) fn lie_down(&mut self, wait: Wait) -> io::Result<()> {
        self.submit()?;
        self.world.0.borrow_mut().cores[self.core].sleeps = Some(wait);
        Ok(())
    }

    /// The wait is over.
    pub(crate) fn get_up(&mut self) -> io::Result<()> {
        {
            let core = &mut self.world.0.borrow_mut().cores[self.core];
            core.sleeps = None;
            core.rung.store(false, Ordering::SeqCst);
        }
        self.submit()
    }

    fn submit(&mut self) -> io::Result<()> {
        let mut state = self.world.0.borrow_mut();
        let Err(errno) = state.enter(self.core) else {
            self.forgiving.all_is_well();
            return Ok(());
        };
        let visible = !state.cores[self.core].visible.is_empty();
        let error = io::Error::from_raw_os_error(errno);
        if let Some(pause) = self.forgiving.forgive(error, visible)? {
            let until = state.now + pause.as_nanos() as u64;
            state.cores[self.core].not_before = until;
        }
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Cqe)> {
        let core = &mut self.world.0.borrow_mut().cores[self.core];
        let completion = core.visible.pop_front()?;
        core.stale_taken += u64::from(completion.stale);
        Some((completion.user_data, completion.cqe))
    }

    pub(crate) fn overflown(&mut self) -> bool {
        !self.world.0.borrow().cores[self.core].overflow.is_empty()
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        let core = &self.world.0.borrow().cores[self.core];
        (core.overflows, core.enters)
    }

    pub(crate) fn register_buffers(
        &self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) {
        let buffers = BufferRing::new(address, entries, incremental);
        let core = &mut self.world.0.borrow_mut().cores[self.core];
        core.buffers.insert(group, buffers);
    }
}

impl Drop for SimKernel {
    fn drop(&mut self) {
        self.world.0.borrow_mut().close_core(self.core);
    }
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> World {
        World(Rc::new(RefCell::new(State::new(seed, faults))))
    }

    /// Puts this thread on a host, as its core `core`.
    pub(crate) fn on_host(&self, host: usize, core: usize) -> OnHost {
        NOW.set(self.now());
        let here = Here {
            world: self.clone(),
            host,
            core,
        };
        OnHost(HERE.with_borrow_mut(|place| place.replace(here)))
    }

    /// The features that this world's kernel has: a draw of the seed, as kernels differ.
    pub(crate) fn draw_features(&self) -> Features {
        let rng = &mut self.0.borrow_mut().rng;
        let buffer_ring = rng.chance(0.9);
        let mut missing = OpSet::default();
        let ftruncate = rng.chance(0.8);
        for (name, there) in [("send_zc", rng.chance(0.9)), ("ftruncate", ftruncate)] {
            if !there {
                missing.insert_by_name(name);
            }
        }
        Features {
            no_sqarray: true,
            registered_ring: true,
            abs_timer: true,
            no_iowait: true,
            send_msg_ring: true,
            buffer_ring,
            incremental: buffer_ring && rng.chance(0.7),
            silent_send: rng.chance(0.8),
            accept_multishot: rng.chance(0.9),
            ftruncate,
            missing,
            masked: OpSet::default(),
        }
    }

    pub(crate) fn add_host(&self, name: &str, addresses: Vec<IpAddr>, disk: u64) -> usize {
        let mut state = self.0.borrow_mut();
        let id = state.net.add_host(addresses.clone());
        state.names.insert(name.to_owned(), addresses);
        state.hosts.push(Host {
            name: name.to_owned(),
            id,
            disk: Disk::new(disk),
            objects: BTreeMap::new(),
            writing_until: BTreeMap::new(),
            changes: 0,
            numbers_max: 1024,
            operations: 0,
            dies_at: None,
            alive: true,
            signals: BTreeMap::new(),
        });
        state.hosts.len() - 1
    }

    pub(crate) fn set_descriptors_max(&self, host: usize, max: usize) {
        self.0.borrow_mut().hosts[host].numbers_max = max;
    }

    pub(crate) fn operations(&self, host: usize) -> u64 {
        self.0.borrow().hosts[host].operations
    }

    pub(crate) fn is_alive(&self, host: usize) -> bool {
        self.0.borrow().hosts[host].alive
    }

    pub(crate) fn dies_at(&self, host: usize, operation: u64, how: Death) {
        self.0.borrow_mut().hosts[host].dies_at = Some((operation, how));
    }

    /// The hosts that have died at an operation since this was asked last.
    pub(crate) fn take_died(&self) -> Vec<(usize, Death)> {
        std::mem::take(&mut self.0.borrow_mut().died)
    }

    /// How many cores this world has had so far.
    pub(crate) fn cores(&self) -> usize {
        self.0.borrow().cores.len()
    }

    pub(crate) fn set_task_name(&self, who: fn() -> u64) {
        self.0.borrow_mut().who = who;
    }

    pub(crate) fn with_faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.0.borrow_mut().dice.faults)
    }

    pub(crate) fn with_net<T>(&self, act: impl FnOnce(&mut net::Net, u64) -> T) -> T {
        let mut state = self.0.borrow_mut();
        let now = state.now;
        let result = act(&mut state.net, now);
        state.settle();
        result
    }

    pub(crate) fn net_id(&self, host: usize) -> net::HostId {
        self.0.borrow().hosts[host].id
    }

    pub(crate) fn with_disk<T>(&self, host: usize, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.0.borrow_mut().hosts[host].disk)
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.borrow().now
    }

    pub(crate) fn wall(&self) -> u64 {
        self.0.borrow().wall()
    }

    pub(crate) fn elapsed(&self) -> u64 {
        self.0.borrow().elapsed()
    }

    /// What the C library hands out: by a generator of its own, because the standard library asks
    /// once a thread, so that a second run on the same thread would draw other numbers.
    fn random_for_the_library(&self) -> u64 {
        self.0.borrow_mut().library.next_u64()
    }

    pub(crate) fn random(&self) -> u64 {
        self.0.borrow_mut().rng.next_u64()
    }

    pub(crate) fn trace_hash(&self) -> u64 {
        self.0.borrow().trace.hash()
    }

    pub(crate) fn events(&self) -> u64 {
        self.0.borrow().trace.count()
    }

    /// Chooses who runs next; moves the clock where nobody can.
    pub(crate) fn next(&self, until: u64, has_work: impl Fn(usize) -> bool) -> Next {
        let mut state = self.0.borrow_mut();
        let cost = state.rng.between(200, 3_000);
        let now = state.now + cost;
        state.set_now(now);
        loop {
            state.fire();
            if state.now >= until {
                return Next::TimeIsUp;
            }
            let now = state.now;
            let ready = state.cores.iter().enumerate().filter(|(i, core)| {
                let awake = core.open && core.not_before <= now;
                awake && (has_work(*i) || core.is_runnable(now))
            });
            let ready: Vec<usize> = ready.map(|(i, _)| i).collect();
            if !ready.is_empty() {
                let core = ready[state.rng.index(ready.len())];
                if state.roll(|faults| faults.core_stalls) {
                    let stall = state.rng.between(1_000_000, 50_000_000);
                    state.cores[core].not_before = now + stall;
                    continue;
                }
                state.idle_turns += 1;
                return match state.idle_turns > IDLE_TURNS_MAX {
                    true => Next::Livelock,
                    false => Next::Run(core),
                };
            }
            let sleepers = state.cores.iter().enumerate().filter(|(_, core)| core.open);
            let wakes = sleepers.filter_map(|(i, core)| match has_work(i) {
                true => Some(core.not_before),
                false => core.wakes_at(now),
            });
            let wakes = wakes.filter(|&at| at > now).min();
            let next = wakes.into_iter().chain(state.next_time()).min();
            match next {
                Some(next) if next <= until => {
                    state.set_now(next);
                    state.idle_turns = 0;
                }
                _ if until != u64::MAX => state.set_now(until),
                _ => return Next::Deadlock,
            }
        }
    }

    /// The host's power is gone: its memory, its connections and what its disk had not kept.
    pub(crate) fn power_loss(&self, host: usize) {
        self.end_host(host, Death::Power);
        let mut state = self.0.borrow_mut();
        let mut rng = state.rng.fork();
        state.hosts[host].disk.power_loss(&mut rng);
    }

    /// The host's process is killed: the kernel closes what it had.
    pub(crate) fn kill(&self, host: usize) {
        self.end_host(host, Death::Process);
        self.0.borrow_mut().hosts[host].disk.process_death();
    }

    fn end_host(&self, host: usize, how: Death) {
        let mut state = self.0.borrow_mut();
        state.note(usize::MAX, "host dies", host as i64, 0);
        state.hosts[host].alive = false;
        state.hosts[host].objects.clear();
        state.hosts[host].writing_until.clear();
        state.hosts[host].signals.clear();
        let cores = 0..state.cores.len();
        for core in cores
            .filter(|&core| state.cores[core].host == host)
            .collect::<Vec<_>>()
        {
            state.forsake(core);
        }
        let (id, now) = (state.hosts[host].id, state.now);
        state.net.kill_host(id, now, how);
        state.settle();
    }

    /// The host may be used again.
    pub(crate) fn revive(&self, host: usize) {
        let mut state = self.0.borrow_mut();
        state.hosts[host].alive = true;
        let (id, now) = (state.hosts[host].id, state.now);
        state.net.start_host(id, now);
    }

    /// What a host has left behind: operations, descriptors.
    pub(crate) fn leftovers(&self, host: usize) -> Vec<String> {
        let state = self.0.borrow();
        let mut left = Vec::new();
        let cores = state
            .cores
            .iter()
            .filter(|core| core.host == host && core.open);
        for core in cores {
            left.extend(core.ops.values().map(|op| state.describe(op)));
        }
        let objects = state.hosts[host].objects.iter();
        left.extend(objects.map(|(number, object)| {
            let what = state.describe_object(object);
            format!("descriptor {} {what}", number & 0xffff)
        }));
        left
    }

    /// Panics where the network has lost or made a byte.
    pub(crate) fn check(&self) {
        if let Err(what) = self.0.borrow().net.check() {
            panic!(
                "the simulated network has lost or made bytes, which is its own mistake: {what}"
            );
        }
    }

    /// What every core does, for a report.
    pub(crate) fn describe(&self, last: usize) -> String {
        let state = self.0.borrow();
        let mut text = String::new();
        for (i, core) in state.cores.iter().enumerate().filter(|(_, core)| core.open) {
            let sleep = match core.sleeps {
                None => "runs".into(),
                Some(Wait::No) => "does not sleep".into(),
                Some(Wait::Forever) => "sleeps until something comes".into(),
                Some(Wait::Until(at)) => {
                    format!("sleeps for {}", Micros(at.saturating_sub(state.now)))
                }
            };
            let _ = writeln!(text, "{} {sleep}", state.core_name(i));
            for op in core.ops.values() {
                let _ = writeln!(text, "  {}", state.describe(op));
            }
        }
        let _ = writeln!(text, "the last that happened:");
        text + &state.trace.tell(last, |core| state.core_name(core))
    }
}

impl State {
    pub(super) fn set_now(&mut self, now: u64) {
        debug_assert!(now >= self.now, "time does not go back");
        self.now = now;
        NOW.set(now);
    }

    /// The host of this core is dead: nothing that the core had in flight has an effect any more.
    fn forsake(&mut self, core: usize) {
        let ids: Vec<u64> = self.cores[core].ops.keys().copied().collect();
        for id in ids {
            if let Some(mut op) = self.take_op(core, id) {
                op.files.clear();
                self.end(core, op, -libc::ECANCELED, 0);
            }
        }
        self.cores[core].buffers.clear();
    }

    fn describe(&self, op: &state::Op) -> String {
        let what = op.files.first().map(|file| self.describe_object(file));
        format!(
            "task {}: {} {} for {}",
            op.task,
            op.sqe.name(),
            what.unwrap_or_default(),
            Micros(self.now - op.since)
        )
    }

    /// What a descriptor names, as a person would say it.
    fn describe_object(&self, object: &state::Object) -> String {
        match &object.what {
            state::What::Socket { id, .. } => self.net.name_for_people(*id),
            state::What::File(file) => match file.try_borrow() {
                Ok(file) => {
                    let path = self.hosts[object.host].disk.path_of(&file);
                    format!("on {}", String::from_utf8_lossy(&path))
                }
                Err(_) => "on a file".into(),
            },
            state::What::Pipe(end) => format!("on {end}"),
            state::What::Signals => "on the signals".into(),
        }
    }
}
