//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;
use std::io;

use glommio::{LocalExecutorBuilder, Placement, Task};
use peer::{Job, Stop};

pub(crate) use glommio::spawn_local as spawn;
pub(crate) use glommio::timer::sleep;

pub(crate) const RING_DEPTH: usize = 4096;

pub(crate) fn block_on<F: Future>(job: &Job, future: F) -> Result<F::Output, Stop> {
    let mut builder = LocalExecutorBuilder::new(Placement::Unbound).ring_depth(RING_DEPTH);
    if let Some(spin) = peer::tasks::spin(job) {
        builder = builder.spin_before_park(spin);
    }
    let executor = builder.make().map_err(io::Error::from)?;
    Ok(executor.run(future))
}

pub(crate) async fn join<T>(task: Task<T>) -> T {
    task.await
}

pub(crate) async fn yield_now() {
    glommio::executor().yield_now().await;
}
