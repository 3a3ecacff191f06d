//! What every server needs: the listener, the word `ready`, the end.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use crate::{Echo, Served, Stop, cpus, or_end};

/// More than any load opens at once.
const BACKLOG: i32 = 4096;

/// A listener on the loopback whose accepted sockets inherit `TCP_NODELAY`.
///
/// It also raises the limit of open descriptors and ends the process with its parent, so it is the
/// first thing that a server does. It blocks; most runtimes want it otherwise:
/// [`TcpListener::set_nonblocking`].
pub fn listen(port: u16) -> io::Result<TcpListener> {
    prepare()?;
    let socket = bound(port)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listener for each core of a server that has one on every core: of the same port, among which
/// the kernel spreads the connections (`SO_REUSEPORT`). For one core it is that of [`listen`].
pub fn listen_on_cores(echo: &Echo) -> io::Result<Vec<TcpListener>> {
    if echo.cores <= 1 {
        return Ok(vec![listen(echo.port)?]);
    }
    prepare()?;
    let mut port = echo.port;
    let mut sockets = Vec::with_capacity(echo.cores);
    for _ in 0..echo.cores {
        let socket = bound_together(port)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        port = listener.local_addr()?.port();
        sockets.push(listener);
    }
    Ok(sockets)
}

/// A port that this process may listen on as often as it likes (`SO_REUSEPORT`), for as long as the
/// socket lives: for contenders that make their listeners themselves.
pub fn reserve(port: u16) -> io::Result<(socket2::Socket, u16)> {
    let socket = bound_together(port)?;
    let address = socket.local_addr()?.as_socket();
    let port = address.map_or(port, |address| address.port());
    Ok((socket, port))
}

fn bound(port: u16) -> io::Result<socket2::Socket> {
    let socket = unbound()?;
    socket.bind(&address(port))?;
    Ok(socket)
}

fn bound_together(port: u16) -> io::Result<socket2::Socket> {
    let socket = unbound()?;
    socket.set_reuse_port(true)?;
    socket.bind(&address(port))?;
    Ok(socket)
}

fn unbound() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn address(port: u16) -> socket2::SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

/// Serves on a thread for each of these, such as its listener; the first on this one. If there are
/// several, each thread keeps to a CPU of its own.
///
/// # Errors
/// `unsupported` when the process may use fewer CPUs. An error of a thread ends the process.
pub fn on_cores<T: Send>(each: Vec<T>, serve: impl Fn(T) -> Served + Sync) -> Served {
    let cpus = cpus::allowed()?;
    let several = each.len() > 1;
    if cpus.len() < each.len() {
        let reason = format!("{} cores need as many CPUs", each.len());
        return Err(Stop::unsupported(reason));
    }
    let serve_on = |cpu: usize, it: T| {
        if several {
            cpus::pin(cpu)?;
        }
        serve(it)
    };
    let mut each = cpus.into_iter().zip(each);
    let Some((here, first)) = each.next() else {
        return Ok(());
    };
    thread::scope(|scope| {
        for (cpu, it) in each {
            let serve_on = &serve_on;
            scope.spawn(move || or_end(serve_on(cpu, it)));
        }
        or_end(serve_on(here, first));
        Ok(())
    })
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
