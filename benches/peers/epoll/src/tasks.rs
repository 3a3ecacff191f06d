//! The wake between two cores, by an eventfd that each polls. A bare loop has no tasks.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use peer::tasks::ROUND_TRIPS;
use peer::{Figures, Job, Measured, Meter, Poll, Stop};

pub(crate) fn measure(job: &Job) -> Measured {
    match job.case.name {
        "wake" => wake(job.scaled(ROUND_TRIPS)),
        _ => Err(Stop::unsupported("a bare loop has no tasks")),
    }
}

fn wake(rounds: usize) -> Measured {
    let (here, there) = (Event::new()?, Event::new()?);
    let (figures, ()) = peer::tasks::on_two_cores(
        || Ok(ping(&here, &there, rounds)?),
        || Ok(pong(&there, &here, rounds)?),
    )?;
    Ok(figures)
}

fn ping(own: &Event, there: &Event, rounds: usize) -> io::Result<Figures> {
    let mut samples = Vec::with_capacity(rounds);
    // Until both cores have begun.
    there.ring()?;
    own.wait()?;
    let meter = Meter::begin();
    for _ in 0..rounds {
        let begin = Instant::now();
        there.ring()?;
        own.wait()?;
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    Ok(meter.end_with(samples))
}

fn pong(own: &Event, there: &Event, rounds: usize) -> io::Result<()> {
    for _ in 0..=rounds {
        own.wait()?;
        there.ring()?;
    }
    Ok(())
}

/// An eventfd, and the poll of the core that waits for it.
struct Event {
    fd: OwnedFd,
    poll: Poll,
}

impl Event {
    #[allow(unsafe_code)]
    fn new() -> io::Result<Self> {
        // SAFETY: the call takes two numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let poll = Poll::new()?;
        poll.watch(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), libc::EPOLLIN, 0)?;
        Ok(Self { fd, poll })
    }

    #[allow(unsafe_code)]
    fn ring(&self) -> io::Result<()> {
        let one = 1_u64;
        // SAFETY: the call reads the eight bytes of `one`.
        let wrote = unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
        if wrote < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Sleeps in the poll, as a loop does, and takes the ring.
    #[allow(unsafe_code)]
    fn wait(&self) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 1];
        self.poll.wait(&mut events)?;
        let mut rings = 0_u64;
        // SAFETY: the call writes the eight bytes of `rings`.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut rings).cast(), 8) };
        if read < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}
