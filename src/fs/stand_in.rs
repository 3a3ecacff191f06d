//! Stand-ins for what the kernel has in memory of a file.

use super::File;
use crate::driver::stand_in::{self, StandIn};
use crate::driver::sys;

pub(crate) use crate::driver::stand_in::STAND_IN_BYTES_MAX;

impl File {
    /// Bytes that stand for `len` bytes of the file from `at` on, 1 up to [`STAND_IN_BYTES_MAX`]
    /// of them; `None` unless the kernel has them all in memory, and says so.
    pub(crate) fn stand_in(&self, at: u64, len: usize) -> Option<StandIn> {
        match sys::is_cached(self.fd(), at, len) {
            true => stand_in::make(self.fd(), at, len),
            false => None,
        }
    }
}
