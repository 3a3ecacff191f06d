//! Rules of TCP.

use super::*;

#[test]
fn a_connect_takes_a_round_trip() {
    let mut world = World::new(1);
    let link = Link {
        latency: (MILLI, MILLI),
        ..Link::default()
    };
    world.net.set_default_link(link);
    let listener = world.listener(world.b, "0.0.0.0:80", 16);
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    assert_eq!(
        world.net.connect(client, &at("10.0.0.2:80"), 0),
        Err(libc::EALREADY)
    );
    assert_eq!(world.send(client, b"early"), Err(libc::EAGAIN));
    world.run_for(2 * MILLI - 1);
    assert_eq!(world.net.connect_result(client), None);
    assert!(!world.net.ready(client).connected);
    assert!(world.run_for(1).contains(&client));
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
    assert!(world.net.ready(client).connected && world.net.ready(client).writable);
    assert_eq!(world.net.accept(listener), None);
    assert!(world.run_for(MILLI).contains(&listener));
    assert!(world.net.ready(listener).acceptable);
    let server = world.net.accept(listener).unwrap().unwrap();
    let local = world.net.local_name(client).unwrap();
    assert_eq!(world.net.peer_name(server).unwrap(), local);
    assert_eq!(world.net.peer_name(client).unwrap(), at("10.0.0.2:80"));
    assert_eq!(local.as_socket().unwrap().ip(), ip("10.0.0.1"));
    assert_eq!(
        world.net.connect(client, &at("10.0.0.2:80"), 0),
        Err(libc::EISCONN)
    );
    assert_eq!(world.net.next_event(), None);
}

#[test]
fn a_connect_fails_in_many_ways() {
    let mut world = World::new(2);
    let mut fails = |to: &str| {
        let id = world.tcp(world.a);
        if let Err(error) = world.net.connect(id, &at(to), world.now) {
            return error;
        }
        world.settle();
        let error = world.net.connect_result(id).unwrap().unwrap_err();
        assert_eq!(world.net.connect_result(id), Some(Err(libc::ENOTCONN)));
        assert_eq!(world.net.local_name(id).unwrap(), at("0.0.0.0:0"));
        error
    };
    assert_eq!(fails("10.0.0.2:80"), libc::ECONNREFUSED);
    assert_eq!(fails("127.0.0.1:80"), libc::ECONNREFUSED);
    assert_eq!(fails("10.0.0.9:80"), libc::EHOSTUNREACH);
    assert_eq!(fails("[fd00::2]:80"), libc::EAFNOSUPPORT);
    let id = world.tcp(world.a);
    assert_eq!(
        world.net.socket(world.a, libc::AF_INET, libc::SOCK_RAW),
        Err(libc::ESOCKTNOSUPPORT)
    );
    world.net.bind(id, &at("127.0.0.1:0")).unwrap();
    assert_eq!(
        world.net.connect(id, &at("10.0.0.2:80"), 0),
        Err(libc::EINVAL)
    );
    let alone = world.net.add_host(Vec::new());
    let id = world.tcp(alone);
    assert_eq!(
        world.net.connect(id, &at("10.0.0.2:80"), 0),
        Err(libc::ENETUNREACH)
    );
}

#[test]
fn a_socket_whose_connect_failed_can_connect_again() {
    let mut world = World::new(3);
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    assert_eq!(
        world.net.connect_result(client),
        Some(Err(libc::ECONNREFUSED))
    );
    world.listener(world.b, "10.0.0.2:80", 1);
    world
        .net
        .connect(client, &at("10.0.0.2:80"), world.now)
        .unwrap();
    world.settle();
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
}

#[test]
fn binding_follows_the_rules() {
    let mut world = World::new(4);
    let bind = |world: &mut World, address: &str, share: (bool, bool)| {
        let id = world.tcp(world.a);
        let options = world.net.options(id).unwrap();
        let options = Options {
            reuse_address: share.0,
            reuse_port: share.1,
            ..options
        };
        world.net.set_options(id, options).unwrap();
        world.net.bind(id, &at(address)).map(|()| id)
    };
    let plain = (false, false);
    let first = bind(&mut world, "0.0.0.0:80", plain).unwrap();
    assert_eq!(world.net.bind(first, &at("0.0.0.0:81")), Err(libc::EINVAL));
    assert_eq!(
        bind(&mut world, "10.0.0.1:80", plain),
        Err(libc::EADDRINUSE)
    );
    assert_eq!(
        bind(&mut world, "10.0.0.2:99", plain),
        Err(libc::EADDRNOTAVAIL)
    );
    assert!(bind(&mut world, "10.0.0.1:82", plain).is_ok());
    assert!(bind(&mut world, "127.0.0.1:82", plain).is_ok());
    let zero = bind(&mut world, "127.0.0.1:0", plain).unwrap();
    assert_ne!(world.net.local_name(zero).unwrap(), at("127.0.0.1:0"));
    world.close(first);
    assert!(bind(&mut world, "10.0.0.1:80", plain).is_ok());
    // SO_REUSEPORT on both; SO_REUSEADDR until one listens.
    let port = bind(&mut world, "0.0.0.0:90", (false, true)).unwrap();
    world.net.listen(port, 1).unwrap();
    assert!(bind(&mut world, "0.0.0.0:90", (false, true)).is_ok());
    assert_eq!(bind(&mut world, "0.0.0.0:90", plain), Err(libc::EADDRINUSE));
    let one = bind(&mut world, "0.0.0.0:91", (true, false)).unwrap();
    let two = bind(&mut world, "0.0.0.0:91", (true, false)).unwrap();
    world.net.listen(one, 1).unwrap();
    assert_eq!(world.net.listen(two, 1), Err(libc::EADDRINUSE));
    assert_eq!(
        bind(&mut world, "0.0.0.0:91", (true, false)),
        Err(libc::EADDRINUSE)
    );
}

#[test]
fn ipv6_sockets_speak_ipv4_too() {
    let mut world = World::new(5);
    let listener = world
        .net
        .socket(world.b, libc::AF_INET6, libc::SOCK_STREAM)
        .unwrap();
    world.net.bind(listener, &at("[::]:80")).unwrap();
    world.net.listen(listener, 4).unwrap();
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    let server = world.net.accept(listener).unwrap().unwrap();
    let peer = world.net.peer_name(server).unwrap().as_socket().unwrap();
    assert_eq!(peer.ip(), ip("::ffff:10.0.0.1"));
    let client = world
        .net
        .socket(world.a, libc::AF_INET6, libc::SOCK_STREAM)
        .unwrap();
    world.net.connect(client, &at("[fd00::2]:80"), 0).unwrap();
    world.settle();
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
    // Not with IPV6_V6ONLY.
    let options = world.net.options(listener).unwrap();
    world
        .net
        .set_options(
            listener,
            Options {
                only_v6: true,
                ..options
            },
        )
        .unwrap();
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    assert_eq!(
        world.net.connect_result(client),
        Some(Err(libc::ECONNREFUSED))
    );
}

#[test]
fn a_full_backlog_drops_the_connect_until_there_is_room() {
    let mut world = World::new(6);
    let listener = world.listener(world.b, "0.0.0.0:80", 1);
    let clients: Vec<_> = (0..3).map(|_| world.tcp(world.a)).collect();
    for client in &clients {
        world
            .net
            .connect(*client, &at("10.0.0.2:80"), world.now)
            .unwrap();
    }
    world.settle();
    let results = |world: &mut World| {
        clients
            .iter()
            .filter(|id| world.net.connect_result(**id) == Some(Ok(())))
            .count()
    };
    assert_eq!(results(&mut world), 2);
    world.net.accept(listener).unwrap().unwrap();
    world.settle();
    assert_eq!(results(&mut world), 2);
    world.run_for(SECOND);
    assert_eq!(results(&mut world), 3);
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let mut world = World::new(7);
    let listeners: Vec<_> = (0..2)
        .map(|_| {
            let id = world.tcp(world.b);
            let options = world.net.options(id).unwrap();
            world
                .net
                .set_options(
                    id,
                    Options {
                        reuse_port: true,
                        ..options
                    },
                )
                .unwrap();
            world.net.bind(id, &at("0.0.0.0:80")).unwrap();
            world.net.listen(id, 64).unwrap();
            id
        })
        .collect();
    for _ in 0..40 {
        let client = world.tcp(world.a);
        world
            .net
            .connect(client, &at("10.0.0.2:80"), world.now)
            .unwrap();
    }
    world.settle();
    let mut counts = [0, 0];
    for (count, id) in counts.iter_mut().zip(listeners) {
        while world.net.accept(id).is_some() {
            *count += 1;
        }
    }
    assert!(
        counts[0] + counts[1] == 40 && counts[0] > 5 && counts[1] > 5,
        "{counts:?}"
    );
}

#[test]
fn a_closed_listener_resets_whom_it_had_not_accepted() {
    let mut world = World::new(8);
    let listener = world.listener(world.b, "0.0.0.0:80", 4);
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
    world.close(listener);
    world.settle();
    assert!(world.net.ready(client).error);
    assert_eq!(world.net.recv(client, 10), Err(libc::ECONNRESET));
    assert_eq!(world.net.recv(client, 10), Ok(Vec::new()));
    assert!(
        world
            .net
            .conns
            .values()
            .all(|conn| conn.sides[1].inbox.is_empty())
    );
}

#[test]
fn a_connection_that_was_reset_is_accepted_and_fails_later() {
    let mut world = World::new(9);
    let listener = world.listener(world.b, "0.0.0.0:80", 4);
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    world.net.close(client, true, world.now).unwrap();
    world.settle();
    let server = world.net.accept(listener).unwrap().unwrap();
    assert_eq!(world.net.peer_name(server), Err(libc::ENOTCONN));
    assert_eq!(world.send(server, b"hello"), Err(libc::ECONNRESET));
    assert_eq!(world.send(server, b"hello"), Err(libc::EPIPE));
}

#[test]
fn bytes_arrive_in_order_through_small_buffers() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let segment = if seed % 2 == 0 {
            (1, 7)
        } else {
            (1, 64 * 1024)
        };
        let bandwidth = (seed % 3 == 0).then_some(10_000_000);
        world.net.set_default_link(Link {
            segment,
            bandwidth,
            ..Link::default()
        });
        let (client, server, _) = world.connection();
        for id in [client, server] {
            let options = world.net.options(id).unwrap();
            let options = Options {
                send_buffer: 1000,
                recv_buffer: 700,
                ..options
            };
            world.net.set_options(id, options).unwrap();
        }
        let (mut sent, mut got) = (0, Vec::new());
        while got.len() < 20_000 {
            match world.send(client, &pattern(sent, 900.min(20_000 - sent))) {
                Ok(len) => sent += len,
                Err(error) => assert_eq!(error, libc::EAGAIN),
            }
            world.run_for(300_000);
            if seed % 4 < 2 || world.rng.chance(0.5) {
                got.extend(world.drain(server));
            }
        }
        assert_eq!(got, pattern(0, 20_000));
        let tally = world.net.tallies().tcp;
        assert_eq!((tally.accepted, tally.delivered), (20_000, 20_000));
    }
}

#[test]
fn a_slow_reader_holds_the_sender_back_without_an_event() {
    let mut world = World::new(10);
    let (client, server, _) = world.connection();
    let mut sent = 0;
    while let Ok(len) = world.send(client, &pattern(sent, 10_000)) {
        sent += len;
        world.settle();
    }
    assert_eq!(sent, 128 * 1024);
    assert_eq!(world.net.next_event(), None);
    assert!(!world.net.ready(client).writable);
    // Nothing happens for a day, and nothing is lost.
    world.run_for(24 * 3600 * SECOND);
    let mut got = world.drain(server);
    world.settle();
    assert!(world.net.ready(client).writable);
    got.extend(world.drain(server));
    assert_eq!(got, pattern(0, sent));
}

#[test]
fn half_a_connection_can_be_closed() {
    let mut world = World::new(11);
    let (client, server, _) = world.connection();
    world.send(client, b"request").unwrap();
    world.net.shutdown(client, How::Write, world.now).unwrap();
    assert_eq!(world.send(client, b"more"), Err(libc::EPIPE));
    world.settle();
    assert!(world.net.ready(server).peer_closed && !world.net.ready(server).hangup);
    assert_eq!(world.net.recv(server, 100), Ok(b"request".to_vec()));
    assert_eq!(world.net.recv(server, 100), Ok(Vec::new()));
    world.send(server, b"answer").unwrap();
    world.settle();
    assert_eq!(world.net.recv(client, 3), Ok(b"ans".to_vec()));
    let peeked = world.net.recv_message(client, 9, true).unwrap();
    assert_eq!(peeked.bytes, b"wer");
    assert_eq!(world.net.recv(client, 9), Ok(b"wer".to_vec()));
    world.net.shutdown(server, How::Write, world.now).unwrap();
    world.settle();
    assert_eq!(world.net.recv(client, 9), Ok(Vec::new()));
    assert!(world.net.ready(client).hangup && world.net.ready(server).hangup);
    assert_eq!(
        world.net.shutdown(server, How::Both, world.now),
        Err(libc::ENOTCONN)
    );
}

#[test]
fn what_was_accepted_arrives_after_a_close() {
    let mut world = World::new(12);
    let (client, server, listener) = world.connection();
    let bytes = pattern(0, 60_000);
    assert_eq!(world.send(client, &bytes), Ok(60_000));
    world.close(client);
    assert_eq!(world.send(client, b"x"), Err(libc::EBADF));
    world.settle();
    assert_eq!(world.drain(server), bytes);
    assert_eq!(world.net.recv(server, 1), Ok(Vec::new()));
    world.close(server);
    world.settle();
    assert!(world.net.conns.is_empty(), "{:?}", world.net.conns);
    world.close(listener);
    assert_eq!(world.net.leftovers(world.a), []);
    assert_eq!(world.net.leftovers(world.b), []);
    assert_eq!(world.net.next_event(), None);
}

#[test]
fn unread_data_at_close_resets_the_peer() {
    let mut world = World::new(13);
    let (client, server, _) = world.connection();
    world.send(client, b"unread").unwrap();
    world.send(server, b"last words").unwrap();
    world.settle();
    world.close(server);
    world.settle();
    // What had arrived is still there, then the error once, then the end.
    assert!(world.net.ready(client).error && world.net.ready(client).hangup);
    assert_eq!(world.net.recv(client, 100), Ok(b"last words".to_vec()));
    assert_eq!(world.net.recv(client, 100), Err(libc::ECONNRESET));
    assert_eq!(world.net.recv(client, 100), Ok(Vec::new()));
    assert_eq!(world.send(client, b"x"), Err(libc::EPIPE));
    assert_eq!(
        world.net.tallies().tcp.discarded,
        BTreeMap::from([(Discard::Unread, 6)])
    );
}

#[test]
fn data_for_a_closed_socket_is_answered_with_a_reset() {
    let mut world = World::new(14);
    let (client, server, _) = world.connection();
    world.close(server);
    world.settle();
    assert_eq!(world.net.recv(client, 1), Ok(Vec::new()));
    // The first send after the peer's end of stream is still accepted.
    assert_eq!(world.send(client, b"too late"), Ok(8));
    world.settle();
    assert_eq!(world.send(client, b"x"), Err(libc::EPIPE));
    assert_eq!(
        world.net.tallies().tcp.discarded,
        BTreeMap::from([(Discard::TooLate, 8)])
    );
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    let mut world = World::new(15);
    let listener = world.listener(world.b, "0.0.0.0:80", 4);
    for linger_zero in [false, true] {
        let client = world.tcp(world.a);
        world
            .net
            .connect(client, &at("10.0.0.2:80"), world.now)
            .unwrap();
        world.net.close(client, linger_zero, world.now).unwrap();
    }
    world.settle();
    assert_eq!(world.net.accept(listener), None);
    assert!(world.net.conns.is_empty());
    assert_eq!(world.net.next_event(), None);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut world = World::new(seed);
        let (client, server, _) = world.connection();
        let mut history = Vec::new();
        for round in 0..50 {
            let _ = world.send(client, &pattern(round, 5000));
            history.push((world.net.next_event(), world.run_for(100_000)));
            history.push((
                Some(world.net.recv(server, 3000).map_or(0, |b| b.len() as u64)),
                vec![],
            ));
        }
        history
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}

#[test]
fn after_both_last_words_nothing_is_left_to_reset() {
    let mut world = World::new(16);
    let (client, server, _) = world.connection();
    world.net.shutdown(client, How::Write, world.now).unwrap();
    world.settle();
    world.send(server, b"bye").unwrap();
    world.net.shutdown(server, How::Write, world.now).unwrap();
    world.run_for(0);
    world.net.close(server, true, world.now).unwrap();
    world.settle();
    assert_eq!(world.net.recv(client, 9), Ok(b"bye".to_vec()));
    assert_eq!(world.net.recv(client, 9), Ok(Vec::new()));
    assert_eq!(world.net.take_error(client), None);
}

#[test]
fn who_was_closed_waits_a_minute_for_the_peers_last_word() {
    let mut world = World::new(17);
    let (client, server, _) = world.connection();
    world.close(client);
    world.settle();
    world.run_for(59 * SECOND);
    assert!(world.net.next_event().is_some());
    world.run_for(2 * SECOND);
    assert_eq!(world.net.next_event(), None);
    assert_eq!(world.net.recv(server, 9), Ok(Vec::new()));
    world.close(server);
    world.settle();
    assert!(world.net.conns.is_empty());
}

#[test]
fn a_listener_that_is_shut_down_listens_no_more() {
    let mut world = World::new(18);
    let listener = world.listener(world.b, "0.0.0.0:80", 4);
    world.net.shutdown(listener, How::Both, 0).unwrap();
    assert_eq!(world.net.accept(listener), Some(Err(libc::EINVAL)));
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.settle();
    assert_eq!(
        world.net.connect_result(client),
        Some(Err(libc::ECONNREFUSED))
    );
}
