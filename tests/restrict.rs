//! Restricted rings: what was allowed works, what was not is refused, and nothing widens the list.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpListener, TcpStream};
use corering::time::{sleep, timeout};
use corering::{BuildErrorKind, Restrict, Runtime, fs, spawn};
use harness::net::{listener, pair, pair_of};
use harness::{Case, Census, check_coded, coded_bytes};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Ways to a runtime, the fallback paths among them: what `CORERING_MASK` leaves out.
const MASKS: [&str; 4] = [
    "",
    "send_msg_ring,registered_ring,no_sqarray",
    "buffer_ring,accept_multishot,ftruncate",
    "incremental,abs_timer,no_iowait,send_zc",
];

fn runtime(restrict: Restrict) -> Runtime {
    let builder = Runtime::builder().restrict(restrict);
    builder.build().expect("io_uring works here")
}

fn scratch(name: &str) -> PathBuf {
    let name = format!("corering-restrict-{}-{name}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("made");
    dir
}

/// The operation was left out of the list: says so, and what to do.
fn assert_refused<T>(result: io::Result<T>, operation: &str, cure: &str) {
    let error = result.map(drop).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let text = error.to_string();
    for word in [operation, cure, "Builder::restrict"] {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

async fn echo_works() {
    let (listener, address) = listener().await;
    let server = spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        while let Some(chunk) = stream.recv().await.expect("received") {
            stream.send_all(chunk).await.0.expect("sent");
        }
    });
    let mut client = TcpStream::connect_timeout(address, Duration::from_secs(2))
        .await
        .expect("connected");
    let (mut sent, mut back) = (0, vec![0; 3_000]);
    while sent < 300_000 {
        let bytes = coded_bytes(1, sent, back.len());
        client.write_all(&bytes).await.expect("written");
        client.read_exact(&mut back).await.expect("read");
        check_coded(1, sent, &back);
        sent += bytes.len() as u64;
    }
    let pieces = vec![b"one ".to_vec(), b"two".to_vec()];
    assert_eq!(client.send_vectored(pieces).await.0.expect("sent"), 7);
    let mut back = [0; 7];
    client.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"one two");
    client.send(vec![7; 10]).await.0.expect("sent");
    let (result, buf) = client.read_owned(vec![0; 100]).await;
    assert_eq!(&buf[..result.expect("read")], [7; 10]);
    // A cancelled wait, and the end.
    assert!(timeout(2 * MS, client.recv()).await.is_err());
    client.shutdown(Shutdown::Write).await.expect("shut down");
    assert!(client.recv().await.expect("an orderly end").is_none());
    server.await.expect("no panic");
}

async fn files_work(dir: PathBuf) {
    let path = dir.join("a");
    fs::write(&path, coded_bytes(2, 0, 100_000))
        .await
        .expect("written");
    check_coded(2, 0, &fs::read(&path).await.expect("read"));
    fs::write_atomic(&path, b"new".to_vec())
        .await
        .expect("written");
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .await
        .expect("opened");
    file.write_at(b"er".to_vec(), 3).await.0.expect("written");
    file.sync_all().await.expect("synced");
    file.set_len(4).await.expect("set");
    file.allocate(0, 8_192).await.expect("allocated");
    assert_eq!(file.metadata().await.expect("known").len(), 8_192);
    let (result, bytes) = file.read_at(vec![0; 4], 0).await;
    assert_eq!((result.expect("read"), &bytes[..]), (4, &b"newe"[..]));
    file.close().await.expect("closed");
    fs::create_dir(dir.join("d")).await.expect("made");
    fs::rename(&path, dir.join("d/b")).await.expect("renamed");
    fs::hard_link(dir.join("d/b"), dir.join("c"))
        .await
        .expect("linked");
    fs::symlink("c", dir.join("s")).await.expect("linked");
    fs::copy(dir.join("c"), dir.join("e"))
        .await
        .expect("copied");
    assert!(
        fs::symlink_metadata(dir.join("s"))
            .await
            .expect("known")
            .is_symlink()
    );
    fs::remove_file(dir.join("c")).await.expect("removed");
    fs::remove_dir_all(&dir).await.expect("removed");
}

#[test]
fn k04_all_used_runs_everything() {
    Case::run_masked("k04_all_used_runs_everything", &MASKS, || {
        let census = Census::take();
        let mut runtime = runtime(Restrict::all_used());
        runtime.block_on(async {
            echo_works().await;
            files_work(scratch("all")).await;
            let wake = corering::Handle::current();
            let elsewhere = std::thread::spawn(move || {
                std::thread::sleep(5 * MS);
                wake.spawn_on(0, || async { 5 })
            });
            sleep(20 * MS).await;
            assert_eq!(elsewhere.join().expect("no panic").await.expect("ran"), 5);
            corering::nop().await.expect("it has nothing to say");
        });
        drop(runtime);
        census.assert_same();
    });
}

#[test]
fn k04_on_every_core() {
    Case::run_masked("k04_on_every_core", &MASKS, || {
        let builder = Runtime::builder().cores(3).restrict(Restrict::net());
        let mut runtime = builder.build().expect("io_uring works here");
        let cores = runtime.run(|core| async move {
            echo_works().await;
            assert_refused(fs::read("/dev/null").await, "`openat`", "read_files()");
            let there = corering::spawn_on((core + 1) % 3, || async { corering::core_id() });
            there.await.expect("ran")
        });
        assert_eq!(cores, [1, 2, 0]);
        assert!(runtime.shutdown(Duration::from_secs(2)).is_clean());
    });
}

#[test]
fn k04_what_is_left_out_is_refused() {
    Case::new("k04_what_is_left_out_is_refused").run(|| {
        let census = Census::take();
        runtime(Restrict::runtime_only()).block_on(async {
            let (listener, address) = listener().await;
            assert_refused(listener.accept().await, "`accept`", "Restrict::listen()");
            let connect = TcpStream::connect(address).await;
            assert_refused(connect, "`connect`", "Restrict::connect()");
            let connect = TcpStream::connect_timeout(address, 50 * MS).await;
            assert_refused(connect, "`connect`", "Restrict::connect()");
            // Sockets that come from elsewhere can be held, and do nothing.
            let plain = std::net::TcpStream::connect(address).expect("connected");
            let mut stream = TcpStream::from_std(plain).expect("a stream");
            assert_refused(stream.recv().await, "`recv`", "net()");
            assert_refused(stream.read(&mut [0]).await, "`recv`", "net()");
            assert_refused(stream.read_owned(vec![0]).await.0, "`recv`", "net()");
            assert_refused(stream.send(vec![0]).await.0, "`send`", "net()");
            assert_refused(
                stream.send_vectored(vec![vec![0]]).await.0,
                "`sendmsg`",
                "net()",
            );
            assert_refused(stream.send_zc(vec![0]).await.0, "`send_zc`", "net()");
            // A queue of bytes fails as soon as it tries, and for good.
            stream.write_all(b"x").await.expect("taken");
            assert_refused(stream.flush().await, "`send`", "net()");
            assert_refused(stream.write_all(b"x").await, "`send`", "net()");
            drop(stream);
            sleep(MS).await;
            assert_refused(fs::create_dir("/nowhere/x").await, "`mkdirat`", "files()");
        });
        census.assert_same();
    });
}

#[test]
fn k04_readers_do_not_write() {
    Case::new("k04_readers_do_not_write").run(|| {
        let dir = scratch("read");
        let path = dir.join("a");
        std::fs::write(&path, b"text").expect("written");
        runtime(Restrict::read_files()).block_on(async {
            assert_eq!(fs::read(&path).await.expect("read"), b"text");
            assert_eq!(fs::metadata(&path).await.expect("known").len(), 4);
            let mut entries = fs::read_dir(&dir).await.expect("opened");
            assert!(entries.next_entry().await.expect("listed").is_some());
            assert_refused(fs::remove_file(&path).await, "`unlinkat`", "files()");
            assert_refused(fs::rename(&path, &dir).await, "`renameat`", "files()");
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            let file = fs::File::from_std(file.expect("opened"));
            assert_refused(file.write_at(vec![0], 0).await.0, "`write`", "files()");
            assert_refused(file.sync_all().await, "`fsync`", "files()");
            assert_refused(file.set_len(0).await, "`ftruncate`", "files()");
            let mut writer = fs::FileWriter::new(file);
            writer.write_all(b"x").await.expect("taken");
            assert_refused(writer.flush().await, "`write`", "files()");
            assert_refused(writer.flush().await, "`write`", "files()");
        });
        assert_eq!(
            std::fs::read(&path).expect("read"),
            b"text",
            "nothing was written"
        );
        std::fs::remove_dir_all(dir).expect("removed");
    });
}

/// One accepts, the other connects, and neither can do both.
#[test]
fn k04_a_server_cannot_call_out() {
    Case::new("k04_a_server_cannot_call_out").run(|| {
        let mut runtime = runtime(Restrict::listen());
        let (listener, address) = runtime.block_on(listener());
        let client = std::thread::spawn(move || {
            self::runtime(Restrict::connect()).block_on(async move {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                stream.write_all(b"hello").await.expect("written");
                assert_eq!(
                    stream.recv().await.expect("received").as_deref(),
                    Some(&b"hello"[..])
                );
                let own = TcpListener::bind("127.0.0.1:0").await.expect("bound");
                assert_refused(own.accept().await, "`accept`", "Restrict::listen()");
            });
        });
        runtime.block_on(async {
            let (mut stream, peer) = listener.accept().await.expect("accepted");
            let chunk = stream.recv().await.expect("received").expect("bytes");
            stream.send_all(chunk).await.0.expect("sent");
            assert_refused(
                TcpStream::connect(peer).await,
                "`connect`",
                "Restrict::connect()",
            );
        });
        client.join().expect("no panic");
    });
}

/// The ring's descriptor, as `/proc` shows it.
fn rings() -> Vec<RawFd> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .flatten()
    {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if target.to_string_lossy().contains("io_uring") {
            found.push(
                entry
                    .file_name()
                    .to_string_lossy()
                    .parse()
                    .expect("a number"),
            );
        }
    }
    found
}

fn register(ring: RawFd, operation: u32, arg: *mut u8, len: u32) -> i32 {
    // SAFETY: the caller's memory is as long as the operation asks for.
    let n = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, arg, len) };
    if n < 0 {
        io::Error::last_os_error().raw_os_error().expect("an errno")
    } else {
        0
    }
}

/// Somebody in this process has the ring's number, and wants more than the list allows.
#[test]
fn k04_nothing_widens_the_list() {
    const PROBE: u32 = 8;
    const RESTRICTIONS: u32 = 11;
    const ENABLE: u32 = 12;
    /// Takes entries out of the thread's own table of rings.
    const UNREGISTER_RING_FDS: u32 = 21;
    Case::new("k04_nothing_widens_the_list").run(|| {
        for restrict in [Restrict::runtime_only(), Restrict::all_used()] {
            let mut runtime = runtime(restrict);
            let ring = rings();
            assert_eq!(ring.len(), 1, "one core, one ring");
            let mut memory = vec![0u64; 1024];
            let arg = memory.as_mut_ptr().cast();
            for operation in
                (0..64).filter(|operation| ![ENABLE, UNREGISTER_RING_FDS].contains(operation))
            {
                let errno = register(ring[0], operation, arg, 1);
                // What the kernel does not know it calls invalid before it looks at the list.
                let known = errno != libc::EINVAL;
                assert!(!known || errno == libc::EACCES, "{operation}: {errno}");
                let must = [PROBE, RESTRICTIONS].contains(&operation);
                assert!(known || !must, "{operation} exists");
            }
            // Allowed, and of no use: it is enabled.
            let errno = register(ring[0], ENABLE, std::ptr::null_mut(), 0);
            assert_eq!(errno, libc::EBADFD);
            runtime.block_on(sleep(MS));
        }
        let _open = Runtime::new().expect("io_uring works here");
        let mut memory = vec![0u64; 1024];
        assert_eq!(
            register(rings()[0], PROBE, memory.as_mut_ptr().cast(), 1),
            0
        );
    });
}

#[test]
fn a_list_by_the_environment() {
    Case::new("a_list_by_the_environment").run(|| {
        let set = |value| {
            // SAFETY: this thread alone reads and writes the environment of this process.
            unsafe { std::env::set_var("CORERING_RESTRICT", value) };
        };
        set("net, read_files");
        corering::block_on(async {
            let _both = pair().await;
            assert!(fs::read("/dev/null").await.expect("read").is_empty());
            assert_refused(fs::remove_file("/nowhere/x").await, "`unlinkat`", "files()");
        });
        // The program's own word goes first.
        let mut runtime = runtime(Restrict::files());
        runtime.block_on(async {
            let (listener, address) = listener().await;
            assert_refused(listener.accept().await, "`accept`", "Restrict::listen()");
            assert_refused(TcpStream::connect(address).await, "`connect`", "connect()");
        });
        set("net,everything");
        let error = Runtime::new().expect_err("no such set");
        assert_eq!(error.kind(), BuildErrorKind::Settings);
        for word in ["CORERING_RESTRICT", "`everything`", "all_used"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    });
}

/// Restricted runtimes come and go like others, and many connections pass.
#[test]
fn restricted_runtimes_come_and_go() {
    Case::new("restricted_runtimes_come_and_go").run(|| {
        drop(runtime(Restrict::net()));
        let census = Census::take();
        for _ in 0..100 {
            runtime(Restrict::net()).block_on(async {
                let (listener, address) = listener().await;
                for _ in 0..3 {
                    let (mut client, mut server) = pair_of(&listener, address).await;
                    client.write_all(b"x").await.expect("written");
                    assert!(server.recv().await.expect("received").is_some());
                }
            });
        }
        census.assert_same();
    });
}

/// What is large is sent by a plain call elsewhere; here that would be a way around the list.
#[test]
fn large_writes_are_no_way_around() {
    Case::new("large_writes_are_no_way_around").run(|| {
        use std::io::Read;
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("made");
        theirs.set_nonblocking(true).expect("set");
        runtime(Restrict::read_files()).block_on(async {
            let mut ours = corering::net::UnixStream::from_std(ours).expect("taken over");
            let written = async {
                ours.write_all(&[7; 100_000]).await?;
                ours.flush().await
            };
            assert_refused(written.await, "`send`", "net()");
        });
        let error = theirs.read(&mut [0; 8]).map_err(|error| error.kind());
        assert!(
            matches!(error, Ok(0) | Err(ErrorKind::WouldBlock)),
            "{error:?}"
        );
    });
}
