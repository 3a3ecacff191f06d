//! `corering bench echo`: messages over TCP and back, every byte checked.
//!
//! ```text
//!   connection: Timetable or depth ──► Payload bytes ──► write ──► server ──► read
//!                    ▲                                                         │
//!                    └────────── latency ◄── message complete ◄── check ◄──────┘
//! ```
//! One task a connection does both directions, so that neither waits for the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use corering::Handle;
use corering::net::TcpStream;
use corering::task::{JoinSet, RemoteHandle};
use corering::time::{Sleep, sleep, timeout};
use futures_io::{AsyncBufRead, AsyncWrite};

use crate::args::BenchEcho;
use crate::bench::{Board, Phase, Sides, Snapshot, add, listen, merged};
use crate::fail::{Failure, OrFail};
use crate::load::{Mode, Next, Recorder, Timetable};
use crate::payload::Payload;
use crate::progress::{BenchLine, Goal, TICK};
use crate::report::{Measurement, Report};
use crate::serve;

/// How long the last replies may take when the time is over.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// Bytes that a connection makes ahead, at most: beyond it the messages wait to be made.
const MADE_BYTES_MAX: usize = 256 * 1024;

/// Runs the rounds and returns their report.
pub(crate) fn run(args: &BenchEcho) -> Result<Report, Failure> {
    let sides = Sides::of(&args.cores);
    let mut runtime = sides.runtime()?;
    let rounds = runtime.block_on(async {
        let handle = Handle::current();
        let servers = listen(&handle, &sides, serve::echo_all).await?;
        let mut rounds = Vec::new();
        for number in 1..=args.cores.rounds {
            let label = match args.cores.rounds {
                1 => "echo".to_owned(),
                rounds => format!("echo {number}/{rounds}"),
            };
            rounds.push(round(args, &sides, &servers, &label).await?);
        }
        Ok(rounds)
    })?;
    // Core 0 was pinned: this thread shall see the whole machine again.
    drop(runtime);
    Ok(Report::new(
        "corering bench echo",
        args,
        Mode::of(args.rate),
        rounds,
    ))
}

async fn round(
    args: &BenchEcho,
    sides: &Sides,
    servers: &[SocketAddr],
    label: &str,
) -> Result<Measurement, Failure> {
    let handle = Handle::current();
    let board = Board::new(sides, Phase::WarmUp);
    let load = connect(args, sides, servers, &board).await?;
    let start = Instant::now();
    let mut line = BenchLine::new(label, Goal::Time(args.duration), start, args.output.quiet);
    sleep(args.warmup).await;
    let before = Snapshot::take(&handle).await?;
    board.enter(Phase::Measure);
    let start = Instant::now();
    line.begin(start);
    board.show_for(&mut line, args.duration).await;
    board.enter(Phase::Stop);
    let elapsed = start.elapsed();
    let after = Snapshot::take(&handle).await?;
    let latency = merged(load).await?;
    let [requests, bytes, errors] = board.total();
    Ok(Measurement {
        elapsed,
        requests,
        bytes,
        errors,
        latency: latency.histogram().clone(),
        server: after.cost(&before, &sides.server),
        load: after.cost(&before, &sides.load),
        over_time: line.finish(),
    })
}

/// Starts the load on its cores; returns when every connection stands.
async fn connect(
    args: &BenchEcho,
    sides: &Sides,
    servers: &[SocketAddr],
    board: &Arc<Board>,
) -> Result<Vec<RemoteHandle<Recorder>>, Failure> {
    let handle = Handle::current();
    let cores = sides.load.len();
    let (started, mut connected) = corering::sync::channel(cores);
    let load = sides.load.clone().enumerate().map(|(core, place)| {
        let plan = Plan {
            args: args.clone(),
            servers: servers.to_vec(),
            board: board.clone(),
            core,
            cores,
        };
        let started = started.clone();
        handle.spawn_on(place, move || async move {
            match plan.connect().await {
                Ok(streams) => {
                    let _ = started.send(Ok(())).await;
                    plan.run(streams).await
                }
                Err(error) => {
                    let _ = started.send(Err(error)).await;
                    Recorder::new()
                }
            }
        })
    });
    let load = load.collect();
    for _ in 0..cores {
        let result = connected.recv().await.unwrap_or(Ok(()));
        result.or_fail(|| format!("cannot open {} connections", args.connections))?;
    }
    Ok(load)
}

/// What one core of the load does.
struct Plan {
    args: BenchEcho,
    servers: Vec<SocketAddr>,
    board: Arc<Board>,
    core: usize,
    cores: usize,
}

impl Plan {
    async fn connect(&self) -> io::Result<Vec<(u32, TcpStream)>> {
        let mut streams = Vec::new();
        for index in (0..self.args.connections)
            .skip(self.core)
            .step_by(self.cores)
        {
            let server = self.servers[index as usize % self.servers.len()];
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            streams.push((index, stream));
        }
        Ok(streams)
    }

    async fn run(self, streams: Vec<(u32, TcpStream)>) -> Recorder {
        let shared = Rc::new(Shared {
            plan: self,
            recorder: RefCell::new(Recorder::new()),
        });
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, stream) in streams {
            let connection = Connection::new(shared.clone(), stream, index, start);
            tasks.spawn(connection.run());
        }
        while tasks.join_next().await.is_some() {}
        shared.recorder.replace(Recorder::new())
    }
}

/// What the connections of a core share.
struct Shared {
    plan: Plan,
    recorder: RefCell<Recorder>,
}

/// One connection of the load.
struct Connection {
    shared: Rc<Shared>,
    stream: TcpStream,
    payload: Payload,
    size: usize,
    depth: usize,
    timetable: Option<Timetable>,
    /// Until the next message is due.
    nap: Sleep,
    /// Until the phase is looked at, where nothing else happens.
    look: Sleep,
    /// From when on the latency of each message that is under way counts.
    under_way: VecDeque<Instant>,
    /// Bytes that are made and not accepted by the stream, from `out_begin` on.
    out: Vec<u8>,
    out_begin: usize,
    made: u64,
    received: u64,
}

impl Connection {
    fn new(shared: Rc<Shared>, stream: TcpStream, index: u32, start: Instant) -> Self {
        let args = &shared.plan.args;
        let timetable = args
            .rate
            .map(|rate| Timetable::new(start, rate, args.connections, index));
        let (size, depth) = (args.size as usize, args.depth as usize);
        Self {
            shared,
            stream,
            payload: Payload::new(u64::from(index)),
            size,
            depth,
            timetable,
            nap: sleep(Duration::ZERO),
            look: sleep(TICK),
            under_way: VecDeque::with_capacity(depth),
            out: Vec::new(),
            out_begin: 0,
            made: 0,
            received: 0,
        }
    }

    async fn run(mut self) {
        let result = poll_fn(|cx| self.poll_running(cx)).await;
        let result = match result {
            Ok(()) => {
                let last = poll_fn(|cx| self.poll_last_replies(cx));
                timeout(LAST_REPLIES, last)
                    .await
                    .unwrap_or_else(|error| Err(error.into()))
            }
            failed => failed,
        };
        if let Err(error) = result {
            let plan = &self.shared.plan;
            add(&plan.board.counters(plan.core).errors, 1);
            if !plan.args.output.quiet {
                eprintln!("corering: a connection of the load has failed: {error}");
            }
        }
    }

    /// Ready when the time is over.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.shared.plan.board.phase() == Phase::Stop {
                return Poll::Ready(Ok(()));
            }
            let wrote = self.poll_write(cx)?;
            let read = self.poll_read(cx)?;
            if wrote.is_pending() && read.is_pending() {
                if Pin::new(&mut self.look).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.look = sleep(TICK);
            }
        }
    }

    fn poll_last_replies(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.under_way.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let wrote = self.poll_out(cx)?;
            let read = self.poll_read(cx)?;
            if wrote.is_pending() && read.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Makes messages as far as they are due and wanted, and hands them to the stream.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let made = self.poll_make(cx);
        let wrote = self.poll_out(cx)?;
        Ok(match (made, wrote) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
    }

    fn poll_make(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut made = Poll::Pending;
        while self.under_way.len() < self.depth && self.out.len() < MADE_BYTES_MAX {
            let now = Instant::now();
            let from = match self.timetable.as_mut().map(|table| table.take(now)) {
                None => now,
                Some(Next::Send { due }) => due,
                Some(Next::Wait { until }) => {
                    self.nap
                        .reset(corering::time::Instant::now() + (until - now));
                    if Pin::new(&mut self.nap).poll(cx).is_ready() {
                        continue;
                    }
                    break;
                }
            };
            self.under_way.push_back(from);
            let len = self.out.len();
            self.out.resize(len + self.size, 0);
            self.payload.fill(self.made, &mut self.out[len..]);
            self.made += self.size as u64;
            made = Poll::Ready(());
        }
        made
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut wrote = Poll::Pending;
        while self.out_begin < self.out.len() {
            let rest = &self.out[self.out_begin..];
            match Pin::new(&mut self.stream).poll_write(cx, rest)? {
                Poll::Ready(n) => self.out_begin += n,
                Poll::Pending => return Ok(wrote),
            }
            wrote = Poll::Ready(());
        }
        self.out.clear();
        self.out_begin = 0;
        Ok(wrote)
    }

    /// Checks what has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let chunk = match Pin::new(&mut self.stream).poll_fill_buf(cx)? {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => return Ok(Poll::Pending),
        };
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = chunk.len();
        let checked = self.payload.check(self.received, chunk);
        checked
            .map_err(|mismatch| io::Error::new(io::ErrorKind::InvalidData, mismatch.to_string()))?;
        Pin::new(&mut self.stream).consume(len);
        let before = self.received / self.size as u64;
        self.received += len as u64;
        self.complete(self.received / self.size as u64 - before)?;
        Ok(Poll::Ready(()))
    }

    fn complete(&mut self, messages: u64) -> io::Result<()> {
        if messages == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let plan = &self.shared.plan;
        let measured = plan.board.phase() == Phase::Measure;
        let mut recorder = self.shared.recorder.borrow_mut();
        for _ in 0..messages {
            let Some(from) = self.under_way.pop_front() else {
                let what = "more came back than was sent";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            };
            if measured {
                recorder.record(from, now);
            }
        }
        if measured {
            let counters = plan.board.counters(plan.core);
            add(&counters.requests, messages);
            add(&counters.bytes, messages * self.size as u64);
        }
        Ok(())
    }
}
