//! What a core lends out up to a limit: bytes that are in use, and how often there were no more.

use std::cell::Cell;
use std::rc::Rc;

/// One limit of a core.
#[derive(Debug)]
pub(crate) struct Account {
    bytes: Cell<u64>,
    bytes_max: u64,
    refusals: Cell<u64>,
}

impl Account {
    pub(super) fn new(bytes_max: u64) -> Rc<Account> {
        Rc::new(Account {
            bytes: Cell::new(0),
            bytes_max,
            refusals: Cell::new(0),
        })
    }

    /// Bytes that are lent, now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How often the limit did not allow any more.
    pub(super) fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    /// Lends so many bytes, or counts that it cannot.
    pub(crate) fn lend(self: &Rc<Account>, bytes: usize) -> Option<Lent> {
        if self.bytes.get().saturating_add(bytes as u64) > self.bytes_max {
            self.refusals.set(self.refusals.get() + 1);
            return None;
        }
        Some(self.lend_anyway(bytes))
    }

    /// Lends so many bytes for a moment, past the limit if need be.
    pub(crate) fn lend_anyway(self: &Rc<Account>, bytes: usize) -> Lent {
        let bytes = bytes as u64;
        self.bytes.set(self.bytes.get() + bytes);
        Lent {
            account: self.clone(),
            bytes,
        }
    }
}

/// Bytes that are counted as lent until this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    account: Rc<Account>,
    bytes: u64,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let account = &self.account;
        account.bytes.set(account.bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_comes_back() {
        let account = Account::new(10);
        let first = account.lend(6).expect("there is room");
        assert!(account.lend(5).is_none());
        let second = account.lend(4).expect("there is just room");
        let third = account.lend_anyway(100);
        assert_eq!((account.bytes(), account.refusals()), (110, 1));
        drop((first, third));
        assert!(account.lend(6).is_some());
        drop(second);
        assert_eq!(account.bytes(), 0);
    }
}
