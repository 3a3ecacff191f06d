//! The simulated kernel.

#![allow(
    dead_code,
    reason = "what calls these parts, the kernel itself, is built on top of them"
)]

pub(crate) mod net;
pub(crate) mod rng;
