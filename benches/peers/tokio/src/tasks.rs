//! Tasks and time.

use peer::tasks::{CHANNEL_LEN, Received};
use peer::{Job, Measured};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::runtime::block_on;

peer::task_loops!(crate::runtime);
peer::wake_loop!(crate::runtime);

pub(crate) fn measure(job: &Job) -> Measured {
    match job.case.name {
        "wake" | "wake-spin" => wake(job),
        "channel" => between_cores(job),
        _ => one_core(job),
    }
}

fn between_cores(job: &Job) -> Measured {
    let (sender, receiver) = channel(CHANNEL_LEN);
    peer::tasks::channel(
        job.scaled(1_000_000),
        |values| block_on(job, send(sender, values)),
        |values| block_on(job, receive(receiver, values)),
    )
}

async fn send(sender: Sender<u64>, values: u64) {
    for value in 0..values {
        sender.send(value).await.expect("the receiver lives");
    }
}

async fn receive(mut receiver: Receiver<u64>, values: u64) -> Received {
    let mut received = Received::new(values);
    while received.take(receiver.recv().await.expect("the sender lives")) {}
    received
}
