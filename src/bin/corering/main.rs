//! The command `corering`: benchmarks, servers, a downloader and a doctor.
//!
//! ```text
//! args ---> bench_echo, bench_download --> load, payload, cpu --> report --> table, JSON, plot
//!      ---> serve                      (bench runs its servers, too)
//!      ---> get                        --> progress
//!      ---> doctor                     (the library's, printed)
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "a program measures by the clock, and reads /proc and its workspace the plain way"
)]

mod args;
mod bench;
mod bench_download;
mod bench_echo;
mod cpu;
mod doctor;
mod fail;
mod get;
mod load;
mod payload;
mod plot;
mod progress;
mod race;
mod report;
mod serve;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use args::{Bench, Cli, Command, Serve};
use fail::Failure;

fn main() -> ExitCode {
    // clap itself ends the program for `--help` (status 0) and for mistakes (status 2).
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Doctor(args) => return doctor::run(&args),
        Command::Bench(Bench::Echo(args)) => {
            report::publish(&bench_echo::run(&args)?, &args.output)
        }
        Command::Bench(Bench::Download(args)) => {
            report::publish(&bench_download::run(&args)?, &args.output)
        }
        Command::Serve(Serve::Echo(args)) => serve::echo(&args),
        Command::Serve(Serve::Files(args)) => serve::files(&args),
        Command::Get(args) => get::run(&args),
    }
    .map(|()| ExitCode::SUCCESS)
}
