//! Wakes: here, from elsewhere, twice, and too late.

#![allow(
    clippy::waker_clone_wake,
    reason = "cloning and waking by value is what is tested"
)]

use super::*;
use std::sync::Barrier;
use std::thread;

#[test]
fn many_local_wakes_are_one_poll() {
    let (executor, bell) = executor_and_bell();
    let (probe, counts) = Probe::new();
    drop(executor.spawn(probe));
    run(&executor);
    let guard = executor.enter();
    let waker = counts.waker();
    for _ in 0..5 {
        waker.wake_by_ref();
    }
    waker.wake();
    drop(guard);
    run(&executor);
    assert_eq!(counts.polls.get(), 2);
    assert_eq!(executor.stats().local_wakes, 1);
    assert_eq!(bell.0.load(Ordering::SeqCst), 0, "the loop is awake");
}

#[test]
fn many_foreign_wakes_are_one_poll_and_one_ring() {
    let (executor, bell) = executor_and_bell();
    let (probe, counts) = Probe::new();
    drop(executor.spawn(probe));
    run(&executor);
    let waker = counts.waker();
    thread::spawn(move || {
        for _ in 0..5 {
            waker.wake_by_ref();
        }
        waker.wake();
    })
    .join()
    .unwrap();
    assert!(executor.has_ready());
    run(&executor);
    assert!(!executor.has_ready());
    assert_eq!(counts.polls.get(), 2);
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    counts.waker().wake();
    run(&executor);
    assert_eq!(counts.polls.get(), 3);
    assert_eq!(executor.stats().inbox_peak, 1);
}

#[test]
fn a_foreign_wake_of_a_queued_task_is_one_poll() {
    let executor = executor();
    let (probe, counts) = Probe::new();
    drop(executor.spawn(probe));
    run(&executor);
    counts.waker().wake();
    let guard = executor.enter();
    counts.waker().wake();
    drop(guard);
    run(&executor);
    assert_eq!(counts.polls.get(), 2);
}

#[test]
fn foreign_wakes_keep_their_order() {
    let executor = executor();
    let order = Rc::<RefCell<Vec<u32>>>::default();
    let wakers = Rc::<RefCell<Vec<Waker>>>::default();
    for n in 0..10 {
        let (order, wakers) = (order.clone(), wakers.clone());
        let mut first = true;
        drop(executor.spawn(std::future::poll_fn(move |cx| {
            if std::mem::take(&mut first) {
                wakers.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            order.borrow_mut().push(n);
            Poll::Ready(())
        })));
    }
    run(&executor);
    for waker in wakers.borrow_mut().drain(..).rev() {
        waker.wake();
    }
    run(&executor);
    assert_eq!(*order.borrow(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn four_threads_wake_and_no_wake_is_lost() {
    const THREADS: usize = 4;
    let wakes: usize = if cfg!(miri) { 100 } else { 100_000 };
    let executor = executor();
    let said = Arc::new(AtomicUsize::new(0));
    let (heard, probe) = (
        Rc::new(Cell::new(0)),
        Rc::<RefCell<Option<Waker>>>::default(),
    );
    let task = executor.spawn({
        let (said, heard, probe) = (said.clone(), heard.clone(), probe.clone());
        std::future::poll_fn(move |cx| {
            *probe.borrow_mut() = Some(cx.waker().clone());
            heard.set(said.load(Ordering::Relaxed));
            if heard.get() == THREADS * wakes {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    });
    run(&executor);
    let waker = probe.borrow().clone().unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (said, waker) = (said.clone(), waker.clone());
            thread::spawn(move || {
                for n in 0..wakes {
                    said.fetch_add(1, Ordering::Relaxed);
                    if n % 2 == 0 {
                        waker.wake_by_ref()
                    } else {
                        waker.clone().wake()
                    }
                }
            })
        })
        .collect();
    // Every wake comes after its count, so the poll that the last wake causes sees them all.
    let mut idle = 0_u64;
    while !task.is_finished() {
        executor.run(&mut unlimited());
        idle += 1;
        if idle % 64 == 0 {
            thread::yield_now();
        }
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(heard.get(), THREADS * wakes);
}

#[test]
fn threads_clone_wake_and_drop_while_tasks_end() {
    let rounds = if cfg!(miri) { 20 } else { 5_000 };
    let executor = executor();
    for _ in 0..rounds {
        let (probe, counts) = Probe::new();
        let task = executor.spawn(probe);
        run(&executor);
        let barrier = Arc::new(Barrier::new(2));
        let thread = {
            let (waker, barrier) = (counts.waker(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                let other = waker.clone();
                waker.wake();
                other.wake_by_ref();
                drop(other);
            })
        };
        counts.waker.borrow_mut().take();
        barrier.wait();
        counts.open.set(true);
        task.abort();
        while !task.is_finished() {
            executor.run(&mut unlimited());
        }
        drop(task);
        counts.waker.borrow_mut().take();
        thread.join().unwrap();
        assert_eq!(counts.drops.get(), 1);
    }
    executor.run(&mut unlimited());
    assert_eq!(executor.live(), 0);
}

#[test]
fn wakers_outlive_the_executor() {
    let (executor, bell) = executor_and_bell();
    let (probe, counts) = Probe::new();
    let task = executor.spawn(probe);
    run(&executor);
    let (waker, root) = (counts.waker(), executor.root_waker());
    drop(executor);
    assert_eq!(counts.drops.get(), 1);
    assert!(ready(task).unwrap_err().is_cancelled());
    let rings = bell.0.load(Ordering::SeqCst);
    let elsewhere = waker.clone();
    thread::spawn(move || {
        elsewhere.wake_by_ref();
        elsewhere.clone().wake();
        root.clone().wake();
    })
    .join()
    .unwrap();
    waker.clone().wake();
    counts.waker.borrow_mut().take();
    waker.wake();
    assert_eq!(
        bell.0.load(Ordering::SeqCst),
        rings,
        "a late wake rings nobody"
    );
    assert_eq!(counts.polls.get(), 1);
}

#[test]
fn the_executor_goes_while_threads_wake() {
    for _ in 0..if cfg!(miri) { 5 } else { 500 } {
        let executor = executor();
        let (probe, counts) = Probe::new();
        drop(executor.spawn(probe));
        run(&executor);
        let waker = counts.waker.borrow_mut().take().unwrap();
        let thread = thread::spawn(move || {
            for _ in 0..100 {
                waker.wake_by_ref();
                drop(waker.clone());
            }
        });
        executor.run(&mut unlimited());
        drop(executor);
        thread.join().unwrap();
        assert_eq!(counts.drops.get(), 1);
    }
}

#[test]
fn a_closed_inbox_takes_nothing() {
    let (executor, bell) = executor_and_bell();
    let (probe, counts) = Probe::new();
    drop(executor.spawn(probe));
    run(&executor);
    let waker = counts.waker();
    waker.wake_by_ref();
    executor.close();
    assert!(!executor.has_ready());
    let rings = bell.0.load(Ordering::SeqCst);
    waker.wake();
    counts.waker().wake();
    assert!(!executor.has_ready());
    assert_eq!(bell.0.load(Ordering::SeqCst), rings);
    // What the core itself wakes still runs.
    let guard = executor.enter();
    counts.waker().wake();
    drop(guard);
    run(&executor);
    assert_eq!(counts.polls.get(), 2);
    executor.close();
}

#[test]
fn the_root_is_woken_once_asked_once() {
    let (executor, bell) = executor_and_bell();
    assert!(executor.take_root_woken());
    assert!(!executor.take_root_woken());
    let waker = executor.root_waker();
    {
        let _entered = executor.enter();
        waker.wake_by_ref();
    }
    assert_eq!(bell.0.load(Ordering::SeqCst), 0);
    assert!(executor.root_is_woken());
    assert!(executor.take_root_woken());
    let elsewhere = waker.clone();
    thread::spawn(move || elsewhere.wake()).join().unwrap();
    assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    assert!(executor.take_root_woken());
    assert!(!executor.has_ready());
}
