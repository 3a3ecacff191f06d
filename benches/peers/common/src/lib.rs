//! The protocol that every contender of the comparison speaks.
//!
//! One program is one contender, or a few variants of one. It is called as
//!
//! ```text
//! PROGRAM [--variant V] echo [--port 0] [--cores 1] [--work 0]
//! PROGRAM [--variant V] serve-files DIR [--port 0]
//! PROGRAM [--variant V] files CASE --dir DIR [--scale 1.0]
//! PROGRAM [--variant V] tasks CASE [--scale 1.0]
//! PROGRAM [--variant V] download CASE --origin URL --dir DIR [--scale 1.0]
//! ```
//!
//! Rules:
//! 1. A server (`echo`, `serve-files`) prints `ready PORT` when it listens, and serves until it is
//!    killed. It dies with the one who started it ([`serve::end_with_parent`]).
//! 2. A job (`files`, `tasks`, `download`) measures itself between [`Meter::begin`] and
//!    [`Meter::end`], so that neither start nor preparation counts, and prints its [`Figures`] as
//!    one line of JSON.
//! 3. Who cannot do a workload or a case prints `unsupported REASON`; the table shows the reason.
//!    Everything that a [`Contender`] leaves out is answered like that.
//! 4. Anything else is a failure: a message on the standard error stream, and exit code 1.
//!
//! The driver (`compare`) pins the process before it begins, so kernel workers are pinned too. A
//! server of several cores has as many CPUs, and does `--work` ([`Work`]) for every 64 bytes before
//! it answers them.
//!
//! # How to add a case
//!
//! Add a row to the table of its workload ([`files::CASES`], [`tasks::CASES`],
//! [`download::CASES`]): the driver runs every row with every contender, and those that do not know
//! it say `unsupported`. A new contender is a new crate beside this one that calls [`main`], and a
//! row in `compare/src/contenders.rs`.

mod arguments;
mod case;
mod cpus;
pub mod download;
pub mod figures;
pub mod files;
mod measure;
mod poll;
pub mod serve;
pub mod tasks;
mod work;

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Mutex;

pub use arguments::{Echo, Job, ServeFiles};
pub use case::Case;
pub use figures::{Figures, Latency};
pub use measure::Meter;
pub use poll::Poll;
pub use work::{Handler, MESSAGE_BYTES, Work};

use arguments::Call;

/// Why a workload was not carried out.
#[derive(Debug)]
pub enum Stop {
    /// The contender cannot do it, and why: one line for the table.
    Unsupported(String),
    /// It should have been able to.
    Failed(io::Error),
}

impl Stop {
    /// The contender cannot do it, for this reason.
    pub fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(reason) => write!(out, "unsupported {reason}"),
            Self::Failed(error) => write!(out, "{error}"),
        }
    }
}

/// How a server ends: it does not, unless something is wrong.
pub type Served = Result<(), Stop>;
/// What a job measured.
pub type Measured = Result<Figures, Stop>;

/// What one contender can do. What it leaves out is answered `unsupported`.
pub trait Contender {
    /// Answers every byte with the same byte. See [`serve`] for the listener.
    fn echo(&self, _echo: Echo) -> Served {
        Err(Stop::unsupported("no echo server"))
    }

    /// Serves the files of a folder over HTTP/1.1.
    fn serve_files(&self, _serve: ServeFiles) -> Served {
        Err(Stop::unsupported("no file server"))
    }

    /// Writes and reads files: [`files::CASES`].
    fn files(&self, _job: Job) -> Measured {
        Err(Stop::unsupported("no files"))
    }

    /// Tasks and time: [`tasks::CASES`].
    fn tasks(&self, _job: Job) -> Measured {
        Err(Stop::unsupported("no tasks"))
    }

    /// Fetches objects into files: [`download::CASES`].
    fn download(&self, _job: Job) -> Measured {
        Err(Stop::unsupported("no HTTP client"))
    }
}

/// The value, or the end of the process, for threads on which others wait.
pub fn or_end<T>(result: Result<T, Stop>) -> T {
    /// Who has it speaks for all: the others wait here for the end.
    static SPEAKS: Mutex<()> = Mutex::new(());
    match result {
        Ok(value) => value,
        Err(stop @ Stop::Unsupported(_)) => {
            let _speaks = SPEAKS.lock();
            println!("{stop}");
            std::process::exit(0)
        }
        Err(Stop::Failed(error)) => {
            eprintln!("one of the cores: {error}");
            std::process::exit(1)
        }
    }
}

/// The `main` of every contender: reads the arguments, does what they say and prints the answer.
pub fn main(contender: &impl Contender) -> ExitCode {
    let call = match Call::parse(std::env::args().skip(1)) {
        Ok(call) => call,
        Err(wrong) => {
            eprintln!("{wrong}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let answer = match call {
        Call::Echo(echo) => contender.echo(echo).map(|()| None),
        Call::ServeFiles(serve) => contender.serve_files(serve).map(|()| None),
        Call::Files(job) => contender.files(job).map(Some),
        Call::Tasks(job) => contender.tasks(job).map(Some),
        Call::Download(job) => contender.download(job).map(Some),
    };
    match answer {
        Ok(Some(figures)) => println!("{}", figures.to_json()),
        Ok(None) => {}
        Err(stop @ Stop::Unsupported(_)) => println!("{stop}"),
        Err(Stop::Failed(error)) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
