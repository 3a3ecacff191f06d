//! corering.

#[allow(unsafe_code)]
pub mod buf;
#[allow(unsafe_code)]
mod driver;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "hyper")]
pub mod hyper_rt;
pub mod net;
#[allow(unsafe_code)]
mod op;
mod runtime;
#[cfg(feature = "signal")]
pub mod signal;
pub mod sync;
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
pub use task::{JoinError, JoinHandle, spawn, yield_now};
