//! Tasks as people know them from elsewhere: names and listings, requests to end, and
//! what is said of tasks that stall, panic unseen, or are misused.
//!
//! What does not depend on threads or on real time runs twice: on a real ring, and in the
//! simulation under many seeds.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::flow::{When, call_soon, gather, shield, task_group, timeout_with, wait};
use corering::sync::local;
use corering::task::{self, Builder, CancellationToken, TaskState, Wait, yield_now};
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};
use futures::FutureExt;
use harness::{Case, everywhere, panic_of};
use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);

fn runtime() -> Runtime {
    Runtime::new().expect("io_uring works here")
}

/// The text of a panic.
fn panic_text<T>(act: impl FnOnce() -> T) -> String {
    panic_of(act).expect("it panics")
}

// ---------------------------------------------------------------------------------------------
// Names, listings

async fn names() {
    let named = Builder::new().name("writer").spawn(async {
        yield_now().await;
        task::current_name()
    });
    let plain = spawn(async { task::current_name() });
    assert_eq!(named.name().as_deref(), Some("writer"));
    assert_eq!(plain.name(), None);
    let id = named.id();
    let listed = task::all();
    let info = listed.iter().find(|task| task.id == id).expect("it lives");
    assert_eq!(info.name.as_deref(), Some("writer"));
    assert_eq!(info.state, TaskState::Ready);
    assert_eq!(info.spawned_at.expect("known").file(), file!());
    assert!(info.future.contains("names"), "{}", info.future);
    assert!(info.to_string().contains("\"writer\""), "{info}");
    assert_eq!(named.await.unwrap().as_deref(), Some("writer"));
    assert_eq!(plain.await.unwrap(), None);
    assert!(task::all().iter().all(|task| task.id != id));
}

#[test]
fn tasks_have_names() {
    everywhere("tasks_have_names", names);
}

async fn joins() {
    let last = spawn(pending::<()>());
    let (id, stop) = (last.id(), last.abort_handle());
    let waiter = Builder::new().name("waiter").spawn(last);
    let lister = spawn(async {
        let me = task::current_id();
        let listed = task::all();
        let mine = listed.iter().find(|task| Some(task.id) == me);
        assert_eq!(mine.expect("it runs").state, TaskState::Running);
        listed
    });
    let listed = lister.await.unwrap();
    let info = listed.iter().find(|task| task.id == waiter.id()).unwrap();
    assert_eq!((info.state, info.joins), (TaskState::Waiting, Some(id)));
    stop.abort();
    assert!(waiter.await.unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_listing_says_who_waits_for_whom() {
    everywhere("a_listing_says_who_waits_for_whom", joins);
}

async fn waits() {
    let (mut stream, _peer) = corering::net::UnixStream::pair().unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&stream);
    let lock = Rc::new(corering::sync::Mutex::new(()));
    let held = lock.clone().lock_owned().await;
    let named = |name: &str| Builder::new().name(name);
    let hour = Duration::from_secs(3600);
    let tasks = [
        named("reads").spawn(async move {
            let limited = corering::time::timeout(hour, stream.recv());
            drop(limited.await);
        }),
        named("sleeps").spawn(sleep(hour)),
        named("locks").spawn(async move { drop(lock.lock().await) }),
    ];
    // A simulated kernel may end the receive at any time; it is armed anew then.
    let receives = |wait: &Wait| matches!(wait, Wait::Operation { name: "recv", .. });
    let listed = loop {
        sleep(MS).await;
        let listed = task::all();
        if listed
            .iter()
            .any(|info| info.waits_for.iter().any(receives))
        {
            break listed;
        }
    };
    let of = |name: &str| {
        let found = |info: &&task::TaskInfo| info.name.as_deref() == Some(name);
        let info = listed.iter().find(found).expect("it lives");
        (info.waits_for.clone(), info.to_string())
    };
    let (mut reads, text) = of("reads");
    let timer = |wait: &Wait| matches!(wait, Wait::Timer(left) if *left <= hour);
    assert!(reads.iter().any(timer), "{reads:?}");
    reads.retain(|wait| !timer(wait));
    let (name, descriptor) = ("recv", Some(descriptor));
    assert_eq!(reads, [Wait::Operation { name, descriptor }]);
    let number = descriptor.unwrap();
    let expected = format!(", waiting for recv on descriptor {number} or a timer in ");
    assert!(text.contains(&expected), "{text}");
    let (sleeps, _) = of("sleeps");
    assert!(sleeps.len() == 1 && timer(&sleeps[0]), "{sleeps:?}");
    let (locks, text) = of("locks");
    let call =
        |wait: &Wait| matches!(wait, Wait::Sync { call, .. } if *call == "sync::Mutex::lock");
    assert!(locks.len() == 1 && call(&locks[0]), "{text}");
    drop(held);
    for task in tasks {
        task.abort();
        drop(task.await);
    }
}

#[test]
fn a_listing_says_what_each_waits_for() {
    everywhere("a_listing_says_what_each_waits_for", waits);
}

/// What is pending at the end is told with what it waited for.
#[test]
fn the_end_tells_what_was_waited_for() {
    Case::new("the_end_tells_what_was_waited_for").run(|| {
        let mut runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (write, mut read) = corering::pipe::pipe().unwrap();
            drop(spawn(async move {
                let _open = write;
                read.read(&mut [0; 8]).await
            }));
            drop(spawn(sleep(Duration::from_secs(3600))));
            let event = async { corering::sync::Event::new().wait().await };
            drop(Builder::new().name("event").spawn(event));
            sleep(Duration::from_millis(1)).await;
        });
        let report = runtime.shutdown(Duration::from_millis(1));
        let text: Vec<_> = report.pending.iter().map(ToString::to_string).collect();
        for part in [
            "for read on descriptor ",
            "for a timer in ",
            "for sync::Event::wait",
        ] {
            assert!(text.iter().any(|text| text.contains(part)), "{text:#?}");
        }
    });
}

/// A deadlock is told with the name of each task and what it waits for.
#[cfg(feature = "sim")]
#[test]
fn a_deadlock_names_who_waits_for_what() {
    let text = panic_text(|| {
        let mut sim = corering::sim::Sim::new(1);
        let host = sim.host("alone").boot(|_core| async {});
        sim.block_on(&host, async {
            let first = Builder::new().name("first").spawn(pending::<()>());
            let second = Builder::new().name("second").spawn(first);
            drop(second.await);
        });
    });
    assert!(text.starts_with("deadlock"), "{text}");
    for part in [
        "\"first\", waiting for what is not known here (a thread, another crate's channel, ..)",
        "\"second\", waiting for task ",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn all_places_are_known_where_tasks_are_tracked() {
    Case::new("all_places_are_known_where_tasks_are_tracked").run(|| {
        let mut runtime = Runtime::builder().track_tasks(true).build().unwrap();
        let there = runtime.handle().spawn(|| async {});
        runtime.block_on(async {
            let task = spawn(async {});
            for task in task::all() {
                assert_eq!(task.spawned_at.expect("tracked").file(), file!());
            }
            task.await.unwrap();
            there.await.unwrap();
        });
    });
}

// ---------------------------------------------------------------------------------------------
// Requests to end

async fn request() {
    // Seen, with a clean-up that waits.
    let seen = spawn(async {
        assert!(!task::is_cancelled());
        assert!(task::run_until_cancelled(pending::<()>()).await.is_none());
        sleep(MS).await;
        assert!(task::is_cancelled());
        "cleaned up"
    });
    // Delayed.
    let delayed = spawn(async {
        sleep(5 * MS).await;
        task::cancelled().await;
        task::cancelled().await;
        "later"
    });
    // Refused.
    let refused = spawn(async {
        sleep(5 * MS).await;
        "refused"
    });
    yield_now().await;
    for task in [&seen, &delayed, &refused] {
        task.cancel();
        task.abort_handle().cancel();
    }
    assert_eq!(seen.await.unwrap(), "cleaned up");
    assert_eq!(delayed.await.unwrap(), "later");
    assert_eq!(refused.await.unwrap(), "refused");
    // Before its first turn, and after its end.
    let early = spawn(task::run_until_cancelled(async { "never polled" }));
    early.cancel();
    let early = spawn(async move { early.await.unwrap() });
    assert_eq!(early.await.unwrap(), None);
    let late = spawn(async {});
    yield_now().await;
    late.cancel();
    late.await.unwrap();
}

#[test]
fn a_request_is_seen_delayed_or_refused() {
    everywhere("a_request_is_seen_delayed_or_refused", request);
}

/// Requests are counted; a task that takes all of them back goes on as if it had not been asked.
async fn taken_back() {
    assert_eq!((task::cancelling(), task::uncancel()), (0, 0), "no task");
    let token = CancellationToken::new();
    let (tell, mut hear) = local::mpsc::channel(8);
    let stubborn = task::Builder::new().cancellation_token(token.clone());
    let stubborn = stubborn.spawn(async move {
        let mut left = Vec::new();
        for _ in 0..3 {
            let waits = task::run_until_cancelled(pending::<()>());
            assert!(waits.await.is_none() && task::is_cancelled());
            tell.send(task::cancelling()).await.unwrap();
            // It is ready as long as a request is there, and not from the last one on.
            task::cancelled().await;
            while task::is_cancelled() {
                left.push(task::uncancel());
            }
            assert_eq!(task::run_until_cancelled(async { 1 }).await, Some(1));
            assert!(task::cancelled().now_or_never().is_none());
        }
        left
    });
    yield_now().await;
    stubborn.cancel();
    assert_eq!(hear.recv().await, Some(1));
    yield_now().await;
    stubborn.cancel();
    stubborn.abort_handle().cancel();
    token.cancel();
    assert_eq!((token.cancelling(), hear.recv().await), (3, Some(3)));
    yield_now().await;
    // Taken back before the task has looked: it sees nothing of it.
    stubborn.cancel();
    assert_eq!(token.uncancel(), 0);
    sleep(MS).await;
    assert!(hear.try_recv().is_err() && !stubborn.is_finished());
    stubborn.cancel();
    assert_eq!(hear.recv().await, Some(1));
    assert_eq!(stubborn.await.unwrap(), [0, 2, 1, 0, 0]);
    assert_eq!((token.cancelling(), token.uncancel()), (0, 0));
}

#[test]
fn requests_are_counted_and_taken_back() {
    everywhere("requests_are_counted_and_taken_back", taken_back);
}

/// A request goes down the tree, and is taken back by each for itself alone.
async fn taken_back_in_a_tree() {
    let root = CancellationToken::new();
    let (middle, aside) = (root.child_token(), root.child_token());
    let leaf = middle.child_token();
    root.cancel();
    middle.cancel();
    let counts = || [&root, &middle, &aside, &leaf].map(CancellationToken::cancelling);
    assert_eq!(counts(), [1, 2, 1, 2]);
    assert_eq!(
        root.child_token().cancelling(),
        1,
        "born with what there is"
    );
    assert_eq!(root.uncancel(), 0);
    assert_eq!(counts(), [0, 2, 1, 2]);
    assert!(!root.child_token().is_cancelled());
    assert_eq!(
        (leaf.uncancel(), leaf.uncancel(), leaf.uncancel()),
        (1, 0, 0)
    );
    assert_eq!(counts(), [0, 2, 1, 0]);
    // The tree is whole: the next request reaches all of it.
    let waits = spawn({
        let leaf = leaf.clone();
        async move { leaf.cancelled().await }
    });
    yield_now().await;
    root.cancel();
    waits.await.unwrap();
    assert_eq!(counts(), [1, 3, 2, 1]);
    // Waiters of several rounds, some of which give up: places are not mixed up.
    let token = CancellationToken::new();
    let mut rounds = Vec::new();
    for _ in 0..10 {
        let mut waiters: Vec<_> = (0..5).map(|_| Box::pin(token.cancelled())).collect();
        for waiter in &mut waiters {
            assert!(waiter.as_mut().now_or_never().is_none());
        }
        token.cancel();
        token.uncancel();
        waiters.truncate(3);
        rounds.push(waiters);
    }
    for waiters in rounds.iter_mut().rev() {
        for waiter in waiters.iter_mut() {
            assert!(waiter.as_mut().now_or_never().is_none(), "taken back");
        }
        waiters.pop();
    }
    token.cancel();
    for waiter in rounds.into_iter().flatten() {
        waiter.await;
    }
    // A group that was asked through its task stays asked: the task goes on without it.
    let task = spawn(async {
        let asked = task::token().child_token();
        task::cancelled().await;
        task::uncancel();
        sleep(MS).await;
        (task::is_cancelled(), asked.is_cancelled())
    });
    yield_now().await;
    task.cancel();
    assert_eq!(task.await.unwrap(), (false, true));
}

#[test]
fn each_token_takes_back_for_itself() {
    everywhere("each_token_takes_back_for_itself", taken_back_in_a_tree);
}

async fn tree() {
    let root = CancellationToken::new();
    let (left, right) = (root.child_token(), root.child_token());
    let leaf = left.child_token();
    let waits = |token: &CancellationToken| {
        let token = token.clone();
        spawn(async move { token.cancelled().await })
    };
    let (a, b) = (waits(&leaf), waits(&right));
    yield_now().await;
    left.cancel();
    assert!(left.is_cancelled() && leaf.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    a.await.unwrap();
    assert!(!b.is_finished());
    // A parent that nobody holds still hands the request on.
    let grandchild = right.child_token().child_token();
    let c = waits(&grandchild);
    yield_now().await;
    drop(root.clone().drop_guard());
    b.await.unwrap();
    c.await.unwrap();
    assert!(root.child_token().is_cancelled());
    assert_eq!(root.run_until_cancelled(async { 1 }).await, None);
    let kept = CancellationToken::new().drop_guard().disarm();
    assert_eq!(kept.run_until_cancelled(async { 1 }).await, Some(1));
    // Waiting, and leaving again.
    assert!(timeout(MS, kept.cancelled()).await.is_err());
    // A long line of children comes down in a line, too.
    let mut line = kept.clone();
    for _ in 0..10_000 {
        line = line.child_token();
    }
    kept.cancel();
    assert!(line.is_cancelled());
}

#[test]
fn tokens_form_a_tree() {
    everywhere("tokens_form_a_tree", tree);
}

async fn inherited() {
    let parent = spawn(async {
        let token = task::token().child_token();
        let child = Builder::new().cancellation_token(token).spawn(async {
            task::cancelled().await;
            "the child, too"
        });
        task::cancelled().await;
        child.await.unwrap()
    });
    yield_now().await;
    parent.cancel();
    assert_eq!(parent.await.unwrap(), "the child, too");
}

#[test]
fn children_are_asked_with_their_parent() {
    everywhere("children_are_asked_with_their_parent", inherited);
}

#[test]
fn requests_come_from_other_threads() {
    Case::new("requests_come_from_other_threads").run(|| {
        let mut runtime = runtime();
        let handle = runtime.handle();
        let token = CancellationToken::new();
        let asker = token.clone();
        let thread = std::thread::spawn(move || {
            let task = handle.spawn(|| async {
                task::cancelled().await;
                "asked"
            });
            std::thread::sleep(5 * MS);
            task.cancel();
            assert_eq!(task.wait().unwrap(), "asked");
            asker.cancel();
        });
        runtime.block_on(token.cancelled());
        thread.join().unwrap();
        // Outside of `block_on` the request waits for the core's next turn.
        let task = runtime.block_on(async { Some(spawn(task::cancelled())) });
        let task = task.unwrap();
        task.cancel();
        runtime.block_on(task).unwrap();
    });
}

async fn shielded() {
    let saved = Rc::new(Cell::new(false));
    let flag = saved.clone();
    let mut saving = shield(async move {
        sleep(100 * MS).await;
        flag.set(true);
    });
    assert!(timeout(MS, &mut saving).await.is_err());
    drop(saving);
    assert!(!saved.get());
    sleep(500 * MS).await;
    assert!(saved.get());
}

#[test]
fn what_is_shielded_goes_on() {
    everywhere("what_is_shielded_goes_on", shielded);
}

async fn acknowledged() {
    let early = timeout_with(1000 * MS, |_| async { 1 }).await;
    assert_eq!(early, Ok(1));
    let late = timeout_with(MS, |token| async move {
        token.cancelled().await;
        sleep(MS).await;
        2
    });
    assert_eq!(late.await.unwrap_err().into_inner(), 2);
}

#[test]
fn a_timeout_can_wait_for_its_answer() {
    everywhere("a_timeout_can_wait_for_its_answer", acknowledged);
}

// ---------------------------------------------------------------------------------------------
// What is reported

#[test]
fn f10_stalls_are_reported_with_their_names() {
    Case::new("f10_stalls_are_reported_with_their_names").run(|| {
        let stalls = Arc::new(Mutex::new(Vec::new()));
        let heard = stalls.clone();
        let mut runtime = Runtime::builder()
            .stall_threshold(50 * MS)
            .on_stall(move |stall| heard.lock().unwrap().push(stall.clone()))
            .build()
            .unwrap();
        runtime.block_on(async {
            let quick = spawn(async {
                for _ in 0..10 {
                    sleep(MS).await;
                }
            });
            let slow = Builder::new().name("parser").spawn(async {
                yield_now().await;
                std::thread::sleep(200 * MS);
                yield_now().await;
            });
            slow.await.unwrap();
            quick.await.unwrap();
        });
        let found = std::mem::take(&mut *stalls.lock().unwrap());
        let named = |stall: &&corering::task::Stall| stall.name.as_deref() == Some("parser");
        let ours: Vec<_> = found.iter().filter(named).collect();
        assert_eq!(ours.len(), 1, "{found:?}");
        assert!(ours[0].held >= 200 * MS && ours[0].held < 2000 * MS);
        assert!(ours[0].to_string().contains("\"parser\""));
        assert_eq!(runtime.metrics().stalls, found.len() as u64);
        // The root is no task, but it can hold the core as well.
        runtime.block_on(async { std::thread::sleep(60 * MS) });
        assert_eq!(stalls.lock().unwrap().last().unwrap().id, None);
    });
}

#[test]
fn panics_that_nobody_sees_are_reported() {
    Case::new("panics_that_nobody_sees_are_reported").run(|| {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let heard = texts.clone();
        let mut runtime = Runtime::builder()
            .on_task_panic(move |panic| {
                heard.lock().unwrap().push(panic.error.to_string());
                assert!(panic.error.name().is_none(), "a hook that panics");
            })
            .build()
            .unwrap();
        let there = runtime
            .handle()
            .spawn(|| async { panic!("from elsewhere") });
        drop::<task::RemoteHandle<()>>(there);
        runtime.block_on(async {
            drop(spawn(async { panic!("detached") }));
            let joined = spawn(async { panic!("joined") });
            let unseen = Builder::new()
                .name("unseen")
                .spawn(async { panic!("dropped later") });
            sleep(5 * MS).await;
            let error: Result<(), _> = joined.await;
            assert!(error.unwrap_err().is_panic());
            assert!(unseen.is_finished());
            drop::<task::JoinHandle<()>>(unseen);
            call_soon(|| panic!("a call"));
            sleep(MS).await;
        });
        let texts = texts.lock().unwrap();
        let expected = ["from elsewhere", "detached", "dropped later", "a call"];
        assert_eq!(texts.len(), expected.len(), "{texts:?}");
        for expected in expected {
            let found = texts.iter().find(|text| text.ends_with(expected));
            let found = found.unwrap_or_else(|| panic!("{expected}: {texts:?}"));
            assert_eq!(found.contains("\"unseen\""), expected == "dropped later");
        }
    });
}

#[test]
fn what_is_pending_at_the_end_is_named() {
    Case::new("what_is_pending_at_the_end_is_named").run(|| {
        let mut runtime = Runtime::builder().cores(2).pin(false).build().unwrap();
        let there = runtime.handle().spawn_on(1, || async {
            drop(Builder::new().name("other core").spawn(pending::<()>()));
        });
        runtime.block_on(async {
            there.await.unwrap();
            drop(Builder::new().name("stuck").spawn(pending::<()>()));
            for _ in 0..100 {
                drop(spawn(pending::<()>()));
            }
        });
        let report = runtime.shutdown(5 * MS);
        assert_eq!(report.abandoned_tasks, 102);
        let names: Vec<_> = report
            .pending
            .iter()
            .filter_map(|task| task.name.as_deref())
            .collect();
        assert_eq!(names, ["stuck", "other core"]);
        assert_eq!(report.pending.len(), 65);
        assert!(!report.is_clean());
    });
}

#[test]
fn notes_go_with_their_tasks() {
    Case::new("notes_go_with_their_tasks").run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let round = async |count: usize| {
                for _ in 0..count {
                    let task = Builder::new().name("short").spawn(async {});
                    task.cancel();
                    task.await.unwrap();
                }
            };
            round(10_000).await;
            let before = harness::memory_kib();
            round(200_000).await;
            let after = harness::memory_kib();
            assert!(after < before + 4096, "{before} KiB became {after} KiB");
        });
    });
}

// ---------------------------------------------------------------------------------------------
// Wrong use

#[test]
fn e07_wrong_use_says_what_to_do() {
    Case::new("e07_wrong_use_says_what_to_do").run(|| {
        // Outside of a runtime.
        for text in [
            panic_text(|| drop(spawn(async {}))),
            panic_text(|| drop(Builder::new().name("lost").spawn(async {}))),
            panic_text(|| drop(call_soon(|| {}))),
            panic_text(|| drop(gather([async {}]))),
        ] {
            assert!(text.contains("corering::block_on"), "{text}");
        }
        assert!(corering::Handle::try_current().is_none());
        assert!(task::all().is_empty() && task::current_name().is_none());
        let mut runtime = runtime();
        runtime.block_on(async {
            assert!(corering::Handle::try_current().is_some());
            // A loop in a loop, and a wait that would stop this one.
            let text = panic_text(|| corering::block_on(async {}));
            assert!(text.contains("Await the future instead"), "{text}");
            let there = corering::Handle::current().spawn(|| async {});
            let text = panic_text(|| drop(there.wait()));
            assert!(text.contains("await the handle here"), "{text}");
            // Twice awaited.
            let mut task = spawn(async {});
            (&mut task).await.unwrap();
            let text = spawn(task).await.unwrap_err().to_string();
            assert!(text.contains("await it once"), "{text}");
        });
        // No such core, and a runtime that has ended.
        let handle = runtime.handle();
        let text = panic_text(|| drop(handle.spawn_on(7, || async {})));
        assert!(text.contains("there is no core 7"), "{text}");
        assert!(!handle.is_closed());
        assert!(runtime.shutdown(MS).is_clean());
        assert!(handle.is_closed());
        let error = handle.spawn(|| async {}).wait().unwrap_err();
        assert!(error.is_cancelled());
        assert!(
            error.to_string().contains("its runtime had ended"),
            "{error}"
        );
        assert!(
            handle
                .call_soon_threadsafe(|| {})
                .wait()
                .unwrap_err()
                .is_cancelled()
        );
        handle.stop();
    });
}

#[test]
fn c11_abort_ends_every_wait() {
    Case::new("c11_abort_ends_every_wait").run(|| {
        runtime().block_on(async {
            let inner = spawn(pending::<()>());
            let token = CancellationToken::new();
            let blocked = spawn(async {
                task_group(async |group| {
                    group.spawn(pending::<Result<(), ()>>());
                    Ok::<(), ()>(())
                })
                .await
                .unwrap();
            });
            let waits = [
                spawn(sleep(1_000_000 * MS)),
                spawn(async move { drop(inner.await) }),
                spawn(async move { token.cancelled().await }),
                spawn(task::cancelled()),
                spawn(async { drop(gather([pending::<()>()]).await) }),
                spawn(async { drop(wait([spawn(async {})], Some(1000 * MS), When::All).await) }),
                blocked,
            ];
            sleep(5 * MS).await;
            for task in waits {
                task.abort();
                match timeout(100 * MS, task).await.expect("it ends at once") {
                    Ok(()) => {}
                    Err(error) => assert!(error.is_cancelled()),
                }
            }
        });
    });
}
