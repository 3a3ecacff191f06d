//! What every server needs: the listener, the word `ready`, the end.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// More than any load opens at once.
const BACKLOG: i32 = 4096;

/// A listener on the loopback whose accepted sockets inherit `TCP_NODELAY`.
///
/// It also raises the limit of open descriptors and ends the process with its parent, so it is the
/// first thing that a server does. It blocks; most runtimes want it otherwise:
/// [`TcpListener::set_nonblocking`].
pub fn listen(port: u16) -> io::Result<TcpListener> {
    prepare()?;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The first thing of a server that cannot take over the listener of [`listen`]: raises the limit
/// of open descriptors and ends the process with its parent.
pub fn prepare() -> io::Result<()> {
    raise_open_files()?;
    end_with_parent()
}

/// Tells the driver that clients may come.
pub fn ready(port: u16) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {port}")?;
    out.flush()
}

/// Raises the limit of open descriptors as far as it goes.
#[allow(unsafe_code)]
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is a valid place to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call only reads the limit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has the kernel end this process when the one that started it is gone.
///
/// Not by a thread that waits for the end of the standard input: a second thread would make every
/// look-up of a descriptor in the kernel dearer.
#[allow(unsafe_code)]
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: the call takes two numbers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
