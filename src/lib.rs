//! corering.
#[allow(unsafe_code)]
pub mod buf;
#[allow(unsafe_code)]
mod driver;
#[allow(unsafe_code)]
mod op;
pub use driver::refusal::{BuildError, BuildErrorKind};
