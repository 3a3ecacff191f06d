//! The accept-heavy load: connect, one request, close; every answer is checked.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use peer::Figures;

use crate::child::Refusal;
use crate::contenders::Contender;
use crate::measure::Histogram;
use crate::options::Options;
use crate::{echo, plan, sys};

/// Connections at a time.
pub(crate) const IN_FLIGHT: usize = 32;
const MESSAGE_BYTES: usize = 64;
const WARM_UP: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(crate) fn run(contender: &Contender, options: &Options) -> Result<Figures, Refusal> {
    let (process, address) = echo::serve(contender, options)?;
    let mut load = Load {
        address,
        next: 0,
        done: 0,
        latency: Histogram::default(),
        places: (0..IN_FLIGHT).map(|_| None).collect(),
    };
    let warm = Instant::now() + WARM_UP;
    while Instant::now() < warm {
        load.turn()?;
    }
    load.latency = Histogram::default();
    let (done, cpu, begin) = (load.done, process.cpu()?, Instant::now());
    while begin.elapsed() < options.measured {
        load.turn()?;
    }
    let wall = begin.elapsed();
    let cpu = process.cpu()? - cpu;
    let mut figures = plan::figures(load.done - done, wall, cpu, Some(&load.latency));
    figures.peak_rss_bytes = process.peak_memory()?;
    Ok(figures)
}

struct Load {
    address: SocketAddr,
    /// The number of the next connection; its message is made of it.
    next: u64,
    done: u64,
    latency: Histogram,
    places: Vec<Option<Visit>>,
}

/// One connection, asked and not yet answered.
struct Visit {
    stream: TcpStream,
    begun: Instant,
    message: [u8; MESSAGE_BYTES],
}

impl Load {
    /// Looks once at every place. It never sleeps, so no server pays for waking it.
    fn turn(&mut self) -> io::Result<()> {
        for index in 0..self.places.len() {
            let Some(visit) = &mut self.places[index] else {
                self.places[index] = Some(Visit::begin(self.address, self.next)?);
                self.next += 1;
                continue;
            };
            if visit.is_answered()? {
                let took = visit.begun.elapsed().as_nanos() as u64;
                self.places[index] = None; // Closed, and with that the visit is over.
                self.latency.record(took);
                self.done += 1;
            }
        }
        Ok(())
    }
}

impl Visit {
    fn begin(address: SocketAddr, number: u64) -> io::Result<Self> {
        let begun = Instant::now();
        // On the loopback the handshake is over when the call returns: nobody else takes part.
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut message = [0; MESSAGE_BYTES];
        for part in message.chunks_mut(8) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        stream.write_all(&message)?;
        Ok(Self {
            stream,
            begun,
            message,
        })
    }

    fn is_answered(&mut self) -> io::Result<bool> {
        if !sys::readable(self.stream.as_raw_fd(), Duration::ZERO)? {
            if self.begun.elapsed() > ANSWER_MAX {
                return Err(io::Error::other("an answer did not come in time"));
            }
            return Ok(false);
        }
        let mut answer = [0; MESSAGE_BYTES];
        let len = self.stream.read(&mut answer)?;
        if answer[..len] == self.message[..] {
            return Ok(true);
        }
        Err(io::Error::other("the echo differs, or came in pieces"))
    }
}
