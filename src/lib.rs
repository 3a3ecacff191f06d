//! corering.

pub mod sync;
#[allow(unsafe_code)]
#[allow(dead_code, unused_imports, reason = "the runtime uses them")]
pub mod task;

pub use task::{spawn, yield_now};
