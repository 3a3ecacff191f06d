//! Tests of the simulated network: each rule alone, and random programs next to the real kernel.

mod fault;
mod real;
mod tcp;
mod udp;
mod unix;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;

const MILLI: u64 = 1_000_000;

/// A network with its clock and its chance.
struct World {
    net: Net,
    rng: Rng,
    now: u64,
    a: HostId,
    b: HostId,
}

impl World {
    /// Two hosts, 10.0.0.1 and 10.0.0.2.
    fn new(seed: u64) -> World {
        let mut net = Net::new();
        let a = net.add_host(vec![ip("10.0.0.1"), ip("fd00::1")]);
        let b = net.add_host(vec![ip("10.0.0.2"), ip("fd00::2")]);
        World {
            net,
            rng: Rng::new(seed),
            now: 0,
            a,
            b,
        }
    }

    /// Lets time pass, event by event, and asks the oracle at each.
    fn run_for(&mut self, nanos: u64) -> Vec<SocketId> {
        let until = self.now + nanos;
        let mut woken = BTreeSet::new();
        while let Some(next) = self.net.next_event().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            woken.extend(self.net.advance(self.now, &mut self.rng));
            assert_eq!(self.net.check(), Ok(()));
        }
        self.now = until;
        woken.extend(self.net.advance(until, &mut self.rng));
        woken.into_iter().collect()
    }

    /// Lets everything happen that happens soon.
    fn settle(&mut self) {
        self.run_for(100 * MILLI);
    }

    fn tcp(&mut self, host: HostId) -> SocketId {
        self.net
            .socket(host, libc::AF_INET, libc::SOCK_STREAM)
            .unwrap()
    }

    fn udp(&mut self, host: HostId, address: &str) -> SocketId {
        let id = self
            .net
            .socket(host, libc::AF_INET, libc::SOCK_DGRAM)
            .unwrap();
        self.net.bind(id, &at(address)).unwrap();
        id
    }

    fn unix(&mut self, kind: i32) -> SocketId {
        self.net.socket(self.a, libc::AF_UNIX, kind).unwrap()
    }

    fn listener(&mut self, host: HostId, address: &str, backlog: i32) -> SocketId {
        let id = self.tcp(host);
        self.net.bind(id, &at(address)).unwrap();
        self.net.listen(id, backlog).unwrap();
        id
    }

    /// A connection from `a` to `b`: its two ends, and the listener.
    fn connection(&mut self) -> (SocketId, SocketId, SocketId) {
        let listener = self.listener(self.b, "0.0.0.0:80", 16);
        let client = self.tcp(self.a);
        self.net
            .connect(client, &at("10.0.0.2:80"), self.now)
            .unwrap();
        self.settle();
        assert_eq!(self.net.connect_result(client), Some(Ok(())));
        let server = self.net.accept(listener).unwrap().unwrap();
        (client, server, listener)
    }

    fn send(&mut self, id: SocketId, bytes: &[u8]) -> Result<usize, Errno> {
        self.net.send(id, bytes, self.now)
    }

    fn close(&mut self, id: SocketId) {
        self.net.close(id, false, self.now).unwrap();
    }

    /// Reads until there is nothing more for now.
    fn drain(&mut self, id: SocketId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(bytes) = self.net.recv(id, 4096) {
            if bytes.is_empty() {
                break;
            }
            all.extend(bytes);
        }
        all
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SockAddr {
    text.parse::<SocketAddr>().unwrap().into()
}

fn path(text: &str) -> SockAddr {
    SockAddr::unix(text).unwrap()
}

/// Bytes that tell their place.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at % 251) as u8).collect()
}
