//! Files and directories, by the ring: nothing here waits in a thread of ours.
//!
//! Names are those of `std::fs`. What differs follows from completion-based input and output:
//! buffers are given to an operation and come back with its result ([`BufResult`]), and dropping
//! a future does not undo an operation that the kernel has begun.
//!
//! | for | take |
//! |---|---|
//! | a whole file | [`read`], [`write()`], [`write_atomic`], [`copy`] |
//! | a file from one end to the other | [`FileReader`], [`FileWriter`] |
//! | parts of a file, several at once | [`File`] |
//! | names | [`metadata`], [`rename`], [`create_dir_all`], [`read_dir`] and so on |
//!
//! The kernel performs writes, syncs and what walks a path in workers of its own (`iou-wrk-..`),
//! and reads from the page cache at once. A few calls that the ring does not have are made
//! directly: `getdents64`, `readlink`, `chmod`, `utimes`, `flock`, `lseek`. Those that walk a path
//! do so after the ring has walked it, so that it is in memory.
//!
//! Errors are the kernel's, with their number ([`raw_os_error`](std::io::Error::raw_os_error)),
//! except where the text says otherwise. A path with a NUL inside is `InvalidInput`, and nothing
//! is asked of the kernel. All functions panic outside of a runtime.
//!
//! [`BufResult`]: crate::buf::BufResult

mod atomic;
mod dir;
mod durable;
mod file;
mod metadata;
mod open_options;
mod path;
mod reader;
mod root;
mod send_file;
#[cfg(feature = "http")]
mod stand_in;
mod submit;
mod whole;
mod writer;

pub use crate::driver::sys::Permissions;
pub use atomic::write_atomic;
pub use dir::{
    DirBuilder, DirEntry, ReadDir, create_dir, create_dir_all, read_dir, remove_dir, remove_dir_all,
};
pub use file::File;
pub use metadata::{FileTimes, FileType, Metadata};
pub use open_options::OpenOptions;
pub use path::{
    canonicalize, hard_link, metadata, read_link, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists,
};
pub use reader::FileReader;
pub use root::Root;
pub use send_file::send_file;
#[cfg(feature = "http")]
pub(crate) use stand_in::STAND_IN_BYTES_MAX;
pub use whole::{copy, read, read_to_string, write};
pub use writer::FileWriter;
