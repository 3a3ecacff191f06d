//! Reaching a runtime: from its own tasks, from its other cores, and from foreign threads.

use crate::driver::current::EnterGuard;
use crate::driver::submit::Submit;
use crate::driver::{Driver, StopPlace};
use crate::op::Nop;
use crate::task::{Executor, Remote, RemoteHandle};
use crate::time::Timers;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What all cores of a runtime know of each other.
pub(super) struct Shared {
    remotes: Vec<Remote>,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(remotes: Vec<Remote>) -> Shared {
        Shared {
            remotes,
            stopping: AtomicBool::new(false),
        }
    }

    pub(super) fn cores(&self) -> usize {
        self.remotes.len()
    }
}

/// The core that runs on this thread.
pub(super) struct Context {
    pub(super) index: usize,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) executor: Executor,
    pub(super) timers: Timers,
}

thread_local! {
    static CURRENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

impl Context {
    /// Makes this core the thread's current one.
    pub(super) fn enter(self) -> EnterGuard<Context> {
        EnterGuard::new(&CURRENT, self)
    }
}

/// Runs `read` on the thread's current core.
#[track_caller]
pub(super) fn with_current<T>(read: impl FnOnce(&Context) -> T) -> T {
    CURRENT.with_borrow(|current| {
        let context = current.as_ref().expect(
            "there is no corering runtime on this thread: call this inside \
             `Runtime::block_on`, `corering::block_on` or a function marked `#[corering::main]`",
        );
        read(context)
    })
}

/// Reaches a runtime from any thread. Clones reach the same one.
///
/// It does not keep the runtime alive: what is asked of a runtime that has ended is cancelled.
///
/// ```no_run
/// # fn main() -> Result<(), corering::BuildError> {
/// let mut runtime = corering::Runtime::builder().cores(2).build()?;
/// let handle = runtime.handle();
/// let elsewhere = std::thread::spawn(move || {
///     handle.spawn_on(1, || async { corering::core_id() })
/// });
/// let task = elsewhere.join().unwrap();
/// assert_eq!(runtime.block_on(task).unwrap(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Handle {
        Handle { shared }
    }

    /// The handle of the runtime that runs on this thread.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn current() -> Handle {
        let shared = with_current(|context| context.shared.clone());
        Handle::new(shared.expect("a core runs nothing before its runtime is built"))
    }

    /// The handle of the runtime that runs on this thread, if one does.
    #[must_use]
    pub fn try_current() -> Option<Handle> {
        let shared = CURRENT.with_borrow(|context| context.as_ref()?.shared.clone());
        shared.map(Handle::new)
    }

    /// How many cores the runtime has.
    pub fn cores(&self) -> usize {
        self.shared.cores()
    }

    /// Starts a task on a core: the closure travels there and makes the future, which need not
    /// be `Send`. The handle can be awaited from any core and by any executor.
    ///
    /// If the runtime has ended, or ends first, the handle's result says "cancelled".
    ///
    /// # Panics
    /// If there is no such core.
    #[track_caller]
    pub fn spawn_on<F, Fut>(&self, core: usize, make: F) -> RemoteHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        let cores = self.cores();
        assert!(
            core < cores,
            "there is no core {core}: this runtime has {cores}, from 0"
        );
        self.shared.remotes[core].spawn(make)
    }

    /// Starts a task on core 0; see [`spawn_on`](Handle::spawn_on). A thread that has no runtime
    /// can wait for its output with [`RemoteHandle::wait`].
    ///
    /// Core 0 runs while somebody runs the runtime; until then the task rests.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), corering::BuildError> {
    /// let mut runtime = corering::Runtime::new()?;
    /// let handle = runtime.handle();
    /// let thread = std::thread::spawn(move || {
    ///     let answer = handle.spawn(|| async { 6 * 7 }).wait();
    ///     handle.stop();
    ///     answer
    /// });
    /// runtime.run_forever();
    /// assert_eq!(thread.join().unwrap().unwrap(), 42);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn spawn<F, Fut>(&self, make: F) -> RemoteHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        self.spawn_on(0, make)
    }

    /// Calls `f` on core 0, behind what is ready there; from any thread. A loop that sleeps is
    /// woken. Calls of one thread run in their order.
    ///
    /// Dropping the handle leaves the call as it is; aborting it before its turn prevents it.
    ///
    /// ```no_run
    /// # fn f(handle: corering::Handle) {
    /// std::thread::spawn(move || {
    ///     drop(handle.call_soon_threadsafe(|| println!("on core {}", corering::core_id())));
    /// });
    /// # }
    /// ```
    #[track_caller]
    pub fn call_soon_threadsafe<F, T>(&self, f: F) -> RemoteHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_on(0, || async { f() })
    }

    /// Whether the runtime has ended: whatever is asked of it is cancelled.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.remotes.iter().all(Remote::is_closed)
    }

    /// Says that the runtime shall end: on every core, listeners stop accepting and
    /// [`stopping`] becomes ready. It ends nothing by itself; that is up to the tasks, and to
    /// [`Runtime::shutdown`](crate::Runtime::shutdown).
    pub fn stop(&self) {
        if !self.shared.stopping.swap(true, Ordering::SeqCst) {
            for remote in &self.shared.remotes {
                drop(remote.spawn(|| async { Driver::current().stop() }));
            }
        }
    }

    /// Whether [`stop`](Handle::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("cores", &self.cores())
            .finish_non_exhaustive()
    }
}

/// Starts a task on a core of this runtime; see [`Handle::spawn_on`].
///
/// # Panics
/// Outside of a runtime, and if there is no such core.
///
/// ```no_run
/// # async fn f() {
/// let there = corering::spawn_on(1, || async { corering::core_id() });
/// assert_eq!(there.await.unwrap(), 1);
/// # }
/// ```
#[track_caller]
pub fn spawn_on<F, Fut>(core: usize, make: F) -> RemoteHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    Handle::current().spawn_on(core, make)
}

/// The number of the core that runs this, from 0.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn core_id() -> usize {
    with_current(|context| context.index)
}

/// Waits until the runtime is asked to end, by [`Handle::stop`] or
/// [`Runtime::shutdown`](crate::Runtime::shutdown).
///
/// # Cancel safety
/// Dropping it loses nothing.
///
/// ```no_run
/// # async fn one_request() {}
/// # async fn f() {
/// while !corering::is_stopping() {
///     one_request().await;
/// }
/// # }
/// ```
pub async fn stopping() {
    let driver = Driver::current();
    let mut place = StopPlace::default();
    poll_fn(|cx| driver.poll_stopping(&mut place, cx)).await;
}

/// Goes to the kernel and back (`IORING_OP_NOP`): what an operation costs when there is nothing
/// to do.
///
/// # Errors
/// What the kernel says; it has nothing to say.
///
/// # Panics
/// Outside of a runtime.
///
/// # Cancel safety
/// Dropping it loses nothing.
///
/// ```no_run
/// corering::block_on(async { corering::nop().await }).unwrap();
/// ```
pub async fn nop() -> io::Result<()> {
    Submit::new(&Driver::current(), Nop).await
}

/// Whether the runtime of this thread was asked to end.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn is_stopping() -> bool {
    Driver::current().is_stopping()
}
