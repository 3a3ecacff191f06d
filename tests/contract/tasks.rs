//! E: tasks end where they ran, and their panics go to whoever joins them. F: turns and the clock.

use crate::world::{MS, World, pair};
use corering::task::yield_now;
use corering::time::{Instant, interval, interval_at, sleep, sleep_until, timeout, timeout_at};
use corering::{Metrics, spawn};
use futures::FutureExt;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

both!(
    e10_panic_in_task,
    f07_yield_loop_vs_io,
    f11_timer_order,
    f12_timer_extremes
);

async fn e10_panic_in_task(_world: World) {
    let sibling = spawn(async {
        sleep(5 * MS).await;
        1
    });
    let task = spawn(async { std::panic::resume_unwind(Box::new(42_u8)) });
    let error: Result<(), _> = task.await;
    let payload = error.expect_err("it must panic").into_panic();
    assert_eq!(*payload.downcast::<u8>().expect("the payload"), 42);
    // A destructor that panics while its task is aborted.
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("the destructor panics"));
        }
    }
    let bomb = spawn(async {
        let _bomb = Bomb;
        pending::<()>().await
    });
    yield_now().await;
    bomb.abort();
    assert!(bomb.await.expect_err("aborted").is_panic());
    assert_eq!(sibling.await.expect("untouched"), 1);
    assert_eq!(Metrics::current().panics, 2);
}

/// A task that is always ready leaves room for the clock and for connections.
async fn f07_yield_loop_vs_io(_world: World) {
    const YIELDS_MAX: u64 = 20_000_000;
    let stop = Rc::new(Cell::new(false));
    let busy = spawn({
        let stop = stop.clone();
        async move {
            for _ in 0..YIELDS_MAX {
                if stop.get() {
                    return true;
                }
                yield_now().await;
            }
            false
        }
    });
    let (mut ours, mut theirs) = pair().await;
    for round in 0..3 {
        sleep(MS / 20).await;
        ours.send_all(vec![round; 100]).await.0.expect("sent");
        let mut bytes = [0; 100];
        theirs.read_exact(&mut bytes).await.expect("received");
        assert_eq!(bytes, [round; 100]);
    }
    stop.set(true);
    assert!(busy.await.expect("no panic"), "it ran to its end alone");
}

/// Never early; by deadline, and equal ones in the order in which they were set.
async fn f11_timer_order(world: World) {
    let mut rng = world.rng();
    let order = Rc::new(RefCell::new(Vec::new()));
    let count = world.rounds(10_000, 400) as usize;
    // None is due before the last one is set, however often the core must stand still.
    let begin = Instant::now() + MS * world.rounds(500, 60_000) as u32;
    let mut tasks = Vec::new();
    for i in 0..count {
        // Whole milliseconds: many are equal.
        let deadline = begin + MS * rng.below(200) as u32;
        let order = order.clone();
        tasks.push(spawn(async move {
            sleep_until(deadline).await;
            let now = Instant::now();
            assert!(now >= deadline, "early by {:?}", deadline - now);
            order.borrow_mut().push((deadline, i));
        }));
    }
    for task in tasks {
        task.await.expect("never early");
    }
    let order = order.borrow();
    assert_eq!(order.len(), count);
    assert!(order.is_sorted());
}

async fn f12_timer_extremes(_world: World) {
    let huge = [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_nanos(u64::MAX),
        Duration::from_nanos(u64::MAX - 1),
        Duration::from_secs(i64::MAX as u64),
        Duration::from_nanos(i64::MAX as u64),
        Duration::from_secs(600 * 365 * 86_400),
        Duration::from_secs(300 * 365 * 86_400),
    ];
    let far = Rc::new(Cell::new(0));
    for time in huge {
        let mut never = pin!(sleep(time));
        assert!(never.as_mut().now_or_never().is_none(), "{time:?}");
        let far = far.clone();
        drop(spawn(async move {
            sleep(time).await;
            far.set(far.get() + 1);
        }));
        assert_eq!(timeout(time, async { 1 }).await, Ok(1));
        let mut ticks = interval(time);
        ticks.tick().await;
        assert!(ticks.tick().now_or_never().is_none(), "{time:?}");
        ticks.reset();
        let mut ticks = interval_at(Instant::now() + time, time);
        assert!(ticks.tick().now_or_never().is_none(), "{time:?}");
        assert!(Instant::now() + time > Instant::now());
        assert!(Instant::now() - time < Instant::now());
        let at = Instant::now() + time;
        assert!(timeout_at(at, pending::<()>()).now_or_never().is_none());
    }
    for time in [Duration::ZERO, Duration::from_nanos(1)] {
        sleep(time).await;
        assert!(timeout(time, pending::<()>()).await.is_err());
        let mut ticks = interval(time);
        for _ in 0..100 {
            ticks.tick().await;
        }
    }
    sleep_until(Instant::now() - Duration::from_secs(1)).await;
    sleep_until(Instant::now() - Duration::MAX).await;
    assert_eq!(timeout(Duration::ZERO, async { 2 }).await, Ok(2));
    let begin = Instant::now();
    sleep(20 * MS).await;
    assert!(begin.elapsed() >= 20 * MS);
    assert_eq!(far.get(), 0);
    let mut nap = pin!(sleep(Duration::MAX));
    assert!(nap.as_mut().now_or_never().is_none());
    nap.as_mut().reset(Instant::now() + MS);
    nap.await;
}

/// When a host ends, its tasks are dropped once each, on their core, which they can still use.
#[cfg(feature = "sim")]
#[test]
fn e04_tasks_dropped_on_owner() {
    struct Witness(Rc<RefCell<Vec<usize>>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            let core = Metrics::current().core;
            self.0.borrow_mut().push(core);
        }
    }
    corering::sim::seeds(0..20, |sim| {
        let drops = Rc::new(RefCell::new(Vec::new()));
        let place = drops.clone();
        let begun = Rc::new(Cell::new(0));
        let count = begun.clone();
        let host = sim.host("here").cores(2).boot(move |core| {
            let (drops, count) = (place.clone(), count.clone());
            async move {
                count.set(count.get() + 1);
                for i in 0..20 {
                    let witness = Witness(drops.clone());
                    drop(spawn(async move {
                        assert_eq!(Metrics::current().core, core);
                        let _witness = witness;
                        if i % 2 == 0 {
                            sleep(Duration::from_secs(3600)).await;
                        }
                        pending::<()>().await;
                    }));
                }
            }
        });
        sim.run_until(|| begun.get() == 2);
        sim.run_for(MS);
        assert!(drops.borrow().is_empty());
        sim.kill(&host);
        let drops = drops.borrow();
        let of = |core| drops.iter().filter(|&&at| at == core).count();
        assert_eq!((of(0), of(1)), (20, 20), "each is dropped once, at home");
    });
}
