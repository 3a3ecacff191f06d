//! The plain system calls that find out what a machine allows: for the diagnosis and the doctor.
//!
//! None of them is on a path of the runtime. They go to the kernel directly, past the io-uring
//! crate, because what is asked is whether each call by itself gets through.

use super::sys;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The capability with which the sysctl's value 1 lets a process pass.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// Enough for any try; a page of memory.
const TRY_ENTRIES: u32 = 4;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_PROBE: u32 = 8;
/// No descriptor has this number; -1 would mean "no ring" to `io_uring_register`.
const NO_RING: i32 = -2;

/// What came of trying one system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel answered it itself.
    #[default]
    Works,
    /// It never got that far, or the kernel turned it down: the errno.
    Refused(i32),
}

/// The three system calls of io_uring, each tried by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) setup: Answer,
    pub(crate) enter: Answer,
    pub(crate) register: Answer,
}

/// One of the three system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Setup,
    Enter,
    Register,
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Call::Setup => "io_uring_setup",
            Call::Enter => "io_uring_enter",
            Call::Register => "io_uring_register",
        }
    }

    pub(crate) fn is_setup(self) -> bool {
        self == Call::Setup
    }
}

impl Calls {
    pub(crate) fn each(&self) -> [(Call, Answer); 3] {
        [
            (Call::Setup, self.setup),
            (Call::Enter, self.enter),
            (Call::Register, self.register),
        ]
    }

    /// Those that somebody forbids; a lack of memory or descriptors forbids nothing.
    pub(crate) fn refused(&self) -> impl Iterator<Item = Call> {
        let is_refused = |(call, answer)| match answer {
            Answer::Refused(libc::EPERM | libc::EACCES | libc::ENOSYS) => Some(call),
            _ => None,
        };
        self.each().into_iter().filter_map(is_refused)
    }
}

/// Tries each of the three calls once.
pub(crate) fn calls() -> Calls {
    let ring = setup(0);
    let on = ring.as_ref().map_or(NO_RING, |ring| ring.fd.as_raw_fd());
    let (no_wait, nothing) = (ENTER_GETEVENTS, std::ptr::null::<u8>());
    // SAFETY: submits nothing, waits for nothing, and names no memory.
    let enter = unsafe { libc::syscall(libc::SYS_io_uring_enter, on, 0, 0, no_wait, nothing, 0) };
    let enter = answer(enter);
    // SAFETY: a probe of no operations; there is no ring of this number, so nothing is read.
    let register = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            NO_RING,
            REGISTER_PROBE,
            nothing,
            0,
        )
    };
    let register = answer(register);
    Calls {
        setup: match ring {
            Ok(_) => Answer::Works,
            Err(error) => Answer::Refused(error.raw_os_error().unwrap_or(libc::EIO)),
        },
        enter,
        register,
    }
}

/// A descriptor that is none is the kernel's own complaint: the call got through.
fn answer(result: libc::c_long) -> Answer {
    if result >= 0 {
        return Answer::Works;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EBADF) | None => Answer::Works,
        Some(errno) => Answer::Refused(errno),
    }
}

/// The kernel's `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq_off: [u64; 5],
    cq_off: [u64; 5],
}

const _: () = assert!(size_of::<Params>() == 120);

/// A ring made for a try.
pub(crate) struct TryRing {
    fd: OwnedFd,
}

/// `io_uring_setup(2)` of a very small ring with these flags.
pub(crate) fn setup(flags: u32) -> io::Result<TryRing> {
    let mut params = Params {
        flags,
        cq_entries: 2 * TRY_ENTRIES,
        ..Params::default()
    };
    let arg = std::ptr::from_mut(&mut params);
    // SAFETY: the kernel reads and writes one `Params` during the call.
    let raw = unsafe { libc::syscall(libc::SYS_io_uring_setup, TRY_ENTRIES, arg) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw as i32) };
    Ok(TryRing { fd })
}

/// Whether this thread has a capability in effect on the whole machine: the root of a user
/// namespace has it there only.
pub(crate) fn has_capability(capability: u32) -> bool {
    /// The kernel's `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let mut data = [[0u32; 3]; 2];
    let (head, to) = (header.as_ptr(), data.as_mut_ptr());
    // SAFETY: the kernel reads a header of two words and writes two sets of three words.
    let result = unsafe { libc::syscall(libc::SYS_capget, head, to) };
    let word = data[capability as usize / 32][0];
    result == 0 && word & (1 << (capability % 32)) != 0 && !is_in_user_namespace()
}

/// The first namespace maps every number to itself.
fn is_in_user_namespace() -> bool {
    let map = sys::read_kernel_file("/proc/self/uid_map");
    map.is_some_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether this process runs in the group, as its own or as a further one.
pub(crate) fn is_in_group(group: i64) -> bool {
    let Ok(group) = libc::gid_t::try_from(group) else {
        return false;
    };
    // SAFETY: reads a number.
    if unsafe { libc::getegid() } == group {
        return true;
    }
    // SAFETY: asks for the number of groups only.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the kernel writes at most `count` groups.
    let count = unsafe { libc::getgroups(count.max(0), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups.contains(&group)
}

/// `prctl(PR_GET_SECCOMP)`: how this thread is filtered, where there is no `/proc` to ask.
pub(crate) fn seccomp_mode() -> Option<u32> {
    // SAFETY: reads a number.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    u32::try_from(mode).ok()
}

/// Whether there is something of this name; it walks a path of the machine's own.
pub(crate) fn exists(path: &str) -> bool {
    std::path::Path::new(path).exists()
}
