//! Tasks and time. Its wakers stay on their thread; what crosses threads is a message pipe.

use std::time::Instant;

use kimojio::{MessagePipe, make_message_pipe};
use peer::tasks::{ROUND_TRIPS, Received};
use peer::{Figures, Job, Measured, Meter, Stop};

use crate::runtime::block_on;

peer::task_loops!(crate::runtime);

/// A pipe of the kernel's: nobody sends without a receiver for long.
type Pipe = MessagePipe<u64, u64>;

pub(crate) fn measure(job: &Job) -> Measured {
    match job.case.name {
        "wake" | "wake-spin" => wake(job),
        "channel" => between_cores(job),
        "timer-drop" | "timer-replace" => {
            let reason = "the kernel looks for a dropped timer among all live ones: 6 ms each";
            Err(Stop::unsupported(reason))
        }
        _ => one_core(job),
    }
}

fn wake(job: &Job) -> Measured {
    let rounds = job.scaled(ROUND_TRIPS) as u64;
    let (here, there) = make_message_pipe();
    let (figures, ()) = peer::tasks::on_two_cores(
        || block_on(job, ping(here, rounds)),
        || block_on(job, pong(there, rounds)),
    )?;
    Ok(figures)
}

async fn ping(pipe: Pipe, rounds: u64) -> Figures {
    // Until both cores have begun.
    send(&pipe, 0).await;
    receive(&pipe).await;
    let mut samples = Vec::with_capacity(rounds as usize);
    let meter = Meter::begin();
    for round in 0..rounds {
        let begin = Instant::now();
        send(&pipe, round).await;
        receive(&pipe).await;
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    meter.end_with(samples)
}

async fn pong(pipe: Pipe, rounds: u64) {
    for _ in 0..=rounds {
        let round = receive(&pipe).await;
        send(&pipe, round).await;
    }
}

fn between_cores(job: &Job) -> Measured {
    let (here, there) = make_message_pipe();
    peer::tasks::channel(
        job.scaled(1_000_000),
        |values| block_on(job, send_all(here, values)),
        |values| block_on(job, receive_all(there, values)),
    )
}

async fn send_all(pipe: Pipe, values: u64) {
    for value in 0..values {
        send(&pipe, value).await;
    }
}

async fn receive_all(pipe: Pipe, values: u64) -> Received {
    let mut received = Received::new(values);
    while received.take(receive(&pipe).await) {}
    received
}

async fn send(pipe: &Pipe, value: u64) {
    let sent = pipe.send_message(Box::new(value)).await;
    sent.expect("the other side lives");
}

async fn receive(pipe: &Pipe) -> u64 {
    *pipe.recv_message().await.expect("the other side lives")
}
