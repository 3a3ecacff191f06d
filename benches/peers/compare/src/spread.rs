//! How a server's work spreads over two cores: an echo whose handler costs more than the echo.
//!
//! ```text
//!              CPU 0         CPU 1
//! one core     server        load
//! two cores    server        server, load
//! ```
//!
//! The load sleeps whenever it has nothing to do, so it takes only what it needs of the CPU that it
//! shares. What that is stands in the table: no gain of two cores can be whole beside it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use peer::{Figures, MESSAGE_BYTES, Work};

use crate::child::{Process, Refusal};
use crate::contenders::Contender;
use crate::load::{self, Clock, Outcome, Pace, Plan};
use crate::measure::{Histogram, thread_cpu};
use crate::options::Options;
use crate::{plan, sys};

/// Two cores should do at least so many times what one does.
pub(crate) const GAIN_MIN: f64 = 1.8;
/// The busiest core should have at most so many times the work of the mean core.
pub(crate) const BALANCE_MAX: f64 = 1.2;
/// The row of `more` that the ratios of the first case compare, and of the second.
pub(crate) const GAIN: &str = "two cores / one core";
pub(crate) const BALANCE: &str = "busiest core / mean core";

/// What a handler's work costs.
const WORK: Duration = Duration::from_micros(20);
const CORES: usize = 2;
const CONNECTIONS: usize = 64;
const WARM_UP: Duration = Duration::from_millis(100);
/// So many under way on each connection make an answer of the load's cheap, and the server's too.
const DEPTH: usize = 16;

/// Connections that are busier than the rest, and how many times.
const BUSY: u32 = 8;
const BUSY_TIMES: u32 = 8;
/// How often messages of a busy connection leave, and how many together: in all 45,000 a second,
/// 95 % of what one core can do, so that no core has too much however badly they are spread.
const TICK: Duration = Duration::from_millis(1);
const TOGETHER: usize = 3;
/// Every run serves so many sets of connections, each with other busy ones.
const SETS: u32 = 4;
const SET_WARM_UP: Duration = Duration::from_millis(50);

/// One case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// As much as the server can do, on one core and on two.
    Gain,
    /// The same amount for everybody, most of it on a few connections.
    Skewed,
}

pub(crate) const WAYS: &[Way] = &[Way::Gain, Way::Skewed];

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gain => "two cores against one",
            Self::Skewed => "skewed connections",
        }
    }

    pub(crate) fn about(self) -> String {
        let work = WORK.as_micros();
        match self {
            Self::Gain => format!(
                "{CONNECTIONS} connections, {MESSAGE_BYTES} B, {DEPTH} under way on each, {work} \
                 µs of CPU a request in the handler; what does not say otherwise is of two cores"
            ),
            Self::Skewed => format!(
                "{CONNECTIONS} connections of which {BUSY} are {BUSY_TIMES} times busier, by the \
                 clock; {MESSAGE_BYTES} B, {work} µs of CPU a request in the handler, two cores"
            ),
        }
    }
}

/// What all contenders of a case do for every message.
pub(crate) fn work() -> Work {
    let work = Work::calibrated(WORK);
    eprintln!("spread: {WORK:?} of CPU are {work} rounds");
    work
}

/// One run of one contender.
pub(crate) fn run(
    contender: &Contender,
    way: Way,
    options: &Options,
    work: Work,
) -> Result<Figures, Refusal> {
    match way {
        Way::Gain => gain(contender, options, work),
        Way::Skewed => skewed(contender, options, work),
    }
}

fn serve(
    contender: &Contender,
    cores: usize,
    options: &Options,
    work: Work,
) -> Result<(Process, SocketAddr), Refusal> {
    let (cores_text, work) = (cores.to_string(), work.to_string());
    let arguments = ["echo", "--cores", &cores_text, "--work", &work].map(str::to_string);
    let cpus = &[sys::PEER_CPU, sys::LOAD_CPU][..cores];
    let (process, port) = Process::serve(contender, &arguments, cpus, options)?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// Requests a second on two cores and on one.
fn gain(contender: &Contender, options: &Options, work: Work) -> Result<Figures, Refusal> {
    // Who cannot have two cores says so at once.
    let two = saturated(contender, CORES, options, work)?;
    let one = saturated(contender, 1, options, work)?;
    let outcome = &two.outcome;
    let latency = Some(&outcome.latency);
    let mut figures = plan::figures(outcome.requests, outcome.elapsed, two.cpu, latency);
    figures.peak_rss_bytes = two.peak_memory;
    let more = [
        (GAIN, two.rate() / one.rate()),
        ("requests/s, one core", one.rate()),
        ("CPU µs each, one core", one.each(one.cpu)),
        ("CPU µs each of the load", two.each(two.load)),
    ];
    let more = more.map(|(name, value)| (name.to_string(), value));
    figures.more.extend(more);
    Ok(figures)
}

fn saturated(
    contender: &Contender,
    cores: usize,
    options: &Options,
    work: Work,
) -> Result<Set, Refusal> {
    let (process, address) = serve(contender, cores, options, work)?;
    let plan = Plan {
        pace: Pace::Patient,
        connections: CONNECTIONS,
        message_bytes: MESSAGE_BYTES,
        depth: DEPTH,
        firehose_bytes: 0,
        warm_up: WARM_UP,
        measured: options.measured,
    };
    Ok(Set::run(&process, address, plan)?)
}

/// How evenly the cores work where the connections are not even.
fn skewed(contender: &Contender, options: &Options, work: Work) -> Result<Figures, Refusal> {
    let (process, address) = serve(contender, CORES, options, work)?;
    let set = |number| {
        let clock = Clock {
            tick: TICK,
            busy: busy_connections(number),
            times: BUSY_TIMES,
        };
        let plan = Plan {
            pace: Pace::Clocked(clock),
            connections: CONNECTIONS,
            message_bytes: MESSAGE_BYTES,
            depth: TOGETHER,
            firehose_bytes: 0,
            warm_up: SET_WARM_UP,
            measured: options.measured / 2,
        };
        Set::run(&process, address, plan)
    };
    let sets: Vec<Set> = (0..SETS).map(set).collect::<io::Result<_>>()?;
    Ok(of_sets(&sets))
}

/// The figures of all sets together, and of the one that was spread worst.
fn of_sets(sets: &[Set]) -> Figures {
    let mut latency = Histogram::default();
    let (mut operations, mut wall, mut cpu) = (0, Duration::ZERO, Duration::ZERO);
    for set in sets {
        latency.merge(&set.outcome.latency);
        operations += set.outcome.requests;
        wall += set.outcome.elapsed;
        cpu += set.cpu;
    }
    let mut figures = plan::figures(operations, wall, cpu, Some(&latency));
    let balances: Vec<f64> = sets.iter().map(|set| balance(&set.threads)).collect();
    let mean = balances.iter().sum::<f64>() / balances.len().max(1) as f64;
    let worst = balances.into_iter().fold(0.0, f64::max);
    figures.more.insert(BALANCE.to_string(), mean);
    figures.more.insert(format!("{BALANCE}, worst set"), worst);
    figures.peak_rss_bytes = sets.iter().map(|set| set.peak_memory).max().unwrap_or(0);
    figures
}

/// The CPU time of the busiest thread, as a multiple of what each core would have if all had the
/// same.
fn balance(threads: &[Duration]) -> f64 {
    let all: Duration = threads.iter().sum();
    let busiest = threads.iter().max().copied().unwrap_or_default();
    busiest.as_secs_f64() / (all.as_secs_f64() / CORES as f64).max(f64::MIN_POSITIVE)
}

/// Which connections of a set are busy, a bit each: the same ones for every contender.
fn busy_connections(set: u32) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(set) + 1);
    let mut busy = 0_u64;
    while busy.count_ones() < BUSY {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        busy |= 1 << ((state >> 32) % CONNECTIONS as u64);
    }
    busy
}

/// What one set of connections was served with, between the load's two marks.
#[derive(Debug)]
struct Set {
    outcome: Outcome,
    /// CPU time of the server.
    cpu: Duration,
    /// Of each of its threads.
    threads: Vec<Duration>,
    /// Of the load, which is this thread.
    load: Duration,
    peak_memory: u64,
}

/// The clocks at one mark.
struct Reading {
    cpu: Duration,
    threads: BTreeMap<u32, Duration>,
    load: Duration,
}

impl Reading {
    fn of(process: &Process) -> io::Result<Self> {
        Ok(Self {
            cpu: process.cpu()?,
            threads: process.cpu_of_threads()?,
            load: thread_cpu(),
        })
    }
}

impl Set {
    fn run(process: &Process, address: SocketAddr, plan: Plan) -> io::Result<Self> {
        let mut readings = Vec::new();
        let outcome = load::run(address, plan, || readings.push(Reading::of(process)))?;
        let readings: Vec<Reading> = readings.into_iter().collect::<io::Result<_>>()?;
        let [begin, end] = &readings[..] else {
            unreachable!("the load marks two ends")
        };
        let since_begin = |(thread, time): (&u32, &Duration)| {
            let before = begin.threads.get(thread).copied();
            time.saturating_sub(before.unwrap_or_default())
        };
        Ok(Self {
            outcome,
            cpu: end.cpu - begin.cpu,
            threads: end.threads.iter().map(since_begin).collect(),
            load: end.load - begin.load,
            peak_memory: process.peak_memory()?,
        })
    }

    /// Requests a second.
    fn rate(&self) -> f64 {
        self.outcome.requests as f64 / self.outcome.elapsed.as_secs_f64()
    }

    /// Microseconds a request.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.outcome.requests.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_is_of_the_busiest_core() {
        let threads = |times: [u64; 3]| times.map(Duration::from_millis);
        assert!((balance(&threads([50, 50, 0])) - 1.0).abs() < 1e-9);
        assert!((balance(&threads([75, 25, 0])) - 1.5).abs() < 1e-9);
        assert!((balance(&threads([0, 100, 0])) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn every_set_has_other_busy_connections() {
        let sets: Vec<u64> = (0..SETS).map(busy_connections).collect();
        assert!(sets.iter().all(|set| set.count_ones() == BUSY));
        assert!((1..sets.len()).all(|at| !sets[..at].contains(&sets[at])));
    }
}
