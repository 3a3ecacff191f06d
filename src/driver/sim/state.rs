//! The world of a simulation: its clock, hosts, network, disks, and what every core's kernel has
//! in flight.

use super::disk::{Disk, Ino, OpenFile};
use super::entry::Sqe;
use super::faults::{Dice, Faults};
use super::fifo::PipeEnd;
use super::memory::BufferRing;
use super::net::{Death, HostId, Net, SocketId};
use super::rng::Rng;
use super::trace::Trace;
use crate::driver::kernel::Wait;
use crate::driver::slot::Cqe;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The clock begins here, so that a zero is never a time: an hour after "boot".
const BEGIN_NANOS: u64 = 3_600_000_000_000;
/// The wall clock at [`BEGIN_NANOS`]: a fixed day, in nanoseconds since the epoch.
const WALL_NANOS: u64 = 1_767_225_600_000_000_000;

/// Descriptors of simulated hosts begin here: far above what a real process can have, so that a
/// number tells whose it is.
pub(super) const NUMBER_MIN: i32 = 1 << 28;
/// Descriptors that one host may have at most.
pub(super) const NUMBERS_PER_HOST: i32 = 1 << 16;

/// Everything there is.
pub(super) struct State {
    pub(super) now: u64,
    pub(super) rng: Rng,
    /// For what asks the C library.
    pub(super) library: Rng,
    pub(super) dice: Dice,
    pub(super) trace: Trace,
    pub(super) net: Net,
    /// The loopback hands over at once, before the next entry is taken: a draw of the seed.
    instant: bool,
    pub(super) hosts: Vec<Host>,
    pub(super) cores: Vec<Core>,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    /// Open files on their way through Unix sockets.
    pub(super) passed: BTreeMap<u64, Rc<Object>>,
    /// Hosts that have died in the midst of a turn.
    pub(super) died: Vec<(usize, Death)>,
    /// What happens by itself, in its order.
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Which operations wait for what.
    watchers: BTreeMap<Watched, BTreeSet<(usize, u64)>>,
    /// After so many changes a kernel writes some of them back by itself: a draw of the seed.
    pub(super) changes_max: u64,
    /// What the runtime has done against its own rules.
    pub(super) complaints: Vec<String>,
    /// Turns since anything but turns has happened.
    pub(super) idle_turns: u64,
    /// Names the task that is polled right now, for the reports.
    pub(super) who: fn() -> u64,
}

/// What an operation can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    Socket(SocketId),
    /// A pipe, by its number: either end.
    Pipe(u64),
    /// The signals of a host.
    Signals(usize),
}

/// Something that happens by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A worker has finished an operation.
    Worked { core: usize, op: u64 },
    /// A linked timeout is over.
    Timeout { core: usize, op: u64 },
    /// The network has taken the last byte of a zero-copy buffer.
    Notify { core: usize, op: u64 },
    /// What a closed ring had in flight ends.
    RingGone { core: usize },
}

/// One machine.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) id: HostId,
    pub(super) disk: Disk,
    pub(super) objects: BTreeMap<i32, Rc<Object>>,
    /// When the last write that was begun ends, for each file.
    pub(super) writing_until: BTreeMap<Ino, u64>,
    /// Changes of the disk since some of them were written back.
    pub(super) changes: u64,
    pub(super) numbers_max: usize,
    /// Operations that were submitted so far, and the one at which it dies.
    pub(super) operations: u64,
    pub(super) dies_at: Option<(u64, Death)>,
    pub(super) alive: bool,
    /// The signals that its process handles, and how often each has come.
    pub(super) signals: BTreeMap<i32, u64>,
}

/// What a descriptor names: shared by its numbers and by the operations in flight.
pub(super) struct Object {
    pub(super) host: usize,
    pub(super) what: What,
}

pub(super) enum What {
    Socket {
        id: SocketId,
        kind: [i32; 3],
        /// A real socket that nobody connects: where the socket's options live.
        options: OnceCell<socket2::Socket>,
    },
    File(RefCell<OpenFile>),
    Pipe(PipeEnd),
    /// Can be read once a signal has come that the host's process handles.
    Signals,
}

/// The kernel's side of one ring.
pub(super) struct Core {
    pub(super) host: usize,
    pub(super) index: usize,
    pub(super) entries: usize,
    pub(super) completions: usize,
    pub(super) submitted: VecDeque<Sqe>,
    pub(super) visible: VecDeque<Completion>,
    pub(super) overflow: VecDeque<Completion>,
    pub(super) ops: BTreeMap<u64, Op>,
    /// Operations that may be able to go on.
    pub(super) poked: BTreeSet<u64>,
    /// By their group.
    pub(super) buffers: BTreeMap<u16, BufferRing>,
    /// How it waits in its `enter`.
    pub(super) sleeps: Option<Wait>,
    pub(super) rung: Arc<AtomicBool>,
    /// The kernel was short of something, or the CPU is somebody else's, until then.
    pub(super) not_before: u64,
    pub(super) open: bool,
    pub(super) enters: u64,
    pub(super) overflows: u64,
    /// An operation that has ended, for a completion that comes too late.
    pub(super) last_ended: Option<u64>,
    /// How many of those the program has taken.
    pub(super) stale_taken: u64,
}

/// One entry of a completion queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) cqe: Cqe,
    /// It is one too many, on purpose.
    pub(super) stale: bool,
}

/// One operation in flight.
pub(super) struct Op {
    pub(super) sqe: Sqe,
    /// The open files that it works on, and keeps open.
    pub(super) files: Vec<Rc<Object>>,
    pub(super) task: u64,
    pub(super) since: u64,
    pub(super) phase: Phase,
    /// Bytes that were sent so far; of a poll for signals, how many of them it has told; of a
    /// connect, whether it has begun.
    pub(super) done: usize,
    /// The memory that it borrows.
    pub(super) lent: Vec<(u64, usize)>,
    /// The word of its linked timeout.
    pub(super) timeout: Option<u64>,
}

/// What an operation in flight waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its socket.
    Socket,
    /// A worker's time; it has not taken effect yet.
    Worker,
    /// It has ended: what is to be told, at the next `enter`.
    Told(i32),
    /// The network still reads its buffer, of which this is a hash.
    Notification(u64),
}

impl State {
    pub(super) fn new(seed: u64, faults: Faults) -> State {
        let mut rng = Rng::new(seed);
        let library = Rng::new(seed ^ 0x4C49_4252);
        let mut net = Net::new();
        let instant = Rng::new(seed ^ 0x4C4F_4F50).chance(0.3);
        if instant {
            net.set_loopback_instant();
        }
        State {
            changes_max: 8 << rng.below(10),
            now: BEGIN_NANOS,
            net,
            instant,
            rng,
            library,
            dice: Dice::new(faults),
            trace: Trace::new(seed),
            hosts: Vec::new(),
            cores: Vec::new(),
            names: BTreeMap::new(),
            passed: BTreeMap::new(),
            died: Vec::new(),
            complaints: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
            watchers: BTreeMap::new(),
            idle_turns: 0,
            who: || 0,
        }
    }

    /// The wall clock, in nanoseconds since the epoch.
    pub(super) fn wall(&self) -> u64 {
        WALL_NANOS + (self.now - BEGIN_NANOS)
    }

    /// The time since the simulation began.
    pub(super) fn elapsed(&self) -> u64 {
        self.now - BEGIN_NANOS
    }

    pub(super) fn note(&mut self, core: usize, what: &'static str, a: i64, b: i64) {
        self.trace.note(self.now, core, what, a, b);
    }

    /// A number that nothing in this world has had before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        let number = self.next_number();
        self.events.insert((time, number), event);
    }

    pub(super) fn roll(&mut self, rate: impl Fn(&Faults) -> f64) -> bool {
        let rate = rate(&self.dice.faults);
        rate > 0.0 && self.rng.chance(rate)
    }

    /// Makes everything happen that is due.
    pub(super) fn fire(&mut self) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let event = entry.remove();
            self.idle_turns = 0;
            self.happen(event);
        }
        self.settle();
    }

    /// As [`settle`](State::settle), where the loopback waits for nothing.
    pub(super) fn settle_at_once(&mut self) {
        if self.instant {
            self.settle();
        }
    }

    /// Lets the network move, and pokes those who wait for what has moved.
    pub(super) fn settle(&mut self) {
        for socket in self.net.advance(self.now, &mut self.rng) {
            self.poke(Watched::Socket(socket));
        }
        self.drop_passed();
    }

    /// Something has happened to this: those who wait for it look again.
    pub(super) fn poke(&mut self, what: Watched) {
        self.idle_turns = 0;
        let watchers = self.watchers.get(&what).cloned().unwrap_or_default();
        for (core, op) in watchers {
            self.cores[core].poked.insert(op);
            if !self.cores[core].open {
                // Nobody enters this ring any more: the kernel goes on by itself.
                self.run_op(core, op);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Worked { core, op } => self.worked(core, op),
            Event::Timeout { core, op } => self.timed_out(core, op),
            Event::Notify { core, op } => self.notify(core, op),
            Event::RingGone { core } => self.ring_gone(core),
        }
    }

    /// When something happens next without any core's doing.
    pub(super) fn next_time(&self) -> Option<u64> {
        let event = self.events.keys().next().map(|key| key.0);
        event.into_iter().chain(self.net.next_event()).min()
    }

    pub(super) fn watch(&mut self, core: usize, op: u64, what: Watched) {
        self.watchers.entry(what).or_default().insert((core, op));
    }

    pub(super) fn unwatch(&mut self, core: usize, op: u64, what: Watched) {
        if let Some(watchers) = self.watchers.get_mut(&what) {
            watchers.remove(&(core, op));
            if watchers.is_empty() {
                self.watchers.remove(&what);
            }
        }
    }

    /// What a descriptor of this host names.
    pub(super) fn object(&self, host: usize, number: i32) -> Result<Rc<Object>, i32> {
        if !self.hosts[host].alive {
            return Err(libc::EIO);
        }
        let found = self.hosts[host].objects.get(&number);
        found.cloned().ok_or(libc::EBADF)
    }

    /// Gives an object the lowest number that is free.
    pub(super) fn install(&mut self, host: usize, what: What) -> Result<i32, i32> {
        if !self.has_number(host) {
            self.discard(host, what);
            return Err(libc::EMFILE);
        }
        Ok(self.install_object(host, Rc::new(Object { host, what })))
    }

    pub(super) fn install_object(&mut self, host: usize, object: Rc<Object>) -> i32 {
        let base = NUMBER_MIN + host as i32 * NUMBERS_PER_HOST;
        let objects = &mut self.hosts[host].objects;
        let free = (base + 3..).find(|number| !objects.contains_key(number));
        let number = free.expect("fewer are in use than there are");
        objects.insert(number, object);
        number
    }

    /// Whether one more descriptor fits.
    pub(super) fn has_number(&self, host: usize) -> bool {
        self.hosts[host].objects.len() < self.hosts[host].numbers_max
    }

    /// One user of an object is gone; with the last one it is closed.
    pub(super) fn put(&mut self, object: Rc<Object>) {
        if let Ok(object) = Rc::try_unwrap(object) {
            self.discard(object.host, object.what);
        }
    }

    fn discard(&mut self, host: usize, what: What) {
        match what {
            What::Socket { id, options, .. } => {
                let linger = options.get().and_then(|options| options.linger().ok());
                let reset = linger.flatten().is_some_and(|time| time.is_zero());
                let _ = self.net.close(id, reset, self.now);
                self.watchers.remove(&Watched::Socket(id));
            }
            What::File(file) => self.hosts[host].disk.close(file.into_inner()),
            What::Pipe(end) => {
                end.close();
                self.poke(Watched::Pipe(end.number));
            }
            What::Signals => {}
        }
    }

    pub(super) fn core_name(&self, core: usize) -> String {
        match self.cores.get(core) {
            Some(this) => format!("{}/{}", self.hosts[this.host].name, this.index),
            None => "-".into(),
        }
    }
}

impl Core {
    /// Whether its loop would be woken, or go on by itself.
    pub(super) fn is_runnable(&self, now: u64) -> bool {
        let work = !self.visible.is_empty()
            || !self.overflow.is_empty()
            || !self.poked.is_empty()
            || !self.submitted.is_empty()
            || self.rung.load(Ordering::SeqCst);
        match self.sleeps {
            None | Some(Wait::No) => true,
            Some(Wait::Until(at)) => work || at <= now,
            Some(Wait::Forever) => work,
        }
    }

    /// When it wakes by itself: at the end of its sleep, or, with something to do already, as
    /// soon as it has the CPU again.
    pub(super) fn wakes_at(&self, now: u64) -> Option<u64> {
        match self.sleeps {
            _ if self.is_runnable(now) => Some(self.not_before),
            Some(Wait::Until(at)) => Some(at.max(self.not_before)),
            _ => None,
        }
    }
}

impl Object {
    /// The socket that this is.
    pub(super) fn socket(&self) -> Result<SocketId, i32> {
        match &self.what {
            What::Socket { id, .. } => Ok(*id),
            What::File(_) | What::Pipe(_) | What::Signals => Err(libc::ENOTSOCK),
        }
    }

    /// The open file that this is.
    pub(super) fn file(&self) -> Result<&RefCell<OpenFile>, i32> {
        match &self.what {
            What::File(file) => Ok(file),
            What::Socket { .. } | What::Pipe(_) | What::Signals => Err(libc::ESPIPE),
        }
    }

    /// What an operation on this waits for, if it is something that operations wait for.
    pub(super) fn watched(&self) -> Option<Watched> {
        match &self.what {
            What::Socket { id, .. } => Some(Watched::Socket(*id)),
            What::Pipe(end) => Some(Watched::Pipe(end.number)),
            What::Signals => Some(Watched::Signals(self.host)),
            What::File(_) => None,
        }
    }
}
