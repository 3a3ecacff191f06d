//! Every operation and flag that the crate uses, performed once: the table, and who performs it.
//!
//! An operation's trial is the crate's own operation (`op/`), on a file or a socket that was made
//! without the ring, so that each fails for itself alone. A flag's trial is a ring of its own, or
//! the driver's self-test. To add an operation here, add its row and its function.

mod files;
mod sockets;

use super::report::{Outcome, Trial};
use crate::driver::fd::Fd;
use crate::driver::probe::Features;
use crate::driver::submit::{Multi, Submit, SubmitMulti};
use crate::driver::survey::{self, TempDir, flag};
use crate::driver::{Driver, probe};
use crate::op::Nop;
use crate::runtime::Runtime;
use crate::time;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

/// A trial that has not ended by then has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has not been begun by then, for all that went before, is left out.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(10);

/// Why a trial did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was performed, and this came of it.
    Fails(String),
    /// It could not be performed.
    NotTried(String),
}

type Tried = Result<(), Trouble>;

/// What the operation itself said.
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Fails(error.to_string())
    }
}

/// What is needed for a trial, and says nothing about what is tried.
fn given<T>(result: io::Result<T>) -> Result<T, Trouble> {
    result.map_err(|error| Trouble::NotTried(error.to_string()))
}

fn check(good: bool, what: &str) -> Tried {
    match good {
        true => Ok(()),
        false => Err(Trouble::Fails(what.to_string())),
    }
}

/// Where trials are performed: in a runtime, beside a directory.
pub(super) struct Place {
    driver: Driver,
    dir: Result<TempDir, String>,
}

impl Place {
    /// In the runtime of this thread.
    pub(super) fn new(dir: Result<TempDir, String>) -> Place {
        Place {
            driver: Driver::current(),
            dir,
        }
    }

    fn dir(&self) -> Result<&TempDir, Trouble> {
        let dir = self.dir.as_ref();
        dir.map_err(|error| Trouble::NotTried(format!("no directory for temporary files: {error}")))
    }

    fn fd(&self, fd: OwnedFd) -> Fd {
        Fd::new(fd, &self.driver)
    }
}

type Perform = for<'a> fn(&'a Place) -> Pin<Box<dyn Future<Output = Tried> + 'a>>;

/// How a row is tried.
#[derive(Clone, Copy)]
enum How {
    /// In a runtime.
    Perform(Perform),
    /// With rings of its own.
    Alone(fn() -> Tried),
    /// The driver's self-test has done it.
    SelfTest,
}

/// A row of the table.
struct Row {
    name: &'static str,
    since: &'static str,
    /// Where the crate has another way: the self-test's word on it.
    optional: Option<fn(&Features) -> bool>,
    how: How,
}

const fn row(name: &'static str, since: &'static str, how: How) -> Row {
    Row {
        name,
        since,
        optional: None,
        how,
    }
}

const fn feature(
    name: &'static str,
    since: &'static str,
    has: fn(&Features) -> bool,
    how: How,
) -> Row {
    Row {
        name,
        since,
        optional: Some(has),
        how,
    }
}

/// Flags of the ring, then what is registered with it, then operations.
const ROWS: &[&[Row]] = &[FLAGS, RUNNING, files::ROWS, sockets::ROWS];

const FLAGS: &[Row] = &[
    row("setup_cqsize", "5.5", How::Alone(|| ring(flag::CQSIZE))),
    row("setup_clamp", "5.6", How::Alone(|| ring(flag::CLAMP))),
    row(
        "setup_submit_all",
        "5.18",
        How::Alone(|| ring(flag::SUBMIT_ALL)),
    ),
    row(
        "setup_coop_taskrun",
        "5.19",
        How::Alone(|| ring(flag::COOP_TASKRUN)),
    ),
    row(
        "setup_taskrun_flag",
        "5.19",
        How::Alone(|| ring(flag::COOP_TASKRUN | flag::TASKRUN_FLAG)),
    ),
    row(
        "setup_single_issuer",
        "6.0",
        How::Alone(|| ring(flag::SINGLE_ISSUER)),
    ),
    row(
        "setup_defer_taskrun",
        "6.1",
        How::Alone(|| ring(flag::SINGLE_ISSUER | flag::DEFER_TASKRUN)),
    ),
    row(
        "register_probe",
        "5.6",
        How::Alone(|| Ok(given(survey::setup(0))?.probe()?)),
    ),
    row(
        "register_iowq_max_workers",
        "5.15",
        How::Alone(|| Ok(given(survey::setup(0))?.workers()?)),
    ),
    feature("no_sqarray", "6.6", |has| has.no_sqarray, How::SelfTest),
    feature(
        "registered_ring",
        "5.18",
        |has| has.registered_ring,
        How::SelfTest,
    ),
    feature("silent_send", "6.0", |has| has.silent_send, How::SelfTest),
    feature("buffer_ring", "5.19", |has| has.buffer_ring, How::SelfTest),
    feature("incremental", "6.12", |has| has.incremental, How::SelfTest),
    feature("abs_timer", "6.12", |has| has.abs_timer, How::SelfTest),
    feature(
        "send_msg_ring",
        "6.13",
        |has| has.send_msg_ring,
        How::SelfTest,
    ),
    feature("no_iowait", "6.15", |has| has.no_iowait, How::SelfTest),
];

fn ring(flags: u32) -> Tried {
    survey::setup(flags)?;
    Ok(())
}

const RUNNING: &[Row] = &[
    row("nop", "5.1", How::Perform(|place| Box::pin(nop(place)))),
    row("ext_arg", "5.11", How::Perform(|_| Box::pin(timed_wait()))),
    row("nodrop", "5.5", How::Alone(overflow)),
];

async fn nop(place: &Place) -> Tried {
    Ok(Submit::new(&place.driver, Nop).await?)
}

/// The loop's wait takes its own timeout along.
async fn timed_wait() -> Tried {
    let begin = time::Instant::now();
    time::sleep(Duration::from_millis(1)).await;
    check(
        begin.elapsed() >= Duration::from_millis(1),
        "the wait ended before its time",
    )
}

/// More completions than the queue holds, none of them lost.
fn overflow() -> Tried {
    const QUEUE: u32 = 8;
    let builder = Runtime::builder()
        .ring_entries(QUEUE)
        .completion_entries(QUEUE);
    let mut runtime = builder
        .build()
        .map_err(|error| Trouble::NotTried(error.to_string()))?;
    let nops = async {
        let driver = Driver::current();
        let mut nops: Vec<_> = (0..8 * QUEUE)
            .map(|_| Some(Submit::new(&driver, Nop)))
            .collect();
        poll_fn(|cx| {
            for nop in nops.iter_mut() {
                if nop
                    .as_mut()
                    .is_some_and(|nop| Pin::new(nop).poll(cx).is_ready())
                {
                    *nop = None;
                }
            }
            match nops.iter().all(Option::is_none) {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    };
    let ended = runtime.block_on(time::timeout(PATIENCE, nops));
    check(
        ended.is_ok(),
        "completions were lost when their queue was full",
    )
}

/// The next item of an operation that has many.
async fn next<O: Multi>(op: &mut SubmitMulti<O>) -> Option<O::Item> {
    poll_fn(|cx| op.poll_next(cx)).await
}

/// What the self-test found, and what of it may be used.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    found: Features,
    used: Features,
}

impl Known {
    /// Runs the self-test anew.
    pub(super) fn ask() -> io::Result<Known> {
        Ok(Known {
            found: probe::found()?,
            used: probe::features()?,
        })
    }
}

/// All rows, of which none could be tried.
pub(super) fn untried(why: &str) -> Vec<Trial> {
    let trouble = || Err(Trouble::NotTried(why.to_string()));
    ROWS.iter()
        .copied()
        .flatten()
        .map(|row| row.trial(trouble()))
        .collect()
}

/// Tries every row: those that need no runtime first, then the others in this one.
pub(super) fn run(runtime: &mut Runtime, known: Known, dir: Result<TempDir, String>) -> Vec<Trial> {
    let rows: Vec<&Row> = ROWS.iter().copied().flatten().collect();
    let alone: Vec<_> = rows.iter().map(|row| row.outside(known)).collect();
    runtime.block_on(async {
        let place = Place::new(dir);
        let begin = time::Instant::now();
        let mut trials = Vec::with_capacity(rows.len());
        for (row, known) in rows.into_iter().zip(alone) {
            trials.push(match known {
                Some(trial) => trial,
                None if begin.elapsed() > PATIENCE_IN_ALL => row.trial(Err(Trouble::NotTried(
                    "those before it took too long".into(),
                ))),
                None => row.inside(&place).await,
            });
        }
        trials
    })
}

impl Row {
    /// The trial, where it takes no runtime, or the self-test has ruled it out.
    fn outside(&self, known: Known) -> Option<Trial> {
        if let Some(has) = self.optional {
            if !has(&known.found) {
                let why = format!("the self-test says no (it came with Linux {})", self.since);
                return Some(self.trial(Err(Trouble::Fails(why))));
            }
            if !has(&known.used) {
                return Some(self.masked());
            }
        }
        match self.how {
            How::Perform(_) => None,
            How::Alone(perform) => Some(self.trial(perform())),
            How::SelfTest => Some(self.trial(Ok(()))),
        }
    }

    async fn inside(&self, place: &Place) -> Trial {
        let How::Perform(perform) = self.how else {
            unreachable!("what takes no runtime was tried outside of one");
        };
        let tried = time::timeout(PATIENCE, perform(place)).await;
        self.trial(
            tried.unwrap_or_else(|_| Err(Trouble::Fails(format!("no answer within {PATIENCE:?}")))),
        )
    }

    fn masked(&self) -> Trial {
        Trial {
            outcome: Outcome::Masked,
            detail: Some("CORERING_MASK forbids it".into()),
            ..self.trial(Ok(()))
        }
    }

    fn trial(&self, tried: Tried) -> Trial {
        let (outcome, detail) = match tried {
            Ok(()) => (Outcome::Works, None),
            Err(Trouble::Fails(why)) => (Outcome::Fails, Some(why)),
            Err(Trouble::NotTried(why)) => (Outcome::NotTried, Some(why)),
        };
        Trial {
            name: self.name,
            since: self.since,
            optional: self.optional.is_some(),
            outcome,
            detail,
        }
    }
}
