//! corering.
#[allow(unsafe_code)]
pub mod buf;
#[allow(unsafe_code)]
mod driver;
#[allow(unsafe_code)]
mod op;
mod runtime;
#[allow(unsafe_code)]
pub mod task;
pub mod time;
pub use driver::refusal::{BuildError, BuildErrorKind};
pub use runtime::{
    Builder, Handle, Metrics, Runtime, ShutdownReport, block_on, core_id, is_stopping, spawn_on,
    stopping,
};
pub use task::{JoinError, JoinHandle, spawn};
