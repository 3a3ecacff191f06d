//! Rules of UDP.

use super::*;

#[test]
fn datagrams_keep_their_borders_and_their_sender() {
    let mut world = World::new(1);
    let (a, b) = (
        world.udp(world.a, "0.0.0.0:53"),
        world.udp(world.b, "10.0.0.2:53"),
    );
    let to = at("10.0.0.2:53");
    for bytes in [&b"one"[..], b"", b"three"] {
        assert_eq!(
            world.net.send_message(a, bytes, Some(&to), vec![], 0),
            Ok(bytes.len())
        );
    }
    world.settle();
    assert!(world.net.ready(b).readable);
    let peeked = world.net.recv_message(b, 2, true).unwrap();
    assert_eq!(
        (peeked.bytes.as_slice(), peeked.truncated, peeked.full_len),
        (&b"on"[..], true, 3)
    );
    let one = world.net.recv_message(b, 100, false).unwrap();
    assert_eq!(
        (one.bytes.as_slice(), one.from),
        (&b"one"[..], Some(at("10.0.0.1:53")))
    );
    assert_eq!(world.net.recv(b, 100), Ok(Vec::new()));
    let three = world.net.recv_message(b, 2, false).unwrap();
    assert!(three.bytes == b"th" && three.truncated && three.full_len == 5);
    assert_eq!(world.net.recv(b, 100), Err(libc::EAGAIN));
    let long = vec![0; 65_508];
    assert_eq!(
        world.net.send_message(a, &long, Some(&to), vec![], 0),
        Err(libc::EMSGSIZE)
    );
    assert_eq!(world.send(a, b"whereto"), Err(libc::EDESTADDRREQ));
    let nowhere = at("10.9.9.9:1");
    assert_eq!(
        world.net.send_message(a, b"x", Some(&nowhere), vec![], 0),
        Err(libc::EHOSTUNREACH)
    );
}

#[test]
fn a_connected_socket_hears_its_peer_alone_and_its_absence() {
    let mut world = World::new(2);
    let (a, b) = (
        world.udp(world.a, "0.0.0.0:53"),
        world.udp(world.b, "0.0.0.0:53"),
    );
    let stranger = world.udp(world.b, "0.0.0.0:54");
    world.net.connect(a, &at("10.0.0.2:53"), 0).unwrap();
    assert_eq!(world.net.local_name(a).unwrap(), at("10.0.0.1:53"));
    let to = at("10.0.0.1:53");
    world
        .net
        .send_message(stranger, b"psst", Some(&to), vec![], 0)
        .unwrap();
    world
        .net
        .send_message(b, b"hello", Some(&to), vec![], 0)
        .unwrap();
    world.settle();
    assert_eq!(world.net.recv(a, 10), Ok(b"hello".to_vec()));
    assert_eq!(world.net.recv(a, 10), Err(libc::EAGAIN));
    // A connected receiver's stranger is told that nobody is there, but it is not connected.
    assert_eq!(world.net.take_error(stranger), None);
    world.close(b);
    world.send(a, b"gone?").unwrap();
    world.settle();
    assert!(world.net.ready(a).error);
    assert_eq!(world.net.recv(a, 10), Err(libc::ECONNREFUSED));
    assert_eq!(world.net.recv(a, 10), Err(libc::EAGAIN));
    world.send(a, b"gone?").unwrap();
    world.settle();
    assert_eq!(world.send(a, b"x"), Err(libc::ECONNREFUSED));
    assert_eq!(world.send(a, b"x"), Ok(1));
}

#[test]
fn a_full_receiver_drops() {
    let mut world = World::new(3);
    let (a, b) = (
        world.udp(world.a, "0.0.0.0:53"),
        world.udp(world.b, "0.0.0.0:53"),
    );
    world.net.connect(a, &at("10.0.0.2:53"), 0).unwrap();
    for _ in 0..1000 {
        world.send(a, b"").unwrap();
    }
    world.settle();
    let mut count = 0;
    while world.net.recv(b, 1).is_ok() {
        count += 1;
    }
    assert!((200..300).contains(&count), "{count}");
    assert_eq!(
        world.net.tallies().udp.discarded[&Discard::Overflow],
        1000 - count
    );
}

#[test]
fn links_lose_double_and_reorder() {
    let run = |link: Link| {
        let mut world = World::new(4);
        world.net.set_default_link(link);
        let (a, b) = (
            world.udp(world.a, "0.0.0.0:53"),
            world.udp(world.b, "0.0.0.0:53"),
        );
        world.net.connect(a, &at("10.0.0.2:53"), 0).unwrap();
        let mut got = Vec::new();
        for number in 0..200_u8 {
            world.send(a, &[number]).unwrap();
            world.run_for(10_000);
        }
        world.settle();
        while let Ok(bytes) = world.net.recv(b, 1) {
            got.push(bytes[0]);
        }
        got
    };
    let all: Vec<u8> = (0..200).collect();
    assert_eq!(run(Link::default()), all);
    let lossy = run(Link {
        loss: 0.5,
        ..Link::default()
    });
    assert!((50..150).contains(&lossy.len()) && lossy.is_sorted());
    let twice = run(Link {
        duplicate: 0.2,
        ..Link::default()
    });
    assert!(
        (210..=250).contains(&twice.len()) && twice.is_sorted(),
        "{}",
        twice.len()
    );
    let mixed = run(Link {
        reorder: 0.2,
        ..Link::default()
    });
    assert!(mixed.len() == 200 && !mixed.is_sorted());
}

#[test]
fn a_partition_loses_and_a_clog_delays() {
    let mut world = World::new(5);
    let (a, b) = (
        world.udp(world.a, "0.0.0.0:53"),
        world.udp(world.b, "0.0.0.0:53"),
    );
    world.net.connect(a, &at("10.0.0.2:53"), 0).unwrap();
    world.net.partition(world.a, world.b, 0);
    world.send(a, b"lost").unwrap();
    world.settle();
    world.net.heal(world.a, world.b, world.now);
    world.net.clog(world.a, world.b, world.now);
    world.send(a, b"late").unwrap();
    world.settle();
    assert_eq!(world.net.recv(b, 9), Err(libc::EAGAIN));
    world.net.unclog(world.a, world.b, world.now);
    world.settle();
    assert_eq!(world.net.recv(b, 9), Ok(b"late".to_vec()));
    assert_eq!(world.net.recv(b, 9), Err(libc::EAGAIN));
}

/// The kernel picks the network.
const ANY: Interface = Interface::Address(Ipv4Addr::UNSPECIFIED);

#[test]
fn a_group_hears_what_is_sent_to_it() {
    let mut world = World::new(6);
    let group = ip("239.1.2.3");
    let (a, b) = (
        world.udp(world.a, "0.0.0.0:53"),
        world.udp(world.b, "0.0.0.0:53"),
    );
    let options = Options {
        reuse_port: true,
        ..world.net.options(b).unwrap()
    };
    world.net.set_options(b, options).unwrap();
    let third = world
        .net
        .socket(world.b, libc::AF_INET, libc::SOCK_DGRAM)
        .unwrap();
    world.net.set_options(third, options).unwrap();
    world.net.bind(third, &at("0.0.0.0:53")).unwrap();
    let other = world.udp(world.b, "0.0.0.0:54");
    for id in [a, b, third, other] {
        world.net.join(id, group, ANY).unwrap();
    }
    assert_eq!(world.net.join(b, group, ANY), Err(libc::EADDRINUSE));
    let no_group = world.net.join(b, ip("10.0.0.2"), ANY);
    assert_eq!(no_group, Err(libc::EINVAL));
    let elsewhere = Interface::Address("10.0.0.1".parse().unwrap());
    assert_eq!(world.net.join(b, group, elsewhere), Err(libc::ENODEV));
    let to = at("239.1.2.3:53");
    world
        .net
        .send_message(a, b"all", Some(&to), vec![], 0)
        .unwrap();
    world.settle();
    for id in [a, b, third] {
        assert_eq!(world.net.recv(id, 9), Ok(b"all".to_vec()));
    }
    assert_eq!(world.net.recv(other, 9), Err(libc::EAGAIN));
    world.net.leave(b, group, ANY).unwrap();
    assert_eq!(world.net.leave(b, group, ANY), Err(libc::EADDRNOTAVAIL));
    world.net.partition(world.a, world.b, world.now);
    world
        .net
        .send_message(a, b"who", Some(&to), vec![], world.now)
        .unwrap();
    world.settle();
    assert_eq!(world.net.recv(a, 9), Ok(b"who".to_vec()));
    assert_eq!(world.net.recv(third, 9), Err(libc::EAGAIN));
    assert_eq!(world.net.check(), Ok(()));
}

#[test]
fn sockets_that_share_a_port_keep_their_senders() {
    let mut world = World::new(7);
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let id = world
                .net
                .socket(world.b, libc::AF_INET, libc::SOCK_DGRAM)
                .unwrap();
            let options = Options {
                reuse_port: true,
                ..world.net.options(id).unwrap()
            };
            world.net.set_options(id, options).unwrap();
            world.net.bind(id, &at("0.0.0.0:53")).unwrap();
            id
        })
        .collect();
    let mut used = BTreeSet::new();
    for port in 1..40_u8 {
        let sender = world.udp(world.a, &format!("0.0.0.0:{port}"));
        world.net.connect(sender, &at("10.0.0.2:53"), 0).unwrap();
        for _ in 0..3 {
            world.send(sender, &[port]).unwrap();
        }
        world.settle();
        let mut counts = receivers.iter().map(|id| world.drain(*id).len());
        let chosen = counts.position(|count| count > 0).unwrap();
        assert_eq!(counts.sum::<usize>(), 0);
        used.insert(chosen);
    }
    assert_eq!(used.len(), 4);
}
