//! Machines and settings that cannot run it: a typed error with its cure, and nothing left behind.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::time::sleep;
use corering::{BuildErrorKind, Runtime};
use harness::{Case, Census, become_user, panic_of, seccomp, set_limit, set_soft_limit};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Whatever refuses a ring: an error of this kind with these words, and no descriptor left open.
fn refused_by_filter(errno: i32, kind: BuildErrorKind, words: &[&str]) {
    let census = Census::take();
    seccomp::deny(seccomp::SETUP, errno);
    for cores in [1, 2] {
        let error = Runtime::builder()
            .cores(cores)
            .build()
            .expect_err("refused");
        println!("{error}");
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "no `{word}` in: {text}");
        }
        assert!(text.contains(error.cure()));
        let source = std::error::Error::source(&error).expect("the kernel's own error");
        let source = source
            .downcast_ref::<std::io::Error>()
            .expect("an io::Error");
        assert_eq!(source.raw_os_error(), Some(errno));
        let kind = source.kind();
        assert_eq!(std::io::Error::from(error).kind(), kind);
    }
    let text = panic_of(|| corering::block_on(async {})).expect("it must panic");
    assert!(text.contains("corering cannot start"), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    census.assert_same();
    harness::oracle::assert_threads(2);
}

#[test]
fn j01_setup_denied_eperm() {
    Case::new("j01_setup_denied_eperm").run(|| {
        let words = ["seccomp", "io_uring_setup", "Docker"];
        refused_by_filter(libc::EPERM, BuildErrorKind::Blocked, &words);
    });
}

#[test]
fn j01_setup_denied_enosys() {
    Case::new("j01_setup_denied_enosys").run(|| {
        refused_by_filter(libc::ENOSYS, BuildErrorKind::Blocked, &["seccomp"]);
    });
}

#[test]
fn j01_setup_denied_emfile() {
    Case::new("j01_setup_denied_emfile").run(|| {
        refused_by_filter(libc::EMFILE, BuildErrorKind::Descriptors, &["ulimit -n"]);
    });
}

#[test]
fn j01_setup_denied_enomem() {
    Case::new("j01_setup_denied_enomem").run(|| {
        let words = ["ulimit -l", "memlock", "ring_entries"];
        refused_by_filter(libc::ENOMEM, BuildErrorKind::LockedMemory, &words);
    });
}

/// A filter that knows set-up only: the ring can be made, but not used.
#[test]
fn j01_enter_and_register_denied() {
    for number in [seccomp::ENTER, seccomp::REGISTER] {
        let name = match number {
            seccomp::ENTER => "j01_enter_denied",
            _ => "j01_register_denied",
        };
        println!("{name}");
    }
    Case::new("j01_enter_and_register_denied")
        .seconds(20)
        .run(|| {
            let census = Census::take();
            for number in [seccomp::ENTER, seccomp::REGISTER] {
                std::thread::spawn(move || {
                    seccomp::deny(number, libc::EPERM);
                    let error = Runtime::new().expect_err("refused");
                    println!("{error}");
                    assert_eq!(error.kind(), BuildErrorKind::Blocked, "{error}");
                })
                .join()
                .expect("no panic");
            }
            // It was that thread's filter: this one may.
            assert_eq!(corering::block_on(async { 1 }), 1);
            census.assert_same();
        });
}

/// The real limit on descriptors, at every number at which a build can fail.
#[test]
fn e15_worker_start_failure() {
    Case::new("e15_worker_start_failure").run(|| {
        drop(Runtime::new().expect("the machine can"));
        // Numbers below the highest that is open would be free below any limit.
        let mut fillers = Vec::new();
        let highest = Census::take().highest();
        while Census::take().len() as i32 <= highest {
            fillers.push(std::fs::File::open("/dev/null").expect("opened"));
        }
        let census = Census::take();
        let open = census.len() as u64;
        let (mut failed, mut built) = (0, 0);
        for room in 0..6 {
            set_soft_limit(libc::RLIMIT_NOFILE, open + room);
            let result = Runtime::builder().cores(3).build();
            set_soft_limit(libc::RLIMIT_NOFILE, 1024);
            println!("room for {room}: {:?}", result.as_ref().map(drop));
            match result {
                Err(error) => {
                    failed += 1;
                    assert_eq!(error.kind(), BuildErrorKind::Descriptors, "{error}");
                    census.assert_same();
                    harness::oracle::assert_threads(2);
                }
                Ok(mut runtime) => {
                    built += 1;
                    assert_eq!(runtime.run(|core| async move { core }), [0, 1, 2]);
                }
            }
        }
        assert!(failed >= 3, "one failure per core: {failed}");
        assert!(built >= 1, "{built}");
        census.assert_same();
        harness::oracle::assert_threads(2);
    });
}

#[test]
fn e15_no_thread_to_be_had() {
    Case::new("e15_no_thread_to_be_had").run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user, whose limit on processes is set to 1");
        }
        become_user(60_015);
        drop(Runtime::new().expect("the machine can"));
        let census = Census::take();
        set_limit(libc::RLIMIT_NPROC, 1);
        let error = Runtime::builder().cores(2).build().expect_err("refused");
        assert_eq!(error.kind(), BuildErrorKind::Thread);
        assert!(error.cure().contains("ulimit -u"), "{error}");
        census.assert_same();
        assert_eq!(
            corering::block_on(async {
                sleep(MS).await;
                1
            }),
            1
        );
    });
}

async fn echo() {
    let (mut client, mut server) = harness::net::pair().await;
    client.write_all(b"there and back").await.expect("written");
    let chunk = server.recv().await.expect("received").expect("bytes");
    server.send_all(chunk).await.0.expect("sent");
    let mut back = [0; 14];
    client.read_exact(&mut back).await.expect("read");
    assert_eq!(&back, b"there and back");
}

#[test]
fn e06_thousand_runtimes() {
    Case::new("e06_thousand_runtimes")
        .seconds(120)
        .run(thousand_runtimes);
}

/// The kernel charges rings to the user, and gives the memory back late.
#[test]
fn e06_thousand_runtimes_of_a_user() {
    Case::new("e06_thousand_runtimes_of_a_user")
        .seconds(120)
        .run(|| {
            if !harness::is_root() {
                return harness::skip("it takes another user");
            }
            set_limit(libc::RLIMIT_MEMLOCK, 8 << 20);
            become_user(60_006);
            thousand_runtimes();
        });
}

fn thousand_runtimes() {
    drop(Runtime::new().expect("the machine can"));
    let census = Census::take();
    let mut base = 0;
    for i in 0..1_000 {
        let mut runtime = match Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => panic!("runtime {i}: {error}"),
        };
        runtime.block_on(async {
            let task = corering::spawn(async { 1 });
            sleep(Duration::from_micros(10)).await;
            assert_eq!(task.await.expect("joined"), 1);
            if i % 10 == 0 {
                echo().await;
            }
        });
        if i == 100 {
            base = harness::memory_kib();
        }
    }
    census.assert_same();
    let grown = harness::memory_kib().saturating_sub(base);
    assert!(
        grown < 8 * 1024,
        "900 runtimes that are gone keep {grown} KiB"
    );
}

/// Rings that are large for the limit, one after the other on one thread: none is made smaller
/// because those before it are still there.
#[test]
fn e06_a_ring_goes_with_its_runtime() {
    Case::new("e06_a_ring_goes_with_its_runtime").run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user");
        }
        set_limit(libc::RLIMIT_MEMLOCK, 8 << 20);
        become_user(60_016);
        let built = || {
            let builder = Runtime::builder().ring_entries(8_192);
            builder.completion_entries(65_536).build().expect("it fits")
        };
        let mut sizes = Vec::new();
        for _ in 0..20 {
            let runtime = built();
            sizes.push(ring_kib());
            // The kernel gives a closed ring's memory back late.
            drop(runtime);
            std::thread::sleep(50 * MS);
        }
        assert!(sizes.iter().all(|&kib| kib == sizes[0]), "{sizes:?}");
    });
}

/// What the rings of this process take, in KiB.
fn ring_kib() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let rings = maps.lines().filter(|line| line.contains("io_uring"));
    let bytes = rings.map(|line| {
        let range = line.split(' ').next().expect("a range");
        let (from, to) = range.split_once('-').expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("a number");
        number(to) - number(from)
    });
    bytes.sum::<usize>() / 1024
}

#[test]
fn j05_memlock_zero() {
    Case::new("j05_memlock_zero").seconds(20).run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user");
        }
        set_limit(libc::RLIMIT_MEMLOCK, 0);
        become_user(60_005);
        let census = Census::take();
        match Runtime::new() {
            Ok(_) => println!("a ring without locked memory: this kernel does not count it"),
            Err(error) => {
                println!("{error}");
                assert_eq!(error.kind(), BuildErrorKind::LockedMemory);
                let text = error.to_string();
                assert!(
                    text.contains("0 KiB") && text.contains("ulimit -l"),
                    "{text}"
                );
                assert!(text.contains("LimitMEMLOCK"), "{text}");
            }
        }
        census.assert_same();
    });
}

/// With 64 KiB the default ring does not fit; a smaller one does, and works.
#[test]
fn j05_memlock_64_kib() {
    Case::new("j05_memlock_64_kib").seconds(20).run(|| {
        if !harness::is_root() {
            return harness::skip("it takes another user");
        }
        set_limit(libc::RLIMIT_MEMLOCK, 64 << 10);
        become_user(60_064);
        let mut runtime = match Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => panic!("64 KiB hold a small ring: {error}"),
        };
        runtime.block_on(async {
            let naps = (0..2_000).map(|i| sleep(Duration::from_micros(i)));
            futures::future::join_all(naps).await;
        });
    });
}

#[test]
fn settings_that_cannot_be_fulfilled() {
    Case::new("settings_that_cannot_be_fulfilled").run(|| {
        let builder = Runtime::builder;
        let wrong = [
            (builder().cores(0), "at least one core"),
            (builder().ring_entries(0), "power of two"),
            (builder().ring_entries(4), "8 to 32768"),
            (builder().ring_entries(100), "power of two"),
            (builder().ring_entries(65_536), "32768"),
            (builder().ring_entries(u32::MAX), "32768"),
            (builder().completion_entries(255), "below ring_entries"),
            (builder().recv_buffers(0, 4096), "power of two"),
            (builder().recv_buffers(3, 4096), "power of two"),
            (builder().recv_buffers(8, 0), "64 bytes"),
            (builder().recv_buffers(8, u32::MAX), "1 GiB"),
            (builder().datagram_buffers(3, 2048), "power of two"),
            (builder().datagram_buffers(0, 2048), "power of two"),
            (builder().datagram_buffers(8, 0), "1 byte"),
            (builder().datagram_buffers(8, u32::MAX), "1 GiB"),
            (builder().budget(0, MS), "budget"),
            (builder().cpus([0]).cores(2), "only 1 CPUs named"),
        ];
        let census = Census::take();
        for (builder, words) in wrong {
            let error = builder.build().expect_err(words);
            assert_eq!(error.kind(), BuildErrorKind::Settings);
            assert!(error.to_string().contains(words), "{error}");
        }
        census.assert_same();
        let odd = [
            builder().ring_entries(8).completion_entries(8),
            builder().ring_entries(32_768).completion_entries(32_768),
            builder().completion_entries(u32::MAX),
            builder().recv_buffers(1, 64),
            builder().recv_buffers(1 << 15, 64),
            builder().datagram_buffers(1, 1),
            builder().kernel_workers(0, 0),
            builder().kernel_workers(1, 1),
            builder().budget(1, Duration::ZERO),
            builder().budget(u32::MAX, Duration::MAX),
            builder().shutdown_grace(Duration::ZERO),
            builder().shutdown_grace(Duration::MAX),
            builder().name(""),
            builder().name("x".repeat(1_000)).cores(2),
        ];
        for (i, builder) in odd.into_iter().enumerate() {
            let text = format!("{builder:?}");
            let mut runtime = builder
                .build()
                .unwrap_or_else(|error| panic!("{i} {text}: {error}"));
            let task = runtime.handle().spawn_on(0, || async {
                sleep(MS).await;
                3
            });
            assert_eq!(runtime.block_on(task).expect("joined"), 3, "{text}");
        }
        census.assert_same();
    });
}

/// A name that no thread can have.
#[test]
fn settings_a_name_with_nul() {
    Case::new("settings_a_name_with_nul").run(|| {
        let error = Runtime::builder().cores(2).name("a\0b").build();
        let error = error.expect_err("no thread can be called so");
        assert_eq!(error.kind(), BuildErrorKind::Settings);
    });
}

/// A number of cores that no machine has (a configuration file with a mistake in it).
#[test]
fn settings_absurdly_many_cores() {
    Case::new("settings_absurdly_many_cores")
        .seconds(20)
        .run(|| {
            set_limit(libc::RLIMIT_AS, 4 << 30);
            for cores in [usize::MAX, 1 << 40] {
                let error = Runtime::builder()
                    .cores(cores)
                    .build()
                    .expect_err("refused");
                assert_eq!(error.kind(), BuildErrorKind::Settings);
            }
        });
}
