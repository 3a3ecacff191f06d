//! One row of a workload's table.

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// How it is called: a word for the command line and the table.
    pub name: &'static str,
    /// What is done, for the heading of its table.
    pub about: &'static str,
    /// What one operation is: "file", "block", "task".
    pub operation: &'static str,
    /// How many CPUs the process may use.
    pub cores: usize,
}

/// The row of that name.
pub(crate) fn find(cases: &'static [Case], name: &str) -> Option<&'static Case> {
    cases.iter().find(|case| case.name == name)
}
