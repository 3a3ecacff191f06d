//! Datagrams: whole, once each, and nothing but what was sent.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::UdpSocket;
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use futures::FutureExt;
use futures::future::select;
use harness::{Case, Census, Rng, check_coded, coded_bytes};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// A socket on a free port.
async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("it has an address");
    (socket, address)
}

/// A plain socket of the standard library.
fn plain() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port")
}

#[test]
fn datagrams_go_to_and_fro() {
    Case::new("datagrams_go_to_and_fro").quarantine().run(|| {
        let census = Census::take();
        let mut runtime = runtime();
        runtime.block_on(async {
            let (a, a_address) = socket().await;
            let (b, b_address) = socket().await;
            assert_eq!(a.send_to(b"ping", b_address).await.expect("sent"), 4);
            let mut room = [0; 64];
            let (n, from) = b.recv_from(&mut room).await.expect("received");
            assert_eq!((&room[..n], from), (&b"ping"[..], a_address));
            // The very buffer in which it came goes back.
            b.send_buf_to(b"pong".to_vec(), from).await.0.expect("sent");
            let datagram = a.recv_datagram().await.expect("received");
            assert_eq!(
                (&datagram.buf[..], datagram.from),
                (&b"pong"[..], b_address)
            );
            assert!(!datagram.truncated && datagram.segment_len.is_none());
            a.send_buf_to(datagram.buf, b_address)
                .await
                .0
                .expect("sent");
            assert_eq!(b.recv(&mut room).await.expect("received"), 4);
            // Connected, in both forms.
            a.connect(b_address).await.expect("connected");
            assert_eq!(a.peer_addr().expect("connected"), b_address);
            a.send(b"one").await.expect("sent");
            a.send_buf(vec![7; 9]).await.0.expect("sent");
            assert_eq!(b.recv(&mut room).await.expect("received"), 3);
            assert_eq!(b.recv(&mut room).await.expect("received"), 9);
            // IPv6, and a name.
            let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await;
            if let Ok(six) = six {
                let address = six.local_addr().expect("it has one");
                six.send_to(b"six", address).await.expect("sent");
                let (n, from) = six.recv_from(&mut room).await.expect("received");
                assert_eq!((n, from), (3, address));
            }
            let error = a.send_to(b"x", &[][..]).await.expect_err("no address");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = b.send(b"x").await.expect_err("not connected");
            assert_eq!(error.raw_os_error(), Some(libc::EDESTADDRREQ));
            let error = b
                .send_to(&[0; 70_000], a_address)
                .await
                .expect_err("too long");
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        });
        drop(runtime);
        census.assert_same();
    });
}

/// Truncation is flagged, a datagram without bytes is none the less one, and an answer that says
/// "nobody listens" is reported once.
#[test]
fn g14_udp() {
    Case::new("g14_udp").quarantine().seconds(30).run(|| {
        runtime().block_on(async {
            let (ours, address) = socket().await;
            let theirs = plain();
            // No bytes: not an end, again and again, also before a receive is armed.
            for round in 0..10u8 {
                theirs.send_to(&[], address).expect("sent");
                theirs.send_to(&[round], address).expect("sent");
                let mut room = [9; 4];
                let (n, from) = ours.recv_from(&mut room).await.expect("received");
                assert_eq!((n, from), (0, theirs.local_addr().expect("it has one")));
                let (n, _) = ours.recv_from(&mut room).await.expect("received");
                assert_eq!((n, room[0]), (1, round));
            }
            // Longer than the slice: as recvfrom(2) has it, and the next one is whole again.
            theirs.send_to(b"0123456789", address).expect("sent");
            theirs.send_to(b"next", address).expect("sent");
            let mut room = [0; 4];
            assert_eq!(ours.peek_from(&mut room).await.expect("there").0, 4);
            assert_eq!(ours.peek(&mut [0; 64]).await.expect("there"), 10);
            assert_eq!(ours.recv(&mut room).await.expect("received"), 4);
            assert_eq!(&room, b"0123");
            assert_eq!(ours.recv(&mut room).await.expect("received"), 4);
            assert_eq!(&room, b"next");
            // The longest that there is comes whole.
            let longest = coded_bytes(1, 0, 65_507);
            theirs.send_to(&longest, address).expect("sent");
            let datagram = ours.recv_datagram().await.expect("received");
            assert!(!datagram.truncated);
            assert_eq!(&datagram.buf[..], &longest[..]);
            refused_once().await;
        });
    });
}

async fn refused_once() {
    let (ours, address) = socket().await;
    let nobody = plain().local_addr().expect("it has one");
    ours.connect(nobody).await.expect("connected");
    ours.send(b"is anybody there?").await.expect("sent");
    let mut room = [0; 8];
    let error = timeout(SECOND, ours.recv(&mut room))
        .await
        .expect("in time");
    assert_eq!(
        error.expect_err("nobody is").kind(),
        ErrorKind::ConnectionRefused
    );
    // Once; and the socket goes on.
    assert!(timeout(20 * MS, ours.recv(&mut room)).await.is_err());
    let theirs = std::net::UdpSocket::bind(nobody).expect("free again");
    theirs.send_to(b"here", address).expect("sent");
    assert_eq!(ours.recv(&mut room).await.expect("received"), 4);
    ours.send(b"good").await.expect("sent");
    assert_eq!(theirs.recv(&mut room).expect("received"), 4);
}

/// A datagram that is longer than the core's buffers is cut off, and says so; with room of its
/// own it comes whole.
#[test]
fn g14_truncation_is_flagged() {
    Case::new("g14_truncation_is_flagged").run(|| {
        let mut runtime = Runtime::builder()
            .datagram_buffers(4, 512)
            .build()
            .expect("io_uring");
        runtime.block_on(async {
            let (ours, address) = socket().await;
            let theirs = plain();
            let sent = coded_bytes(2, 0, 9_000);
            theirs.send_to(&sent, address).expect("sent");
            let datagram = ours.recv_datagram().await.expect("received");
            assert!(datagram.truncated);
            assert!((512..9_000).contains(&datagram.buf.len()));
            check_coded(2, 0, &datagram.buf);
            theirs.send_to(&sent[..512], address).expect("sent");
            assert!(!ours.recv_datagram().await.expect("received").truncated);
            ours.set_datagram_len_max(9_000);
            theirs.send_to(&sent, address).expect("sent");
            let datagram = ours.recv_datagram().await.expect("received");
            assert!(!datagram.truncated);
            assert_eq!(&datagram.buf[..], &sent[..]);
        });
    });
}

/// Receives dropped at any point, under load: no datagram is lost, doubled or out of order.
#[test]
fn recv_from_dropped_at_every_point() {
    const COUNT: u64 = 20_000;
    Case::new("recv_from_dropped_at_every_point")
        .quarantine()
        .seconds(90)
        .run(|| {
            let mut rng = Rng::new();
            let mut their_rng = Rng::from_seed(rng.next());
            let mut runtime = runtime();
            runtime.block_on(async {
                let (ours, address) = socket().await;
                // The sender waits for a sign after each batch, so the kernel never has to drop.
                let (sign, signs) = std::sync::mpsc::channel::<()>();
                let sender = std::thread::spawn(move || {
                    let theirs = plain();
                    for at in 0..COUNT {
                        let len = 8 + their_rng.below(600) as usize;
                        let mut bytes = at.to_le_bytes().to_vec();
                        bytes.extend(coded_bytes(at, 0, len - 8));
                        theirs.send_to(&bytes, address).expect("sent");
                        if at % 50 == 49 {
                            signs.recv().expect("the reader lives");
                        }
                    }
                });
                let (mut at, mut dropped) = (0, 0u32);
                while at < COUNT {
                    let nap = Duration::from_micros(rng.below(60));
                    let mut room = [0; 700];
                    let bytes = match rng.below(6) {
                        0 => ours.recv_from(&mut room).now_or_never().map(|got| {
                            let n = got.expect("received").0;
                            room[..n].to_vec()
                        }),
                        1 => timeout(nap, ours.recv_from(&mut room))
                            .await
                            .ok()
                            .map(|got| {
                                let n = got.expect("received").0;
                                room[..n].to_vec()
                            }),
                        2 => timeout(nap, ours.recv_datagram())
                            .await
                            .ok()
                            .map(|got| got.expect("received").buf.to_vec()),
                        3 => {
                            let peeked = timeout(nap, ours.peek_from(&mut room)).await.ok();
                            drop(peeked);
                            None
                        }
                        4 => {
                            // Two wait at once; one of them gets it, and the other none.
                            let one = pin!(ours.recv_datagram());
                            let two = pin!(ours.recv_datagram());
                            let first = timeout(nap, select(one, two)).await.ok();
                            first.map(|got| got.factor_first().0.expect("received").buf.to_vec())
                        }
                        _ => {
                            let got = ours.recv(&mut room).await.expect("received");
                            Some(room[..got].to_vec())
                        }
                    };
                    let Some(bytes) = bytes else {
                        dropped += 1;
                        continue;
                    };
                    let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight"));
                    assert_eq!(number, at, "in order, none lost, none twice");
                    check_coded(at, 0, &bytes[8..]);
                    at += 1;
                    if at % 50 == 0 {
                        sign.send(()).expect("the sender lives");
                    }
                }
                println!("{dropped} receives dropped");
                sender.join().expect("no panic");
                assert_eq!(ours.dropped().expect("counted"), 0);
                drop(ours);
                sleep(20 * MS).await;
                let metrics = Metrics::current();
                assert_eq!(metrics.buffers_available, metrics.buffers);
                assert_eq!(metrics.in_flight, 0);
            });
        });
}

/// What one sender's long datagram has left in a buffer is not to be seen behind another's.
#[test]
fn k01_no_former_bytes() {
    Case::new("k01_no_former_bytes").run(|| {
        let mut runtime = Runtime::builder()
            .datagram_buffers(1, 4096)
            .build()
            .expect("io_uring");
        runtime.block_on(async {
            let (ours, address) = socket().await;
            let (secretive, nosy) = (plain(), plain());
            for _ in 0..20 {
                secretive.send_to(&[0x5e; 4096], address).expect("sent");
                drop(ours.recv_datagram().await.expect("received"));
                nosy.send_to(b"!", address).expect("sent");
                let mut datagram = ours.recv_datagram().await.expect("received");
                assert_eq!(&datagram.buf[..], b"!");
                let shown = format!("{:?}", datagram.buf);
                assert!(!shown.contains("33"), "lengths, not bytes: {shown}");
                let rest = datagram.buf.split_to(1);
                assert!(datagram.buf.is_empty() && &rest[..] == b"!");
                datagram.buf.truncate(4096);
                assert!(datagram.buf.is_empty());
                nosy.send_to(b"?", address).expect("sent");
                let mut room = [0; 4096];
                assert_eq!(ours.recv(&mut room).await.expect("received"), 1);
                assert!(room[1..].iter().all(|&byte| byte == 0));
            }
        });
    });
}

/// A program that keeps datagrams, and more of them than there are buffers: the rest comes
/// through memory of its own, and the buffers go back.
#[test]
fn kept_datagrams_starve_nobody() {
    Case::new("kept_datagrams_starve_nobody")
        .quarantine()
        .run(|| {
            let mut runtime = Runtime::builder()
                .datagram_buffers(4, 2048)
                .build()
                .expect("io_uring");
            runtime.block_on(async {
                let (ours, address) = socket().await;
                let theirs = plain();
                let mut kept = Vec::new();
                for at in 0..100u64 {
                    theirs
                        .send_to(&coded_bytes(at, 0, 1000), address)
                        .expect("sent");
                    if at % 2 == 0 {
                        sleep(Duration::from_micros(100)).await;
                    }
                    kept.push(ours.recv_datagram().await.expect("received").buf);
                }
                for (at, buf) in (0..).zip(&kept) {
                    assert_eq!(buf.len(), 1000);
                    check_coded(at, 0, buf);
                }
                assert!(Metrics::current().heap_receives >= 90);
                // Some go back on another thread.
                let others = kept.split_off(50);
                std::thread::spawn(move || drop(others))
                    .join()
                    .expect("no panic");
                drop(kept);
                let before = Metrics::current().heap_receives;
                theirs.send_to(b"first", address).expect("sent");
                ours.recv_datagram().await.expect("received");
                theirs.send_to(b"second", address).expect("sent");
                ours.recv_datagram().await.expect("received");
                let metrics = Metrics::current();
                assert!(metrics.buffers == 0 || metrics.heap_receives <= before + 1);
                drop(ours);
                sleep(20 * MS).await;
                let metrics = Metrics::current();
                assert_eq!(metrics.buffers_available, metrics.buffers);
            });
        });
}

/// Nobody reads: what waits in the socket is bounded, the kernel drops the rest and counts it, and
/// who reads then gets what was kept, in order.
#[test]
fn a_slow_reader_holds_a_bounded_queue() {
    Case::new("a_slow_reader_holds_a_bounded_queue").run(|| {
        runtime().block_on(async {
            let (ours, address) = socket().await;
            let theirs = plain();
            assert!(ours.recv(&mut [0; 8]).now_or_never().is_none());
            sleep(5 * MS).await;
            for at in 0..5_000u64 {
                let mut bytes = at.to_le_bytes().to_vec();
                bytes.resize(1000, 1);
                theirs.send_to(&bytes, address).expect("sent");
                if at % 100 == 0 {
                    sleep(MS).await;
                }
            }
            let metrics = Metrics::current();
            let held = metrics.buffers - metrics.buffers_available;
            assert!(held <= 192, "{held} datagrams are held in the socket");
            let dropped = u64::from(ours.dropped().expect("counted"));
            assert!(dropped > 3_000, "{dropped} dropped");
            let (mut got, mut last) = (0, None);
            let mut room = [0; 1000];
            while let Ok(n) = timeout(50 * MS, ours.recv(&mut room)).await {
                assert_eq!(n.expect("received"), 1000);
                let number = u64::from_le_bytes(room[..8].try_into().expect("eight"));
                assert!(last < Some(number), "in order");
                last = Some(number);
                got += 1;
            }
            assert_eq!(got + dropped, 5_000, "what was not dropped has come");
        });
    });
}

#[test]
fn c01_never_polled() {
    Case::new("c01_never_polled").run(|| {
        runtime().block_on(async {
            let (ours, address) = socket().await;
            let before = Metrics::current().operations;
            let census = Census::take();
            for _ in 0..100 {
                drop(ours.recv(&mut [0; 8]));
                drop(ours.recv_from(&mut [0; 8]));
                drop(ours.recv_datagram());
                drop(ours.peek_from(&mut [0; 8]));
                drop(ours.send(b"never"));
                drop(ours.send_to(b"never", address));
                drop(ours.send_buf_to(vec![1; 8], address));
                drop(ours.send_segments_to(vec![1; 8], 4, address));
                drop(ours.connect(address));
                drop(UdpSocket::bind("127.0.0.1:0"));
            }
            assert_eq!(Metrics::current().operations, before);
            assert_eq!(census.added(), Vec::<String>::new());
        });
    });
}

/// Forgotten receives and sends, and the socket dropped with them: nothing is written to freed
/// memory, and the runtime ends.
#[test]
fn a03_forgotten() {
    Case::new("a03_forgotten").quarantine().run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            for round in 0..50usize {
                let (ours, address) = socket().await;
                let theirs = plain();
                let ours: &'static UdpSocket = Box::leak(Box::new(ours));
                let room = vec![0; 64].leak();
                let mut receive = Box::pin(ours.recv(room));
                assert!((&mut receive).now_or_never().is_none());
                let mut send =
                    Box::pin(ours.send_to(b"forgotten", theirs.local_addr().expect("has")));
                let _ = (&mut send).now_or_never();
                let _leaked = (Box::leak(Box::new(receive)), Box::leak(Box::new(send)));
                theirs
                    .send_to(&coded_bytes(1, 0, round * 10), address)
                    .expect("sent");
                sleep(Duration::from_micros(200)).await;
                // The datagram belongs to the socket, not to the future.
                let n = ours.recv_datagram().await.expect("received").buf.len();
                assert_eq!(n, round * 10);
            }
        });
        assert!(runtime.shutdown(SECOND).is_clean());
    });
}

/// Several tasks wait on one socket while another sends on it.
#[test]
fn many_receivers_of_one_socket() {
    Case::new("many_receivers_of_one_socket")
        .seconds(30)
        .run(|| {
            runtime().block_on(async {
                let (ours, address) = socket().await;
                let ours = Rc::new(ours);
                let readers: Vec<_> = (0..5)
                    .map(|_| {
                        let ours = ours.clone();
                        spawn(async move {
                            let mut sum = 0;
                            loop {
                                let mut word = [0; 8];
                                ours.recv(&mut word).await.expect("received");
                                match u64::from_le_bytes(word) {
                                    0 => return sum,
                                    number => sum += number,
                                }
                            }
                        })
                    })
                    .collect();
                for number in 1..=200u64 {
                    let word = number.to_le_bytes();
                    ours.send_to(&word, address).await.expect("sent");
                }
                for _ in 0..5 {
                    ours.send_to(&[0; 8], address).await.expect("sent");
                }
                let mut sum = 0;
                for reader in readers {
                    let part = timeout(SECOND, reader).await.expect("woken");
                    sum += part.expect("no panic");
                }
                assert_eq!(sum, 200 * 201 / 2);
            });
        });
}

#[test]
fn segments_are_cut_and_joined() {
    Case::new("segments_are_cut_and_joined").run(|| {
        runtime().block_on(async {
            let (ours, address) = socket().await;
            let (theirs, _) = socket().await;
            let sent = coded_bytes(3, 0, 10_500);
            let zero = theirs.send_segments_to(sent.clone(), 0, address).await.0;
            assert_eq!(zero.expect_err("no length").kind(), ErrorKind::InvalidInput);
            // Cut, and received one by one.
            let (result, sent) = theirs.send_segments_to(sent, 1000, address).await;
            match result {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return harness::skip("no UDP_SEGMENT here");
                }
                result => assert_eq!(result.expect("sent"), 10_500),
            }
            one_by_one(&ours, &sent).await;
            // Joined: as one, and one by one through the other methods.
            match ours.set_gro(true) {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return harness::skip("no UDP_GRO here");
                }
                result => result.expect("set"),
            }
            assert!(ours.gro().expect("read"));
            theirs.connect(address).await.expect("connected");
            let (result, sent) = theirs.send_segments(sent, 1000).await;
            assert_eq!(result.expect("sent"), 10_500);
            let datagram = ours.recv_datagram().await.expect("received");
            assert_eq!(datagram.segment_len, Some(1000));
            assert_eq!(&datagram.buf[..], &sent[..]);
            let segments: Vec<_> = datagram.into_segments().collect();
            let lens: Vec<_> = segments.iter().map(|segment| segment.len()).collect();
            assert_eq!(lens, [vec![1000; 10], vec![500]].concat());
            let (result, sent) = theirs.send_segments(sent, 1000).await;
            assert_eq!(result.expect("sent"), 10_500);
            assert_eq!(ours.peek(&mut [0; 4000]).await.expect("there"), 1000);
            one_by_one(&ours, &sent).await;
        });
    });
}

async fn one_by_one(ours: &UdpSocket, sent: &[u8]) {
    let mut room = [0; 2000];
    for piece in sent.chunks(1000) {
        let n = timeout(SECOND, ours.recv(&mut room)).await.expect("there");
        assert_eq!(&room[..n.expect("received")], piece);
    }
}

#[test]
fn options_are_set_and_read() {
    Case::new("options_are_set_and_read").run(|| {
        runtime().block_on(async {
            let (ours, _) = socket().await;
            ours.set_broadcast(true).expect("set");
            assert!(ours.broadcast().expect("read"));
            ours.set_ttl(77).expect("set");
            assert_eq!(ours.ttl().expect("read"), 77);
            ours.set_reuse_port(true).expect("set");
            assert!(ours.reuse_port().expect("read"));
            ours.set_recv_buffer_size(50_000).expect("set");
            assert!(ours.recv_buffer_size().expect("read") >= 50_000);
            ours.set_multicast_ttl_v4(3).expect("set");
            assert_eq!(ours.multicast_ttl_v4().expect("read"), 3);
            ours.set_multicast_loop_v4(false).expect("set");
            assert!(!ours.multicast_loop_v4().expect("read"));
            assert!(ours.take_error().expect("read").is_none());
            assert_eq!(
                ours.peer_addr().expect_err("not connected").kind(),
                ErrorKind::NotConnected
            );
            assert!(format!("{ours:?}").contains("127.0.0.1"));
            if let Ok(six) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await {
                six.set_multicast_hops_v6(4).expect("set");
                assert_eq!(six.multicast_hops_v6().expect("read"), 4);
                six.set_multicast_loop_v6(true).expect("set");
                assert!(six.multicast_loop_v6().expect("read"));
                six.set_hops_v6(9).expect("set");
                assert_eq!(six.hops_v6().expect("read"), 9);
            }
            let shared = UdpSocket::bind_reuse_port("127.0.0.1:0")
                .await
                .expect("bound");
            let address = shared.local_addr().expect("it has one");
            let second = UdpSocket::bind_reuse_port(address).await;
            assert_eq!(second.expect("shared").local_addr().expect("has"), address);
            let taken = UdpSocket::bind(address).await.expect_err("not asked for");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        });
    });
}

#[test]
fn multicast_reaches_who_has_joined() {
    Case::new("multicast_reaches_who_has_joined").run(|| {
        runtime().block_on(async {
            let group = Ipv4Addr::new(239, 255, 77, 1);
            let ours = UdpSocket::bind_reuse_port("0.0.0.0:0")
                .await
                .expect("bound");
            let port = ours.local_addr().expect("it has one").port();
            if let Err(error) = ours.join_multicast_v4(group, Ipv4Addr::LOCALHOST) {
                return harness::skip(format!("no multicast here: {error}"));
            }
            let (theirs, _) = socket().await;
            theirs
                .set_multicast_if_v4(Ipv4Addr::LOCALHOST)
                .expect("set");
            let to = SocketAddr::from((group, port));
            if let Err(error) = theirs.send_to(b"all", to).await {
                return harness::skip(format!("no multicast here: {error}"));
            }
            let mut room = [0; 8];
            let got = timeout(SECOND, ours.recv(&mut room)).await;
            assert_eq!(got.expect("joined").expect("received"), 3);
            ours.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)
                .expect("left");
            theirs.send_to(b"all", to).await.expect("sent");
            assert!(timeout(20 * MS, ours.recv(&mut room)).await.is_err());
        });
    });
}

/// Into the standard library and back: nothing is lost, and nothing is in flight.
#[test]
fn d04_into_std_keeps_datagrams() {
    Case::new("d04_into_std_keeps_datagrams").run(|| {
        runtime().block_on(async {
            let (ours, address) = socket().await;
            let theirs = plain();
            assert!(ours.recv(&mut [0; 8]).now_or_never().is_none());
            theirs.send_to(b"unread", address).expect("sent");
            sleep(10 * MS).await;
            let kept = ours.into_std().await.expect_err("it would be lost");
            assert_eq!(kept.error.kind(), ErrorKind::ResourceBusy);
            let ours = kept.stream;
            let mut room = [0; 8];
            assert_eq!(ours.recv(&mut room).await.expect("received"), 6);
            let plain_again = ours.into_std().await.expect("nothing is left");
            theirs.send_to(b"plain", address).expect("sent");
            assert_eq!(plain_again.recv(&mut room).expect("it blocks"), 5);
            let ours = UdpSocket::from_std(plain_again).expect("a socket");
            theirs.send_to(b"again", address).expect("sent");
            assert_eq!(ours.recv(&mut room).await.expect("received"), 5);
        });
    });
}

/// Dropped with everything in flight, and used after the end of the runtime.
#[test]
fn sockets_that_outlive_their_runtime() {
    Case::new("sockets_that_outlive_their_runtime")
        .quarantine()
        .run(|| {
            let census = Census::take();
            let mut runtime = runtime();
            let theirs = plain();
            let (ours, forgotten) = runtime.block_on(async {
                let (ours, address) = socket().await;
                let (forgotten, _) = socket().await;
                assert!(ours.recv(&mut [0; 8]).now_or_never().is_none());
                sleep(5 * MS).await;
                theirs.send_to(b"late", address).expect("sent");
                sleep(5 * MS).await;
                (ours, forgotten)
            });
            drop(runtime);
            // What had come into memory of its own is still there; buffers went with the ring.
            let late = ours.recv(&mut [0; 8]).now_or_never().expect("at once");
            match late {
                Ok(n) => assert_eq!(n, 4),
                Err(error) => assert!(error.to_string().contains("shut down"), "{error}"),
            }
            let (error, buf) = forgotten
                .send_buf(vec![1; 4])
                .now_or_never()
                .expect("at once");
            assert!(error.is_err() && buf == [1; 4]);
            drop((ours, forgotten, theirs));
            census.assert_same();
        });
}
