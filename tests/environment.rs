//! Small machines: one CPU, CPUs that go away, no `/proc`, little locked memory, no more threads.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::TcpStream;
use corering::time::{sleep, timeout};
use corering::{BuildErrorKind, Metrics, Runtime, fs, spawn};
use harness::net::{listener, pair};
use harness::{Case, become_user, check_coded, coded_bytes, set_limit, skip};
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Echoes `rounds` messages of 4 KiB over a connection of this core.
async fn echo(rounds: u64) {
    let (listener, address) = listener().await;
    let server = spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        while let Some(chunk) = stream.recv().await.expect("received") {
            stream.send_all(chunk).await.0.expect("sent");
        }
    });
    let mut client = TcpStream::connect(address).await.expect("connected");
    let mut back = vec![0; 4096];
    for round in 0..rounds {
        let bytes = coded_bytes(7, round * 4096, 4096);
        client.write_all(&bytes).await.expect("written");
        client.read_exact(&mut back).await.expect("read");
        check_coded(7, round * 4096, &back);
    }
    drop(client);
    server.await.expect("no panic");
}

/// Echoes on every core, and sends every core to every other.
fn works(mut runtime: Runtime, rounds: u64) {
    let cores = runtime.handle().cores();
    let sums = runtime.run(move |core| async move {
        echo(rounds).await;
        let mut sum = 0;
        for other in 0..cores {
            sum += corering::spawn_on(other, move || async move {
                sleep(MS / 10).await;
                core + corering::core_id()
            })
            .await
            .expect("ran");
        }
        sum
    });
    let expected = |core| cores * core + cores * (cores - 1) / 2;
    assert!(
        sums.iter()
            .enumerate()
            .all(|(core, &sum)| sum == expected(core)),
        "{sums:?}"
    );
    assert!(runtime.shutdown(Duration::from_secs(5)).is_clean());
}

fn cpus() -> Vec<usize> {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the size of the set.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: the index is below the size of the set.
    (0..1024)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// Where the thread `tid` (0: this one) may run.
fn allow(tid: libc::pid_t, cpus: &[usize]) {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // A thread may have ended since it was listed.
    // SAFETY: the kernel reads one set.
    unsafe { libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set) };
}

#[test]
fn j06_one_cpu_for_four_cores() {
    Case::new("j06_one_cpu_for_four_cores").run(|| {
        let cpu = cpus()[0];
        allow(0, &[cpu]);
        let builder = || Runtime::builder().cores(4);
        let begin = harness::cpu_time();
        for builder in [builder(), builder().pin(true), builder().cpus([cpu; 4])] {
            works(builder.build().expect("io_uring works here"), 100);
        }
        let used = harness::cpu_time() - begin;
        assert!(
            used < Duration::from_secs(20),
            "four loops on one CPU spin: {used:?}"
        );
        works(
            Runtime::builder()
                .all_cores()
                .build()
                .expect("io_uring works here"),
            10,
        );
        // Idle, they leave the CPU alone.
        let mut runtime = builder().build().expect("io_uring works here");
        let begin = harness::cpu_time();
        runtime.block_on(sleep(300 * MS));
        let used = harness::cpu_time() - begin;
        assert!(used < 60 * MS, "{used:?} of 300 ms");
    });
}

/// The CPUs change under a runtime that works, as an orchestrator changes them.
#[test]
fn j06_cpus_come_and_go() {
    Case::new("j06_cpus_come_and_go").run(|| {
        let all = cpus();
        if all.len() < 2 {
            return skip("it takes two CPUs");
        }
        let runtime = Runtime::builder()
            .cores(4)
            .build()
            .expect("io_uring works here");
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let mover = std::thread::spawn(move || {
            let mut moves = 0;
            while !stop.load(Ordering::SeqCst) {
                let cpus = match moves % 3 {
                    0 => &all[..1],
                    1 => &all[1..2],
                    _ => &all[..],
                };
                for task in std::fs::read_dir("/proc/self/task")
                    .expect("/proc is mounted")
                    .flatten()
                {
                    let tid = task
                        .file_name()
                        .to_string_lossy()
                        .parse()
                        .expect("a number");
                    allow(tid, cpus);
                }
                moves += 1;
                std::thread::sleep(2 * MS);
            }
            moves
        });
        works(runtime, 400);
        done.store(true, Ordering::SeqCst);
        let moves = mover.join().expect("no panic");
        assert!(moves > 3, "it was moved {moves} times");
    });
}

/// A real cpuset that shrinks while the runtime is pinned to what it loses.
#[test]
fn j06_a_cpuset_shrinks() {
    Case::new("j06_a_cpuset_shrinks").run(|| {
        let root = Path::new("/sys/fs/cgroup/cpuset");
        let (all, own) = (
            cpus(),
            root.join(format!("corering-{}", std::process::id())),
        );
        if all.len() < 2 || !root.join("tasks").exists() || std::fs::create_dir(&own).is_err() {
            return skip("it takes two CPUs, and a cpuset of cgroups v1 that it may make");
        }
        let set = |file: &str, value: &str| std::fs::write(own.join(file), value);
        let both = format!("{},{}", all[0], all[1]);
        let memory = std::fs::read_to_string(root.join("cpuset.mems")).expect("readable");
        let joined = set("cpuset.mems", memory.trim())
            .and_then(|()| set("cpuset.cpus", &both))
            .and_then(|()| set("cgroup.procs", &std::process::id().to_string()));
        if joined.is_ok() {
            let builder = Runtime::builder().cpus([all[0], all[1]]).cores(2);
            let mut runtime = builder.build().expect("io_uring works here");
            let _ = runtime.run(|_| echo(20));
            set("cpuset.cpus", &all[0].to_string()).expect("it shrinks");
            let _ = runtime.run(|_| echo(20));
            works(runtime, 20);
            works(Runtime::builder().all_cores().build().expect("built"), 20);
        } else {
            skip("this cpuset cannot be joined");
        }
        let pid = std::process::id().to_string();
        let _ = std::fs::write(root.join("cgroup.procs"), pid);
        let _ = std::fs::remove_dir(own);
    });
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn mount(what: &str, at: &Path, flags: libc::c_ulong) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let kind = CString::new(what).expect("no NUL");
    let at = CString::new(at.as_os_str().as_bytes()).expect("no NUL");
    let (kind, nothing) = (kind.as_ptr(), std::ptr::null());
    // SAFETY: the strings end with NUL; there is no data.
    check(unsafe { libc::mount(kind, at.as_ptr(), kind, flags, nothing) })
}

/// Goes into an empty, read-only root; for this process alone.
fn enter_bare_root() -> io::Result<()> {
    // SAFETY: this process gets mounts of its own.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount("none", Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
    let root = std::env::temp_dir().join(format!("corering-root-{}", std::process::id()));
    std::fs::create_dir_all(&root)?;
    mount("tmpfs", &root, 0)?;
    mount("tmpfs", &root, libc::MS_REMOUNT | libc::MS_RDONLY)?;
    std::os::unix::fs::chroot(&root)?;
    std::env::set_current_dir("/")
}

#[test]
fn j07_bare_chroot() {
    let masks = ["", "send_msg_ring,registered_ring,buffer_ring"];
    Case::run_masked("j07_bare_chroot", &masks, bare_chroot);
}

fn bare_chroot() {
    if !harness::is_root() {
        return skip("it takes root");
    }
    if let Err(error) = enter_bare_root() {
        return skip(format!("no mounts of its own: {error}"));
    }
    assert!(!Path::new("/proc").exists() && !Path::new("/sys").exists());
    works(
        Runtime::builder()
            .cores(2)
            .build()
            .expect("it needs no /proc"),
        20,
    );
    corering::block_on(async {
        let (mut a, mut b) = pair().await;
        a.send_all(vec![1; 10]).await.0.expect("sent");
        b.read_exact(&mut [0; 10]).await.expect("read");
        let mut root = fs::read_dir("/").await.expect("opened");
        assert!(
            root.next_entry().await.expect("listed").is_none(),
            "it is empty"
        );
        let refused = fs::write("/a", b"x".to_vec()).await.expect_err("read-only");
        assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
        assert!(fs::write_atomic("/a", b"x".to_vec()).await.is_err());
        let missing = fs::read("/proc/self/status")
            .await
            .expect_err("not mounted");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        // No resolver's files either: an error, and no hang.
        let looked_up = corering::net::lookup_host("a.name.that.is.none:1");
        let result = timeout(Duration::from_secs(20), looked_up)
            .await
            .expect("in time");
        assert!(result.is_err());
    });
    // A refusal is explained from what can be seen.
    harness::seccomp::deny(harness::seccomp::SETUP, libc::EPERM);
    let error = Runtime::new().expect_err("refused");
    assert_eq!(error.kind(), BuildErrorKind::Blocked);
    assert!(error.to_string().contains("io_uring_setup"), "{error}");
}

/// Little locked memory: what wants more is refused with a typed error, or does without.
#[test]
fn i04_register_over_memlock() {
    Case::new("i04_register_over_memlock").run(|| {
        if !harness::is_root() {
            return skip("it takes another user");
        }
        set_limit(libc::RLIMIT_MEMLOCK, 64 << 10);
        become_user(60_104);
        // 1 MiB of receive buffers, and 16 times that: none of it is locked.
        for (count, bytes) in [(64, 16 << 10), (256, 64 << 10)] {
            let builder = Runtime::builder().ring_entries(8).completion_entries(16);
            let mut runtime = builder
                .recv_buffers(count, bytes)
                .build()
                .expect("a small ring");
            runtime.block_on(async {
                echo(50).await;
                let metrics = Metrics::current();
                assert!(
                    metrics.buffers > 0 || metrics.heap_receives > 0,
                    "{metrics:?}"
                );
                // What is sent without a copy is locked while it is in flight.
                let (mut ours, mut theirs) = pair().await;
                let reader = spawn(async move {
                    let mut n = 0;
                    while let Some(chunk) = theirs.recv().await.expect("received") {
                        n += chunk.len();
                    }
                    n
                });
                let (result, buf) = ours.send_zc(vec![3; 1 << 20]).await;
                let buf = timeout(Duration::from_secs(5), buf)
                    .await
                    .expect("it comes back");
                assert_eq!(buf.len(), 1 << 20);
                let sent = match result {
                    Ok(n) => n,
                    Err(error) => {
                        println!("{error}");
                        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
                        0
                    }
                };
                ours.send_all(vec![4; 1000])
                    .await
                    .0
                    .expect("the stream goes on");
                drop(ours);
                assert_eq!(reader.await.expect("no panic"), sent + 1000);
            });
        }
    });
}

/// The user may have no further thread: the kernel's workers are threads too.
#[test]
fn i05_nproc_and_iowq() {
    Case::new("i05_nproc_and_iowq").run(|| {
        if !harness::is_root() {
            return skip("it takes another user, whose limit on processes is set to 1");
        }
        let dir = std::env::temp_dir().join(format!("corering-nproc-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        std::os::unix::fs::chown(&dir, Some(60_105), Some(60_105)).expect("given away");
        become_user(60_105);
        let mut runtime = Runtime::new().expect("io_uring works here");
        set_limit(libc::RLIMIT_NPROC, 1);
        let (mut done, mut failed) = (0, 0);
        runtime.block_on(async {
            for i in 0..30 {
                let path = dir.join(format!("{i}"));
                let all = async {
                    fs::write(&path, coded_bytes(i, 0, 50_000)).await?;
                    let bytes = fs::read(&path).await?;
                    check_coded(i, 0, &bytes);
                    let file = fs::File::open(&path).await?;
                    file.sync_all().await?;
                    drop(file);
                    fs::rename(&path, dir.join("last")).await
                };
                let result: io::Result<()> = timeout(Duration::from_secs(10), all)
                    .await
                    .expect("it finishes or fails, and does not hang");
                match result {
                    Ok(()) => done += 1,
                    Err(error) => {
                        // Nobody has cancelled it.
                        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error}");
                        assert!(error.to_string().contains("ulimit -u"), "{error}");
                        failed += 1;
                    }
                }
            }
            // Sockets need no worker.
            echo(20).await;
        });
        println!("{done} done, {failed} failed");
        assert_eq!(done + failed, 30);
        drop(runtime);
        std::fs::remove_dir_all(&dir).expect("removed");
    });
}
