//! The runtime's own calls, for the loops that all contenders share. `tuned` has the ring's better
//! flags.

use std::future::Future;

use compio::driver::ProactorBuilder;
use compio::runtime::{JoinHandle, RuntimeBuilder};
use peer::{Job, Stop};

pub(crate) use compio::runtime::spawn;
pub(crate) use compio::time::sleep;
pub(crate) use peer::tasks::yield_now;

pub(crate) fn block_on<F: Future>(job: &Job, future: F) -> Result<F::Output, Stop> {
    peer::tasks::no_spin(job)?;
    let mut proactor = ProactorBuilder::new();
    if job.is_variant("tuned")? {
        proactor
            .capacity(4096)
            .single_issuer(true)
            .defer_taskrun(true)
            .coop_taskrun(true)
            .taskrun_flag(true);
    }
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    Ok(runtime.block_on(future))
}

pub(crate) async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.expect("no task panics")
}
