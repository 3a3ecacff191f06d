//! The error of a runtime that cannot be built: what the kernel said, the cause and the cure.

use super::machine::{Diagnosis, Machine};
use std::fmt;
use std::io;

/// Why a runtime could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "snake_case"))]
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

/// A runtime could not be built. Its `Display` names the cause and the cure, and they are those
/// of [`doctor()`](crate::doctor()), which looks at the rest of the machine too.
///
/// ```
/// match corering::Runtime::builder().cores(0).build() {
///     Err(error) => assert_eq!(error.kind(), corering::BuildErrorKind::Settings),
///     Ok(_) => unreachable!("a runtime has at least one core"),
/// }
/// ```
#[derive(Debug)]
pub struct BuildError {
    diagnosis: Diagnosis,
    source: io::Error,
}

impl BuildError {
    /// The kind of the cause.
    pub fn kind(&self) -> BuildErrorKind {
        self.diagnosis.kind
    }

    /// What is in the way.
    pub fn cause(&self) -> &str {
        &self.diagnosis.cause
    }

    /// What to do about it, in one sentence or two.
    pub fn cure(&self) -> &str {
        &self.diagnosis.cure
    }

    pub(crate) fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    pub(crate) fn new(diagnosis: Diagnosis, source: io::Error) -> BuildError {
        BuildError { diagnosis, source }
    }

    /// A thread that could not be started or placed.
    pub(crate) fn thread(
        cause: impl Into<String>,
        cure: impl Into<String>,
        source: io::Error,
    ) -> BuildError {
        BuildError::new(Diagnosis::new(BuildErrorKind::Thread, cause, cure), source)
    }

    /// A setting that cannot be fulfilled.
    pub(crate) fn settings(cause: impl Into<String>) -> BuildError {
        let cure = "change this setting of the builder";
        BuildError::new(
            Diagnosis::new(BuildErrorKind::Settings, cause, cure),
            io::ErrorKind::InvalidInput.into(),
        )
    }

    /// Explains why the kernel refused a ring, from what can be seen of this machine.
    pub(crate) fn explain(source: io::Error) -> BuildError {
        let own = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
        if source.raw_os_error().is_none() && own.contains(&source.kind()) {
            // Not the kernel's word: the driver's, about what the environment names.
            let cure = "change this setting, or what the environment variable names";
            let diagnosis = Diagnosis::new(BuildErrorKind::Settings, source.to_string(), cure);
            return BuildError::new(diagnosis, source);
        }
        let diagnosis = Machine::look().diagnose(source.raw_os_error());
        BuildError::new(diagnosis, source)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { kind, cause, cure } = &self.diagnosis;
        match kind {
            BuildErrorKind::Settings => f.write_str(cause),
            BuildErrorKind::Thread => write!(f, "{cause} ({}): {cure}", self.source),
            _ => write!(
                f,
                "this machine refuses io_uring ({}): {cause}: {cure}",
                self.source
            ),
        }
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
