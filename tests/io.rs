//! Buffers, lines, water marks, copies, files to sockets, and the race for a connection.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::fs::{self, File};
use corering::io::{
    BufReader, BufWriter, LineTooLong, QueueFull, copy, copy_bidirectional, duplex,
};
use corering::net::{TcpListener, TcpStream, UnixStream};
use corering::time::{Instant, sleep, timeout};
use corering::{Runtime, spawn};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use harness::net::pair;
use harness::{Case, Census, Rng, check_coded, coded_bytes};
use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(20);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

fn is_too_long(error: &std::io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<LineTooLong>())
}

/// Lines of all lengths arrive whole, in whatever pieces, and however often a call is dropped.
#[test]
fn lines_that_are_dropped() {
    Case::new("lines_that_are_dropped").run(|| {
        let mut rng = Rng::new();
        runtime().block_on(async {
            let (mut here, there) = pair().await;
            let lines: Vec<String> = (0..300)
                .map(|at| format!("{at} {}", "x".repeat(rng.below(3000) as usize)))
                .collect();
            let mut text = lines.join("\n");
            text.push_str("\r\nlast without an end");
            let mut pieces = rng.clone();
            let writer = spawn(async move {
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    let n = (pieces.below(5000) as usize + 1).min(rest.len());
                    here.write_all(&rest[..n]).await.expect("written");
                    rest = &rest[n..];
                    corering::yield_now().await;
                }
            });
            let mut reader = BufReader::with_capacity(100, there);
            for line in &lines {
                let came = loop {
                    let patience = Duration::from_micros(rng.below(100));
                    if let Ok(line) = timeout(patience, reader.next_line()).await {
                        break line.expect("no error");
                    }
                };
                assert_eq!(came.as_deref(), Some(&line[..]));
            }
            let mut text = String::new();
            assert_eq!(reader.read_line(&mut text).await.expect("the rest"), 19);
            assert_eq!(text, "last without an end");
            assert_eq!(reader.next_line().await.expect("the end"), None);
            writer.await.expect("no panic");
        });
    });
}

#[test]
fn g21_lines_without_an_end() {
    Case::new("g21_lines_without_an_end").run(|| {
        runtime().block_on(async {
            let (mut here, there) = pair().await;
            let flood =
                spawn(async move { while here.write_all(&[b'x'; 10_000]).await.is_ok() {} });
            let mut reader = BufReader::new(there);
            reader.set_line_limit(100_000);
            let before = harness::memory_kib();
            let error = reader.next_line().await.expect_err("no end");
            assert!(is_too_long(&error), "{error}");
            assert!(error.to_string().contains("set_line_limit"), "{error}");
            // Nothing is lost: it is told again, and whoever wants the bytes has them.
            assert!(is_too_long(
                &reader.next_line().await.expect_err("still there")
            ));
            let mut some = [0; 500];
            reader.read_exact(&mut some).await.expect("they are there");
            assert_eq!(some, [b'x'; 500]);
            assert!(harness::memory_kib() < before + 10_000);
            let mut lines = reader.lines();
            let error = lines.next().await.expect("an item").expect_err("no end");
            assert!(is_too_long(&error), "{error}");
            assert!(lines.next().await.is_none(), "it ends with the error");
            drop(lines);
            flood.await.expect("no panic");

            // At the limit, and one beyond it.
            for (len, fits) in [(9, true), (10, false)] {
                let text = [&vec![b'a'; len][..], b"\nb"].concat();
                let mut reader = BufReader::new(&text[..]);
                reader.set_line_limit(10);
                assert_eq!(reader.next_line().await.is_ok(), fits, "{len}");
            }
        });
    });
}

#[test]
fn delimiters_and_lengths() {
    Case::new("delimiters_and_lengths").run(|| {
        runtime().block_on(async {
            let (mut here, there) = duplex(3);
            let writer = spawn(async move {
                let text = b"A: 1\r\nB: 2\r\n\r\nbody\xff\nmore";
                here.write_all(text).await.expect("written");
            });
            let mut reader = BufReader::with_capacity(4, there);
            let mut head = Vec::new();
            // Dropped halfway: the next call may look for something else.
            let dropped = timeout(Duration::ZERO, reader.read_until(b"\r\n\r\n", &mut head)).await;
            assert!(dropped.is_err() && head.is_empty());
            assert_eq!(
                reader.next_line().await.expect("read").as_deref(),
                Some("A: 1")
            );
            let n = reader
                .read_until("\r\n\r\n", &mut head)
                .await
                .expect("read");
            assert_eq!((n, &head[..]), (8, &b"B: 2\r\n\r\n"[..]));
            let mut body = [0; 4];
            assert!(
                timeout(Duration::ZERO, reader.read_exact(&mut [0; 40]))
                    .await
                    .is_err()
            );
            reader.read_exact(&mut body).await.expect("read");
            assert_eq!(&body, b"body");
            let error = reader.next_line().await.expect_err("no text");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let mut bytes = Vec::new();
            reader.read_until(b"\n", &mut bytes).await.expect("bytes");
            assert_eq!(bytes, b"\xff\n");
            let error = reader.read_exact(&mut [0; 5]).await.expect_err("four");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).await.expect("the trait's");
            assert_eq!(rest, "more");
            writer.await.expect("no panic");
        });
    });
}

#[test]
fn water_marks() {
    Case::new("water_marks").run(|| {
        runtime().block_on(async {
            let (here, mut there) = duplex(100);
            let mut writer = BufWriter::new(here);
            writer.set_water_marks(1000, 300);
            // Below the mark nobody waits, and what can leave does.
            writer.push(&[1; 150]).expect("room");
            timeout(MS, writer.drain())
                .await
                .expect("no wait")
                .expect("no error");
            assert_eq!(writer.buffered(), 50);
            writer.push(&[2; 1000]).expect("room");
            assert!(
                timeout(5 * MS, writer.drain()).await.is_err(),
                "above the mark"
            );
            assert_eq!(writer.buffered(), 1050);
            let mut all = vec![0; 800];
            let (drained, read) = futures::join!(writer.drain(), there.read_exact(&mut all));
            drained.expect("no error");
            read.expect("read");
            // At the low mark, or below it by what a read had made room for.
            assert!(
                (200..=300).contains(&writer.buffered()),
                "{}",
                writer.buffered()
            );
            let mut rest = vec![0; 350];
            let (closed, read) = futures::join!(writer.close(), there.read_exact(&mut rest));
            closed.expect("no error");
            read.expect("read");
            assert_eq!(there.read(&mut [0]).await.expect("the end"), 0);
            assert!(all.iter().chain(&rest).filter(|byte| **byte == 2).count() == 1000);

            let mut writer = BufWriter::new(futures::io::sink());
            writer.set_queue_limit(10);
            writer.push(&[0; 10]).expect("room");
            let error = writer.push(&[0]).expect_err("full");
            assert!(error.get_ref().is_some_and(|inner| inner.is::<QueueFull>()));
            writer.flush().await.expect("flushed");
            writer.push(&[0; 10]).expect("room");
        });
    });
}

/// A proxy of its own: halves that end one after the other, megabytes both ways.
#[test]
fn copies_both_ways() {
    Case::new("copies_both_ways").run(|| {
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            let (client, mut one) = pair().await;
            let (mut two, mut server) = UnixStream::pair().expect("a pair");
            let proxy = spawn(async move { copy_bidirectional(&mut one, &mut two).await });
            let (mut read, mut write) = client.into_split();
            const LEN: u64 = 5 << 20;
            let up = spawn(async move {
                let bytes = coded_bytes(1, 0, LEN as usize);
                write.write_all(&bytes).await.expect("written");
                write.shutdown().await.expect("shut down");
            });
            let echo = spawn(async move {
                let mut all = Vec::new();
                server.read_to_end(&mut all).await.expect("to the end");
                // The other way is still open.
                server.write_all(&all[..1 << 20]).await.expect("written");
                server.shutdown(Shutdown::Write).await.expect("shut down");
                all
            });
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.expect("to the end");
            check_coded(1, 0, &all);
            assert_eq!(all.len(), 1 << 20);
            assert_eq!(echo.await.expect("no panic").len() as u64, LEN);
            up.await.expect("no panic");
            let copied = timeout(LIMIT, proxy)
                .await
                .expect("it ends")
                .expect("no panic");
            assert_eq!(copied.expect("no error"), (LEN, 1 << 20));

            let mut to = Vec::new();
            let n = copy(&mut &all[..], &mut to).await.expect("copied");
            assert!(n == all.len() as u64 && to == all);
        });
        census.assert_same();
    });
}

#[test]
fn files_to_sockets() {
    Case::new("files_to_sockets").run(|| {
        let name = format!("corering-io-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        const LEN: u64 = 3_000_001;
        std::fs::write(&path, coded_bytes(1, 0, LEN as usize)).expect("written");
        let mut runtime = runtime();
        let census = Census::take();
        runtime.block_on(async {
            let file = File::open(&path).await.expect("opened");
            let (mut here, mut there) = pair().await;
            let parts = [
                (0, LEN),
                (5, 6),
                (1_000_000, 2_500_000),
                (LEN - 1, LEN),
                (7, 7),
            ];
            for (from, to) in parts {
                let mut all = vec![0; (to - from) as usize];
                let send = fs::send_file(&mut here, &file, from..to);
                let (sent, read) = futures::join!(send, there.read_exact(&mut all));
                read.expect("read");
                assert_eq!(sent.expect("sent"), to - from);
                check_coded(1, from, &all);
            }
            // Behind the end there is nothing.
            let sent = fs::send_file(&mut here, &file, LEN - 3..).await;
            assert_eq!(sent.expect("sent"), 3);
            let sent = fs::send_file(&mut here, &file, LEN + 10..).await;
            assert_eq!(sent.expect("nothing"), 0);
            drop(here);
            let mut rest = Vec::new();
            there.read_to_end(&mut rest).await.expect("to the end");
            check_coded(1, LEN - 3, &rest);
        });
        census.assert_same();
        std::fs::remove_file(&path).expect("removed");
    });
}

/// A listener that answers nobody: its queue is full, and the kernel drops what comes.
async fn black_hole() -> (std::net::TcpListener, Vec<std::net::TcpStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    socket.listen(0).expect("listens");
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr().expect("it has one");
    let mut filling = Vec::new();
    for _ in 0..4 {
        let limit = Duration::from_millis(50);
        match std::net::TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => filling.push(stream),
            Err(_) => break,
        }
    }
    (listener, filling, address)
}

#[test]
fn happy_eyeballs() {
    Case::new("happy_eyeballs").run(|| {
        let mut runtime = runtime();
        runtime.block_on(async {
            let (_hole, _filling, silent) = black_hole().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let live = listener.local_addr().expect("it has one");
            let closed = SocketAddr::from(([127, 0, 0, 1], 1));
            let census = Census::take();
            // A refusal costs no time; who does not answer is given a head start, and no more.
            let begin = Instant::now();
            let stream = TcpStream::connect(&[closed, live][..])
                .await
                .expect("connected");
            assert_eq!(stream.peer_addr().expect("it has one"), live);
            assert!(begin.elapsed() < Duration::from_secs(5));
            drop(stream);
            for how in 0..2 {
                let begin = Instant::now();
                let both = &[silent, live][..];
                let connected = match how {
                    0 => TcpStream::connect(both).await,
                    _ => TcpStream::connect_timeout(both, LIMIT).await,
                };
                let stream = connected.expect("connected");
                assert_eq!(stream.peer_addr().expect("it has one"), live);
                assert!(begin.elapsed() >= Duration::from_millis(250));
                assert!(begin.elapsed() < Duration::from_secs(10));
            }
            let limit = Duration::from_millis(300);
            let error = TcpStream::connect_timeout(&[silent, silent][..], limit).await;
            assert_eq!(error.expect_err("silence").kind(), ErrorKind::TimedOut);
            let name = ("localhost", live.port());
            TcpStream::connect(name)
                .await
                .expect("one of its addresses");
            // A race that is dropped leaves nothing behind.
            let three = [silent; 3];
            let race = TcpStream::connect(&three[..]);
            assert!(timeout(Duration::from_millis(600), race).await.is_err());
            for _ in 0..4 {
                listener.accept().await.expect("accepted");
            }
            sleep(20 * MS).await;
            census.assert_same();
        });
    });
}

/// The same in a simulation: the first address is cut off, the second one answers.
#[cfg(feature = "sim")]
#[test]
fn happy_eyeballs_in_the_simulation() {
    corering::sim::seeds(0..30, |sim: &mut corering::sim::Sim| {
        let serve = |_core| async {
            let listener = TcpListener::bind("0.0.0.0:80").await.expect("bound");
            while let Ok((mut stream, _)) = listener.accept().await {
                spawn(async move { stream.read_to_end(&mut Vec::new()).await });
            }
        };
        let far = sim.host("far").boot(serve);
        let near = sim.host("near").boot(serve);
        let client = sim.host("client").boot(|_core| async {});
        let control = sim.control();
        let addresses = [far.address(), near.address()].map(|ip| SocketAddr::new(ip, 80));
        let this = client.clone();
        sim.block_on(&client, async move {
            control.partition(&this, &far);
            sleep(Duration::from_millis(100)).await;
            let begin = Instant::now();
            let stream = TcpStream::connect(&addresses[..]).await.expect("connected");
            assert_eq!(stream.peer_addr().expect("it has one"), addresses[1]);
            assert!(begin.elapsed() >= Duration::from_millis(250));
            assert!(begin.elapsed() < Duration::from_secs(20));
        });
    });
}
