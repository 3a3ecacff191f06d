//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;
use std::io;
use std::time::Duration;

use kimojio::Runtime;
use kimojio::configuration::{BusyPoll, Configuration};
use kimojio::operations::TaskHandle;
use peer::{Job, Stop};

pub(crate) use kimojio::operations::{spawn_task as spawn, yield_io as yield_now};

pub(crate) fn block_on<F>(job: &Job, future: F) -> Result<F::Output, Stop>
where
    F: Future + 'static,
{
    let spin = BusyPoll::from(peer::tasks::spin(job));
    let mut runtime = Runtime::new(0, Configuration::new().set_busy_poll(spin));
    match runtime.block_on(future) {
        Some(Ok(output)) => Ok(output),
        _ => Err(io::Error::other("the runtime ended before the future").into()),
    }
}

pub(crate) async fn join<T>(handle: TaskHandle<T>) -> T {
    handle.await.expect("no task panics")
}

pub(crate) async fn sleep(duration: Duration) {
    let slept = kimojio::operations::sleep(duration).await;
    slept.expect("nobody cancels it");
}
