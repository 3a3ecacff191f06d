//! What the doctor found, as data.

use crate::driver::refusal::BuildErrorKind;
use std::time::Duration;

/// What the doctor found; made by [`doctor()`](super::doctor()) or [`Checkup::examine`].
///
/// Its `Display` is the text that the command prints, several lines of it. With the feature `cli`
/// it serializes (`serde::Serialize`); every field is always there, `null` where nothing is known,
/// times in nanoseconds.
///
/// [`Checkup::examine`]: super::Checkup::examine
///
/// ```no_run
/// use corering::doctor::Verdict;
/// let report = corering::doctor();
/// if report.verdict == Verdict::Refused {
///     eprintln!("{report}");
///     std::process::exit(2);
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// The kernel.
    pub kernel: Kernel,
    /// Whether a ring can be had, and what decides it.
    pub ring: Ring,
    /// Limits of this process and of the system.
    pub limits: Limits,
    /// The CPUs, against the cores that were asked for.
    pub cpus: Cpus,
    /// Every operation and flag that the crate uses, each of them tried.
    pub trials: Vec<Trial>,
    /// The measurement, if it was asked for and could be made.
    pub measured: Option<Measured>,
    /// What is wrong, the worst first, with its cure.
    pub findings: Vec<Finding>,
}

/// How well a runtime does here.
///
/// ```
/// use corering::doctor::Verdict;
/// assert!(Verdict::Fine < Verdict::Degraded && Verdict::Degraded < Verdict::Refused);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// Everything works.
    Fine,
    /// A runtime can be built, with less than everything.
    Degraded,
    /// No runtime can be built.
    Refused,
}

/// The kernel of this machine.
///
/// ```no_run
/// let kernel = corering::doctor().kernel;
/// println!("Linux {}, at least {}", kernel.release, kernel.oldest);
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Kernel {
    /// Its release, such as `6.18.44`.
    pub release: String,
    /// The oldest release that the crate runs on.
    pub oldest: &'static str,
    /// Whether the release is not older than that.
    pub old_enough: bool,
    /// It is gVisor's, a kernel in user space.
    pub gvisor: bool,
}

/// Whether a ring can be had, and what decides it.
///
/// ```no_run
/// let ring = corering::doctor().ring;
/// if let Some(errno) = ring.calls.iter().find(|call| !call.works).and_then(|call| call.errno) {
///     println!("errno {errno}, kernel.io_uring_disabled = {:?}", ring.sysctl);
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ring {
    /// A runtime with the cores that were asked for could be built.
    pub works: bool,
    /// The three system calls, each tried by itself.
    pub calls: Vec<SystemCall>,
    /// The sysctl `kernel.io_uring_disabled`: 0 allows io_uring to all, 1 to privileged processes
    /// and a group, 2 to nobody. `None` where it cannot be read.
    pub sysctl: Option<u32>,
    /// The sysctl `kernel.io_uring_group`; -1 is no group.
    pub sysctl_group: Option<i64>,
    /// How system calls are filtered: `off`, `strict` or `filter`.
    pub seccomp: Option<&'static str>,
    /// Signs of a container.
    pub container: Vec<&'static str>,
}

/// One of the three system calls of io_uring.
///
/// ```no_run
/// for call in corering::doctor().ring.calls {
///     println!("{}: {}", call.name, if call.works { "works" } else { "refused" });
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SystemCall {
    /// Its name.
    pub name: &'static str,
    /// The kernel answered it.
    pub works: bool,
    /// With what it was refused.
    pub errno: Option<i32>,
    /// The same in words.
    pub error: Option<String>,
}

/// Limits of this process and of the system.
///
/// ```no_run
/// let limits = corering::doctor().limits;
/// if limits.rings_fit.is_some_and(|rings| rings < 64) {
///     println!("at most {:?} cores", limits.rings_fit);
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Limits {
    /// The soft limit on locked memory in bytes; `None` is no limit.
    pub memlock_bytes: Option<u64>,
    /// The process has `CAP_IPC_LOCK` (root has), so that the kernel does not count its rings.
    pub memlock_exempt: bool,
    /// Bytes of locked memory that a core's ring takes with the builder's default settings.
    pub ring_bytes: u64,
    /// How many such rings the limit holds: computed, for all processes of this user together.
    /// `None` is any number.
    pub rings_fit: Option<u64>,
    /// The soft limit on descriptors.
    pub descriptors: u64,
    /// Up to which the process may raise it.
    pub descriptors_max: u64,
    /// The sysctl `net.core.somaxconn`: connections that may wait at a listener.
    pub somaxconn: Option<u64>,
}

/// The CPUs, against the cores that were asked for.
///
/// ```no_run
/// let cpus = corering::doctor::Checkup::new().cores(8).examine().cpus;
/// println!("{} cores on the CPUs {:?}", cpus.cores_asked, cpus.allowed);
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cpus {
    /// The CPUs that this thread may run on.
    pub allowed: Vec<usize>,
    /// How many CPUs' time the cgroup may use; `None` is no quota.
    pub quota: Option<f64>,
    /// The file that says so.
    pub quota_from: Option<String>,
    /// The cores that were asked for.
    pub cores_asked: usize,
}

/// An operation or a flag that the crate uses, and what came of trying it.
///
/// ```no_run
/// use corering::doctor::Outcome;
/// for trial in corering::doctor().trials {
///     if trial.outcome != Outcome::Works {
///         println!("{} (Linux {}): {:?}", trial.name, trial.since, trial.detail);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Trial {
    /// Its name: liburing's in small letters, or that of a feature in `CORERING_MASK`.
    pub name: &'static str,
    /// The kernel version that brought it.
    pub since: &'static str,
    /// The crate has another way where it is missing.
    pub optional: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// Why, if it does not work.
    pub detail: Option<String>,
}

/// What came of a [`Trial`].
///
/// ```
/// use corering::doctor::Outcome;
/// assert_ne!(Outcome::Works, Outcome::Masked);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// It was performed, and did what it should.
    Works,
    /// The environment variable `CORERING_MASK` forbids its use.
    Masked,
    /// It was performed, and did not do what it should.
    Fails,
    /// It could not be performed, for want of something else.
    NotTried,
}

/// A measurement of about a second, on one core: a measure of this machine, not of the crate.
///
/// ```no_run
/// let report = corering::doctor::Checkup::new().measure(true).examine();
/// if let Some(measured) = report.measured {
///     println!("{} nops a second", measured.nops_per_second);
/// }
/// ```
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Measured {
    /// Operations that do nothing, one after the other.
    pub nops_per_second: u64,
    /// 64 bytes there and back over TCP on loopback, client and server on one core: the median.
    #[cfg_attr(
        feature = "cli",
        serde(rename = "echo_p50_nanos", serialize_with = "as_nanos")
    )]
    pub echo_p50: Option<Duration>,
    /// The same: all but one of a hundred are faster.
    #[cfg_attr(
        feature = "cli",
        serde(rename = "echo_p99_nanos", serialize_with = "as_nanos")
    )]
    pub echo_p99: Option<Duration>,
    /// A write of 4 KiB into the page cache: the median.
    #[cfg_attr(
        feature = "cli",
        serde(rename = "write_4k_p50_nanos", serialize_with = "as_nanos")
    )]
    pub write_4k_p50: Option<Duration>,
    /// A write of 1 MiB into the page cache: the median.
    #[cfg_attr(
        feature = "cli",
        serde(rename = "write_1m_p50_nanos", serialize_with = "as_nanos")
    )]
    pub write_1m_p50: Option<Duration>,
}

#[cfg(feature = "cli")]
fn as_nanos<S: serde::Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&time.map(|time| time.as_nanos() as u64), serializer)
}

/// Something that is wrong, and its cure.
///
/// ```no_run
/// for finding in corering::doctor().findings {
///     println!("{}: {}", finding.cause, finding.cure);
///     for remedy in finding.remedies {
///         println!("  {}:\n{}", remedy.place, remedy.lines);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// For a refusal: of which kind, as a [`BuildError`](crate::BuildError) says it.
    pub kind: Option<BuildErrorKind>,
    /// What is in the way.
    pub cause: String,
    /// What to do about it.
    pub cure: String,
    /// The same, word for word, for the places where it can be set.
    pub remedies: Vec<Remedy>,
}

/// Lines to put into a place.
///
/// ```no_run
/// let report = corering::doctor();
/// let units = report.findings.iter().flat_map(|finding| &finding.remedies);
/// for remedy in units.filter(|remedy| remedy.place == "systemd unit") {
///     println!("{}", remedy.lines);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Remedy {
    /// Where they go, such as `systemd unit` or `compose.yaml`.
    pub place: &'static str,
    /// The lines.
    pub lines: String,
}
