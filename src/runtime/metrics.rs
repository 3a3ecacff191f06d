//! What a core counts.

use super::handle::with_current;
use crate::driver::Driver;
use crate::task::Executor;
use crate::time::Timers;

/// A snapshot of one core's counters. All count from the core's beginning unless said otherwise.
///
/// ```no_run
/// # async fn f() {
/// let before = corering::Metrics::current();
/// corering::task::yield_now().await;
/// let after = corering::Metrics::current();
/// println!("{} system calls", after.enters - before.enters);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The core, from 0.
    pub core: usize,
    /// Tasks spawned.
    pub spawned: u64,
    /// Tasks that are alive now.
    pub tasks: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Wakes on the core itself, and from elsewhere.
    pub local_wakes: u64,
    /// Wakes from other threads.
    pub foreign_wakes: u64,
    /// Panics of tasks.
    pub panics: u64,
    /// Polls that took longer than
    /// [`Builder::stall_threshold`](crate::Builder::stall_threshold); 0 where none is set.
    pub stalls: u64,
    /// Timers that are set now.
    pub timers: u64,
    /// Operations submitted.
    pub operations: u64,
    /// Completions taken in.
    pub completions: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Operations that the kernel still owes a last completion, now.
    pub in_flight: u64,
    /// Entries that wait for room in the submission queue, now.
    pub backlog: u64,
    /// Turns that found the completion queue overflown; nothing is lost by it.
    pub overflows: u64,
    /// Completions that belong to no operation.
    pub stale_completions: u64,
    /// Receive buffers in all, those for datagrams among them; 0 before the first receive.
    pub buffers: u64,
    /// Receive buffers that the kernel can fill, now.
    pub buffers_available: u64,
    /// Receives that found no buffer and had to wait in line.
    pub starved: u64,
    /// Receives into the heap instead.
    pub heap_receives: u64,
    /// The length of all receive buffers, in bytes.
    pub buffer_bytes: u64,
    /// Bytes of memory that receives into the heap have lent to the kernel, now; limited by
    /// [`Builder::heap_receive_bytes`](crate::Builder::heap_receive_bytes).
    pub heap_receive_bytes: u64,
    /// Receives into the heap that this limit has made wait for their bytes first.
    pub heap_receives_put_off: u64,
    /// Bytes that zero-copy sends have lent to the kernel, now; limited by
    /// [`Builder::zero_copy_bytes`](crate::Builder::zero_copy_bytes).
    pub zero_copy_bytes: u64,
    /// Zero-copy sends that copied, because of this limit.
    pub zero_copy_copied: u64,
    /// Receives and accepts that were stopped, because what they brought was not taken in time: the
    /// peers wait in the kernel until it is.
    pub stops: u64,
    /// The most wakes and spawns from other threads that one turn has found.
    pub inbox_peak: u64,
    /// Turns that found more than 16,384 of them: other threads ask for more than the core gets
    /// done.
    pub inbox_warnings: u64,
    /// The most kernel workers for file operations: for reads and writes of files, and for what
    /// may wait for long.
    pub kernel_workers: [u32; 2],
    /// Accepts that were put off because no descriptor (or memory) was left.
    pub accept_backoffs: u64,
    /// File operations that were performed on the spot; see
    /// [`Builder::inline_files`](crate::Builder::inline_files).
    pub inline_files: u64,
    /// Closes that reported an error nobody waited for.
    pub close_failed: u64,
    /// Panics in destructors of buffers and outputs whose future was gone.
    pub destructor_panics: u64,
}

impl Metrics {
    /// Of the core that runs this.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn current() -> Metrics {
        let driver = Driver::current();
        with_current(|context| {
            Metrics::of(context.index, &driver, &context.executor, &context.timers)
        })
    }

    pub(super) fn of(
        core: usize,
        driver: &Driver,
        executor: &Executor,
        timers: &Timers,
    ) -> Metrics {
        let (ring, tasks) = (driver.stats(), executor.stats());
        Metrics {
            core,
            spawned: tasks.spawned,
            tasks: tasks.live,
            polls: tasks.polls,
            local_wakes: tasks.local_wakes,
            foreign_wakes: tasks.foreign_wakes,
            panics: tasks.panics,
            stalls: tasks.stalls,
            timers: timers.len() as u64,
            operations: ring.submitted,
            completions: ring.completed,
            enters: ring.enters,
            in_flight: ring.in_flight,
            backlog: ring.backlog,
            overflows: ring.overflows,
            stale_completions: ring.stale,
            buffers: ring.buffers,
            buffers_available: ring.buffers_available,
            starved: ring.starved,
            heap_receives: ring.heap_receives,
            buffer_bytes: ring.buffer_bytes,
            heap_receive_bytes: ring.heap_receive_bytes,
            heap_receives_put_off: ring.heap_receives_put_off,
            zero_copy_bytes: ring.zero_copy_bytes,
            zero_copy_copied: ring.zero_copy_copied,
            stops: ring.stops,
            inbox_peak: tasks.inbox_peak,
            inbox_warnings: tasks.inbox_warnings,
            kernel_workers: ring.kernel_workers,
            accept_backoffs: ring.accept_backoffs,
            inline_files: ring.inline_files,
            close_failed: ring.close_failed,
            destructor_panics: ring.destructor_panics,
        }
    }
}
