//! A bare epoll loop, level-triggered: one read and one write an event.
//!
//! Rules:
//! 1. All connections share one buffer; only what a socket did not take at once is kept.
//! 2. A connection with something left to write is not read.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use peer::Poll;
use slab::Slab;

const EVENTS_MAX: usize = 256;
/// Large enough that a deep pipeline of large messages is one read.
const BUFFER_BYTES: usize = 64 << 10;
/// The listener's mark; a connection's is its place.
const LISTENER: u64 = u64::MAX;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let listener = peer::serve::listen(echo.port)?;
    listener.set_nonblocking(true)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let poll = Poll::new()?;
    poll.watch(
        libc::EPOLL_CTL_ADD,
        listener.as_raw_fd(),
        libc::EPOLLIN,
        LISTENER,
    )?;
    let mut server = Server {
        poll,
        listener,
        connections: Slab::new(),
        buffer: vec![0; BUFFER_BYTES],
    };
    loop {
        server.turn()?;
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What the socket did not take.
    left: Vec<u8>,
}

impl Server {
    fn turn(&mut self) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let count = self.poll.wait(&mut events)?;
        for event in &events[..count] {
            match event.u64 {
                LISTENER => self.accept()?,
                index => self.serve(index as usize),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _peer)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let fd = stream.as_raw_fd();
            let left = Vec::new();
            let index = self.connections.insert(Connection { stream, left });
            self.poll
                .watch(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, index as u64)?;
        }
    }

    /// Takes one step; a connection that has ended is closed, which also ends its watch.
    fn serve(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let was_blocked = !connection.left.is_empty();
        let goes_on = connection.step(&mut self.buffer).unwrap_or(false);
        let is_blocked = !connection.left.is_empty();
        if !goes_on {
            self.connections.remove(index);
        } else if was_blocked != is_blocked {
            let events = if is_blocked {
                libc::EPOLLOUT
            } else {
                libc::EPOLLIN
            };
            let fd = connection.stream.as_raw_fd();
            let watched = self
                .poll
                .watch(libc::EPOLL_CTL_MOD, fd, events, index as u64);
            watched.expect("the connection is watched");
        }
    }
}

impl Connection {
    /// Writes what is left, or reads and writes back. False at the end.
    fn step(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.left.is_empty() {
            let written = transient(self.stream.write(&self.left))?.unwrap_or(0);
            self.left.drain(..written);
            return Ok(true);
        }
        let Some(n) = transient(self.stream.read(buffer))? else {
            return Ok(true);
        };
        if n == 0 {
            return Ok(false);
        }
        let written = transient(self.stream.write(&buffer[..n]))?.unwrap_or(0);
        self.left.extend_from_slice(&buffer[written..n]);
        Ok(true)
    }
}

/// `None` for a call that is to be made again later.
fn transient(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
