//! Rules of sockets within a host.

use super::*;

/// A connection of this kind, with its listener at `/s`.
fn connected(world: &mut World, kind: i32) -> (SocketId, SocketId, SocketId) {
    let listener = world.unix(kind);
    world.net.bind(listener, &path("/s")).unwrap();
    world.net.listen(listener, 1).unwrap();
    let client = world.unix(kind);
    world.net.connect(client, &path("/s"), 0).unwrap();
    assert_eq!(world.net.connect_result(client), Some(Ok(())));
    let server = world.net.accept(listener).unwrap().unwrap();
    (client, server, listener)
}

#[test]
fn names_are_taken_and_given_back() {
    let mut world = World::new(1);
    let (one, two) = (world.unix(libc::SOCK_STREAM), world.unix(libc::SOCK_STREAM));
    assert_eq!(world.net.connect(two, &path("/s"), 0), Err(libc::ENOENT));
    assert_eq!(
        world.net.connect(two, &path("\0s"), 0),
        Err(libc::ECONNREFUSED)
    );
    assert_eq!(world.net.listen(one, 1), Err(libc::EINVAL));
    world.net.bind(one, &path("/s")).unwrap();
    assert_eq!(world.net.bind(one, &path("/t")), Err(libc::EINVAL));
    assert_eq!(world.net.bind(two, &path("/s")), Err(libc::EADDRINUSE));
    assert_eq!(
        world.net.connect(two, &path("/s"), 0),
        Err(libc::ECONNREFUSED)
    );
    let datagram = world.unix(libc::SOCK_DGRAM);
    assert_eq!(
        world.net.connect(datagram, &path("/s"), 0),
        Err(libc::EPROTOTYPE)
    );
    // The file outlives the socket, until somebody removes it.
    world.close(one);
    assert_eq!(
        world.net.connect(two, &path("/s"), 0),
        Err(libc::ECONNREFUSED)
    );
    assert_eq!(world.net.bind(two, &path("/s")), Err(libc::EADDRINUSE));
    world.net.unbind_path(world.a, b"/s").unwrap();
    assert_eq!(world.net.unbind_path(world.a, b"/s"), Err(libc::ENOENT));
    world.net.bind(two, &path("/s")).unwrap();
    assert_eq!(
        world
            .net
            .local_name(two)
            .unwrap()
            .as_pathname()
            .unwrap()
            .to_str(),
        Some("/s")
    );
    // Abstract names die with their socket, and can be chosen by the kernel.
    let three = world.unix(libc::SOCK_STREAM);
    world.net.bind(three, &path("\0s")).unwrap();
    let four = world.unix(libc::SOCK_STREAM);
    assert_eq!(world.net.bind(four, &path("\0s")), Err(libc::EADDRINUSE));
    world.close(three);
    world.net.bind(four, &path("\0s")).unwrap();
    let five = world.unix(libc::SOCK_STREAM);
    world.net.bind(five, &path("")).unwrap();
    assert_eq!(
        world.net.local_name(five).unwrap().as_abstract_namespace(),
        Some(&b"00001"[..])
    );
    // Hosts do not share names.
    let there = world
        .net
        .socket(world.b, libc::AF_UNIX, libc::SOCK_STREAM)
        .unwrap();
    world.net.bind(there, &path("/s")).unwrap();
}

#[test]
fn a_stream_carries_bytes_both_ways() {
    let mut world = World::new(2);
    let (client, server, _) = connected(&mut world, libc::SOCK_STREAM);
    assert_eq!(world.net.peer_name(client).unwrap(), path("/s"));
    assert!(world.net.peer_name(server).unwrap().is_unnamed());
    assert_eq!(world.net.peer_credentials(client), Ok((1, 0, 0)));
    assert_eq!(world.net.recv(server, 9), Err(libc::EAGAIN));
    world.send(client, b"he").unwrap();
    world.send(client, b"llo").unwrap();
    assert!(world.run_for(0).contains(&server));
    let peeked = world.net.recv_message(server, 3, true).unwrap();
    assert_eq!(peeked.bytes, b"hel");
    assert_eq!(world.net.recv(server, 9), Ok(b"hello".to_vec()));
    world.send(server, b"bye").unwrap();
    world.close(server);
    assert!(world.net.ready(client).hangup && !world.net.ready(client).error);
    assert_eq!(world.send(client, b"x"), Err(libc::EPIPE));
    assert_eq!(world.net.recv(client, 9), Ok(b"bye".to_vec()));
    assert_eq!(world.net.recv(client, 9), Ok(Vec::new()));
    world.close(client);
    assert_eq!(world.net.check(), Ok(()));
}

#[test]
fn unread_bytes_at_close_reset_the_peer() {
    let mut world = World::new(3);
    let (client, server, _) = connected(&mut world, libc::SOCK_STREAM);
    world.send(client, b"unread").unwrap();
    world.close(server);
    assert!(world.net.ready(client).error);
    assert_eq!(world.net.recv(client, 9), Err(libc::ECONNRESET));
    assert_eq!(world.net.recv(client, 9), Ok(Vec::new()));
    assert_eq!(
        world.net.tallies().unix.discarded,
        BTreeMap::from([(Discard::Unread, 6)])
    );
}

#[test]
fn a_full_peer_holds_a_stream_back() {
    let mut world = World::new(4);
    let (client, server, _) = connected(&mut world, libc::SOCK_STREAM);
    let mut sent = 0;
    while let Ok(len) = world.send(client, &pattern(sent, 10_000)) {
        sent += len;
    }
    assert_eq!(sent, 64 * 1024);
    assert!(!world.net.ready(client).writable);
    world.run_for(0);
    let got = world.net.recv(server, 60_000).unwrap();
    assert_eq!(got, pattern(0, 60_000));
    assert!(world.run_for(0).contains(&client));
    assert!(world.net.ready(client).writable);
    assert_eq!(world.net.check(), Ok(()));
}

#[test]
fn a_connect_waits_for_room_in_the_backlog() {
    let mut world = World::new(5);
    let (_, _, listener) = connected(&mut world, libc::SOCK_STREAM);
    let clients: Vec<_> = (0..4).map(|_| world.unix(libc::SOCK_STREAM)).collect();
    for client in &clients {
        world.net.connect(*client, &path("/s"), 0).unwrap();
    }
    assert_eq!(world.net.connect_result(clients[1]), Some(Ok(())));
    assert_eq!(world.net.connect_result(clients[2]), None);
    assert_eq!(
        world.net.connect(clients[2], &path("/s"), 0),
        Err(libc::EALREADY)
    );
    // One can send before it is accepted.
    world.send(clients[0], b"early").unwrap();
    let server = world.net.accept(listener).unwrap().unwrap();
    assert_eq!(world.net.recv(server, 9), Ok(b"early".to_vec()));
    assert!(world.run_for(0).contains(&clients[2]));
    assert_eq!(world.net.connect_result(clients[2]), Some(Ok(())));
    assert_eq!(world.net.connect_result(clients[3]), None);
    world.close(listener);
    assert_eq!(
        world.net.connect_result(clients[3]),
        Some(Err(libc::ECONNREFUSED))
    );
    assert_eq!(world.net.recv(clients[2], 9), Err(libc::ECONNRESET));
    assert_eq!(world.net.recv(clients[0], 9), Err(libc::EAGAIN));
}

#[test]
fn what_is_passed_stays_with_its_bytes() {
    let mut world = World::new(6);
    let kind = libc::SOCK_STREAM;
    let (a, b) = world.net.socketpair(world.a, libc::AF_UNIX, kind).unwrap();
    world.send(a, b"plain ").unwrap();
    world
        .net
        .send_message(a, b"carrier", None, vec![7, 8], 0)
        .unwrap();
    world.send(a, b" plain").unwrap();
    let peeked = world.net.recv_message(b, 100, true).unwrap();
    assert_eq!(
        (peeked.bytes.as_slice(), peeked.passed),
        (&b"plain carrier"[..], vec![7, 8])
    );
    let first = world.net.recv_message(b, 8, false).unwrap();
    assert_eq!(
        (first.bytes.as_slice(), first.passed),
        (&b"plain ca"[..], vec![7, 8])
    );
    let second = world.net.recv_message(b, 100, false).unwrap();
    assert_eq!(
        (second.bytes.as_slice(), second.passed),
        (&b"rrier plain"[..], vec![])
    );
    // What nobody receives is given back to the caller.
    world
        .net
        .send_message(a, b"lost", None, vec![9], 0)
        .unwrap();
    world.close(b);
    assert_eq!(world.net.take_dropped(), [9]);
    assert_eq!(world.net.take_dropped(), []);
}

#[test]
fn packets_keep_their_borders() {
    let mut world = World::new(7);
    let (client, server, _) = connected(&mut world, libc::SOCK_SEQPACKET);
    world.send(client, b"one").unwrap();
    world.send(client, b"").unwrap();
    world
        .net
        .send_message(client, b"three", None, vec![1], 0)
        .unwrap();
    assert_eq!(world.net.recv(server, 9), Ok(b"one".to_vec()));
    assert_eq!(world.net.recv(server, 9), Ok(Vec::new()));
    let three = world.net.recv_message(server, 2, false).unwrap();
    assert!(three.truncated && three.full_len == 5 && three.passed == [1]);
    assert_eq!(world.net.recv(server, 9), Err(libc::EAGAIN));
    world.net.shutdown(client, How::Write, 0).unwrap();
    assert_eq!(world.net.recv(server, 9), Ok(Vec::new()));
    assert_eq!(world.send(client, b"x"), Err(libc::EPIPE));
    assert_eq!(world.net.check(), Ok(()));
}

#[test]
fn datagrams_wait_for_room_and_are_refused_without_a_receiver() {
    let mut world = World::new(8);
    let (a, b) = (world.unix(libc::SOCK_DGRAM), world.unix(libc::SOCK_DGRAM));
    world.net.bind(a, &path("/a")).unwrap();
    world.net.bind(b, &path("/b")).unwrap();
    let to = path("/b");
    let send = |world: &mut World| world.net.send_message(a, b"hi", Some(&to), vec![], 0);
    let sent = std::iter::from_fn(|| send(&mut world).ok())
        .take(100)
        .count();
    assert_eq!(sent, 11);
    assert_eq!(send(&mut world), Err(libc::EAGAIN));
    assert!(!world.net.ready(a).writable);
    world.run_for(0);
    let one = world.net.recv_message(b, 9, false).unwrap();
    assert_eq!(
        (one.bytes.as_slice(), one.from),
        (&b"hi"[..], Some(path("/a")))
    );
    assert!(world.run_for(0).contains(&a) && world.net.ready(a).writable);
    assert_eq!(send(&mut world), Ok(2));
    // A socket that is connected elsewhere takes nothing from others.
    let other = world.unix(libc::SOCK_DGRAM);
    world.net.connect(b, &path("/a"), 0).unwrap();
    assert_eq!(
        world.net.send_message(other, b"hi", Some(&to), vec![], 0),
        Err(libc::EPERM)
    );
    world.close(b);
    assert_eq!(send(&mut world), Err(libc::ECONNREFUSED));
    world.net.unbind_path(world.a, b"/b").unwrap();
    assert_eq!(send(&mut world), Err(libc::ENOENT));
    assert_eq!(world.net.check(), Ok(()));
}

#[test]
fn a_dead_host_leaves_its_paths() {
    for how in [Death::Power, Death::Process] {
        let mut world = World::new(9);
        let (client, ..) = connected(&mut world, libc::SOCK_STREAM);
        world
            .net
            .send_message(client, b"x", None, vec![3], 0)
            .unwrap();
        world.net.kill_host(world.a, 0, how);
        world.net.start_host(world.a, 0);
        assert_eq!(world.net.leftovers(world.a), []);
        assert_eq!(world.net.take_dropped(), [3]);
        let id = world.unix(libc::SOCK_STREAM);
        assert_eq!(
            world.net.connect(id, &path("/s"), 0),
            Err(libc::ECONNREFUSED)
        );
        assert_eq!(world.net.check(), Ok(()));
    }
}
