//! A timeout that asks, and waits for the answer.

use crate::task::{self, CancellationToken};
use crate::time::timeout;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

/// Runs the future that `make` makes for at most `limit`; then asks it to end, through the token,
/// and waits until it has.
///
/// [`time::timeout`](crate::time::timeout) drops its future where it stands. This one lets it roll
/// back, say goodbye, or return what it has so far; it also lets it take its time, or refuse. The
/// token is a child of the task's own, so a request to the task reaches it too.
///
/// # Errors
/// [`Overtime`] if the time was over first, with what the future returned then.
///
/// # Cancel safety
/// As the future's own: dropping it drops the future, without asking.
///
/// # Examples
/// ```no_run
/// use corering::flow::timeout_with;
/// use corering::time::sleep;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let counted = timeout_with(Duration::from_millis(20), |token| async move {
///         let mut count = 0;
///         while token.run_until_cancelled(sleep(Duration::from_millis(1))).await.is_some() {
///             count += 1;
///         }
///         count
///     });
///     println!("{} rounds", counted.await.unwrap_err().into_inner());
/// });
/// ```
pub async fn timeout_with<F, Fut>(
    limit: Duration,
    make: F,
) -> Result<Fut::Output, Overtime<Fut::Output>>
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future,
{
    let token = task::token().child_token();
    let mut future = pin!(make(token.clone()));
    match timeout(limit, future.as_mut()).await {
        Ok(output) => Ok(output),
        Err(_elapsed) => {
            token.cancel();
            Err(Overtime(future.await))
        }
    }
}

/// The time of a [`timeout_with`] was over; the future was asked to end, and returned this.
///
/// # Examples
/// ```
/// fn so_far(late: corering::flow::Overtime<u32>) -> u32 {
///     late.into_inner()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtime<T>(T);

impl<T> Overtime<T> {
    /// What the future returned.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Display for Overtime<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over, and the future has ended because it was asked to")
    }
}

impl<T: fmt::Debug> std::error::Error for Overtime<T> {}

impl<T> From<Overtime<T>> for io::Error {
    fn from(late: Overtime<T>) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, late.to_string())
    }
}
