//! Operations that are not to be had: the substitute where there is one, else `Unsupported` with
//! the name of the operation, the version that brings it, and the cure. Nothing else suffers.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpListener, TcpStream};
use corering::time::sleep;
use corering::{BuildErrorKind, Metrics, Runtime, fs, spawn};
use harness::net::{listener, pair, pair_of};
use harness::{Case, Census};
use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn scratch(name: &str) -> PathBuf {
    let name = format!("corering-masks-{}-{name}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("made");
    dir
}

/// `Unsupported`, with a sentence that names the operation, the version, and the cure.
fn assert_unsupported<T>(result: io::Result<T>, operation: &str) {
    let error = result.map(drop).expect_err("it is masked");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let text = error.to_string();
    for word in [&format!("`{operation}`"), "Linux ", "CORERING_MASK"] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

/// Runs `body` in a child that has this mask.
fn masked<F: Future<Output = ()>>(name: &'static str, mask: &str, body: impl FnOnce() -> F) {
    let case = Case::new(name).env("CORERING_MASK", mask);
    case.run(|| comes_back(body));
}

/// Runs `body`; what is masked takes nothing else with it, and leaves nothing behind.
fn comes_back<F: Future<Output = ()>>(body: impl FnOnce() -> F) {
    let mut runtime = Runtime::new().expect("io_uring works here");
    let census = Census::take();
    runtime.block_on(async {
        body().await;
        corering::nop().await.expect("done");
        sleep(MS).await;
    });
    assert_eq!(runtime.metrics().in_flight, 0);
    census.assert_same();
}

#[test]
fn j03_operations_on_paths() {
    let mask = "mkdirat, renameat,linkat,symlinkat,unlinkat,statx,openat2";
    masked("j03_operations_on_paths", mask, || async {
        let dir = scratch("paths");
        let (a, b) = (dir.join("a"), dir.join("b"));
        std::fs::write(&a, b"x").expect("written");
        assert_unsupported(fs::create_dir(&b).await, "mkdirat");
        assert_unsupported(fs::create_dir_all(&b).await, "mkdirat");
        assert_unsupported(fs::rename(&a, &b).await, "renameat");
        assert_unsupported(fs::hard_link(&a, &b).await, "linkat");
        assert_unsupported(fs::symlink(&a, &b).await, "symlinkat");
        assert_unsupported(fs::remove_file(&a).await, "unlinkat");
        assert_unsupported(fs::metadata(&a).await, "statx");
        assert_unsupported(fs::symlink_metadata(&a).await, "statx");
        assert!(!b.exists() && a.exists(), "nothing happened");
        std::fs::remove_dir_all(&dir).expect("removed");
    });
}

#[test]
fn j03_operations_on_files() {
    masked(
        "j03_operations_on_files",
        "fsync,fallocate,ftruncate,readv,writev",
        || async {
            let dir = scratch("files");
            let path = dir.join("a");
            fs::write(&path, b"text".to_vec()).await.expect("written");
            let file = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .await;
            let file = file.expect("opened");
            assert_unsupported(file.sync_all().await, "fsync");
            assert_unsupported(file.sync_data().await, "fsync");
            assert_unsupported(file.allocate(0, 4096).await, "fallocate");
            assert_unsupported(file.read_vectored_at(vec![vec![0; 2]], 0).await.0, "readv");
            assert_unsupported(
                file.write_vectored_at(vec![vec![0; 2]], 0).await.0,
                "writev",
            );
            // There is a plain system call that does not wait.
            file.set_len(2).await.expect("set");
            assert_eq!(fs::read(&path).await.expect("read"), b"te");
            // What cannot be made durable is not put in place.
            assert_unsupported(fs::write_atomic(&path, b"new".to_vec()).await, "fsync");
            assert_eq!(std::fs::read(&path).expect("read"), b"te");
            drop(file);
            // The temporary file is removed without anybody waiting for it.
            let mut tries = 0..200;
            while std::fs::read_dir(&dir).expect("listed").count() > 1 {
                assert!(tries.next().is_some(), "a temporary file stays");
                sleep(MS).await;
            }
            std::fs::remove_dir_all(&dir).expect("removed");
        },
    );
}

#[test]
fn j03_open_read_and_write() {
    const OPERATIONS: [&str; 3] = ["openat", "read", "write"];
    Case::run_masked("j03_open_read_and_write", &OPERATIONS, || {
        comes_back(|| async {
            let operation = std::env::var("CORERING_MASK").expect("set for this child");
            let dir = scratch(&operation);
            let path = dir.join("a");
            std::fs::write(&path, b"text").expect("written");
            match operation.as_str() {
                "openat" => assert_unsupported(fs::File::open(&path).await, "openat"),
                "read" => assert_unsupported(fs::read(&path).await, "read"),
                _ => {
                    assert_unsupported(fs::write(dir.join("b"), b"x".to_vec()).await, "write");
                    let file = fs::File::create(dir.join("c")).await.expect("made");
                    let mut writer = fs::FileWriter::new(file);
                    writer.write_all(b"x").await.expect("taken");
                    assert_unsupported(writer.flush().await, "write");
                    assert_unsupported(writer.flush().await, "write");
                }
            }
            std::fs::remove_dir_all(&dir).expect("removed");
        });
    });
}

#[test]
fn j03_sending() {
    masked("j03_sending", "send_zc,sendmsg", || async {
        let (mut ours, mut theirs) = pair().await;
        let (result, buf) = ours.send_zc(vec![1; 8]).await;
        assert_unsupported(result, "send_zc");
        assert_eq!(buf.await, [1; 8], "the buffer comes back");
        let (result, bufs) = ours.send_vectored(vec![vec![2; 8]]).await;
        assert_unsupported(result, "sendmsg");
        assert_eq!(bufs, [[2; 8]]);
        // Nothing was sent, so the stream is not torn.
        ours.send_all(vec![3; 8]).await.0.expect("sent");
        let mut all = [0; 8];
        theirs.read_exact(&mut all).await.expect("read");
        assert_eq!(all, [3; 8]);
    });
}

#[test]
fn j03_no_sending_no_receiving() {
    masked("j03_no_sending_no_receiving", "send,recv", || async {
        let (mut ours, _theirs) = pair().await;
        assert_unsupported(ours.recv().await, "recv");
        assert_unsupported(ours.read(&mut [0; 4]).await, "recv");
        assert_unsupported(ours.read_owned(vec![0; 4]).await.0, "recv");
        assert_unsupported(ours.send(vec![0; 4]).await.0, "send");
        ours.write_all(b"x").await.expect("taken");
        assert_unsupported(ours.flush().await, "send");
        assert_unsupported(ours.write(b"x").await, "send");
        let (read, write) = ours.into_split();
        drop((read, write));
    });
}

#[test]
fn j03_connecting_and_accepting() {
    masked(
        "j03_connecting_and_accepting",
        "connect,link_timeout,accept",
        || async {
            let (listener, address) = listener().await;
            assert_unsupported(TcpStream::connect(address).await, "connect");
            assert_unsupported(listener.accept().await, "accept");
            assert_unsupported(listener.accept().await, "accept");
        },
    );
}

#[test]
fn j03_a_limit_that_the_kernel_cannot_keep() {
    masked(
        "j03_a_limit_that_the_kernel_cannot_keep",
        "link_timeout",
        || async {
            let (listener, address) = listener().await;
            let within = TcpStream::connect_timeout(address, Duration::from_secs(1)).await;
            assert_unsupported(within, "link_timeout");
            drop(pair_of(&listener, address).await);
        },
    );
}

/// One accept at a time: no connection is lost, whoever drops what.
#[test]
fn j03_accepting_one_at_a_time() {
    masked(
        "j03_accepting_one_at_a_time",
        "accept_multishot",
        || async {
            let (listener, address) = listener().await;
            let clients = std::thread::spawn(move || {
                let connect = |_| std::net::TcpStream::connect(address).expect("connected");
                (0..200).map(connect).collect::<Vec<_>>()
            });
            for _ in 0..200 {
                let wait = corering::time::timeout(Duration::from_micros(20), listener.accept());
                let (mut stream, _) = match wait.await {
                    Ok(accepted) => accepted.expect("accepted"),
                    Err(_) => listener.accept().await.expect("accepted"),
                };
                stream.write_all(b"!").await.expect("written");
                stream.flush().await.expect("sent");
            }
            let waiting = corering::time::timeout(5 * MS, listener.accept()).await;
            assert!(waiting.is_err(), "there are no more");
            drop((clients.join().expect("no panic"), listener));
            sleep(5 * MS).await;
        },
    );
}

#[test]
fn j03_receiving_one_at_a_time() {
    masked("j03_receiving_one_at_a_time", "recv_multishot", || async {
        let (mut ours, mut theirs) = pair().await;
        let reader = spawn(async move {
            let mut all = vec![0; 100_000];
            theirs.read_exact(&mut all).await.expect("read");
            all
        });
        let sent = harness::coded_bytes(9, 0, 100_000);
        ours.write_all(&sent).await.expect("written");
        ours.flush().await.expect("sent");
        assert_eq!(reader.await.expect("no panic"), sent);
        assert!(Metrics::current().heap_receives > 0);
        assert_eq!(Metrics::current().buffers, 0);
    });
}

#[test]
fn j03_waiting_for_a_descriptor() {
    masked("j03_waiting_for_a_descriptor", "poll", || async {
        // Wakes from elsewhere need no poll where the ring takes messages.
        let (tx, rx) = corering::sync::oneshot();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(5 * MS);
            tx.send(4).expect("received");
        });
        assert_eq!(rx.await.expect("sent"), 4);
        thread.join().expect("no panic");
    });
}

#[test]
fn j03_a_mask_that_names_nothing() {
    const MASKS: [&str; 4] = ["fsnyc", "nop", "close", "buffer_ring,async_cancel"];
    Case::run_masked("j03_a_mask_that_names_nothing", &MASKS, || {
        let error = Runtime::new().expect_err("no such name");
        assert_eq!(error.kind(), BuildErrorKind::Settings);
        let text = error.to_string();
        for word in ["CORERING_MASK", "fallocate", "buffer_ring"] {
            assert!(text.contains(word), "{text}");
        }
    });
}

/// Without messages to the ring and without polls, nothing could wake a core.
#[test]
fn j03_no_way_to_wake_a_core() {
    Case::new("j03_no_way_to_wake_a_core")
        .env("CORERING_MASK", "send_msg_ring,poll")
        .run(|| {
            let census = Census::take();
            let error = Runtime::new().expect_err("nothing could wake it");
            assert!(error.to_string().contains("`poll`"), "{error}");
            census.assert_same();
        });
}

/// The whole round of a server that serves files, with everything masked that may be.
#[test]
fn j03_everything_optional_at_once() {
    let mask = "no_sqarray,registered_ring,abs_timer,no_iowait,send_msg_ring,buffer_ring,\
                silent_send,accept_multishot,ftruncate,send_zc,sendmsg,fallocate,link_timeout,\
                openat2";
    masked("j03_everything_optional_at_once", mask, || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("it has one");
        let path = scratch("all").join("file");
        serve_one_file(&listener, address, &path).await;
        std::fs::remove_dir_all(path.parent().expect("it has one")).expect("removed");
        let mut plain = std::net::TcpStream::connect(address).expect("connected");
        plain.write_all(b"late").expect("sent");
        let (mut stream, _) = listener.accept().await.expect("accepted");
        assert_eq!(
            stream.recv().await.expect("received").as_deref(),
            Some(&b"late"[..])
        );
    });
}

async fn serve_one_file(listener: &TcpListener, address: std::net::SocketAddr, path: &Path) {
    fs::write(path, vec![5; 50_000]).await.expect("written");
    let (mut client, mut server) = pair_of(listener, address).await;
    let bytes = fs::read(path).await.expect("read");
    server.write_all(&bytes).await.expect("written");
    drop(server);
    let mut all = Vec::new();
    while let Some(chunk) = client.recv().await.expect("received") {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all, bytes);
}
