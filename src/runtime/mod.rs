//! The loop: building a runtime, running it, reaching it from other threads, and ending it.
//!
//! ```text
//!   loop {
//!       root future, if it was woken          ── ready: leave
//!       ready tasks, within the budget        ── local queue, then the inbox of other threads
//!       driver.park(nearest timer)            ── submit all, wait once, deliver completions
//!       timers that are due
//!   }
//! ```
//! One `io_uring_enter` a turn submits everything that the turn queued and waits in the same
//! call; the wait's own timeout is the timer. [`core`] is that loop; [`builder`] starts one on
//! each core; [`handle`] reaches them from anywhere; [`shutdown`] ends them in order.

mod builder;
mod core;
mod handle;
mod metrics;
mod shutdown;
#[cfg(feature = "sim")]
pub(crate) mod stepped;
mod workers;

pub use builder::Builder;
pub use handle::{Handle, core_id, is_stopping, nop, spawn_on, stopping};
pub use metrics::Metrics;
pub use shutdown::ShutdownReport;

use self::core::Core;
use self::handle::Shared;
use self::workers::Workers;
use crate::driver::refusal::BuildError;
use crate::task::RemoteHandle;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs a future to its end on a runtime of one core, made for it and dropped after it.
///
/// Tasks that still run when the future is done are dropped.
///
/// # Panics
/// If the machine refuses io_uring; the message names the cure. Use [`Runtime::builder`] to get
/// an error instead. Also inside of another runtime's `block_on`.
///
/// ```no_run
/// let answer = corering::block_on(async { 6 * 7 });
/// assert_eq!(answer, 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(mut runtime) => runtime.block_on(future),
        Err(error) => panic!("corering cannot start: {error}"),
    }
}

/// One loop per core, each with a ring of its own.
///
/// Core 0 is the thread that built the runtime, which runs it by [`block_on`](Runtime::block_on)
/// or [`run`](Runtime::run), any number of times; the other cores are threads that run until the
/// runtime is dropped or [shut down](Runtime::shutdown). Tasks stay on their core. What is spawned
/// on core 0 rests while nobody runs it.
///
/// Dropping the runtime drops all tasks, on their own cores, cancels what is in flight, and
/// waits for the kernel to give back all memory, for as long as the builder's
/// [`shutdown_grace`](Builder::shutdown_grace) says.
///
/// ```no_run
/// # fn main() -> Result<(), corering::BuildError> {
/// let mut runtime = corering::Runtime::builder().cores(2).build()?;
/// let names = runtime.run(|core| async move { format!("core {core}") });
/// assert_eq!(names, ["core 0", "core 1"]);
/// # Ok(()) }
/// ```
pub struct Runtime {
    /// Taken out by `shutdown`, so that the drop finds nothing left to do.
    core: Option<Core>,
    workers: Workers,
    shared: Arc<Shared>,
    _unpin: builder::Unpin,
}

impl Runtime {
    /// A runtime of one core with the default settings.
    ///
    /// # Errors
    /// [`BuildError`] if the machine refuses io_uring.
    pub fn new() -> Result<Runtime, BuildError> {
        Runtime::builder().build()
    }

    /// The settings of a runtime to be built.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Runs a future to its end on core 0, together with all tasks of that core.
    ///
    /// Tasks that are not finished then go on at the next call.
    ///
    /// # Panics
    /// As the future does; and inside of another runtime's `block_on` on the same thread.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        self.core().run_until(future)
    }

    /// Runs core 0 until somebody says [`Handle::stop`]: a task, another thread, a signal's task.
    ///
    /// Unlike [`shutdown`](Runtime::shutdown) it ends nothing: tasks that still live go on at the
    /// next call that runs the core, or are finished or dropped by `shutdown`. A runtime that was
    /// stopped stays so: called again, this returns after one turn.
    ///
    /// # Panics
    /// Inside of another runtime's `block_on` on the same thread.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// use std::time::Duration;
    /// let mut runtime = corering::Runtime::new()?;
    /// let handle = runtime.handle();
    /// std::thread::spawn(move || handle.stop());
    /// runtime.run_forever();
    /// println!("{:?}", runtime.shutdown(Duration::from_secs(5)));
    /// # Ok(()) }
    /// ```
    pub fn run_forever(&mut self) {
        self.block_on(stopping());
    }

    /// Runs `make(core)` on every core at once, and returns what came out, in the cores' order.
    ///
    /// # Panics
    /// As soon as the future of any core has panicked, with its panic.
    pub fn run<F, Fut>(&mut self, make: F) -> Vec<Fut::Output>
    where
        F: Fn(usize) -> Fut + Clone + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let handle = self.handle();
        let others = (1..handle.cores()).map(|core| {
            let make = make.clone();
            handle.spawn_on(core, move || make(core))
        });
        let others = others.collect();
        self.block_on(async move { join_all(make(0), others).await })
    }

    /// A handle that reaches this runtime from any thread.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.clone())
    }

    /// What core 0 has counted. (Inside of a runtime: [`Metrics::current`].)
    pub fn metrics(&self) -> Metrics {
        self.core().metrics()
    }

    /// Ends the runtime in order: listeners stop accepting, tasks may finish until the deadline,
    /// then what is left is dropped; the report says how much that was.
    ///
    /// Tasks that wait for [`stopping`] learn of it. After the deadline it takes at most the
    /// builder's [`shutdown_grace`](Builder::shutdown_grace) more, for the kernel to give memory
    /// back.
    pub fn shutdown(mut self, deadline: Duration) -> ShutdownReport {
        self.end(deadline)
    }

    fn core(&self) -> &Core {
        self.core
            .as_ref()
            .expect("only `shutdown`, which consumes the runtime, takes the core")
    }

    fn end(&mut self, drain: Duration) -> ShutdownReport {
        let Some(core) = self.core.take() else {
            return ShutdownReport::default();
        };
        // All cores drain at the same time, this one here.
        self.workers.ask_to_end(drain);
        let own = core.end(drain);
        self.workers.join(own)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("cores", &self.shared.cores())
            .finish_non_exhaustive()
    }
}

/// Waits for the future here and those elsewhere; a panic in any of them is everybody's.
async fn join_all<F: Future>(own: F, others: Vec<RemoteHandle<F::Output>>) -> Vec<F::Output> {
    let mut own = pin!(own);
    let mut own_output = None;
    let mut handles: Vec<_> = others.into_iter().map(|handle| (handle, None)).collect();
    poll_fn(|cx| {
        if own_output.is_none() {
            if let Poll::Ready(output) = own.as_mut().poll(cx) {
                own_output = Some(output);
            }
        }
        let mut done = own_output.is_some();
        for (handle, output) in &mut handles {
            done &= poll_remote(handle, output, cx);
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let others = handles.into_iter().map(|(_, output)| output);
    std::iter::once(own_output)
        .chain(others)
        .map(|output| output.expect("all are done"))
        .collect()
}

/// Whether the output is there by now.
fn poll_remote<T>(
    handle: &mut RemoteHandle<T>,
    output: &mut Option<T>,
    cx: &mut Context<'_>,
) -> bool {
    if output.is_some() {
        return true;
    }
    match Pin::new(handle).poll(cx) {
        Poll::Ready(Ok(value)) => *output = Some(value),
        Poll::Ready(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("a core ended before its future was done: {error}"),
        },
        Poll::Pending => {}
    }
    output.is_some()
}
