//! The kernel's 64-byte entry, taken apart again: for who performs it in the kernel's place.

use io_uring::squeue;

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sqe {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) ioprio: u16,
    pub(super) fd: i32,
    /// Also the second address.
    pub(super) off: u64,
    pub(super) addr: u64,
    pub(super) len: u32,
    /// The flags of the operation's own kind: of `send`, `open`, `statx` and so on.
    pub(super) op_flags: u32,
    pub(super) user_data: u64,
    pub(super) buf_group: u16,
    personality: u16,
    pub(super) file_index: u32,
    addr3: u64,
    pad: u64,
}

const _: () = assert!(size_of::<Sqe>() == 64 && size_of::<squeue::Entry>() == 64);

impl Sqe {
    pub(super) fn of(entry: &squeue::Entry) -> Sqe {
        let entry: *const squeue::Entry = entry;
        // SAFETY: both are plain structs of 64 bytes in the kernel's layout, without padding.
        unsafe { entry.cast::<Sqe>().read_unaligned() }
    }
}
