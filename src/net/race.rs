//! Several addresses of one host, raced: Happy Eyeballs (RFC 8305), of which the resolver's part
//! is `getaddrinfo`'s, which answers for both families at once and in the order of RFC 6724 (a
//! `dns::Resolver` in its place waits for both, too, and puts IPv6 first).
//!
//! ```text
//!   addresses, families in turn ──► attempt 1 ──250 ms, or it fails──► attempt 2 ──► ..
//!                                       └───────── the first that succeeds ─────────┘
//!                                                   the others are dropped
//! ```
//! A dropped attempt is cancelled, and a connection that comes late closes itself.

use crate::time::{Sleep, sleep};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long an attempt is alone before the next one begins: the RFC's "Connection Attempt Delay".
const HEAD_START: Duration = Duration::from_millis(250);

/// Races `attempt` over the addresses, in their order; the result of the first that succeeds, or
/// the error of the one that failed last.
pub(super) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    if let [only] = addresses[..] {
        return attempt(only).await;
    }
    let mut race = Race {
        waiting: addresses.into(),
        running: Vec::new(),
        head_start: sleep(Duration::ZERO),
        error: None,
    };
    poll_fn(|cx| race.poll(&mut attempt, cx)).await
}

struct Race<F> {
    /// Not tried yet.
    waiting: VecDeque<SocketAddr>,
    running: Vec<Pin<Box<F>>>,
    /// When it is over the next one begins.
    head_start: Sleep,
    /// Of the attempt that failed last.
    error: Option<io::Error>,
}

impl<T, F> Race<F>
where
    F: Future<Output = io::Result<T>>,
{
    fn poll(
        &mut self,
        attempt: &mut impl FnMut(SocketAddr) -> F,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        loop {
            let before = self.running.len();
            if let Some(value) = self.poll_running(cx) {
                return Poll::Ready(Ok(value));
            }
            let failed = self.running.len() < before;
            let Some(&address) = self.waiting.front() else {
                return match self.running.is_empty() {
                    true => Poll::Ready(Err(self.error.take().unwrap_or_else(no_address))),
                    false => Poll::Pending,
                };
            };
            let is_over = Pin::new(&mut self.head_start).poll(cx).is_ready();
            if !failed && !is_over && before > 0 {
                return Poll::Pending;
            }
            self.waiting.pop_front();
            self.running.push(Box::pin(attempt(address)));
            self.head_start = sleep(HEAD_START);
        }
    }

    /// The first success among those that run; failures are taken out.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let mut at = 0;
        while let Some(attempt) = self.running.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(Ok(value)) => return Some(value),
                Poll::Ready(Err(error)) => {
                    self.error = Some(error);
                    drop(self.running.remove(at));
                }
                Poll::Pending => at += 1,
            }
        }
        None
    }
}

fn no_address() -> io::Error {
    let what = "the list of addresses is empty";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The families in turn, beginning with the first address's; within a family the order stays.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().map(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| Some(address.is_ipv6()) == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(one.len() + other.len());
    while one.len() + other.len() > 0 {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        let parse = |text: &&str| text.parse().expect("an address");
        list.iter().map(parse).collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]);
        let turns = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleave(given), turns);
        let given = addresses(&["10.0.0.1:1", "10.0.0.2:1", "[::1]:1"]);
        let turns = addresses(&["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]);
        assert_eq!(interleave(given), turns);
        assert_eq!(interleave(Vec::new()), []);
    }

    /// Who fails makes room at once; who waits keeps its chance; who is first ends it.
    #[test]
    fn attempts_are_staggered() {
        let begun = RefCell::new(Vec::new());
        let attempt = |address: SocketAddr| {
            let begun = &begun;
            async move {
                begun.borrow_mut().push(address.port());
                match address.port() {
                    1 => Err(io::ErrorKind::ConnectionRefused.into()),
                    2 => std::future::pending().await,
                    port => {
                        sleep(Duration::from_millis(1)).await;
                        Ok(port)
                    }
                }
            }
        };
        let at = |ports: &[u16]| {
            let address = |&port: &u16| SocketAddr::from(([127, 0, 0, 1], port));
            ports.iter().map(address).collect::<Vec<_>>()
        };
        crate::block_on(async {
            assert_eq!(race(at(&[1, 1, 3, 4]), attempt).await.unwrap(), 3);
            assert_eq!(begun.take(), [1, 1, 3]);
            assert_eq!(race(at(&[2, 3]), attempt).await.unwrap(), 3);
            assert_eq!(begun.take(), [2, 3]);
            let error = race(at(&[1, 1]), attempt).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let error = race(at(&[]), attempt).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    }
}
