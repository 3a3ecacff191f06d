//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;
use std::io;

use peer::{Job, Stop};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

pub(crate) use tokio::task::yield_now;
pub(crate) use tokio::time::sleep;

/// Runs it as a task, where `multi_thread` spawns without waking another thread.
pub(crate) fn block_on<F>(job: &Job, future: F) -> Result<F::Output, Stop>
where
    F: Future<Output: Send> + Send + 'static,
{
    peer::tasks::no_spin(job)?;
    let mut builder = if job.is_variant("multi_thread")? {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1);
        builder
    } else {
        Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build()?;
    // A task of many joins or timers would be cut short after 128, and set no further timer.
    let root = runtime.spawn(tokio::task::unconstrained(future));
    Ok(runtime.block_on(root).map_err(io::Error::other)?)
}

pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

pub(crate) async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.expect("no task panics")
}
