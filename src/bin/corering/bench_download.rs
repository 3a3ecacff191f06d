//! `corering bench download`: files over HTTP/1.1 into files, every byte checked.

use crate::args::BenchDownload;
use crate::fail::Failure;
use crate::report::Report;

/// Makes the files, runs the rounds and returns their report.
pub(crate) fn run(args: &BenchDownload) -> Result<Report, Failure> {
    unimplemented!("needs the runtime: {args:?}")
}
