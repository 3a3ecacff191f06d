//! The pieces by hand, against models with cancelled waiters, and across threads.

mod channel;
mod channels;
mod local;
mod locks;
mod meet;
mod oneshot;
mod queue;
mod reentrant;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

fn poll<T>(future: &mut Boxed<'_, T>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// A future together with the count of its wakes.
struct Waiter<'a, T> {
    future: Boxed<'a, T>,
    wakes: Arc<Count>,
    seen: usize,
}

impl<'a, T> Waiter<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Waiter<'a, T> {
        Waiter {
            future: Box::pin(future),
            wakes: Arc::default(),
            seen: 0,
        }
    }

    fn poll(&mut self) -> Poll<T> {
        self.seen = self.wakes.get();
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Woken since the last poll.
    fn woken(&self) -> bool {
        self.wakes.get() > self.seen
    }
}

/// A small generator of randomness (xorshift64*).
struct Random(u64);

impl Random {
    /// A new seed each run, printed so that a failure can be repeated by writing it here.
    fn new(name: &str) -> Random {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = now ^ (u64::from(std::process::id()) << 32) | 1;
        println!("{name}: seed {seed}");
        Random(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
