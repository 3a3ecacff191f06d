//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;

use peer::{Job, Stop};
use smol::{LocalExecutor, Task};

pub(crate) use smol::future::yield_now;

thread_local! {
    /// For good: the process is one job.
    static EXECUTOR: &'static LocalExecutor<'static> = Box::leak(Box::default());
}

pub(crate) fn block_on<F: Future>(job: &Job, future: F) -> Result<F::Output, Stop> {
    peer::tasks::no_spin(job)?;
    let executor = EXECUTOR.with(|executor| *executor);
    Ok(smol::block_on(executor.run(future)))
}

pub(crate) fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    EXECUTOR.with(|executor| executor.spawn(future))
}

pub(crate) async fn join<T>(task: Task<T>) -> T {
    task.await
}

pub(crate) fn sleep(duration: std::time::Duration) -> smol::Timer {
    smol::Timer::after(duration)
}
