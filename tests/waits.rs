//! What a listing says of tasks that wait for each other: by the name of the call, for as long as
//! they wait, and for the task that waits.
//!
//! All but the last tests run twice: on a real ring, and in the simulation under many seeds.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::sync::local::{broadcast, mpsc, watch};
use corering::sync::queue::Queue;
use corering::sync::{
    Barrier, BoundedSemaphore, Condvar, Event, Mutex, Notify, OnceCell, RwLock, Semaphore,
};
use corering::task::{self, CancellationToken, Id, JoinHandle, JoinSet, yield_now};
use corering::{spawn, sync};
use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use harness::{Case, everywhere};
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

fn boxed<T>(future: impl Future<Output = T> + 'static) -> Boxed<T> {
    Box::pin(future)
}

/// What a task waits for, as a listing says it, in the order of the text.
fn waits_of(id: Id) -> Vec<String> {
    let tasks = task::all();
    let info = tasks.iter().find(|task| task.id == id).expect("it lives");
    let mut waits: Vec<_> = info.waits_for.iter().map(ToString::to_string).collect();
    waits.sort();
    waits
}

/// Lets every task come as far as it can.
async fn settle() {
    for _ in 0..5 {
        yield_now().await;
    }
}

async fn end<T>(task: JoinHandle<T>) {
    task.abort();
    drop(task.await);
}

/// A task that does this is said to wait for that; and for nothing once the wait is dropped.
async fn told(future: impl Future + 'static, expected: &str) {
    let go_on = Rc::new(Notify::new());
    let dropped = go_on.clone();
    let task = spawn(async move {
        {
            let mut future = pin!(future);
            let first = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending()));
            assert!(first.await, "it waits");
            let stop = pin!(dropped.notified());
            match select(future, stop).await {
                Either::Left(_) => panic!("nobody has given it anything"),
                Either::Right(((), _future)) => {}
            }
        }
        pending::<()>().await;
    });
    settle().await;
    let mut both = [expected, "sync::Notify::notified"];
    both.sort_unstable();
    assert_eq!(waits_of(task.id()), both);
    go_on.notify_one();
    settle().await;
    assert!(waits_of(task.id()).is_empty(), "{expected} was dropped");
    end(task).await;
}

// ---------------------------------------------------------------------------------------------
// Each of them by its name

async fn locks() {
    let mutex = Rc::new(Mutex::new(1_u32));
    let held = mutex.clone().lock_owned().await;
    told(mutex.clone().lock_owned(), "sync::Mutex::lock of u32").await;
    drop(held);
    let lock = Rc::new(RwLock::new(1_u32));
    let reader = lock.clone().read_owned().await;
    told(lock.clone().write_owned(), "sync::RwLock::write of u32").await;
    drop(reader);
    let writer = lock.clone().write_owned().await;
    told(lock.clone().read_owned(), "sync::RwLock::read of u32").await;
    drop(writer);

    let semaphore = Rc::new(Semaphore::new(2));
    let three = semaphore.clone().acquire_many_owned(3);
    told(three, "sync::Semaphore::acquire of 3 permits").await;
    let one = semaphore.clone().try_acquire_many_owned(2).unwrap();
    let waits = semaphore.clone().acquire_owned();
    told(waits, "sync::Semaphore::acquire of 1 permit").await;
    drop(one);
    let none = Rc::new(BoundedSemaphore::new(0));
    let waits = async move { drop(none.acquire().await) };
    told(waits, "sync::BoundedSemaphore::acquire of 1 permit").await;

    let cell = Rc::new(OnceCell::new());
    let other = cell.clone();
    let maker = spawn(async move { *other.get_or_init(pending::<u32>).await });
    settle().await;
    let waits = async move { *cell.get_or_init(|| async { 1 }).await };
    told(waits, "sync::OnceCell::get_or_init of u32").await;
    assert!(waits_of(maker.id()).is_empty(), "it makes the value");
    end(maker).await;
}

async fn meetings() {
    let event = Rc::new(Event::new());
    told(async move { event.wait().await }, "sync::Event::wait").await;
    let barrier = Rc::new(Barrier::new(2));
    let waits = async move { barrier.wait().await.is_leader() };
    told(waits, "sync::Barrier::wait").await;
    let pair = Rc::new((Mutex::new(1_u32), Condvar::new()));
    let waits = async move { drop(pair.1.wait(pair.0.lock().await).await) };
    told(waits, "sync::Condvar::wait").await;
    let token = CancellationToken::new();
    told(token.cancelled(), "task::CancellationToken::cancelled").await;
    told(
        async { task::run_until_cancelled(pending::<()>()).await },
        "task::CancellationToken::cancelled",
    )
    .await;
    let queue = Rc::new(Queue::bounded(1));
    let other = queue.clone();
    let waits = async move { other.get().await };
    told(waits, "sync::queue::WorkQueue::get of u32").await;
    queue.put(1_u32).await.unwrap();
    let other = queue.clone();
    let waits = async move { other.put(2).await };
    told(waits, "sync::queue::WorkQueue::put of u32").await;
    let waits = async move { queue.join().await };
    told(waits, "sync::queue::WorkQueue::join of u32").await;
    let mut set = JoinSet::new();
    set.spawn(pending::<()>());
    set.spawn(pending::<()>());
    let waits = async move { drop(set.join_next().await) };
    told(waits, "the first of 2 tasks to end").await;
}

async fn channels() {
    let (sender, mut receiver) = sync::channel(1);
    sender.send(1_u32).await.unwrap();
    let sends = sender.clone();
    told(
        async move { sends.send(2).await },
        "sync::Sender::send of u32",
    )
    .await;
    let sends = sender.clone();
    told(sends.reserve_owned(), "sync::Sender::reserve of u32").await;
    let sends = sender.clone();
    told(
        async move { sends.closed().await },
        "sync::Sender::closed of u32",
    )
    .await;
    receiver.recv().await.unwrap();
    told(
        async move { receiver.recv().await },
        "sync::Receiver::recv of u32",
    )
    .await;

    let (_sender, receiver) = sync::channel::<u32>(1);
    let next = receiver.into_future();
    told(next, "sync::Receiver::recv of u32").await;
    let (_sender, mut receiver) = mpsc::channel::<u32>(1);
    let many = async move { receiver.recv_many(&mut Vec::new(), 9).await };
    told(many, "sync::local::mpsc::Receiver::recv of u32").await;
    let (sender, _receiver) = mpsc::channel::<u32>(1);
    sender.send(1).await.unwrap();
    let full = async move { sender.send(2).await };
    told(full, "sync::local::mpsc::Sender::send of u32").await;

    let (_sender, receiver) = sync::oneshot::<u32>();
    told(receiver, "sync::oneshot::Receiver of u32").await;
    let (mut sender, _receiver) = sync::local::oneshot::channel::<u32>();
    let closed = async move { sender.closed().await };
    told(closed, "sync::local::oneshot::Sender::closed of u32").await;
    let (sender, mut receiver) = broadcast::channel::<u32>(1);
    let next = async move { receiver.recv().await };
    told(next, "sync::local::broadcast::Receiver::recv of u32").await;
    let _receiver = sender.subscribe();
    let closed = async move { sender.closed().await };
    told(closed, "sync::local::broadcast::Sender::closed of u32").await;
    let (sender, mut receiver) = watch::channel(1_u32);
    let changed = async move { receiver.changed().await };
    told(changed, "sync::local::watch::Receiver::changed of u32").await;
    let _receiver = sender.subscribe();
    let closed = async move { sender.closed().await };
    told(closed, "sync::local::watch::Sender::closed of u32").await;
}

#[test]
fn locks_and_permits_are_named() {
    everywhere("locks_and_permits_are_named", locks);
}

#[test]
fn meetings_are_named() {
    everywhere("meetings_are_named", meetings);
}

#[test]
fn channels_are_named() {
    everywhere("channels_are_named", channels);
}

// ---------------------------------------------------------------------------------------------
// Of the task that waits, for as long as it waits

/// A wait that goes to another task is that one's from its first poll there.
async fn moved() {
    let event = Rc::new(Event::new());
    let place: Rc<RefCell<Option<Boxed<()>>>> = Rc::default();
    let (ours, left) = (event.clone(), place.clone());
    let first = spawn(async move {
        let mut wait = boxed(async move { ours.wait().await });
        poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
        left.replace(Some(wait));
        pending::<()>().await;
    });
    settle().await;
    // Nobody else has it yet.
    assert_eq!(waits_of(first.id()), ["sync::Event::wait"]);
    let wait = place.take().expect("it was left here");
    let second = spawn(wait);
    settle().await;
    assert!(waits_of(first.id()).is_empty());
    assert_eq!(waits_of(second.id()), ["sync::Event::wait"]);
    event.set();
    second.await.unwrap();
    end(first).await;
}

/// A nested executor polls with wakers of its own: the waits are the task's all the same, also
/// once the executor was moved to another task, which polls what was woken only.
async fn nested() {
    let (mutex, event) = (Rc::new(Mutex::new(1_u32)), Rc::new(Event::new()));
    let held = mutex.clone().lock_owned().await;
    let mut set = FuturesUnordered::new();
    let other = mutex.clone();
    set.push(boxed(async move { drop(other.lock().await) }));
    let other = event.clone();
    set.push(boxed(async move { other.wait().await }));
    let task = spawn(async move { while set.next().await.is_some() {} });
    settle().await;
    let both = ["sync::Event::wait", "sync::Mutex::lock of u32"];
    assert_eq!(waits_of(task.id()), both);
    event.set();
    settle().await;
    assert_eq!(waits_of(task.id()), ["sync::Mutex::lock of u32"]);
    drop(held);
    task.await.unwrap();
}

/// The tasks of a set wait for their own, and whoever joins them for the first of them.
async fn sets() {
    let event = Rc::new(Event::new());
    let ids: Rc<RefCell<Vec<Id>>> = Rc::default();
    let (ours, made) = (event.clone(), ids.clone());
    let task = spawn(async move {
        let mut set = JoinSet::new();
        for _ in 0..2 {
            let event = ours.clone();
            let task = set.spawn(async move { event.wait().await });
            made.borrow_mut().push(task.id());
        }
        // Dropped before it ends, and asked again.
        let mut joins = boxed_in(set.join_next());
        poll_fn(|cx| Poll::Ready(joins.as_mut().poll(cx).is_pending())).await;
        drop(joins);
        yield_now().await;
        poll_fn(|cx| set.poll_join_next(cx)).await.unwrap().unwrap();
        set.join_next().await.unwrap().unwrap();
    });
    settle().await;
    assert_eq!(waits_of(task.id()), ["the first of 2 tasks to end"]);
    for &id in ids.borrow().iter() {
        assert_eq!(waits_of(id), ["sync::Event::wait"]);
    }
    event.set();
    task.await.unwrap();
}

fn boxed_in<'a, T>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}

/// A wait that is over is not told of, although its future is still there.
async fn over() {
    let notify = Rc::new(Notify::new());
    let ours = notify.clone();
    let task = spawn(async move {
        let mut notified = pin!(ours.notified());
        notified.as_mut().await;
        pending::<()>().await;
    });
    settle().await;
    assert_eq!(waits_of(task.id()), ["sync::Notify::notified"]);
    notify.notify_one();
    settle().await;
    assert!(waits_of(task.id()).is_empty());
    end(task).await;
}

/// Waits outnumber what a listing has room for at first, and leave nothing behind.
async fn many() {
    let semaphore = Rc::new(Semaphore::new(0));
    let waiter = |semaphore: Rc<Semaphore>| async move { drop(semaphore.acquire().await) };
    for _ in 0..3 {
        let tasks: Vec<_> = (0..100).map(|_| spawn(waiter(semaphore.clone()))).collect();
        settle().await;
        for info in task::all() {
            let ours = tasks.iter().any(|task| task.id() == info.id);
            assert!(!ours || info.waits_for.len() == 1, "{info}");
        }
        semaphore.add_permits(100);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(semaphore.forget_permits(usize::MAX), 100);
    }
}

#[test]
fn a_wait_that_moves_is_its_new_task_s() {
    everywhere("a_wait_that_moves_is_its_new_task_s", moved);
}

#[test]
fn a_nested_executor_s_waits_are_the_task_s() {
    everywhere("a_nested_executor_s_waits_are_the_task_s", nested);
}

#[test]
fn a_set_is_told_of_beside_its_tasks() {
    everywhere("a_set_is_told_of_beside_its_tasks", sets);
}

#[test]
fn a_wait_that_is_over_is_not_told_of() {
    everywhere("a_wait_that_is_over_is_not_told_of", over);
}

#[test]
fn many_waits_are_told_apart() {
    everywhere("many_waits_are_told_apart", many);
}

/// What can be sent may begin its wait in a task, and be dropped or end on another thread.
#[test]
fn a_wait_that_leaves_its_thread_is_forgotten() {
    Case::new("a_wait_that_leaves_its_thread_is_forgotten").run(|| {
        let runtime = corering::Runtime::builder().track_tasks(true).build();
        runtime.expect("io_uring works here").block_on(async {
            for round in 0..100 {
                let (sender, mut receiver) = sync::oneshot::<u32>();
                let gate = Rc::new(Notify::new());
                let go = gate.clone();
                let task = spawn(async move {
                    let wait = &mut receiver;
                    poll_fn(|cx| Poll::Ready(Pin::new(&mut *wait).poll(cx).is_pending())).await;
                    go.notified().await;
                    let there = std::thread::spawn(move || match round % 2 {
                        0 => drop(receiver),
                        _ => assert_eq!(corering::block_on(receiver), Ok(7)),
                    });
                    let _ = sender.send(7);
                    there.join().unwrap();
                    pending::<()>().await;
                });
                settle().await;
                let both = ["sync::Notify::notified", "sync::oneshot::Receiver of u32"];
                assert_eq!(waits_of(task.id()), both);
                gate.notify_one();
                settle().await;
                assert!(waits_of(task.id()).is_empty());
                end(task).await;
            }
        });
    });
}

// ---------------------------------------------------------------------------------------------
// What a simulation says of them

/// The text with which a simulation of this ends.
#[cfg(feature = "sim")]
fn report_of<F: Future<Output = ()> + 'static>(program: impl FnOnce() -> F) -> String {
    let text = harness::panic_of(|| {
        let mut sim = corering::sim::Sim::new(1);
        let host = sim.host("alone").boot(|_core| async {});
        sim.block_on(&host, program());
    });
    text.expect("it panics")
}

#[cfg(feature = "sim")]
#[test]
fn two_locks_in_two_orders_are_a_deadlock_that_names_both() {
    let text = report_of(|| async {
        let accounts = Rc::new(Mutex::new(1_u32));
        let journal = Rc::new(Mutex::new("a line"));
        let (a, j) = (accounts.clone(), journal.clone());
        let first = task::Builder::new().name("books").spawn(async move {
            let _accounts = a.lock().await;
            yield_now().await;
            let _journal = j.lock().await;
        });
        let second = task::Builder::new().name("audits").spawn(async move {
            let _journal = journal.lock().await;
            yield_now().await;
            let _accounts = accounts.lock().await;
        });
        first.await.unwrap();
        second.await.unwrap();
    });
    assert!(text.starts_with("deadlock"), "{text}");
    for part in [
        "\"books\", waiting for sync::Mutex::lock of &str: ",
        "\"audits\", waiting for sync::Mutex::lock of u32: ",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

/// A task that polls for ever is a livelock; who waits beside it is named there, too.
#[cfg(feature = "sim")]
#[test]
fn a_livelock_names_who_waits() {
    let text = report_of(|| async {
        let (_sender, mut receiver) = mpsc::channel::<u32>(1);
        let waits = task::Builder::new()
            .name("waits")
            .spawn(async move { receiver.recv().await });
        let spins = task::Builder::new().name("spins").spawn(async {
            loop {
                yield_now().await;
            }
        });
        drop((waits.await, spins));
    });
    assert!(text.starts_with("livelock"), "{text}");
    let part = "\"waits\", waiting for sync::local::mpsc::Receiver::recv of u32: ";
    assert!(text.contains(part), "{part} in\n{text}");
}
