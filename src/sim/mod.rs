//! A seeded simulation of machines, network, disks and clock, in which a service runs unchanged.
//!
//! The service's own code runs: its tasks, its sockets, its files, its timers, on the runtime that
//! it has in production. Only what is below the ring is simulated: a kernel that does, in an order
//! that a seed decides, whatever Linux may do. A run is a function of the binary and the seed: a
//! failure that was seen once can be seen again, as often as needed, with the same command. How to
//! test a service of your own is told step by step in the [`guide`].
//!
//! ```
//! use corering::net::{TcpListener, TcpStream};
//! use corering::sim::Sim;
//!
//! async fn serve() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("0.0.0.0:7000").await?;
//!     loop {
//!         let (mut stream, _) = listener.accept().await?;
//!         while let Some(chunk) = stream.recv().await? {
//!             stream.send_all(chunk).await.0?;
//!         }
//!     }
//! }
//!
//! corering::sim::seeds(0..20, |sim: &mut Sim| {
//!     sim.host("server").boot(|_core| async { serve().await.unwrap() });
//!     let client = sim.host("client").boot(|_core| async {});
//!     let echoed = sim.block_on(&client, async {
//!         // The server may not listen yet: a client that is worth its name tries again.
//!         let mut stream = loop {
//!             match TcpStream::connect("server:7000").await {
//!                 Ok(stream) => break stream,
//!                 Err(_) => corering::time::sleep(std::time::Duration::from_millis(5)).await,
//!             }
//!         };
//!         stream.write_all(b"hello").await.unwrap();
//!         let mut reply = [0; 5];
//!         stream.read_exact(&mut reply).await.unwrap();
//!         reply
//!     });
//!     assert_eq!(&echoed, b"hello");
//! });
//! ```
//!
//! # What is simulated
//! - **Machines** ([`Sim::host`]) of one or several cores, with addresses, descriptors, a disk.
//!   They can be [killed](Control::kill), lose their [power](Control::power_loss), and
//!   [boot](Control::restart) again.
//! - **The network**: TCP as byte pipes with buffers, segments, latency (the loopback has none with
//!   some seeds), half-close and resets; UDP with loss, duplicates and other orders, segments
//!   (`UDP_SEGMENT`), joined datagrams (`UDP_GRO`: which ones, the seed decides) and multicast
//!   groups on the network or the loopback; Unix sockets; [links](Link),
//!   [partitions](Control::partition) in one direction or both, links that [hold](Control::clog)
//!   what is sent.
//! - **Pipes** within a host, with the room and the atomic writes of Linux.
//! - **Signals**: what [`Control::signal`] sends is told to who listens for it, and does to a host
//!   that does not what the kernel would: `SIGTERM` ends it.
//! - **Disks**: what was written and not synced is lost, kept or torn at 512 bytes when the power
//!   goes, or was written back by the kernel meanwhile; names are durable once their directory is
//!   synced; full disks, failed syncs.
//! - **The clock**: it moves when nobody can run, so that an hour of waiting costs nothing.
//! - **[`Faults`]**: what goes wrong, and how often, as plain data.
//!
//! # What is checked in every run
//! Deadlock and livelock, with what each task waits for, be it a lock or a channel, and what waits
//! for the kernel, on which file or connection; bytes of every connection conserved; the memory of
//! zero-copy sends unchanged until their notification; no operation cancelled that nobody gave up,
//! no completion lost or taken for another's, no timer early; at the end of a host nothing left in
//! flight, no descriptor, no piece of a receive buffer, no task, no timer. With [`GuardAlloc`] as
//! the test's allocator, memory that is freed while the kernel has it aborts the test with the
//! operation's name; with AddressSanitizer it is a report.
//!
//! # What is not
//! Threads: the simulation is one thread. What a program does on threads of its own, by system
//! calls of its own, or with the standard library's files and sockets is outside. Permissions,
//! `SO_KEEPALIVE`, out-of-band data and devices are not simulated, nor does a signal stop a host
//! (`SIGSTOP`). Child processes, the standard streams, descriptors that travel through Unix sockets
//! and watched descriptors of the real machine give `Unsupported`, with what to do instead. All
//! hosts of a world share the program's statics.

mod control;
mod follow;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod host;
mod link;
mod seeds;

#[doc(hidden)]
pub use crate::driver::sim::{__Timespec, __clock_gettime, __getrandom};
pub use crate::driver::sim::{Faults, GuardAlloc};
pub use control::Control;
pub use link::Link;
pub use seeds::{seeds, weighted_seeds};

use crate::driver::sim::{Next, World};
use control::Order;
use host::{Boot, Machine};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Lines of the trace that a report shows.
const TOLD: usize = 60;
/// So many tasks of each core does a report name.
const TASKS_TOLD: usize = 64;

/// One simulation. It can do all that its [`Control`] can, and let time pass.
///
/// ```
/// let mut sim = corering::sim::Sim::new(7);
/// let host = sim.host("alone").boot(|_core| async {});
/// let slept = sim.block_on(&host, async {
///     let start = corering::time::Instant::now();
///     corering::time::sleep(std::time::Duration::from_secs(3600)).await;
///     start.elapsed()
/// });
/// assert!(slept.as_secs() >= 3600);
/// sim.finish();
/// ```
pub struct Sim {
    control: Control,
}

/// One machine of a simulation. A clone names the same one.
///
/// ```
/// let mut sim = corering::sim::Sim::new(7);
/// let host: corering::sim::Host = sim.host("alone").boot(|_core| async {});
/// assert_eq!(host.name(), "alone");
/// ```
#[derive(Clone)]
pub struct Host {
    index: usize,
    name: Rc<str>,
    address: IpAddr,
}

impl Host {
    /// Its name, which [`lookup_host`](crate::net::lookup_host) knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} {})", self.name, self.address)
    }
}

/// The properties of a machine that is to be added.
///
/// ```
/// let mut sim = corering::sim::Sim::new(7);
/// let builder: corering::sim::HostBuilder<'_> = sim.host("big").cores(4).disk_bytes(1 << 20);
/// let _host = builder.boot(|core| async move { assert!(core < 4) });
/// ```
pub struct HostBuilder<'a> {
    sim: &'a mut Sim,
    name: String,
    address: Option<IpAddr>,
    cores: usize,
    disk_bytes: u64,
    descriptors: usize,
}

impl HostBuilder<'_> {
    /// How many cores it has; 1 by default.
    ///
    /// # Panics
    /// If it is to have none.
    pub fn cores(mut self, cores: usize) -> Self {
        assert!(cores > 0, "a host needs at least one core");
        self.cores = cores;
        self
    }

    /// Its address; by default 10.0.0.1 for the first host, and so on.
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// How much its disk holds; 1 GiB by default.
    pub fn disk_bytes(mut self, bytes: u64) -> Self {
        self.disk_bytes = bytes;
        self
    }

    /// How many descriptors it may have open; 1024 by default.
    pub fn descriptors(mut self, max: usize) -> Self {
        self.descriptors = max;
        self
    }

    /// Adds the host, and starts its program: `main(core)` on each core, now and whenever it is
    /// [restarted](Control::restart). A core whose future is done goes on running its tasks.
    pub fn boot<F, Fut>(self, main: F) -> Host
    where
        F: Fn(usize) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let inner = &self.sim.control.inner;
        let number = inner.machines.borrow().len();
        let address = self.address.unwrap_or_else(|| {
            let [high, low] = (number as u16 + 1).to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
        });
        let world = &inner.world;
        let index = world.add_host(&self.name, vec![address], self.disk_bytes);
        world.set_descriptors_max(index, self.descriptors);
        let boot: Boot = Rc::new(move |core| Box::pin(main(core)));
        let mut machine = Machine::new(world, &self.name, self.cores, boot);
        machine.boot(world, index);
        inner.machines.borrow_mut().push(machine);
        Host {
            index,
            name: self.name.into(),
            address,
        }
    }
}

impl fmt::Debug for HostBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder")
            .field("name", &self.name)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    seed: u64,
    world: World,
    machines: RefCell<Vec<Machine>>,
    orders: RefCell<Vec<Order>>,
    /// A core has its turn.
    stepping: Cell<bool>,
    /// The panic of a future of the test, and whose it was.
    panics: Rc<RefCell<Option<(String, Panic)>>>,
}

type Panic = Box<dyn Any + Send>;

impl Sim {
    /// A simulation in which nothing goes wrong but what the program is told to expect: latencies,
    /// sizes and orders vary with the seed.
    pub fn new(seed: u64) -> Sim {
        Sim::with_faults(seed, Faults::none())
    }

    /// A simulation with faults.
    pub fn with_faults(seed: u64, faults: Faults) -> Sim {
        let inner = Inner {
            seed,
            world: World::new(seed, faults),
            machines: RefCell::default(),
            orders: RefCell::default(),
            stepping: Cell::new(false),
            panics: Rc::default(),
        };
        Sim {
            control: Control {
                inner: Rc::new(inner),
            },
        }
    }

    /// A machine to be added; it starts with [`boot`](HostBuilder::boot).
    pub fn host(&mut self, name: &str) -> HostBuilder<'_> {
        HostBuilder {
            sim: self,
            name: name.to_owned(),
            address: None,
            cores: 1,
            disk_bytes: 1 << 30,
            descriptors: 1024,
        }
    }

    /// What futures inside of the simulation use to change the world around them.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs the world until this future, as a task of the host's core 0, is done.
    ///
    /// # Panics
    /// If the host is down or dies meanwhile (then [`spawn`](Sim::spawn) the future on a host that
    /// stays up, and [`run_until`](Sim::run_until) it is done); with a report if nobody can run any
    /// more while the future still waits; with the panic of this future, of one that was
    /// [spawned](Sim::spawn), or of a host's first future.
    pub fn block_on<F>(&mut self, host: &Host, future: F) -> F::Output
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let output = Rc::new(RefCell::new(None));
        let place = output.clone();
        self.spawn(host, async move {
            let value = future.await;
            *place.borrow_mut() = Some(value);
        });
        let inner = self.control.inner.clone();
        loop {
            if let Some(output) = output.borrow_mut().take() {
                return output;
            }
            assert!(
                Rc::strong_count(&output) > 1,
                "the host {:?} died while a future of `block_on` ran on it: run it on a host that \
                 stays up, or use `spawn` and `run_until`\n{}",
                host.name,
                inner.report()
            );
            inner.step(u64::MAX);
        }
    }

    /// Starts a task on a host's core 0. It ends with the host.
    ///
    /// A panic of this task fails the simulation, unlike one of the tasks that the program itself
    /// spawns: those go to their `JoinHandle`, as ever, and
    /// [`panicked_tasks`](Sim::panicked_tasks) counts them.
    ///
    /// # Panics
    /// If the host is down.
    pub fn spawn(&mut self, host: &Host, future: impl Future<Output = ()> + 'static) {
        let inner = &self.control.inner;
        inner.obey();
        let machines = inner.machines.borrow();
        let core = machines[host.index].running.first();
        let core = core.unwrap_or_else(|| {
            panic!(
                "the host {:?} is down, so nothing can be started on it: `restart` it first",
                host.name
            )
        });
        let panics = inner.panics.clone();
        let who = format!("a task that the test has started on host {:?}", host.name);
        let mut future = Box::pin(future);
        let watched = poll_fn(move |cx| {
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))).unwrap_or_else(|panic| {
                panics.replace(Some((who.clone(), panic)));
                Poll::Ready(())
            })
        });
        core.inside(|| drop(crate::task::spawn(watched)));
    }

    /// How many tasks of a host's program have ended by a panic since it has booted: 0 if it is
    /// down. A panic goes to the task's `JoinHandle`; one that nobody awaits is seen here only.
    pub fn panicked_tasks(&self, host: &Host) -> u64 {
        self.control.inner.machines.borrow()[host.index].panicked_tasks()
    }

    /// Runs the world for this long, in its own time.
    pub fn run_for(&mut self, time: Duration) {
        let inner = &self.control.inner;
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        let until = inner.world.now().saturating_add(nanos);
        while inner.step(until) {}
    }

    /// Runs the world until this is true; it is asked after every turn.
    ///
    /// # Panics
    /// With a report if nobody can run any more and it is still false.
    pub fn run_until(&mut self, mut done: impl FnMut() -> bool) {
        while !done() {
            self.control.inner.step(u64::MAX);
        }
    }

    /// Ends all hosts in order, and checks that nothing is left.
    ///
    /// # Panics
    /// With what is left.
    pub fn finish(self) {
        self.control.inner.finish();
    }
}

impl Deref for Sim {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.control.fmt(f)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Clones of the control may live in the futures of its hosts: a circle that ends here.
        let machines = self.control.inner.machines.try_borrow_mut();
        for mut machine in machines
            .into_iter()
            .flat_map(|mut all| std::mem::take(&mut *all))
        {
            host::end(machine.take_cores());
        }
    }
}

impl Inner {
    fn is_up(&self, host: usize) -> bool {
        self.machines.borrow()[host].is_up()
    }

    /// Gives somebody a turn; false when the time is up.
    fn step(&self, until: u64) -> bool {
        self.obey();
        let mut machines = self.machines.borrow_mut();
        let find = |core: usize| {
            machines.iter().enumerate().find_map(|(host, machine)| {
                let at = machine.numbers.iter().position(|&number| number == core)?;
                Some((host, at))
            })
        };
        let next = self.world.next(until, |core| {
            find(core).is_some_and(|(host, at)| machines[host].running[at].has_work())
        });
        match next {
            Next::TimeIsUp => return false,
            Next::Run(core) => {
                let (host, at) = find(core).expect("only cores that are open are chosen");
                self.stepping.set(true);
                let turn = || machines[host].running[at].turn();
                let turned = catch_unwind(AssertUnwindSafe(turn));
                self.stepping.set(false);
                let who = format!("core {at} of host {:?}", machines[host].name);
                drop(machines);
                let panic = turned.err().map(|panic| (who, panic));
                if let Some((who, panic)) = panic.or_else(|| self.panics.take()) {
                    let elapsed = Duration::from_nanos(self.world.elapsed());
                    eprintln!("that was {who}, after {elapsed:?} of seed {}", self.seed);
                    resume_unwind(panic);
                }
                self.check_rules();
                // Now, so that whoever looks next sees who has died.
                self.obey();
            }
            Next::Deadlock => {
                drop(machines);
                panic!(
                    "deadlock: nobody can run, and nothing will happen\n{}",
                    self.report()
                );
            }
            Next::Livelock => {
                drop(machines);
                panic!(
                    "livelock: turn after turn is taken, and nothing happens\n{}",
                    self.report()
                );
            }
        }
        true
    }

    /// Panics where the runtime has broken one of its own rules.
    fn check_rules(&self) {
        if let Some(what) = self.world.take_complaint() {
            panic!("{what}\n{}", self.report());
        }
    }

    fn report(&self) -> String {
        let mut text = format!(
            "seed {}, after {:?} of simulated time\n",
            self.seed,
            Duration::from_nanos(self.world.elapsed())
        );
        if let Ok(machines) = self.machines.try_borrow() {
            for machine in machines.iter() {
                for (core, running) in machine.running.iter().enumerate() {
                    let first = if running.is_done() { "done" } else { "waits" };
                    text += &format!(
                        "{}/{core}: first future {first}, {} tasks, {} timers",
                        machine.name,
                        running.live_tasks(),
                        running.timers()
                    );
                    if running.panicked_tasks() > 0 {
                        text += &format!(", {} tasks have panicked", running.panicked_tasks());
                    }
                    text.push('\n');
                    for task in running.list_tasks(TASKS_TOLD) {
                        text += &format!("  {task}\n");
                    }
                }
                if !machine.is_up() {
                    text += &format!("{}: is down\n", machine.name);
                }
            }
            text += "what waits for the kernel (what tasks wait for beside it stands with them):\n";
        }
        text + &self.world.describe(TOLD)
    }

    fn finish(&self) {
        self.obey();
        let count = self.machines.borrow().len();
        for host in 0..count {
            let cores = self.machines.borrow_mut()[host].take_cores();
            let mut left = host::end(cores);
            left.extend(self.world.leftovers(host));
            self.check_rules();
            let name = self.machines.borrow()[host].name.clone();
            assert!(
                left.is_empty(),
                "host {name:?} has left behind: {left:#?}\n{}",
                self.report()
            );
        }
        self.world.check();
    }
}
