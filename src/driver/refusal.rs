//! Why this machine refuses a ring, and what to do about it.

use super::sys;
use std::fmt;
use std::io;

/// Why a runtime could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The sysctl `kernel.io_uring_disabled` forbids io_uring to this process.
    Disabled,
    /// A seccomp profile (usually a container's) or a security module forbids io_uring.
    Blocked,
    /// The kernel is older than Linux 6.1, or was built without what the runtime needs.
    TooOld,
    /// The limit on locked memory (`RLIMIT_MEMLOCK`) holds no further ring.
    LockedMemory,
    /// No descriptor is left, in this process or in the system.
    Descriptors,
    /// A setting of the builder cannot be fulfilled.
    Settings,
    /// A core's thread could not be started or placed.
    Thread,
    /// Something else; the source error says what.
    Other,
}

/// A runtime could not be built. Its `Display` names the cause and the cure.
///
/// ```
/// match corering::Runtime::builder().cores(0).build() {
///     Err(error) => assert_eq!(error.kind(), corering::BuildErrorKind::Settings),
///     Ok(_) => unreachable!("a runtime has at least one core"),
/// }
/// ```
#[derive(Debug)]
pub struct BuildError {
    kind: BuildErrorKind,
    cure: String,
    source: io::Error,
}

impl BuildError {
    /// The kind of the cause.
    pub fn kind(&self) -> BuildErrorKind {
        self.kind
    }

    /// What to do about it, in one sentence or two.
    pub fn cure(&self) -> &str {
        &self.cure
    }

    pub(crate) fn new(kind: BuildErrorKind, cure: String, source: io::Error) -> BuildError {
        BuildError { kind, cure, source }
    }

    /// A setting that cannot be fulfilled.
    pub(crate) fn settings(cure: impl Into<String>) -> BuildError {
        let cure = cure.into();
        BuildError::new(
            BuildErrorKind::Settings,
            cure,
            io::ErrorKind::InvalidInput.into(),
        )
    }

    /// Explains why the kernel refused a ring, from what can be seen of this machine.
    pub(crate) fn explain(source: io::Error) -> BuildError {
        let own = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
        if source.raw_os_error().is_none() && own.contains(&source.kind()) {
            // Not the kernel's word: the driver's, about what the environment names.
            return BuildError::new(BuildErrorKind::Settings, source.to_string(), source);
        }
        let machine = Machine::look();
        let (kind, cure) = machine.diagnose(source.raw_os_error());
        BuildError::new(kind, cure, source)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == BuildErrorKind::Settings {
            return f.write_str(&self.cure);
        }
        write!(
            f,
            "this machine refuses io_uring ({}): {}",
            self.source, self.cure
        )
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<BuildError> for io::Error {
    fn from(error: BuildError) -> io::Error {
        io::Error::new(error.source.kind(), error)
    }
}

/// What decides whether a ring can be had here.
struct Machine {
    release: String,
    /// `kernel.io_uring_disabled`: 0 allowed, 1 for privileged processes or a group, 2 for none.
    sysctl: Option<u32>,
    sysctl_group: Option<i64>,
    /// This process is under a seccomp filter.
    filtered: bool,
    memlock: u64,
}

impl Machine {
    fn look() -> Machine {
        let number = |path| sys::read_kernel_file(path).and_then(|text| text.trim().parse().ok());
        let status = sys::read_kernel_file("/proc/thread-self/status").unwrap_or_default();
        let filtered = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"))
            .is_some_and(|mode| mode.trim() == "2");
        Machine {
            release: sys::kernel_release(),
            sysctl: number("/proc/sys/kernel/io_uring_disabled").map(|n: i64| n as u32),
            sysctl_group: number("/proc/sys/kernel/io_uring_group"),
            filtered,
            memlock: sys::memlock_limit().map_or(u64::MAX, |(soft, _)| soft),
        }
    }

    fn is_too_old(&self) -> bool {
        let mut parts = self.release.split(|c: char| !c.is_ascii_digit());
        let mut part = || {
            parts
                .next()
                .and_then(|text| text.parse::<u32>().ok())
                .unwrap_or(0)
        };
        (part(), part()) < (6, 1)
    }

    fn diagnose(&self, errno: Option<i32>) -> (BuildErrorKind, String) {
        use BuildErrorKind::*;
        match errno {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if self.is_disabled() => {
                (Disabled, self.sysctl_cure())
            }
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) if self.filtered => (
                Blocked,
                "a seccomp filter blocks it, as the default profiles of Docker and containerd \
                 do: allow io_uring_setup, io_uring_enter and io_uring_register in the \
                 container's profile (`--security-opt seccomp=profile.json`)"
                    .into(),
            ),
            Some(libc::ENOSYS | libc::EINVAL) if self.is_too_old() => (
                TooOld,
                format!("Linux {} is too old: 6.1 or newer is needed", self.release),
            ),
            Some(libc::ENOSYS | libc::EINVAL) => (
                TooOld,
                format!(
                    "Linux {} lacks io_uring or an operation that is needed (a kernel built \
                     without CONFIG_IO_URING, or a sandbox such as gVisor): run on a full \
                     kernel of 6.1 or newer",
                    self.release
                ),
            ),
            Some(libc::EPERM | libc::EACCES) => (
                Blocked,
                "a security module or sandbox forbids it: allow io_uring_setup, io_uring_enter \
                 and io_uring_register to this process"
                    .into(),
            ),
            Some(libc::ENOMEM) => (LockedMemory, self.memlock_cure()),
            Some(libc::EMFILE) => (
                Descriptors,
                "this process has no descriptor left: raise its limit (`ulimit -n`, \
                 `LimitNOFILE=`) or close some"
                    .into(),
            ),
            Some(libc::ENFILE) => (
                Descriptors,
                "the system has no descriptor left: raise `sysctl fs.file-max`".into(),
            ),
            _ => (
                Other,
                "no known cause; the error is the kernel's own".into(),
            ),
        }
    }

    fn is_disabled(&self) -> bool {
        self.sysctl.is_some_and(|value| value > 0)
    }

    fn sysctl_cure(&self) -> String {
        let value = self.sysctl.unwrap_or(2);
        let group = match (value, self.sysctl_group) {
            (1, Some(group)) if group >= 0 => {
                format!(", or run this process in the group {group} (kernel.io_uring_group)")
            }
            (1, _) => ", or name a group in kernel.io_uring_group".to_string(),
            _ => String::new(),
        };
        format!(
            "the sysctl kernel.io_uring_disabled is {value}: set it to 0 \
             (`sysctl -w kernel.io_uring_disabled=0`){group}"
        )
    }

    fn memlock_cure(&self) -> String {
        format!(
            "the limit on locked memory is {} KiB for all rings of this user, and even a small \
             ring does not fit: raise it (`ulimit -l`, `LimitMEMLOCK=`, Docker's `--ulimit \
             memlock`), or use fewer cores or smaller rings (`Builder::ring_entries`)",
            self.memlock / 1024
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            release: "6.18.44-x".into(),
            sysctl: Some(0),
            sysctl_group: Some(-1),
            filtered: false,
            memlock: 65536,
        }
    }

    #[test]
    fn each_refusal_has_its_cause_and_cure() {
        let cases = [
            (
                Machine {
                    sysctl: Some(2),
                    ..machine()
                },
                libc::EPERM,
                "io_uring_disabled=0",
            ),
            (
                Machine {
                    filtered: true,
                    ..machine()
                },
                libc::EPERM,
                "seccomp",
            ),
            (
                Machine {
                    filtered: true,
                    ..machine()
                },
                libc::ENOSYS,
                "seccomp",
            ),
            (
                Machine {
                    release: "5.15.0".into(),
                    ..machine()
                },
                libc::EINVAL,
                "too old",
            ),
            (machine(), libc::ENOSYS, "gVisor"),
            (machine(), libc::EPERM, "security module"),
            (machine(), libc::ENOMEM, "64 KiB"),
            (machine(), libc::EMFILE, "ulimit -n"),
        ];
        for (machine, errno, word) in cases {
            let (_, cure) = machine.diagnose(Some(errno));
            assert!(cure.contains(word), "{errno}: {cure}");
        }
    }
}
