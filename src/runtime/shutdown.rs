//! What an orderly end reports.

use crate::task::TaskInfo;

/// Tasks of one core that a report names; how many there were in all, it counts.
pub(super) const PENDING_LISTED_MAX: usize = 64;

/// One core's end.
#[derive(Clone, Debug, Default)]
pub(super) struct CoreReport {
    pub(super) abandoned_tasks: usize,
    pub(super) leaked_operations: usize,
    pub(super) pending: Vec<TaskInfo>,
}

/// What [`Runtime::shutdown`](crate::Runtime::shutdown) had to give up.
///
/// ```no_run
/// # fn f(runtime: corering::Runtime) {
/// let report = runtime.shutdown(std::time::Duration::from_secs(5));
/// if !report.is_clean() {
///     eprintln!("{} tasks did not finish in time", report.abandoned_tasks);
///     report.pending.iter().for_each(|task| eprintln!("  {task}"));
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were dropped because the deadline had passed.
    pub abandoned_tasks: usize,
    /// Those tasks, the oldest of each core first, and at most 64 of each core.
    pub pending: Vec<TaskInfo>,
    /// Operations that the kernel had not given back in time. Their memory is leaked, because
    /// the kernel may still write to it.
    pub leaked_operations: usize,
    /// Cores whose thread ended by a panic.
    pub panicked_cores: Vec<usize>,
}

impl ShutdownReport {
    /// Whether everything had finished.
    pub fn is_clean(&self) -> bool {
        *self == ShutdownReport::default()
    }

    pub(super) fn add(&mut self, core: CoreReport) {
        self.abandoned_tasks += core.abandoned_tasks;
        self.leaked_operations += core.leaked_operations;
        self.pending.extend(core.pending);
    }
}
