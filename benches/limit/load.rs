//! The load: connections that each keep `depth` messages under way and check every byte.
//!
//! Rules:
//! 1. The load never sleeps, so that no server pays for waking it; unless the plan wants it to take
//!    no more of its CPU than it needs ([`Pace`]).
//! 2. A stream's byte at position `p` is a function of the connection and `p`: what is lost,
//!    repeated or mixed up shows at once.
//! 3. Only the time between the two marks counts: before it the connections warm up, after it what
//!    is under way is awaited and checked.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::measure::Histogram;

/// A prime, so that no buffer or message is a multiple of the pattern.
const PATTERN_BYTES: usize = 262_139;
/// The most that one call reads or writes.
const CHUNK_BYTES: usize = 256 << 10;
const EVENTS_MAX: usize = 256;
/// How long the load sleeps at most, so that it sees the end of the measured time.
const REST_MAX: Duration = Duration::from_millis(1);
/// How long what is under way at the end may take.
const DRAIN: Duration = Duration::from_secs(5);

/// When messages leave, and what the load does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as an answer is back. The load looks for answers all the time.
    Eager,
    /// As soon as an answer is back. The load sleeps while there is none.
    #[allow(dead_code)] // Of the comparison, which shares this file.
    Patient,
    /// By the clock, whatever is back. The load sleeps while nothing is due and nothing comes.
    #[allow(dead_code)] // Of the comparison, which shares this file.
    Clocked(Clock),
}

/// A connection's `depth` messages leave together, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// How often those of a busy connection leave.
    pub(crate) tick: Duration,
    /// Which connections are busy: a bit each, from the lowest on.
    pub(crate) busy: u64,
    /// How many times busier than the others they are.
    pub(crate) times: u32,
}

impl Clock {
    fn is_busy(&self, index: usize) -> bool {
        index < u64::BITS as usize && self.busy >> index & 1 == 1
    }
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages under way per connection; or that leave together, by the clock.
    pub(crate) depth: usize,
    /// How many bytes one more connection keeps under way, whose latency does not count; 0 for
    /// none.
    pub(crate) firehose_bytes: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of it, between the two marks.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Histogram,
    /// The fewest and the most requests that one connection was served.
    pub(crate) per_connection: (u64, u64),
    /// What came back through the firehose.
    #[allow(dead_code)] // Only the driver of the comparison, which shares this file, reads it.
    pub(crate) firehose_bytes: u64,
}

/// Runs the plan on the calling thread; `mark` is called when the measured time begins and ends.
pub(crate) fn run(address: SocketAddr, plan: Plan, mut mark: impl FnMut()) -> io::Result<Outcome> {
    let mut load = Load::connect(address, plan)?;
    let warm = Instant::now() + plan.warm_up;
    while Instant::now() < warm {
        load.turn()?;
    }
    load.latency = Histogram::default();
    let before: Vec<u64> = load.clients.iter().map(|client| client.messages).collect();
    let firehose_before = load.firehose_received();
    mark();
    let begin = Instant::now();
    while begin.elapsed() < plan.measured {
        load.turn()?;
    }
    let elapsed = begin.elapsed();
    mark();
    let firehose_bytes = load.firehose_received() - firehose_before;
    let served = load.clients[..plan.connections]
        .iter()
        .zip(before)
        .map(|(client, before)| client.messages - before);
    let served: Vec<u64> = served.collect();
    let latency = std::mem::take(&mut load.latency);
    load.drain()?;
    let least = served.iter().copied().min().unwrap_or(0);
    let most = served.iter().copied().max().unwrap_or(0);
    let requests = served.iter().sum();
    Ok(Outcome {
        requests,
        elapsed,
        latency,
        per_connection: (least, most),
        firehose_bytes,
    })
}

struct Load {
    pace: Pace,
    poll: OwnedFd,
    clients: Vec<Client>,
    pattern: Vec<u8>,
    chunk: Vec<u8>,
    latency: Histogram,
    draining: bool,
    depth: usize,
}

struct Client {
    stream: TcpStream,
    /// Where in the pattern this connection's stream begins.
    offset: usize,
    message_bytes: u64,
    /// Whether the latency of its messages counts.
    is_counted: bool,
    sent: u64,
    received: u64,
    /// Messages that came back whole.
    messages: u64,
    /// When each message under way was asked for.
    begun: VecDeque<Instant>,
    /// When the next messages leave, and how long after them the ones behind; by the clock only.
    due: Option<(Instant, Duration)>,
    /// Whether the poll also waits for room to write.
    blocked: bool,
}

impl Load {
    fn connect(address: SocketAddr, plan: Plan) -> io::Result<Self> {
        // SAFETY: the call takes no memory.
        let poll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if poll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else owns it.
        let poll = unsafe { OwnedFd::from_raw_fd(poll) };
        let mut load = Self {
            pace: plan.pace,
            poll,
            clients: Vec::with_capacity(plan.connections),
            pattern: pattern(),
            chunk: vec![0; CHUNK_BYTES],
            latency: Histogram::default(),
            draining: false,
            depth: plan.depth,
        };
        let firehoses = usize::from(plan.firehose_bytes > 0);
        for index in 0..plan.connections + firehoses {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Not every system offers this algorithm; the default is then as good for everybody.
            let _ = socket2::SockRef::from(&stream).set_tcp_congestion(b"cubic");
            load.watch(libc::EPOLL_CTL_ADD, &stream, index, false)?;
            let client = Client::new(stream, index, &plan);
            load.clients.push(client);
        }
        if let Pace::Clocked(clock) = plan.pace {
            load.wind_up(&clock);
        }
        for index in 0..load.clients.len() {
            load.write(index)?;
        }
        Ok(load)
    }

    /// Sets when messages leave. Connections that are not busy take turns.
    fn wind_up(&mut self, clock: &Clock) {
        let begin = Instant::now() + clock.tick;
        for (index, client) in self.clients.iter_mut().enumerate() {
            let turn = index as u32 % clock.times;
            client.due = Some(if clock.is_busy(index) {
                (begin, clock.tick)
            } else {
                (begin + clock.tick * turn, clock.tick * clock.times)
            });
        }
    }

    /// Looks once which connections are ready or due, and serves those.
    fn turn(&mut self) -> io::Result<()> {
        if self.pace != Pace::Eager {
            self.rest()?;
            self.send_due()?;
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let (fd, start) = (self.poll.as_raw_fd(), events.as_mut_ptr());
        // SAFETY: `start` has room for `EVENTS_MAX` events.
        let count = unsafe { libc::epoll_wait(fd, start, EVENTS_MAX as i32, 0) };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted {
                Ok(())
            } else {
                Err(error)
            };
        }
        for event in &events[..count as usize] {
            let index = event.u64 as usize;
            if event.events & !(libc::EPOLLOUT as u32) != 0 {
                self.read(index)?;
            }
        }
        // All answers are read before the next questions leave, so these come as a burst.
        for event in &events[..count as usize] {
            self.write(event.u64 as usize)?;
        }
        Ok(())
    }

    /// Sleeps until a connection is ready or due, but not for long.
    fn rest(&self) -> io::Result<()> {
        let due = self.clients.iter().filter_map(|client| client.due);
        let limit = match due.map(|(next, _)| next).min() {
            Some(next) if !self.draining => next.saturating_duration_since(Instant::now()),
            _ => REST_MAX,
        };
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: limit.min(REST_MAX).subsec_nanos().into(),
        };
        let mut entry = libc::pollfd {
            fd: self.poll.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let (entry, time) = (&raw mut entry, &raw const time);
        // SAFETY: there is one entry, which lives until the call returns, as the time does.
        let ready = unsafe { libc::ppoll(entry, 1, time, std::ptr::null()) };
        if ready >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(());
        }
        Err(error)
    }

    /// Writes what the clock says.
    fn send_due(&mut self) -> io::Result<()> {
        if self.draining {
            return Ok(());
        }
        let now = Instant::now();
        for index in 0..self.clients.len() {
            if self.clients[index].ask_by_clock(self.depth, now) {
                self.write(index)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        let len = match client.stream.read(&mut self.chunk) {
            Ok(0) => return Err(io::Error::other("the server closed a connection")),
            Ok(len) => len,
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        client.check(&self.chunk[..len], &self.pattern)?;
        client.received += len as u64;
        let now = Instant::now();
        let whole = client.received / client.message_bytes;
        while client.messages < whole {
            client.messages += 1;
            let begun = client
                .begun
                .pop_front()
                .expect("an answer has its question");
            if client.is_counted {
                self.latency.record((now - begun).as_nanos() as u64);
            }
            if !self.draining && client.due.is_none() {
                client.begun.push_back(now);
            }
        }
        Ok(())
    }

    /// Writes what the closed loop allows: `depth` messages beyond the ones that came back.
    fn write(&mut self, index: usize) -> io::Result<()> {
        let client = &mut self.clients[index];
        let under_way = client.messages + client.begun.len() as u64;
        let allowed = under_way * client.message_bytes;
        while client.sent < allowed {
            let len = (allowed - client.sent).min(CHUNK_BYTES as u64) as usize;
            let start = client.place(client.sent);
            match client.stream.write(&self.pattern[start..start + len]) {
                Ok(len) => client.sent += len as u64,
                Err(error) if is_transient(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let blocked = client.sent < allowed;
        if blocked != client.blocked {
            client.blocked = blocked;
            let client = &self.clients[index];
            self.watch(libc::EPOLL_CTL_MOD, &client.stream, index, blocked)?;
        }
        Ok(())
    }

    fn watch(&self, call: i32, stream: &TcpStream, index: usize, room: bool) -> io::Result<()> {
        let events = libc::EPOLLIN | if room { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: index as u64,
        };
        let (poll, fd) = (self.poll.as_raw_fd(), stream.as_raw_fd());
        // SAFETY: the event lives until the call returns; the kernel copies it.
        let result = unsafe { libc::epoll_ctl(poll, call, fd, &raw mut event) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    fn firehose_received(&self) -> u64 {
        let firehose = self.clients.iter().find(|client| !client.is_counted);
        firehose.map_or(0, |client| client.received)
    }

    /// Waits until every message under way is back.
    fn drain(&mut self) -> io::Result<()> {
        self.draining = true;
        let end = Instant::now() + DRAIN;
        while self.clients.iter().any(|client| !client.begun.is_empty()) {
            self.turn()?;
            if Instant::now() > end {
                return Err(io::Error::other("messages under way never came back"));
            }
        }
        Ok(())
    }
}

impl Client {
    /// The last one, behind the plan's connections, is the firehose: of large messages.
    fn new(stream: TcpStream, index: usize, plan: &Plan) -> Self {
        let is_counted = index < plan.connections;
        let (message_bytes, depth) = if is_counted {
            (plan.message_bytes, plan.depth)
        } else {
            let size = plan.firehose_bytes.min(CHUNK_BYTES);
            (size, plan.firehose_bytes / size)
        };
        let begun = match plan.pace {
            Pace::Clocked(_) => VecDeque::new(),
            Pace::Eager | Pace::Patient => VecDeque::from(vec![Instant::now(); depth]),
        };
        let offset = index * 7_919 % PATTERN_BYTES;
        Self {
            stream,
            offset,
            message_bytes: message_bytes as u64,
            is_counted,
            sent: 0,
            received: 0,
            messages: 0,
            begun,
            due: None,
            blocked: false,
        }
    }

    /// Asks for the messages that are due by now. Whether there are any.
    fn ask_by_clock(&mut self, depth: usize, now: Instant) -> bool {
        let Some((next, every)) = &mut self.due else {
            return false;
        };
        let asked = self.begun.len();
        while *next <= now {
            // They count from when they were due, so that a late load hides nothing.
            self.begun.extend(std::iter::repeat_n(*next, depth));
            *next += *every;
        }
        self.begun.len() > asked
    }

    /// Where in the pattern the stream's byte at `position` stands.
    fn place(&self, position: u64) -> usize {
        ((position + self.offset as u64) % PATTERN_BYTES as u64) as usize
    }

    fn check(&self, bytes: &[u8], pattern: &[u8]) -> io::Result<()> {
        let start = self.place(self.received);
        if bytes == &pattern[start..start + bytes.len()] {
            return Ok(());
        }
        let wrong = bytes
            .iter()
            .zip(&pattern[start..])
            .position(|(got, want)| got != want);
        let position = self.received + wrong.unwrap_or(0) as u64;
        Err(io::Error::other(format!(
            "the echo differs from byte {position} of its stream on"
        )))
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Random bytes with the period [`PATTERN_BYTES`], and long enough for a chunk from any place.
fn pattern() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut bytes: Vec<u8> = (0..PATTERN_BYTES).map(|_| next()).collect();
    while bytes.len() < PATTERN_BYTES + CHUNK_BYTES {
        let len = (PATTERN_BYTES + CHUNK_BYTES - bytes.len()).min(PATTERN_BYTES);
        bytes.extend_from_within(..len);
    }
    bytes
}
