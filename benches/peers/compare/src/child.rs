//! A contender's process: started on its CPU, read through `/proc`, ended by its id.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::Contender;
use crate::options::Options;
use crate::sys;

const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// What a contender said instead of doing it.
#[derive(Debug)]
pub(crate) enum Refusal {
    Unsupported(String),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Refusal {
    fn failed(why: impl Into<String>) -> Self {
        Self::Failed(io::Error::other(why.into()))
    }
}

/// A process that is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: ChildStdout,
}

impl Process {
    /// Starts a contender on the given CPUs.
    pub(crate) fn start(
        contender: &Contender,
        arguments: &[String],
        cpus: &[usize],
        options: &Options,
    ) -> Result<Self, Refusal> {
        let mut command = contender.command(options).map_err(Refusal::Unsupported)?;
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(spawn(&mut command, cpus)?)
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn serve(
        contender: &Contender,
        arguments: &[String],
        cpus: &[usize],
        options: &Options,
    ) -> Result<(Self, u16), Refusal> {
        let mut process = Self::start(contender, arguments, cpus, options)?;
        let line = process.first_line()?;
        if let Some(reason) = line.strip_prefix("unsupported ") {
            return Err(Refusal::Unsupported(reason.to_string()));
        }
        let port = line
            .strip_prefix("ready ")
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| Refusal::failed(format!("it said `{line}`, not `ready PORT`")))?;
        Ok((process, port))
    }

    /// The first line that it prints.
    fn first_line(&mut self) -> Result<String, Refusal> {
        let end = Instant::now() + START_MAX;
        let mut line = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if !sys::readable(self.out.as_raw_fd(), left)? {
                return Err(Refusal::failed("it did not get ready in time"));
            }
            let mut byte = [0];
            if self.out.read(&mut byte)? == 0 {
                return Err(Refusal::failed("it ended before it was ready"));
            }
            if byte == *b"\n" {
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            line.push(byte[0]);
        }
    }

    /// Waits until it has ended by itself, and returns what it printed: one short line.
    pub(crate) fn answer(mut self, limit: Duration) -> Result<String, Refusal> {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                return Err(Refusal::failed(format!("not done after {limit:?}")));
            }
            thread::sleep(POLL_EVERY);
        };
        let mut said = String::new();
        self.out.read_to_string(&mut said)?;
        let said = said.trim();
        if let Some(reason) = said.strip_prefix("unsupported ") {
            return Err(Refusal::Unsupported(reason.to_string()));
        }
        if !status.success() {
            return Err(Refusal::failed(format!("ended with {status}")));
        }
        Ok(said.to_string())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process and its children so far.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        family(self.pid()).into_iter().map(sys::cpu_time).sum()
    }

    /// CPU time so far of each thread that lives, by its number.
    pub(crate) fn cpu_of_threads(&self) -> io::Result<BTreeMap<u32, Duration>> {
        let mut times = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let path = thread?.path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            // A thread that ends meanwhile has no file any more.
            let Ok(text) = fs::read_to_string(path.join("schedstat")) else {
                continue;
            };
            let time = text.split_whitespace().next();
            let time = time.and_then(|nanoseconds| nanoseconds.parse().ok());
            if let (Some(number), Some(time)) = (number, time) {
                times.insert(number, Duration::from_nanos(time));
            }
        }
        Ok(times)
    }

    /// The peak of resident memory, of the process and its children together.
    pub(crate) fn peak_memory(&self) -> io::Result<u64> {
        let peak = |pid| field(&format!("/proc/{pid}/status"), "VmHWM:");
        family(self.pid()).into_iter().map(peak).sum()
    }

    /// Memory of its own (not of files) that the process holds now.
    pub(crate) fn own_memory(&self) -> io::Result<u64> {
        let file = format!("/proc/{}/smaps_rollup", self.pid());
        field(&file, "Pss_Anon:").or_else(|_| field(&file, "Anonymous:"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let end = Instant::now() + END_MAX;
        let _ = sys::terminate(self.child.id());
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Starts a command whose standard output is a pipe, on the given CPUs.
fn spawn(command: &mut Command, cpus: &[usize]) -> io::Result<Process> {
    // A process begins where its parent's thread is, and so do its kernel workers.
    sys::pin(cpus)?;
    let child = command.spawn();
    sys::pin(&[sys::LOAD_CPU])?;
    let mut child = child?;
    let out = child.stdout.take().expect("it was asked for as a pipe");
    Ok(Process { child, out })
}

/// A process and its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let threads = fs::read_dir(format!("/proc/{}/task", all[next]));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            let pids = children.split_whitespace().flat_map(str::parse::<u32>);
            all.extend(pids);
        }
        next += 1;
    }
    all
}

/// A line `NAME  123 kB` of a file of `/proc`, in bytes.
fn field(file: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| io::Error::other(format!("{file}: no `{name}`")))
}
