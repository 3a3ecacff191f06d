//! corering.

#[allow(unsafe_code)]
pub mod buf;
#[allow(unsafe_code)]
mod driver;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
#[allow(unsafe_code)]
mod op;
mod runtime;
#[allow(unsafe_code)]
pub mod task;
pub mod time;

#[cfg(feature = "macros")]
pub use corering_macros::{main, test};
pub use driver::refusal::{BuildError, BuildErrorKind};
pub use runtime::{
    Builder, Handle, Metrics, Runtime, ShutdownReport, block_on, core_id, is_stopping, spawn_on,
    stopping,
};
pub use task::{JoinError, JoinHandle, spawn};
