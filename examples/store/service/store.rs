//! The store: a table in memory, and the one task that makes changes durable.

use super::log::{Change, Log, Table};
use corering::sync::{Notify, oneshot};
use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;

/// A log that is longer is replaced by a snapshot.
const LOG_BYTES_MAX: u64 = 4 * 1024;

/// A handle of an open store. Clones share it.
#[derive(Clone)]
pub struct Store(Rc<Shared>);

struct Shared {
    /// What is durable.
    table: RefCell<Table>,
    /// Changes that nobody has begun to write.
    waiting: RefCell<Vec<Waiting>>,
    /// Something waits, or the store is closed.
    work: Notify,
    closed: Cell<bool>,
}

struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<(), String>>,
}

/// Makes changes durable, as long as it [runs](Committer::run).
pub struct Committer {
    shared: Rc<Shared>,
    log: Log,
}

impl Store {
    /// Opens the store in this directory.
    pub async fn open(dir: &Path) -> io::Result<(Store, Committer)> {
        let (log, table) = Log::open(dir).await?;
        let shared = Rc::new(Shared {
            table: RefCell::new(table),
            waiting: RefCell::default(),
            work: Notify::new(),
            closed: Cell::new(false),
        });
        let store = Store(shared.clone());
        Ok((store, Committer { shared, log }))
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.0.table.borrow().get(key).cloned()
    }

    /// All keys and values.
    pub fn entries(&self) -> Vec<(String, String)> {
        let table = self.0.table.borrow();
        let entry = |(key, value): (&String, &String)| (key.clone(), value.clone());
        table.iter().map(entry).collect()
    }

    /// Sets a key, or removes it: done once it is durable. `Err` within says that it was not done;
    /// `None`, that the store has failed and nobody knows.
    pub async fn set(&self, key: &str, value: Option<&str>) -> Option<Result<(), String>> {
        if self.0.closed.get() {
            return Some(Err("the store is closed".into()));
        }
        let (done, outcome) = oneshot();
        let change = Change {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        let waiting = Waiting { change, done };
        self.0.waiting.borrow_mut().push(waiting);
        self.0.work.notify_one();
        outcome.await.ok()
    }

    /// No more changes are taken; the committer ends when those that wait are done.
    pub fn close(&self) {
        self.0.closed.set(true);
        self.0.work.notify_one();
    }
}

impl Committer {
    /// Commits until the store is closed. An error is the end of the store: what is on the disk is
    /// consistent, and has to be opened anew.
    pub async fn run(mut self) -> io::Result<()> {
        let result = self.commit_all().await;
        // Those who wait, and those who come, learn that there is nobody any more.
        self.shared.closed.set(true);
        self.shared.waiting.take();
        result
    }

    async fn commit_all(&mut self) -> io::Result<()> {
        loop {
            let batch = self.shared.waiting.take();
            if !batch.is_empty() {
                self.commit(batch).await?;
            } else if self.shared.closed.get() {
                return Ok(());
            } else {
                self.shared.work.notified().await;
            }
        }
    }

    /// What has come meanwhile shares one sync: the group commit.
    async fn commit(&mut self, batch: Vec<Waiting>) -> io::Result<()> {
        let changes: Vec<Change> = batch.iter().map(|one| one.change.clone()).collect();
        let outcome = self.log.append(&changes).await;
        if outcome.is_err() {
            // Parts of the batch may be in the log, and it is not refused before they are gone.
            if self.log.cut_off().await.is_err() {
                self.replace_log().await?;
            }
        } else {
            let mut table = self.shared.table.borrow_mut();
            changes.into_iter().for_each(|one| one.apply(&mut table));
        }
        for Waiting { done, .. } in batch {
            let outcome = outcome.as_ref().map_err(ToString::to_string);
            // Whoever has gone away does not want to know.
            let _ = done.send(outcome.copied());
        }
        if self.log.len() > LOG_BYTES_MAX {
            self.replace_log().await?;
        }
        Ok(())
    }

    async fn replace_log(&mut self) -> io::Result<()> {
        let snapshot = self.log.next_snapshot(&self.shared.table.borrow());
        self.log.replace(snapshot).await
    }
}
