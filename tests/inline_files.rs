//! `Builder::inline_files`: small file operations without a trip through the ring.

#![allow(clippy::disallowed_methods)] // Tests compare with the plain way.

mod fs_support;

use corering::buf::AlignedBuf;
use corering::fs::{self, File, OpenOptions};
use corering::{Metrics, Restrict, Runtime};
use fs_support::{TempDir, named_pipe};
use std::cell::Cell;
use std::future::Future;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

fn inline<T>(body: impl Future<Output = T>) -> T {
    let mut runtime = Runtime::builder().inline_files(true).build().unwrap();
    runtime.block_on(body)
}

fn calls() -> u64 {
    Metrics::current().inline_files
}

/// How many operations of `body` were performed on the spot, and by the ring. Repeated until none
/// was put off because the machine was slow: such a one is right, but proves nothing.
async fn counted<F: Future<Output = ()>>(expected: (u64, u64), mut body: impl FnMut() -> F) {
    for _ in 0..200 {
        let before = Metrics::current();
        body().await;
        let after = Metrics::current();
        let inline = after.inline_files - before.inline_files;
        let ring = after.operations - before.operations;
        assert_eq!(inline + ring, expected.0 + expected.1, "{inline} + {ring}");
        if inline == expected.0 {
            return;
        }
        corering::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("200 tries, and never {expected:?} on the spot and by the ring");
}

#[test]
fn a_small_file_never_sees_the_ring() {
    let dir = TempDir::new("inline-small");
    let path = dir.join("a");
    inline(async {
        counted((3, 0), || async {
            let file = File::create(&path).await.unwrap();
            file.write_all_at(vec![7; 4096], 0).await.0.unwrap();
            file.close().await.unwrap();
            assert!(std::fs::read(&path).unwrap() == [7; 4096]);
        })
        .await;
        counted((5, 1), || async {
            fs::create_dir(dir.join("d")).await.unwrap();
            fs::hard_link(&path, dir.join("d/b")).await.unwrap();
            fs::rename(dir.join("d/b"), dir.join("d/c")).await.unwrap();
            fs::symlink("c", dir.join("d/s")).await.unwrap();
            assert_eq!(fs::metadata(dir.join("d/s")).await.unwrap().len(), 4096);
            fs::remove_file(dir.join("d/c")).await.unwrap();
            assert!(std::fs::read_link(dir.join("d/s")).unwrap() == Path::new("c"));
            std::fs::remove_dir_all(dir.join("d")).unwrap();
        })
        .await;
    });
}

#[test]
fn what_may_wait_for_the_disk_goes_by_the_ring() {
    let dir = TempDir::new("inline-ring");
    let path = dir.join("a");
    inline(async {
        let file = File::create(&path).await.unwrap();
        counted((1, 6), || async {
            file.write_all_at(vec![1; 128 * 1024], 0).await.0.unwrap();
            file.write_all_at(vec![2; 128 * 1024 + 1], 0)
                .await
                .0
                .unwrap();
            file.write(b"own position").await.0.unwrap();
            file.sync_all().await.unwrap();
            file.sync_data().await.unwrap();
            file.allocate(0, 1 << 20).await.unwrap();
            file.set_len(8192).await.unwrap();
        })
        .await;
        for flag in [libc::O_DSYNC, libc::O_SYNC] {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(flag);
            let file = options.open(&path).await.unwrap();
            let before = calls();
            file.write_all_at(b"durable", 0).await.0.unwrap();
            assert_eq!(calls(), before);
        }
        let mut options = OpenOptions::new();
        options.write(true).direct(true);
        // Where a file system has no O_DIRECT there is nothing to look at.
        if let Ok(file) = options.open(&path).await {
            let mut block = AlignedBuf::new(4096);
            block.resize(4096);
            let before = calls();
            file.write_all_at(block, 0).await.0.unwrap();
            assert_eq!(calls(), before);
        }
    });
}

#[test]
fn without_being_asked_for_it_is_off() {
    let dir = TempDir::new("inline-off");
    let write = |name: &'static str| {
        let path = dir.join(name);
        async move {
            fs::write(&path, "content").await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"content");
            assert_eq!(calls(), 0);
        }
    };
    corering::block_on(write("plain"));
    let builder = Runtime::builder().inline_files(true);
    let mut restricted = builder.restrict(Restrict::files()).build().unwrap();
    restricted.block_on(write("restricted"));
}

#[test]
fn errors_and_flags_are_those_of_the_ring() {
    let dir = TempDir::new("inline-errors");
    let path = dir.join("a");
    inline(async {
        let kind = |result: std::io::Result<File>| result.map(drop).unwrap_err().kind();
        assert_eq!(
            kind(File::create(dir.join("no/such")).await),
            ErrorKind::NotFound
        );
        assert_eq!(
            kind(File::create(dir.join("")).await),
            ErrorKind::IsADirectory
        );
        drop(File::create_new(&path).await.unwrap());
        assert_eq!(
            kind(File::create_new(&path).await),
            ErrorKind::AlreadyExists
        );
        let readable = File::open(&path).await.unwrap();
        let (result, buf) = readable.write_at(b"x".to_vec(), 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(buf, b"x", "the buffer comes back");

        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640);
        let file = options.open(dir.join("b")).await.unwrap();
        file.write_all_at(b"first ", 0).await.0.unwrap();
        file.write_all_at(b"second", 0).await.0.unwrap();
        let file = file.into_std().unwrap();
        let about = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
        let about = std::fs::read_to_string(about).unwrap();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0);
        assert_ne!(flags & libc::O_APPEND, 0);
        assert_ne!(flags & libc::O_CLOEXEC, 0);
        assert_eq!(file.metadata().unwrap().mode() & 0o137, 0);
        assert_eq!(std::fs::read(dir.join("b")).unwrap(), b"first second");
    });
}

/// It waits for the reader, as `open(2)` does, and the core does not wait with it.
#[test]
fn a_named_pipe_stops_nobody() {
    let dir = TempDir::new("inline-pipe");
    let path = dir.join("pipe");
    if !named_pipe(&path, "a_named_pipe_stops_nobody") {
        return;
    }
    inline(async {
        let reader = corering::spawn({
            let path = path.clone();
            async move {
                corering::time::sleep(Duration::from_millis(30)).await;
                corering::spawn_blocking(move || {
                    let mut text = String::new();
                    let mut pipe = std::fs::File::open(path).unwrap();
                    pipe.read_to_string(&mut text).unwrap();
                    text
                })
                .await
                .unwrap()
            }
        });
        let pipe = File::create(&path).await.unwrap();
        let (result, _) = pipe.write_at(b"no position", 3).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        pipe.write(b"through").await.0.unwrap();
        drop(pipe);
        assert_eq!(reader.await.unwrap(), "through");
    });
}

/// A task that only writes gets no more of a turn than its share.
#[test]
fn others_have_their_turns() {
    let dir = TempDir::new("inline-turns");
    let path = dir.join("a");
    inline(async {
        let turns = Rc::new(Cell::new(0));
        let counting = turns.clone();
        let counter = corering::spawn(async move {
            loop {
                counting.set(counting.get() + 1);
                corering::task::yield_now().await;
            }
        });
        let file = File::create(&path).await.unwrap();
        for i in 0..20_000_u64 {
            file.write_all_at(i.to_le_bytes().to_vec(), i * 8)
                .await
                .0
                .unwrap();
        }
        assert!(turns.get() > 3, "{} turns in 20,000 writes", turns.get());
        counter.abort();
        let bytes = std::fs::read(&path).unwrap();
        let numbers = bytes
            .chunks(8)
            .map(|n| u64::from_le_bytes(n.try_into().unwrap()));
        assert!(numbers.eq(0..20_000));
    });
}
