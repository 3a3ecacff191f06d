//! File servers under `wrk`, and the origin of the downloads.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use peer::Figures;

use crate::child::{Process, Refusal};
use crate::contenders::{self, Contender};
use crate::jobs::Folder;
use crate::options::Options;
use crate::{http, plan, sys};

/// A file to be served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    /// Connections that ask for it again and again.
    connections: usize,
}

pub(crate) const OBJECTS: &[Object] = &[
    Object {
        name: "1k",
        bytes: 1 << 10,
        connections: 64,
    },
    Object {
        name: "100k",
        bytes: 100 << 10,
        connections: 64,
    },
    Object {
        name: "10m",
        bytes: 10 << 20,
        connections: 16,
    },
];

/// wrk takes whole seconds.
const WRK_SECONDS: u64 = 1;

/// What the contenders of a case share.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// Where the originals are.
    pub(crate) root: PathBuf,
    /// What the handlers of servers do for each message.
    pub(crate) work: peer::Work,
    origin: Option<(Process, u16)>,
    _folder: Option<Folder>,
}

impl Context {
    /// Of servers whose handlers do this.
    pub(crate) fn of_work(work: peer::Work) -> Self {
        Self {
            work,
            ..Self::default()
        }
    }

    /// Where the origin listens.
    pub(crate) fn url(&self) -> String {
        let port = self.origin.as_ref().map_or(0, |(_, port)| *port);
        format!("http://127.0.0.1:{port}")
    }
}

/// Starts the origin of the downloads, beside the load.
pub(crate) fn origin(case: &peer::Case, options: &Options) -> io::Result<Context> {
    let folder = Folder::empty(&options.work.join("origin"))?;
    let (count, bytes) = peer::download::objects(case);
    let objects = folder.0.join(case.name);
    fs::create_dir(&objects)?;
    for number in 0..count {
        write_object(&objects.join(number.to_string()), number, bytes)?;
    }
    let arguments = ["serve-files".to_string(), folder.0.display().to_string()];
    let server = Process::serve(contenders::origin(), &arguments, &[sys::LOAD_CPU], options);
    let server = server.map_err(|refusal| match refusal {
        Refusal::Unsupported(why) => io::Error::other(format!("no origin: {why}")),
        Refusal::Failed(error) => error,
    })?;
    Ok(Context {
        root: folder.0.clone(),
        origin: Some(server),
        _folder: Some(folder),
        ..Context::default()
    })
}

/// Writes the file that is to be served.
pub(crate) fn document(object: &Object, options: &Options) -> io::Result<Context> {
    let folder = Folder::empty(&options.work.join("documents"))?;
    write_object(&folder.0.join(object.name), object.bytes, object.bytes)?;
    Ok(Context {
        root: folder.0.clone(),
        _folder: Some(folder),
        ..Context::default()
    })
}

/// Bytes that differ from object to object and from place to place.
fn write_object(path: &std::path::Path, seed: usize, bytes: usize) -> io::Result<()> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut file = io::BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
    let mut left = bytes;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let len = left.min(8);
        file.write_all(&state.to_le_bytes()[..len])?;
        left -= len;
    }
    file.flush()
}

/// One run of one file server.
pub(crate) fn run(
    contender: &Contender,
    object: &Object,
    options: &Options,
    context: &Context,
) -> Result<Figures, Refusal> {
    let root = context.root.display().to_string();
    let arguments = ["serve-files".to_string(), root];
    let (process, port) = Process::serve(contender, &arguments, &[sys::PEER_CPU], options)?;
    let path = format!("/{}", object.name);
    let original = fs::read(context.root.join(object.name))?;
    if http::get(port, &path)? != original {
        return Err(io::Error::other("the file that came differs").into());
    }
    let before = process.cpu()?;
    let report = wrk(object, &format!("http://127.0.0.1:{port}{path}"))?;
    let cpu = process.cpu()? - before;
    let mut figures = plan::figures(report.requests, report.wall, cpu, None);
    figures.latency = Some(report.latency);
    figures.peak_rss_bytes = process.peak_memory()?;
    Ok(figures)
}

struct Report {
    requests: u64,
    wall: Duration,
    latency: peer::Latency,
}

fn wrk(object: &Object, url: &str) -> Result<Report, Refusal> {
    let output = Command::new("wrk")
        .args(["--latency", "--threads", "1", "--timeout", "5s"])
        .args(["--connections", &object.connections.to_string()])
        .args(["--duration", &format!("{WRK_SECONDS}s"), url])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Refusal::Unsupported(format!("`wrk`: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return Err(io::Error::other(format!("wrk: {}", said.trim())).into());
    }
    read_report(&said).ok_or_else(|| io::Error::other(format!("wrk said: {said}")).into())
}

/// Reads `50%  1.23ms`, `99%  ..` and `N requests in 1.00s, ..`.
fn read_report(said: &str) -> Option<Report> {
    let words = |begin: &str| {
        let line = said.lines().find(|line| line.trim().starts_with(begin));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>())
    };
    let line = said.lines().find(|line| line.contains(" requests in "))?;
    let line: Vec<&str> = line.split_whitespace().collect();
    Some(Report {
        requests: line.first()?.parse().ok()?,
        wall: time(line.get(3)?.trim_end_matches(','))?,
        latency: peer::Latency {
            p50: time(words("50%")?.get(1)?)?.as_nanos() as u64,
            p99: time(words("99%")?.get(1)?)?.as_nanos() as u64,
            p999: 0,
        },
    })
}

/// `1.23ms`, `12.00us`, `1.00s`.
fn time(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| letter.is_alphabetic())?;
    let number: f64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}
