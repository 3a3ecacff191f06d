//! One value from one task to another of the same core, without atomics: a bare future. The rules
//! stand in `sync/once.rs`.

use crate::sync::once::{State, oneshot_ends};
pub use crate::sync::oneshot::{RecvError, TryRecvError};
use crate::sync::waiters;
use crate::task::{Wait, What};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// Makes a channel for one value, for the tasks of one core.
///
/// Between cores it is [`corering::sync::oneshot`](crate::sync::oneshot()).
///
/// # Examples
/// ```
/// # futures::executor::block_on(async {
/// let (sender, receiver) = corering::sync::local::oneshot::channel();
/// sender.send(5).unwrap();
/// assert_eq!(receiver.await, Ok(5));
/// # });
/// ```
#[must_use = "an end that is dropped closes the channel"]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    ends(Shared(RefCell::new(State::new())))
}

struct Shared<T>(RefCell<State<T>>);

impl<T> Shared<T> {
    fn state(&self) -> RefMut<'_, State<T>> {
        self.0.borrow_mut()
    }
}

oneshot_ends!(Rc, "sync::local::oneshot", "channel");
