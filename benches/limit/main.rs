//! The limit: what an echo costs on a bare ring, and what each contender adds to that.
//!
//! Every contender serves the same load, one after the other in every round, so that a change of
//! the machine's mood meets all of them: A B A B. The server runs on CPU 0, the load on CPU 1.
//! Cost is CPU time, user and system, of everything in the process but the load.
//!
//! ```text
//! cargo bench --bench limit -- --rounds 5 --seconds 2 --connections 1,32,256 --size 64 --depth 1
//! ```

#![allow(unsafe_code)] // The yardstick talks to the kernel itself.
#![allow(clippy::disallowed_methods)] // A benchmark reads the clock and writes files.

mod load;
mod measure;
mod pool;
mod report;
mod runtime;
mod server;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::load::{Outcome, Pace, Plan};
use crate::server::{Stats, Wait};

const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;
const WARM_UP: Duration = Duration::from_millis(200);
const BACKLOG: i32 = 4096;

const HELP: &str = "\
The options of the benchmark `limit`:
  --rounds N            how often each contender runs (5)
  --seconds S           the measured time of one run (2)
  --connections A,B,..  the cases (1,32,256)
  --size BYTES          one message (64)
  --depth N             messages under way per connection (1)
  --only NAME,..        only these contenders
  --json PATH           also write every run there";

/// Serves echo on the listener until the flag is set *and* one more connection has come in.
type Serve = fn(TcpListener, &AtomicBool, &'static Stats) -> io::Result<()>;

/// Who takes part. The first is the limit that all others are divided by.
const CONTENDERS: &[(&str, Serve)] = &[
    ("limit", |listener, stop, stats| {
        server::run(listener, stop, stats, Wait::One)
    }),
    ("limit-counted", |listener, stop, stats| {
        server::run(listener, stop, stats, Wait::SendsAndOne)
    }),
    ("corering", |listener, stop, stats| {
        runtime::run(listener, stop, stats, runtime::Face::Recv)
    }),
    ("corering-write", |listener, stop, stats| {
        runtime::run(listener, stop, stats, runtime::Face::ReadWrite)
    }),
];

struct Options {
    rounds: usize,
    measured: Duration,
    connections: Vec<usize>,
    size: usize,
    depth: usize,
    only: Vec<String>,
    json: Option<PathBuf>,
}

/// One run of one contender.
struct Run {
    connections: usize,
    contender: &'static str,
    outcome: Outcome,
    /// CPU time of everything but the load, and the share of kernel workers that are still alive.
    cpu: Duration,
    worker_cpu: Duration,
    enters: u64,
}

fn main() {
    let options = Options::parse(std::env::args().skip(1)).unwrap_or_else(|wrong| {
        eprintln!("{wrong}\n{HELP}");
        std::process::exit(2);
    });
    if let Err(error) = compare(&options) {
        eprintln!("limit: {error}");
        std::process::exit(1);
    }
}

fn compare(options: &Options) -> io::Result<()> {
    let takes_part =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut runs = Vec::new();
    for &connections in &options.connections {
        for round in 1..=options.rounds {
            for &(name, serve) in CONTENDERS.iter().filter(|row| takes_part(row.0)) {
                eprintln!("{connections} connections, round {round}: {name}");
                let plan = Plan {
                    pace: Pace::Eager,
                    connections,
                    message_bytes: options.size,
                    depth: options.depth,
                    firehose_bytes: 0,
                    warm_up: WARM_UP,
                    measured: options.measured,
                };
                runs.push(run(name, serve, plan)?);
            }
        }
    }
    println!("{}", report::markdown(&runs, options.size, options.depth));
    match &options.json {
        Some(path) => std::fs::write(path, report::json(&runs, options.size, options.depth)),
        None => Ok(()),
    }
}

/// Runs one contender against one load, each on a thread of its own.
fn run(contender: &'static str, serve: Serve, plan: Plan) -> io::Result<Run> {
    let listener = listen()?;
    let address = listener.local_addr()?;
    let stop = AtomicBool::new(false);
    // For good: tasks of a runtime borrow nothing, and a run takes a few bytes.
    let stats: &'static Stats = Box::leak(Box::default());
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            measure::pin(SERVER_CPU)?;
            serve(listener, &stop, stats)
        });
        let load = scope.spawn(|| {
            measure::pin(LOAD_CPU)?;
            measured(contender, address, plan, stats)
        });
        let run = load.join().expect("the load does not panic");
        stop.store(true, Ordering::Relaxed);
        // Ends the server's wait. A server that has already failed says so itself.
        let _ = TcpStream::connect(address);
        server.join().expect("the server does not panic")?;
        run
    })
}

/// The load, with the readings at both ends of the measured time.
fn measured(
    contender: &'static str,
    address: SocketAddr,
    plan: Plan,
    stats: &Stats,
) -> io::Result<Run> {
    let mut marks = Vec::new();
    let outcome = load::run(address, plan, || {
        let others = measure::process_cpu().saturating_sub(measure::thread_cpu());
        let enters = stats.enters.load(Ordering::Relaxed);
        marks.push((others, measure::worker_cpu(), enters));
    })?;
    let [begin, end] = marks[..] else {
        unreachable!("the load marks two ends")
    };
    Ok(Run {
        connections: plan.connections,
        contender,
        outcome,
        cpu: end.0.saturating_sub(begin.0),
        worker_cpu: end.1.saturating_sub(begin.1),
        enters: end.2 - begin.2,
    })
}

/// A listener whose accepted sockets inherit all options.
fn listen() -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    // Some systems pace even the loopback by default. Where this algorithm is missing, all
    // contenders have the same default.
    let _ = socket.set_tcp_congestion(b"cubic");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rounds: 5,
            measured: Duration::from_secs(2),
            connections: vec![1, 32, 256],
            size: 64,
            depth: 1,
            only: Vec::new(),
            json: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--bench" {
                continue; // Cargo adds it.
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("`{name}`: no value"))?;
            options.set(&name, &value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("`{name} {value}`: not a number above zero");
        let number = |text: &str| text.parse().ok().filter(|it| *it > 0).ok_or_else(wrong);
        match name {
            "--rounds" => self.rounds = number(value)?,
            "--size" => self.size = number(value)?,
            "--depth" => self.depth = number(value)?,
            "--connections" => {
                self.connections = value.split(',').map(number).collect::<Result<_, _>>()?;
            }
            "--seconds" => {
                let seconds: f64 = value.parse().map_err(|_| wrong())?;
                self.measured = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
            }
            "--only" => self.only = value.split(',').map(str::to_string).collect(),
            "--json" => self.json = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown option `{name}`")),
        }
        Ok(())
    }
}
