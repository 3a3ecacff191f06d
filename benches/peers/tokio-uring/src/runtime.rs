//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;

use peer::{Job, Stop};
use tokio::task::JoinHandle;

pub(crate) use tokio::task::yield_now;
pub(crate) use tokio::time::sleep;
pub(crate) use tokio_uring::spawn;

pub(crate) const RING_ENTRIES: u32 = 4096;

pub(crate) fn block_on<F: Future>(job: &Job, future: F) -> Result<F::Output, Stop> {
    peer::tasks::no_spin(job)?;
    let mut flags = tokio_uring::uring_builder();
    flags.setup_single_issuer().setup_coop_taskrun();
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&flags);
    // A task of many joins or timers would be cut short after 128, and set no further timer.
    Ok(builder.start(tokio::task::unconstrained(future)))
}

pub(crate) async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.expect("no task panics")
}
