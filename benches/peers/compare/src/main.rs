//! Runs the comparison and writes its tables. `scripts/compare` builds and calls it.
//!
//! ```text
//! options --> plans (one per table row group: a case) --> for each case, for each round,
//!     for each contender: start, measure, end --> medians --> NAME.md, NAME.json, NAME.svg
//! ```
//!
//! Rules:
//! 1. Every contender runs once before any runs twice, so that a change of the machine's mood meets
//!    all of them.
//! 2. The contender is on CPU 0 from before it begins; the load, the origin and this program are on
//!    CPU 1. A contender with two cores has both.
//! 3. Every process is ended by its id. What does not answer in time is ended and counts as failed.
//! 4. A failure stands in the table; it does not stop the comparison.

mod accept;
mod calls;
mod child;
mod contenders;
mod echo;
mod http;
mod jobs;
#[path = "../../../limit/load.rs"]
#[allow(unsafe_code)] // It polls.
mod load;
mod machine;
#[path = "../../../limit/measure.rs"]
#[allow(unsafe_code, dead_code)] // Shared with a benchmark that also measures itself.
mod measure;
mod network;
mod options;
mod plan;
mod plot;
mod report;
mod serve;
mod spread;
mod sys;
mod table;

use std::io;
use std::process::ExitCode;

use crate::contenders::{CONTENDERS, Contender};
use crate::options::{Options, USAGE};
use crate::plan::{Case, Outcome};
use crate::table::Table;

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match compare(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    peer::serve::raise_open_files()?;
    let network = network::isolate(options.network);
    eprintln!("compare: {network}");
    sys::pin(&[sys::LOAD_CPU])?;
    std::fs::create_dir_all(&options.out)?;
    let _folder_of_jobs = jobs::make_folder_of_jobs(options)?;
    let head = machine::describe(options, &network);
    let begun = std::time::Instant::now();
    for &workload in &options.workloads {
        let mut table = Table::new(workload, head.clone());
        for case in plan::cases(workload, options) {
            run_case(case, options, &mut table);
        }
        report::write(&table, options)?;
        eprintln!(
            "compare: {} done after {:.0} s",
            workload.name(),
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// All rounds of one case, the contenders interleaved.
fn run_case(case: Case, options: &Options, table: &mut Table) {
    let rounds = case.rounds(options);
    let takes_part = |it: &&Contender| options.takes_part(it, case.workload);
    let mut running: Vec<&Contender> = CONTENDERS.iter().filter(takes_part).collect();
    let context = match case.prepare(options) {
        Ok(context) => context,
        Err(error) => {
            eprintln!("{}: {error}", case.name);
            table.begin(case, Some(error.to_string()));
            return;
        }
    };
    table.begin(case.clone(), None);
    for round in 1..=rounds {
        eprintln!(
            "{} {}: round {round} of {rounds}",
            case.workload.name(),
            case.name
        );
        running.retain(|contender| {
            let outcome = case.run(contender, options, &context, round == 1);
            if let Outcome::Failed(why) = &outcome {
                eprintln!("{}: {} failed: {why}", case.name, contender.name);
            }
            let goes_on = matches!(outcome, Outcome::Measured(_));
            table.add(contender, outcome);
            goes_on
        });
    }
}
