//! A request to end, which whoever is asked can see, wait for, and answer in its own time.
//!
//! Rules
//! 1. Tokens form a tree. A child knows its parent and keeps it; the parent knows its children
//!    without keeping them. Cancelling goes down the tree, never up.
//! 2. Requests are counted, each once for a token and once for each of its descendants. Each takes
//!    back what it was asked for itself alone: taking back goes neither down nor up.
//! 3. One lock a token, and never two at a time: cancelling takes what a token has under its lock,
//!    and goes on to the children without it.
//! 4. Wakers are woken and dropped when nothing is locked. Only a token without a request has any;
//!    the first request takes them out and begins another round, by which a waiter knows that its
//!    place is no longer its own.
//!
//! ```text
//!   cancel: lock, count; the first: take the wakers; unlock, wake; then each child the same
//!   uncancel: lock, count down, unlock
//!   child_token: lock, enter the child, which is born with as many requests, unlock
//! ```

use super::{Note, Wait};
use crate::threads::{Mutex, MutexGuard};
use slab::Slab;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// Asks whatever looks at it to end. Clones are the same token; it may go to any thread.
///
/// Nothing is ended by force: a request reaches code that waits for [`cancelled`](Self::cancelled),
/// runs within [`run_until_cancelled`](Self::run_until_cancelled) or asks
/// [`is_cancelled`](Self::is_cancelled). That code may clean up first, end later, or refuse.
///
/// # Examples
/// ```no_run
/// use corering::task::CancellationToken;
/// use corering::time::sleep;
/// use std::time::Duration;
///
/// corering::block_on(async {
///     let all = CancellationToken::new();
///     let one = all.child_token();
///     let worker = corering::spawn(async move {
///         let mut rounds = 0;
///         while one.run_until_cancelled(sleep(Duration::from_millis(1))).await.is_some() {
///             rounds += 1;
///         }
///         rounds // here it would clean up, awaiting what it needs
///     });
///     sleep(Duration::from_millis(20)).await;
///     all.cancel();
///     assert!(worker.await.unwrap() > 0);
/// });
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

struct Node {
    /// The parent, and this node's key among its children.
    parent: Option<(Arc<Node>, usize)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests that were not taken back.
    requests: usize,
    waiting: Slab<Waker>,
    /// How often the wakers were taken out.
    round: u64,
    children: Slab<Weak<Node>>,
}

impl CancellationToken {
    /// A token without a parent.
    #[must_use]
    pub fn new() -> CancellationToken {
        CancellationToken::with(None, 0)
    }

    fn with(parent: Option<(Arc<Node>, usize)>, requests: usize) -> CancellationToken {
        let state = State {
            requests,
            ..State::default()
        };
        CancellationToken {
            node: Arc::new(Node {
                parent,
                state: Mutex::new(state),
            }),
        }
    }

    /// A token that is cancelled with this one, and can be cancelled without it. It begins with as
    /// many requests as this one has.
    #[must_use]
    pub fn child_token(&self) -> CancellationToken {
        let mut state = self.node.lock();
        let requests = state.requests;
        let entry = state.children.vacant_entry();
        let child = CancellationToken::with(Some((self.node.clone(), entry.key())), requests);
        entry.insert(Arc::downgrade(&child.node));
        child
    }

    /// Cancels this token and all that descend from it. Each counts the request, so that it can be
    /// taken [back](Self::uncancel); a token that is cancelled already is not woken again.
    pub fn cancel(&self) {
        let mut next = vec![self.node.clone()];
        let mut woken = Vec::new();
        while let Some(node) = next.pop() {
            let mut state = node.lock();
            state.requests = state.requests.saturating_add(1);
            if state.requests == 1 {
                state.round += 1;
                woken.extend(state.waiting.drain());
            }
            let children: Vec<_> = state
                .children
                .iter()
                .map(|(_, child)| child.clone())
                .collect();
            drop(state);
            // In the order in which they were made, with `pop` above.
            next.extend(children.iter().rev().filter_map(Weak::upgrade));
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether this token, or one that it descends from, was cancelled, and that was not taken
    /// [back](Self::uncancel).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelling() > 0
    }

    /// How many requests this token has that were not taken back: its own, and those of the tokens
    /// that it descends from.
    #[must_use]
    pub fn cancelling(&self) -> usize {
        self.node.lock().requests
    }

    /// Takes one request to this token back, and says how many are left. With the last one it is as
    /// if it had never been cancelled: [`cancelled`](Self::cancelled) waits for the next request,
    /// also where it was waiting and has not yet looked at the one that is gone.
    ///
    /// This token alone goes on: those that descend from it stay asked, as does the one that it
    /// descends from. Without any request it does nothing.
    ///
    /// ```
    /// use corering::task::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let child = token.child_token();
    /// token.cancel();
    /// token.cancel();
    /// assert_eq!((token.uncancel(), token.is_cancelled()), (1, true));
    /// assert_eq!((token.uncancel(), token.is_cancelled()), (0, false));
    /// assert_eq!(child.cancelling(), 2);
    /// ```
    pub fn uncancel(&self) -> usize {
        let mut state = self.node.lock();
        state.requests = state.requests.saturating_sub(1);
        state.requests
    }

    /// Waits until this token is cancelled.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            node: Some(self.node.clone()),
            place: None,
            note: Note::default(),
        }
    }

    /// Runs `future` until the token is cancelled: `None` then, and the future is dropped. A token
    /// that is cancelled already does not poll the future at all.
    ///
    /// # Cancel safety
    /// As the future's own: dropping it drops the future.
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        run_until(self.cancelled(), future).await
    }

    /// Cancels the token when the guard is dropped.
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

/// Runs `future` until `cancelled` is ready.
pub(super) async fn run_until<F: Future>(mut cancelled: Cancelled, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if Pin::new(&mut cancelled).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

impl Default for CancellationToken {
    fn default() -> CancellationToken {
        CancellationToken::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken")
            .field("cancelling", &self.cancelling())
            .finish()
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A foreign waker's `clone` may panic under the lock; the state is whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Step by step: a long line of tokens, each the child of the last, would otherwise take a
        // stack frame each.
        let mut next = self.parent.take();
        while let Some((parent, key)) = next {
            let child = parent.lock().children.try_remove(key);
            drop(child);
            next = Arc::into_inner(parent).and_then(|mut node| node.parent.take());
        }
    }
}

/// The future of [`CancellationToken::cancelled`].
///
/// # Cancel safety
/// Safe: nothing is consumed.
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// use corering::task::{Cancelled, CancellationToken};
///
/// let token = CancellationToken::new();
/// let cancelled: Cancelled = token.cancelled();
/// token.cancel();
/// cancelled.await;
/// # });
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled {
    /// The token; `None` for what is never cancelled.
    node: Option<Arc<Node>>,
    /// Where its waker stands, and in which round.
    place: Option<(usize, u64)>,
    note: Note,
}

impl Cancelled {
    /// Never ready.
    pub(super) fn never() -> Cancelled {
        Cancelled {
            node: None,
            place: None,
            note: Note::default(),
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(node) = &this.node else {
            return Poll::Pending;
        };
        let mut state = node.lock();
        if state.requests > 0 {
            this.place = None;
            drop(state);
            this.note.clear();
            return Poll::Ready(());
        }
        let round = state.round;
        let old = match this.place {
            Some((key, then)) if then == round => match &mut state.waiting[key] {
                waker if waker.will_wake(cx.waker()) => None,
                waker => Some(std::mem::replace(waker, cx.waker().clone())),
            },
            _ => {
                let key = state.waiting.insert(cx.waker().clone());
                this.place = Some((key, round));
                None
            }
        };
        drop(state);
        drop(old);
        let what = |_| Wait::plain("task::CancellationToken::cancelled");
        this.note.set(what, 0);
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        let (Some(node), Some((key, round))) = (&self.node, self.place) else {
            return;
        };
        let mut state = node.lock();
        // In another round the place is somebody else's.
        let waker = match state.round == round {
            true => state.waiting.try_remove(key),
            false => None,
        };
        drop(state);
        drop(waker);
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").finish_non_exhaustive()
    }
}

/// Cancels its token when it is dropped; made by [`CancellationToken::drop_guard`].
///
/// # Examples
/// ```
/// use corering::task::{CancellationToken, DropGuard};
///
/// let token = CancellationToken::new();
/// let guard: DropGuard = token.clone().drop_guard();
/// drop(guard);
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "the token is cancelled as soon as the guard is dropped"]
pub struct DropGuard {
    /// Taken out by `disarm`.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// The token, which is not cancelled.
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only `disarm` takes the token")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
