//! `corering bench echo`: messages over TCP and back, every byte checked.

use crate::args::BenchEcho;
use crate::fail::Failure;
use crate::report::Report;

/// Runs the rounds and returns their report.
pub(crate) fn run(args: &BenchEcho) -> Result<Report, Failure> {
    unimplemented!("needs the runtime: {args:?}")
}
