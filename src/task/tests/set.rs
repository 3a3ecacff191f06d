//! Join sets.

use super::*;
use crate::task::{JoinSet, yield_now};

#[test]
fn joined_in_the_order_of_their_ends() {
    let executor = executor();
    let joined = executor.spawn(async {
        let mut set = JoinSet::new();
        for n in [3_u32, 1, 2, 0] {
            set.spawn(async move {
                for _ in 0..n {
                    yield_now().await;
                }
                n
            });
        }
        let mut order = Vec::new();
        while let Some(output) = set.join_next().await {
            order.push(output.unwrap());
        }
        assert!(set.join_next().await.is_none());
        order
    });
    run(&executor);
    assert_eq!(ready(joined).unwrap(), [0, 1, 2, 3]);
}

#[test]
fn a_dropped_join_next_loses_nothing() {
    let executor = executor();
    let _entered = executor.enter();
    let mut set = JoinSet::new();
    set.spawn(async { 1 });
    set.spawn(async { 2 });
    assert!(poll_once(&mut Box::pin(set.join_next())).is_pending());
    run(&executor);
    assert_eq!(set.len(), 2);
    drop(Box::pin(set.join_next()));
    assert_eq!(ready(Box::pin(set.join_next())).unwrap().unwrap(), 1);
    assert_eq!(set.try_join_next().unwrap().unwrap(), 2);
    assert!(set.try_join_next().is_none() && set.is_empty());
}

#[test]
fn dropping_it_aborts_and_detaching_does_not() {
    let executor = executor();
    let _entered = executor.enter();
    let (probe, dropped) = Probe::new();
    let (other, detached) = Probe::new();
    let mut set = JoinSet::new();
    set.spawn(other);
    set.detach_all();
    assert!(set.is_empty());
    set.spawn(probe);
    run(&executor);
    drop(set);
    run(&executor);
    assert_eq!((dropped.drops.get(), detached.drops.get()), (1, 0));
    detached.open.set(true);
    detached.waker().wake();
    run(&executor);
    assert_eq!(detached.drops.get(), 1);
}

#[test]
fn errors_are_joined_too_and_shutdown_takes_all() {
    let executor = executor();
    let task = executor.spawn(async {
        let mut set = JoinSet::new();
        let abort = set.spawn(std::future::pending::<()>());
        set.spawn(async { std::panic::resume_unwind(Box::new("set")) });
        assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
        abort.abort();
        assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
        for _ in 0..10 {
            set.spawn(std::future::pending());
        }
        set.shutdown().await;
        assert!(set.is_empty());
    });
    run(&executor);
    ready(task).unwrap();
    assert_eq!(executor.live(), 0);
}

#[test]
fn keys_are_reused_without_confusion() {
    let executor = executor();
    let _entered = executor.enter();
    let mut set = JoinSet::new();
    for round in 0..100 {
        let aborted = set.spawn(std::future::pending());
        set.spawn(async move { round });
        run(&executor);
        assert_eq!(set.try_join_next().unwrap().unwrap(), round);
        aborted.abort();
        run(&executor);
        if round % 2 == 0 {
            set.detach_all();
        } else {
            assert!(set.try_join_next().unwrap().unwrap_err().is_cancelled());
        }
        assert!(set.is_empty());
    }
}
