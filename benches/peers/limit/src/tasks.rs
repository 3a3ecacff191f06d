//! The wake between two cores, by messages from ring to ring. A bare ring has no tasks.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc;
use std::time::Instant;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use peer::tasks::ROUND_TRIPS;
use peer::{Figures, Job, Measured, Meter, Stop};

const RING_ENTRIES: u32 = 64;
/// The completion of a message that has come; that of one sent has zero.
const CAME: u64 = 1;

pub(crate) fn measure(job: &Job) -> Measured {
    match job.case.name {
        "wake" => wake(job.scaled(ROUND_TRIPS)),
        _ => Err(Stop::unsupported("a bare ring has no tasks")),
    }
}

fn wake(rounds: usize) -> Measured {
    let (tell_pong, of_ping) = mpsc::channel();
    let (tell_ping, of_pong) = mpsc::channel();
    let (figures, ()) = peer::tasks::on_two_cores(
        move || {
            let ring = make_ring(&tell_pong)?;
            Ok(ping(ring, peer_ring(&of_pong)?, rounds)?)
        },
        move || {
            let ring = make_ring(&tell_ping)?;
            Ok(pong(ring, peer_ring(&of_ping)?, rounds)?)
        },
    )?;
    Ok(figures)
}

/// A ring of this thread; the other one is told its descriptor.
fn make_ring(tell: &mpsc::Sender<RawFd>) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(RING_ENTRIES)?;
    tell.send(ring.as_raw_fd()).map_err(io::Error::other)?;
    Ok(ring)
}

fn peer_ring(told: &mpsc::Receiver<RawFd>) -> io::Result<Fd> {
    told.recv().map(Fd).map_err(io::Error::other)
}

fn ping(mut ring: IoUring, there: Fd, rounds: usize) -> io::Result<Figures> {
    let mut samples = Vec::with_capacity(rounds);
    // Until both cores have begun.
    send_and_wait(&mut ring, Some(there))?;
    let meter = Meter::begin();
    for _ in 0..rounds {
        let begin = Instant::now();
        send_and_wait(&mut ring, Some(there))?;
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    Ok(meter.end_with(samples))
}

fn pong(mut ring: IoUring, there: Fd, rounds: usize) -> io::Result<()> {
    send_and_wait(&mut ring, None)?;
    for _ in 0..rounds {
        send_and_wait(&mut ring, Some(there))?;
    }
    // The last answer waits for nothing: nothing comes after it.
    push(&mut ring, there)?;
    ring.submit()?;
    Ok(())
}

/// Sends a message, if there is somebody to send it to, and waits until one has come.
fn send_and_wait(ring: &mut IoUring, there: Option<Fd>) -> io::Result<()> {
    if let Some(there) = there {
        push(ring, there)?;
    }
    loop {
        ring.submit_and_wait(1)?;
        let came = ring.completion().filter(came).count();
        if came > 0 {
            return Ok(());
        }
    }
}

/// A message whose own completion is not shown: so the one that comes is that of the other side.
#[allow(unsafe_code)]
fn push(ring: &mut IoUring, there: Fd) -> io::Result<()> {
    let message = opcode::MsgRingData::new(there, 0, CAME, None)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS);
    // SAFETY: the entry points to no memory.
    unsafe { ring.submission().push(&message) }.map_err(io::Error::other)
}

fn came(completion: &cqueue::Entry) -> bool {
    assert!(completion.result() >= 0, "the other ring lives");
    completion.user_data() == CAME
}
