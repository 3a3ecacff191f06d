//! The doctor: whether a runtime does well on this machine, and if not, why and what helps.
//!
//! ```text
//!   driver::machine, survey ──► what the machine says ─┐
//!   a runtime, built ──────────► refused, and why ─────┼─► Report ──► its text, or JSON
//!   trials, one for each row ──► works, masked, fails ─┤     ▲
//!   measure, if asked ─────────► figures ──────────────┘     └── cure: what to do
//! ```
//! Nothing is concluded from a version number: what can be tried is tried. The cause and the cure
//! of a refusal are those of the [`BuildError`](crate::BuildError) that the same machine gives.

mod cpus;
mod cure;
mod measure;
mod report;
mod seccomp;
mod text;
mod trials;

pub use report::{
    Cpus, Finding, Kernel, Limits, Measured, Outcome, Remedy, Report, Ring, SystemCall, Trial,
    Verdict,
};
pub use seccomp::seccomp_profile;

use crate::driver::machine::{Diagnosis, Machine, Seccomp};
use crate::driver::refusal::BuildErrorKind;
use crate::driver::survey::{self, Answer, TempDir};
use crate::driver::sys;
use crate::runtime::{Builder, Runtime};
use std::io;
use std::time::Duration;
use trials::Known;

/// Examines this machine for a runtime of one core; see [`Checkup`] for more.
///
/// It tries the three system calls of io_uring, builds a runtime, performs every operation and
/// flag that the crate uses, on temporary files and loopback, and holds the limits and the CPUs
/// against what is needed. That takes some fifty milliseconds, and where operations do not answer
/// some ten seconds. It works on a thread of its own, blocks this one, and may be called anywhere,
/// also inside of a runtime (where it stops the loop for that long).
///
/// The command `corering doctor` (feature `cli`) prints the same.
///
/// ```no_run
/// let report = corering::doctor();
/// println!("{report}");
/// for finding in &report.findings {
///     eprintln!("{}: {}", finding.cause, finding.cure);
/// }
/// ```
pub fn doctor() -> Report {
    Checkup::new().examine()
}

/// What the doctor is asked: [`doctor()`] with settings.
///
/// ```no_run
/// use corering::doctor::{Checkup, Verdict};
/// let report = Checkup::new().cores(4).measure(true).examine();
/// assert_ne!(report.verdict, Verdict::Refused, "{report}");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is examined before `examine`"]
pub struct Checkup {
    cores: usize,
    measure: bool,
}

impl Default for Checkup {
    fn default() -> Checkup {
        Checkup::new()
    }
}

impl Checkup {
    /// One core, nothing measured.
    pub fn new() -> Checkup {
        Checkup {
            cores: 1,
            measure: false,
        }
    }

    /// For how many cores the machine shall do. The default is 1, as the
    /// [`Builder`]'s.
    pub fn cores(mut self, cores: usize) -> Checkup {
        self.cores = cores;
        self
    }

    /// Whether to measure for about a second: operations, an echo, file writes. It is not, unless
    /// asked for.
    pub fn measure(mut self, measure: bool) -> Checkup {
        self.measure = measure;
        self
    }

    /// Examines the machine. Whatever it finds is in the report; there is no error.
    pub fn examine(self) -> Report {
        // A thread of its own: this one may be inside of a runtime.
        let body = move || self.examine_here();
        let thread = std::thread::Builder::new()
            .name("corering-doctor".into())
            .spawn(body);
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(report)) => report,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => self.without_thread(&error),
        }
    }

    fn examine_here(self) -> Report {
        let machine = Machine::look_carefully();
        let mut report = self.look(&machine);
        match self.build(&machine) {
            Ok((runtime, known)) => self.try_out(&mut report, runtime, known),
            Err(diagnosis) => {
                report.trials = trials::untried("no runtime can be built");
                report.findings.push(cure::refused(&diagnosis));
            }
        }
        report.conclude();
        report
    }

    /// What can be seen without a ring.
    fn look(self, machine: &Machine) -> Report {
        let quota = cpus::quota();
        Report {
            verdict: Verdict::Fine,
            kernel: Kernel {
                release: machine.release.clone(),
                oldest: "6.1",
                old_enough: !machine.is_too_old(),
                gvisor: machine.gvisor,
            },
            ring: ring(machine),
            limits: limits(machine),
            cpus: Cpus {
                allowed: sys::allowed_cpus().unwrap_or_default(),
                quota: quota.as_ref().map(|(quota, _)| *quota),
                quota_from: quota.map(|(_, from)| from),
                cores_asked: self.cores,
            },
            trials: Vec::new(),
            measured: None,
            findings: Vec::new(),
        }
    }

    fn build(self, machine: &Machine) -> Result<(Runtime, Known), Diagnosis> {
        if let Some(diagnosis) = machine.deadly() {
            return Err(diagnosis);
        }
        let builder = Runtime::builder()
            .cores(self.cores)
            .name("corering-doctor")
            .shutdown_grace(GRACE);
        let runtime = builder.build().map_err(|error| error.diagnosis().clone())?;
        let known = Known::ask().map_err(|error| machine.diagnose(error.raw_os_error()))?;
        Ok((runtime, known))
    }

    fn try_out(self, report: &mut Report, mut runtime: Runtime, known: Known) {
        report.ring.works = true;
        let dir = TempDir::new().map_err(|error: io::Error| error.to_string());
        report.trials = trials::run(&mut runtime, known, dir);
        if self.measure {
            let dir = TempDir::new().ok();
            report.measured = Some(runtime.block_on(measure::measure(dir.as_ref())));
        }
        report.findings = cure::degraded(&report.limits, &report.cpus, &report.trials);
    }

    /// Not even a thread is to be had.
    fn without_thread(self, error: &io::Error) -> Report {
        let mut report = self.look(&Machine::look_carefully());
        let diagnosis = Diagnosis::new(
            BuildErrorKind::Thread,
            format!("a thread could not be started ({error})"),
            "raise the limit on processes (`ulimit -u`)",
        );
        report.trials = trials::untried("a thread could not be started");
        report.findings.push(cure::refused(&diagnosis));
        report.conclude();
        report
    }
}

/// How long an operation that hangs may hold up the end.
const GRACE: Duration = Duration::from_millis(200);

impl Report {
    fn conclude(&mut self) {
        self.findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        let worst = self.findings.first().map(|finding| finding.verdict);
        self.verdict = worst.unwrap_or(Verdict::Fine);
    }
}

fn ring(machine: &Machine) -> Ring {
    let calls = machine.calls.each().map(|(call, answer)| {
        let (errno, error) = match answer {
            Answer::Works => (None, None),
            Answer::Refused(errno) => {
                let error = io::Error::from_raw_os_error(errno).to_string();
                (Some(errno), Some(error))
            }
            Answer::Ends(signal) => {
                let error = format!("signal {signal} ends the process that calls it");
                (None, Some(error))
            }
        };
        SystemCall {
            name: call.name(),
            works: answer == Answer::Works,
            errno,
            error,
        }
    });
    Ring {
        works: false,
        calls: calls.into(),
        sysctl: machine.sysctl,
        sysctl_group: machine.sysctl_group,
        seccomp: machine.seccomp.map(|mode| match mode {
            Seccomp::Off => "off",
            Seccomp::Strict => "strict",
            Seccomp::Filter => "filter",
        }),
        container: machine.container.clone(),
    }
}

fn limits(machine: &Machine) -> Limits {
    let memlock_bytes = (machine.memlock != u64::MAX).then_some(machine.memlock);
    let memlock_exempt = survey::has_capability(survey::CAP_IPC_LOCK);
    let ring_bytes = Builder::default_ring_bytes();
    let rings_fit = memlock_bytes
        .filter(|_| !memlock_exempt)
        .map(|bytes| bytes / ring_bytes);
    let (descriptors, descriptors_max) = survey::descriptor_limit();
    let somaxconn = sys::read_kernel_file("/proc/sys/net/core/somaxconn");
    Limits {
        memlock_bytes,
        memlock_exempt,
        ring_bytes,
        rings_fit,
        descriptors,
        descriptors_max,
        somaxconn: somaxconn.and_then(|text| text.trim().parse().ok()),
    }
}
