//! The simulated kernel.

pub(crate) mod rng;
