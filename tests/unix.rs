//! Unix sockets: streams with all faces, datagrams, names, and descriptors that travel.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{UnixDatagram, UnixListener, UnixStream};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use harness::{Case, Census, Rng, check_coded, coded_bytes, set_soft_limit};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Runtime::builder().build().expect("io_uring works here")
}

/// A directory of this test alone, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("corering-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        Dir(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An abstract name of this process alone.
fn abstract_name(name: &str) -> SocketAddr {
    let name = format!("corering-{name}-{}", std::process::id());
    SocketAddr::from_abstract_name(name).expect("short enough")
}

/// A file with these bytes, which has no name any more.
fn file(bytes: &[u8]) -> File {
    let name = c"corering";
    // SAFETY: the name ends with NUL; a new descriptor is made.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the number was just made, and is nobody else's.
    let mut file = File::from(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    file.write_all(bytes).expect("written");
    file
}

fn content(fd: OwnedFd) -> Vec<u8> {
    let mut file = File::from(fd);
    let mut bytes = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

fn is_close_on_exec(fd: impl AsFd) -> bool {
    // SAFETY: touches no memory.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC != 0
}

fn borrowed(files: &[File]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(AsFd::as_fd).collect()
}

#[test]
fn streams_have_all_faces() {
    Case::new("streams_have_all_faces").quarantine().run(|| {
        let census = Census::take();
        let dir = Dir::new("faces");
        let mut runtime = runtime();
        runtime.block_on(async {
            let path = dir.path("socket");
            let listener = UnixListener::bind(&path).expect("a new path");
            assert_eq!(
                listener.local_addr().expect("it has one").as_pathname(),
                Some(&*path)
            );
            let (client, server) = futures::join!(UnixStream::connect(&path), listener.accept());
            let (mut client, (mut server, peer)) =
                (client.expect("connected"), server.expect("accepted"));
            assert!(peer.is_unnamed());
            assert_eq!(
                client.peer_addr().expect("connected").as_pathname(),
                Some(&*path)
            );
            let cred = server.peer_cred().expect("known");
            assert_eq!(cred.pid(), Some(std::process::id() as i32));
            // SAFETY: reads a number.
            assert_eq!(cred.uid(), unsafe { libc::getuid() });
            // SAFETY: reads a number.
            assert_eq!(cred.gid(), unsafe { libc::getgid() });
            client.write_all(b"written").await.expect("written");
            let chunk = server.recv().await.expect("read").expect("bytes");
            assert_eq!(&chunk[..], b"written");
            server.send_all(chunk).await.0.expect("sent back");
            let (n, buf) = client.read_owned(vec![0; 7]).await;
            assert_eq!((n.expect("read"), &buf[..]), (7, &b"written"[..]));
            let parts = vec![b"ve".to_vec(), b"ct".to_vec()];
            server.send_vectored(parts).await.0.expect("sent");
            let mut room = [0; 4];
            client.read_exact(&mut room).await.expect("read");
            assert_eq!(&room, b"vect");
            // The traits, through the halves.
            let (read, mut write) = client.into_split();
            futures::AsyncWriteExt::write_all(&mut write, b"half")
                .await
                .expect("written");
            assert!(write.peer_addr().is_ok() && read.peer_addr().is_ok());
            futures::AsyncReadExt::read_exact(&mut server, &mut room)
                .await
                .expect("read");
            assert_eq!(&room, b"half");
            let mut client = read.reunite(write).expect("of one stream");
            let (mut borrowed_read, _) = client.split();
            server.shutdown(Shutdown::Write).await.expect("shut down");
            assert!(borrowed_read.recv().await.expect("the end").is_none());
            // Into the standard library and back.
            let mut plain = client.into_std().await.expect("idle");
            plain.write_all(b"std!").expect("written");
            server.read_exact(&mut room).await.expect("read");
            assert_eq!(&room, b"std!");
            let client = UnixStream::from_std(plain).expect("a stream");
            assert!(format!("{client:?}").contains("UnixStream"));
            drop((client, server));
            let error = UnixListener::bind(&path).expect_err("the path is there");
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        });
        drop(runtime);
        census.assert_same();
    });
}

/// Position-coded bytes, both ways at once, through small buffers of the kernel.
#[test]
fn streams_under_load() {
    const LEN: u64 = 1_000_000;
    Case::new("streams_under_load")
        .quarantine()
        .seconds(60)
        .run(|| {
            let mut rng = Rng::new();
            runtime().block_on(async {
                let (a, b) = UnixStream::pair().expect("made");
                a.set_send_buffer_size(8_000).expect("set");
                let mut tasks = Vec::new();
                for (code, stream) in [(1, a), (2, b)] {
                    let (mut read, mut write) = stream.into_split();
                    let mut rng = Rng::from_seed(rng.next());
                    tasks.push(spawn(async move {
                        let mut at = 0;
                        while at < LEN {
                            let len = (1 + rng.below(30_000)).min(LEN - at);
                            let bytes = coded_bytes(code, at, len as usize);
                            write.write_all(&bytes).await.expect("written");
                            at += len;
                        }
                    }));
                    tasks.push(spawn(async move {
                        let mut at = 0;
                        while let Some(chunk) = read.recv().await.expect("read") {
                            check_coded(3 - code, at, &chunk);
                            at += chunk.len() as u64;
                        }
                        assert_eq!(at, LEN);
                    }));
                }
                for task in tasks {
                    task.await.expect("no panic");
                }
            });
        });
}

#[test]
fn g15_names() {
    Case::new("g15_names").run(|| {
        let dir = Dir::new("names");
        runtime().block_on(async {
            // Abstract, for streams and datagrams, with a NUL inside.
            let name = abstract_name("a\0b");
            let listener = UnixListener::bind_addr(&name).expect("free");
            let (client, server) =
                futures::join!(UnixStream::connect_addr(&name), listener.accept());
            let peer = client.expect("connected").peer_addr().expect("it has one");
            assert_eq!(peer.as_abstract_name(), name.as_abstract_name());
            drop((server, listener));
            sleep(10 * MS).await;
            let error = UnixStream::connect_addr(&name).await;
            let error = error.expect_err("gone with its listener");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let socket = UnixDatagram::bind_addr(&name).expect("free again");
            let from = abstract_name("sender");
            let sender = UnixDatagram::bind_addr(&from).expect("free");
            sender.send_buf_to(vec![1; 3], &name).await.0.expect("sent");
            let (n, peer) = socket.recv_from(&mut [0; 8]).await.expect("received");
            assert_eq!((n, peer.as_abstract_name()), (3, from.as_abstract_name()));
            // Bytes that are no UTF-8, and as long as it goes.
            let odd = dir.0.join(OsStr::from_bytes(b"\xff\xfe"));
            let _listener = UnixListener::bind(&odd).expect("any bytes");
            let stream = UnixStream::connect(&odd).await.expect("connected");
            let peer = stream.peer_addr().expect("it has one");
            assert_eq!(peer.as_pathname(), Some(&*odd));
            let left = 107 - dir.0.as_os_str().len() - 1;
            let longest = dir.path(&"x".repeat(left));
            let _listener = UnixListener::bind(&longest).expect("it just fits");
            let stream = UnixStream::connect(&longest).await.expect("connected");
            let peer = stream.peer_addr().expect("it has one");
            assert_eq!(peer.as_pathname(), Some(&*longest));
            names_that_are_none(&dir, left).await;
        });
    });
}

async fn names_that_are_none(dir: &Dir, left: usize) {
    let long = dir.path(&"x".repeat(left + 1));
    let nul = Path::new("a\0b");
    let unbound = UnixDatagram::unbound().expect("made");
    let operations = Metrics::current().operations;
    for path in [&long, nul, Path::new("")] {
        let errors = [
            UnixListener::bind(path).err(),
            UnixStream::connect(path).await.err(),
            UnixDatagram::bind(path).err(),
            unbound.connect(path).await.err(),
            unbound.send_to(b"x", path).await.err(),
        ];
        for error in errors {
            let error = error.expect("no path of a socket");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    }
    assert_eq!(
        Metrics::current().operations,
        operations,
        "the kernel was not asked"
    );
    let nowhere = dir.path("nowhere");
    let error = UnixStream::connect(&nowhere).await.expect_err("no such");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    std::fs::write(dir.path("file"), b"").expect("made");
    let error = UnixStream::connect(dir.path("file")).await;
    assert_eq!(
        error.expect_err("no socket").kind(),
        ErrorKind::ConnectionRefused
    );
    let error = UnixListener::bind(dir.path("none/socket"));
    assert_eq!(error.expect_err("no such").kind(), ErrorKind::NotFound);
}

#[test]
fn datagrams_go_to_and_fro() {
    Case::new("datagrams_go_to_and_fro").quarantine().run(|| {
        let census = Census::take();
        let dir = Dir::new("datagrams");
        let mut runtime = runtime();
        runtime.block_on(async {
            let (path, other) = (dir.path("a"), dir.path("b"));
            let a = UnixDatagram::bind(&path).expect("a new path");
            let b = UnixDatagram::bind(&other).expect("a new path");
            let mut room = [0; 64];
            b.send_to(b"ping", &path).await.expect("sent");
            let (n, from) = a.recv_from(&mut room).await.expect("received");
            assert_eq!(
                (&room[..n], from.as_pathname()),
                (&b"ping"[..], Some(&*other))
            );
            a.send_buf_to(b"pong".to_vec(), &from)
                .await
                .0
                .expect("sent");
            let datagram = b.recv_datagram().await.expect("received");
            assert_eq!(&datagram.buf[..], b"pong");
            assert_eq!(datagram.from.as_pathname(), Some(&*path));
            // From nobody, without bytes, longer than the room.
            let unbound = UnixDatagram::unbound().expect("made");
            unbound.connect(&path).await.expect("connected");
            unbound.send(b"").await.expect("sent");
            unbound.send(b"0123456789").await.expect("sent");
            let (n, from) = a.recv_from(&mut room).await.expect("received");
            assert!(n == 0 && from.is_unnamed());
            assert_eq!(a.peek(&mut room).await.expect("there"), 10);
            assert_eq!(a.recv(&mut room[..4]).await.expect("received"), 4);
            // Longer than the core's buffers.
            let long = coded_bytes(4, 0, 150_000);
            unbound.send(&long).await.expect("sent");
            assert!(a.recv_datagram().await.expect("received").truncated);
            a.set_datagram_len_max(150_000);
            unbound.send(&long).await.expect("sent");
            let whole = a.recv_datagram().await.expect("received");
            assert!(!whole.truncated);
            assert_eq!(&whole.buf[..], &long[..]);
            // A pair; its end, and what its sender is told then.
            let (one, two) = UnixDatagram::pair().expect("made");
            one.send(b"two").await.expect("sent");
            assert_eq!(two.recv(&mut room).await.expect("received"), 3);
            assert_eq!(
                one.peer_cred().expect("known").pid(),
                Some(std::process::id() as i32)
            );
            drop(two);
            sleep(5 * MS).await;
            let error = one.send(b"two").await.expect_err("gone");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        });
        drop(runtime);
        census.assert_same();
    });
}

/// A sender waits while its receiver's queue is full: nothing is lost, whoever is dropped.
#[test]
fn datagrams_are_never_lost() {
    const COUNT: u64 = 5_000;
    Case::new("datagrams_are_never_lost")
        .quarantine()
        .seconds(60)
        .run(|| {
            let mut rng = Rng::new();
            runtime().block_on(async {
                let (ours, theirs) = UnixDatagram::pair().expect("made");
                let sender = spawn(async move {
                    for at in 0..COUNT {
                        let mut bytes = at.to_le_bytes().to_vec();
                        bytes.extend(coded_bytes(at, 0, (at % 700) as usize));
                        theirs.send_buf(bytes).await.0.expect("sent");
                    }
                });
                let mut at = 0;
                while at < COUNT {
                    let nap = Duration::from_micros(rng.below(50));
                    let mut room = [0; 800];
                    let got = match rng.below(3) {
                        0 => ours.recv(&mut room).now_or_never(),
                        _ => timeout(nap, ours.recv(&mut room)).await.ok(),
                    };
                    let Some(n) = got else {
                        continue;
                    };
                    let n = n.expect("received");
                    assert_eq!(
                        room[..8],
                        at.to_le_bytes(),
                        "in order, none lost, none twice"
                    );
                    assert_eq!(n as u64, 8 + at % 700);
                    check_coded(at, 0, &room[8..n]);
                    at += 1;
                }
                sender.await.expect("no panic");
            });
        });
}

#[test]
fn g15_descriptors_travel() {
    Case::new("g15_descriptors_travel").quarantine().run(|| {
        let census = Census::take();
        let mut runtime = runtime();
        runtime.block_on(async {
            let (mut a, mut b) = UnixStream::pair().expect("made");
            let files = [file(b"first"), file(b"second")];
            a.write_all(b"before ").await.expect("written");
            let n = a.send_with_fds(b"with", &borrowed(&files)).await;
            assert_eq!(n.expect("sent"), 4);
            drop(files);
            a.write_all(b" after").await.expect("written");
            a.flush().await.expect("sent");
            let (mut text, mut fds) = (Vec::new(), Vec::new());
            while text.len() < 17 {
                let mut room = [0; 64];
                let (n, more) = b.recv_with_fds(&mut room).await.expect("received");
                text.extend_from_slice(&room[..n]);
                fds.extend(more);
            }
            assert_eq!(text, b"before with after");
            assert_eq!(fds.len(), 2);
            assert!(fds.iter().all(is_close_on_exec));
            let contents: Vec<_> = fds.into_iter().map(content).collect();
            assert_eq!(contents, [b"first".to_vec(), b"second".to_vec()]);
            // With a short buffer they come with the first byte, and the rest comes after it.
            let files = [file(b"short")];
            a.send_with_fds(b"1234", &borrowed(&files))
                .await
                .expect("sent");
            let mut room = [0; 4];
            let (n, fds) = b.recv_with_fds(&mut room[..1]).await.expect("received");
            assert_eq!((n, fds.len(), room[0]), (1, 1, b'1'));
            assert_eq!(content(fds.into_iter().next().expect("one")), b"short");
            let (n, fds) = b.recv_with_fds(&mut room).await.expect("received");
            assert_eq!((&room[..n], fds.len()), (&b"234"[..], 0));
            // As many as go, and one more.
            let many: Vec<_> = (0..253).map(|_| file(b"")).collect();
            let n = a.send_with_fds(b"m", &borrowed(&many)).await;
            assert_eq!(n.expect("sent"), 1);
            let (_, fds) = b.recv_with_fds(&mut [0; 4]).await.expect("received");
            assert_eq!(fds.len(), 253);
            let too_many = [borrowed(&many), borrowed(&many[..1])].concat();
            let error = a.send_with_fds(b"m", &too_many).await;
            assert_eq!(error.expect_err("254").kind(), ErrorKind::InvalidInput);
            let error = a.send_with_fds(b"", &borrowed(&many[..1])).await;
            assert_eq!(error.expect_err("no byte").kind(), ErrorKind::InvalidInput);
            drop((many, fds));
            // Datagrams.
            let (c, d) = UnixDatagram::pair().expect("made");
            let files = [file(b"third")];
            c.send_with_fds(b"", &borrowed(&files)).await.expect("sent");
            c.send_with_fds(b"none", &[]).await.expect("sent");
            let (n, fds) = d.recv_with_fds(&mut [0; 8]).await.expect("received");
            assert_eq!((n, fds.len()), (0, 1));
            assert!(is_close_on_exec(&fds[0]));
            assert_eq!(content(fds.into_iter().next().expect("one")), b"third");
            let (n, fds) = d.recv_with_fds(&mut [0; 8]).await.expect("received");
            assert_eq!((n, fds.len()), (4, 0));
            // The end.
            drop(a);
            let (n, fds) = b.recv_with_fds(&mut [0; 8]).await.expect("the end");
            assert_eq!((n, fds.len()), (0, 0));
        });
        drop(runtime);
        census.assert_same();
    });
}

/// A send of a descriptor waits and is forgotten; the descriptor is closed, and its number goes to
/// another file: what the peer gets is the first one all the same.
#[test]
fn d01_a_descriptor_in_flight_is_the_one_that_was_sent() {
    let name = "d01_a_descriptor_in_flight_is_the_one_that_was_sent";
    Case::new(name).run(|| {
        runtime().block_on(async {
            let (ours, theirs) = UnixDatagram::pair().expect("made");
            let ours: &'static UnixDatagram = Box::leak(Box::new(ours));
            while timeout(10 * MS, ours.send(b"filler")).await.is_ok() {}
            let sent = file(b"sent");
            let number = sent.as_raw_fd();
            let fds: &'static [BorrowedFd<'static>] = {
                let sent: &'static File = Box::leak(Box::new(sent));
                Box::leak(Box::new([sent.as_fd()]))
            };
            let mut send = Box::pin(ours.send_with_fds(b"!", fds));
            assert!((&mut send).now_or_never().is_none(), "the queue is full");
            sleep(5 * MS).await;
            let _leaked = Box::leak(Box::new(send));
            let other = file(b"other");
            // SAFETY: the number is this test's own, and nobody uses it as the first file again.
            let same = unsafe { libc::dup3(other.as_raw_fd(), number, libc::O_CLOEXEC) };
            assert_eq!(same, number);
            let fds = loop {
                let mut room = [0; 8];
                let got = timeout(SECOND, theirs.recv_with_fds(&mut room)).await;
                let (n, fds) = got.expect("it was sent").expect("received");
                if &room[..n] == b"!" {
                    break fds;
                }
            };
            assert_eq!(fds.len(), 1);
            assert_eq!(content(fds.into_iter().next().expect("one")), b"sent");
        });
    });
}

/// Descriptors that nobody takes are closed, wherever they got to.
#[test]
fn g15_descriptors_that_nobody_takes() {
    Case::new("g15_descriptors_that_nobody_takes")
        .quarantine()
        .run(|| {
            let census = Census::take();
            let mut runtime = runtime();
            let outlives = runtime.block_on(async {
                let files = [file(b"x"), file(b"y")];
                let own = Census::take();
                let (mut a, mut b) = UnixStream::pair().expect("made");
                // Read without asking, in each state of the receive.
                a.send_with_fds(b"1", &borrowed(&files))
                    .await
                    .expect("sent");
                assert_eq!(b.read(&mut [0; 8]).await.expect("read"), 1);
                assert!(b.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                a.send_with_fds(b"2", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                assert_eq!(b.read(&mut [0; 8]).await.expect("read"), 1);
                assert!(b.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                a.send_with_fds(b"3", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                let (n, buf) = b.read_owned(vec![0; 8]).await;
                assert_eq!((n.expect("read"), &buf[..]), (1, &b"3"[..]));
                // Stopped by a read of another kind that was itself dropped.
                assert!(b.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                assert!(b.read_owned(vec![0; 8]).now_or_never().is_none());
                // Dropped, and asked for again: they are still there.
                assert!(b.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                a.send_with_fds(b"4", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                let (n, fds) = b.recv_with_fds(&mut [0; 8]).await.expect("received");
                assert_eq!((n, fds.len()), (1, 2));
                drop(fds);
                // In flight, in the kernel and here, when the streams are dropped.
                assert!(b.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                a.send_with_fds(b"5", &borrowed(&files))
                    .await
                    .expect("sent");
                a.send_with_fds(b"6", &borrowed(&files))
                    .await
                    .expect("sent");
                drop((a, b));
                // Datagrams: before the first call, when the kernel keeps them back, and after it.
                let (c, d) = UnixDatagram::pair().expect("made");
                assert!(d.recv(&mut [0; 8]).now_or_never().is_none());
                sleep(5 * MS).await;
                c.send_with_fds(b"7", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                d.recv_with_fds(&mut [0; 8])
                    .await
                    .expect_err("they are lost");
                let (n, fds) = d.recv_with_fds(&mut [0; 8]).await.expect("its bytes");
                assert_eq!((n, fds.len()), (1, 0));
                assert!(d.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                c.send_with_fds(b"8", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                assert_eq!(d.recv(&mut [0; 8]).await.expect("received"), 1);
                assert!(d.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                c.send_with_fds(b"9", &borrowed(&files))
                    .await
                    .expect("sent");
                drop((c, d));
                sleep(10 * MS).await;
                own.assert_same();
                // One outlives the runtime, with descriptors that it has received.
                let (mut e, mut f) = UnixStream::pair().expect("made");
                assert!(f.recv_with_fds(&mut [0; 8]).now_or_never().is_none());
                e.send_with_fds(b"10", &borrowed(&files))
                    .await
                    .expect("sent");
                sleep(5 * MS).await;
                (e, f)
            });
            drop(runtime);
            drop(outlives);
            census.assert_same();
        });
}

/// Descriptors come while none is left: the stream says so, keeps the bytes, and goes on.
#[test]
fn descriptors_at_the_limit() {
    Case::new("descriptors_at_the_limit").run(|| {
        runtime().block_on(async {
            let (mut a, mut b) = UnixStream::pair().expect("made");
            let (c, d) = UnixDatagram::pair().expect("made");
            let files = [file(b"x"), file(b"y"), file(b"z")];
            let census = Census::take();
            a.send_with_fds(b"ab", &borrowed(&files))
                .await
                .expect("sent");
            c.send_with_fds(b"cd", &borrowed(&files))
                .await
                .expect("sent");
            sleep(5 * MS).await;
            // The copies that were sent are closed; now one descriptor is left.
            census.assert_same();
            let limit = harness::descriptor_limit();
            set_soft_limit(libc::RLIMIT_NOFILE, census.highest() as u64 + 2);
            let mut held = Vec::new();
            while let Ok(held_one) = files[0].try_clone() {
                held.push(held_one);
            }
            held.pop();
            let error = b
                .recv_with_fds(&mut [0; 8])
                .await
                .expect_err("two are lost");
            assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            let error = d
                .recv_with_fds(&mut [0; 8])
                .await
                .expect_err("two are lost");
            assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            let error = a.send_with_fds(b"x", &borrowed(&files)).await;
            let error = error.expect_err("they cannot be duplicated");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            sleep(5 * MS).await;
            drop(held);
            set_soft_limit(libc::RLIMIT_NOFILE, limit);
            census.assert_same();
            let mut room = [0; 8];
            let (n, fds) = b.recv_with_fds(&mut room).await.expect("the bytes");
            assert_eq!((&room[..n], fds.len()), (&b"ab"[..], 0));
            let (n, fds) = d.recv_with_fds(&mut room).await.expect("the bytes");
            assert_eq!((&room[..n], fds.len()), (&b"cd"[..], 0));
            a.send_with_fds(b"ef", &borrowed(&files))
                .await
                .expect("sent");
            let (_, fds) = b.recv_with_fds(&mut room).await.expect("received");
            assert_eq!(fds.len(), 3);
        });
    });
}

#[test]
fn c01_never_polled() {
    Case::new("c01_never_polled").run(|| {
        let dir = Dir::new("never");
        runtime().block_on(async {
            let listener = UnixListener::bind(dir.path("listener")).expect("a new path");
            let (mut stream, _peer) = UnixStream::pair().expect("made");
            let (datagrams, _other) = UnixDatagram::pair().expect("made");
            let files = [file(b"x")];
            let before = Metrics::current().operations;
            let census = Census::take();
            for _ in 0..100 {
                drop(listener.accept());
                drop(listener.incoming());
                drop(UnixStream::connect(dir.path("listener")));
                drop(stream.recv_with_fds(&mut [0; 8]));
                drop(stream.send_with_fds(b"never", &borrowed(&files)));
                drop(stream.write_all(b"never"));
                drop(datagrams.recv_with_fds(&mut [0; 8]));
                drop(datagrams.send_with_fds(b"never", &borrowed(&files)));
                drop(datagrams.send_to(b"never", dir.path("listener")));
            }
            assert_eq!(Metrics::current().operations, before);
            assert_eq!(census.added(), Vec::<String>::new());
        });
    });
}

/// Descriptors are sent and received while both sides' futures are dropped at any point: each
/// message's descriptor comes with its message, and none is left over.
#[test]
fn descriptors_under_dropped_receives() {
    const COUNT: u32 = 1_000;
    Case::new("descriptors_under_dropped_receives")
        .quarantine()
        .seconds(60)
        .run(|| {
            let mut rng = Rng::new();
            let census = Census::take();
            let mut runtime = runtime();
            runtime.block_on(async {
                let (mut ours, mut theirs) = UnixStream::pair().expect("made");
                let sender = spawn(async move {
                    for number in 0..COUNT {
                        let file = file(&number.to_le_bytes());
                        let sent = theirs.send_with_fds(b"#", &[file.as_fd()]).await;
                        assert_eq!(sent.expect("sent"), 1);
                    }
                });
                let mut number = 0;
                while number < COUNT {
                    let nap = Duration::from_micros(rng.below(60));
                    let mut room = [0; 16];
                    let got = match rng.below(3) {
                        0 => ours.recv_with_fds(&mut room).now_or_never(),
                        _ => timeout(nap, ours.recv_with_fds(&mut room)).await.ok(),
                    };
                    let Some(got) = got else {
                        continue;
                    };
                    let (n, fds) = got.expect("received");
                    assert_eq!((n, fds.len()), (1, 1), "message {number}");
                    for fd in fds {
                        assert_eq!(content(fd), number.to_le_bytes());
                    }
                    number += 1;
                }
                sender.await.expect("no panic");
            });
            drop(runtime);
            census.assert_same();
        });
}

#[test]
fn c02_accept_and_connect_are_dropped() {
    Case::new("c02_accept_and_connect_are_dropped")
        .seconds(60)
        .run(|| {
            let mut rng = Rng::new();
            runtime().block_on(async {
                let name = abstract_name("dropped");
                let listener = UnixListener::bind_addr(&name).expect("free");
                let census = Census::take();
                for round in 0..500u32 {
                    let mut client =
                        std::os::unix::net::UnixStream::connect_addr(&name).expect("connected");
                    client.write_all(&round.to_le_bytes()).expect("sent");
                    let mut stream = loop {
                        let nap = pin!(sleep(Duration::from_micros(rng.below(100))));
                        if let Either::Left((stream, _)) = select(listener.accept(), nap).await {
                            break stream.expect("accepted").0;
                        }
                    };
                    let mut number = [0; 4];
                    stream.read_exact(&mut number).await.expect("read");
                    assert_eq!(u32::from_le_bytes(number), round);
                }
                // Connects that are dropped leave nothing: neither here nor in the queue for long.
                for _ in 0..100 {
                    assert!(UnixStream::connect_addr(&name).now_or_never().is_none());
                    corering::yield_now().await;
                }
                while let Ok(accepted) = timeout(100 * MS, listener.accept()).await {
                    let (mut stream, _) = accepted.expect("accepted");
                    assert!(stream.recv().await.expect("the end").is_none());
                }
                sleep(20 * MS).await;
                census.assert_same();
                assert_eq!(Metrics::current().in_flight, 1, "the accept alone");
            });
        });
}

/// A full queue of the listener: the connect waits, may be dropped, and is served in the end.
#[test]
fn a_full_backlog_is_waited_for() {
    Case::new("a_full_backlog_is_waited_for")
        .seconds(30)
        .run(|| {
            let census = Census::take();
            let mut runtime = runtime();
            runtime.block_on(async {
                let name = abstract_name("full");
                let plain = std::os::unix::net::UnixListener::bind_addr(&name).expect("free");
                // SAFETY: touches no memory.
                unsafe { libc::listen(plain.as_raw_fd(), 0) };
                let first = UnixStream::connect_addr(&name)
                    .await
                    .expect("there is room");
                let dropped = timeout(20 * MS, UnixStream::connect_addr(&name)).await;
                assert!(dropped.is_err(), "the queue is full");
                let waits = spawn({
                    let name = name.clone();
                    async move { UnixStream::connect_addr(&name).await }
                });
                sleep(20 * MS).await;
                assert!(!waits.is_finished());
                drop(plain.accept().expect("the first"));
                let second = timeout(SECOND, waits).await.expect("there is room now");
                let mut second = second.expect("no panic").expect("connected");
                let (mut served, _) = plain.accept().expect("the second");
                served.write_all(b"hi").expect("written");
                let mut room = [0; 2];
                second.read_exact(&mut room).await.expect("read");
                drop((first, second));
            });
            drop(runtime);
            census.assert_same();
        });
}

/// A listener ends with its runtime: what was accepted is handed out, then the stream ends.
#[test]
fn a_listener_ends_with_its_runtime() {
    Case::new("a_listener_ends_with_its_runtime").run(|| {
        let mut runtime = runtime();
        let handle = runtime.handle();
        runtime.block_on(async {
            let name = abstract_name("ends");
            let listener = UnixListener::bind_addr(&name).expect("free");
            let clients: Vec<_> = (0..3)
                .map(|_| std::os::unix::net::UnixStream::connect_addr(&name).expect("connected"))
                .collect();
            let mut incoming = listener.incoming();
            for _ in &clients {
                incoming.next().await.expect("open").expect("accepted");
            }
            let stop = async {
                sleep(5 * MS).await;
                handle.stop();
            };
            let (end, ()) = futures::join!(incoming.next(), stop);
            assert!(end.is_none(), "the stream ends with the runtime");
        });
    });
}

/// A listener leaves the runtime with the connections that it had accepted already.
#[test]
fn d04_a_listener_leaves_with_its_connections() {
    Case::new("d04_a_listener_leaves_with_its_connections").run(|| {
        let mut runtime = runtime();
        let name = abstract_name("leaves");
        let plain = runtime.block_on(async {
            let listener = UnixListener::bind_addr(&name).expect("free");
            assert!(timeout(MS, listener.accept()).await.is_err());
            let mut early = std::os::unix::net::UnixStream::connect_addr(&name).expect("connected");
            early.write_all(b"early").expect("sent");
            sleep(20 * MS).await;
            let (plain, accepted) = listener.into_std().await.expect("nobody else has it");
            let [mut stream] = <[UnixStream; 1]>::try_from(accepted).expect("one was accepted");
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.expect("read");
            assert_eq!(&word, b"early");
            plain
        });
        let _late = std::os::unix::net::UnixStream::connect_addr(&name).expect("still listening");
        plain.accept().expect("the standard library accepts");
    });
}

#[test]
fn d05_cloexec_census() {
    Case::new("d05_cloexec_census").run(|| {
        runtime().block_on(async {
            let name = abstract_name("census");
            let listener = UnixListener::bind_addr(&name).expect("free");
            let (client, server) =
                futures::join!(UnixStream::connect_addr(&name), listener.accept());
            let pair = UnixStream::pair().expect("made");
            let datagrams = UnixDatagram::pair().expect("made");
            let unbound = UnixDatagram::unbound().expect("made");
            let udp = corering::net::UdpSocket::bind("127.0.0.1:0").await;
            let udp = udp.expect("a free port");
            let (mut a, mut b) = pair;
            let files = [file(b"x")];
            a.send_with_fds(b"x", &borrowed(&files))
                .await
                .expect("sent");
            let (_, fds) = b.recv_with_fds(&mut [0; 8]).await.expect("received");
            assert_eq!(fds.len(), 1);
            let child = std::process::Command::new("ls")
                .args(["-l", "/proc/self/fd"])
                .output();
            let Ok(child) = child else {
                return harness::skip("no `ls` here");
            };
            let list = String::from_utf8_lossy(&child.stdout).into_owned();
            for word in ["socket:", "io_uring", "memfd", "anon_inode"] {
                assert!(!list.contains(word), "{list}");
            }
            drop((listener, client, server, a, b, datagrams, unbound, udp, fds));
        });
    });
}
