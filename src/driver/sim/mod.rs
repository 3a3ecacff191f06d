//! The simulated kernel.

#[cfg_attr(
    not(test),
    allow(dead_code, reason = "the kernel that calls it is not here yet")
)]
pub(crate) mod disk;
#[allow(dead_code, reason = "the kernel that asks it is not here yet")]
pub(crate) mod rng;
