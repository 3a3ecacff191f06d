//! Forks, signals, stops, and a kernel whose `io_uring_enter` fails now and then.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::task::JoinSet;
use corering::time::{Instant, MissedTickBehavior, interval, sleep};
use corering::{Runtime, spawn};
use futures::AsyncReadExt;
use harness::{Case, Census, panic_of, seccomp};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn runtime(cores: usize) -> Runtime {
    let runtime = Runtime::builder().cores(cores).pin(false).build();
    runtime.expect("io_uring works here")
}

/// Runs `body` in a forked child and returns its exit code; 98 if it
/// panicked, 99 if it hung and was killed.
fn forked(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the only other thread of this process waits for this one, and holds no lock that
    // the child would need; the child leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        let body = std::panic::AssertUnwindSafe(body);
        let code = std::panic::catch_unwind(body).unwrap_or(98);
        // SAFETY: ends this process, and nothing of the parent's.
        unsafe { libc::_exit(code) };
    }
    let begin = std::time::Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one number.
        let done = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) };
        if done == pid {
            return match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => 1000 + libc::WTERMSIG(status),
            };
        }
        if begin.elapsed() > Duration::from_secs(5) {
            harness::oracle::dump(pid as u32);
            // SAFETY: ends our own child.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            // SAFETY: the kernel writes one number.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            return 99;
        }
        std::thread::sleep(MS);
    }
}

async fn work(rounds: u32) {
    for _ in 0..rounds {
        let task = spawn(sleep(Duration::from_micros(40)));
        task.await.expect("joined");
    }
}

#[test]
fn e13_fork_child_only_exits() {
    Case::new("e13_fork_child_only_exits").run(|| {
        let mut runtime = runtime(2);
        runtime.block_on(async {
            work(100).await;
            for _ in 0..5 {
                assert_eq!(forked(|| 7), 7);
                work(500).await;
            }
            let metrics = corering::Metrics::current();
            assert_eq!((metrics.stale_completions, metrics.in_flight), (0, 0));
        });
        assert_eq!(forked(|| 0), 0);
        assert_eq!(runtime.run(|core| async move { core }), [0, 1]);
    });
}

#[test]
fn e13_fork_child_touches_the_runtime() {
    Case::new("e13_fork_child_touches_the_runtime").run(|| {
        let mut runtime = runtime(1);
        runtime.block_on(work(10));
        let code = forked(|| {
            let text = panic_of(|| runtime.block_on(sleep(MS)));
            let good = text.as_deref().is_some_and(|text| text.contains("fork"));
            eprintln!("{text:?}");
            if good { 3 } else { 4 }
        });
        assert_eq!(code, 3, "a clear panic");
        runtime.block_on(work(100));
        assert_eq!(runtime.metrics().stale_completions, 0);
        // From inside of a task, too.
        let mut before = 0;
        runtime.block_on(async {
            before = corering::Metrics::current().operations;
            let code = forked(|| {
                let text = panic_of(|| corering::Metrics::current().operations);
                if text.is_none() { 5 } else { 6 }
            });
            assert_eq!(code, 5, "what only counts may be asked");
            work(100).await;
        });
        assert_eq!(runtime.metrics().stale_completions, 0);
    });
}

/// What a child writes does not go past the ring that it must not use.
#[test]
fn e13_fork_child_writes_nothing() {
    Case::new("e13_fork_child_writes_nothing").run(|| {
        runtime(1).block_on(async {
            let (mut ours, mut theirs) = harness::net::pair().await;
            let code = forked(|| {
                let mut write = pin!(ours.write_all(&[b'x'; 100_000]));
                let polled = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                i32::from(polled.is_ready())
            });
            assert_eq!(code, 0, "it waits for a loop that does not run there");
            ours.write_all(b"y").await.expect("written");
            drop(ours);
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.expect("read");
            assert_eq!(all.len(), 1, "what came: {:?}", &all[..all.len().min(10)]);
        });
    });
}

/// The child builds a runtime of its own, which works, and lets go of the parent's.
#[test]
fn e13_fork_child_builds_its_own() {
    Case::new("e13_fork_child_builds_its_own").run(|| {
        let mut parents = runtime(1);
        parents.block_on(work(10));
        let mut parents = Some(parents);
        let code = forked(|| {
            let mut own = runtime(2);
            let good = own.run(|core| async move {
                sleep(MS).await;
                core
            }) == [0, 1];
            drop(own);
            drop(parents.take());
            if good { 8 } else { 9 }
        });
        assert_eq!(code, 8);
        let mut parents = parents.expect("the child took its own copy");
        parents.block_on(work(500));
        assert_eq!(parents.metrics().stale_completions, 0);
    });
}

/// A runtime of two cores is dropped in the child, where its second thread does not exist.
#[test]
fn e13_fork_child_drops_two_cores() {
    Case::new("e13_fork_child_drops_two_cores").run(|| {
        let mut runtime = Some(runtime(2));
        let code = forked(|| {
            drop(runtime.take());
            11
        });
        assert_eq!(code, 11, "98 is a panic, 99 a hang");
        let mut runtime = runtime.expect("the child took its own copy");
        assert_eq!(runtime.run(|core| async move { core }), [0, 1]);
    });
}

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Calls `count` a thousand times a second on this thread, without `SA_RESTART`.
fn start_storm() {
    // SAFETY: an all-zero action is valid, with the default flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler only counts.
    unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) };
    // SAFETY: an all-zero event is valid.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGALRM;
    // SAFETY: reads a number.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer: libc::timer_t = std::ptr::null_mut();
    // SAFETY: the kernel reads the event and writes the timer.
    let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) };
    assert_eq!(made, 0);
    let every = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let spec = libc::itimerspec {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the kernel reads one specification.
    let set = unsafe { libc::timer_settime(timer, 0, &spec, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

#[test]
fn b06_signal_storm() {
    Case::new("b06_signal_storm").seconds(40).run(|| {
        let mut runtime = runtime(2);
        start_storm();
        let begin = Instant::now();
        let mut late = Vec::new();
        for _ in 0..8 {
            let deadline = Instant::now() + 100 * MS;
            runtime.block_on(corering::time::sleep_until(deadline));
            late.push(
                Instant::now()
                    .checked_duration_since(deadline)
                    .expect("never early"),
            );
        }
        late.sort();
        // Each retry that began its wait anew would never end.
        assert!(late[4] < 50 * MS, "{late:?}");
        runtime.block_on(async {
            let mut set = JoinSet::new();
            for i in 0..200 {
                set.spawn(sleep(MS * (i % 50)));
                let task = corering::spawn_on(1, move || async move { i });
                assert_eq!(task.await.expect("joined"), i);
            }
            while set.join_next().await.is_some() {}
        });
        let ticks = TICKS.load(Ordering::Relaxed);
        println!("{ticks} signals in {:?}", begin.elapsed());
        assert!(ticks > 200, "only {ticks} signals");
    });
}

#[test]
fn f14_stop_cont() {
    Case::new("f14_stop_cont").seconds(40).run(|| {
        // Another process stops and continues this one.
        // SAFETY: reads a number.
        let me = unsafe { libc::getpid() };
        let script = format!("sleep 0.2; kill -STOP {me}; sleep 1; kill -CONT {me}");
        let helper = std::process::Command::new("sh")
            .args(["-c", &script])
            .spawn();
        let mut helper = match helper {
            Ok(helper) => helper,
            Err(error) => return harness::skip(format!("no shell: {error}")),
        };
        corering::block_on(async {
            let policies = [
                MissedTickBehavior::Burst,
                MissedTickBehavior::Delay,
                MissedTickBehavior::Skip,
            ];
            let tasks = policies.map(|policy| {
                spawn(async move {
                    let begin = Instant::now();
                    let mut ticks = interval(20 * MS);
                    ticks.set_missed_tick_behavior(policy);
                    let mut count = 0u32;
                    let mut longest = Duration::ZERO;
                    let mut last = begin;
                    while begin.elapsed() < 1_800 * MS {
                        ticks.tick().await;
                        count += 1;
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                    (policy, count, longest, begin.elapsed())
                })
            });
            for task in tasks {
                let (policy, count, longest, all) = task.await.expect("no panic");
                println!("{policy:?}: {count} ticks in {all:?}, longest pause {longest:?}");
                assert!(
                    longest > 500 * MS,
                    "the process was not stopped: {longest:?}"
                );
                let due = (all.as_millis() / 20) as u32;
                match policy {
                    MissedTickBehavior::Burst => assert!(count.abs_diff(due) <= 3),
                    _ => assert!(count <= due - 20, "{count} of {due}: no tick storm"),
                }
            }
        });
        helper.wait().expect("our own child");
    });
}

const ERRNOS: &[i32] = &[libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];

/// Every k-th `io_uring_enter` of the core fails; nothing may be lost by it.
#[test]
fn b04_enter_errno_matrix() {
    Case::new("b04_enter_errno_matrix").seconds(60).run(|| {
        drop(runtime(1));
        let census = Census::take();
        for every in [2, 3, 7, 13] {
            let body = move || {
                let (outcome, failed) = seccomp::answer_enters(every, ERRNOS, || {
                    let mut runtime = runtime(1);
                    runtime.block_on(async {
                        work(150).await;
                        let begin = Instant::now();
                        sleep(30 * MS).await;
                        assert!(begin.elapsed() >= 30 * MS);
                        spawn(pending::<()>());
                    });
                    runtime.metrics().stale_completions
                });
                assert_eq!(outcome, 0);
                assert!(failed > 5, "only {failed} calls failed");
            };
            std::thread::spawn(body).join().expect("no panic");
        }
        // The listeners of the filters stay open; everything else must be closed.
        let added = census.added();
        let rings = added
            .iter()
            .filter(|name| name.contains("io_uring"))
            .count();
        assert_eq!(rings, 0, "{added:?}");
    });
}

/// The resolver's thread is not there in a child; a runtime built in the child gets its own.
#[test]
fn e13_a_child_looks_up_names() {
    Case::new("e13_a_child_looks_up_names").run(|| {
        let lookup = || {
            runtime(1).block_on(async {
                let name = corering::net::lookup_host("localhost:80");
                let answer = corering::time::timeout(Duration::from_secs(3), name).await;
                i32::from(!matches!(answer, Ok(Ok(_))))
            })
        };
        if lookup() != 0 {
            return harness::skip("this machine does not know localhost");
        }
        assert_eq!(forked(lookup), 0);
    });
}
