//! What can be asked on the command line, and nothing of how it is done.
//!
//! The option structs serialize into a report, so that a result says how it was made.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Parser, Subcommand};
use hyper::Uri;
use serde::{Serialize, Serializer};

/// An io_uring runtime at work: benchmarks, servers, a downloader and a doctor.
#[derive(Debug, Parser)]
#[command(
    name = "corering",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  corering bench echo --duration 10s --connections 64
  corering bench download --objects 5000 --size 1m
  corering serve files ./public --addr 127.0.0.1:8080
  corering get http://127.0.0.1:8080/a.iso -o downloads
  corering doctor

Exit status: 0 when all went well, 1 when something failed, 2 for a mistake in the options.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the runtime on this machine, over loopback.
    #[command(subcommand)]
    Bench(Bench),
    /// Run a server until Ctrl-C.
    #[command(subcommand)]
    Serve(Serve),
    /// Download files over HTTP and HTTPS, many at a time.
    ///
    /// Each file appears under its name only when it is complete; an interrupted download leaves
    /// nothing behind.
    Get(Get),
    /// Say whether the runtime does well on this machine, and if not, why and what helps.
    ///
    /// Tries the three system calls of io_uring, builds a runtime, performs every operation that
    /// the crate uses, and looks at limits, CPUs, sysctls and seccomp.
    Doctor(Doctor),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Echo messages over TCP between a server and a load, each on cores of its own.
    Echo(BenchEcho),
    /// Serve files over HTTP/1.1 and download them into files.
    Download(BenchDownload),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Serve {
    /// Send back whatever arrives.
    Echo(ServeEcho),
    /// Serve a directory over HTTP/1.1: ranges, conditional requests, index pages.
    Files(ServeFiles),
}

#[derive(Debug, Clone, Args, Serialize)]
#[command(after_help = "Examples:
  corering bench echo
  corering bench echo -c 256 --depth 16 --size 1k --duration 10s
  corering bench echo --rate 100000 --svg echo.svg      latency at a fixed rate
  corering bench echo --rounds 5 --json=echo.json

Without --rate each connection sends its next message when a reply has come (closed loop): the
latency is then the service time, and a stalled server is asked less often. With --rate messages
have a timetable, and latency counts from the time a message was due.")]
pub(crate) struct BenchEcho {
    /// Connections, in total.
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = count(65_536))]
    pub(crate) connections: u32,

    /// Bytes of one message (64, 16k, 1m; k is 1024).
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = message_size)]
    pub(crate) size: u64,

    /// Messages in flight on each connection (pipelining).
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count(4096))]
    pub(crate) depth: u32,

    /// How long to measure, in each round (5s, 500ms, 1m).
    #[arg(short = 't', long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    #[serde(serialize_with = "in_words")]
    pub(crate) duration: Duration,

    /// How long to run before measuring.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = any_time)]
    #[serde(serialize_with = "in_words")]
    pub(crate) warmup: Duration,

    /// Send this many messages per second in total, on a timetable, instead of as fast as possible.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) rate: Option<u64>,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) cores: Cores,

    #[command(flatten)]
    #[serde(skip)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Args, Serialize)]
#[command(after_help = "Examples:
  corering bench download
  corering bench download --objects 200 --size 10m -j 8 --dir /mnt/nvme
  corering bench download --rounds 3 --svg download.svg")]
pub(crate) struct BenchDownload {
    /// Files to serve and to download, in each round.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = count(1_000_000))]
    pub(crate) objects: u32,

    /// Bytes of one file (100k, 1m, 2g; k is 1024).
    #[arg(short, long, value_name = "BYTES", default_value = "100k", value_parser = size)]
    pub(crate) size: u64,

    /// Downloads at the same time.
    #[arg(short = 'j', long, value_name = "N", default_value_t = 20, value_parser = count(4096))]
    pub(crate) jobs: u32,

    /// Where to make the files, in a directory that is removed afterwards [default: $TMPDIR].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Leave the files where they are afterwards.
    #[arg(long)]
    pub(crate) keep: bool,

    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) cores: Cores,

    #[command(flatten)]
    #[serde(skip)]
    pub(crate) output: Output,
}

/// The cores and rounds of a benchmark.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Cores {
    /// Cores for the server: the first ones that this process may use.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = few(1024))]
    pub(crate) server_cores: u16,

    /// Cores for the load: the ones after the server's (shared with it when there are too few).
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = few(1024))]
    pub(crate) load_cores: u16,

    /// How long a core without work looks for some before it sleeps, on both sides.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = any_time)]
    #[serde(serialize_with = "in_words")]
    pub(crate) spin: Duration,

    /// Measure this many times and report medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = few(1000))]
    pub(crate) rounds: u16,
}

/// Where the results of a benchmark go.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// Write the results as JSON: to FILE, or instead of the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "-")]
    pub(crate) json: Option<PathBuf>,

    /// Plot latency percentiles and throughput over time.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,

    /// No progress line.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  corering serve echo 127.0.0.1:7000 --cores 2")]
pub(crate) struct ServeEcho {
    /// The address to listen on, such as 127.0.0.1:7000 or [::]:7000.
    pub(crate) addr: SocketAddr,

    #[command(flatten)]
    pub(crate) running: Running,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  corering serve files .
  corering serve files ./public --addr [::]:80 --cores 4 --no-listing

Nothing outside DIR is served, whatever the path or a symbolic link says.")]
pub(crate) struct ServeFiles {
    /// The directory to serve.
    pub(crate) dir: PathBuf,

    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,

    #[command(flatten)]
    pub(crate) running: Running,

    /// Answer 403 for a directory without an index.html, instead of listing it.
    #[arg(long)]
    pub(crate) no_listing: bool,
}

/// How a server runs, and how it ends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Running {
    /// Cores, each with a ring and a listener of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = few(1024))]
    pub(crate) cores: u16,

    /// On Ctrl-C or SIGTERM, how long what is in flight may take; a second one ends at once.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = any_time)]
    pub(crate) drain: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  corering doctor
  corering doctor --cores 4 --quick --json
  corering doctor --write-seccomp profile.json
  corering doctor --write-seccomp profile.json --seccomp-base docker-default.json

Exit status: 0 when everything works, 1 when the runtime works with less than everything, 2 when
it cannot run here (and for a mistake in the options).

The profile allows by default and denies what containers are kept from. To keep a profile that
allows nothing by default, such as Docker's own, give it as the base: the three system calls of
io_uring are added to it, and nothing else is changed. (A base with Docker's conditions on
capabilities is for Docker and Podman; containerd, and so Kubernetes, does not heed them.)")]
pub(crate) struct Doctor {
    /// The cores that the machine shall do for.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = few(1024))]
    pub(crate) cores: u16,

    /// Leave out the measurement, which takes a second.
    #[arg(short, long)]
    pub(crate) quick: bool,

    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a seccomp profile that allows io_uring, for Docker, Podman and Kubernetes; nothing
    /// else is done.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cores", "quick", "json"])]
    pub(crate) write_seccomp: Option<PathBuf>,

    /// The profile to add io_uring to, instead of the built-in one.
    #[arg(long, value_name = "FILE", requires = "write_seccomp")]
    pub(crate) seccomp_base: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  corering get http://127.0.0.1:8080/a.iso
  corering get -o downloads -j 50 $(cat urls.txt)
  corering get --cacert our-ca.pem https://intranet.example/a.iso

A file that exists is replaced, at the moment when the new one is complete. Two URLs that end in
the same name are saved as name.ext and name.1.ext; a redirect changes nothing about the name, and
never leads from https to http. Servers are trusted whose certificates lead to the roots of this
system, or to those in the file that SSL_CERT_FILE names.")]
pub(crate) struct Get {
    /// What to download.
    #[arg(required = true, value_name = "URL", value_parser = url)]
    pub(crate) urls: Vec<Uri>,

    /// The directory to save in; it is made if it does not exist.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,

    /// Downloads at the same time.
    #[arg(short, long, value_name = "N", default_value_t = 20, value_parser = count(4096))]
    pub(crate) jobs: u32,

    /// Give a download up when nothing has arrived for this long.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    pub(crate) timeout: Duration,

    /// Trust the authorities in this file (PEM), instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Follow so many redirects of one URL; 0 reports the first one.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) max_redirs: u16,

    /// No progress bars; failures are still reported.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// At least one, and at most `max`.
fn count(max: u32) -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=i64::from(max))
}

/// The same for small numbers.
fn few(max: u16) -> RangedI64ValueParser<u16> {
    RangedI64ValueParser::new().range(1..=i64::from(max))
}

/// Messages are held in memory, so that one is at most 16 MiB.
fn message_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("a message has at least one byte".to_owned()),
        bytes if bytes > 16 << 20 => Err("a message has at most 16m".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A number of bytes with an optional `k`, `m` or `g`, which are powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("unknown unit `{unit}`; write 64, 16k, 1m or 2g")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write 64, 16k, 1m or 2g".to_owned())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= 1 << 40)
        .ok_or("too much".to_owned())
}

fn any_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|_| "write 5s, 500ms or 1m".to_owned())?;
    if time > Duration::from_secs(24 * 3600) {
        return Err("a day is the most".to_owned());
    }
    Ok(time)
}

fn some_time(text: &str) -> Result<Duration, String> {
    any_time(text).and_then(|time| {
        if time.is_zero() {
            Err("it must be longer than nothing".to_owned())
        } else {
            Ok(time)
        }
    })
}

fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("write it in full: http://host/path or https://host/path".to_owned()),
    }
}

fn in_words<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn echo(line: &str) -> BenchEcho {
        match parse(line).unwrap().command {
            Command::Bench(Bench::Echo(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_of_bench_echo() {
        let args = echo("corering bench echo");
        assert_eq!((args.connections, args.size, args.depth), (32, 64, 1));
        assert_eq!(args.duration, Duration::from_secs(5));
        assert_eq!(
            (
                args.cores.server_cores,
                args.cores.load_cores,
                args.cores.rounds
            ),
            (1, 1, 1)
        );
        assert_eq!(args.output.json, None);
        let options = serde_json::to_value(&args).unwrap();
        assert_eq!(options["duration"], "5s");
        assert_eq!(options["server_cores"], 1);
        assert!(options.get("quiet").is_none());
    }

    #[test]
    fn json_goes_to_standard_output_or_to_a_file() {
        assert_eq!(
            echo("corering bench echo --json").output.json,
            Some("-".into())
        );
        assert_eq!(
            echo("corering bench echo --json=a").output.json,
            Some("a".into())
        );
        assert!(parse("corering bench echo --json a").is_err());
    }

    #[test]
    fn defaults_of_the_others() {
        let Command::Bench(Bench::Download(args)) =
            parse("corering bench download").unwrap().command
        else {
            panic!()
        };
        assert_eq!((args.objects, args.size, args.jobs), (2000, 100 << 10, 20));
        let Command::Serve(Serve::Files(args)) = parse("corering serve files .").unwrap().command
        else {
            panic!()
        };
        assert_eq!(
            (args.addr.to_string().as_str(), args.running.cores),
            ("127.0.0.1:8080", 1)
        );
        let Command::Get(args) = parse("corering get http://a/b https://a:1/c")
            .unwrap()
            .command
        else {
            panic!()
        };
        assert_eq!(
            (args.urls.len(), args.jobs, args.output, args.max_redirs),
            (2, 20, ".".into(), 10)
        );
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "corering",
            "corering bench",
            "corering get",
            "corering get https:///x",
            "corering get ftp://a/",
            "corering get --max-redirs 1001 http://a/",
            "corering get a.txt",
            "corering get http:///x",
            "corering serve echo 7000",
            "corering bench echo -c 0",
            "corering bench echo --size 0",
            "corering bench echo --size 17m",
            "corering bench echo --duration 0s",
            "corering bench echo --duration 5",
            "corering bench echo --rate 0",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("64", 64),
            ("16k", 16 << 10),
            ("1M", 1 << 20),
            ("2GiB", 2 << 30),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1.5k",
            "1t",
            "1 k",
            "99999999999999999999",
            "2000g",
            "٣",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
