//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;

use monoio::task::JoinHandle;
use peer::{Job, Stop};

pub(crate) use monoio::spawn;
pub(crate) use monoio::time::sleep;
pub(crate) use peer::tasks::yield_now;

pub(crate) const RING_ENTRIES: u32 = 4096;

pub(crate) fn block_on<F>(job: &Job, future: F) -> Result<F::Output, Stop>
where
    F: Future + 'static,
{
    peer::tasks::no_spin(job)?;
    let mut flags = io_uring::IoUring::builder();
    flags.setup_single_issuer().setup_coop_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .uring_builder(flags)
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()?;
    Ok(runtime.block_on(future))
}

pub(crate) async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await
}
