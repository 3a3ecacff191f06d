//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contenders::Contender;

pub(crate) const USAGE: &str = "\
usage: compare [WORKLOAD ..] [OPTION ..]
workloads: echo, accept, idle, firehose, spread, files, tasks, download, serve-files (all of them)
options:
  --rounds N        how often each contender runs in each case (5)
  --seconds S       the measured time of one run of a server (0.3)
  --quick           two short rounds and less work a job, to see where things stand
  --all             all 24 echo cases instead of the 12 of the geometric mean
  --only NAME,..    only contenders whose name begins with one of these
  --cases TEXT,..   only cases whose name contains one of these
  --scale F         the part of each job's full amount (1.0)
  --out DIR         where the tables go (target/compare/results)
  --work DIR        where files are written meanwhile (target/compare/work)
  --python PROGRAM  the Python of asyncio and uvloop (python3)
  --same-network    stay in the system's network";

/// A group of cases that share a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Echo,
    Accept,
    Idle,
    Firehose,
    /// How the work of a server spreads over two cores.
    Spread,
    Files,
    Tasks,
    Download,
    ServeFiles,
}

impl Workload {
    pub(crate) const ALL: [Self; 9] = [
        Self::Echo,
        Self::Accept,
        Self::Idle,
        Self::Firehose,
        Self::Spread,
        Self::Files,
        Self::Tasks,
        Self::Download,
        Self::ServeFiles,
    ];

    /// Its word on the command line, and the name of its files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Accept => "accept",
            Self::Idle => "idle",
            Self::Firehose => "firehose",
            Self::Spread => "spread",
            Self::Files => "files",
            Self::Tasks => "tasks",
            Self::Download => "download",
            Self::ServeFiles => "serve-files",
        }
    }
}

/// What to compare, and how thoroughly.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: usize,
    pub(crate) measured: Duration,
    pub(crate) all: bool,
    pub(crate) only: Vec<String>,
    pub(crate) cases: Vec<String>,
    pub(crate) scale: f64,
    pub(crate) out: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) network: bool,
}

impl Options {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            workloads: Vec::new(),
            rounds: 5,
            measured: Duration::from_millis(300),
            all: false,
            only: Vec::new(),
            cases: Vec::new(),
            scale: 1.0,
            out: PathBuf::from("target/compare/results"),
            work: PathBuf::from("target/compare/work"),
            python: PathBuf::from("python3"),
            network: true,
        };
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => {
                    options.rounds = 2;
                    options.measured = Duration::from_millis(150);
                    options.scale = 0.25;
                }
                "--all" => options.all = true,
                "--same-network" => options.network = false,
                name if name.starts_with("--") => {
                    let value = words.next().ok_or_else(|| format!("`{name}`: no value"))?;
                    options.set(name, &value)?;
                }
                name => {
                    let found = Workload::ALL.into_iter().find(|it| it.name() == name);
                    let found = found.ok_or_else(|| format!("`{name}`: no such workload"))?;
                    options.workloads.push(found);
                }
            }
        }
        if options.workloads.is_empty() {
            options.workloads = Workload::ALL.to_vec();
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("`{name} {value}`: not a number above zero");
        let number = || value.parse::<f64>().ok().filter(|it| *it > 0.0);
        let list = || value.split(',').map(str::to_string).collect();
        match name {
            "--rounds" => {
                let rounds = value.parse().ok().filter(|it| *it > 0);
                self.rounds = rounds.ok_or_else(wrong)?;
            }
            "--seconds" => {
                let seconds = number().ok_or_else(wrong)?;
                self.measured = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
            }
            "--scale" => self.scale = number().ok_or_else(wrong)?,
            "--only" => self.only = list(),
            "--cases" => self.cases = list(),
            "--out" => self.out = PathBuf::from(value),
            "--work" => self.work = PathBuf::from(value),
            "--python" => self.python = PathBuf::from(value),
            _ => return Err(format!("`{name}`: no such option")),
        }
        Ok(())
    }

    pub(crate) fn takes_part(&self, contender: &Contender, workload: Workload) -> bool {
        if !contender.workloads.contains(&workload) {
            return false;
        }
        let begins = |only: &String| contender.name.starts_with(only.as_str());
        self.only.is_empty() || self.only.iter().any(begins)
    }
}
