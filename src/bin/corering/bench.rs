//! What the benchmarks have in common: two sides on cores of their own, and the time between.
//!
//! ```text
//!   cores 0..S: server side        cores S..S+L: load side
//!        └──────────── Board: phase ──► load; counters ──► progress line ─┘
//!   snapshot(both) ── measured time ── snapshot(both) ──► Cost of each side
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use corering::{Handle, Metrics, Runtime};

use crate::args::Cores;
use crate::cpu::{CpuTimes, thread_id};
use crate::fail::{Failure, OrFail};
use crate::load::Recorder;
use crate::progress::{BenchLine, TICK};
use crate::report::Cost;

/// Which cores of the runtime are which side's.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) server: Range<usize>,
    pub(crate) load: Range<usize>,
    spin: Duration,
}

impl Sides {
    pub(crate) fn of(cores: &Cores) -> Self {
        let server = usize::from(cores.server_cores);
        let all = server + usize::from(cores.load_cores);
        Self {
            server: 0..server,
            load: server..all,
            spin: cores.spin,
        }
    }

    /// One runtime for both; each core keeps to a CPU where there are enough of them.
    pub(crate) fn runtime(&self) -> Result<Runtime, Failure> {
        let builder = Runtime::builder().cores(self.load.end).spin(self.spin);
        builder
            .build()
            .map_err(|error| Failure::new("cannot start", error))
    }
}

/// What the load shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Run, count nothing.
    WarmUp,
    Measure,
    /// Ask for nothing more.
    Stop,
}

/// What all cores of a round see.
#[derive(Debug)]
pub(crate) struct Board {
    phase: AtomicU8,
    /// One for each core of the load.
    counters: Vec<Counters>,
}

/// What one core of the load has done in the measured time. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// Adds to a counter that only this core writes: no atomic operation is needed for that.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl Board {
    pub(crate) fn new(sides: &Sides, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(phase as u8),
            counters: sides.load.clone().map(|_| Counters::default()).collect(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Those of core `index` of the load, from 0.
    pub(crate) fn counters(&self, index: usize) -> &Counters {
        &self.counters[index]
    }

    /// Requests, bytes and errors of all cores.
    pub(crate) fn total(&self) -> [u64; 3] {
        let sum = |of: fn(&Counters) -> &AtomicU64| {
            let values = self.counters.iter().map(of);
            values.map(|value| value.load(Ordering::Relaxed)).sum()
        };
        [sum(|c| &c.requests), sum(|c| &c.bytes), sum(|c| &c.errors)]
    }

    /// Brings the progress line up to date for so long.
    pub(crate) async fn show_for(&self, line: &mut BenchLine, time: Duration) {
        let end = corering::time::Instant::now() + time;
        loop {
            let now = corering::time::Instant::now();
            if now >= end {
                return;
            }
            corering::time::sleep(TICK.min(end - now)).await;
            self.show(line);
        }
    }

    pub(crate) fn show(&self, line: &mut BenchLine) {
        let [requests, bytes, errors] = self.total();
        line.tick(std::time::Instant::now(), requests, bytes, errors);
    }
}

/// What both sides have used until one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    cpu: Option<CpuTimes>,
    /// The thread and the ring enters of each core, in order.
    cores: Vec<(u32, u64)>,
}

impl Snapshot {
    pub(crate) async fn take(handle: &Handle) -> Result<Self, Failure> {
        let seen = (0..handle.cores()).map(|core| {
            handle.spawn_on(core, || async {
                (thread_id().unwrap_or_default(), Metrics::current().enters)
            })
        });
        // All are asked before any is waited for.
        let seen: Vec<_> = seen.collect();
        let mut cores = Vec::with_capacity(seen.len());
        for core in seen {
            let seen = core.await;
            cores.push(seen.map_err(|error| Failure::new("a core is gone", error))?);
        }
        Ok(Self {
            cpu: CpuTimes::read().ok(),
            cores,
        })
    }

    /// What these cores have used since `earlier`.
    pub(crate) fn cost(&self, earlier: &Self, side: &Range<usize>) -> Cost {
        let (now, before) = (&self.cores[side.clone()], &earlier.cores[side.clone()]);
        let tids: Vec<u32> = now.iter().map(|(tid, _)| *tid).collect();
        let enters = now.iter().zip(before).map(|(now, before)| now.1 - before.1);
        let cpu = self.cpu.as_ref().zip(earlier.cpu.as_ref());
        Cost {
            cpu: cpu.map(|(now, before)| now.since(before, &tids)),
            enters: Some(enters.sum()),
        }
    }
}

/// The latencies of all cores together.
pub(crate) async fn merged(
    load: Vec<corering::task::RemoteHandle<Recorder>>,
) -> Result<Recorder, Failure> {
    let mut all = Recorder::new();
    for core in load {
        let recorder = core.await;
        all.merge(&recorder.map_err(|error| Failure::new("a core of the load has failed", error))?);
    }
    Ok(all)
}

/// A listener of its own for each core of the server side, so that connections can be dealt out
/// evenly; `serve` runs on that core. Returns where they listen.
pub(crate) async fn listen<F, Fut>(
    handle: &Handle,
    sides: &Sides,
    serve: F,
) -> Result<Vec<std::net::SocketAddr>, Failure>
where
    F: Fn(corering::net::TcpListener) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = std::io::Result<()>> + 'static,
{
    let mut addresses = Vec::new();
    for core in sides.server.clone() {
        let serve = serve.clone();
        let listening = handle.spawn_on(core, move || async move {
            let listener = corering::net::TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            drop(corering::spawn(serve(listener)));
            Ok(address)
        });
        let address = listening.await;
        let address = address.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        addresses.push(address.or_fail(|| "cannot listen on 127.0.0.1".to_owned())?);
    }
    Ok(addresses)
}
