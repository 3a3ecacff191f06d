//! Syncs of one file: one at a time, shared by all who wait, and failed for good once one failed.
//!
//! The kernel reports a failed write-back to one `fsync` and then forgets it: the next one says
//! "done", although the data never reached the disk. So a failure is kept here, and since two
//! syncs at once could take the report from each other, a second one waits for the first. Those
//! that wait share the next sync: it begins after all of them have asked.
//!
//! ```text
//!   sync ──nothing runs──► running ──done──► Ok, for all who asked before it began
//!     │ one runs              │ failed
//!     ▼                       ▼
//!   waits for its end      failed: every sync from now on fails
//! ```

use super::submit::is_interrupted;
use crate::driver::fd::Fd;
use crate::driver::submit::Submit;
use crate::op::{Fsync, Verdict};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What the handles of one open file know of its syncs.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    /// The errno of the sync that failed.
    failed: Cell<Option<i32>>,
    running: Cell<bool>,
    /// How many have begun: a sync's number.
    begun: Cell<u64>,
    /// The number of the last one that made the data durable, and of the last one that made
    /// everything durable.
    data_done: Cell<u64>,
    all_done: Cell<u64>,
    /// Those who wait for the end of the one that runs.
    waiting: RefCell<Vec<Waker>>,
}

impl Syncs {
    /// Makes everything durable that was written before this call.
    pub(super) async fn sync(self: &Rc<Syncs>, fd: &Fd, data_only: bool) -> io::Result<()> {
        // One that runs already may have begun before the bytes of this call were written.
        let wanted = self.begun.get() + 1;
        loop {
            self.check()?;
            if self.covers(wanted, data_only) {
                return Ok(());
            }
            if self.running.get() {
                self.wait().await;
                continue;
            }
            let op = Fsync {
                fd: fd.clone(),
                data_only,
                verdict: Turn::begin(self, data_only),
            };
            match Submit::new(fd.driver(), op).await {
                Err(error) if is_interrupted(&error) => {}
                result => return result,
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        let Some(errno) = self.failed.get().filter(|_| !cfg!(break_poison)) else {
            return Ok(());
        };
        let cause = io::Error::from_raw_os_error(errno);
        let what = format!(
            "an earlier sync of this file failed ({cause}): the kernel may have thrown away what \
             it could not write, so no later sync can vouch for it; write the data again, to a \
             file that is opened anew"
        );
        Err(io::Error::new(cause.kind(), what))
    }

    fn covers(&self, wanted: u64, data_only: bool) -> bool {
        let done = match data_only {
            true => self.data_done.get(),
            false => self.all_done.get(),
        };
        done >= wanted
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if !self.running.get() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// The sync that runs. It lives in the operation, so it ends with it, awaited or not.
#[derive(Debug)]
struct Turn {
    syncs: Rc<Syncs>,
    number: u64,
    data_only: bool,
}

impl Turn {
    fn begin(syncs: &Rc<Syncs>, data_only: bool) -> Turn {
        let number = syncs.begun.get() + 1;
        syncs.begun.set(number);
        syncs.running.set(true);
        Turn {
            syncs: syncs.clone(),
            number,
            data_only,
        }
    }
}

impl Verdict for Turn {
    fn synced(&self, result: &io::Result<()>) {
        match result {
            Ok(()) => {
                self.syncs.data_done.set(self.number);
                if !self.data_only {
                    self.syncs.all_done.set(self.number);
                }
            }
            Err(error) => match error.raw_os_error() {
                // The sync was not performed: it says nothing about the data.
                None | Some(libc::EINTR | libc::ECANCELED) => {}
                errno => self.syncs.failed.set(errno),
            },
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.syncs.running.set(false);
        let waiting = std::mem::take(&mut *self.syncs.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(syncs: &Rc<Syncs>, data_only: bool, result: io::Result<()>) {
        Turn::begin(syncs, data_only).synced(&result);
    }

    #[test]
    fn a_sync_covers_only_what_asked_before_it_began() {
        let syncs = Rc::new(Syncs::default());
        let first = Turn::begin(&syncs, false);
        let wanted = syncs.begun.get() + 1;
        first.synced(&Ok(()));
        drop(first);
        assert!(!syncs.covers(wanted, false) && !syncs.running.get());
        turn(&syncs, true, Ok(()));
        assert!(syncs.covers(wanted, true) && !syncs.covers(wanted, false));
        turn(&syncs, false, Ok(()));
        assert!(syncs.covers(wanted, false));
    }

    #[test]
    fn a_failure_stays_and_says_why() {
        let syncs = Rc::new(Syncs::default());
        turn(
            &syncs,
            false,
            Err(io::Error::from_raw_os_error(libc::EINTR)),
        );
        assert!(syncs.check().is_ok());
        turn(&syncs, false, Err(io::Error::from_raw_os_error(libc::EIO)));
        turn(&syncs, false, Ok(()));
        let text = syncs.check().unwrap_err().to_string();
        assert!(
            text.contains("earlier sync") && text.contains("os error 5"),
            "{text}"
        );
    }
}
