//! Two threads, each on a CPU of its own, that wake each other.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Instant;

use crate::{Figures, Measured, Meter, Stop, or_end};

/// Runs two functions at once, the first on this thread; returns what both did.
///
/// # Errors
/// `unsupported` when the process may use fewer than two CPUs. An error of a function ends the
/// process, because the other one may wait for it.
pub fn on_two_cores<A, B: Send>(
    first: impl FnOnce() -> Result<A, Stop>,
    second: impl FnOnce() -> Result<B, Stop> + Send,
) -> Result<(A, B), Stop> {
    let cpus = crate::cpus::allowed()?;
    let [here, there, ..] = cpus[..] else {
        return Err(Stop::unsupported("the case needs two CPUs"));
    };
    thread::scope(|scope| {
        let second = scope.spawn(move || {
            crate::cpus::pin(there)?;
            Ok::<B, io::Error>(or_end(second()))
        });
        crate::cpus::pin(here)?;
        let first = or_end(first());
        let second = second.join().expect("the other core has not panicked");
        Ok((first, second?))
    })
}

/// Counts rings; a task of another core waits for the next. All that is used of the runtime is its
/// waker.
#[derive(Debug, Default)]
pub struct Bell {
    rings: AtomicU64,
    waits: Mutex<Option<Waker>>,
}

impl Bell {
    /// A bell that has not rung.
    #[must_use]
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
        // The waiter counts under the lock, so it has seen this ring, or its waker is here.
        let waits = self.lock().take();
        if let Some(waker) = waits {
            waker.wake();
        }
    }

    /// Waits until it has rung so often.
    async fn rung(&self, rings: u64) {
        poll_fn(|context| {
            let mut waits = self.lock();
            if self.rings.load(Ordering::Acquire) >= rings {
                return Poll::Ready(());
            }
            *waits = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rings there, waits for the ring back, so many times.
pub async fn ping(there: Arc<Bell>, back: Arc<Bell>, rounds: usize) -> Figures {
    // Until both cores have begun.
    there.ring();
    back.rung(1).await;
    let mut samples = Vec::with_capacity(rounds);
    let meter = Meter::begin();
    for round in 0..rounds as u64 {
        let begin = Instant::now();
        there.ring();
        back.rung(round + 2).await;
        samples.push(begin.elapsed().as_nanos() as u64);
    }
    meter.end_with(samples)
}

/// The other side of [`ping`].
pub async fn pong(there: Arc<Bell>, back: Arc<Bell>, rounds: usize) {
    for round in 0..=rounds as u64 {
        there.rung(round + 1).await;
        back.ring();
    }
}

/// The case `channel`: `send` puts the numbers below its argument into a channel on one core,
/// `receive` takes as many out of it on another, by [`Received`].
///
/// # Errors
/// Those of [`on_two_cores`].
pub fn channel(
    values: usize,
    send: impl FnOnce(u64) -> Result<(), Stop> + Send,
    receive: impl FnOnce(u64) -> Result<Received, Stop>,
) -> Measured {
    // One more: the first value says that both cores have begun.
    let values = values as u64 + 1;
    let (received, ()) = on_two_cores(|| receive(values), || send(values))?;
    Ok(received.figures.expect("all values have come"))
}

/// Checks the values that come out of a channel, and measures from the first to the last.
#[derive(Debug)]
pub struct Received {
    values: u64,
    next: u64,
    meter: Option<Meter>,
    figures: Option<Figures>,
}

impl Received {
    /// Nothing yet, of so many.
    #[must_use]
    pub fn new(values: u64) -> Self {
        Self {
            values,
            next: 0,
            meter: None,
            figures: None,
        }
    }

    /// The next value. Whether there are more.
    pub fn take(&mut self, value: u64) -> bool {
        assert_eq!(value, self.next, "values come once and in order");
        self.next += 1;
        if self.next == 1 {
            self.meter = Some(Meter::begin());
        }
        let more = self.next < self.values;
        if !more {
            self.figures = self.meter.take().map(|meter| meter.end(self.next - 1));
        }
        more
    }
}
