//! The simulation itself.
#![cfg(feature = "sim")]

use corering::net::{TcpListener, TcpStream};
use corering::sim::Sim;
use std::time::Duration;

corering::follow_the_seed!();

#[global_allocator]
static ALLOCATOR: corering::sim::GuardAlloc = corering::sim::GuardAlloc::new();

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        drop(corering::spawn(async move {
            while let Ok(Some(chunk)) = stream.recv().await {
                if stream.send_all(chunk).await.0.is_err() {
                    return;
                }
            }
        }));
    }
}

async fn connect() -> TcpStream {
    loop {
        match TcpStream::connect("server:7000").await {
            Ok(stream) => return stream,
            Err(_) => corering::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[test]
fn echo() {
    corering::sim::seeds(0..50, |sim: &mut Sim| {
        sim.host("server")
            .boot(|_core| async { serve().await.unwrap() });
        let client = sim.host("client").boot(|_core| async {});
        sim.block_on(&client, async {
            let mut stream = connect().await;
            for round in 0..20u8 {
                let data = vec![round; 1 + usize::from(round) * 1000];
                stream.write_all(&data).await.unwrap();
                let mut reply = vec![0; data.len()];
                stream.read_exact(&mut reply).await.unwrap();
                assert_eq!(reply, data);
            }
        });
    });
}

/// Equal seeds give equal traces; the second run is on another thread, with other addresses.
#[test]
fn a_run_is_a_function_of_the_seed() {
    let run = |seed: u64| {
        std::thread::spawn(move || {
            let faults = corering::sim::Faults::swarm_with_errors(seed);
            let mut sim = Sim::with_faults(seed, faults);
            sim.host("server")
                .cores(2)
                .boot(|_core| async { drop(serve().await) });
            let client = sim.host("client").boot(|_core| async {});
            sim.spawn(&client, async {
                let mut table = std::collections::HashMap::new();
                for round in 0..50u32 {
                    table.insert(round, round);
                }
                for round in table.keys().copied() {
                    let Ok(mut stream) = TcpStream::connect("server:7000").await else {
                        corering::time::sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    let data = vec![1; 1 + round as usize * 100];
                    if stream.write_all(&data).await.is_ok() {
                        let mut reply = vec![0; data.len()];
                        let _ = stream.read_exact(&mut reply).await;
                    }
                    let name = format!("/file-{round}");
                    let _ = corering::fs::write_atomic(&name, data).await;
                }
            });
            sim.run_for(Duration::from_secs(2));
            (sim.trace_hash(), sim.events())
        })
        .join()
        .unwrap()
    };
    for seed in 0..30 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn datagrams_reach_their_host_whole_or_not_at_all() {
    use corering::net::UdpSocket;
    corering::sim::seeds(0..50, |sim: &mut Sim| {
        let mut link = corering::sim::Link::default();
        (link.loss, link.duplicate, link.reorder) = (0.1, 0.1, 0.2);
        sim.set_default_link(link);
        let server = sim.host("server").boot(|_core| async {
            let socket = UdpSocket::bind("0.0.0.0:9000").await.unwrap();
            let mut buf = vec![0; 2000];
            loop {
                let (n, from) = socket.recv_from(&mut buf).await.unwrap();
                let _ = socket.send_to(&buf[..n], from).await;
            }
        });
        let client = sim.host("client").boot(|_core| async {});
        let address = (server.address(), 9000);
        let answers = sim.block_on(&client, async move {
            let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
            socket.connect(address).await.unwrap();
            let mut answers = 0;
            let mut buf = vec![0; 2000];
            // A server whose kernel is busy binds late, and until then each question is refused.
            corering::time::sleep(Duration::from_millis(500)).await;
            for round in 0..40usize {
                let sent = vec![round as u8; round * 40];
                let _ = socket.send(&sent).await;
                let answer =
                    corering::time::timeout(Duration::from_millis(20), socket.recv(&mut buf));
                if let Ok(Ok(n)) = answer.await {
                    answers += 1;
                    let of = buf[..n].first().map_or(0, |&byte| usize::from(byte));
                    assert!(n == of * 40 && buf[..n].iter().all(|&byte| usize::from(byte) == of));
                }
            }
            answers
        });
        assert!(answers > 10, "{answers} answers to 40 questions");
    });
}

#[test]
fn unix_sockets_pass_descriptors() {
    use corering::net::{UnixListener, UnixStream};
    corering::sim::seeds(0..50, |sim: &mut Sim| {
        let host = sim.host("host").boot(|_core| async {});
        sim.block_on(&host, async {
            let listener = UnixListener::bind("/tmp/socket").unwrap();
            let server = corering::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut all = Vec::new();
                while let Some(chunk) = stream.recv().await.unwrap() {
                    all.extend_from_slice(&chunk);
                }
                all
            });
            let mut stream = UnixStream::connect("/tmp/socket").await.unwrap();
            stream.write_all(&vec![7; 100_000]).await.unwrap();
            stream.shutdown(std::net::Shutdown::Write).await.unwrap();
            assert_eq!(server.await.unwrap(), vec![7; 100_000]);
            corering::fs::remove_file("/tmp/socket").await.unwrap();
            assert!(UnixStream::connect("/tmp/socket").await.is_err());
        });
    });
}

/// The standard library asks for random numbers once a thread; that must not shift the second run.
#[test]
fn runs_on_one_thread_are_the_same() {
    let run = || {
        let mut sim = Sim::new(3);
        let host = sim.host("host").boot(|_core| async {});
        sim.block_on(&host, async {
            let table: std::collections::HashMap<u32, u32> = (0..9).map(|n| (n, n)).collect();
            corering::time::sleep(Duration::from_millis(table.len() as u64)).await;
        });
        (sim.trace_hash(), sim.random())
    };
    let runs = std::thread::spawn(move || [run(), run()]).join().unwrap();
    assert_eq!(runs[0], runs[1]);
}

/// A connect whose deadline passes is a time-out, and no connection.
#[test]
fn a_connect_that_nobody_answers_times_out() {
    corering::sim::seeds(0..50, |sim: &mut Sim| {
        let server = sim.host("server").boot(|_core| async {
            let _ = serve().await;
        });
        let client = sim.host("client").boot(|_core| async {});
        sim.run_for(Duration::from_secs(1));
        sim.partition(&server, &client);
        sim.block_on(&client, async {
            let limit = Duration::from_millis(500);
            let error = TcpStream::connect_timeout("server:7000", limit).await;
            let error = error.expect_err("nobody answers");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
        });
        sim.heal(&server, &client);
        sim.block_on(&client, async {
            let mut stream = connect().await;
            stream.write_all(b"hello").await.expect("sent");
            stream.read_exact(&mut [0; 5]).await.expect("echoed");
        });
    });
}
