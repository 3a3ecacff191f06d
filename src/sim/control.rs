//! What changes the world around the hosts: from the test, or from inside of the simulation.

use super::{Faults, Host, Inner, Link};
use crate::driver::sim::{Death, Disk, Reaction, Snapshot};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Changes the world of a simulation. A clone changes the same one; futures inside may have it.
///
/// ```
/// use std::time::Duration;
/// let mut sim = corering::sim::Sim::new(1);
/// let a = sim.host("a").boot(|_| async {});
/// let b = sim.host("b").boot(|_| async {});
/// let control: corering::sim::Control = sim.control();
/// control.partition(&a, &b);
/// sim.run_for(Duration::from_secs(1));
/// control.heal(&a, &b);
/// control.power_loss(&b);
/// control.restart(&b);
/// ```
#[derive(Clone)]
pub struct Control {
    pub(super) inner: Rc<Inner>,
}

/// The highest signal number of Linux on most architectures.
const SIGNAL_MAX: i32 = 64;

/// What has to wait for the end of a turn.
pub(super) enum Order {
    PowerLoss(usize),
    Kill(usize),
    Restart(usize),
    Signal(usize, i32),
}

impl Control {
    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// Simulated time since the begin.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.inner.world.elapsed())
    }

    /// A random number of the simulation's own: what a test draws belongs to its seed.
    pub fn random(&self) -> u64 {
        self.inner.world.random()
    }

    /// A number for everything that has happened so far: equal for equal seeds of one binary.
    pub fn trace_hash(&self) -> u64 {
        self.inner.world.trace_hash()
    }

    /// How many things have happened so far.
    pub fn events(&self) -> u64 {
        self.inner.world.events()
    }

    /// What every core does, and what happened last, for a person to read.
    pub fn report(&self) -> String {
        self.inner.report()
    }

    /// Replaces the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.world.with_faults(|now| *now = faults);
    }

    /// How many operations a host has submitted so far.
    pub fn operations(&self, host: &Host) -> u64 {
        self.inner.world.operations(host.index)
    }

    /// Has the power of a host fail at its n-th operation (from 1, counted over its whole life):
    /// with every n in turn, a program is stopped at every place where it can be.
    pub fn power_loss_at(&self, host: &Host, operation: u64) {
        let world = &self.inner.world;
        world.dies_at(host.index, operation, Death::Power);
    }

    /// Has the process of a host killed at its n-th operation, counted as for
    /// [`power_loss_at`](Control::power_loss_at).
    pub fn kill_at(&self, host: &Host, operation: u64) {
        let world = &self.inner.world;
        world.dies_at(host.index, operation, Death::Process);
    }

    /// Whether a host is up.
    pub fn is_up(&self, host: &Host) -> bool {
        self.inner.obey();
        self.inner.world.is_alive(host.index)
    }

    /// The host's power fails: its memory and connections are gone without a word to anybody, and
    /// its disk keeps what was synced, and of the rest some part.
    pub fn power_loss(&self, host: &Host) {
        self.order(Order::PowerLoss(host.index));
    }

    /// The host's process is killed: the kernel closes its connections; its disk keeps all.
    pub fn kill(&self, host: &Host) {
        self.order(Order::Kill(host.index));
    }

    /// Boots the host again; one that is up is killed first.
    pub fn restart(&self, host: &Host) {
        self.order(Order::Restart(host.index));
    }

    /// The host's process gets a signal: a `SignalKind` of the feature `signal`, or a number. It is
    /// delivered at the end of the turn that a core has, if one has.
    ///
    /// A program that listens for it (`corering::signal`) is told, and goes on. One that does not
    /// meets what `signal(7)` says: `SIGTERM`, `SIGINT`, `SIGHUP`, `SIGKILL` and most others end
    /// its process as [`kill`](Control::kill) does, so that its disk keeps all that was written;
    /// `SIGCHLD`, `SIGURG`, `SIGWINCH`, `SIGCONT` do nothing, nor does `SIGPIPE`, which Rust
    /// programs ignore. A host that is down gets none. The signals of the real process, which runs
    /// the test, reach no host.
    ///
    /// # Panics
    /// If it is no signal; and if nobody handles one that stops a process, such as `SIGSTOP`: a
    /// simulation does not stop processes. A host that hears nothing for a while is what
    /// [`clog`](Control::clog) makes.
    ///
    /// ```
    /// let mut sim = corering::sim::Sim::new(1);
    /// let host = sim.host("a").boot(|_| std::future::pending());
    /// sim.signal(&host, libc::SIGWINCH);
    /// assert!(sim.is_up(&host));
    /// sim.signal(&host, libc::SIGTERM);
    /// assert!(!sim.is_up(&host), "nobody listens for it");
    /// ```
    pub fn signal(&self, host: &Host, signal: impl Into<i32>) {
        let signal = signal.into();
        assert!(
            (1..=SIGNAL_MAX).contains(&signal),
            "{signal} is no signal: they count from 1 to {SIGNAL_MAX}"
        );
        self.order(Order::Signal(host.index, signal));
    }

    fn order(&self, order: Order) {
        self.inner.orders.borrow_mut().push(order);
        self.inner.obey();
    }

    /// Nothing gets through between two hosts, in both directions, until [`heal`](Control::heal).
    /// Connections that exist wait, and break when their time is over.
    pub fn partition(&self, a: &Host, b: &Host) {
        self.partition_one_way(a, b);
        self.partition_one_way(b, a);
    }

    /// Nothing gets through from one host to another; the other way it does.
    pub fn partition_one_way(&self, from: &Host, to: &Host) {
        let (from, to) = self.pair(from, to);
        self.inner
            .world
            .with_net(|net, now| net.partition(from, to, now));
    }

    /// Ends partitions between two hosts, in both directions.
    pub fn heal(&self, a: &Host, b: &Host) {
        let (a, b) = self.pair(a, b);
        self.inner.world.with_net(|net, now| {
            net.heal(a, b, now);
            net.heal(b, a, now);
        });
    }

    /// Holds what is sent from one host to another, until [`unclog`](Control::unclog) lets all of
    /// it through.
    pub fn clog(&self, from: &Host, to: &Host) {
        let (from, to) = self.pair(from, to);
        self.inner
            .world
            .with_net(|net, now| net.clog(from, to, now));
    }

    /// Lets through what [`clog`](Control::clog) has held.
    pub fn unclog(&self, from: &Host, to: &Host) {
        let (from, to) = self.pair(from, to);
        self.inner
            .world
            .with_net(|net, now| net.unclog(from, to, now));
    }

    /// Resets all TCP connections between two hosts.
    pub fn reset_connections(&self, a: &Host, b: &Host) {
        let (a, b) = self.pair(a, b);
        self.inner
            .world
            .with_net(|net, now| net.reset_connections(a, b, now));
    }

    /// The properties of the link from one host to another.
    pub fn set_link(&self, from: &Host, to: &Host, link: Link) {
        let (from, to) = self.pair(from, to);
        self.inner
            .world
            .with_net(|net, _| net.set_link(from, to, link.into()));
    }

    /// The properties of all links that were not set one by one.
    pub fn set_default_link(&self, link: Link) {
        self.inner
            .world
            .with_net(|net, _| net.set_default_link(link.into()));
    }

    fn pair(&self, a: &Host, b: &Host) -> (crate::driver::sim::HostId, crate::driver::sim::HostId) {
        let world = &self.inner.world;
        (world.net_id(a.index), world.net_id(b.index))
    }

    /// The content of a file on a host's disk, as its programs would read it now; `None` if there
    /// is no such file.
    pub fn read_file(&self, host: &Host, path: &str) -> Option<Vec<u8>> {
        self.with_disk(host, |disk| match disk.snapshot().remove(path.as_bytes()) {
            Some(Snapshot::File(bytes)) => Some(bytes),
            _ => None,
        })
    }

    fn with_disk<T>(&self, host: &Host, act: impl FnOnce(&mut Disk) -> T) -> T {
        self.inner.world.with_disk(host.index, act)
    }
}

impl Inner {
    /// Does what was ordered, if nobody has a turn right now.
    pub(super) fn obey(&self) {
        if self.stepping.get() {
            return;
        }
        let died = self.world.take_died().into_iter();
        let died = died.map(|(host, how)| match how {
            Death::Power => Order::PowerLoss(host),
            Death::Process => Order::Kill(host),
        });
        // First who has died in the turn: an order to restart it came after that.
        for order in died.chain(self.orders.take()) {
            match order {
                Order::PowerLoss(host) => {
                    self.world.power_loss(host);
                    self.put_down(host);
                }
                Order::Kill(host) => {
                    self.world.kill(host);
                    self.put_down(host);
                }
                Order::Restart(host) => {
                    if self.is_up(host) {
                        self.world.kill(host);
                        self.put_down(host);
                    }
                    self.world.revive(host);
                    self.machines.borrow_mut()[host].boot(&self.world, host);
                }
                Order::Signal(host, signal) => self.raise(host, signal),
            }
        }
    }

    fn raise(&self, host: usize, signal: i32) {
        match self.world.raise(host, signal) {
            Reaction::Goes => {}
            Reaction::Ends => {
                self.world.kill(host);
                self.put_down(host);
            }
            Reaction::Stops => panic!(
                "signal {signal} would stop the process of host {:?}, which is not simulated: \
                 take `clog` for a host that is not heard for a while",
                self.machines.borrow()[host].name
            ),
        }
    }

    /// Drops what the dead host had in memory; its destructors reach nothing any more.
    fn put_down(&self, host: usize) {
        let cores = self.machines.borrow_mut()[host].take_cores();
        super::host::end(cores);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("seed", &self.inner.seed)
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}
