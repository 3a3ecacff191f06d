//! The store of `examples/store`, unchanged, on machines that fail: every promise of its
//! `service/mod.rs`, at random times and at each operation.
//!
//! Only the power losses find the bug that `--cfg store_bug` plants (scripts/mutants): a new log's
//! name is not synced. The ordinary tests of [`ordinary`] are green with it.

#![cfg(feature = "sim")]

#[path = "../examples/store/service/mod.rs"]
mod service;

use corering::net::TcpListener;
use corering::sim::{Control, Faults, Host, Sim};
use corering::sync::Notify;
use corering::time::{sleep, timeout};
use service::{Client, Error, Store, serve};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

corering::follow_the_seed!();

#[global_allocator]
static ALLOCATOR: corering::sim::GuardAlloc = corering::sim::GuardAlloc::new();

const CLIENTS: usize = 3;
/// Of one client.
const STEPS: usize = 40;
const SERVER: &str = "server:7000";

// ---------------------------------------------------------------------------------------------
// What may be read: a history of each key, which has one writer

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Nobody knows. The key is not written any more, so it may happen at any time from now on.
    Open,
    Done,
    Refused,
}

/// The values of a key in their order; the first is that there is none.
struct Key {
    writes: Vec<(Option<String>, Fate)>,
    /// The oldest that may still be read: a newer one was acknowledged or read.
    floor: usize,
}

/// What the clients of a run have done, together. They are on different hosts, but a simulation is
/// one thread.
#[derive(Default)]
struct History(RefCell<BTreeMap<String, Key>>);

impl History {
    fn with<T>(&self, key: &str, act: impl FnOnce(&mut Key) -> T) -> T {
        let mut keys = self.0.borrow_mut();
        act(keys.entry(key.to_owned()).or_insert_with(|| Key {
            writes: vec![(None, Fate::Done)],
            floor: 0,
        }))
    }

    /// A write begins: its number.
    fn begin(&self, key: &str, value: Option<String>) -> usize {
        self.with(key, |key| {
            key.writes.push((value, Fate::Open));
            key.writes.len() - 1
        })
    }

    fn end(&self, key: &str, number: usize, fate: Fate) {
        self.with(key, |key| {
            key.writes[number].1 = fate;
            if fate == Fate::Done {
                key.floor = key.floor.max(number);
            }
        });
    }

    fn floor(&self, key: &str) -> usize {
        self.with(key, |key| key.floor)
    }

    /// A read has ended that had begun when the floor was `floor`.
    fn check(&self, name: &str, floor: usize, value: Option<String>) {
        self.with(name, |key| {
            let may_be =
                |write: &(Option<String>, Fate)| write.1 != Fate::Refused && write.0 == value;
            let found = (floor..key.writes.len()).find(|&at| may_be(&key.writes[at]));
            let Some(found) = found else {
                let all: Vec<_> = key.writes.iter().map(|write| short(&write.0)).collect();
                panic!(
                    "{name} reads as {:?}, which is none of what may be read: those of {all:?} \
                     from the {floor}th on",
                    short(&value)
                );
            };
            key.floor = key.floor.max(found);
        });
    }

    /// How many writes were refused.
    fn refused(&self) -> usize {
        let keys = self.0.borrow();
        let writes = keys.values().flat_map(|key| &key.writes);
        writes.filter(|write| write.1 == Fate::Refused).count()
    }

    fn names(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }
}

/// The part of a value that tells it from others.
fn short(value: &Option<String>) -> Option<&str> {
    value.as_deref()?.split('.').next()
}

// ---------------------------------------------------------------------------------------------
// The hosts

/// The service under a supervisor, which starts it again when it fails.
fn server(sim: &mut Sim, disk_bytes: u64, stop: &Rc<Notify>) -> Host {
    let stop = stop.clone();
    let machine = sim.host("server").disk_bytes(disk_bytes);
    machine.boot(move |_core| {
        let stop = stop.clone();
        async move {
            loop {
                let ended = match TcpListener::bind("0.0.0.0:7000").await {
                    Ok(listener) => serve(listener, Path::new("/data"), stop.notified()).await,
                    Err(error) => Err(error),
                };
                if ended.is_ok() {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
    })
}

/// One client's connection, made again when it is lost.
struct Session {
    client: Option<Client>,
}

impl Session {
    async fn connected(&mut self) -> &mut Client {
        while self.client.is_none() {
            let attempt = timeout(Duration::from_secs(1), Client::connect(SERVER));
            match attempt.await {
                Ok(Ok(client)) => self.client = Some(client),
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
        self.client.as_mut().expect("the loop's condition")
    }

    /// False if the outcome is unknown.
    async fn write(&mut self, history: &History, key: &str, value: Option<String>) -> bool {
        let client = self.connected().await;
        let number = history.begin(key, value.clone());
        let request = async {
            match &value {
                Some(value) => client.set(key, value).await,
                None => client.remove(key).await,
            }
        };
        let fate = match timeout(Duration::from_secs(2), request).await {
            Ok(Ok(())) => Fate::Done,
            Ok(Err(Error::Refused(_))) => Fate::Refused,
            Ok(Err(Error::Unknown(_))) | Err(_) => Fate::Open,
        };
        history.end(key, number, fate);
        if fate == Fate::Open {
            self.client = None;
        }
        fate != Fate::Open
    }

    /// False if there was no answer.
    async fn read(&mut self, history: &History, key: &str) -> bool {
        let client = self.connected().await;
        let floor = history.floor(key);
        let answer = timeout(Duration::from_secs(2), client.get(key)).await;
        match answer {
            Ok(Ok(value)) => history.check(key, floor, value),
            _ => self.client = None,
        }
        self.client.is_some()
    }
}

/// Writes keys of its own, and reads everybody's.
async fn client(control: Control, history: Rc<History>, me: usize, steps: usize) {
    let mut session = Session { client: None };
    // A key is given up when the outcome of a write is unknown: it may still come.
    let mut given_up = [0; 3];
    for step in 0..steps {
        let which = control.random() as usize % given_up.len();
        let key = format!("key-{me}-{which}-{}", given_up[which]);
        let known = match control.random() % 8 {
            0 => session.write(&history, &key, None).await,
            1..6 => {
                let padding = "x".repeat((control.random() % 900) as usize);
                let value = Some(format!("{step}.{padding}"));
                session.write(&history, &key, value).await
            }
            _ => {
                let keys = history.names();
                if let Some(key) = keys.get(control.random() as usize % keys.len().max(1)) {
                    session.read(&history, key).await;
                }
                true
            }
        };
        given_up[which] += usize::from(!known);
        sleep(Duration::from_micros(control.random() % 3_000)).await;
    }
}

/// The machines of a run, and what is known of it.
struct Run {
    server: Host,
    clients: Vec<Host>,
    history: Rc<History>,
    stop: Rc<Notify>,
    done: Rc<Cell<usize>>,
}

impl Run {
    fn new(sim: &mut Sim, clients: usize, steps: usize, disk_bytes: u64) -> Run {
        let (history, stop, done) = (Rc::default(), Rc::new(Notify::new()), Rc::default());
        let mut run = Run {
            server: server(sim, disk_bytes, &stop),
            clients: Vec::new(),
            history,
            stop,
            done,
        };
        for me in 0..clients {
            let (control, history) = (sim.control(), run.history.clone());
            let done = run.done.clone();
            let host = sim.host(&format!("client-{me}")).boot(move |_core| {
                let work = client(control.clone(), history.clone(), me, steps);
                let done = done.clone();
                async move {
                    work.await;
                    done.set(done.get() + 1);
                }
            });
            run.clients.push(host);
        }
        run
    }

    fn is_done(&self) -> bool {
        self.done.get() == self.clients.len()
    }

    /// Everything works again: the clients come to their end, and what they have left is looked at
    /// over the network, and on the disk.
    fn check(self, sim: &mut Sim) {
        sim.set_faults(Faults::none());
        for client in &self.clients {
            sim.heal(&self.server, client);
            sim.unclog(&self.server, client);
            sim.unclog(client, &self.server);
        }
        if !sim.is_up(&self.server) {
            sim.restart(&self.server);
        }
        sim.run_until(|| self.is_done());
        let (history, reader) = (self.history.clone(), &self.clients[0]);
        sim.block_on(reader, async move {
            let mut session = Session { client: None };
            for key in history.names() {
                while !session.read(&history, &key).await {}
            }
        });
        self.stop.notify_one();
        sim.run_for(Duration::from_secs(10));
        let history = self.history.clone();
        sim.block_on(&self.server, async move {
            let (store, committer) = Store::open(Path::new("/data")).await.unwrap();
            let stored: BTreeMap<String, String> = store.entries().into_iter().collect();
            let names = history.names();
            assert!(stored.keys().all(|key| names.contains(key)), "{names:?}");
            for name in &names {
                history.check(name, history.floor(name), stored.get(name).cloned());
            }
            store.close();
            committer.run().await.unwrap();
        });
        let left = sim.read_file(&self.server, "/data/snapshot");
        assert!(left.is_some());
    }
}

/// Does something to the server or its links.
fn disturb(sim: &mut Sim, run: &Run) {
    let client = &run.clients[sim.random() as usize % run.clients.len()];
    match sim.random() % 8 {
        0 | 1 => sim.power_loss(&run.server),
        2 => sim.kill(&run.server),
        3 => sim.partition(&run.server, client),
        4 => sim.partition_one_way(&run.server, client),
        5 => sim.clog(client, &run.server),
        6 => sim.reset_connections(client, &run.server),
        _ => {}
    }
    let pause = Duration::from_millis(sim.random() % 50);
    sim.run_for(pause);
    sim.heal(&run.server, client);
    sim.unclog(client, &run.server);
    if !sim.is_up(&run.server) {
        sim.restart(&run.server);
    }
}

fn survives_disturbances(sim: &mut Sim) {
    let run = Run::new(sim, CLIENTS, STEPS, 1 << 30);
    for _ in 0..30 {
        let peace = Duration::from_millis(sim.random() % 60);
        sim.run_for(peace);
        disturb(sim, &run);
        if run.is_done() {
            break;
        }
    }
    run.check(sim);
}

// ---------------------------------------------------------------------------------------------
// The tests

/// Kills, power losses and partitions at random times, and everything that a program does not see.
#[test]
fn what_was_acknowledged_outlives_everything() {
    corering::sim::seeds(0..40, survives_disturbances);
}

/// As above, with writes, syncs and reads that fail, and connections that are reset.
#[test]
fn failing_disks_and_networks() {
    corering::sim::seeds(0..40, |sim| {
        sim.set_faults(Faults::swarm_with_errors(sim.seed()));
        survives_disturbances(sim);
    });
}

/// A disk that somebody else has filled: what is refused does not appear, and the rest stays.
#[test]
fn a_full_disk() {
    const BLOCK: usize = 4096;
    let refused = AtomicUsize::new(0);
    corering::sim::seeds(0..20, |sim| {
        let run = Run::new(sim, CLIENTS, STEPS, 16 * BLOCK as u64);
        let left = 1 + sim.random() as usize % 3;
        sim.block_on(&run.server, async move {
            let ballast = vec![1; (16 - left) * BLOCK];
            // The store may have taken a part of the room already.
            let _ = corering::fs::write("/ballast", ballast).await;
        });
        sim.run_for(Duration::from_millis(100));
        refused.fetch_add(run.history.refused(), Ordering::Relaxed);
        sim.block_on(&run.server, async {
            corering::fs::remove_file("/ballast").await.unwrap();
        });
        run.check(sim);
    });
    assert!(refused.into_inner() > 0 || std::env::var_os("CORERING_SEED").is_some());
}

/// One client, a server that dies at its `at`-th operation; how many it has performed.
fn one_death(seed: u64, at: Option<u64>, die: fn(&Control, &Host, u64)) -> u64 {
    let mut sim = Sim::new(seed);
    let run = Run::new(&mut sim, 1, 20, 1 << 30);
    if let Some(at) = at {
        die(&sim, &run.server, at);
    }
    let control = sim.control();
    sim.run_until(|| run.is_done() || !control.is_up(&run.server));
    let operations = sim.operations(&run.server);
    run.check(&mut sim);
    sim.finish();
    operations
}

fn death_at_each_operation(die: fn(&Control, &Host, u64)) {
    // One seed is as many runs as there are operations.
    corering::sim::weighted_seeds(50, 0..2, |sim| {
        let seed = sim.seed();
        let operations = one_death(seed, None, die);
        // The least of the first 2,000 seeds is 60, the most 130.
        assert!(operations >= 45, "{operations} operations are too few");
        for at in 1..=operations {
            let told = std::panic::catch_unwind(|| one_death(seed, Some(at), die));
            if let Err(panic) = told {
                eprintln!("the server died at its operation {at} of {operations}");
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn power_loss_at_each_operation() {
    death_at_each_operation(Control::power_loss_at);
}

#[test]
fn kill_at_each_operation() {
    death_at_each_operation(Control::kill_at);
}

/// What one would test anyway: on the real ring, with a stop, a kill of the process and a torn
/// tail. All of it is green with the planted bug.
mod ordinary {
    use super::*;

    async fn opened(dir: &Path) -> (Store, corering::JoinHandle<std::io::Result<()>>) {
        let (store, committer) = Store::open(dir).await.unwrap();
        (store, corering::spawn(committer.run()))
    }

    #[test]
    fn stops_starts_and_torn_tails() {
        let dir = std::env::temp_dir().join(format!("corering-store-test-{}", std::process::id()));
        corering::block_on(async {
            for round in 0..5 {
                let (store, commits) = opened(&dir).await;
                for key in 0..50 {
                    let (key, value) = (format!("key-{key}"), format!("{round}{}", "x".repeat(99)));
                    let before = store.get(&key);
                    assert_eq!(before.is_some(), round > 0);
                    store.set(&key, Some(&value)).await.unwrap().unwrap();
                    assert_eq!(store.get(&key), Some(value));
                }
                store.close();
                commits.await.unwrap().unwrap();
                tear_the_log(&dir);
            }
            corering::fs::remove_dir_all(&dir).await.unwrap();
        });
    }

    /// Appends half a record.
    #[allow(
        clippy::disallowed_methods,
        reason = "a test reaches behind the store's back"
    )]
    fn tear_the_log(dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().contains("log.") {
                let mut bytes = std::fs::read(&path).unwrap();
                bytes.extend_from_within(..bytes.len().min(60));
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
}
