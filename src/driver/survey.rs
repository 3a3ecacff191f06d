//! The plain system calls that find out what a machine allows: for the diagnosis and the doctor.
//!
//! With them the scaffolding of the doctor's trials: files and sockets made the plain way, so
//! that each operation of the ring is tried by itself. None of this is on a path of the runtime.
//! The calls go past the io-uring crate, because what is asked is whether each of them by itself
//! gets through.

use super::{children, sys};
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The capability with which the sysctl's value 1 lets a process pass.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
/// The capability with which the kernel does not count locked memory.
pub(crate) const CAP_IPC_LOCK: u32 = 14;

/// `IORING_SETUP_..`: what the driver asks of every ring.
pub(crate) mod flag {
    pub(crate) const CQSIZE: u32 = 1 << 3;
    pub(crate) const CLAMP: u32 = 1 << 4;
    pub(crate) const SUBMIT_ALL: u32 = 1 << 7;
    pub(crate) const COOP_TASKRUN: u32 = 1 << 8;
    pub(crate) const TASKRUN_FLAG: u32 = 1 << 9;
    pub(crate) const SINGLE_ISSUER: u32 = 1 << 12;
    pub(crate) const DEFER_TASKRUN: u32 = 1 << 13;
}

/// Enough for any try; a page of memory.
const TRY_ENTRIES: u32 = 4;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_PROBE: u32 = 8;
const REGISTER_IOWQ_MAX_WORKERS: u32 = 19;
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
    /// The process that made it was ended by this signal.
    Ends(i32),
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
    pub(crate) const fn name(self) -> &'static str {
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
            Answer::Refused(libc::EPERM | libc::EACCES | libc::ENOSYS) | Answer::Ends(_) => {
                Some(call)
            }
            _ => None,
        };
        self.each().into_iter().filter_map(is_refused)
    }
}

/// Tries each of the three calls once.
pub(crate) fn calls() -> Calls {
    Calls {
        setup: try_call(Call::Setup),
        enter: try_call(Call::Enter),
        register: try_call(Call::Register),
    }
}

/// As [`calls`], each in a child process: a filter may end the process that makes the call.
pub(crate) fn calls_in_children() -> Calls {
    Calls {
        setup: try_in_child(Call::Setup),
        enter: try_in_child(Call::Enter),
        register: try_in_child(Call::Register),
    }
}

/// One call, without a ring where one can do without; it allocates nothing.
fn try_call(call: Call) -> Answer {
    let nothing = std::ptr::null::<u8>();
    match call {
        Call::Setup => match setup(0) {
            Ok(_) => Answer::Works,
            Err(error) => Answer::Refused(error.raw_os_error().unwrap_or(libc::EIO)),
        },
        Call::Enter => {
            let number = libc::SYS_io_uring_enter;
            // SAFETY: there is no ring of this number, and the call names no memory.
            answer(unsafe { libc::syscall(number, NO_RING, 0, 0, ENTER_GETEVENTS, nothing, 0) })
        }
        Call::Register => {
            let number = libc::SYS_io_uring_register;
            // SAFETY: there is no ring of this number, so no memory is read.
            answer(unsafe { libc::syscall(number, NO_RING, REGISTER_PROBE, nothing, 0) })
        }
    }
}

fn try_in_child(call: Call) -> Answer {
    // SAFETY: the child does nothing but one call that takes no lock, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = match try_call(call) {
            Answer::Refused(errno) => errno,
            _ => 0,
        };
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    if child < 0 {
        return try_call(call);
    }
    let mut status = 0;
    // SAFETY: the kernel writes one number.
    while unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            // Somebody else has taken the child's end in, and with it the answer.
            return Answer::Works;
        }
    }
    if libc::WIFSIGNALED(status) {
        return Answer::Ends(libc::WTERMSIG(status));
    }
    match libc::WEXITSTATUS(status) {
        0 => Answer::Works,
        errno => Answer::Refused(errno),
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

impl TryRing {
    /// `IORING_REGISTER_PROBE`: asks which operations there are, of none.
    pub(crate) fn probe(&self) -> io::Result<()> {
        let mut answer = [0u64; 2];
        self.register(REGISTER_PROBE, answer.as_mut_ptr().cast(), 0)
    }

    /// `IORING_REGISTER_IOWQ_MAX_WORKERS`: asks for the bounds, and changes none.
    pub(crate) fn workers(&self) -> io::Result<()> {
        let mut bounds = [0u32; 2];
        self.register(REGISTER_IOWQ_MAX_WORKERS, bounds.as_mut_ptr().cast(), 2)
    }

    fn register(&self, opcode: u32, arg: *mut u8, count: u32) -> io::Result<()> {
        let (number, ring) = (libc::SYS_io_uring_register, self.fd.as_raw_fd());
        // SAFETY: both callers lend as much memory as the kernel writes for this opcode.
        let result = unsafe { libc::syscall(number, ring, opcode, arg, count) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
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

/// The limit on descriptors: soft and hard.
pub(crate) fn descriptor_limit() -> (u64, u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

/// A directory of its own, which is removed with all that was made in it through this.
///
/// It remembers the names and removes them one by one: to look into a directory takes a
/// descriptor, and the last one may be gone.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
    names: RefCell<Vec<PathBuf>>,
}

impl TempDir {
    /// In the first of the usual places that takes one.
    ///
    /// # Errors
    /// What the first place said, which is the one that a user can choose (`TMPDIR`).
    pub(crate) fn new() -> io::Result<TempDir> {
        let name = format!("corering-doctor-{:016x}", sys::random_u64());
        let first = std::env::temp_dir();
        let mut result = make_dir(first.join(&name));
        for place in ["/dev/shm", "/var/tmp"] {
            if result.is_err() {
                result = make_dir(Path::new(place).join(&name)).or(result);
            }
        }
        result
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of this name with these bytes.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.free(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// A directory of this name.
    pub(crate) fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.free(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// The path of a name that nothing has.
    pub(crate) fn free(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        self.names.borrow_mut().push(path.clone());
        path
    }
}

fn make_dir(path: PathBuf) -> io::Result<TempDir> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(TempDir {
        path,
        names: RefCell::default(),
    })
}

impl Drop for TempDir {
    fn drop(&mut self) {
        for path in self.names.take() {
            // Not every name was used, and what cannot be removed stays.
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// What is in a file.
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The file, open for reading and writing.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).open(path).map(OwnedFd::from)
}

/// The directory, open for reading.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    std::fs::File::open(path).map(OwnedFd::from)
}

/// A listener on loopback.
pub(crate) fn listener() -> io::Result<(OwnedFd, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener.into(), address))
}

/// A connection to an address of this machine.
pub(crate) fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    TcpStream::connect(address).map(OwnedFd::from)
}

/// Both ends of a connection over loopback.
pub(crate) fn tcp_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((client.into(), server.into()))
}

/// Both ends of a connection that needs no network.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    UnixStream::pair().map(|(one, other)| (one.into(), other.into()))
}

/// A child that ends at once, with this code: its number and its descriptor.
pub(crate) fn child(code: i32) -> io::Result<(u32, OwnedFd)> {
    // SAFETY: the child does nothing but end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(code) };
    }
    let pid = u32::try_from(child).map_err(|_| io::Error::last_os_error())?;
    match children::pidfd_open(pid) {
        Ok(pidfd) => Ok((pid, pidfd)),
        Err(error) => {
            children::leave(pid);
            Err(error)
        }
    }
}

/// Whether there is something of this name; it walks a path of the machine's own.
pub(crate) fn exists(path: &str) -> bool {
    std::path::Path::new(path).exists()
}
