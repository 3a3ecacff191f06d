//! One core: its driver, its tasks, its timers, and the loop that runs them.

use super::handle::{Context as CoreContext, Shared};
use super::metrics::Metrics;
use super::shutdown::{CoreReport, PENDING_LISTED_MAX};
#[cfg(feature = "sim")]
use super::stepped::Left;
use crate::driver::bell::Bell;
use crate::driver::current::EnterGuard;
use crate::driver::kernel::{Wait, now};
use crate::driver::refusal::BuildError;
#[cfg(feature = "sim")]
use crate::driver::sim::Watch;
use crate::driver::{self, Driver};
use crate::task::{self, Budget, Executor, Hooks, Remote, Unpark};
use crate::time::{self, Timers};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a core is built from.
#[derive(Clone, Debug)]
pub(super) struct CoreConfig {
    pub(super) driver: driver::Config,
    /// Polls, and microseconds, after which a turn of tasks ends even if more are ready.
    pub(super) budget_polls: u32,
    pub(super) budget_micros: u32,
    /// How long the kernel may take, at the end, to give back what it still works on.
    pub(super) grace: Duration,
    /// What is to be told of tasks, and to whom.
    pub(super) hooks: Hooks,
}

/// Rings the core's bell for its executor.
struct Ringer(Arc<Bell>);

impl Unpark for Ringer {
    fn unpark(&self) {
        self.0.ring();
    }
}

/// One core, on its own thread.
pub(super) struct Core {
    index: usize,
    config: CoreConfig,
    driver: Driver,
    executor: Executor,
    timers: Timers,
    /// Set once all cores have been built.
    shared: Option<Arc<Shared>>,
    ended: Cell<bool>,
}

thread_local! {
    /// A loop runs on this thread.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Everything that makes this core the thread's current one.
pub(super) struct Entered {
    _driver: EnterGuard<Driver>,
    _executor: crate::task::EnterGuard,
    _timers: EnterGuard<Timers>,
    _context: EnterGuard<CoreContext>,
}

/// The thread runs a loop until this is dropped.
pub(super) struct Running;

impl Running {
    #[track_caller]
    pub(super) fn begin() -> Running {
        assert!(
            !RUNNING.replace(true),
            "block_on was called inside of a runtime: this thread is already running a loop, \
             which the inner one would stop. Await the future instead, or spawn it; blocking \
             code belongs on a thread of its own"
        );
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = RUNNING.try_with(|running| running.set(false));
    }
}

impl Core {
    /// A core for this thread.
    pub(super) fn new(index: usize, config: CoreConfig) -> Result<Core, BuildError> {
        let driver = Driver::new(config.driver).map_err(BuildError::explain)?;
        Ok(Core::with_driver(index, config, driver))
    }

    pub(super) fn with_driver(index: usize, config: CoreConfig, driver: Driver) -> Core {
        let ringer = Arc::new(Ringer(driver.bell().clone()));
        let mut hooks = config.hooks.clone();
        hooks.who_waits = Some(who_waits);
        let executor = Executor::with_hooks(index, ringer, hooks);
        Core {
            index,
            config,
            driver,
            executor,
            timers: Timers::default(),
            shared: None,
            ended: Cell::new(false),
        }
    }

    pub(super) fn remote(&self) -> Remote {
        self.executor.remote()
    }

    pub(super) fn join_runtime(&mut self, shared: Arc<Shared>) {
        self.shared = Some(shared);
    }

    pub(super) fn metrics(&self) -> Metrics {
        Metrics::of(self.index, &self.driver, &self.executor, &self.timers)
    }

    pub(super) fn enter(&self) -> Entered {
        let context = CoreContext {
            index: self.index,
            shared: self.shared.clone(),
            executor: self.executor.clone(),
            timers: self.timers.clone(),
        };
        Entered {
            _driver: self.driver.enter(),
            _executor: self.executor.enter(),
            _timers: self.timers.enter(),
            _context: context.enter(),
        }
    }

    /// Runs the loop until `future` is done.
    #[track_caller]
    pub(super) fn run_until<F: Future>(&self, future: F) -> F::Output {
        let _running = Running::begin();
        let _entered = self.enter();
        // Dropped before the guards: its destructor may use the runtime.
        let mut future = pin!(future);
        let waker = self.executor.root_waker();
        let mut cx = Context::from_waker(&waker);
        // A wake that an earlier root future left behind must not hide this one's first poll.
        let mut woken = true;
        loop {
            if woken {
                if let Poll::Ready(output) = self.poll_root(future.as_mut(), &mut cx) {
                    // What it queued last (a close, a reply) goes out now.
                    self.turn(true);
                    return output;
                }
            }
            self.turn(false);
            woken = self.executor.take_root_woken();
        }
    }

    fn poll_root<F: Future>(&self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some((limit_nanos, now)) = self.config.hooks.stall else {
            return future.poll(cx);
        };
        let begin = now();
        let poll = future.poll(cx);
        let held = now().saturating_sub(begin);
        if held >= limit_nanos {
            self.executor.root_held(held, std::any::type_name::<F>());
        }
        poll
    }

    /// Ready tasks, then one visit to the kernel, then timers.
    fn turn(&self, no_wait: bool) {
        let wait = match self.run_tasks() {
            _ if no_wait => Wait::No,
            wait => wait,
        };
        must_go_on(self.driver.park(wait, || self.is_idle()));
        self.expire_timers();
    }

    /// Runs what is ready, within the budget; how long the core may sleep then.
    fn run_tasks(&self) -> Wait {
        let mut budget = Budget::new(self.config.budget_polls, self.config.budget_micros, now);
        let busy = self.executor.run(&mut budget) || self.executor.root_is_woken();
        match self.timers.next_look() {
            _ if busy => Wait::No,
            Some(deadline) => Wait::Until(deadline),
            None => Wait::Forever,
        }
    }

    fn is_idle(&self) -> bool {
        !self.executor.has_ready() && !self.executor.root_is_woken()
    }

    fn expire_timers(&self) {
        if let Some(deadline) = self.timers.next_deadline() {
            let now = now();
            if deadline <= now {
                self.timers.expire(now);
            }
        }
    }

    /// Stops accepting, lets tasks finish for `drain`, then drops what is left.
    pub(super) fn end(self, drain: Duration) -> CoreReport {
        let end = now().saturating_add(u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX));
        self.driver.stop();
        // Inside of another runtime's loop there is no draining: what is left is abandoned.
        let may_run = !std::thread::panicking() && !RUNNING.get();
        if !drain.is_zero() && self.executor.live() > 0 && may_run {
            self.run_until(self.until_idle(end));
        }
        self.give_up()
    }

    /// Drops all tasks and closes the ring. In this order: tasks own operations, which the ring
    /// must finish before it goes.
    fn give_up(&self) -> CoreReport {
        self.ended.set(true);
        self.driver.stop();
        let entered = self.enter();
        let pending = self.executor.list(PENDING_LISTED_MAX);
        let abandoned = self.executor.abort_all();
        let deadline = now().saturating_add(self.config.grace.as_nanos() as u64);
        let leaked = self.driver.shut_down(deadline);
        self.executor.close();
        drop(entered);
        CoreReport {
            abandoned_tasks: abandoned,
            leaked_operations: leaked,
            pending,
        }
    }

    /// Ready when no task is left, or at `end`.
    async fn until_idle(&self, end: u64) {
        /// How often the count of tasks is looked at.
        const LOOK_EVERY: Duration = Duration::from_millis(1);
        let mut nap = time::sleep(LOOK_EVERY);
        poll_fn(|cx| {
            loop {
                if self.executor.live() == 0 || now() >= end {
                    return Poll::Ready(());
                }
                if pin!(&mut nap).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                nap = time::sleep(LOOK_EVERY);
            }
        })
        .await;
    }
}

/// The half turns of a core that a simulation runs.
#[cfg(feature = "sim")]
impl Core {
    pub(super) fn lie_down(&self) {
        let wait = self.run_tasks();
        must_go_on(self.driver.lie_down(wait, || self.is_idle()));
    }

    pub(super) fn get_up(&self) {
        must_go_on(self.driver.get_up());
        self.expire_timers();
    }

    pub(super) fn has_work(&self) -> bool {
        !self.is_idle()
    }

    /// The live tasks, the oldest first; at most so many. The core is the thread's current one.
    pub(super) fn list_tasks(&self, most: usize) -> Vec<task::TaskInfo> {
        self.executor.list(most)
    }

    pub(super) fn live_tasks(&self) -> usize {
        self.executor.live()
    }

    pub(super) fn panicked_tasks(&self) -> u64 {
        self.executor.stats().panics
    }

    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn root_waker(&self) -> std::task::Waker {
        self.executor.root_waker()
    }

    pub(super) fn take_root_woken(&self) -> bool {
        self.executor.take_root_woken()
    }

    pub(super) fn watch(&self) -> Watch {
        Watch::new(&self.driver)
    }

    /// Ends it without a drain; what is left of it.
    pub(super) fn end_now(self) -> Left {
        let (executor, timers) = (self.executor.clone(), self.timers.clone());
        let report = self.end(Duration::ZERO);
        Left {
            operations: report.leaked_operations,
            tasks: executor.live(),
            timers: timers.len(),
            pieces: 0,
        }
    }
}

/// Who waits for the kernel or for a timer, on the thread's current core.
fn who_waits(tell: &mut dyn FnMut(&Waker, task::Wait)) {
    if let Some(driver) = Driver::try_current() {
        driver.tell_who_waits(|waker, name, descriptor| {
            tell(waker, task::Wait::Operation { name, descriptor });
        });
    }
    Timers::tell_who_waits(|waker, left| tell(waker, task::Wait::Timer(left)));
}

/// An error of the ring itself: nothing that this core does can go on.
fn must_go_on(result: std::io::Result<()>) {
    if let Err(error) = result {
        panic!("the kernel refuses to go on with this core's ring: {error}");
    }
}

impl Drop for Core {
    /// A core whose loop has panicked must not close its ring under what is in flight either.
    fn drop(&mut self) {
        if !self.ended.get() {
            self.give_up();
        }
    }
}
