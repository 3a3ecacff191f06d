//! The settings of a runtime.

use super::Runtime;
use super::core::{Core, CoreConfig};
use super::handle::Shared;
use super::workers::{Place, Workers, pin};
use crate::driver;
use crate::driver::buf_ring::{MESSAGE_HEAD_BYTES, PoolConfig};
use crate::driver::refusal::BuildError;
use crate::driver::restrict::Restrict;
use crate::driver::{kernel, sys};
use crate::task::{Hooks, Stall, TaskPanic};
use std::sync::Arc;
use std::time::Duration;

/// The settings of a runtime; made by [`Runtime::builder`].
///
/// Every default is finite and fits a machine as it comes: a core's ring takes about 80 KiB of
/// locked memory, and its receive buffers up to 8 MiB of ordinary memory, touched as needed.
///
/// # Limits
/// What can pile up has a limit, and [`Metrics`](crate::Metrics) shows how near it is:
///
/// | what | limit | set by | seen in |
/// |---|---|---|---|
/// | receive buffers of a core | 8 MiB | [`recv_buffers`](Builder::recv_buffers) | `buffers`, `buffer_bytes`, `buffers_available`, `starved` |
/// | receives into the heap of a core | 64 MiB | [`heap_receive_bytes`](Builder::heap_receive_bytes) | `heap_receives`, `heap_receive_bytes`, `heap_receives_put_off` |
/// | received and not read, of a stream | 256 KiB; then TCP slows the sender down | | `stops` |
/// | written and not sent, of a stream | 64 KiB behind what is in flight; then writers wait | | |
/// | parts of files that the kernel sends, of a core | 1024 of 1 MiB; then files are read | | |
/// | accepted and not taken, of a listener | 1024 connections; then they wait in the kernel | | `stops` |
/// | accepts without a descriptor left | again after 5 ms, doubling up to 1 s | | `accept_backoffs` |
/// | zero-copy sends in flight, of a core | 64 MiB; then they copy | [`zero_copy_bytes`](Builder::zero_copy_bytes) | `zero_copy_bytes`, `zero_copy_copied` |
/// | wakes and spawns from other threads | none, as they never wait; counted beyond 16,384 a turn | | `inbox_peak`, `inbox_warnings` |
/// | kernel workers of a core | 4 and 8 | [`kernel_workers`](Builder::kernel_workers) | `kernel_workers` |
/// | completions of a turn | 4096, and 32 of one receive | | `completions` |
/// | polls and time of a turn | 256 and 500 µs | [`budget`](Builder::budget) | `polls` |
/// | threads of `spawn_blocking`, of the process | 500 | the variable `BLOCKING_MAX_THREADS` | |
/// | host names that wait for the machine's resolver | 1024; more are refused | | |
///
/// Servers have theirs in `http::Limits`.
///
/// ```no_run
/// # fn main() -> Result<(), corering::BuildError> {
/// use std::time::Duration;
/// let runtime = corering::Runtime::builder()
///     .cores(2)
///     .name("http")
///     .ring_entries(512)
///     .shutdown_grace(Duration::from_secs(2))
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `build`"]
pub struct Builder {
    cores: Cores,
    pin: Option<bool>,
    cpus: Vec<usize>,
    name: String,
    core: CoreConfig,
}

#[derive(Clone, Copy, Debug)]
enum Cores {
    Some(usize),
    /// As many as this thread may run on.
    All,
}

const KIB: u32 = 1024;
const ENTRIES_MAX: u32 = 32768;
/// As many CPUs as an affinity mask of the C library names.
const CORES_MAX: usize = 1024;

impl Builder {
    pub(super) fn new() -> Builder {
        let core = CoreConfig {
            driver: driver::Config {
                entries: 256,
                completions: 4096,
                workers: [4, 8],
                incremental: PoolConfig {
                    count: 64,
                    len: 128 * KIB,
                },
                plain: PoolConfig {
                    count: 512,
                    len: 16 * KIB,
                },
                heap_receive_bytes_max: 64 << 20,
                zero_copy_bytes_max: 64 << 20,
                spin_nanos: 0,
                inline_files: false,
                restrict: None,
                datagrams: datagrams(256, 64 * KIB),
            },
            budget_polls: 256,
            budget_micros: 500,
            grace: Duration::from_secs(1),
            hooks: Hooks::default(),
        };
        Builder {
            cores: Cores::Some(1),
            pin: None,
            cpus: Vec::new(),
            name: "corering".into(),
            core,
        }
    }

    /// How many cores. The default is 1.
    pub fn cores(mut self, cores: usize) -> Builder {
        self.cores = Cores::Some(cores);
        self
    }

    /// One core for each CPU that this thread may run on.
    pub fn all_cores(mut self) -> Builder {
        self.cores = Cores::All;
        self
    }

    /// Whether each core keeps to one CPU. By default it does where there is more than one core
    /// and a CPU for each. Core 0 pins the thread that builds the runtime, until it is dropped.
    pub fn pin(mut self, pin: bool) -> Builder {
        self.pin = Some(pin);
        self
    }

    /// The CPUs of cores 0, 1 and so on, and that the cores are pinned to them.
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Builder {
        self.cpus = cpus.into_iter().collect();
        self.pin = Some(true);
        self
    }

    /// The name of the threads of cores 1 and up, which are called `name-1` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// Entries of each core's submission queue: a power of two from 8 to 32768; 256 by default.
    /// More operations than that may be in flight; so many go to the kernel in one call.
    pub fn ring_entries(mut self, entries: u32) -> Builder {
        self.core.driver.entries = entries;
        self
    }

    /// Entries of each core's completion queue, 4096 by default. It may overflow without loss,
    /// but slowly.
    pub fn completion_entries(mut self, entries: u32) -> Builder {
        self.core.driver.completions = entries;
        self
    }

    /// Receive buffers of each core: how many (a power of two up to 32768), of how many bytes
    /// each. The default is 64 of 128 KiB where the kernel fills buffers piece by piece (6.12),
    /// and 512 of 16 KiB where each holds a single receive.
    pub fn recv_buffers(mut self, count: u16, bytes: u32) -> Builder {
        let config = PoolConfig { count, len: bytes };
        self.core.driver.incremental = config;
        self.core.driver.plain = config;
        self
    }

    /// How many bytes of each core may wait in receives into the heap, which stand in where there
    /// is no receive buffer: 64 MiB by default, 16 KiB each. Streams beyond that wait until
    /// something has come before they take memory for it.
    pub fn heap_receive_bytes(mut self, bytes: u64) -> Builder {
        self.core.driver.heap_receive_bytes_max = bytes;
        self
    }

    /// How many bytes of each core zero-copy sends may lend to the kernel at a time: 64 MiB by
    /// default. Sends beyond that copy.
    pub fn zero_copy_bytes(mut self, bytes: u64) -> Builder {
        self.core.driver.zero_copy_bytes_max = bytes;
        self
    }

    /// Receive buffers for datagrams of each core: how many (a power of two up to 32768), for
    /// datagrams of how many bytes at most; 256 for 64 KiB by default. Only pages that were
    /// filled take memory. Longer datagrams are cut off, unless their socket
    /// [says otherwise](crate::net::UdpSocket::set_datagram_len_max).
    pub fn datagram_buffers(mut self, count: u16, bytes: u32) -> Builder {
        self.core.driver.datagrams = datagrams(count, bytes);
        self
    }

    /// Kernel workers for file operations of each core: for reads and writes of files, and for
    /// everything that may wait for long. 4 and 8 by default.
    pub fn kernel_workers(mut self, bounded: u32, unbounded: u32) -> Builder {
        self.core.driver.workers = [bounded, unbounded];
        self
    }

    /// After how many polls, or how much time, tasks that are always ready let the kernel have a
    /// turn. 256 polls and 500 µs by default.
    pub fn budget(mut self, polls: u32, time: Duration) -> Builder {
        self.core.budget_polls = polls;
        self.core.budget_micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self
    }

    /// How long a core that has nothing to do looks for something before it sleeps. Not at all by
    /// default; 10 s at most.
    ///
    /// A core that still looks takes what comes, from the kernel or from another core, without the
    /// cost of being woken up: with 50 µs the latency of one connection on one machine is about
    /// half. It burns so much of its CPU before each sleep, also while it is the only one to talk,
    /// so it is for cores that have a CPU of their own and seldom rest.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// use std::time::Duration;
    /// let runtime = corering::Runtime::builder().spin(Duration::from_micros(50)).build()?;
    /// # Ok(()) }
    /// ```
    pub fn spin(mut self, time: Duration) -> Builder {
        self.core.driver.spin_nanos = time.min(Duration::from_secs(10)).as_nanos() as u64;
        self
    }

    /// Whether small file operations are performed on the spot, by plain system calls, as long as
    /// they are quick. Off by default: then the loop never waits for a disk.
    ///
    /// The kernel's ring gives the making of a file, and most file systems' buffered writes, to
    /// worker threads, whose CPU finds the bytes cold; small writes one after the other cost half
    /// without that, files of 64 KiB a tenth to a third less. The price of this: such a call may
    /// find the disk busy, or full of what is still to be written, and everything on this core
    /// waits with it. After a call that took longer than 1 ms the ring is used, for ten times as
    /// long as it took, and after 1 ms of such calls for the rest of the turn. So it is for local
    /// disks and for work that bears a pause of that kind.
    ///
    /// On the spot: opening with `create` or `truncate`, writes with an offset up to 128 KiB,
    /// closing, metadata of a path, making a directory, links, renaming. By the ring, always:
    /// reads, syncing, removing, reserving, cutting off, and writes to files that were opened
    /// `direct` or synchronous. It has no effect together with [`restrict`](Builder::restrict), or
    /// in a simulation. [`Metrics::inline_files`](crate::Metrics) counts what was performed so.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// let runtime = corering::Runtime::builder().inline_files(true).build()?;
    /// # Ok(()) }
    /// ```
    pub fn inline_files(mut self, inline: bool) -> Builder {
        self.core.driver.inline_files = inline;
        self
    }

    /// Limits each core's ring to these operations, for as long as it lives: the ring is made
    /// disabled, given its list (`IORING_REGISTER_RESTRICTIONS`), and only then enabled, so nothing
    /// ever goes past the list. Nothing more can be registered with such a ring either. By default
    /// anything may be asked; the environment variable `CORERING_RESTRICT` gives a list to a
    /// program whose builder does not (names of sets with commas between them, such as
    /// `net,read_files`).
    ///
    /// An operation outside of the list fails with `PermissionDenied`, and its text names the set
    /// that is missing. See [`Restrict`] for what a list does not cover.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// use corering::Restrict;
    /// let runtime = corering::Runtime::builder().restrict(Restrict::net()).build()?;
    /// # Ok(()) }
    /// ```
    pub fn restrict(mut self, to: Restrict) -> Builder {
        self.core.driver.restrict = Some(to);
        self
    }

    /// How long the end of the runtime waits for the kernel to give back the memory of operations
    /// that cannot be cancelled (a disk write). What is not back then is leaked. 1 s by default.
    pub fn shutdown_grace(mut self, grace: Duration) -> Builder {
        self.core.grace = grace.min(Duration::from_secs(3600));
        self
    }

    /// Reports every poll of a task that takes this long, or longer: meanwhile nothing else of its
    /// core runs. Off by default; it costs two looks at the clock a poll (about 40 ns).
    ///
    /// Each such poll is reported once, when it is over, to [`on_stall`](Builder::on_stall), or to
    /// standard error where no hook is set; and counted in [`Metrics`](crate::Metrics). A task that
    /// never comes back is therefore never reported.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// use std::time::Duration;
    /// let mut runtime = corering::Runtime::builder()
    ///     .stall_threshold(Duration::from_millis(100))
    ///     .on_stall(|stall| eprintln!("core {}: {stall}", stall.core))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn stall_threshold(mut self, threshold: Duration) -> Builder {
        let nanos = u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX);
        self.core.hooks.stall = Some((nanos.max(1), kernel::now));
        self
    }

    /// Who hears of stalls; see [`stall_threshold`](Builder::stall_threshold). It is called on the
    /// core that was held, and should be quick. What it panics with ends there.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Builder {
        self.core.hooks.on_stall = Some(Arc::new(hook));
        self
    }

    /// Who hears of panics that nobody else will: those of tasks whose handle was dropped, before
    /// the panic or after. By default nobody does; std's panic hook has printed them either way.
    ///
    /// It is called on the task's core, and should be quick. What it panics with ends there. A
    /// program that shall not outlive such a panic calls `std::process::abort` in it.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// let mut runtime = corering::Runtime::builder()
    ///     .on_task_panic(|panic| eprintln!("core {}: {}", panic.core, panic.error))
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn on_task_panic(mut self, hook: impl Fn(&TaskPanic) + Send + Sync + 'static) -> Builder {
        self.core.hooks.on_panic = Some(Arc::new(hook));
        self
    }

    /// Whether every task's place of birth is kept, and what it waits for in
    /// [`sync`](crate::sync), for [`task::all`](crate::task::all) and for the report at the end:
    /// one entry of a table a task, and one a wait. By default only tasks that a
    /// [`task::Builder`](crate::task::Builder) made have it.
    pub fn track_tasks(mut self, track: bool) -> Builder {
        self.core.hooks.track = track;
        self
    }

    /// Starts the runtime.
    ///
    /// # Errors
    /// [`BuildError`], whose text names the cause and the cure: a setting that cannot be
    /// fulfilled, or a machine that refuses io_uring. Nothing is left behind then.
    pub fn build(mut self) -> Result<Runtime, BuildError> {
        if self.core.driver.restrict.is_none() {
            self.core.driver.restrict = Restrict::of_environment().map_err(BuildError::explain)?;
        }
        let allowed = sys::allowed_cpus().unwrap_or_default();
        let cores = match self.cores {
            Cores::Some(cores) => cores,
            Cores::All => allowed.len().max(1),
        };
        self.check(cores)?;
        let hooks = &mut self.core.hooks;
        if hooks.stall.is_some() && hooks.on_stall.is_none() {
            hooks.on_stall = Some(Arc::new(print_stall));
        }
        let places = self.places(cores, &allowed);
        let unpin = Unpin::remember(places[0].cpu.is_some(), &allowed);
        pin(places[0].cpu)?;
        let mut core = Core::new(0, self.core.clone())?;
        let workers = Workers::start(places[1..].to_vec(), self.core)?;
        let remotes = std::iter::once(core.remote())
            .chain(workers.remotes())
            .collect();
        let shared = Arc::new(Shared::new(remotes));
        core.join_runtime(shared.clone());
        workers.introduce(&shared);
        Ok(Runtime {
            core: Some(core),
            workers,
            shared,
            _unpin: unpin,
        })
    }

    /// Bytes of locked memory that a core's ring takes with the default settings, as the kernel
    /// counts it: whole pages for the entries, and for the completions with the queues' heads.
    pub(crate) fn default_ring_bytes() -> u64 {
        const PAGE: u64 = 4096;
        let config = Builder::new().core.driver;
        let entries = u64::from(config.entries) * 64;
        let completions = u64::from(config.completions) * 16 + 512;
        (entries.div_ceil(PAGE) + completions.div_ceil(PAGE)) * PAGE
    }

    fn check(&self, cores: usize) -> Result<(), BuildError> {
        let driver = &self.core.driver;
        let (pool, messages) = (driver.incremental, driver.datagrams);
        let problem = if cores == 0 {
            "a runtime needs at least one core".to_string()
        } else if cores > CORES_MAX {
            format!("{cores} cores were asked for, {CORES_MAX} are the most")
        } else if self.name.contains('\0') {
            format!("{:?} is no name of a thread: it has a NUL", self.name)
        } else if !self.cpus.is_empty() && self.cpus.len() < cores {
            format!(
                "{cores} cores were asked for, but only {} CPUs named",
                self.cpus.len()
            )
        } else if !driver.entries.is_power_of_two() || !(8..=ENTRIES_MAX).contains(&driver.entries)
        {
            format!(
                "ring_entries must be a power of two from 8 to 32768, not {}",
                driver.entries
            )
        } else if driver.completions < driver.entries {
            format!(
                "completion_entries ({}) must not be below ring_entries ({})",
                driver.completions, driver.entries
            )
        } else if !pool.count.is_power_of_two() || pool.count > 1 << 15 {
            format!(
                "the count of recv_buffers must be a power of two, not {}",
                pool.count
            )
        } else if pool.len < 64 || pool.len > 1 << 30 {
            format!(
                "recv_buffers must have 64 bytes to 1 GiB each, not {}",
                pool.len
            )
        } else if !messages.count.is_power_of_two() || messages.count > 1 << 15 {
            format!(
                "the count of datagram_buffers must be a power of two, not {}",
                messages.count
            )
        } else if messages.len <= MESSAGE_HEAD_BYTES || messages.len > 1 << 30 {
            "datagram_buffers must have 1 byte to 1 GiB each".to_string()
        } else if self.core.budget_polls == 0 {
            "a budget of no polls would run no task".to_string()
        } else {
            return Ok(());
        };
        Err(BuildError::settings(problem))
    }

    fn places(&self, cores: usize, allowed: &[usize]) -> Vec<Place> {
        let cpus = if self.cpus.is_empty() {
            allowed
        } else {
            &self.cpus
        };
        let pin = self.pin.unwrap_or(cores > 1 && cpus.len() >= cores) && !cpus.is_empty();
        let place = |core: usize| Place {
            name: format!("{}-{core}", self.name),
            cpu: pin.then(|| cpus[core % cpus.len()]),
        };
        (0..cores).map(place).collect()
    }
}

/// Each buffer has room for what comes with a datagram, too.
fn datagrams(count: u16, bytes: u32) -> PoolConfig {
    let len = match bytes {
        0 => 0,
        bytes => bytes.saturating_add(MESSAGE_HEAD_BYTES),
    };
    PoolConfig { count, len }
}

/// Where stalls are reported unless told.
fn print_stall(stall: &Stall) {
    eprintln!("corering: core {}: {stall}", stall.core);
}

/// Lets the thread of core 0 run where it could before, once the runtime is gone.
pub(super) struct Unpin(Option<Vec<usize>>);

impl Unpin {
    fn remember(pinned: bool, allowed: &[usize]) -> Unpin {
        Unpin(pinned.then(|| allowed.to_vec()))
    }
}

impl Drop for Unpin {
    fn drop(&mut self) {
        if let Some(cpus) = &self.0 {
            // The CPUs may have been taken away meanwhile; then the thread stays where it is.
            let _ = sys::pin_to(cpus);
        }
    }
}
