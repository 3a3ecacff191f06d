//! What is current on this thread: a value in a thread-local, for as long as a guard lives.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Where a thread keeps what is current.
type Place<T> = &'static LocalKey<RefCell<Option<T>>>;

/// Makes a value the thread's current one until it is dropped; then the one before is again.
///
/// A thread that ends may have no thread-locals any more, and its runtime still goes: then
/// nothing is current, and nothing is put back.
pub(crate) struct EnterGuard<T: 'static> {
    place: Place<T>,
    previous: Option<T>,
}

impl<T> EnterGuard<T> {
    pub(crate) fn new(place: Place<T>, value: T) -> EnterGuard<T> {
        let previous = place.try_with(|current| current.replace(Some(value)));
        EnterGuard {
            place,
            previous: previous.unwrap_or_default(),
        }
    }
}

impl<T> Drop for EnterGuard<T> {
    fn drop(&mut self) {
        let previous = self.previous.take();
        let _ = self.place.try_with(|current| current.replace(previous));
    }
}
