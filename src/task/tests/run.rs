//! Order, budgets, nesting and the thread's current executor.

use super::*;
use crate::task::{current_id, spawn, yield_now};

#[test]
fn first_spawned_first_polled() {
    let executor = executor();
    let order = Rc::<RefCell<Vec<u32>>>::default();
    for n in 0..5 {
        let order = order.clone();
        drop(executor.spawn(async move {
            order.borrow_mut().push(n);
            yield_now().await;
            order.borrow_mut().push(10 + n);
        }));
    }
    run(&executor);
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
    assert_eq!(executor.live(), 0);
    let stats = executor.stats();
    assert_eq!(
        (stats.polls, stats.spawned, stats.local_wakes, stats.live),
        (10, 5, 5, 0)
    );
}

#[test]
fn a_budget_grants_so_many_polls() {
    let mut budget = Budget::new(3, 0, || 0);
    assert_eq!((0..10).filter(|_| budget.spend()).count(), 3);
}

#[test]
fn polls_bound_a_turn() {
    let executor = executor();
    drop(executor.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    assert!(executor.run(&mut Budget::new(7, 0, || 0)));
    assert_eq!(executor.stats().polls, 7);
    assert!(executor.run(&mut Budget::new(0, 0, || 0)));
    assert_eq!(executor.stats().polls, 7);
}

#[test]
fn time_bounds_a_turn() {
    thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });
    fn now() -> u64 {
        // Every look at the clock takes 10 µs.
        NOW.set(NOW.get() + 10_000);
        NOW.get()
    }
    let executor = executor();
    drop(executor.spawn(async {
        loop {
            yield_now().await;
        }
    }));
    assert!(executor.run(&mut Budget::new(1_000_000, 35, now)));
    // Looks at the clock: before polls 2, 18, 34, 50 and 66; the fifth is past the first + 35 µs.
    assert_eq!(executor.stats().polls, 66);
}

#[test]
fn tasks_spawn_tasks() {
    let executor = executor();
    let task = executor.spawn(async { spawn(async { spawn(async { 3 }).await }).await });
    run(&executor);
    assert_eq!(ready(task).unwrap().unwrap().unwrap(), 3);
}

#[test]
#[should_panic(expected = "call it inside `corering::block_on(async { .. })`")]
fn spawn_outside_names_the_cure() {
    drop(spawn(async {}));
}

#[test]
fn a_task_cannot_run_its_executor() {
    let executor = executor();
    let inner = executor.clone();
    let task = executor.spawn(async move {
        inner.run(&mut unlimited());
    });
    run(&executor);
    assert!(
        ready(task)
            .unwrap_err()
            .to_string()
            .contains("run by one of its own tasks")
    );
    let next = executor.spawn(async { 1 });
    run(&executor);
    assert_eq!(ready(next).unwrap(), 1);
}

#[test]
fn executors_take_turns_on_one_thread() {
    let (a, b) = (executor(), executor());
    let (probe, counts) = Probe::new();
    drop(a.spawn(probe));
    run(&a);
    let waker = counts.waker();
    drop(b.spawn(async move { waker.wake() }));
    run(&b);
    assert_eq!(
        counts.polls.get(),
        1,
        "woken by another core, polled by its own"
    );
    assert!(a.has_ready());
    run(&a);
    assert_eq!(counts.polls.get(), 2);
    assert_eq!(a.stats().foreign_wakes, 1);
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    let (a, b) = (executor(), executor());
    let first = a.enter();
    let second = b.enter();
    drop(first);
    drop(a);
    drop(second);
    // `a` is current again, and its last owner is the thread.
    let task = spawn(async { 1 });
    let third = b.enter();
    drop(spawn(async {}));
    run(&b);
    drop(third);
    assert!(!task.is_finished());
    // Leave the thread as it was.
    drop(super::super::executor::EnterGuard::nothing());
    assert!(ready(task).unwrap_err().is_cancelled());
}

#[test]
fn ids_are_unique_and_known_inside() {
    let (a, b) = (executor(), executor());
    assert_eq!(current_id(), None);
    let mut ids = std::collections::HashSet::new();
    for executor in [&a, &b] {
        for _ in 0..3_000 {
            let task = executor.spawn(async { current_id() });
            let id = task.id();
            assert!(ids.insert(id));
            run(executor);
            assert_eq!(ready(task).unwrap(), Some(id));
        }
    }
    assert_eq!(current_id(), None);
}

#[test]
fn large_and_empty_futures() {
    let executor = executor();
    let large = [7_u8; 10_000];
    let sum = executor.spawn(async move {
        yield_now().await;
        large.iter().map(|&byte| u64::from(byte)).sum::<u64>()
    });
    let nothing = executor.spawn(async {});
    let output = executor.spawn(async { [1_u64; 500] });
    run(&executor);
    assert_eq!(ready(sum).unwrap(), 70_000);
    ready(nothing).unwrap();
    assert_eq!(ready(output).unwrap()[499], 1);
}
