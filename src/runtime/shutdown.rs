//! What an orderly end reports.

/// One core's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CoreReport {
    pub(super) abandoned_tasks: usize,
    pub(super) leaked_operations: usize,
}

/// What [`Runtime::shutdown`](crate::Runtime::shutdown) had to give up.
///
/// ```no_run
/// # fn f(runtime: corering::Runtime) {
/// let report = runtime.shutdown(std::time::Duration::from_secs(5));
/// if !report.is_clean() {
///     eprintln!("{} tasks did not finish in time", report.abandoned_tasks);
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were dropped because the deadline had passed.
    pub abandoned_tasks: usize,
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
    }
}
