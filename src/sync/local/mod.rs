//! Channels between the tasks of one core: no lock, no atomics.
//!
//! | what | senders | receivers | who gets a value |
//! |---|---|---|---|
//! | [`mpsc`] | many | one | the receiver; senders wait for room, or there is no limit |
//! | [`oneshot`] | one | one | the receiver, once |
//! | [`broadcast`] | many | many | each receiver; who is too slow learns how many it missed |
//! | [`watch`] | many | many | each receiver that looks, the newest one |
//!
//! The compiler keeps their ends on their core: they are `!Send`. Between cores there are
//! [`sync::channel`](super::channel()) and [`sync::oneshot`](super::oneshot()).

pub mod broadcast;
pub mod mpsc;
pub mod oneshot;
pub mod watch;
