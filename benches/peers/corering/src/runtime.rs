//! The runtime's own calls, for the loops that all contenders share.

use std::future::Future;
use std::io;

use corering::JoinHandle;
use peer::{Job, Stop};

pub(crate) use corering::time::sleep;
pub(crate) use corering::yield_now;

/// The variant in which small file operations do not go by the ring.
const INLINE_FILES: &str = "inline-files";

pub(crate) fn block_on<F: Future>(job: &Job, future: F) -> Result<F::Output, Stop> {
    let builder = corering::Runtime::builder().spin(peer::tasks::spin(job).unwrap_or_default());
    let inline = job.is_variant(INLINE_FILES)?;
    let mut runtime = builder
        .inline_files(inline)
        .build()
        .map_err(io::Error::from)?;
    Ok(runtime.block_on(future))
}

pub(crate) fn spawn<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    corering::spawn(future)
}

pub(crate) async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.expect("no task panics")
}
