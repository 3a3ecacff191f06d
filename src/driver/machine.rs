//! What this machine says about io_uring, and what follows from it: one diagnosis for all.
//!
//! [`Machine::look`] reads what decides whether a ring can be had, [`Machine::diagnose`] says what
//! an errno means on such a machine, and what to do. The builder's error and the doctor both ask
//! here, so that the advice is always the same.

use super::refusal::BuildErrorKind;
use super::survey::{self, Calls};
use super::sys;

/// The oldest kernel that has all that the runtime needs.
pub(crate) const OLDEST: (u32, u32) = (6, 1);

/// Why a ring cannot be had, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) kind: BuildErrorKind,
    /// What is in the way, in a sentence without its full stop.
    pub(crate) cause: String,
    /// What to do about it.
    pub(crate) cure: String,
}

impl Diagnosis {
    pub(crate) fn new(
        kind: BuildErrorKind,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Diagnosis {
        Diagnosis {
            kind,
            cause: cause.into(),
            cure: cure.into(),
        }
    }
}

/// How the kernel filters this thread's system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seccomp {
    Off,
    Strict,
    Filter,
}

/// What decides whether a ring can be had here. `None` is what cannot be found out.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) release: String,
    /// A word that only gVisor, a kernel in user space, says of itself.
    pub(crate) gvisor: bool,
    /// `kernel.io_uring_disabled`: 0 allowed, 1 for privileged processes or a group, 2 for none.
    pub(crate) sysctl: Option<u32>,
    pub(crate) sysctl_group: Option<i64>,
    /// This process may do what the sysctl's value 1 leaves to a few.
    pub(crate) privileged: bool,
    pub(crate) seccomp: Option<Seccomp>,
    /// Signs of a container, in the words in which they were found.
    pub(crate) container: Vec<&'static str>,
    /// The soft limit on locked memory, in bytes.
    pub(crate) memlock: u64,
    /// Which of the three system calls are refused.
    pub(crate) calls: Calls,
}

impl Machine {
    pub(crate) fn look() -> Machine {
        Machine::with_calls(survey::calls())
    }

    /// As [`look`](Machine::look), for one who wants to live on where a filter ends the process
    /// that makes a call.
    pub(crate) fn look_carefully() -> Machine {
        Machine::with_calls(match seccomp() {
            Some(Seccomp::Filter) => survey::calls_in_children(),
            _ => survey::calls(),
        })
    }

    fn with_calls(calls: Calls) -> Machine {
        let number = |path| sys::read_kernel_file(path).and_then(|text| text.trim().parse().ok());
        let sysctl_group = number("/proc/sys/kernel/io_uring_group");
        Machine {
            release: sys::kernel_release(),
            gvisor: is_gvisor(),
            sysctl: number("/proc/sys/kernel/io_uring_disabled").map(|n: i64| n as u32),
            sysctl_group,
            privileged: survey::has_capability(survey::CAP_SYS_ADMIN)
                || sysctl_group.is_some_and(survey::is_in_group),
            seccomp: seccomp(),
            container: container_signs(),
            memlock: sys::memlock_limit().map_or(u64::MAX, |(soft, _)| soft),
            calls,
        }
    }

    pub(crate) fn is_too_old(&self) -> bool {
        let mut parts = self.release.split(|c: char| !c.is_ascii_digit());
        let mut part = || {
            parts
                .next()
                .and_then(|text| text.parse::<u32>().ok())
                .unwrap_or(0)
        };
        (part(), part()) < OLDEST
    }

    /// Why the attempt to make a ring would end this process, if it would.
    pub(crate) fn deadly(&self) -> Option<Diagnosis> {
        let is_deadly = |(_, answer)| matches!(answer, survey::Answer::Ends(_));
        self.calls
            .each()
            .into_iter()
            .any(is_deadly)
            .then(|| self.filtered())
    }

    /// What an errno of the ring's set-up means on this machine.
    pub(crate) fn diagnose(&self, errno: Option<i32>) -> Diagnosis {
        use BuildErrorKind::*;
        match errno {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if self.is_disabled() => {
                self.disabled()
            }
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
                if self.seccomp == Some(Seccomp::Filter) =>
            {
                self.filtered()
            }
            Some(libc::ENOSYS | libc::EINVAL) if self.gvisor => Diagnosis::new(
                TooOld,
                "gVisor, the sandbox in which this runs, has no io_uring",
                "run the container on the host's kernel (`--runtime=runc`; in Kubernetes without \
                 the `runtimeClassName` of gVisor)",
            ),
            Some(libc::ENOSYS | libc::EINVAL) if self.is_too_old() => Diagnosis::new(
                TooOld,
                format!("Linux {} is too old", self.release),
                "run on Linux 6.1 or newer",
            ),
            Some(libc::ENOSYS | libc::EINVAL) => Diagnosis::new(
                TooOld,
                format!(
                    "Linux {} lacks io_uring or an operation that is needed (a kernel built \
                     without CONFIG_IO_URING, or a sandbox such as gVisor)",
                    self.release
                ),
                "run on a full kernel of 6.1 or newer",
            ),
            Some(libc::EPERM | libc::EACCES) => Diagnosis::new(
                Blocked,
                format!("a security module or sandbox forbids {}", self.refused()),
                "allow io_uring_setup, io_uring_enter and io_uring_register to this process",
            ),
            Some(libc::ENOMEM) => self.memlock_full(),
            Some(libc::EMFILE) => Diagnosis::new(
                Descriptors,
                "this process has no descriptor left",
                "raise its limit (`ulimit -n`, `LimitNOFILE=`) or close some",
            ),
            Some(libc::ENFILE) => Diagnosis::new(
                Descriptors,
                "the system has no descriptor left",
                "raise `sysctl fs.file-max`",
            ),
            _ => Diagnosis::new(
                Other,
                "no known cause",
                "look up the kernel's own error, which stands before this",
            ),
        }
    }

    /// The sysctl keeps this process out.
    fn is_disabled(&self) -> bool {
        match self.sysctl {
            None | Some(0) => false,
            Some(1) => !self.privileged,
            Some(_) => true,
        }
    }

    fn disabled(&self) -> Diagnosis {
        let value = self.sysctl.unwrap_or(2);
        let group = match (value, self.sysctl_group) {
            (1, Some(group)) if group >= 0 => {
                format!(", or run this process in the group {group} (kernel.io_uring_group)")
            }
            (1, _) => ", or name a group in kernel.io_uring_group".to_string(),
            _ => String::new(),
        };
        let mut cause = format!("the sysctl kernel.io_uring_disabled is {value}");
        let mut cure = format!("set it to 0 (`sysctl -w kernel.io_uring_disabled=0`){group}");
        // The sysctl guards the set-up alone: whoever refuses the others is somebody else.
        if self.seccomp == Some(Seccomp::Filter)
            && self.calls.refused().any(|call| !call.is_setup())
        {
            let filtered = self.filtered();
            cause = format!("{cause}; besides, {}", filtered.cause);
            cure = format!("{cure}; and {}", filtered.cure);
        }
        Diagnosis::new(BuildErrorKind::Disabled, cause, cure)
    }

    /// A seccomp filter answers in the kernel's place, or ends the process.
    fn filtered(&self) -> Diagnosis {
        let here = match self.container.first() {
            Some(sign) => format!("; this is a container: {sign}"),
            None => String::new(),
        };
        Diagnosis::new(
            BuildErrorKind::Blocked,
            format!(
                "a seccomp filter blocks {}, as the default profiles of Docker and containerd \
                 do{here}",
                self.refused()
            ),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's \
             profile (`--security-opt seccomp=profile.json`; `corering doctor --write-seccomp \
             profile.json` writes one)",
        )
    }

    /// The names of the refused calls, or what stands for all of them.
    fn refused(&self) -> String {
        let names: Vec<_> = self.calls.refused().map(|call| call.name()).collect();
        match names.as_slice() {
            [] => "io_uring".to_string(),
            [name] => (*name).to_string(),
            [names @ .., last] => format!("{} and {last}", names.join(", ")),
        }
    }

    fn memlock_full(&self) -> Diagnosis {
        Diagnosis::new(
            BuildErrorKind::LockedMemory,
            format!(
                "the limit on locked memory is {} KiB for all rings of this user, and even a \
                 small ring does not fit",
                self.memlock / 1024
            ),
            "raise it (`ulimit -l`, `LimitMEMLOCK=`, Docker's `--ulimit memlock`), or use fewer \
             cores or smaller rings (`Builder::ring_entries`)",
        )
    }
}

/// From `/proc`, or where that is missing from the kernel itself.
fn seccomp() -> Option<Seccomp> {
    let status = sys::read_kernel_file("/proc/thread-self/status");
    let mode = status.as_deref().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"))?;
        line.trim().parse().ok()
    });
    match mode.or_else(survey::seccomp_mode)? {
        0 => Some(Seccomp::Off),
        1 => Some(Seccomp::Strict),
        2 => Some(Seccomp::Filter),
        _ => None,
    }
}

fn is_gvisor() -> bool {
    // What its kernel calls itself since its first release; newer ones add their name.
    const BUILT: &str = "Sun Jan 10 15:06:54 PST 2016";
    let version = sys::read_kernel_file("/proc/version").unwrap_or_default();
    version.contains("gVisor") || version.contains(BUILT) || sys::kernel_version().ends_with(BUILT)
}

fn container_signs() -> Vec<&'static str> {
    let cgroup = sys::read_kernel_file("/proc/self/cgroup").unwrap_or_default();
    let named = |words: &[&str]| words.iter().any(|word| cgroup.contains(word));
    let signs = [
        (survey::exists("/.dockerenv"), "/.dockerenv (Docker)"),
        (
            survey::exists("/run/.containerenv"),
            "/run/.containerenv (Podman)",
        ),
        (
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            "KUBERNETES_SERVICE_HOST (Kubernetes)",
        ),
        (named(&["/docker/", "docker-"]), "a cgroup of Docker"),
        (named(&["kubepods"]), "a cgroup of Kubernetes"),
        (named(&["libpod"]), "a cgroup of Podman"),
        (named(&["/lxc", "lxc.payload"]), "a cgroup of LXC"),
    ];
    let found = signs.into_iter().filter(|(found, _)| *found);
    found.map(|(_, sign)| sign).collect()
}

#[cfg(test)]
mod tests {
    use super::super::survey::Answer;
    use super::*;

    fn machine() -> Machine {
        Machine {
            release: "6.18.44-x".into(),
            gvisor: false,
            sysctl: Some(0),
            sysctl_group: Some(-1),
            privileged: false,
            seccomp: Some(Seccomp::Off),
            container: Vec::new(),
            memlock: 65536,
            calls: Calls::default(),
        }
    }

    fn text_of(machine: &Machine, errno: i32) -> String {
        let Diagnosis { cause, cure, .. } = machine.diagnose(Some(errno));
        format!("{cause}: {cure}")
    }

    #[test]
    fn each_refusal_has_its_cause_and_cure() {
        let filtered = Machine {
            seccomp: Some(Seccomp::Filter),
            ..machine()
        };
        let with_sysctl = |value| Machine {
            sysctl: Some(value),
            ..machine()
        };
        let release = |release: &str| Machine {
            release: release.into(),
            ..machine()
        };
        let gvisor = Machine {
            gvisor: true,
            ..release("4.4.0")
        };
        let cases = [
            (with_sysctl(2), libc::EPERM, "io_uring_disabled=0"),
            (with_sysctl(1), libc::EPERM, "kernel.io_uring_group"),
            (filtered.clone(), libc::EPERM, "seccomp"),
            (filtered, libc::ENOSYS, "seccomp"),
            (release("5.15.0"), libc::EINVAL, "too old"),
            (gvisor, libc::ENOSYS, "--runtime=runc"),
            (machine(), libc::ENOSYS, "CONFIG_IO_URING"),
            (machine(), libc::EPERM, "security module"),
            (machine(), libc::ENOMEM, "64 KiB"),
            (machine(), libc::EMFILE, "ulimit -n"),
        ];
        for (machine, errno, word) in cases {
            let text = text_of(&machine, errno);
            assert!(text.contains(word), "{errno}: {text}");
        }
    }

    #[test]
    fn the_sysctl_is_blamed_only_where_it_applies() {
        let privileged = Machine {
            sysctl: Some(1),
            privileged: true,
            seccomp: Some(Seccomp::Filter),
            ..machine()
        };
        assert!(text_of(&privileged, libc::EPERM).starts_with("a seccomp filter"));
        let both = Machine {
            sysctl: Some(2),
            seccomp: Some(Seccomp::Filter),
            calls: Calls {
                setup: Answer::Refused(libc::EPERM),
                enter: Answer::Refused(libc::EPERM),
                register: Answer::Works,
            },
            ..machine()
        };
        let text = text_of(&both, libc::EPERM);
        assert!(
            text.contains("io_uring_disabled is 2; besides, a seccomp"),
            "{text}"
        );
        assert!(text.contains("io_uring_setup and io_uring_enter"), "{text}");
    }

    #[test]
    fn releases_are_compared_by_number() {
        for (release, old) in [
            ("6.1.0", false),
            ("6.0.19", true),
            ("5.15.0-100-generic", true),
            ("10.0", false),
            ("", true),
        ] {
            let machine = Machine {
                release: release.into(),
                ..machine()
            };
            assert_eq!(machine.is_too_old(), old, "{release:?}");
        }
    }
}
