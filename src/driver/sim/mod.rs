//! The simulated kernel.

#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the kernel that calls it is not here yet")
)]
pub(crate) mod disk;
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the kernel that calls it is not here yet")
)]
pub(crate) mod rng;
