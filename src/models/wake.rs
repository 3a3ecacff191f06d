//! The bell and the inbox: whatever is left for a core, the core finds.

use super::*;
use crate::task::spawn;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::future::poll_fn;

/// Ready once the sum of what other threads have added is `wanted`.
async fn reaches(sum: loom::sync::Arc<AtomicUsize>, wanted: usize) {
    // Relaxed: that it is seen at all is the wake's doing.
    poll_fn(|_| match sum.load(Ordering::Relaxed) == wanted {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// `threads` threads add to a sum and wake the future that `block_on` itself polls.
fn the_root_is_woken(threads: usize, looks_again: bool) {
    let mut core = Core::new();
    core.looks_again = looks_again;
    let sum = loom::sync::Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..threads)
        .map(|_| {
            let (sum, waker) = (sum.clone(), core.executor.root_waker());
            thread::spawn(move || {
                sum.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            })
        })
        .collect();
    core.run_until(reaches(sum, threads));
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// `threads` threads add to a sum and wake a task that waits for it.
fn a_task_is_woken(threads: usize, looks_again: bool) {
    let mut core = Core::new();
    core.looks_again = looks_again;
    let sum = loom::sync::Arc::new(AtomicUsize::new(0));
    core.run_until(async {
        let (gate, state) = Gate::new();
        let wanted = sum.clone();
        let task = spawn(async move {
            let mut gate = gate;
            let _ = futures::poll!(&mut gate);
            reaches(wanted, threads).await;
        });
        crate::task::yield_now().await;
        let waker = state.waker.take().expect("the task was polled");
        let others: Vec<_> = (0..threads)
            .map(|_| {
                let (sum, waker) = (sum.clone(), waker.clone());
                thread::spawn(move || {
                    sum.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                })
            })
            .collect();
        task.await.expect("it ends");
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn a_wake_of_the_root_is_never_lost() {
    model(|| the_root_is_woken(2, true));
}

#[test]
fn a_wake_of_a_task_is_never_lost() {
    model(|| a_task_is_woken(1, true));
}

#[test]
fn wakes_of_a_task_by_two_threads_are_never_lost() {
    model(|| a_task_is_woken(2, true));
}

/// Two threads, two tasks: one of them rings, and the other relies on it.
#[test]
fn wakes_of_two_tasks_are_never_lost() {
    model(|| {
        let core = Core::new();
        core.run_until(async {
            let tasks = [0, 1].map(|_| {
                let (gate, state) = Gate::new();
                let opened = loom::sync::Arc::new(AtomicUsize::new(0));
                let seen = opened.clone();
                let task = spawn(async move {
                    let mut gate = gate;
                    let _ = futures::poll!(&mut gate);
                    reaches(seen, 1).await;
                });
                (task, state, opened)
            });
            crate::task::yield_now().await;
            let mut others = Vec::new();
            for (_, state, opened) in &tasks {
                let waker = state.waker.take().expect("the task was polled");
                let opened = opened.clone();
                others.push(thread::spawn(move || {
                    opened.store(1, Ordering::Relaxed);
                    waker.wake();
                }));
            }
            for (task, ..) in tasks {
                task.await.expect("it ends");
            }
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    });
}

/// The model sees what it is made to see.
#[test]
fn without_the_second_look_a_wake_is_lost() {
    finds_a_deadlock("models::wake::root_without_the_second_look");
    finds_a_deadlock("models::wake::task_without_the_second_look");
}

#[test]
#[ignore = "hangs on purpose, in the test above"]
fn root_without_the_second_look() {
    model(|| the_root_is_woken(1, false));
}

#[test]
#[ignore = "hangs on purpose, in the test above"]
fn task_without_the_second_look() {
    model(|| a_task_is_woken(1, false));
}
