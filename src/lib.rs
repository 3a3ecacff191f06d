//! corering.

#[cfg(feature = "http")]
pub mod http;
