//! Rules of broken links and dead hosts.

use super::*;

#[test]
fn a_connect_into_a_partition_times_out() {
    let mut world = World::new(1);
    world.listener(world.b, "0.0.0.0:80", 4);
    world.net.partition(world.a, world.b, 0);
    let client = world.tcp(world.a);
    world.net.connect(client, &at("10.0.0.2:80"), 0).unwrap();
    world.run_for(126 * SECOND);
    assert_eq!(world.net.connect_result(client), None);
    world.run_for(2 * SECOND);
    assert_eq!(world.net.connect_result(client), Some(Err(libc::ETIMEDOUT)));
    assert_eq!(world.net.next_event(), None);
    // Healed after ten seconds, the attempt after fifteen gets through.
    world
        .net
        .connect(client, &at("10.0.0.2:80"), world.now)
        .unwrap();
    world.run_for(10 * SECOND);
    world.net.heal(world.a, world.b, world.now);
    world.run_for(4 * SECOND);
    assert_eq!(world.net.connect_result(client), None);
    world.run_for(2 * SECOND);
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
}

#[test]
fn a_partition_holds_bytes_and_a_heal_delivers_them() {
    for way in 0..3 {
        let mut world = World::new(2);
        let (client, server, _) = world.connection();
        match way {
            0 => world.net.partition(world.a, world.b, world.now),
            1 => world.net.partition_one_way(world.a, world.b, world.now),
            _ => world.net.clog(world.a, world.b, world.now),
        }
        world.send(client, &pattern(0, 5000)).unwrap();
        world.run_for(60 * SECOND);
        assert_eq!(world.net.recv(server, 1), Err(libc::EAGAIN));
        world.send(client, &pattern(5000, 5000)).unwrap();
        world.net.shutdown(client, How::Write, world.now).unwrap();
        world.run_for(60 * SECOND);
        world.net.heal(world.a, world.b, world.now);
        world.net.unclog(world.a, world.b, world.now);
        world.settle();
        assert_eq!(world.drain(server), pattern(0, 10_000));
        assert_eq!(world.net.recv(server, 1), Ok(Vec::new()));
        assert_eq!(world.net.next_event(), None);
    }
}

#[test]
fn a_sender_without_an_answer_gives_up() {
    // In both directions, or only the acknowledgements lost.
    for both in [true, false] {
        let mut world = World::new(3);
        let (client, server, _) = world.connection();
        let options = world.net.options(client).unwrap();
        let options = Options {
            user_timeout: 30 * SECOND,
            ..options
        };
        world.net.set_options(client, options).unwrap();
        world.net.partition_one_way(world.b, world.a, world.now);
        if both {
            world.net.partition_one_way(world.a, world.b, world.now);
        }
        world.send(client, b"anybody?").unwrap();
        world.run_for(29 * SECOND);
        assert!(!world.net.ready(client).error);
        world.run_for(2 * SECOND);
        assert!(world.net.ready(client).error && world.net.ready(client).hangup);
        assert_eq!(world.net.recv(client, 1), Err(libc::ETIMEDOUT));
        assert_eq!(world.send(client, b"x"), Err(libc::EPIPE));
        // The peer was told nothing, and hears of it when it talks.
        world.net.heal(world.a, world.b, world.now);
        world.settle();
        world.drain(server);
        assert_eq!(world.net.recv(server, 1), Err(libc::EAGAIN));
        world.send(server, b"hello").unwrap();
        world.settle();
        assert_eq!(world.net.recv(server, 1), Err(libc::ECONNRESET));
    }
}

#[test]
fn a_sender_that_waits_for_room_gives_up_too() {
    let mut world = World::new(4);
    let (client, _server, _) = world.connection();
    while world.send(client, &[0; 10_000]).is_ok() {
        world.settle();
    }
    world.net.partition(world.a, world.b, world.now);
    world.run_for(14 * 60 * SECOND);
    assert!(!world.net.ready(client).error);
    world.run_for(2 * 60 * SECOND);
    assert_eq!(world.send(client, b"x"), Err(libc::ETIMEDOUT));
}

#[test]
fn a_short_partition_does_not_end_who_waits_for_room() {
    let mut world = World::new(5);
    let (client, server, _) = world.connection();
    while world.send(client, &[0; 10_000]).is_ok() {
        world.settle();
    }
    world.net.partition(world.a, world.b, world.now);
    world.run_for(60 * SECOND);
    world.net.heal(world.a, world.b, world.now);
    world.run_for(3600 * SECOND);
    assert!(!world.net.ready(client).error);
    assert_eq!(world.net.next_event(), None);
    assert!(!world.drain(server).is_empty());
}

#[test]
fn a_host_without_power_is_silent_until_it_is_up_again() {
    let mut world = World::new(6);
    let (client, _server, _) = world.connection();
    world.send(client, b"before").unwrap();
    world.settle();
    world.net.kill_host(world.b, world.now, Death::Power);
    assert_eq!(world.net.leftovers(world.b), []);
    assert_eq!(
        world.net.socket(world.b, libc::AF_INET, libc::SOCK_STREAM),
        Err(libc::ENETDOWN)
    );
    world.run_for(60 * SECOND);
    assert_eq!(world.net.recv(client, 1), Err(libc::EAGAIN));
    assert_eq!(world.send(client, b"hello?"), Ok(6));
    world.run_for(60 * SECOND);
    assert!(!world.net.ready(client).error);
    world.net.start_host(world.b, world.now);
    world.settle();
    assert_eq!(world.net.recv(client, 1), Err(libc::ECONNRESET));
    let tally = world.net.tallies().tcp.discarded;
    assert_eq!(
        tally,
        BTreeMap::from([(Discard::PowerLost, 6), (Discard::TooLate, 6)])
    );
    // It takes connections again.
    world.connection();
}

#[test]
fn a_peer_of_a_dead_host_gives_up_by_itself() {
    let mut world = World::new(7);
    let (client, _server, _) = world.connection();
    world.net.kill_host(world.b, world.now, Death::Power);
    world.send(client, b"hello?").unwrap();
    world.run_for(16 * 60 * SECOND);
    assert_eq!(world.net.recv(client, 1), Err(libc::ETIMEDOUT));
    assert_eq!(world.net.next_event(), None);
}

#[test]
fn a_dead_process_leaves_ends_and_resets() {
    let mut world = World::new(8);
    let (read, read_peer, listener) = world.connection();
    let unread = world.tcp(world.a);
    world
        .net
        .connect(unread, &at("10.0.0.2:80"), world.now)
        .unwrap();
    world.settle();
    world.net.accept(listener).unwrap().unwrap();
    world.send(unread, b"unread").unwrap();
    world.send(read_peer, b"bye").unwrap();
    world.settle();
    world.net.kill_host(world.b, world.now, Death::Process);
    assert_eq!(world.net.leftovers(world.b), []);
    world.settle();
    assert_eq!(world.net.recv(unread, 9), Err(libc::ECONNRESET));
    assert_eq!(world.net.recv(read, 9), Ok(b"bye".to_vec()));
    assert_eq!(world.net.recv(read, 9), Ok(Vec::new()));
    assert_eq!(world.net.leftovers(world.a).len(), 2);
    assert!(
        world.net.leftovers(world.a)[0]
            .what
            .starts_with("tcp 10.0.0.1:")
    );
}

#[test]
fn connections_can_be_reset_from_outside() {
    let mut world = World::new(9);
    let (client, server, _) = world.connection();
    world.send(client, &pattern(0, 1000)).unwrap();
    world.net.reset_connections(world.b, world.a, world.now);
    assert!(world.run_for(0).contains(&client));
    for id in [client, server] {
        assert_eq!(world.net.recv(id, 1), Err(libc::ECONNRESET));
        assert_eq!(world.net.recv(id, 1), Ok(Vec::new()));
    }
    world.settle();
    assert_eq!(
        world.net.tallies().tcp.discarded,
        BTreeMap::from([(Discard::Reset, 1000)])
    );
}

#[test]
fn links_are_their_own_in_each_direction() {
    let mut world = World::new(10);
    let slow = Link {
        latency: (SECOND, SECOND),
        ..Link::default()
    };
    world.net.set_link(world.a, world.b, slow);
    let receiver = world.udp(world.b, "0.0.0.0:53");
    let sender = world.udp(world.a, "0.0.0.0:53");
    let (a, b) = (at("10.0.0.1:53"), at("10.0.0.2:53"));
    world
        .net
        .send_message(sender, b"slow", Some(&b), vec![], 0)
        .unwrap();
    world
        .net
        .send_message(receiver, b"fast", Some(&a), vec![], 0)
        .unwrap();
    world.settle();
    assert_eq!(world.net.recv(sender, 9), Ok(b"fast".to_vec()));
    assert_eq!(world.net.recv(receiver, 9), Err(libc::EAGAIN));
    world.run_for(SECOND);
    assert_eq!(world.net.recv(receiver, 9), Ok(b"slow".to_vec()));
}

/// Faults of all kinds at random times: whatever happens, bytes are conserved, streams are
/// prefixes of what was sent, and in the end everything can be closed and comes to rest.
#[test]
fn storms_conserve_every_byte() {
    for seed in 0..20 {
        storm(seed);
    }
}

fn storm(seed: u64) {
    let mut world = World::new(seed);
    let mut chance = Rng::new(seed ^ 77);
    world.net.set_default_link(Link {
        segment: (1, 2000),
        loss: 0.1,
        ..Link::default()
    });
    let (a, b) = (world.a, world.b);
    let mut listener = None;
    let mut open: Vec<SocketId> = Vec::new();
    // How many bytes each sent and received. The bytes tell their place in the stream.
    let mut sent: BTreeMap<SocketId, usize> = BTreeMap::new();
    let mut got: BTreeMap<SocketId, usize> = BTreeMap::new();
    for _ in 0..400 {
        if listener.is_none() {
            listener = Some(world.listener(b, "0.0.0.0:80", 3));
        }
        let now = world.now;
        let index = chance.index(open.len().max(1));
        match (chance.below(24), open.get(index).copied()) {
            (0..3, _) => {
                let client = world.tcp(a);
                world.net.connect(client, &at("10.0.0.2:80"), now).unwrap();
                open.push(client);
            }
            (3..6, _) => {
                open.extend(
                    listener
                        .and_then(|id| world.net.accept(id))
                        .and_then(Result::ok),
                );
            }
            (6..11, Some(id)) => {
                let sent = sent.entry(id).or_default();
                let bytes = pattern(*sent, chance.below(30_000) as usize);
                *sent += world.send(id, &bytes).unwrap_or(0);
            }
            (11..15, Some(id)) => {
                if let Ok(bytes) = world.net.recv(id, chance.below(50_000) as usize) {
                    let got = got.entry(id).or_default();
                    assert_eq!(bytes, pattern(*got, bytes.len()), "seed {seed}");
                    *got += bytes.len();
                }
            }
            (15, Some(id)) => {
                let _ = world.net.shutdown(id, How::Write, now);
            }
            (16, Some(id)) => {
                let _ = world
                    .net
                    .close(open.swap_remove(index), chance.chance(0.3), now);
                assert_eq!(world.net.ready(id), Ready::default());
            }
            (17, _) if chance.chance(0.3) => {
                world.net.partition_one_way(a, b, now);
            }
            (18, _) if chance.chance(0.3) => world.net.clog(b, a, now),
            (19, _) => {
                world.net.heal(a, b, now);
                world.net.unclog(b, a, now);
            }
            (20, _) if chance.chance(0.1) => world.net.reset_connections(a, b, now),
            (21, _) if chance.chance(0.1) => {
                world.net.kill_host(b, now, Death::Power);
                world.run_for(chance.below(30) * SECOND);
                world.net.start_host(b, world.now);
                listener = None;
            }
            _ => {}
        }
        assert_eq!(world.net.check(), Ok(()), "seed {seed}");
        world.run_for(chance.below(400_000));
    }
    world.net.heal(a, b, world.now);
    world.net.unclog(b, a, world.now);
    for host in [a, b] {
        world.net.kill_host(host, world.now, Death::Process);
        assert_eq!(world.net.leftovers(host), []);
    }
    world.run_for(20 * 60 * SECOND);
    assert_eq!(world.net.next_event(), None, "seed {seed}");
    assert!(
        world.net.conns.is_empty(),
        "seed {seed} {:?}",
        world.net.conns
    );
    let tally = world.net.tallies().tcp;
    let gone: u64 = tally.discarded.values().sum();
    assert_eq!(
        tally.delivered,
        got.values().sum::<usize>() as u64,
        "seed {seed}"
    );
    assert_eq!(tally.accepted, tally.delivered + gone, "seed {seed}");
}
