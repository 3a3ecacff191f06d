//! Several tasks that wait for one operation of a resource.
//!
//! The operation wakes the last one that polled. Whoever polled before is remembered here, and
//! woken when one that waited leaves: with the result, or because its future was dropped.

use std::cell::RefCell;
use std::task::Waker;

/// Who waits. Apart from the operation, which is borrowed while wakers are replaced and dropped:
/// the destructor of one may end another's wait.
#[derive(Debug, Default)]
pub(super) struct Waiters(RefCell<List>);

#[derive(Debug, Default)]
struct List {
    /// The one whose waker the operation has.
    last: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiters {
    /// The place of one that may have to wait.
    pub(super) fn place(&self) -> Waiting<'_> {
        Waiting {
            waiters: self,
            own: None,
        }
    }
}

/// One that waits; dropped, it waits no longer.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    waiters: &'a Waiters,
    /// The waker with which it waits.
    own: Option<Waker>,
}

impl Waiting<'_> {
    /// It has polled the operation, with this waker, and found nothing.
    pub(super) fn wait(&mut self, waker: &Waker) {
        let (own, last) = (waker.clone(), waker.clone());
        let unneeded = {
            let mut list = self.waiters.0.borrow_mut();
            let replaced = list.last.replace(last);
            let known = |other: &Waker| {
                own.will_wake(other) || list.others.iter().any(|known| known.will_wake(other))
            };
            match replaced {
                Some(other) if !known(&other) => {
                    list.others.push(other);
                    None
                }
                replaced => replaced,
            }
        };
        drop(unneeded);
        self.own = Some(own);
    }

    /// It waits no longer: somebody else must, for what comes next.
    pub(super) fn leave(&mut self) {
        if let Some(own) = self.own.take() {
            let List { last, others } = self.waiters.0.take();
            // Whoever polled last waits too, if that was not this one. Outside of the borrow:
            // dropping a waker may drop a future that waits here.
            let last = last.filter(|last| !last.will_wake(&own));
            others.into_iter().chain(last).for_each(Waker::wake);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
