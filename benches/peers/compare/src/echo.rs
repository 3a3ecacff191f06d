//! Echo servers under the load of `benches/limit`: every byte is checked, and the load polls, so
//! that no server pays for waking it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use peer::Figures;

use crate::calls::Calls;
use crate::child::{Process, Refusal};
use crate::contenders::Contender;
use crate::load::{self, Outcome, Pace, Plan};
use crate::options::Options;
use crate::table::IDLE_MEMORY;
use crate::{plan, sys};

const WARM_UP: Duration = Duration::from_millis(100);
/// The run in which system calls are counted.
const COUNTED: Duration = Duration::from_millis(100);
const COUNTED_WARM_UP: Duration = Duration::from_millis(20);
const IDLE_CONNECTIONS: usize = 10_000;
/// How many of them are served at a time.
const IDLE_BATCH: usize = 100;
/// After the last idle connection was served, until memory is read.
const SETTLE: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// One load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
    pub(crate) depth: usize,
    /// See [`Plan`].
    pub(crate) firehose_bytes: usize,
    /// Connections beside these that were served once and stay silent.
    pub(crate) idle: usize,
}

impl Shape {
    pub(crate) const fn idle() -> Self {
        Self {
            connections: 32,
            bytes: 64,
            depth: 1,
            firehose_bytes: 0,
            idle: IDLE_CONNECTIONS,
        }
    }

    fn plan(&self, warm_up: Duration, measured: Duration) -> Plan {
        Plan {
            pace: Pace::Eager,
            connections: self.connections,
            message_bytes: self.bytes,
            depth: self.depth,
            firehose_bytes: self.firehose_bytes,
            warm_up,
            measured,
        }
    }
}

/// Starts an echo server.
pub(crate) fn serve(
    contender: &Contender,
    options: &Options,
) -> Result<(Process, SocketAddr), Refusal> {
    let arguments = ["echo".to_string()];
    let (process, port) = Process::serve(contender, &arguments, &[sys::PEER_CPU], options)?;
    Ok((process, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

/// One run: the measured one and, when asked, a short one that counts system calls.
pub(crate) fn run(
    contender: &Contender,
    shape: &Shape,
    options: &Options,
    counts_calls: bool,
) -> Result<Figures, Refusal> {
    let (process, address) = serve(contender, options)?;
    let idle = Idle::open(&process, address, shape.idle)?;
    let mut cpu = Vec::new();
    let outcome = load::run(address, shape.plan(WARM_UP, options.measured), || {
        cpu.push(process.cpu());
    })?;
    let mut figures = measured(&outcome, cpu)?;
    figures.peak_rss_bytes = process.peak_memory()?;
    if let Some(idle) = idle {
        let each = idle.bytes_each;
        figures.more.insert(IDLE_MEMORY.to_string(), each);
    }
    if shape.firehose_bytes > 0 {
        let rate = outcome.firehose_bytes as f64 / outcome.elapsed.as_secs_f64();
        let name = "firehose MiB/s".to_string();
        figures.more.insert(name, rate / f64::from(1 << 20));
    }
    if counts_calls && shape.idle == 0 && shape.firehose_bytes == 0 {
        // Without permission there is no such column; the lines above the table say why.
        if let Ok(calls) = calls_per_request(&process, address, shape) {
            figures.more.insert("system calls".to_string(), calls);
        }
    }
    Ok(figures)
}

fn measured(outcome: &Outcome, cpu: Vec<io::Result<Duration>>) -> io::Result<Figures> {
    let cpu: Vec<Duration> = cpu.into_iter().collect::<io::Result<_>>()?;
    let [begin, end] = cpu[..] else {
        unreachable!("the load marks two ends")
    };
    let mut figures = plan::figures(
        outcome.requests,
        outcome.elapsed,
        end - begin,
        Some(&outcome.latency),
    );
    // How evenly the connections were served: the least of them, as a part of the most.
    let (least, most) = outcome.per_connection;
    let even = least as f64 / most.max(1) as f64;
    figures.more.insert("least/most served".to_string(), even);
    Ok(figures)
}

fn calls_per_request(process: &Process, address: SocketAddr, shape: &Shape) -> io::Result<f64> {
    let mut calls = Calls::of(process.pid())?;
    let mut marks = Vec::new();
    let outcome = load::run(address, shape.plan(COUNTED_WARM_UP, COUNTED), || {
        let is_begin = marks.is_empty();
        marks.push(if is_begin {
            calls.enable()
        } else {
            calls.disable()
        });
    })?;
    marks.into_iter().collect::<io::Result<()>>()?;
    Ok(calls.read()? as f64 / outcome.requests.max(1) as f64)
}

/// Connections that were served once and are silent.
struct Idle {
    _connections: Vec<TcpStream>,
    bytes_each: f64,
}

impl Idle {
    fn open(process: &Process, address: SocketAddr, count: usize) -> io::Result<Option<Self>> {
        if count == 0 {
            return Ok(None);
        }
        // The first ones bring what is made once, like buffers that all share.
        let mut connections = serve_once(address, 1)?;
        thread::sleep(SETTLE);
        let before = process.own_memory()?;
        while connections.len() <= count {
            let batch = IDLE_BATCH.min(count + 1 - connections.len());
            connections.extend(serve_once(address, batch)?);
        }
        thread::sleep(SETTLE);
        let after = process.own_memory()?;
        Ok(Some(Self {
            _connections: connections,
            bytes_each: after.saturating_sub(before) as f64 / count as f64,
        }))
    }
}

/// Opens connections, sends a message on each and checks the answers.
fn serve_once(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let message = |index: usize| [index as u8; 64];
    let mut streams = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(&message(index))?;
        streams.push(stream);
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 64];
        stream.read_exact(&mut answer)?;
        if answer != message(index) {
            return Err(io::Error::other("the echo differs"));
        }
    }
    Ok(streams)
}
