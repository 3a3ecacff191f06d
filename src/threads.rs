//! What threads share: atomics, locks and fences, in one place, so that a model can replace them.
//!
//! They are std's. In the unit tests of a build with `--cfg loom` they are loom's, which tries
//! every order in which threads can run and every value that an atomic may show them: `models/`
//! runs the inbox, the bell, task references, join handles and channels that way (`scripts/loom`).
//!
//! loom takes sequential consistency of a load or a store for less than it is, so a protocol that
//! needs it writes an exchange on both sides, or a fence, and says so.
//!
//! `Arc` is std's in both: what is modelled is what an `Arc` is shared for.

#[cfg(not(all(test, loom)))]
pub(crate) use std::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    sync::{Mutex, MutexGuard},
    thread_local as per_thread,
};

#[cfg(all(test, loom))]
pub(crate) use loom::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence},
    sync::{Mutex, MutexGuard},
};

/// loom's, which has each of its threads begin with a value of its own, but knows no `const`.
#[cfg(all(test, loom))]
macro_rules! per_thread {
    ($(#[$meta:meta])* static $name:ident: $type:ty = const { $init:expr };) => {
        loom::thread_local! { $(#[$meta])* static $name: $type = $init; }
    };
}

#[cfg(all(test, loom))]
pub(crate) use per_thread;
