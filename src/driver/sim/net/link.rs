//! Links: what lies between two hosts, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::HostId;
use super::udp::Parcel;
use crate::driver::sim::rng::Rng;

/// How traffic travels from one host to another.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// From departure to arrival, in nanoseconds: at least, at most.
    pub(crate) latency: (u64, u64),
    /// Length of the segments into which a byte stream is cut, in bytes: at least, at most.
    pub(crate) segment: (usize, usize),
    /// Bytes per second that may depart. No limit without it.
    pub(crate) bandwidth: Option<u64>,
    /// Rate at which datagrams vanish, from 0 to 1. Byte streams lose nothing: their kernel sends
    /// again.
    pub(crate) loss: f64,
    /// Rate at which datagrams arrive twice.
    pub(crate) duplicate: f64,
    /// Rate at which a datagram is overtaken by later ones. All others keep their order.
    pub(crate) reorder: f64,
}

impl Default for Link {
    /// A local network: 50 to 500 µs, segments from 1 byte to 64 KiB, no faults.
    fn default() -> Link {
        Link {
            latency: (50_000, 500_000),
            segment: (1, 64 * 1024),
            bandwidth: None,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
        }
    }
}

impl Link {
    /// Traffic that does not leave its host: 1 to 10 µs, or no time at all.
    fn local(instant: bool) -> Link {
        Link {
            latency: if instant { (0, 0) } else { (1_000, 10_000) },
            ..Link::default()
        }
    }
}

/// From, to.
pub(super) type Pair = (HostId, HostId);

/// All links. Every pair of hosts has one in each direction.
#[derive(Debug)]
pub(super) struct Links {
    remote: Link,
    local: Link,
    own: BTreeMap<Pair, Link>,
    pub(super) partitioned: BTreeSet<Pair>,
    pub(super) clogged: BTreeSet<Pair>,
    /// Until when the wire is occupied by what departed before, where bandwidth is limited.
    busy_until: BTreeMap<Pair, u64>,
    /// When the last datagram in order arrives: the next one does not arrive earlier.
    last_datagram: BTreeMap<Pair, u64>,
    /// Datagrams that wait for [`Net::unclog`](super::Net::unclog).
    pub(super) held: BTreeMap<Pair, Vec<Parcel>>,
}

impl Links {
    pub(super) fn new() -> Links {
        Links {
            remote: Link::default(),
            local: Link::local(false),
            own: BTreeMap::new(),
            partitioned: BTreeSet::new(),
            clogged: BTreeSet::new(),
            busy_until: BTreeMap::new(),
            last_datagram: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(super) fn set_instant(&mut self) {
        self.local = Link::local(true);
    }

    pub(super) fn set_default(&mut self, link: Link) {
        self.remote = link;
    }

    pub(super) fn set(&mut self, pair: Pair, link: Link) {
        self.own.insert(pair, link);
    }

    pub(super) fn get(&self, pair: Pair) -> &Link {
        let general = if pair.0 == pair.1 {
            &self.local
        } else {
            &self.remote
        };
        self.own.get(&pair).unwrap_or(general)
    }

    /// Whether what arrives now gets through.
    pub(super) fn is_open(&self, pair: Pair) -> bool {
        !self.partitioned.contains(&pair) && !self.clogged.contains(&pair)
    }

    /// When `len` bytes that depart now arrive.
    pub(super) fn arrival(&mut self, pair: Pair, len: usize, now: u64, rng: &mut Rng) -> u64 {
        let link = self.get(pair);
        let latency = rng.between(link.latency.0, link.latency.1.max(link.latency.0));
        let mut departure = now;
        if let Some(bandwidth) = link.bandwidth {
            let nanos = len as u128 * 1_000_000_000 / u128::from(bandwidth.max(1));
            let busy_until = self.busy_until.entry(pair).or_default();
            departure = now.max(*busy_until).saturating_add(nanos as u64);
            *busy_until = departure;
        }
        departure.saturating_add(latency)
    }

    /// When the copies of a datagram arrive: none, one or two of them.
    pub(super) fn datagram(&mut self, pair: Pair, len: usize, now: u64, rng: &mut Rng) -> Vec<u64> {
        let Link {
            latency,
            loss,
            duplicate,
            reorder,
            ..
        } = *self.get(pair);
        // All dice are cast in any case, so that one rate does not shift the others.
        let (lost, twice) = (rng.chance(loss), rng.chance(duplicate));
        let copies = if lost { 0 } else { 1 + usize::from(twice) };
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let arrival = self.arrival(pair, len, now, rng);
            let late = rng.chance(reorder);
            let delay = rng.between(1, latency.1.max(1).saturating_mul(4));
            if late {
                arrivals.push(arrival.saturating_add(delay));
                continue;
            }
            let last = self.last_datagram.entry(pair).or_default();
            *last = arrival.max(*last);
            arrivals.push(*last);
        }
        arrivals
    }
}
