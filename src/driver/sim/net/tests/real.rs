//! The same random programs on the model and on the kernel's own loopback, outcome by outcome.
//!
//! Compared are error numbers, byte counts, the bytes themselves and the ends of streams, each
//! after both worlds came to rest. Where the kernel is free to differ, the programs do not go:
//!
//! 1. Full buffers: the kernel counts its own overhead. Sends stay far below both limits.
//! 2. The sizes of receives while segments still travel: nothing is asked before the rest.
//! 3. A full TCP backlog: the kernel retries after a second of real time. TCP listeners here have
//!    room; those of `AF_UNIX` get full, where the kernel says `EAGAIN` and the model waits.
//! 4. `shutdown` of a TCP socket that never connected fails, but the kernel remembers it; the
//!    model does not, and such a socket is not used again.
//! 5. Small TCP sends that wait for the acknowledgement of others (Nagle): switched off.
//! 6. Passed descriptors and `poll` need `unsafe` to be asked of the kernel, and are not compared.
//!
//! A failure prints its seed; `SIMNET_SEED` runs one seed alone.

use std::io::{self, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use socket2::{Domain, Socket as Real, Type};

use super::*;

const SEEDS: u64 = 12;
const STEPS: usize = 120;

/// A socket in both worlds.
struct Twin {
    model: SocketId,
    real: Real,
}

/// What an operation said: a count or bytes, or an error number.
type Outcome<T> = Result<T, Errno>;

struct Worlds {
    world: World,
    chance: Rng,
    /// What was done and said, for the report of a failure.
    story: Vec<String>,
    seed: u64,
    kind: i32,
    twins: Vec<Twin>,
    sent: usize,
}

impl Worlds {
    fn new(seed: u64, kind: i32) -> Worlds {
        Worlds {
            world: World::new(seed),
            chance: Rng::new(seed ^ 0xABCD),
            story: Vec::new(),
            seed,
            kind,
            twins: Vec::new(),
            sent: 0,
        }
    }

    /// Lets both worlds finish what is under way.
    #[allow(
        clippy::disallowed_methods,
        reason = "the kernel's loopback takes real time"
    )]
    fn rest(&mut self) {
        self.world.settle();
        std::thread::sleep(Duration::from_micros(150));
    }

    #[track_caller]
    fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: String,
        model: Outcome<T>,
        real: io::Result<T>,
    ) {
        let real = real.map_err(|error| error.raw_os_error().unwrap_or(-1));
        self.story.push(format!("{what}: {model:?}"));
        assert_eq!(
            model,
            real,
            "model, then kernel; SIMNET_SEED={} kind {}\n{}",
            self.seed,
            self.kind,
            self.story.join("\n")
        );
        self.rest();
    }

    fn twin(&mut self, domain: i32) -> Twin {
        let model = self
            .world
            .net
            .socket(self.world.a, domain, self.kind)
            .unwrap();
        let real = Real::new(Domain::from(domain), Type::from(self.kind), None).unwrap();
        prepare(&real);
        Twin { model, real }
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.twins.is_empty()).then(|| self.chance.index(self.twins.len()))
    }

    fn send(&mut self, at: usize) {
        let len = self.chance.below(300) as usize;
        let bytes = pattern(self.sent, len);
        self.sent += len;
        let model = self.world.send(self.twins[at].model, &bytes);
        let real = (&self.twins[at].real).write(&bytes);
        let what = format!("send {:?} {len}", self.twins[at].model);
        self.same(what, model, real);
    }

    fn recv(&mut self, at: usize) {
        let max = 1 + self.chance.below(400) as usize;
        let model = self.world.net.recv(self.twins[at].model, max);
        let mut bytes = vec![0; max];
        let real = (&self.twins[at].real).read(&mut bytes);
        bytes.truncate(*real.as_ref().unwrap_or(&0));
        let what = format!("recv {:?} {max}", self.twins[at].model);
        self.same(what, model, real.map(|_| bytes));
    }

    fn shutdown(&mut self, at: usize) {
        let (how, real_how) = match self.chance.below(4) {
            0 => (How::Read, Shutdown::Read),
            1 => (How::Both, Shutdown::Both),
            _ => (How::Write, Shutdown::Write),
        };
        let model = self
            .world
            .net
            .shutdown(self.twins[at].model, how, self.world.now);
        let real = self.twins[at].real.shutdown(real_how);
        let what = format!("shutdown {:?} {how:?}", self.twins[at].model);
        self.same(what, model, real);
    }

    fn close(&mut self, at: usize) {
        let linger_zero = self.chance.chance(0.3);
        let twin = self.twins.swap_remove(at);
        if linger_zero {
            twin.real.set_linger(Some(Duration::ZERO)).unwrap();
        }
        self.world
            .net
            .close(twin.model, linger_zero, self.world.now)
            .unwrap();
        drop(twin.real);
        self.story
            .push(format!("close {:?} linger zero {linger_zero}", twin.model));
        self.rest();
    }

    fn take_error(&mut self, at: usize) {
        let model = self.world.net.take_error(self.twins[at].model);
        let real = self.twins[at].real.take_error();
        let what = format!("take_error {:?}", self.twins[at].model);
        let real = real.map(|error| error.and_then(|error| error.raw_os_error()));
        self.same(what, Ok(model), real);
    }

    fn names(&mut self, at: usize) {
        let model = self.world.net.peer_name(self.twins[at].model).map(|_| ());
        let real = self.twins[at].real.peer_addr().map(|_| ());
        let what = format!("peer_name {:?}", self.twins[at].model);
        self.same(what, model, real);
    }

    fn accept(&mut self, listener: &Twin) {
        let model = self
            .world
            .net
            .accept(listener.model)
            .unwrap_or(Err(libc::EAGAIN));
        let real = listener.real.accept();
        let what = format!("accept {model:?}");
        let errno = |error: &io::Error| error.raw_os_error().unwrap_or(-1);
        let said = match &real {
            Ok(_) => Ok(()),
            Err(error) => Err(io::Error::from_raw_os_error(errno(error))),
        };
        self.same(what, model.map(|_| ()), said);
        if let (Ok(model), Ok((real, _))) = (model, real) {
            prepare(&real);
            self.twins.push(Twin { model, real });
        }
    }

    /// Connects on both sides, and asks for the outcome. The model's pending is the kernel's
    /// `EAGAIN`: both give up then.
    fn connect(&mut self, twin: &Twin, model_to: &SockAddr, real_to: &SockAddr) -> bool {
        let started = self.world.net.connect(twin.model, model_to, self.world.now);
        let mut real = twin.real.connect(real_to);
        self.rest();
        let error = real.as_ref().err().and_then(io::Error::raw_os_error);
        if error == Some(libc::EINPROGRESS) {
            real = twin.real.connect(real_to);
        }
        let model = started.and_then(|()| {
            self.world
                .net
                .connect_result(twin.model)
                .unwrap_or(Err(libc::EAGAIN))
        });
        self.same(format!("connect {:?}", twin.model), model, real);
        model.is_ok()
    }

    fn talk(&mut self) {
        let Some(at) = self.pick() else {
            return;
        };
        match self.chance.below(20) {
            0..7 => self.send(at),
            7..14 => self.recv(at),
            14 | 15 => self.shutdown(at),
            16 | 17 => self.close(at),
            18 => self.take_error(at),
            _ => self.names(at),
        }
    }
}

/// A loopback address that no other test of this machine binds to, with any port: what is closed
/// here must not come back as somebody else's socket.
fn own_address(seed: u64) -> String {
    let pid = u64::from(std::process::id());
    format!(
        "127.{}.{}.{}:0",
        64 + pid % 128,
        (pid / 128) % 256,
        1 + seed % 250
    )
}

fn prepare(real: &Real) {
    real.set_nonblocking(true).unwrap();
    // Nothing to set on a socket that is not TCP.
    let _ = real.set_tcp_nodelay(true);
}

fn for_all_seeds(run: impl Fn(u64)) {
    match std::env::var("SIMNET_SEED") {
        Ok(seed) => run(seed.parse().expect("SIMNET_SEED is a number")),
        Err(_) => (0..SEEDS).for_each(run),
    }
}

#[test]
fn tcp_does_what_the_kernel_does() {
    for_all_seeds(|seed| {
        let mut worlds = Worlds::new(seed, libc::SOCK_STREAM);
        let domain = if seed % 4 == 3 {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        let name = if seed % 4 == 3 {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let listen = |worlds: &mut Worlds| {
            let twin = worlds.twin(domain);
            twin.real.bind(&at(name)).unwrap();
            twin.real.listen(64).unwrap();
            worlds.world.net.bind(twin.model, &at(name)).unwrap();
            worlds.world.net.listen(twin.model, 64).unwrap();
            twin
        };
        let mut listener = listen(&mut worlds);
        for _ in 0..STEPS {
            match worlds.chance.below(16) {
                0 | 1 => {
                    let twin = worlds.twin(domain);
                    let model_to = worlds.world.net.local_name(listener.model).unwrap();
                    let real_to = listener.real.local_addr().unwrap();
                    if worlds.connect(&twin, &model_to, &real_to) {
                        worlds.twins.push(twin);
                    }
                }
                2 | 3 => worlds.accept(&listener),
                4 if worlds.chance.chance(0.3) => {
                    let (model_to, real_to) = (
                        worlds.world.net.local_name(listener.model).unwrap(),
                        listener.real.local_addr().unwrap(),
                    );
                    worlds
                        .world
                        .net
                        .close(listener.model, false, worlds.world.now)
                        .unwrap();
                    drop(listener);
                    worlds.story.push("close the listener".into());
                    worlds.rest();
                    let twin = worlds.twin(domain);
                    worlds.connect(&twin, &model_to, &real_to);
                    // Not connected: it can still be asked.
                    worlds.twins.push(twin);
                    let at = worlds.twins.len() - 1;
                    worlds.send(at);
                    worlds.recv(at);
                    worlds.close(at);
                    listener = listen(&mut worlds);
                }
                _ => worlds.talk(),
            }
        }
    });
}

#[test]
fn udp_does_what_the_kernel_does() {
    for_all_seeds(|seed| {
        let mut worlds = Worlds::new(seed, libc::SOCK_DGRAM);
        let mut names = Vec::new();
        let bound = |worlds: &mut Worlds, names: &mut Vec<(SockAddr, SockAddr)>| {
            let twin = worlds.twin(libc::AF_INET);
            let own = at(&own_address(seed));
            // A name that was closed stays without a socket in both worlds.
            let mut rejected = Vec::new();
            let real = loop {
                let real = Real::new(Domain::IPV4, Type::DGRAM, None).unwrap();
                prepare(&real);
                real.bind(&own).unwrap();
                let name = real.local_addr().unwrap();
                if names.iter().all(|(_, other)| *other != name) {
                    break real;
                }
                rejected.push(real);
            };
            worlds.world.net.bind(twin.model, &own).unwrap();
            let model_name = worlds.world.net.local_name(twin.model).unwrap();
            names.push((model_name, real.local_addr().unwrap()));
            worlds.twins.push(Twin {
                model: twin.model,
                real,
            });
        };
        for _ in 0..4 {
            bound(&mut worlds, &mut names);
        }
        for _ in 0..STEPS {
            let Some(at) = worlds.pick() else {
                bound(&mut worlds, &mut names);
                continue;
            };
            let to = worlds.chance.index(names.len());
            let (model_to, real_to) = names[to].clone();
            match worlds.chance.below(16) {
                0..5 => {
                    let lens = [0, 1, 100, 1000, 65_507, 65_508];
                    let bytes = pattern(to, lens[worlds.chance.index(lens.len())]);
                    let (model, now) = (worlds.twins[at].model, worlds.world.now);
                    let net = &mut worlds.world.net;
                    let sent = net.send_message(model, &bytes, Some(&model_to), Vec::new(), now);
                    let real = worlds.twins[at].real.send_to(&bytes, &real_to);
                    worlds.same(
                        format!("send_to {model:?} {to} {}", bytes.len()),
                        sent,
                        real,
                    );
                    // Large ones would fill the buffers, which are not the same.
                    drain_udp(&mut worlds);
                }
                5 => {
                    let twin = worlds.twins.swap_remove(at);
                    worlds.connect(&twin, &model_to, &real_to);
                    worlds.twins.push(twin);
                }
                6 => worlds.close(at),
                7 => worlds.names(at),
                8 => worlds.take_error(at),
                9 if worlds.twins.len() < 4 => bound(&mut worlds, &mut names),
                9..13 => worlds.send(at),
                _ => worlds.recv(at),
            }
        }
    });
}

/// Reads all that has arrived everywhere, into buffers that are sometimes too short.
fn drain_udp(worlds: &mut Worlds) {
    for at in 0..worlds.twins.len() {
        let model = worlds.twins[at].model;
        loop {
            let max = [50, 70_000][worlds.chance.index(2)];
            let said = worlds.world.net.recv_message(model, max, false);
            let is_empty = matches!(said, Err(libc::EAGAIN));
            let mut bytes = vec![0; max];
            let socket = UdpSocket::from(worlds.twins[at].real.try_clone().unwrap());
            let real = socket.recv_from(&mut bytes);
            let real = real.map(|(len, _)| bytes[..len].to_vec());
            let what = format!("recv_from {model:?} {max}");
            worlds.same(what, said.map(|said| said.bytes), real);
            if is_empty {
                break;
            }
        }
    }
}

#[test]
fn unix_streams_and_packets_do_what_the_kernel_does() {
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        for_all_seeds(|seed| unix_connections(seed, kind));
    }
}

fn unix_connections(seed: u64, kind: i32) {
    let mut worlds = Worlds::new(seed, kind);
    let name = path(&format!(
        "\0corering-simnet-{}-{seed}-{kind}",
        std::process::id()
    ));
    let listen = |worlds: &mut Worlds| {
        let twin = worlds.twin(libc::AF_UNIX);
        twin.real.bind(&name).unwrap();
        twin.real.listen(2).unwrap();
        worlds.world.net.bind(twin.model, &name).unwrap();
        worlds.world.net.listen(twin.model, 2).unwrap();
        twin
    };
    let mut listener = listen(&mut worlds);
    for _ in 0..STEPS {
        match worlds.chance.below(16) {
            0 | 1 => {
                let twin = worlds.twin(libc::AF_UNIX);
                if worlds.connect(&twin, &name, &name) {
                    worlds.twins.push(twin);
                } else {
                    worlds
                        .world
                        .net
                        .close(twin.model, false, worlds.world.now)
                        .unwrap();
                }
            }
            2 => worlds.accept(&listener),
            3 => {
                let host = worlds.world.a;
                let (a, b) = worlds
                    .world
                    .net
                    .socketpair(host, libc::AF_UNIX, kind)
                    .unwrap();
                let real = Real::pair(Domain::UNIX, Type::from(kind), None).unwrap();
                for (model, real) in [(a, real.0), (b, real.1)] {
                    real.set_nonblocking(true).unwrap();
                    worlds.twins.push(Twin { model, real });
                }
            }
            4 if worlds.chance.chance(0.3) => {
                worlds
                    .world
                    .net
                    .close(listener.model, false, worlds.world.now)
                    .unwrap();
                drop(listener);
                worlds.story.push("close the listener".into());
                let twin = worlds.twin(libc::AF_UNIX);
                worlds.connect(&twin, &name, &name);
                // Not connected: it can still be asked.
                worlds.twins.push(twin);
                let at = worlds.twins.len() - 1;
                worlds.send(at);
                worlds.recv(at);
                worlds.close(at);
                listener = listen(&mut worlds);
            }
            _ => worlds.talk(),
        }
    }
}

#[test]
fn unix_datagrams_do_what_the_kernel_does() {
    for_all_seeds(|seed| {
        let mut worlds = Worlds::new(seed, libc::SOCK_DGRAM);
        let name = |number: usize| {
            path(&format!(
                "\0corering-simnet-dgram-{}-{seed}-{number}",
                std::process::id()
            ))
        };
        let mut bound = 0;
        for _ in 0..STEPS {
            if worlds.twins.len() < 3 {
                let twin = worlds.twin(libc::AF_UNIX);
                twin.real.bind(&name(bound)).unwrap();
                worlds.world.net.bind(twin.model, &name(bound)).unwrap();
                worlds.twins.push(twin);
                bound += 1;
                continue;
            }
            let at = worlds.chance.index(worlds.twins.len());
            let to = name(worlds.chance.index(bound + 1));
            match worlds.chance.below(16) {
                0..6 => {
                    let bytes = pattern(at, worlds.chance.below(100) as usize);
                    let (model, now) = (worlds.twins[at].model, worlds.world.now);
                    let net = &mut worlds.world.net;
                    let sent = net.send_message(model, &bytes, Some(&to), Vec::new(), now);
                    let real = worlds.twins[at].real.send_to(&bytes, &to);
                    worlds.same(format!("send_to {model:?} {to:?}"), sent, real);
                }
                6 => {
                    let twin = worlds.twins.swap_remove(at);
                    worlds.connect(&twin, &to, &to);
                    worlds.twins.push(twin);
                }
                7 => worlds.close(at),
                8 => worlds.names(at),
                9..12 => worlds.send(at),
                _ => recv_unix(&mut worlds, at),
            }
        }
    });
}

fn recv_unix(worlds: &mut Worlds, at: usize) {
    let model = worlds.twins[at].model;
    let max = [20, 200][worlds.chance.index(2)];
    let said = worlds.world.net.recv_message(model, max, false);
    let said = said.map(|said| (said.bytes, said.from.is_some()));
    let mut bytes = vec![0; max];
    let socket = UnixDatagram::from(std::os::fd::OwnedFd::from(
        worlds.twins[at].real.try_clone().unwrap(),
    ));
    let real = socket.recv_from(&mut bytes);
    let real = real.map(|(len, from)| (bytes[..len].to_vec(), !from.is_unnamed()));
    worlds.same(format!("recv_from {model:?} {max}"), said, real);
}
