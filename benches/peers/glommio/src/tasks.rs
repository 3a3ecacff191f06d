//! Tasks and time.

use glommio::channels::shared_channel::{SharedReceiver, SharedSender, new_bounded};
use peer::tasks::{CHANNEL_LEN, Received};
use peer::{Job, Measured, Stop};

use crate::runtime::block_on;

peer::task_loops!(crate::runtime);
peer::wake_loop!(crate::runtime);

pub(crate) fn measure(job: &Job) -> Measured {
    match job.case.name {
        "wake" | "wake-spin" => wake(job),
        "channel" => between_cores(job),
        "timer-drop" | "timer-replace" => {
            let reason = "one task cannot have 100,000 timers: a waker is counted in 15 bits";
            Err(Stop::unsupported(reason))
        }
        _ => one_core(job),
    }
}

fn between_cores(job: &Job) -> Measured {
    let (sender, receiver) = new_bounded(CHANNEL_LEN);
    peer::tasks::channel(
        job.scaled(1_000_000),
        |values| block_on(job, send(sender, values)),
        |values| block_on(job, receive(receiver, values)),
    )
}

async fn send(sender: SharedSender<u64>, values: u64) {
    let sender = sender.connect().await;
    for value in 0..values {
        sender.send(value).await.expect("the receiver lives");
    }
}

async fn receive(receiver: SharedReceiver<u64>, values: u64) -> Received {
    let receiver = receiver.connect().await;
    let mut received = Received::new(values);
    while received.take(receiver.recv().await.expect("the sender lives")) {}
    received
}
