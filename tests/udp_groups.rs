//! Datagrams in segments and to groups: the same bodies on the real ring and in the simulation,
//! there under many seeds; and groups of several hosts.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::net::UdpSocket;
use corering::time::timeout;
use harness::{coded_bytes, everywhere, skip};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

#[cfg(feature = "sim")]
use corering::sim::{Host, Sim};

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let address = socket.local_addr().expect("it has one");
    (socket, address)
}

async fn next(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut room = vec![0; 65_536];
    match timeout(SECOND / 5, socket.recv(&mut room)).await {
        Ok(n) => Some(room[..n.expect("received")].to_vec()),
        Err(_) => None,
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    let error = result.expect_err("refused");
    error.raw_os_error().unwrap_or_else(|| panic!("{error}"))
}

// ---------------------------------------------------------------------------------------------
// Segments

/// One message is cut into datagrams; who asked for it may get some of them joined.
async fn segments() {
    let (ours, address) = socket().await;
    let (theirs, _) = socket().await;
    let sent = coded_bytes(3, 0, 10_500);
    let (result, sent) = theirs.send_segments_to(sent, 1000, address).await;
    match result {
        Err(error) if error.kind() == ErrorKind::Unsupported => return skip("no UDP_SEGMENT"),
        result => assert_eq!(result.expect("sent"), 10_500),
    }
    for piece in sent.chunks(1000) {
        assert_eq!(next(&ours).await.as_deref(), Some(piece));
    }
    match ours.set_gro(true) {
        Err(error) if error.kind() == ErrorKind::Unsupported => return skip("no UDP_GRO"),
        result => result.expect("set"),
    }
    assert!(ours.gro().expect("read"));
    theirs.connect(address).await.expect("connected");
    for _ in 0..3 {
        let (result, _) = theirs.send_segments(sent.clone(), 1000).await;
        assert_eq!(result.expect("sent"), 10_500);
        let mut all = Vec::new();
        while all.len() < sent.len() {
            let datagram = timeout(SECOND, ours.recv_datagram()).await;
            let datagram = datagram.expect("there").expect("received");
            assert!(!datagram.truncated);
            assert!(datagram.segment_len.is_none_or(|len| len == 1000));
            assert!(datagram.segment_len.is_some() || datagram.buf.len() <= 1000);
            for segment in datagram.into_segments() {
                let left = sent.len() - all.len();
                assert_eq!(segment.len(), left.min(1000), "as it was sent");
                all.extend_from_slice(&segment);
            }
        }
        assert_eq!(all, sent);
    }
    // The other methods give them one by one.
    let (result, sent) = theirs.send_segments(sent, 1000).await;
    assert_eq!(result.expect("sent"), 10_500);
    for piece in sent.chunks(1000) {
        assert_eq!(next(&ours).await.as_deref(), Some(piece));
    }
    // More than the kernel takes.
    let (many, _) = theirs.send_segments(vec![0; 2_000], 10).await;
    assert_eq!(many.expect_err("refused").kind(), ErrorKind::InvalidInput);
    let (long, _) = theirs.send_segments(vec![0; 65_508], 1400).await;
    assert_eq!(errno(long), libc::EMSGSIZE);
    assert!(next(&ours).await.is_none(), "all are sent or none");
}

#[test]
fn segments_are_cut_and_may_be_joined() {
    everywhere("segments_are_cut_and_may_be_joined", segments);
}

// ---------------------------------------------------------------------------------------------
// Groups

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 3);

/// On the loopback: once somebody has joined, every socket of the port hears the group.
async fn group() {
    let first = UdpSocket::bind_reuse_port("0.0.0.0:0")
        .await
        .expect("bound");
    let port = first.local_addr().expect("it has one").port();
    if let Err(error) = first.join_multicast_v4(GROUP, LOCAL) {
        return skip(format!("no multicast here: {error}"));
    }
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    let second = UdpSocket::bind_reuse_port(any).await.expect("bound");
    let (theirs, _) = socket().await;
    theirs.set_multicast_if_v4(LOCAL).expect("set");
    let to = SocketAddr::from((GROUP, port));
    if let Err(error) = theirs.send_to(b"all", to).await {
        return skip(format!("no multicast here: {error}"));
    }
    // The host listens: a socket that has not joined hears it, too.
    for socket in [&first, &second] {
        assert_eq!(next(socket).await.as_deref(), Some(&b"all"[..]));
    }
    // What goes out on the loopback comes in there, whatever this says.
    theirs.set_multicast_loop_v4(false).expect("set");
    theirs.send_to(b"loop", to).await.expect("sent");
    for socket in [&first, &second] {
        assert_eq!(next(socket).await.as_deref(), Some(&b"loop"[..]));
    }
    // Another group, or the same after the last one has left, is nobody's.
    let other = SocketAddr::from((Ipv4Addr::new(239, 255, 77, 4), port));
    theirs.send_to(b"other", other).await.expect("sent");
    second.join_multicast_v4(GROUP, LOCAL).expect("joined");
    first.leave_multicast_v4(GROUP, LOCAL).expect("left");
    theirs.send_to(b"one", to).await.expect("sent");
    for socket in [&first, &second] {
        assert_eq!(next(socket).await.as_deref(), Some(&b"one"[..]));
    }
    drop(second);
    corering::time::sleep(20 * MS).await;
    theirs.send_to(b"nobody", to).await.expect("sent");
    assert_eq!(next(&first).await, None);
}

#[test]
fn a_group_is_heard_where_somebody_has_joined() {
    everywhere("a_group_is_heard_where_somebody_has_joined", group);
}

/// Errors of joining, leaving and choosing an interface.
async fn refusals() {
    let (socket, _) = socket().await;
    if let Err(error) = socket.join_multicast_v4(GROUP, LOCAL) {
        return skip(format!("no multicast here: {error}"));
    }
    let nowhere = Ipv4Addr::new(203, 0, 113, 7);
    let host = Ipv4Addr::new(10, 9, 9, 9);
    let join = |group, interface| errno(socket.join_multicast_v4(group, interface));
    let leave = |group, interface| errno(socket.leave_multicast_v4(group, interface));
    assert_eq!(join(GROUP, LOCAL), libc::EADDRINUSE);
    assert_eq!(join(GROUP, nowhere), libc::ENODEV);
    assert_eq!(join(host, LOCAL), libc::EINVAL);
    let other = Ipv4Addr::new(239, 1, 1, 1);
    assert_eq!(leave(other, LOCAL), libc::EADDRNOTAVAIL);
    socket.leave_multicast_v4(GROUP, LOCAL).expect("left");
    assert_eq!(leave(GROUP, LOCAL), libc::EADDRNOTAVAIL);
    let out = errno(socket.set_multicast_if_v4(nowhere));
    assert_eq!(out, libc::EADDRNOTAVAIL);
    socket.set_multicast_if_v4(LOCAL).expect("set");
    socket
        .set_multicast_if_v4(Ipv4Addr::UNSPECIFIED)
        .expect("set");
}

#[test]
fn groups_refuse_what_the_kernel_refuses() {
    everywhere("groups_refuse_what_the_kernel_refuses", refusals);
}

// ---------------------------------------------------------------------------------------------
// Groups of several hosts

/// A member on each of three hosts, with a log of what it has heard.
#[cfg(feature = "sim")]
fn member(sim: &mut Sim, name: &str) -> (Host, std::rc::Rc<std::cell::RefCell<Vec<u8>>>) {
    let heard = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let log = heard.clone();
    let host = sim.host(name).boot(move |_core| {
        let log = log.clone();
        async move {
            let socket = UdpSocket::bind("0.0.0.0:5353").await.expect("bound");
            let any = Ipv4Addr::UNSPECIFIED;
            socket.join_multicast_v4(GROUP, any).expect("joined");
            loop {
                let mut room = [0; 8];
                let (n, from) = socket.recv_from(&mut room).await.expect("received");
                assert!(n == 1 && from.ip() != LOCAL && from.port() > 0);
                log.borrow_mut().push(room[0]);
            }
        }
    });
    (host, heard)
}

#[cfg(feature = "sim")]
#[test]
fn a_group_reaches_every_host_that_can_be_reached() {
    corering::sim::seeds(0..50, |sim| {
        let (a, at_a) = member(sim, "a");
        let (b, at_b) = member(sim, "b");
        let (_c, at_c) = member(sim, "c");
        sim.run_for(SECOND);
        let control = sim.control();
        let (one, other) = (a.clone(), b.clone());
        sim.block_on(&a, async move {
            let socket = UdpSocket::bind("0.0.0.0:9").await.expect("bound");
            let own = match one.address() {
                std::net::IpAddr::V4(address) => address,
                std::net::IpAddr::V6(_) => unreachable!("the first addresses are IPv4"),
            };
            let say = async |what: u8| {
                let n = socket.send_to(&[what], (GROUP, 5353)).await;
                assert_eq!(n.expect("sent"), 1);
                corering::time::sleep(SECOND).await;
            };
            say(1).await;
            control.partition(&one, &other);
            say(2).await;
            control.heal(&one, &other);
            socket.set_multicast_loop_v4(false).expect("set");
            say(3).await;
            socket.set_multicast_loop_v4(true).expect("set");
            socket.set_multicast_ttl_v4(0).expect("set");
            say(4).await;
            socket.set_multicast_ttl_v4(1).expect("set");
            socket.set_multicast_if_v4(LOCAL).expect("set");
            say(5).await; // nobody has joined there
            socket.set_multicast_if_v4(own).expect("an own address");
            say(6).await;
        });
        assert_eq!(*at_a.borrow(), [1, 2, 4, 6], "loops unless told not to");
        assert_eq!(*at_b.borrow(), [1, 3, 6], "it was cut off once");
        assert_eq!(*at_c.borrow(), [1, 2, 3, 6]);
        // Who dies leaves its groups.
        sim.kill(&b);
        sim.block_on(&a, async {
            let socket = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
            socket.send_to(&[7], (GROUP, 5353)).await.expect("sent");
            corering::time::sleep(SECOND).await;
        });
        assert_eq!(at_c.borrow().last(), Some(&7));
        assert_eq!(at_b.borrow().last(), Some(&6));
    });
}

/// A segment that the network cannot carry is refused where it would leave the host.
#[cfg(feature = "sim")]
#[test]
fn segments_that_leave_the_host_fit_its_network() {
    corering::sim::seeds(0..20, |sim| {
        let near = sim.host("near").boot(|_core| async {});
        let far = sim.host("far").boot(|_core| async {});
        let ours = sim.block_on(&far, async {
            UdpSocket::bind("0.0.0.0:7000").await.expect("bound")
        });
        let to = SocketAddr::from((far.address(), 7000));
        sim.block_on(&near, async move {
            let socket = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
            let (long, _) = socket.send_segments_to(vec![1; 4_000], 2_000, to).await;
            assert_eq!(long.expect_err("refused").kind(), ErrorKind::InvalidInput);
            let (fits, _) = socket.send_segments_to(vec![1; 4_000], 1_400, to).await;
            assert_eq!(fits.expect("sent"), 4_000);
        });
        sim.block_on(&far, async move {
            let mut total = 0;
            while total < 4_000 {
                total += next(&ours).await.expect("there").len();
            }
            assert_eq!(ours.dropped().expect("counted"), 0);
        });
    });
}

/// What a full socket drops is counted.
#[cfg(feature = "sim")]
#[test]
fn what_a_full_socket_drops_is_counted() {
    let mut sim = Sim::new(1);
    let host = sim.host("a").boot(|_core| async {});
    let (ours, address) = sim.block_on(&host, socket());
    let sent = 300;
    let dropped = sim.block_on(&host, async move {
        let (theirs, _) = socket().await;
        for _ in 0..sent {
            theirs.send_to(&[0; 1_000], address).await.expect("sent");
        }
        corering::time::sleep(SECOND).await;
        let mut received = 0;
        while next(&ours).await.is_some() {
            received += 1;
        }
        (ours.dropped().expect("counted"), received)
    });
    assert!(dropped.0 > 0, "{dropped:?}");
    assert_eq!(dropped.0 + dropped.1, sent);
    sim.finish();
}
