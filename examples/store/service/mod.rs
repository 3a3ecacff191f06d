//! A small durable key-value store: the service itself, which knows nothing of simulations.
//!
//! ```text
//!   client ──TCP──► server ──► Store ──waiting──► Committer ──append, sync──► log.<generation>
//!                     ▲          │ get                │ too long, or an append has failed
//!                     │          ▼                    ▼
//!                     └──OK── table ◄──── applied   snapshot (write_atomic), the next log
//! ```
//! Promises, which `tests/store.rs` checks in simulated machines that fail:
//! 1. What was answered with `OK` is there after any crash. Nothing is there that nobody wrote.
//! 2. A read shows only what is durable. What was answered with `ERR` never appears.
//! 3. Of a request that got no answer nobody knows: it happened wholly, or will, or not at all.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the example and the test each use their part"
)]

mod client;
mod log;
mod server;
mod store;

pub use client::{Client, Error};
pub use server::serve;
pub use store::Store;
