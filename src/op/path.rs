//! Operations on paths: open, stat, make, rename, link, remove.
//!
//! A path travels as a boxed C string that the operation owns. A path with a NUL inside never
//! becomes an operation ([`c_path`]).

use crate::driver::Driver;
use crate::driver::fd::{Fd, Number};
use crate::driver::slot::Cqe;
use crate::driver::submit::{Op, Single};
use crate::driver::sys;
use io_uring::{opcode, squeue, types};
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
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

/// Where a relative path begins: at an open directory, or at the process's own.
fn start(dir: &Option<Fd>) -> types::Fd {
    dir.as_ref().map_or(HERE, Fd::target)
}

/// Opens a file (`openat`), always close-on-exec.
#[derive(Debug)]
pub(crate) struct OpenAt {
    pub(crate) driver: Driver,
    /// The open directory at which the path begins.
    pub(crate) dir: Option<Fd>,
    pub(crate) path: CString,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    /// Opened by a worker, which waits where `open(2)` does. Otherwise the kernel tries it at
    /// once first, as with `O_NONBLOCK`: what is a named pipe does not wait for its other end.
    pub(crate) waits: bool,
}

// SAFETY: the path's bytes live on the heap and are owned.
unsafe impl Op for OpenAt {
    fn prepare(&mut self) -> squeue::Entry {
        let entry = opcode::OpenAt::new(start(&self.dir), self.path.as_ptr())
            .flags(self.flags | libc::O_CLOEXEC)
            .mode(self.mode)
            .build();
        match self.waits {
            true => entry.flags(squeue::Flags::ASYNC),
            false => entry,
        }
    }
}

impl Single for OpenAt {
    type Output = io::Result<Fd>;

    fn complete(self, cqe: Cqe) -> io::Result<Fd> {
        new_fd(cqe, &self.driver)
    }
}

/// Makes a temporary file (`openat` with `O_EXCL`): one that nobody waits for any more when it
/// is made is removed again.
#[derive(Debug)]
pub(crate) struct OpenTemp {
    open: OpenAt,
    /// The file was made for nobody: this is its removal.
    unwanted: bool,
}

impl OpenTemp {
    /// Opens for writing.
    pub(crate) fn new(driver: &Driver, path: CString, mode: u32) -> OpenTemp {
        let open = OpenAt {
            driver: driver.clone(),
            dir: None,
            path,
            flags: libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
            mode,
            waits: false,
        };
        OpenTemp {
            open,
            unwanted: false,
        }
    }
}

// SAFETY: the path's bytes live on the heap and are owned.
unsafe impl Op for OpenTemp {
    fn prepare(&mut self) -> squeue::Entry {
        match self.unwanted {
            true => opcode::UnlinkAt::new(HERE, self.open.path.as_ptr()).build(),
            false => self.open.prepare(),
        }
    }
}

impl Single for OpenTemp {
    type Output = io::Result<Fd>;

    fn complete(self, cqe: Cqe) -> io::Result<Fd> {
        self.open.complete(cqe)
    }

    fn orphaned(mut self, cqe: Cqe) -> Option<OpenTemp> {
        if self.unwanted {
            if cqe.count().is_err() {
                // The ring does not remove it; and if a plain call cannot, nothing can be done.
                let _ = sys::unlink(&self.open.path);
            }
            return None;
        }
        drop(new_fd(cqe, &self.open.driver).ok()?);
        self.unwanted = true;
        Some(self)
    }
}

/// Removes a file, or a directory that is empty (`unlinkat`).
#[derive(Debug)]
pub(crate) struct Remove {
    /// The open directory at which the path begins.
    pub(crate) dir: Option<Fd>,
    pub(crate) path: CString,
    pub(crate) directory: bool,
    /// A drop in flight does not cancel it.
    pub(crate) detached: bool,
}

// SAFETY: the path's bytes live on the heap and are owned.
unsafe impl Op for Remove {
    fn prepare(&mut self) -> squeue::Entry {
        let flags = if self.directory {
            libc::AT_REMOVEDIR
        } else {
            0
        };
        let entry = opcode::UnlinkAt::new(start(&self.dir), self.path.as_ptr());
        entry.flags(flags).build()
    }

    fn cancel_on_drop(&self) -> bool {
        !self.detached
    }
}

impl Single for Remove {
    type Output = io::Result<()>;

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.count().map(drop)
    }
}

/// Opens a file below a directory, and refuses a path that leads out of it (`openat2` with
/// `RESOLVE_BENEATH`), always close-on-exec and without waiting for the other side of a pipe.
#[derive(Debug)]
pub(crate) struct OpenBeneath {
    dir: Fd,
    path: CString,
    how: Box<types::OpenHow>,
}

impl OpenBeneath {
    /// For reading: a file or a directory. An empty path is the directory itself.
    pub(crate) fn to_read(dir: Fd, path: CString) -> OpenBeneath {
        let path = if path.is_empty() { c".".into() } else { path };
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let how = types::OpenHow::new()
            .flags(flags as u64)
            .resolve(libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS);
        OpenBeneath {
            dir,
            path,
            how: Box::new(how),
        }
    }
}

// SAFETY: the path's bytes live on the heap, the options have their own box; both are owned.
unsafe impl Op for OpenBeneath {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::OpenAt2::new(self.dir.target(), self.path.as_ptr(), &*self.how).build()
    }
}

impl Single for OpenBeneath {
    type Output = io::Result<Fd>;

    fn complete(self, cqe: Cqe) -> io::Result<Fd> {
        new_fd(cqe, self.dir.driver())
    }
}

/// The descriptor that a completion brings. An unwanted one closes itself.
pub(super) fn new_fd(cqe: Cqe, driver: &Driver) -> io::Result<Fd> {
    let number = Number::new(cqe.count()? as i32);
    Ok(Fd::from_number(number, driver))
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
