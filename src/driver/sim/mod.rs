//! The simulated kernel.

#[allow(dead_code)]
pub(crate) mod disk;
#[allow(dead_code)]
pub(crate) mod net;
pub(crate) mod rng;
