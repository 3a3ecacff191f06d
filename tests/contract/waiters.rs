//! C15: a waiter that is given up eats no permit and no wake-up.

use crate::harness::Rng;
use crate::world::{World, soon};
use corering::spawn;
use corering::sync::{Notify, Semaphore, channel};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

both!(c15_semaphore, c15_notify, c15_channel);

/// A pause of up to `micros` microseconds; sometimes none at all.
async fn pause(rng: &mut Rng, micros: u64) {
    match rng.below(3) {
        0 => {}
        1 => yield_now().await,
        _ => sleep(Duration::from_micros(rng.below(micros))).await,
    }
}

async fn c15_semaphore(world: World) {
    const PERMITS: usize = 5;
    let mut rng = world.rng();
    let semaphore = Rc::new(Semaphore::new(PERMITS));
    let used = Rc::new(Cell::new(0));
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let (semaphore, used) = (semaphore.clone(), used.clone());
        let mut rng = Rng::from_seed(rng.next());
        let rounds = world.rounds(500, 30);
        tasks.push(spawn(async move {
            let mut granted = 0;
            for _ in 0..rounds {
                let count = 1 + rng.below(PERMITS as u64) as usize;
                let limit = Duration::from_micros(rng.below(200));
                let permit = timeout(limit, semaphore.acquire_many(count)).await;
                if let Ok(permit) = permit {
                    let _permit = permit.expect("it is open");
                    granted += 1;
                    used.set(used.get() + count);
                    assert!(used.get() <= PERMITS, "more permits than there are");
                    pause(&mut rng, 50).await;
                    used.set(used.get() - count);
                }
            }
            granted
        }));
    }
    let mut granted = 0;
    for task in tasks {
        granted += soon(task).await.expect("no panic");
    }
    assert!(granted > 0, "nobody got a permit");
    assert_eq!(semaphore.available_permits(), PERMITS, "none was eaten");
    drop(semaphore.try_acquire().expect("it works"));
}

/// As many wake-ups as were given are taken, one each, whoever has been given up meanwhile.
async fn c15_notify(world: World) {
    let mut rng = world.rng();
    let notify = Rc::new(Notify::new());
    let taken = Rc::new(Cell::new(0u64));
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (notify, taken) = (notify.clone(), taken.clone());
        let mut rng = Rng::from_seed(rng.next());
        tasks.push(spawn(async move {
            loop {
                let limit = Duration::from_micros(rng.below(300));
                if timeout(limit, notify.notified()).await.is_ok() {
                    taken.set(taken.get() + 1);
                }
                yield_now().await;
            }
        }));
    }
    for given in 1..=world.rounds(2_000, 60) {
        pause(&mut rng, 200).await;
        notify.notify_one();
        // A permit that is stored would swallow the next one: so each is waited for.
        soon(async {
            while taken.get() < given {
                sleep(Duration::from_micros(20)).await;
            }
        })
        .await;
        assert_eq!(taken.get(), given);
    }
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}

/// Senders and the receiver give up at random: what was sent arrives once, in each sender's order.
async fn c15_channel(world: World) {
    let mut rng = world.rng();
    let (sender, mut receiver) = channel::<(u64, u64)>(3);
    let sent = Rc::new(Cell::new(0u64));
    let mut tasks = Vec::new();
    for who in 0..6 {
        let (sender, sent) = (sender.clone(), sent.clone());
        let mut rng = Rng::from_seed(rng.next());
        let rounds = world.rounds(500, 30);
        tasks.push(spawn(async move {
            for number in 0..rounds {
                let limit = Duration::from_micros(rng.below(100));
                if let Ok(result) = timeout(limit, sender.send((who, number))).await {
                    result.expect("somebody receives");
                    sent.set(sent.get() + 1);
                }
                pause(&mut rng, 50).await;
            }
        }));
    }
    drop(sender);
    let (mut got, mut last) = (0, [None; 6]);
    loop {
        let limit = Duration::from_micros(rng.below(100));
        match timeout(limit, receiver.recv()).await {
            Err(_) => {}
            Ok(None) => break,
            Ok(Some((who, number))) => {
                got += 1;
                let last = &mut last[who as usize];
                assert!(last.is_none_or(|last| last < number), "in their order");
                *last = Some(number);
            }
        }
    }
    for task in tasks {
        soon(task).await.expect("no panic");
    }
    assert_eq!(got, sent.get(), "each arrives once");
}
