//! What lies between two hosts.

use crate::driver::sim;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How traffic travels from one host to another.
///
/// ```
/// use corering::sim::Link;
/// use std::time::Duration;
/// let mut far = Link::default();
/// far.latency = Duration::from_millis(80)..=Duration::from_millis(120);
/// far.loss = 0.01;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Link {
    /// The time from departure to arrival; 50 to 500 µs by default.
    pub latency: RangeInclusive<Duration>,
    /// Bytes of the segments into which a stream is cut; 1 to 65,536 by default.
    pub segment: RangeInclusive<usize>,
    /// Bytes per second that may depart; no limit by default.
    pub bandwidth: Option<u64>,
    /// The rate at which datagrams vanish, from 0 (the default) to 1. Streams lose nothing.
    pub loss: f64,
    /// The rate at which datagrams arrive twice.
    pub duplicate: f64,
    /// The rate at which a datagram is overtaken by later ones.
    pub reorder: f64,
}

impl Default for Link {
    fn default() -> Link {
        let link = sim::Link::default();
        let (least, most) = link.latency;
        Link {
            latency: Duration::from_nanos(least)..=Duration::from_nanos(most),
            segment: link.segment.0..=link.segment.1,
            bandwidth: link.bandwidth,
            loss: link.loss,
            duplicate: link.duplicate,
            reorder: link.reorder,
        }
    }
}

impl From<Link> for sim::Link {
    fn from(link: Link) -> sim::Link {
        let nanos = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4);
        sim::Link {
            latency: (nanos(link.latency.start()), nanos(link.latency.end())),
            segment: (*link.segment.start(), *link.segment.end()),
            bandwidth: link.bandwidth,
            loss: link.loss,
            duplicate: link.duplicate,
            reorder: link.reorder,
        }
    }
}
