//! corering.

#[allow(unsafe_code)]
#[cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "the runtime uses them")
)]
pub mod task;

pub use task::{spawn, yield_now};
