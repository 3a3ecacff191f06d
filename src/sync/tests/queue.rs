//! The queues of work.

use super::*;
use crate::sync::queue::{
    GetError, LifoQueue, PriorityQueue, PutError, Queue, TooManyDone, TryGetError, TryPutError,
};
use std::collections::VecDeque;
use std::rc::Rc;

#[test]
fn three_orders() {
    let (fifo, lifo, least) = (
        Queue::unbounded(),
        LifoQueue::unbounded(),
        PriorityQueue::unbounded(),
    );
    for item in [(2, 'a'), (1, 'b'), (3, 'c'), (1, 'a')] {
        fifo.try_put(item).unwrap();
        lifo.try_put(item).unwrap();
        least.try_put(item).unwrap();
    }
    let all = |get: &dyn Fn() -> Option<(i32, char)>| std::iter::from_fn(get).collect::<Vec<_>>();
    assert_eq!(
        all(&|| fifo.try_get().ok()),
        [(2, 'a'), (1, 'b'), (3, 'c'), (1, 'a')]
    );
    assert_eq!(
        all(&|| lifo.try_get().ok()),
        [(1, 'a'), (3, 'c'), (1, 'b'), (2, 'a')]
    );
    assert_eq!(
        all(&|| least.try_get().ok()),
        [(1, 'a'), (1, 'b'), (2, 'a'), (3, 'c')]
    );
    assert_eq!(
        (fifo.capacity(), Queue::<u8>::bounded(3).capacity()),
        (None, Some(3))
    );
}

/// Compared by the first number alone.
#[derive(Debug)]
struct Ranked(u32, u32);

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[test]
fn equal_items_come_out_in_the_order_of_putting() {
    let queue = PriorityQueue::unbounded();
    for n in 0..20 {
        queue.try_put(Ranked(n % 2, n)).unwrap();
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.try_get().ok()).collect();
    assert!(order.is_sorted_by_key(|ranked| (ranked.0, ranked.1)));
}

#[test]
fn room_and_items_go_in_turn() {
    let queue = Queue::bounded(1);
    let mut getters: Vec<_> = (0..3).map(|_| Waiter::new(queue.get())).collect();
    assert!(getters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    queue.try_put(1).unwrap();
    assert_eq!(queue.try_get(), Err(TryGetError::Empty), "it is granted");
    assert!(getters[0].woken() && !getters[1].woken());
    // Dropped with its item unseen: the next one's.
    drop(getters.remove(0));
    assert_eq!(getters[0].poll(), Poll::Ready(Ok(1)));
    drop(getters);

    queue.try_put(2).unwrap();
    let mut putters: Vec<_> = (3..6).map(|n| Waiter::new(queue.put(n))).collect();
    assert!(putters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)));
    assert_eq!(queue.try_get(), Ok(2));
    assert_eq!(queue.try_put(9), Err(TryPutError::Full(9)), "it is granted");
    assert!(putters[0].woken() && !putters[1].woken() && queue.is_full());
    drop(putters.remove(0));
    assert_eq!(putters[0].poll(), Poll::Ready(Ok(())));
    assert_eq!(queue.try_get(), Ok(4));
}

#[test]
fn joined_when_all_is_done() {
    let queue = Queue::unbounded();
    assert!(
        Waiter::new(queue.join()).poll().is_ready(),
        "nothing is open"
    );
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    let mut join = Waiter::new(queue.join());
    assert!(join.poll().is_pending());
    queue.try_get().unwrap();
    queue.try_get().unwrap();
    queue.task_done().unwrap();
    assert!(!join.woken() && queue.unfinished() == 1);
    queue.task_done().unwrap();
    assert!(join.woken());
    // It was finished, whatever comes then.
    queue.try_put(3).unwrap();
    assert!(join.poll().is_ready());
    queue.task_done().unwrap();
    assert_eq!(queue.task_done(), Err(TooManyDone));
}

#[test]
fn shut_down_it_gives_what_it_has() {
    let queue = Queue::bounded(1);
    queue.try_put(1).unwrap();
    let mut putter = Waiter::new(queue.put(2));
    assert!(putter.poll().is_pending());
    queue.shutdown(false);
    assert!(putter.woken());
    assert_eq!(putter.poll(), Poll::Ready(Err(PutError(2))));
    assert_eq!(queue.try_put(3), Err(TryPutError::ShutDown(3)));
    assert_eq!(queue.try_get(), Ok(1));
    assert_eq!(queue.try_get(), Err(TryGetError::ShutDown));
    assert_eq!(Waiter::new(queue.get()).poll(), Poll::Ready(Err(GetError)));
    let mut join = Waiter::new(queue.join());
    assert!(join.poll().is_pending(), "one is being worked off");
    queue.task_done().unwrap();
    assert!(join.poll().is_ready());
}

#[test]
fn shut_down_while_a_granted_getter_has_not_run() {
    let queue = Queue::bounded(1);
    let mut first = Waiter::new(queue.get());
    let mut second = Waiter::new(queue.get());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    queue.try_put(1).unwrap();
    queue.shutdown(false);
    assert!(
        first.woken() && !second.woken(),
        "the item may still be its"
    );
    drop(first);
    assert_eq!(second.poll(), Poll::Ready(Ok(1)));
    let mut third = Waiter::new(queue.get());
    assert_eq!(third.poll(), Poll::Ready(Err(GetError)));
}

#[test]
fn shut_down_at_once_it_drops_what_it_has() {
    let value = Rc::new(());
    let queue = Queue::bounded(2);
    let mut granted = Waiter::new(queue.get());
    assert!(granted.poll().is_pending());
    queue.try_put(value.clone()).unwrap();
    queue.try_put(value.clone()).unwrap();
    let mut join = Waiter::new(queue.join());
    let mut putter = Waiter::new(queue.put(value.clone()));
    assert!(join.poll().is_pending() && putter.poll().is_pending());
    queue.shutdown(true);
    assert!(join.poll().is_ready() && queue.is_empty() && queue.is_shut_down());
    assert_eq!(granted.poll(), Poll::Ready(Err(GetError)));
    assert!(matches!(putter.poll(), Poll::Ready(Err(PutError(_)))));
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
#[should_panic(expected = "`unbounded()`")]
fn no_room_at_all() {
    let _ = Queue::<u8>::bounded(0);
}

type Putting<'a> = Waiter<'a, Result<(), PutError<u32>>>;

/// What the queue must be, beside its waiters: those in line and those that were granted.
struct Model<'a> {
    items: VecDeque<u32>,
    putters: Vec<(u32, Putting<'a>)>,
    getters: Vec<Waiter<'a, Result<u32, GetError>>>,
}

impl Model<'_> {
    fn check(&self, queue: &Queue<u32>, capacity: usize) {
        let slots = self.putters.iter().filter(|(_, w)| w.woken()).count();
        let taken = self.getters.iter().filter(|w| w.woken()).count();
        assert_eq!(queue.len(), self.items.len());
        let in_turn = self.putters.iter().take(slots).all(|(_, w)| w.woken());
        assert!(in_turn && self.getters.iter().take(taken).all(Waiter::woken));
        let free = capacity - self.items.len();
        assert_eq!(
            slots,
            self.putters.len().min(free),
            "a slot is lost or made up"
        );
        let there = self.items.len();
        assert_eq!(
            taken,
            self.getters.len().min(there),
            "an item is lost or made up"
        );
        assert_eq!(queue.is_full(), free == slots);
    }
}

#[test]
fn cancelled_puts_and_gets_against_a_model() {
    const CAPACITY: usize = 3;
    let mut random = Random::new("queue");
    let queue = Queue::bounded(CAPACITY);
    let mut model = Model {
        items: VecDeque::new(),
        putters: Vec::new(),
        getters: Vec::new(),
    };
    for n in 0..20_000 {
        match random.below(6) {
            0 | 1 => {
                let mut waiter = Waiter::new(queue.put(n));
                match waiter.poll() {
                    Poll::Ready(put) => {
                        put.unwrap();
                        model.items.push_back(n);
                    }
                    Poll::Pending => model.putters.push((n, waiter)),
                }
            }
            2 => {
                let mut waiter = Waiter::new(queue.get());
                match waiter.poll() {
                    Poll::Ready(got) => assert_eq!(got.ok(), model.items.pop_front()),
                    Poll::Pending => model.getters.push(waiter),
                }
            }
            3 if !model.putters.is_empty() => {
                drop(model.putters.remove(random.below(model.putters.len())));
            }
            3 | 4 if !model.getters.is_empty() => {
                let n = random.below(model.getters.len());
                if random.below(2) == 0 {
                    drop(model.getters.remove(n));
                } else {
                    let woken = model.getters[n].woken();
                    match model.getters[n].poll() {
                        Poll::Ready(got) => {
                            assert!(woken);
                            assert_eq!(got.ok(), model.items.pop_front());
                            model.getters.remove(n);
                        }
                        Poll::Pending => assert!(!woken),
                    }
                }
            }
            _ if !model.putters.is_empty() => {
                let n = random.below(model.putters.len());
                let woken = model.putters[n].1.woken();
                assert_eq!(model.putters[n].1.poll().is_ready(), woken);
                if woken {
                    model.items.push_back(model.putters.remove(n).0);
                }
            }
            _ => {}
        }
        model.check(&queue, CAPACITY);
    }
}
