//! A request to end, which whoever is asked can see, wait for, and answer in its own time.
//!
//! Rules
//! 1. Tokens form a tree. A child knows its parent and keeps it; the parent knows its children
//!    without keeping them. Cancelling goes down the tree, never up.
//! 2. One lock a token, and never two at a time: cancelling takes what a token has under its lock,
//!    and goes on to the children without it.
//! 3. Wakers are woken and dropped when nothing is locked.
//!
//! ```text
//!   cancel: lock, mark, take wakers and children, unlock, wake; then each child the same
//!   child_token: lock, marked? then the child is born cancelled, else it is entered, unlock
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
    cancelled: bool,
    waiting: Slab<Waker>,
    children: Slab<Weak<Node>>,
}

impl CancellationToken {
    /// A token without a parent.
    #[must_use]
    pub fn new() -> CancellationToken {
        CancellationToken::with(None, false)
    }

    fn with(parent: Option<(Arc<Node>, usize)>, cancelled: bool) -> CancellationToken {
        let state = State {
            cancelled,
            ..State::default()
        };
        CancellationToken {
            node: Arc::new(Node {
                parent,
                state: Mutex::new(state),
            }),
        }
    }

    /// A token that is cancelled with this one, and can be cancelled without it.
    #[must_use]
    pub fn child_token(&self) -> CancellationToken {
        let mut state = self.node.lock();
        if state.cancelled {
            drop(state);
            return CancellationToken::with(None, true);
        }
        let entry = state.children.vacant_entry();
        let child = CancellationToken::with(Some((self.node.clone(), entry.key())), false);
        entry.insert(Arc::downgrade(&child.node));
        child
    }

    /// Cancels this token and all that descend from it; again, it does nothing.
    pub fn cancel(&self) {
        let mut next = vec![self.node.clone()];
        let mut woken = Vec::new();
        while let Some(node) = next.pop() {
            let mut state = node.lock();
            if std::mem::replace(&mut state.cancelled, true) {
                continue;
            }
            woken.extend(state.waiting.drain());
            // In the order in which they were made, with `pop` above.
            let mut children: Vec<_> = state.children.drain().collect();
            drop(state);
            children.reverse();
            next.extend(children.iter().filter_map(Weak::upgrade));
        }
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether this token, or one that it descends from, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.lock().cancelled
    }

    /// Waits until this token is cancelled.
    ///
    /// # Cancel safety
    /// Safe: nothing is consumed.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            node: Some(self.node.clone()),
            key: None,
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
            .field("cancelled", &self.is_cancelled())
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
            // A cancelled parent has let its children go.
            drop(parent.lock().children.try_remove(key));
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
    /// Where its waker stands.
    key: Option<usize>,
    note: Note,
}

impl Cancelled {
    /// Never ready.
    pub(super) fn never() -> Cancelled {
        Cancelled {
            node: None,
            key: None,
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
        if state.cancelled {
            this.key = None;
            drop(state);
            this.note.clear();
            return Poll::Ready(());
        }
        let old = match this.key {
            None => {
                this.key = Some(state.waiting.insert(cx.waker().clone()));
                None
            }
            Some(key) if state.waiting[key].will_wake(cx.waker()) => None,
            Some(key) => Some(std::mem::replace(
                &mut state.waiting[key],
                cx.waker().clone(),
            )),
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
        let (Some(node), Some(key)) = (&self.node, self.key) else {
            return;
        };
        // A cancelled token has let its wakers go.
        let waker = node.lock().waiting.try_remove(key);
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
