//! Names looked up by the core itself, at name servers of the test's own: addresses, names that are
//! not there, answers that are cut off, and servers that say nothing.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "the harness looks at memory, and at the clock"
)]

mod harness;

use corering::dns::{Config, LookupError, Resolver};
use corering::flow::gather;
use corering::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use corering::spawn;
use corering::task::JoinHandle;
use corering::time::{Instant, sleep, timeout};
use harness::everywhere;
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

#[cfg(feature = "sim")]
corering::follow_the_seed!();

const A: u16 = 1;
const AAAA: u16 = 28;

/// What the test's world knows of a name: the code of the answer, and the addresses.
fn zone(name: &str) -> (u8, Vec<IpAddr>) {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    match name {
        "both.test" => (0, vec![local, Ipv6Addr::LOCALHOST.into()]),
        "one.test" | "long.test" | "host.lan.test" => (0, vec![local]),
        "empty.test" => (0, Vec::new()),
        "broken.test" => (2, Vec::new()),
        _ => (3, Vec::new()),
    }
}

/// The answer to a question; `long.test` is too long for UDP.
fn answer(question: &[u8], is_udp: bool) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    let name = labels.join(".");
    let is_cut = is_udp && name == "long.test";
    let (code, addresses) = zone(&name);
    let fits = |ip: &&IpAddr| ip.is_ipv4() && kind == A || ip.is_ipv6() && kind == AAAA;
    let fitting: Vec<_> = addresses.iter().filter(fits).filter(|_| !is_cut).collect();
    let mut reply = question[..2].to_vec();
    reply.extend([0x81 | u8::from(is_cut) << 1, 0x80 | code]);
    // One question, so many answers, and nothing else.
    reply.extend([0, 1, 0, fitting.len() as u8, 0, 0, 0, 0]);
    reply.extend(&question[12..at + 5]);
    for ip in fitting {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        match ip {
            IpAddr::V4(ip) => reply.extend([&[0, 4][..], &ip.octets()].concat()),
            IpAddr::V6(ip) => reply.extend([&[0, 16][..], &ip.octets()].concat()),
        }
    }
    reply
}

/// A name server on loopback, over UDP and TCP.
struct NameServer {
    address: SocketAddr,
    /// How many questions came over each.
    asked: Rc<[Cell<usize>; 2]>,
    tasks: [JoinHandle<()>; 2],
    /// How many tasks there were before.
    before: u64,
}

impl NameServer {
    async fn start() -> NameServer {
        let before = corering::Metrics::current().tasks;
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            // Another program may have the port of the other kind.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("its address")).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("its address");
        let asked = Rc::new([Cell::new(0), Cell::new(0)]);
        let (one, other) = (asked.clone(), asked.clone());
        let tasks = [spawn(over_udp(udp, one)), spawn(over_tcp(tcp, other))];
        NameServer {
            address,
            asked,
            tasks,
            before,
        }
    }
}

async fn over_udp(socket: UdpSocket, asked: Rc<[Cell<usize>; 2]>) {
    let mut question = [0; 1500];
    loop {
        let (n, from) = socket.recv_from(&mut question).await.expect("received");
        asked[0].set(asked[0].get() + 1);
        let reply = answer(&question[..n], true);
        socket.send_to(&reply, from).await.expect("sent");
    }
}

async fn over_tcp(listener: TcpListener, asked: Rc<[Cell<usize>; 2]>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let mut len = [0; 2];
        while stream.read_exact(&mut len).await.is_ok() {
            let mut question = vec![0; u16::from_be_bytes(len).into()];
            stream.read_exact(&mut question).await.expect("a question");
            asked[1].set(asked[1].get() + 1);
            let reply = answer(&question, false);
            let len = (reply.len() as u16).to_be_bytes();
            let message = [&len[..], &reply].concat();
            stream.write_all(&message).await.expect("sent");
        }
    }
}

/// Asks these servers, and waits long enough for lost datagrams of a simulation.
fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(Config {
        servers: servers.to_vec(),
        timeout: Duration::from_secs(5),
        attempts: 3,
        ..Config::default()
    })
    .expect("a resolver")
}

/// Ends them; what the resolver has left to tasks ends, too.
async fn settled(resolver: Resolver, server: NameServer) {
    drop(resolver);
    for task in server.tasks {
        task.abort();
        assert!(task.await.is_err(), "the server had ended before");
    }
    let start = Instant::now();
    while corering::Metrics::current().tasks > server.before {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(20), "tasks are left behind");
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn both_families_are_found_and_kept() {
    everywhere("both_families_are_found_and_kept", || async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        let mut found = resolver.lookup_host("both.test", 80).await.unwrap();
        found.sort();
        let expected: [SocketAddr; 2] = ["127.0.0.1:80", "[::1]:80"].map(|a| a.parse().unwrap());
        assert_eq!(found, expected);
        let found = resolver.lookup_host("ONE.test.", 7).await.unwrap();
        assert_eq!(
            found,
            expected[..1]
                .iter()
                .map(|a| (a.ip(), 7).into())
                .collect::<Vec<_>>()
        );
        // Once more, from the cache; an address needs no server.
        let asked = server.asked[0].get();
        assert!(asked >= 4, "two names, two families: {asked}");
        resolver.clone().lookup_host("both.test", 81).await.unwrap();
        let found = resolver.lookup_host("192.0.2.7", 1).await.unwrap();
        assert_eq!(found, ["192.0.2.7:1".parse().unwrap()]);
        assert_eq!(server.asked[0].get(), asked);
        assert_eq!(server.asked[1].get(), 0);
        settled(resolver, server).await;
    });
}

#[test]
fn what_is_not_there_is_told_apart() {
    everywhere("what_is_not_there_is_told_apart", || async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        let error = resolver.lookup_host("none.test", 80).await.unwrap_err();
        assert!(matches!(error, LookupError::NotFound(_)), "{error:?}");
        assert_eq!(error.to_string(), "there is no host \"none.test\"");
        let error = resolver.lookup_host("empty.test", 80).await.unwrap_err();
        assert!(matches!(error, LookupError::NoAddress(_)), "{error:?}");
        let error = resolver.lookup_host("broken.test", 80).await.unwrap_err();
        assert!(matches!(error, LookupError::Refused(..)), "{error:?}");
        assert!(
            error.to_string().contains(&server.address.to_string()),
            "{error}"
        );
        let long = "x".repeat(300);
        let error = resolver.lookup_host(&long, 80).await.unwrap_err();
        assert!(matches!(error, LookupError::Invalid(..)), "{error:?}");
        settled(resolver, server).await;
    });
}

#[test]
fn an_answer_that_was_cut_off_comes_over_tcp() {
    everywhere("an_answer_that_was_cut_off_comes_over_tcp", || async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        let found = resolver.lookup_host("long.test", 80).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        assert!(server.asked[0].get() >= 1 && server.asked[1].get() >= 1);
        settled(resolver, server).await;
    });
}

#[test]
fn servers_that_say_nothing_do_not_hold_it_up() {
    everywhere("servers_that_say_nothing_do_not_hold_it_up", || async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent_address = silent.local_addr().unwrap();
        let impatient = Resolver::new(Config {
            servers: vec![silent_address],
            timeout: Duration::from_millis(200),
            ..Config::default()
        });
        let start = Instant::now();
        let error = impatient.unwrap().lookup_host("one.test", 80).await;
        let error = error.unwrap_err();
        assert!(matches!(error, LookupError::Timeout(..)), "{error:?}");
        assert!(
            error.to_string().contains(&silent_address.to_string()),
            "{error}"
        );
        assert!(start.elapsed() >= Duration::from_millis(200));
        // Who answers is heard.
        let server = NameServer::start().await;
        let resolver = resolver(&[silent_address, server.address]);
        let found = resolver.lookup_host("one.test", 80).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        settled(resolver, server).await;
    });
}

#[test]
fn names_of_connections_go_to_the_installed_resolver() {
    everywhere(
        "names_of_connections_go_to_the_installed_resolver",
        || async {
            let server = NameServer::start().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let resolver = resolver(&[server.address]);
            resolver.install();
            // Nobody listens at the other family's address.
            let mut stream = TcpStream::connect(("both.test", port)).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            stream.write_all(b"x").await.unwrap();
            drop(peer);
            let error = TcpStream::connect("none.test:1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            let source = error.get_ref().expect("the resolver has said it");
            assert!(source.is::<LookupError>(), "{source}");
            let found = lookup_host("one.test:9").await.unwrap();
            assert_eq!(found, ["127.0.0.1:9".parse().unwrap()]);
            let asked = server.asked[0].get();
            Resolver::uninstall();
            assert!(lookup_host("localhost:1").await.is_ok());
            assert_eq!(server.asked[0].get(), asked);
            settled(resolver, server).await;
        },
    );
}

#[test]
fn hosts_come_first_and_domains_are_searched() {
    everywhere("hosts_come_first_and_domains_are_searched", || async {
        let server = NameServer::start().await;
        let resolver = Resolver::new(Config {
            servers: vec![server.address],
            search: vec!["lan.test".to_owned()],
            hosts: "# by hand\n192.0.2.7 printer one.test # not the zone's\n".to_owned(),
            ..Config::default()
        });
        let resolver = resolver.unwrap();
        let printer = ["192.0.2.7:631".parse().unwrap()];
        for name in ["printer", "one.test"] {
            let found = resolver.lookup_host(name, 631).await.unwrap();
            assert_eq!(found, printer, "{name}");
        }
        let found = resolver.lookup_host("host", 80).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        settled(resolver, server).await;
    });
}

/// A name of `hosts` is not asked for: neither its other family, nor the name in another domain.
#[test]
fn hosts_are_the_last_word() {
    everywhere("hosts_are_the_last_word", || async {
        let server = NameServer::start().await;
        let resolver = Resolver::new(Config {
            servers: vec![server.address],
            search: vec!["lan.test".to_owned()],
            hosts: "192.0.2.7 both.test host\n::1 six.test\n127.0.0.2 six.test\n".to_owned(),
            ..Config::default()
        });
        let resolver = resolver.unwrap();
        for name in ["Both.test", "both.test.", "host"] {
            let found = resolver.lookup_host(name, 1).await.unwrap();
            assert_eq!(found, ["192.0.2.7:1".parse().unwrap()], "{name}");
        }
        let found = resolver.lookup_host("six.test", 1).await.unwrap();
        let both: [SocketAddr; 2] = ["[::1]:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
        assert_eq!(found, both);
        assert_eq!(server.asked[0].get(), 0);
        settled(resolver, server).await;
    });
}

#[test]
fn dropped_lookups_leave_nothing_behind() {
    everywhere("dropped_lookups_leave_nothing_behind", || async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        for micros in 0..20 {
            let limit = Duration::from_micros(micros * 100);
            let name = format!("none-{micros}.test");
            let _ = timeout(limit, resolver.lookup_host(&name, 80)).await;
            let _ = timeout(limit, resolver.lookup_host("long.test", 80)).await;
        }
        let found = resolver.lookup_host("one.test", 80).await.unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        settled(resolver, server).await;
    });
}

#[test]
fn many_names_are_asked_for_at_a_time() {
    const NAMES: usize = 200;
    corering::block_on(async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        let lookups = (0..NAMES).map(|number| {
            let (resolver, name) = (resolver.clone(), format!("none-{number}.test"));
            async move { resolver.lookup_host(&name, 80).await.unwrap_err() }
        });
        for error in gather(lookups).await.into_iter().map(Result::unwrap) {
            assert!(matches!(error, LookupError::NotFound(_)), "{error:?}");
        }
        assert!(server.asked[0].get() >= NAMES);
        settled(resolver, server).await;
    });
}

/// Not where the machine has no such file, which it says.
#[test]
fn the_machines_configuration_is_read() {
    corering::block_on(async {
        match Config::from_system().await {
            Ok(config) => assert!(!config.servers.is_empty()),
            Err(error) => assert!(error.to_string().contains("/etc/resolv.conf"), "{error}"),
        }
    });
}

/// What the first runtime's tasks had open is opened again.
#[test]
fn a_resolver_outlives_a_runtime() {
    let (tell, told) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        let mut runtime = corering::Runtime::new().unwrap();
        let handle = runtime.handle();
        runtime.block_on(async move {
            let server = NameServer::start().await;
            tell.send((server.address, handle)).unwrap();
            corering::stopping().await;
        });
    });
    let (address, handle) = told.recv().unwrap();
    let resolver = resolver(&[address]);
    for name in ["both.test", "long.test", "one.test", "both.test"] {
        let again = resolver.clone();
        corering::block_on(async move {
            again.install();
            lookup_host((name, 80)).await.unwrap();
            for unknown in 0..3 {
                let name = format!("none-{unknown}.{name}");
                let error = again.lookup_host(&name, 80).await.unwrap_err();
                assert!(matches!(error, LookupError::NotFound(_)), "{error:?}");
            }
        });
    }
    handle.stop();
    serving.join().unwrap();
}

/// A resolver that is still installed, with a connection to its server, ends with its runtime.
#[test]
fn an_installed_resolver_ends_with_its_runtime() {
    let mut runtime = corering::Runtime::new().unwrap();
    runtime.block_on(async {
        let server = NameServer::start().await;
        let resolver = resolver(&[server.address]);
        resolver.install();
        lookup_host("long.test:80").await.unwrap();
        // Its tasks go on, as the resolver's do.
        drop(server);
    });
    let report = runtime.shutdown(Duration::ZERO);
    assert_eq!(report.leaked_operations, 0, "{report:?}");
}

/// A run is a function of its seed: the questions' numbers and ports, too.
#[cfg(feature = "sim")]
#[test]
fn simulated_lookups_follow_the_seed() {
    use corering::sim::Sim;
    let run = |seed: u64| {
        let run = move || {
            let mut sim = Sim::new(seed);
            let host = sim.host("alone").boot(|_core| async {});
            sim.block_on(&host, async {
                let server = NameServer::start().await;
                let resolver = resolver(&[server.address]);
                for name in ["both.test", "long.test"] {
                    resolver.lookup_host(name, 80).await.unwrap();
                }
                assert!(resolver.lookup_host("none.test", 80).await.is_err());
                settled(resolver, server).await;
            });
            sim.trace_hash()
        };
        // Each on a thread of its own, as `sim::seeds` does it.
        std::thread::spawn(run).join().unwrap()
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
