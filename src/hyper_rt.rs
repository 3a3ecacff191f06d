//! What hyper wants of a runtime: [`Executor`] and [`Timer`].
//!
//! `hyper::rt::Read` and `hyper::rt::Write` stand on [`TcpStream`](crate::net::TcpStream) itself,
//! so a connection needs no adapter:
//!
//! ```no_run
//! use corering::hyper_rt::{Executor, Timer};
//! use corering::net::TcpStream;
//! # fn f(_: Executor, _: Timer) {}
//!
//! # #[cfg(feature = "http")]
//! # async fn g() -> Result<(), Box<dyn std::error::Error>> {
//! let stream = TcpStream::connect("127.0.0.1:8080").await?;
//! let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
//! corering::spawn(connection);
//! let request = hyper::Request::get("/")
//!     .header("host", "localhost")
//!     .body(http_body_util::Empty::<bytes::Bytes>::new())?;
//! println!("{}", sender.send_request(request).await?.status());
//! # Ok(()) }
//! ```

use crate::driver::sys::{self, StdInstant};
use crate::task::{self, Affine};
use crate::time::{self, Instant};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs hyper's background work as tasks of this core. The futures need not be `Send`.
///
/// # Panics
/// Its use does, outside of a runtime.
///
/// ```no_run
/// use corering::hyper_rt::Executor;
/// use hyper::rt::Executor as _;
/// # async fn f() {
/// Executor::new().execute(async { println!("on this core") });
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor(());

impl Executor {
    /// The executor of whatever core it is used on.
    #[must_use]
    pub fn new() -> Executor {
        Executor(())
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}

/// Gives hyper the core's timers.
///
/// Its sleeps may travel to other threads, as hyper's types ask for, but sleep only on the core
/// that made them: polled elsewhere they panic, and dropped elsewhere they go home.
///
/// ```no_run
/// use corering::hyper_rt::Timer;
/// use hyper::rt::Timer as _;
/// # async fn f() {
/// let timer = Timer::new();
/// let mut nap = timer.sleep(std::time::Duration::from_millis(5));
/// nap.as_mut().await;
/// timer.reset(&mut nap, timer.now() + std::time::Duration::from_millis(5));
/// nap.await;
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer(());

impl Timer {
    /// The timer of whatever core it is used on.
    #[must_use]
    pub fn new() -> Timer {
        Timer(())
    }
}

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep::until(Instant::now() + duration))
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep::until(on_our_clock(deadline)))
    }

    fn now(&self) -> StdInstant {
        sys::std_now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn hyper::rt::Sleep>>, deadline: StdInstant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            // The box is used again; on another core it has to be another one.
            Some(mut own) if own.0.is_home() => own.0.get_mut().reset(on_our_clock(deadline)),
            _ => *sleep = self.sleep_until(deadline),
        }
    }
}

fn on_our_clock(deadline: StdInstant) -> Instant {
    Instant::from_nanos(sys::nanos_of(deadline))
}

/// A sleep in hyper's form.
struct Sleep(Affine<time::Sleep>);

impl Sleep {
    fn until(deadline: Instant) -> Sleep {
        Sleep(Affine::new(time::sleep_until(deadline)))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(self.0.get_mut()).poll(cx)
    }
}

impl hyper::rt::Sleep for Sleep {}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::{Executor as _, Timer as _};
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn sleeps_are_never_early_and_are_used_again() {
        crate::block_on(async {
            let timer = Timer::new();
            let start = timer.now();
            let mut nap = timer.sleep_until(start + Duration::from_millis(20));
            let address = &raw const *nap as *const ();
            nap.as_mut().await;
            assert!(timer.now() >= start + Duration::from_millis(20));
            let again = timer.now() + Duration::from_millis(10);
            timer.reset(&mut nap, again);
            assert_eq!(&raw const *nap as *const (), address);
            nap.as_mut().await;
            assert!(timer.now() >= again);
            // A deadline of the past is ready at once.
            timer.reset(&mut nap, start);
            nap.await;
        });
    }

    #[test]
    fn a_sleep_that_is_dropped_on_another_thread_leaves_no_timer() {
        crate::block_on(async {
            let mut nap = Timer::new().sleep(Duration::from_secs(3600));
            std::future::poll_fn(|cx| {
                assert!(nap.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert_eq!(crate::Metrics::current().timers, 1);
            std::thread::spawn(move || drop(nap)).join().unwrap();
            while crate::Metrics::current().timers > 0 {
                task::yield_now().await;
            }
        });
    }

    #[test]
    fn futures_need_not_be_send() {
        crate::block_on(async {
            let flag = Rc::new(Cell::new(false));
            let there = flag.clone();
            Executor::new().execute(async move { there.set(true) });
            while !flag.get() {
                task::yield_now().await;
            }
        });
    }
}
