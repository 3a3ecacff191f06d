//! A hand-written copy loop: epoll for the sockets, plain calls for the files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use peer::download::{GATHER_BYTES, IN_FLIGHT, Plan, head, request};
use peer::files::Turns;
use peer::{Figures, Job, Measured, Meter, Poll};

pub(crate) fn measure(job: &Job) -> Measured {
    Ok(fetch(&Plan::of(job))?)
}

fn fetch(plan: &Plan) -> io::Result<Figures> {
    let turns = Turns::new(plan.objects);
    let meter = Meter::begin();
    let poll = Poll::new()?;
    let mut fetches = Vec::new();
    for index in 0..IN_FLIGHT.min(plan.objects) {
        let mut fetch = Fetch::connect(plan)?;
        fetch.begin(plan, &turns)?;
        let fd = fetch.stream.as_raw_fd();
        poll.watch(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, index as u64)?;
        fetches.push(fetch);
    }
    let mut done = 0;
    while done < plan.objects {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; IN_FLIGHT];
        let count = poll.wait(&mut events)?;
        for event in &events[..count] {
            let fetch = &mut fetches[event.u64 as usize];
            if fetch.go_on(plan)? {
                done += 1;
                fetch.begin(plan, &turns)?;
            }
        }
    }
    Ok(meter.end(plan.objects as u64))
}

/// A connection, and the object that it brings.
struct Fetch {
    stream: TcpStream,
    object: usize,
    /// Once the head has come: the file, and how much of the body it does not have yet.
    body: Option<(File, u64)>,
    buf: Vec<u8>,
    /// The part of the buffer that is not written yet.
    begin: usize,
    filled: usize,
}

impl Fetch {
    fn connect(plan: &Plan) -> io::Result<Self> {
        let stream = TcpStream::connect(plan.host())?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            object: 0,
            body: None,
            buf: vec![0; GATHER_BYTES],
            begin: 0,
            filled: 0,
        })
    }

    /// Asks for the next object, if there is one.
    fn begin(&mut self, plan: &Plan, turns: &Turns) -> io::Result<()> {
        let Some(object) = turns.take() else {
            return Ok(());
        };
        self.object = object;
        self.stream.write_all(&request(plan, object))
    }

    /// Reads once; whether the object is whole.
    fn go_on(&mut self, plan: &Plan) -> io::Result<bool> {
        match self.stream.read(&mut self.buf[self.filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        if self.body.is_none() {
            let Some((begin, body)) = head(&self.buf[..self.filled])? else {
                return Ok(false);
            };
            self.begin = begin;
            self.body = Some((File::create(plan.path(self.object))?, body));
        }
        self.save()
    }

    /// Writes when the buffer is full or the body whole; whether it is whole.
    fn save(&mut self) -> io::Result<bool> {
        let (file, left) = self.body.as_mut().expect("the head has come");
        let part = &self.buf[self.begin..self.filled];
        let is_whole = part.len() as u64 >= *left;
        if !is_whole && self.filled < self.buf.len() {
            return Ok(false);
        }
        file.write_all(part)?;
        *left -= part.len() as u64;
        (self.begin, self.filled) = (0, 0);
        if is_whole {
            self.body = None;
        }
        Ok(is_whole)
    }
}
