//! The plain system calls: what has no entry in the ring, or is cheaper without one.
//!
//! They are part of the seam: nothing above `driver/` calls libc, `std::fs`, `std::net` or reads
//! a clock, so a simulated kernel has one place to answer from. None of them waits for a peer or
//! a disk's data; those that walk a path say so.

use super::fd::{Fd, Number};
#[cfg(feature = "sim")]
use super::sim;
use socket2::{SockAddr, SockRef};
use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::time::Duration;

/// The standard library's file: a type that crosses the seam, and does nothing here.
pub(crate) use std::fs::File as StdFile;
/// The standard library's permissions, which the crate's own are.
pub use std::fs::Permissions;

/// Options of UDP sockets, which are control data too.
pub(crate) const SOL_UDP: libc::c_int = libc::SOL_UDP;
pub(crate) const UDP_SEGMENT: libc::c_int = 103;
pub(crate) const UDP_GRO: libc::c_int = 104;

/// Counters of a socket, and the place of the dropped datagrams among them.
const SO_MEMINFO: libc::c_int = 55;
const MEMINFO_DROPS: usize = 8;

/// Since Linux 6.5; what it counts, and the pages in memory first of all.
#[cfg(feature = "http")]
const SYS_CACHESTAT: libc::c_long = 451;
#[cfg(feature = "http")]
const CACHESTAT_COUNTS: usize = 5;

const REGISTER_SEND_MSG_RING: u32 = 31;
const OP_MSG_RING: u8 = 40;

/// Lets a simulation answer, where `inside` says that the question is one of its threads'.
macro_rules! simulated {
    ($inside:expr, $answer:expr) => {
        #[cfg(feature = "sim")]
        {
            if $inside {
                return $answer;
            }
        }
    };
}

/// Whether a descriptor is one of a simulation's.
#[cfg(feature = "sim")]
fn is_simulated(fd: &Fd) -> bool {
    sim::owns(fd.as_raw_fd())
}

/// The C convention: -1 means that `errno` has the reason.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes over a descriptor that a system call has just made.
fn owned(raw: RawFd) -> OwnedFd {
    // SAFETY: the caller got the number from a system call and hands it to nobody else.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn monotonic_nanos() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(now) = sim::now() {
        return now;
    }
    clock_nanos(libc::CLOCK_MONOTONIC)
}

/// The standard library's time, for those who speak it.
#[cfg(feature = "hyper")]
pub(crate) type StdInstant = std::time::Instant;

#[cfg(feature = "hyper")]
pub(crate) fn std_now() -> StdInstant {
    #[cfg(feature = "sim")]
    if let Some(now) = sim::now() {
        return sim_instant(now);
    }
    StdInstant::now()
}

/// A simulated time as the standard library's: counted from one real moment, which no simulated
/// program can tell.
#[cfg(all(feature = "hyper", feature = "sim"))]
fn sim_instant(nanos: u64) -> StdInstant {
    use std::sync::OnceLock;
    static BASE: OnceLock<StdInstant> = OnceLock::new();
    *BASE.get_or_init(StdInstant::now) + Duration::from_nanos(nanos)
}

/// A time of the standard library in nanoseconds of [`monotonic_nanos`], rounded up: both read the
/// same clock, but the standard library does not say its number.
#[cfg(feature = "hyper")]
pub(crate) fn nanos_of(time: StdInstant) -> u64 {
    #[cfg(feature = "sim")]
    if sim::is_here() {
        let after = time.saturating_duration_since(sim_instant(0));
        return u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
    }
    use std::sync::OnceLock;
    static BASE: OnceLock<(StdInstant, u64)> = OnceLock::new();
    let (base, base_nanos) = *BASE.get_or_init(|| (std_now(), monotonic_nanos()));
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    match time.checked_duration_since(base) {
        Some(later) => base_nanos.saturating_add(nanos(later)),
        None => base_nanos.saturating_sub(nanos(base.duration_since(time))),
    }
}

fn clock_nanos(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// A word that tells live threads apart, cheaper than a thread id: the address of a thread-local.
pub(crate) fn thread_mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

/// Sleeps on the spot. Only for a kernel that is out of memory; never on an ordinary path.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Zeroed memory of its own pages.
pub(crate) fn map_anonymous(len: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping touches no memory that exists.
    let ptr = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if ptr == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(ptr.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Addresses of `len` bytes that read as zeros: reserved, and no memory until something is
/// written to them, for which they must be made writable.
#[cfg(feature = "http")]
pub(crate) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let none = std::ptr::null_mut();
    // SAFETY: a new anonymous mapping touches no memory that exists.
    let ptr = unsafe { libc::mmap(none, len, libc::PROT_READ, flags, -1, 0) };
    if ptr == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(ptr.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Makes the pages of `len` bytes of a mapping writable, whose first one begins here.
#[cfg(feature = "http")]
pub(crate) fn make_writable(begin: NonNull<u8>, len: usize) -> io::Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: gives rights to pages and takes none away, so that no access becomes invalid.
    check(unsafe { libc::mprotect(begin.as_ptr().cast(), len, protection) }).map(drop)
}

/// Ends a mapping.
///
/// # Safety
/// It is the caller's own, of this length, and nobody refers to it any more.
#[cfg(feature = "http")]
pub(crate) unsafe fn unmap(begin: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise; it fails for what is no mapping only.
    unsafe { libc::munmap(begin.as_ptr().cast(), len) };
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor, touches no memory.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(owned)
}

pub(crate) fn write_eventfd(fd: RawFd) -> io::Result<()> {
    let one = 1u64;
    // SAFETY: the kernel reads eight bytes of a live word.
    let n = unsafe { libc::write(fd, std::ptr::from_ref(&one).cast(), 8) };
    if n == 8 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether a program may handle this signal.
#[cfg(feature = "signal")]
pub(crate) fn check_signal(signal: libc::c_int) -> io::Result<()> {
    if signal_hook_registry::FORBIDDEN.contains(&signal) {
        let what =
            format!("signal {signal} cannot be caught: the kernel, or the program, needs it");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// On a simulated host: its process handles this signal from now on, and a descriptor that becomes
/// readable with each one that it handles. `None` elsewhere.
#[cfg(feature = "signal")]
pub(crate) fn listen_simulated(signal: libc::c_int) -> Option<io::Result<Number>> {
    simulated!(
        sim::is_here(),
        Some(sim::signals::listen(signal).map(Number::new))
    );
    let _ = signal;
    None
}

/// How often the process of the simulated host has got a signal; `None` elsewhere.
#[cfg(feature = "signal")]
pub(crate) fn count_simulated(signal: libc::c_int) -> Option<u64> {
    simulated!(sim::is_here(), Some(sim::signals::count(signal)));
    let _ = signal;
    None
}

/// From now on, each time `signal` arrives, adds one to `count` and then writes to `eventfd`.
/// Handlers that others have registered run too; what the signal did by default does not happen
/// any more. This cannot be undone.
#[cfg(feature = "signal")]
pub(crate) fn count_signal(
    signal: libc::c_int,
    count: &'static std::sync::atomic::AtomicU64,
    eventfd: &'static OwnedFd,
) -> io::Result<()> {
    let act = move || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: it only says where this thread's errno is.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: the thread's own word, which what was interrupted may be about to read.
        let before = unsafe { *errno };
        let _ = write_eventfd(eventfd.as_raw_fd());
        // SAFETY: as above.
        unsafe { *errno = before };
    };
    // SAFETY: `act` only adds to an atomic, writes to a descriptor that stays open for ever, and
    // restores errno: all of it may be done in a signal handler.
    unsafe { signal_hook_registry::register(signal, act) }.map(drop)
}

/// Posts a completion with `user_data` into the ring `fd`, from any thread.
pub(crate) fn send_msg_ring(fd: RawFd, user_data: u64) -> io::Result<()> {
    /// The fields of `struct io_uring_sqe` that a message uses, at their places.
    #[repr(C)]
    struct Message {
        opcode: u8,
        flags: u8,
        ioprio: u16,
        fd: i32,
        off: u64,
        rest: [u64; 6],
    }
    const { assert!(size_of::<Message>() == 64) };
    let message = Message {
        opcode: OP_MSG_RING,
        flags: 0,
        ioprio: 0,
        fd,
        off: user_data,
        rest: [0; 6],
    };
    let (number, arg) = (libc::SYS_io_uring_register, std::ptr::from_ref(&message));
    // SAFETY: the kernel reads one entry of 64 bytes during the call.
    let n = unsafe { libc::syscall(number, -1, REGISTER_SEND_MSG_RING, arg, 1) };
    if n < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `close(2)`; an error of the file system surfaces here, the number is free in any case.
pub(crate) fn close(fd: Number) -> io::Result<()> {
    simulated!(sim::owns(fd.get()), sim::calls::close(fd.get()));
    // SAFETY: the number was owned and is given up here.
    check(unsafe { libc::close(fd.get()) }).map(drop)
}

/// A close-on-exec socket of this kind. It may block: the ring waits for it anyway.
pub(crate) fn socket(
    domain: socket2::Domain,
    kind: socket2::Type,
    protocol: Option<socket2::Protocol>,
) -> io::Result<Number> {
    #[cfg(feature = "sim")]
    if sim::is_here() {
        let protocol = protocol.map_or(0, i32::from);
        return sim::calls::socket(domain.into(), kind.into(), protocol).map(Number::new);
    }
    let socket = socket2::Socket::new(domain, kind, protocol)?;
    Ok(Number::new(socket.into_raw_fd()))
}

/// Two connected, close-on-exec Unix sockets (`socketpair(2)`).
pub(crate) fn unix_pair(kind: socket2::Type) -> io::Result<[Number; 2]> {
    #[cfg(feature = "sim")]
    if sim::is_here() {
        return sim::calls::unix_pair(kind.into()).map(|pair| pair.map(Number::new));
    }
    let (a, b) = socket2::Socket::pair(socket2::Domain::UNIX, kind, None)?;
    Ok([a, b].map(|socket| Number::new(socket.into_raw_fd())))
}

/// Another, close-on-exec number of the same open file.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<Number> {
    #[cfg(feature = "sim")]
    if sim::owns(fd.as_raw_fd()) {
        return sim::calls::duplicate(fd.as_raw_fd()).map(Number::new);
    }
    let fd = fd.try_clone_to_owned()?;
    Ok(Number::new(fd.into_raw_fd()))
}

/// Gives a socket a name (`bind(2)`).
pub(crate) fn bind(fd: &Fd, address: &SockAddr) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::bind(fd, address));
    sock(fd).bind(address)
}

/// Takes connections from now on (`listen(2)`).
pub(crate) fn listen(fd: &Fd, backlog: i32) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::listen(fd, backlog));
    sock(fd).listen(backlog)
}

/// The error that the socket has met and nobody has seen (`SO_ERROR`).
pub(crate) fn take_error(fd: &Fd) -> io::Result<Option<io::Error>> {
    simulated!(is_simulated(fd), sim::calls::take_error(fd));
    sock(fd).take_error()
}

/// Reads and sets options of a socket: every one answers at once.
pub(crate) fn sock(fd: &Fd) -> SockRef<'_> {
    simulated!(is_simulated(fd), sim::calls::options(fd));
    SockRef::from(fd)
}

fn option<T>(fd: &Fd, level: libc::c_int, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let ptr = std::ptr::from_mut(value).cast();
    // SAFETY: the kernel writes at most `len` bytes to `value`; only plain numbers come here.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, ptr, &mut len) }).map(drop)
}

/// Whether the kernel joins datagrams of one sender (`UDP_GRO`).
pub(crate) fn udp_gro(fd: &Fd) -> io::Result<bool> {
    simulated!(is_simulated(fd), sim::calls::joins(fd));
    let mut on: libc::c_int = 0;
    option(fd, SOL_UDP, UDP_GRO, &mut on)?;
    Ok(on != 0)
}

/// Sets whether the kernel joins datagrams of one sender.
pub(crate) fn set_udp_gro(fd: &Fd, on: bool) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::set_joins(fd, on));
    let (on, len) = (libc::c_int::from(on), size_of::<libc::c_int>());
    let ptr = std::ptr::from_ref(&on).cast();
    // SAFETY: the kernel reads one number during the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), SOL_UDP, UDP_GRO, ptr, len as u32) }).map(drop)
}

/// Takes part in a multicast group, on the interface with this address or one that the kernel
/// picks (`IP_ADD_MEMBERSHIP`); or ends that.
pub(crate) fn set_member_v4(
    fd: &Fd,
    group: Ipv4Addr,
    interface: Ipv4Addr,
    member: bool,
) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if is_simulated(fd) {
        let interface = sim::Interface::Address(interface);
        return sim::calls::set_member(fd, group.into(), interface, member);
    }
    match member {
        true => sock(fd).join_multicast_v4(&group, &interface),
        false => sock(fd).leave_multicast_v4(&group, &interface),
    }
}

/// As [`set_member_v4`], on the interface with this index or one that the kernel picks for 0.
pub(crate) fn set_member_v6(
    fd: &Fd,
    group: &Ipv6Addr,
    interface: u32,
    member: bool,
) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if is_simulated(fd) {
        let interface = sim::Interface::Index(interface);
        return sim::calls::set_member(fd, (*group).into(), interface, member);
    }
    match member {
        true => sock(fd).join_multicast_v6(group, interface),
        false => sock(fd).leave_multicast_v6(group, interface),
    }
}

/// Sets where what is sent to multicast groups leaves (`IP_MULTICAST_IF`): by the interface with
/// this address, or one that the kernel picks.
pub(crate) fn set_multicast_if_v4(fd: &Fd, interface: Ipv4Addr) -> io::Result<()> {
    simulated!(
        is_simulated(fd),
        sim::calls::set_multicast_interface(fd, sim::Interface::Address(interface))
    );
    sock(fd).set_multicast_if_v4(&interface)
}

/// As [`set_multicast_if_v4`], by the interface with this index, or one that the kernel picks
/// for 0.
pub(crate) fn set_multicast_if_v6(fd: &Fd, interface: u32) -> io::Result<()> {
    simulated!(
        is_simulated(fd),
        sim::calls::set_multicast_interface(fd, sim::Interface::Index(interface))
    );
    sock(fd).set_multicast_if_v6(interface)
}

/// How many datagrams this socket had no room for (`SO_MEMINFO`).
pub(crate) fn dropped_datagrams(fd: &Fd) -> io::Result<u32> {
    simulated!(is_simulated(fd), sim::calls::dropped_datagrams(fd));
    let mut counters = [0u32; MEMINFO_DROPS + 1];
    option(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut counters)?;
    Ok(counters[MEMINFO_DROPS])
}

/// Who has made the other end of a Unix socket (`SO_PEERCRED`): process, user and group.
pub(crate) fn peer_cred(fd: &Fd) -> io::Result<libc::ucred> {
    simulated!(is_simulated(fd), sim::calls::peer_cred(fd));
    let mut cred = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    option(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, &mut cred)?;
    Ok(cred)
}

/// `shutdown(2)`: the ring would send it to a worker thread, for a call that never waits.
pub(crate) fn shutdown(fd: &Fd, how: Shutdown) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::shutdown(fd, how));
    sock(fd).shutdown(how)
}

/// `sendmsg(2)` without waiting, of the first 1,024 pieces, which is all that the kernel takes at
/// once: `WouldBlock` where the socket has no room. Where `more` follows, the last packet may wait
/// for it.
pub(crate) fn send_now(fd: &Fd, pieces: &[io::IoSlice<'_>], more: bool) -> io::Result<usize> {
    let pieces = &pieces[..pieces.len().min(libc::UIO_MAXIOV as usize)];
    simulated!(is_simulated(fd), sim::calls::send_now(fd, pieces));
    let more = if more { libc::MSG_MORE } else { 0 };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more;
    sock(fd).send_vectored_with_flags(pieces, flags)
}

/// `recv(2)` without waiting, into the free room of hyper's memory: `WouldBlock` where nothing has
/// come, 0 at the end of the stream.
#[cfg(feature = "hyper")]
pub(crate) fn recv_now(fd: &Fd, cursor: &mut hyper::rt::ReadBufCursor<'_>) -> io::Result<usize> {
    // SAFETY: nothing in it is made uninitialized.
    let room = unsafe { cursor.as_mut() };
    let n = sock(fd).recv_with_flags(room, libc::MSG_DONTWAIT)?;
    // SAFETY: the kernel has filled so many bytes of the room.
    unsafe { cursor.advance(n) };
    Ok(n)
}

pub(crate) fn local_addr(fd: &Fd) -> io::Result<SockAddr> {
    simulated!(is_simulated(fd), sim::calls::local_addr(fd));
    sock(fd).local_addr()
}

pub(crate) fn peer_addr(fd: &Fd) -> io::Result<SockAddr> {
    simulated!(is_simulated(fd), sim::calls::peer_addr(fd));
    sock(fd).peer_addr()
}

/// What a path operation asks of the disk without an entry of its own in the ring.
pub(crate) enum DirEntries {
    /// Some entries, in the kernel's `struct linux_dirent64` form.
    Some(usize),
    End,
}

/// The next entries of a directory, as many as fit into `buf`.
pub(crate) fn getdents(fd: &Fd, buf: &mut [u8]) -> io::Result<DirEntries> {
    #[cfg(feature = "sim")]
    if is_simulated(fd) {
        return sim::calls::getdents(fd, buf).map(|len| match len {
            0 => DirEntries::End,
            len => DirEntries::Some(len),
        });
    }
    let (raw, ptr, len) = (fd.as_raw_fd(), buf.as_mut_ptr(), buf.len());
    // SAFETY: the kernel writes at most `len` bytes to `buf`.
    let n = unsafe { libc::syscall(libc::SYS_getdents64, raw, ptr, len) };
    match n {
        0 => Ok(DirEntries::End),
        n if n > 0 => Ok(DirEntries::Some(n as usize)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `fchmod(2)`.
pub(crate) fn set_mode(fd: &Fd, mode: u32) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::set_mode(fd, mode));
    // SAFETY: touches no memory.
    check(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
}

/// `fchmodat(2)`, following symbolic links.
pub(crate) fn set_mode_at(path: &CStr, mode: u32) -> io::Result<()> {
    simulated!(
        sim::is_here(),
        sim::calls::set_mode_at(path.to_bytes(), mode)
    );
    // SAFETY: the path ends with NUL.
    check(unsafe { libc::fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, 0) }).map(drop)
}

/// `futimens(2)`: access and modification time, each optional, as seconds since the epoch (or
/// before it) and nanoseconds after that second.
pub(crate) fn set_times(fd: &Fd, times: [Option<(i64, u32)>; 2]) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::set_times(fd, times));
    let spec = times.map(|time| match time {
        Some((seconds, nanos)) => libc::timespec {
            tv_sec: seconds,
            tv_nsec: nanos.into(),
        },
        None => libc::timespec {
            tv_sec: 0,
            tv_nsec: libc::UTIME_OMIT,
        },
    });
    // SAFETY: the kernel reads two timespecs during the call.
    check(unsafe { libc::futimens(fd.as_raw_fd(), spec.as_ptr()) }).map(drop)
}

/// `readlink(2)` of this path.
pub(crate) fn read_link(path: &CStr) -> io::Result<Vec<u8>> {
    simulated!(sim::is_here(), sim::calls::read_link(path.to_bytes()));
    let mut room = 256;
    loop {
        let mut target = vec![0u8; room];
        let (ptr, to) = (path.as_ptr(), target.as_mut_ptr().cast());
        // SAFETY: the path ends with NUL, and at most `room` bytes are written.
        let n = unsafe { libc::readlink(ptr, to, room) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        if (n as usize) < room {
            target.truncate(n as usize);
            return Ok(target);
        }
        room *= 2;
    }
}

/// The path of an open descriptor, as the kernel knows it (through `/proc`).
pub(crate) fn path_of(fd: &Fd) -> io::Result<Vec<u8>> {
    simulated!(is_simulated(fd), sim::calls::path_of(fd));
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    read_link(&CString::new(name).expect("a number has no NUL"))
}

/// `flock(2)` without waiting: `WouldBlock` if somebody else holds the lock.
pub(crate) fn flock(fd: &Fd, operation: libc::c_int) -> io::Result<()> {
    simulated!(
        is_simulated(fd),
        sim::calls::flock(fd, operation | libc::LOCK_NB)
    );
    // SAFETY: touches no memory.
    check(unsafe { libc::flock(fd.as_raw_fd(), operation | libc::LOCK_NB) }).map(drop)
}

/// `lseek(2)`.
pub(crate) fn seek(fd: &Fd, offset: i64, whence: libc::c_int) -> io::Result<u64> {
    simulated!(is_simulated(fd), sim::calls::seek(fd, offset, whence));
    // SAFETY: touches no memory.
    let at = unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) };
    if at < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(at as u64)
    }
}

/// `ftruncate(2)`, for kernels whose ring has none.
pub(crate) fn set_len(fd: &Fd, len: u64) -> io::Result<()> {
    simulated!(is_simulated(fd), sim::calls::set_len(fd, len));
    let len = i64::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: touches no memory.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) }).map(drop)
}

/// `unlink(2)`, for a ring that is gone.
pub(crate) fn unlink(path: &CStr) -> io::Result<()> {
    simulated!(sim::is_here(), sim::calls::unlink(path.to_bytes()));
    // SAFETY: the path ends with NUL.
    check(unsafe { libc::unlink(path.as_ptr()) }).map(drop)
}

/// How a descriptor was opened: `O_APPEND`, `O_DIRECT` and so on (`fcntl` with `F_GETFL`).
pub(crate) fn open_flags(fd: &Fd) -> io::Result<libc::c_int> {
    simulated!(is_simulated(fd), sim::calls::open_flags(fd));
    // SAFETY: touches no memory.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

/// The mode and the length of an open file as this machine knows them now (`statx` without a
/// question to a server): far cheaper than a trip through the ring, and it never waits.
pub(crate) fn mode_and_len(fd: &Fd) -> io::Result<(u32, u64)> {
    #[cfg(feature = "sim")]
    if is_simulated(fd) {
        return sim::calls::metadata(fd).map(|stat| (stat.stx_mode.into(), stat.stx_size));
    }
    // SAFETY: an all-zero statx is a valid value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_SIZE;
    // SAFETY: the path is empty and ends with NUL; the kernel writes one statx.
    check(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, &mut stat) })?;
    Ok((stat.stx_mode.into(), stat.stx_size))
}

/// What the kernel has in memory about an open file: like `fstat(2)`, it does not wait for a disk.
pub(crate) fn metadata(fd: &Fd) -> io::Result<Box<libc::statx>> {
    simulated!(is_simulated(fd), sim::calls::metadata(fd).map(Box::new));
    // SAFETY: an all-zero statx is a valid value.
    let mut stat: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_BASIC_STATS;
    // SAFETY: the path is empty and ends with NUL; the kernel writes one statx.
    check(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, &mut *stat) })?;
    Ok(stat)
}

/// Whether the kernel has a part of a file in memory, all of it, and reads that without waiting for
/// anybody (`cachestat(2)`, Linux 6.5). Where it does not say, no: before that, of some file
/// systems (those that ask a server, overlayfs), and, where the kernel is newer, of a file that
/// this process may not write and does not own.
#[cfg(feature = "http")]
pub(crate) fn is_cached(file: &Fd, at: u64, len: usize) -> bool {
    simulated!(is_simulated(file), false);
    // SAFETY: touches no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let range = [at, len as u64];
    let mut counts = [0u64; CACHESTAT_COUNTS];
    let (number, raw) = (SYS_CACHESTAT, file.as_raw_fd());
    // SAFETY: the kernel reads two words and writes five.
    let known = unsafe { libc::syscall(number, raw, range.as_ptr(), counts.as_mut_ptr(), 0) };
    let pages = (at + len as u64).div_ceil(page) - at / page;
    known == 0 && counts[0] >= pages && is_read_at_once(file, at)
}

/// Whether the byte at an offset is read without waiting for a disk or a server.
#[cfg(feature = "http")]
fn is_read_at_once(file: &Fd, at: u64) -> bool {
    let (raw, mut byte) = (file.as_raw_fd(), 0u8);
    let piece = libc::iovec {
        iov_base: std::ptr::from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    let (number, flags) = (libc::SYS_preadv2, libc::RWF_NOWAIT);
    let [low, high] = [at, at >> 32].map(|half| half as libc::c_ulong);
    // SAFETY: the kernel reads one piece and writes one byte.
    let n = unsafe { libc::syscall(number, raw, std::ptr::from_ref(&piece), 1, low, high, flags) };
    // What is in memory alone has nothing to wait for, but does not know the flag.
    n == 1 || io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP) && is_tmpfs(file)
}

#[cfg(feature = "http")]
fn is_tmpfs(file: &Fd) -> bool {
    // SAFETY: an all-zero statfs is a valid value.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one statfs.
    let known = unsafe { libc::fstatfs(file.as_raw_fd(), &mut stat) };
    known == 0 && stat.f_type == libc::TMPFS_MAGIC
}

/// Sends a part of a file from the kernel's own memory, as much of it as the socket has room for
/// (`sendfile(2)`): `WouldBlock` where it has none, 0 where the file has ended. It does not wait
/// for the peer if the socket is non-blocking ([`set_nonblocking`]), nor for the disk if the part
/// [is cached](is_cached).
#[cfg(feature = "http")]
pub(crate) fn sendfile(to: &Fd, file: &Fd, at: u64, len: usize) -> io::Result<usize> {
    let mut at = i64::try_from(at).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the kernel reads and writes one offset.
    let n = unsafe { libc::sendfile64(to.as_raw_fd(), file.as_raw_fd(), &mut at, len) };
    if n < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(n as usize)
    }
}

/// Has system calls on this open file never wait. The ring's receives and sends of a socket are
/// none of that: they wait as before.
#[cfg(feature = "http")]
pub(crate) fn set_nonblocking(fd: &Fd) -> io::Result<()> {
    simulated!(
        is_simulated(fd),
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    );
    let mut on: libc::c_int = 1;
    // SAFETY: the kernel reads one number during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &mut on) }).map(drop)
}

/// The number of a device, of its two halves.
pub(crate) fn device(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// A name for a temporary file that nobody else uses: random bits from the kernel.
pub(crate) fn random_u64() -> u64 {
    simulated!(sim::is_here(), sim::calls::random());
    let mut word = 0u64;
    let to = std::ptr::from_mut(&mut word).cast();
    // SAFETY: the kernel writes eight bytes.
    let n = unsafe { libc::getrandom(to, 8, 0) };
    if n == 8 { word } else { monotonic_nanos() }
}

/// The CPUs that this thread may run on.
pub(crate) fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the size of the set.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    // SAFETY: the index is below the size of the set.
    let is_set = |cpu: usize| unsafe { libc::CPU_ISSET(cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| is_set(cpu))
        .collect())
}

/// Keeps this thread on these CPUs.
pub(crate) fn pin_to(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the kernel reads the set during the call.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

/// The limit on locked memory, in bytes: soft and hard.
pub(crate) fn memlock_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// The kernel's release, such as `6.18.44`.
pub(crate) fn kernel_release() -> String {
    uname(|name| &name.release)
}

/// What the kernel says of its build: `#1 SMP` and a date.
pub(crate) fn kernel_version() -> String {
    uname(|name| &name.version)
}

fn uname(field: impl FnOnce(&libc::utsname) -> &[libc::c_char]) -> String {
    // SAFETY: an all-zero utsname is a valid value.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one utsname.
    unsafe { libc::uname(&mut name) };
    // SAFETY: the kernel ends each field with NUL.
    unsafe { CStr::from_ptr(field(&name).as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Asks the C library's resolver. It blocks: for [`super::lookup`]'s thread only.
pub(super) fn getaddrinfo(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if found.is_empty() {
        let what = format!("the host name {host:?} has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok(found)
}

/// A small file of the kernel's own (`/proc`, `/sys`), or nothing where there is none.
pub(crate) fn read_kernel_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
