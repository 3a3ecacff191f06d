//! What only a simulation can show: completions too many, every answer of a cancel, equal runs of
//! equal seeds; and that the simulation's own watch is awake.

use crate::harness::{Rng, coded_bytes, panic_of};
use crate::program::{self, Program};
use crate::world::{MS, listener, pair, pair_of, reset, soon};
use corering::net::{TcpListener, TcpStream};
use corering::sim::{Faults, Sim};
use corering::task::yield_now;
use corering::time::sleep;
use corering::{Metrics, fs, spawn};
use futures::FutureExt;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Completions of operations that are long gone harm nobody, and are counted.
#[test]
fn b07_stale_and_duplicate() {
    let stale = AtomicU64::new(0);
    corering::sim::seeds(0..20, |sim| {
        let mut faults = Faults::none();
        faults.stale_completion = 0.3;
        sim.set_faults(faults);
        let host = sim.host("here").boot(|_core| async {});
        stale.fetch_add(
            sim.block_on(&host, async {
                for round in 0..20 {
                    let (mut ours, mut theirs) = pair().await;
                    theirs.send_all(vec![round; 3_000]).await.0.expect("sent");
                    let (result, bytes) = ours.read_owned(vec![0; 100]).await;
                    assert!(bytes[..result.expect("read")].iter().all(|&b| b == round));
                    fs::write("/file", vec![round; 100]).await.expect("written");
                    assert_eq!(fs::read("/file").await.expect("read"), [round; 100]);
                }
                Metrics::current().stale_completions
            }),
            Ordering::Relaxed,
        );
    });
    assert!(stale.into_inner() > 100, "hardly any was delivered");
}

/// One read is asked to stop, one opening is dropped: what the cancels are answered, and what the
/// read came to.
fn cancel_once(seed: u64) -> (BTreeSet<i32>, &'static str) {
    let mut sim = Sim::with_faults(seed, Faults::swarm(seed));
    let host = sim.host("here").boot(|_core| async {});
    let mut rng = Rng::from_seed(seed);
    let outcome = sim.block_on(&host, async move {
        let (mut ours, mut theirs) = pair().await;
        let [before, after] = [(); 2].map(|()| Duration::from_micros(rng.below(400)));
        let ends = rng.below(3);
        let peer = spawn(async move {
            sleep(before).await;
            match ends {
                0 => reset(theirs),
                _ => {
                    theirs
                        .send_all(coded_bytes(9, 0, 100))
                        .await
                        .0
                        .expect("sent");
                    std::future::pending::<()>().await;
                }
            }
        });
        let room = if rng.once_in(2) { 60 } else { 200 };
        let mut read = ours.read_owned(vec![0; room]);
        assert!((&mut read).now_or_never().is_none());
        assert!(Box::pin(fs::File::create("/a")).now_or_never().is_none());
        sleep(after).await;
        read.cancel();
        let (result, bytes) = soon(read).await;
        peer.abort();
        let _ = peer.await;
        match result {
            Ok(n) => {
                assert_eq!(bytes[..n], coded_bytes(9, 0, n));
                if n == room.min(100) { "all" } else { "a part" }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => "cancelled",
            Err(error) if error.kind() == ErrorKind::ConnectionReset => "an error",
            Err(error) => panic!("nobody gets this: {error}"),
        }
    });
    // Words of the trace: the time, its unit, the core, what, the result, whose.
    let answers = sim.report();
    let answers = answers.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let of_a_cancel = words.get(3) == Some(&"completes") && words.get(5) == Some(&"0");
        of_a_cancel.then(|| words[4].parse().expect("a result"))
    });
    let answers = answers.collect();
    sim.finish();
    (answers, outcome)
}

/// Signals that interrupt `io_uring_enter` all the time change nothing.
#[test]
fn b06_signal_storm() {
    corering::sim::seeds(0..20, |sim| {
        let mut faults = Faults::none();
        faults.enter_interrupted = 0.5;
        sim.set_faults(faults);
        let host = sim.host("here").boot(|_core| async {});
        sim.block_on(&host, async {
            let (mut ours, mut theirs) = pair().await;
            for round in 0..20 {
                ours.send_all(vec![round; 100]).await.0.expect("sent");
                let mut bytes = [0; 100];
                theirs.read_exact(&mut bytes).await.expect("received");
                assert_eq!(bytes, [round; 100]);
                fs::write("/file", bytes.to_vec()).await.expect("written");
                assert_eq!(fs::read("/file").await.expect("read"), bytes);
                sleep(MS).await;
            }
        });
    });
}

/// Every answer of a cancel, and every end of what it was for; the slot is freed at that end
/// alone, which every run checks.
#[test]
fn c09_cancel_result_matrix() {
    let mut answers = BTreeSet::new();
    let mut outcomes = BTreeSet::new();
    for seed in 0..400 {
        let (some, outcome) = cancel_once(seed);
        answers.extend(some);
        outcomes.insert(outcome);
    }
    for answer in [0, -libc::ENOENT, -libc::EALREADY] {
        assert!(answers.contains(&answer), "{answer}: {answers:?}");
    }
    let all = BTreeSet::from(["a part", "all", "an error", "cancelled"]);
    assert_eq!(outcomes, all);
}

/// A listener outlives what passes, and says what does not.
#[test]
fn g11_accept_transient_errors() {
    corering::sim::seeds(0..20, |sim| {
        let mut faults = Faults::swarm(sim.seed());
        faults.accept_fails = 0.5;
        let passing = [
            libc::ECONNABORTED,
            libc::EPROTO,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::ENFILE,
            libc::EPERM,
        ];
        let chosen = passing[sim.random() as usize % passing.len()];
        faults.fail("accept", 1, chosen);
        sim.set_faults(faults);
        let host = sim.host("here").boot(|_core| async {});
        let control = sim.control();
        sim.block_on(&host, async move {
            let (first, address) = listener().await;
            for _ in 0..10 {
                drop(pair_of(&first, address).await);
            }
            drop(first);
            let mut faults = Faults::none();
            (1..10_000).for_each(|nth| faults.fail("accept", nth, libc::EINVAL));
            control.set_faults(faults);
            let (listener, _) = listener().await;
            let error = soon(listener.accept()).await.expect_err("it does not pass");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        });
    });
}

/// What was accepted and could not be sent is missing for good: nothing is sent behind it, however
/// large it is and by whatever way.
#[test]
fn nothing_is_sent_behind_what_failed() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("here").boot(|_core| async {});
        let control = sim.control();
        sim.block_on(&host, async move {
            let (mut ours, mut theirs) = pair().await;
            let mut faults = Faults::none();
            faults.fail("send", 1, libc::ENOMEM);
            control.set_faults(faults);
            ours.write_all(b"lost").await.expect("accepted");
            sleep(MS).await;
            for len in [1, 100_000] {
                let error = ours.write_all(&vec![7; len]).await.expect_err("a hole");
                assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{len} bytes");
            }
            drop(ours);
            let (result, _) = theirs.read_owned(vec![0; 10]).await;
            assert_eq!(result.expect("the end"), 0);
        });
    });
}

fn traced(seed: u64) -> (u64, u64) {
    let program = Program::random(&mut Rng::from_seed(seed));
    let mut sim = Sim::with_faults(seed, Faults::swarm_with_errors(seed));
    let host = sim.host("here").cores(2).boot(|_core| async {});
    sim.spawn(&host, async move {
        drop(program::run(program).await);
        for round in 0..5 {
            let _ = fs::write_atomic(format!("/file-{round}"), vec![1; 5_000]).await;
            let _ = fs::read("/file-0").await;
        }
    });
    sim.run_for(Duration::from_secs(60));
    (sim.trace_hash(), sim.events())
}

/// The same seed, on another thread, with other addresses: the same run.
#[test]
fn l03_determinism() {
    for seed in 0..200 {
        let runs = [(); 2].map(|()| std::thread::spawn(move || traced(seed)));
        let [a, b] = runs.map(|run| run.join().expect("no panic"));
        assert_eq!(a, b, "seed {seed}");
    }
    assert_ne!(traced(1), traced(2));
}

/// A host ends in the midst of operations of every kind: all of them are given back.
#[test]
fn e02_the_end_takes_back_what_is_in_flight() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("here").boot(|_core| async {});
        sim.block_on(&host, async {
            let (listener, address) = listener().await;
            let (mut ours, mut theirs) = pair_of(&listener, address).await;
            drop(spawn(async move {
                let _ = ours.read_owned(vec![0; 100]).await;
                unreachable!("nothing is sent, and nobody leaves");
            }));
            drop(spawn(async move { theirs.recv().await.map(drop) }));
            drop(spawn(async move { listener.accept().await.map(drop) }));
            drop(spawn(async { fs::write("/file", vec![1; 100_000]).await }));
            yield_now().await;
            assert!(Metrics::current().in_flight > 0);
        });
        // The run ends with a complaint where an operation had to be leaked.
    });
}

/// Where descriptors have run out, a listener waits: it does not try all the time, and serves
/// those who have waited.
#[test]
fn g10_accept_emfile() {
    const CLIENTS: u64 = 20;
    corering::sim::seeds(0..20, |sim| {
        let (kept, served) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
        let (place, count) = (kept.clone(), served.clone());
        let server = sim.host("server").descriptors(12).boot(move |_core| {
            let (kept, count) = (place.clone(), count.clone());
            async move {
                let listener = TcpListener::bind("0.0.0.0:7000").await.expect("bound");
                loop {
                    let (stream, _) = listener.accept().await.expect("it does not end");
                    kept.borrow_mut().push(stream);
                    count.set(count.get() + 1);
                }
            }
        });
        let address = (server.address(), 7000);
        let clients = sim.host("clients").boot(|_core| async {});
        sim.spawn(&clients, async move {
            let mut streams = Vec::new();
            while streams.len() < CLIENTS as usize {
                match TcpStream::connect(address).await {
                    Ok(stream) => streams.push(stream),
                    Err(_) => sleep(MS).await,
                }
            }
            std::future::pending::<()>().await;
        });
        sim.run_for(500 * MS);
        let (taken, before) = (served.get(), sim.operations(&server));
        assert!(taken > 0 && taken < CLIENTS, "{taken} were accepted");
        sim.run_for(1_000 * MS);
        assert_eq!(served.get(), taken);
        let operations = sim.operations(&server) - before;
        assert!(operations < 100, "{operations} operations in a second");
        let (kept, count) = (kept.clone(), served.clone());
        sim.block_on(&server, async move {
            while count.get() < CLIENTS {
                kept.borrow_mut().clear();
                sleep(10 * MS).await;
            }
            kept.borrow_mut().clear();
        });
    });
}

/// What a simulation ends with, whose host does `act`.
fn caught<F: Future<Output = ()> + 'static>(faults: Faults, act: F) -> String {
    caught_with(1, faults, act).expect("a rule was broken")
}

fn caught_with<F>(seed: u64, faults: Faults, act: F) -> Option<String>
where
    F: Future<Output = ()> + 'static,
{
    panic_of(|| {
        let mut sim = Sim::with_faults(seed, faults);
        let host = sim.host("here").boot(|_core| async {});
        sim.block_on(&host, act);
        sim.finish();
    })
}

#[test]
fn an_uninvited_cancellation_is_caught() {
    let mut faults = Faults::none();
    faults.fail("openat", 1, libc::ECANCELED);
    faults.fail("openat2", 1, libc::ECANCELED);
    let text = caught(faults, async {
        assert!(fs::File::create("/a").await.is_err());
        sleep(MS).await;
    });
    assert!(text.contains("nobody had asked for that"), "{text}");
}

#[test]
fn a_timer_that_was_forgotten_is_caught() {
    let text = caught(Faults::none(), async {
        let mut nap = Box::pin(sleep(MS));
        assert!(nap.as_mut().now_or_never().is_none());
        std::mem::forget(nap);
    });
    assert!(text.contains("1 timers are still set"), "{text}");
}

#[test]
fn a_task_that_cannot_end_is_caught() {
    struct Hydra;
    impl Drop for Hydra {
        fn drop(&mut self) {
            let head = Hydra;
            drop(spawn(async move {
                let _head = head;
                std::future::pending::<()>().await;
            }));
        }
    }
    let text = caught(Faults::none(), async { drop(Hydra) });
    assert!(text.contains("tasks are still there"), "{text}");
}

#[test]
fn a_receive_buffer_that_was_kept_is_caught() {
    // Some kernels have no receive buffers to be kept.
    let texts: Vec<String> = (0..10).filter_map(keep_a_receive_buffer).collect();
    assert!(!texts.is_empty(), "no seed was caught");
    assert!(
        texts
            .iter()
            .all(|text| text.contains("were not given back")),
        "{texts:?}"
    );
}

fn keep_a_receive_buffer(seed: u64) -> Option<String> {
    let kept = Rc::new(Cell::new(None));
    let place = kept.clone();
    let text = caught_with(seed, Faults::none(), async move {
        for _ in 0..50 {
            let (mut ours, mut theirs) = pair().await;
            theirs.send_all(b"x".to_vec()).await.0.expect("sent");
            place.set(ours.recv().await.expect("read"));
        }
    });
    drop(kept);
    text
}
