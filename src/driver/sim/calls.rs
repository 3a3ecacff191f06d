//! The plain system calls of a simulated host: what [`super::super::sys`] asks.

use super::net::{How, Interface, Options, SocketId};
use super::state::{NUMBER_MIN, NUMBERS_PER_HOST, Object, State, What};
use super::{Here, fifo, here, memory, try_here};
use crate::driver::fd::Fd;
use socket2::{SockAddr, SockRef};
use std::cell::OnceCell;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// The object behind a descriptor, with the world in which it is.
fn with<T>(fd: &Fd, act: impl FnOnce(&mut State, &Object) -> Result<T, i32>) -> io::Result<T> {
    let Here { world, .. } = here();
    let number = fd.as_raw_fd();
    let host = ((number - NUMBER_MIN) / NUMBERS_PER_HOST) as usize;
    let mut state = world.0.borrow_mut();
    let object = state.object(host, number).map_err(error)?;
    let result = act(&mut state, &object);
    state.settle();
    state.put(object);
    result.map_err(error)
}

/// The disk of the host where this thread is.
fn with_disk<T>(act: impl FnOnce(&mut super::Disk, u64) -> Result<T, i32>) -> io::Result<T> {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let now = state.wall();
    act(&mut state.hosts[here.host].disk, now).map_err(error)
}

pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<RawFd> {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let host = state.hosts[here.host].id;
    let id = state.net.socket(host, domain, kind).map_err(error)?;
    let what = What::Socket {
        id,
        kind: [domain, kind, protocol],
        options: OnceCell::new(),
    };
    state.install(here.host, what).map_err(error)
}

pub(crate) fn close(number: RawFd) -> io::Result<()> {
    // A handle that has outlived its simulation is dropped somewhere: there is nothing to close.
    let Some(Here { world, .. }) = try_here() else {
        return Ok(());
    };
    let host = ((number - NUMBER_MIN) / NUMBERS_PER_HOST) as usize;
    let mut state = world.0.borrow_mut();
    let closed = state.close_number(host, number);
    state.settle();
    closed.map_err(error)
}

pub(crate) fn unix_pair(kind: i32) -> io::Result<[RawFd; 2]> {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let host = state.hosts[here.host].id;
    let pair = state
        .net
        .socketpair(host, libc::AF_UNIX, kind)
        .map_err(error)?;
    let mut install = |id| {
        let what = What::Socket {
            id,
            kind: [libc::AF_UNIX, kind, 0],
            options: OnceCell::new(),
        };
        state.install(here.host, what).map_err(error)
    };
    let (first, second) = (install(pair.0)?, install(pair.1));
    match second {
        Ok(second) => Ok([first, second]),
        Err(error) => {
            let _ = state.close_number(here.host, first);
            Err(error)
        }
    }
}

/// Both ends of a pipe: to read from, to write to.
pub(crate) fn pipe() -> io::Result<[RawFd; 2]> {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let number = state.next_number();
    let [read, write] = fifo::pipe(number);
    let first = state.install(here.host, What::Pipe(read)).map_err(error)?;
    match state.install(here.host, What::Pipe(write)) {
        Ok(second) => Ok([first, second]),
        Err(errno) => {
            let _ = state.close_number(here.host, first);
            Err(error(errno))
        }
    }
}

/// Another number of the same open file.
pub(crate) fn duplicate(number: RawFd) -> io::Result<RawFd> {
    let Here { world, .. } = here();
    let host = ((number - NUMBER_MIN) / NUMBERS_PER_HOST) as usize;
    let mut state = world.0.borrow_mut();
    let object = state.object(host, number).map_err(error)?;
    match state.has_number(host) {
        true => Ok(state.install_object(host, object)),
        false => Err(error(libc::EMFILE)),
    }
}

pub(crate) fn peer_cred(fd: &Fd) -> io::Result<libc::ucred> {
    with(fd, |state, object| {
        let (pid, uid, gid) = state.net.peer_credentials(object.socket()?)?;
        let pid = pid as i32;
        Ok(libc::ucred { pid, uid, gid })
    })
}

/// Joins or leaves a multicast group.
pub(crate) fn set_member(
    fd: &Fd,
    group: IpAddr,
    interface: Interface,
    member: bool,
) -> io::Result<()> {
    with(fd, |state, object| match member {
        true => state.net.join(object.socket()?, group, interface),
        false => state.net.leave(object.socket()?, group, interface),
    })
}

/// Where what goes to multicast groups leaves.
pub(crate) fn set_multicast_interface(fd: &Fd, interface: Interface) -> io::Result<()> {
    with(fd, |state, object| {
        state.net.set_group_interface(object.socket()?, interface)
    })
}

/// Whether datagrams of one sender may be joined.
pub(crate) fn joins(fd: &Fd) -> io::Result<bool> {
    with(fd, |state, object| {
        Ok(state.net.options(object.socket()?)?.joins)
    })
}

/// Sets whether datagrams of one sender may be joined.
pub(crate) fn set_joins(fd: &Fd, joins: bool) -> io::Result<()> {
    with(fd, |state, object| {
        let socket = object.socket()?;
        let options = state.net.options(socket)?;
        state.net.set_options(socket, Options { joins, ..options })
    })
}

/// How many datagrams a socket had no room for.
pub(crate) fn dropped_datagrams(fd: &Fd) -> io::Result<u32> {
    with(fd, |state, object| {
        state.net.dropped_datagrams(object.socket()?)
    })
}

/// The socket that keeps this one's options.
pub(crate) fn options(fd: &Fd) -> SockRef<'_> {
    let number = with(fd, |_, object| match &object.what {
        What::Socket { kind, options, .. } => Ok(options_of(*kind, options).as_raw_fd()),
        What::File(_) | What::Pipe(_) | What::Signals => Err(libc::ENOTSOCK),
    });
    let number = number.expect("an open socket keeps its options");
    // SAFETY: the options live as long as the simulated socket, which `fd` keeps open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let options = SockRef::from(&borrowed);
    // SAFETY: it holds the number alone, which is good for as long as `fd`.
    unsafe { std::mem::transmute::<SockRef<'_>, SockRef<'_>>(options) }
}

fn options_of(kind: [i32; 3], place: &OnceCell<socket2::Socket>) -> &socket2::Socket {
    place.get_or_init(|| {
        let [domain, kind, protocol] = kind;
        let protocol = Some(protocol).filter(|&protocol| protocol != 0);
        let socket = socket2::Socket::new(domain.into(), kind.into(), protocol.map(Into::into));
        socket.expect("a simulation needs a descriptor of this process for a socket's options")
    })
}

pub(crate) fn bind(fd: &Fd, address: &SockAddr) -> io::Result<()> {
    with(fd, |state, object| {
        let socket = object.socket()?;
        if let What::Socket { options, .. } = &object.what {
            state.take_options(socket, options.get());
        }
        state.net.bind(socket, address)
    })
}

pub(crate) fn listen(fd: &Fd, backlog: i32) -> io::Result<()> {
    with(fd, |state, object| {
        state.net.listen(object.socket()?, backlog)
    })
}

pub(crate) fn take_error(fd: &Fd) -> io::Result<Option<io::Error>> {
    with(fd, |state, object| {
        Ok(state.net.take_error(object.socket()?).map(error))
    })
}

pub(crate) fn shutdown(fd: &Fd, how: Shutdown) -> io::Result<()> {
    with(fd, |state, object| {
        let how = match how {
            Shutdown::Read => How::Read,
            Shutdown::Write => How::Write,
            Shutdown::Both => How::Both,
        };
        state.net.shutdown(object.socket()?, how, state.now)
    })
}

pub(crate) fn local_addr(fd: &Fd) -> io::Result<SockAddr> {
    with(fd, |state, object| state.net.local_name(object.socket()?))
}

pub(crate) fn peer_addr(fd: &Fd) -> io::Result<SockAddr> {
    with(fd, |state, object| state.net.peer_name(object.socket()?))
}

pub(crate) fn send_now(fd: &Fd, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let bytes: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| piece.iter().copied())
        .collect();
    with(fd, |state, object| {
        state.net.send(object.socket()?, &bytes, state.now)
    })
}

impl State {
    /// Takes over what the program has set on the socket that keeps the options.
    pub(super) fn take_options(&mut self, socket: SocketId, options: Option<&socket2::Socket>) {
        let (Some(options), Ok(mut known)) = (options, self.net.options(socket)) else {
            return;
        };
        known.reuse_address = options.reuse_address().unwrap_or(false);
        known.reuse_port = options.reuse_port().unwrap_or(false);
        known.only_v6 = options.only_v6().unwrap_or(false);
        if let Ok(Some(limit)) = options.tcp_user_timeout() {
            known.user_timeout = limit.as_nanos() as u64;
        }
        let _ = self.net.set_options(socket, known);
    }

    /// As [`take_options`](State::take_options), those that a datagram is sent with.
    pub(super) fn take_multicast_options(&mut self, object: &Object) {
        let What::Socket { id, kind, options } = &object.what else {
            return;
        };
        let (Some(options), Ok(mut known)) = (options.get(), self.net.options(*id)) else {
            return;
        };
        let [domain, kind, _] = *kind;
        let (loops, hops) = match domain {
            libc::AF_INET => (options.multicast_loop_v4(), options.multicast_ttl_v4()),
            libc::AF_INET6 => (options.multicast_loop_v6(), options.multicast_hops_v6()),
            _ => return,
        };
        if kind == libc::SOCK_DGRAM {
            known.multicast_loop = loops.unwrap_or(true);
            known.multicast_hops = hops.unwrap_or(1);
            let _ = self.net.set_options(*id, known);
        }
    }
}

/// The addresses of a host of the world.
pub(crate) fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let here = here();
    let state = here.world.0.borrow();
    if name == "localhost" {
        return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
    }
    state.names.get(name).cloned().ok_or_else(|| {
        let what = format!("the simulated network has no host {name:?}");
        io::Error::new(io::ErrorKind::NotFound, what)
    })
}

/// The descriptor is a file: its disk and its open file.
fn with_file<T>(
    fd: &Fd,
    act: impl FnOnce(&mut super::Disk, &mut super::disk::OpenFile, u64) -> Result<T, i32>,
) -> io::Result<T> {
    with(fd, |state, object| {
        let mut file = object.file()?.borrow_mut();
        let now = state.wall();
        act(&mut state.hosts[object.host].disk, &mut file, now)
    })
}

pub(crate) fn getdents(fd: &Fd, buf: &mut [u8]) -> io::Result<usize> {
    let entries = with_file(fd, |disk, file, _| disk.dents(file, buf.len()))?;
    buf[..entries.len()].copy_from_slice(&entries);
    Ok(entries.len())
}

pub(crate) fn set_mode(fd: &Fd, mode: u32) -> io::Result<()> {
    with_file(fd, |disk, file, now| disk.set_mode(file, mode, now))
}

pub(crate) fn set_mode_at(path: &[u8], mode: u32) -> io::Result<()> {
    with_disk(|disk, now| disk.set_mode_at(None, path, mode, now))
}

pub(crate) fn set_times(fd: &Fd, times: [Option<(i64, u32)>; 2]) -> io::Result<()> {
    with_file(fd, |disk, file, now| disk.set_times(file, times, now))
}

pub(crate) fn read_link(path: &[u8]) -> io::Result<Vec<u8>> {
    with_disk(|disk, _| disk.read_link(None, path))
}

pub(crate) fn path_of(fd: &Fd) -> io::Result<Vec<u8>> {
    with_file(fd, |disk, file, _| Ok(disk.path_of(file)))
}

pub(crate) fn flock(fd: &Fd, operation: libc::c_int) -> io::Result<()> {
    with_file(fd, |disk, file, _| disk.flock(file, operation))
}

pub(crate) fn seek(fd: &Fd, offset: i64, whence: libc::c_int) -> io::Result<u64> {
    with_file(fd, |disk, file, _| disk.seek(file, offset, whence))
}

pub(crate) fn set_len(fd: &Fd, len: u64) -> io::Result<()> {
    with_file(fd, |disk, file, now| disk.set_len(file, len, now))
}

pub(crate) fn unlink(path: &[u8]) -> io::Result<()> {
    with_disk(|disk, now| disk.remove(None, path, false, now))
}

pub(crate) fn open_flags(fd: &Fd) -> io::Result<libc::c_int> {
    with_file(fd, |_, file, _| Ok(file.flags()))
}

pub(crate) fn metadata(fd: &Fd) -> io::Result<libc::statx> {
    with_file(fd, |disk, file, _| {
        let mut answer = memory::empty_statx();
        disk.stat(file).fill(&mut answer);
        Ok(answer)
    })
}

pub(crate) fn random() -> u64 {
    here().world.random()
}
