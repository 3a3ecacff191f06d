//! The threads of cores 1 and up: started with their rings, ended in order.

use super::core::{Core, CoreConfig};
use super::handle::Shared;
use super::shutdown::{CoreReport, ShutdownReport};
use crate::driver::refusal::BuildError;
use crate::driver::sys;
use crate::task::Remote;
use std::future::poll_fn;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a worker's thread is told to end.
#[derive(Default)]
struct Control {
    order: Mutex<Order>,
}

#[derive(Default)]
struct Order {
    /// How long the tasks may take to finish.
    end: Option<Duration>,
    waker: Option<Waker>,
}

impl Control {
    fn end(&self, drain: Duration) {
        let waker = {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            order.end.get_or_insert(drain);
            order.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) -> Duration {
        poll_fn(|cx| {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            match order.end {
                Some(drain) => Poll::Ready(drain),
                None => {
                    order.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

struct Worker {
    core: usize,
    control: Arc<Control>,
    /// Tells the thread who its siblings are; dropped unsent, the thread ends.
    introduce: mpsc::Sender<Arc<Shared>>,
    remote: Remote,
    thread: JoinHandle<Option<CoreReport>>,
}

/// Where a core's thread runs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) cpu: Option<usize>,
}

/// All threads of a runtime but the first.
#[derive(Default)]
pub(super) struct Workers(Vec<Worker>, u32);

impl Workers {
    /// Starts a thread for each place; they are cores 1 and up. If one fails, those before it
    /// are ended again.
    pub(super) fn start(places: Vec<Place>, config: CoreConfig) -> Result<Workers, BuildError> {
        let mut workers = Workers(Vec::new(), std::process::id());
        for (i, place) in places.into_iter().enumerate() {
            match Worker::start(i + 1, place, config.clone()) {
                Ok(worker) => workers.0.push(worker),
                Err(error) => {
                    workers.ask_to_end(Duration::ZERO);
                    workers.join(CoreReport::default());
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    pub(super) fn remotes(&self) -> impl Iterator<Item = Remote> {
        self.0.iter().map(|worker| worker.remote.clone())
    }

    pub(super) fn introduce(&self, shared: &Arc<Shared>) {
        for worker in &self.0 {
            // A thread that is gone already shows when it is joined.
            let _ = worker.introduce.send(shared.clone());
        }
    }

    pub(super) fn ask_to_end(&self, drain: Duration) {
        if std::process::id() != self.1 {
            return;
        }
        for worker in &self.0 {
            worker.control.end(drain);
        }
    }

    /// Waits for all threads; adds up what they and the first core had to give up.
    pub(super) fn join(&mut self, own: CoreReport) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        report.add(own);
        let forked = std::process::id() != self.1;
        for worker in self.0.drain(..) {
            if forked {
                // A child has the handle, but no such thread.
                continue;
            }
            // Ends a thread that was never introduced.
            drop(worker.introduce);
            match worker.thread.join() {
                Ok(Some(core)) => report.add(core),
                Ok(None) => {}
                Err(_) => report.panicked_cores.push(worker.core),
            }
        }
        report
    }
}

impl Worker {
    fn start(core: usize, place: Place, config: CoreConfig) -> Result<Worker, BuildError> {
        let control = Arc::new(Control::default());
        let (introduce, siblings) = mpsc::channel();
        let (tell, built) = mpsc::channel();
        let body = {
            let control = control.clone();
            move || run(core, place.cpu, config, &control, &tell, &siblings)
        };
        let thread = std::thread::Builder::new()
            .name(place.name)
            .spawn(body)
            .map_err(|error| {
                let cure = "raise the limit on processes (`ulimit -u`) or use fewer cores";
                BuildError::thread("a thread could not be started", cure, error)
            })?;
        match built.recv() {
            Ok(Ok(remote)) => Ok(Worker {
                core,
                control,
                introduce,
                remote,
                thread,
            }),
            Ok(Err(error)) => {
                let _ = thread.join();
                Err(error)
            }
            Err(_) => {
                let error = std::io::Error::other("the thread ended before its ring was built");
                let cure = "the panic that the thread has printed tells why";
                Err(BuildError::thread("a thread ended early", cure, error))
            }
        }
    }
}

/// A worker's thread: builds its core where it will run, says so, runs until it is told to end.
fn run(
    index: usize,
    cpu: Option<usize>,
    config: CoreConfig,
    control: &Control,
    tell: &mpsc::Sender<Result<Remote, BuildError>>,
    siblings: &mpsc::Receiver<Arc<Shared>>,
) -> Option<CoreReport> {
    // Placed first, so that the ring's memory is local to its CPU.
    let mut core = match pin(cpu).and_then(|()| Core::new(index, config)) {
        Ok(core) => core,
        Err(error) => {
            let _ = tell.send(Err(error));
            return None;
        }
    };
    let _ = tell.send(Ok(core.remote()));
    match siblings.recv() {
        Ok(shared) => core.join_runtime(shared),
        // The runtime was not built in the end.
        Err(_) => return Some(core.end(Duration::ZERO)),
    }
    let drain = core.run_until(control.wait());
    Some(core.end(drain))
}

/// Keeps this thread on a CPU.
pub(super) fn pin(cpu: Option<usize>) -> Result<(), BuildError> {
    let Some(cpu) = cpu else { return Ok(()) };
    sys::pin_to(&[cpu]).map_err(|error| {
        let cause = format!("CPU {cpu} is not to be had");
        BuildError::thread(cause, "leave out `pin` or name other `cpus`", error)
    })
}
