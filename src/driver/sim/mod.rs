//! The simulated kernel.

#[allow(
    dead_code,
    reason = "its caller, the simulated kernel, is built on top of it"
)]
pub(crate) mod net;
pub(crate) mod rng;
