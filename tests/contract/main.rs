//! The contract, case by case: the same body on the real ring and in the simulation.
//!
//! On the real ring a case runs in a child process, once, with many rounds; in the simulation it
//! runs for many seeds, each with faults of its own, with few rounds. The letters are those of
//! the catalogue of cases: A memory, B queues, C cancellation, D descriptors, E life cycle,
//! F timers, G sockets, H files, I limits, K secrets, L models.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    clippy::mem_forget,
    reason = "tests look from outside, and do what programs should not"
)]

#[path = "../harness/mod.rs"]
mod harness;

#[macro_use]
mod world;

mod cancellation;
mod files;
mod memory;
mod program;
mod queues;
#[cfg(feature = "sim")]
mod simulated;
mod sockets;
mod tasks;
mod waiters;
