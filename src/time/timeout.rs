//! A limit on how long a future may take.

use super::{Instant, Sleep, sleep_until};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Runs `future` for at most `duration`.
///
/// # Errors
/// [`Elapsed`] if the time is over first; the future is dropped with the [`Timeout`]. The future
/// is asked first, so one that is ready wins even over a duration of zero.
///
/// # Cancel safety
/// As the future's own: dropping it drops the future.
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(Instant::now() + duration, future)
}

/// Runs `future` until `deadline` at most; see [`timeout`].
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout {
        future: future.into_future(),
        sleep: sleep_until(deadline),
    }
}

/// The future of [`timeout`].
///
/// ```no_run
/// use corering::time::timeout;
/// use std::time::Duration;
/// # async fn f() {
/// let never = std::future::pending::<()>();
/// let error = timeout(Duration::from_millis(1), never).await.unwrap_err();
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Timeout<F> {
    /// Pinned with the whole: never moved once polled.
    future: F,
    sleep: Sleep,
}

impl<F: Future> Timeout<F> {
    /// The limited future, by reference.
    pub fn get_ref(&self) -> &F {
        &self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is only ever reached pinned (here), and `Timeout` has no `Drop` and no
        // `Unpin` of its own that could move it out of the pinned whole.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above; the field of a pinned value is pinned.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut this.sleep)
            .poll(cx)
            .map(|()| Err(Elapsed(())))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("sleep", &self.sleep)
            .finish_non_exhaustive()
    }
}

/// The time of a [`timeout`] was over before the future was ready.
///
/// ```
/// fn retry(error: corering::time::Elapsed) -> String {
///     error.to_string()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(pub(super) ());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over before the future was ready")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
