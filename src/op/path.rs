//! Operations on paths: open, stat, make, rename, link, remove.
//!
//! A path travels as a boxed C string that the operation owns. A path with a NUL inside never
//! becomes an operation ([`c_path`]).

use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use io_uring::{opcode, squeue, types};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);
const EMPTY: &CStr = c"";

/// The path for the kernel.
///
/// # Errors
/// `InvalidInput` if it has a NUL inside: the kernel would take what stands before it.
pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        let what = format!("the path {path:?} has a NUL byte inside: no file can be named so");
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// Opens a file (`openat`), always close-on-exec.
#[derive(Debug)]
pub(crate) struct OpenAt {
    pub(crate) driver: Driver,
    pub(crate) path: CString,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
}

// SAFETY: the path's bytes live on the heap and are owned.
unsafe impl Op for OpenAt {
    fn prepare(&mut self) -> squeue::Entry {
        let flags = self.flags | libc::O_CLOEXEC;
        opcode::OpenAt::new(HERE, self.path.as_ptr())
            .flags(flags)
            .mode(self.mode)
            .build()
    }
}

impl Single for OpenAt {
    type Output = io::Result<Fd>;

    fn complete(self, cqe: Cqe) -> io::Result<Fd> {
        new_fd(cqe, &self.driver)
    }
}

/// The descriptor that a completion brings. An unwanted one closes itself.
pub(super) fn new_fd(cqe: Cqe, driver: &Driver) -> io::Result<Fd> {
    let raw = cqe.count()? as i32;
    // SAFETY: the kernel made this descriptor for this completion, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok(Fd::new(fd, driver))
}

/// Whose metadata is asked for.
#[derive(Debug)]
pub(crate) enum StatTarget {
    Path { path: CString, follow: bool },
    Fd(Fd),
}

/// Asks for metadata (`statx`).
#[derive(Debug)]
pub(crate) struct Stat {
    target: StatTarget,
    answer: Box<MaybeUninit<libc::statx>>,
}

/// What the kernel knows of a file.
pub(crate) type Metadata = Box<libc::statx>;

impl Stat {
    pub(crate) fn new(target: StatTarget) -> Stat {
        Stat {
            target,
            answer: Box::new(MaybeUninit::zeroed()),
        }
    }
}

// SAFETY: the path and the answer live on the heap and are owned; `EMPTY` is static.
unsafe impl Op for Stat {
    fn prepare(&mut self) -> squeue::Entry {
        let (dir, path, flags) = match &self.target {
            StatTarget::Path { path, follow: true } => (HERE, path.as_c_str(), 0),
            StatTarget::Path {
                path,
                follow: false,
            } => (HERE, path.as_c_str(), libc::AT_SYMLINK_NOFOLLOW),
            StatTarget::Fd(fd) => (fd.target(), EMPTY, libc::AT_EMPTY_PATH),
        };
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        let answer = self.answer.as_mut_ptr().cast();
        opcode::Statx::new(dir, path.as_ptr(), answer)
            .flags(flags)
            .mask(mask)
            .build()
    }
}

impl Single for Stat {
    type Output = io::Result<Metadata>;

    fn complete(self, cqe: Cqe) -> io::Result<Metadata> {
        cqe.count()?;
        let answer = Box::into_raw(self.answer).cast::<libc::statx>();
        // SAFETY: the box was zeroed, the kernel filled it, and it is boxed again once.
        Ok(unsafe { Box::from_raw(answer) })
    }
}

/// Defines operations on one or two paths whose answer is "done" or an error.
macro_rules! path_ops {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($field:ident: $type:ty),* } => |$op:ident| $entry:expr;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $name { $(pub(crate) $field: $type),* }

            // SAFETY: the paths' bytes live on the heap and are owned.
            unsafe impl Op for $name {
                fn prepare(&mut self) -> squeue::Entry {
                    let $op = self;
                    $entry
                }
            }

            impl Single for $name {
                type Output = io::Result<()>;

                fn complete(self, cqe: Cqe) -> io::Result<()> {
                    cqe.count().map(drop)
                }
            }
        )*
    };
}

path_ops! {
    /// Makes a directory (`mkdirat`).
    MakeDir { path: CString, mode: u32 } => |op| {
        opcode::MkDirAt::new(HERE, op.path.as_ptr()).mode(op.mode).build()
    };
    /// Removes a file, or a directory that is empty (`unlinkat`).
    Remove { path: CString, directory: bool } => |op| {
        let flags = if op.directory { libc::AT_REMOVEDIR } else { 0 };
        opcode::UnlinkAt::new(HERE, op.path.as_ptr()).flags(flags).build()
    };
    /// Renames, over what stands there (`renameat`).
    Rename { from: CString, to: CString } => |op| {
        opcode::RenameAt::new(HERE, op.from.as_ptr(), HERE, op.to.as_ptr()).build()
    };
    /// Makes a second name for a file (`linkat`).
    Link { from: CString, to: CString } => |op| {
        opcode::LinkAt::new(HERE, op.from.as_ptr(), HERE, op.to.as_ptr()).build()
    };
    /// Makes a symbolic link (`symlinkat`).
    Symlink { target: CString, link: CString } => |op| {
        opcode::SymlinkAt::new(HERE, op.target.as_ptr(), op.link.as_ptr()).build()
    };
}
