//! Files by the ring: reading, writing, durability, limits.

#![allow(clippy::disallowed_methods)] // Tests compare with the plain way.

mod fs_support;

use corering::buf::{AlignedBuf, IoBuf};
use corering::fs::{self, File, FileTimes, OpenOptions, Permissions};
use corering::{Metrics, block_on};
use fs_support::{Mount, Rng, TempDir, child, child_argument, descriptors, named_pipe, skip};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

fn operations() -> u64 {
    Metrics::current().operations
}

/// Polls a future so many times, at most, and drops it then.
async fn poll_and_drop(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() || left == 1 {
            return Poll::Ready(());
        }
        left -= 1;
        Poll::Pending
    })
    .await;
}

#[test]
fn whole_files_go_there_and_back() {
    let dir = TempDir::new("whole");
    let mut rng = Rng::new("whole_files_go_there_and_back");
    block_on(async {
        for len in [0, 1, 4095, 4096, 4097, 262_144, 262_145, 1_000_000] {
            let bytes = rng.bytes(len);
            fs::write(dir.join("a"), bytes.clone()).await.unwrap();
            assert!(std::fs::read(dir.join("a")).unwrap() == bytes);
            assert!(fs::read(dir.join("a")).await.unwrap() == bytes);
            assert_eq!(
                fs::copy(dir.join("a"), dir.join("b")).await.unwrap(),
                len as u64
            );
            assert!(std::fs::read(dir.join("b")).unwrap() == bytes);
        }
        fs::write(dir.join("text"), "grün").await.unwrap();
        assert_eq!(fs::read_to_string(dir.join("text")).await.unwrap(), "grün");
        fs::write(dir.join("text"), vec![0xff]).await.unwrap();
        let error = fs::read_to_string(dir.join("text")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        // Files of the kernel's own have no length.
        let status = fs::read_to_string("/proc/self/status").await.unwrap();
        assert!(status.contains("Name:"));
    });
}

#[test]
fn a_copy_keeps_the_mode_and_spares_its_source() {
    let dir = TempDir::new("copy");
    block_on(async {
        let (a, b) = (dir.join("a"), dir.join("b"));
        fs::write(&a, "content").await.unwrap();
        fs::set_permissions(&a, Permissions::from_mode(0o751))
            .await
            .unwrap();
        fs::write(&b, "something longer").await.unwrap();
        fs::copy(&a, &b).await.unwrap();
        assert_eq!(std::fs::metadata(&b).unwrap().mode() & 0o7777, 0o751);
        assert_eq!(fs::read(&b).await.unwrap(), b"content");
        fs::hard_link(&a, dir.join("c")).await.unwrap();
        let error = fs::copy(&a, dir.join("c")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(fs::read(&a).await.unwrap(), b"content");
        let error = fs::copy(dir.path(), dir.join("d")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn small_files_cost_few_operations() {
    let dir = TempDir::new("few");
    block_on(async {
        let before = operations();
        fs::write(dir.join("a"), vec![7; 4096]).await.unwrap();
        assert_eq!(operations() - before, 2, "open, write");
        let before = operations();
        fs::read(dir.join("a")).await.unwrap();
        assert_eq!(operations() - before, 2, "open, read");
        let mut reader = fs::FileReader::new(File::open(dir.join("a")).await.unwrap());
        let before = operations();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.unwrap();
        assert_eq!((operations() - before, bytes.len()), (1, 4096));
    });
}

#[test]
fn a_future_that_was_never_polled_has_no_effect() {
    let dir = TempDir::new("unpolled");
    block_on(async {
        let before = operations();
        drop(File::create(dir.join("a")));
        drop(fs::write(dir.join("b"), "text"));
        drop(fs::write_atomic(dir.join("c"), "text"));
        drop(fs::create_dir_all(dir.join("d/e")));
        corering::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(operations(), before);
    });
    assert!(dir.names().is_empty());
}

#[test]
fn parts_of_a_file_at_their_offsets() {
    let dir = TempDir::new("offsets");
    block_on(async {
        let file = File::create_new(dir.join("a")).await.unwrap();
        file.write_all_at(b"0123456789", 0).await.0.unwrap();
        let (n, buf) = file.read_at(Vec::with_capacity(4), 3).await;
        assert_eq!((n.unwrap(), &buf[..]), (4, &b"3456"[..]));
        let (n, buf) = file.read_at(vec![b'x'; 4], 8).await;
        assert_eq!((n.unwrap(), &buf[..]), (2, &b"89"[..]), "no stale bytes");
        assert_eq!(file.read_at(vec![0; 4], 10).await.0.unwrap(), 0);
        let (result, buf) = file.read_exact_at(vec![0; 4], 8).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..2], b"89");
        let (result, buf) = file
            .read_exact_at(Vec::with_capacity(100).slice(..3), 1)
            .await;
        result.unwrap();
        assert_eq!(buf.into_inner(), b"123");
        let bufs: Vec<Vec<u8>> = vec![vec![0; 3], vec![], vec![0; 4]];
        let (n, bufs) = file.read_vectored_at(bufs, 1).await;
        assert_eq!((n.unwrap(), bufs.concat()), (7, b"1234567".to_vec()));
        let many: Vec<&'static [u8]> = vec![b"z"; 1025];
        let (n, many) = file.write_vectored_at(many, 0).await;
        assert_eq!((n.unwrap(), many.len()), (1024, 1025));
        assert_eq!(file.metadata().await.unwrap().len(), 1024);
        for bad in [u64::MAX, 1 << 63] {
            let error = file.read_at(vec![0; 4], bad).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = file.write_at("bad", bad).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(
                file.set_len(bad).await.unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    });
}

#[test]
fn the_position_is_the_kernels() {
    let dir = TempDir::new("position");
    block_on(async {
        let file = File::create_new(dir.join("a")).await.unwrap();
        for part in ["one ", "two ", "three"] {
            assert_eq!(file.write(part).await.0.unwrap(), part.len());
        }
        assert_eq!(file.seek(SeekFrom::End(-5)).unwrap(), 8);
        let (n, buf) = file.read(vec![0; 3]).await;
        assert_eq!((n.unwrap(), &buf[..]), (3, &b"thr"[..]));
        assert_eq!(file.stream_position().unwrap(), 11);
        let error = file.seek(SeekFrom::Start(u64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let mut plain = file.into_std().unwrap();
        let mut rest = String::new();
        plain.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ee");
    });
}

#[test]
fn lengths_space_times_and_modes() {
    let dir = TempDir::new("metadata");
    block_on(async {
        let path = dir.join("a");
        let file = File::create(&path).await.unwrap();
        file.set_len(10_000).await.unwrap();
        file.allocate(0, 1 << 20).await.unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 500);
        let before = SystemTime::UNIX_EPOCH - Duration::new(100, 250);
        file.set_times(FileTimes::new().set_modified(at).set_accessed(before))
            .unwrap();
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        let (ours, plain) = (
            file.metadata().await.unwrap(),
            std::fs::metadata(&path).unwrap(),
        );
        assert_eq!((ours.len(), ours.mode()), (1 << 20, plain.mode()));
        assert_eq!(ours.permissions(), plain.permissions());
        assert_eq!(
            (ours.modified().unwrap(), ours.accessed().unwrap()),
            (at, before)
        );
        assert_eq!(ours.created().ok(), plain.created().ok());
        assert_eq!(
            (ours.dev(), ours.ino(), ours.nlink()),
            (plain.dev(), plain.ino(), 1)
        );
        assert_eq!((ours.uid(), ours.gid()), (plain.uid(), plain.gid()));
        assert_eq!(
            (ours.blocks(), ours.blksize()),
            (plain.blocks(), plain.blksize())
        );
        assert!(ours.is_file() && !ours.is_dir() && !ours.is_symlink());
        let null = fs::metadata("/dev/null").await.unwrap();
        assert!(null.file_type().is_char_device());
        assert_eq!(null.rdev(), std::fs::metadata("/dev/null").unwrap().rdev());
        let error = file.allocate(0, 0).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn closing_reports_and_refuses() {
    let dir = TempDir::new("close");
    block_on(async {
        let before = descriptors(&dir);
        let file = File::create(dir.join("a")).await.unwrap();
        assert!(file.try_clone().unwrap().close().await.is_err());
        let clone = file.try_clone().unwrap();
        let file = file.try_into_std().expect_err("a clone exists");
        assert_eq!(file.into_std().unwrap_err().kind(), ErrorKind::ResourceBusy);
        clone.close().await.unwrap();
        assert_eq!(descriptors(&dir), before);

        // An operation in flight holds the file, even one whose future is gone.
        let file = File::create(dir.join("b")).await.unwrap();
        poll_and_drop(file.write_at(vec![1; 1 << 20], 0), 1).await;
        let file = file.try_into_std().expect_err("a write is in flight");
        corering::time::sleep(Duration::from_millis(100)).await;
        drop(file.try_into_std().expect("the write is over"));

        let file = File::from_std(std::fs::File::open(dir.join("a")).unwrap());
        file.close().await.unwrap();
        let file = File::create(dir.join("c")).await.unwrap();
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
        assert!(flags.unwrap().contains("flags:\t02100001"), "close-on-exec");
    });
}

#[test]
fn locks_do_not_wait() {
    let dir = TempDir::new("lock");
    block_on(async {
        let a = File::create(dir.join("a")).await.unwrap();
        let b = File::open(dir.join("a")).await.unwrap();
        a.try_lock_shared().unwrap();
        b.try_lock_shared().unwrap();
        assert_eq!(a.try_lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        b.unlock().unwrap();
        a.try_lock().unwrap();
        assert_eq!(
            b.try_lock_shared().unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

#[test]
fn syncs_at_once_share_one() {
    let dir = TempDir::new("sync");
    block_on(async {
        let file = File::create(dir.join("a")).await.unwrap();
        file.write_all_at("text", 0).await.0.unwrap();
        let before = operations();
        let syncs = (0..20).map(|i| {
            let file = file.try_clone().unwrap();
            corering::spawn(async move {
                match i % 2 {
                    0 => file.sync_all().await,
                    _ => file.sync_data().await,
                }
            })
        });
        for sync in syncs.collect::<Vec<_>>() {
            sync.await.unwrap().unwrap();
        }
        let used = operations() - before;
        assert!((2..=4).contains(&used), "{used} operations for 20 syncs");
        // One that is dropped in flight does not stand in the way.
        poll_and_drop(file.sync_all(), 1).await;
        file.sync_all().await.unwrap();
    });
}

/// H05.
#[test]
fn short_growing_and_truncated() {
    let dir = TempDir::new("growing");
    block_on(async {
        let path = dir.join("a");
        let mut plain = std::fs::File::create(&path).unwrap();
        plain.write_all(b"first").unwrap();
        let mut reader = fs::FileReader::new(File::open(&path).await.unwrap());
        let mut text = Vec::new();
        reader.read_to_end(&mut text).await.unwrap();
        plain.write_all(b" second").unwrap();
        reader.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"first second");
        // Truncated while it is read ahead: the end is where the file ends now.
        plain.set_len(3 << 20).unwrap();
        let mut reader = fs::FileReader::new(File::open(&path).await.unwrap());
        for _ in 0..4 {
            assert!(reader.next_chunk().await.unwrap().is_some());
        }
        plain.set_len(100).unwrap();
        while reader.next_chunk().await.unwrap().is_some() {}
        assert!(reader.position() <= 3 << 20);
        assert_eq!(reader.seek(SeekFrom::End(-50)).unwrap(), 50);
        assert_eq!(reader.next_chunk().await.unwrap().unwrap().len(), 50);
        // A hole reads as zeros.
        plain.set_len(1 << 20).unwrap();
        let bytes = fs::read(&path).await.unwrap();
        assert!(bytes.len() == 1 << 20 && bytes[100..].iter().all(|&byte| byte == 0));
    });
}

/// H08.
#[test]
fn many_tasks_write_their_own_ranges() {
    const RANGE: usize = 30_000;
    let dir = TempDir::new("disjoint");
    block_on(async {
        let file = File::create_new(dir.join("a")).await.unwrap();
        let mut tasks = Vec::new();
        for i in 0..64_u8 {
            let file = file.try_clone().unwrap();
            tasks.push(corering::spawn(async move {
                let at = usize::from(i) * RANGE;
                file.write_all_at(vec![i; RANGE], at as u64).await.0
            }));
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let bytes = fs::read(dir.join("a")).await.unwrap();
        assert_eq!(bytes.len(), 64 * RANGE);
        for (i, range) in bytes.chunks(RANGE).enumerate() {
            assert!(range.iter().all(|&byte| usize::from(byte) == i));
        }
        // In append mode the order is that of the submissions.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join("b"))
            .await;
        let file = file.unwrap();
        let mut tasks = Vec::new();
        for i in 0..64_u8 {
            let file = file.try_clone().unwrap();
            tasks.push(corering::spawn(async move {
                file.write_at(vec![i; 10], 0).await.0
            }));
        }
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), 10);
        }
        let bytes = fs::read(dir.join("b")).await.unwrap();
        assert!(bytes.len() == 640 && bytes.is_sorted());
    });
}

/// H09.
#[test]
fn offsets_and_requests_beyond_32_bits() {
    const FAR: u64 = 5 << 30;
    let dir = TempDir::new("far");
    block_on(async {
        let file = File::create_new(dir.join("a")).await.unwrap();
        file.write_all_at("far away", FAR).await.0.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), FAR + 8);
        let (result, buf) = file.read_exact_at(vec![0; 12], FAR - 4).await;
        result.unwrap();
        assert_eq!(buf, b"\0\0\0\0far away");
        let mut reader = fs::FileReader::at(file, FAR + 4);
        assert_eq!(reader.next_chunk().await.unwrap().unwrap(), b"away");
        // More than one operation moves.
        let null = OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .await
            .unwrap();
        let huge = vec![0_u8; (2 << 30) + 5];
        let (n, huge) = null.write_at(huge, 0).await;
        assert_eq!(n.unwrap(), corering::buf::LEN_MAX);
        null.write_all_at(huge, 0).await.0.unwrap();
    });
}

/// H12.
#[test]
fn direct_files_want_aligned_memory() {
    let dir = TempDir::new("direct");
    block_on(async {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).direct(true);
        let file = match options.open(dir.join("a")).await {
            Ok(file) => file,
            Err(error) => return skip("direct_files_want_aligned_memory", &error.to_string()),
        };
        let mut block = AlignedBuf::new(8192);
        block.resize(8192);
        block.fill(7);
        file.write_all_at(block, 0).await.0.unwrap();
        let (result, block) = file.read_exact_at(AlignedBuf::new(4096), 4096).await;
        result.unwrap();
        assert!(block.iter().all(|&byte| byte == 7));
        let (result, _) = file.read_at(block.slice(1..1000), 0).await;
        let Err(error) = result else {
            return skip(
                "direct_files_want_aligned_memory",
                "this file system aligns by itself",
            );
        };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("AlignedBuf"), "{error}");
        let error = file.write_at(vec![1; 777], 0).await.0.unwrap_err();
        assert!(error.to_string().contains("AlignedBuf"), "{error}");
    });
}

/// C06.
#[test]
fn opening_a_fifo_can_be_given_up() {
    let dir = TempDir::new("fifo");
    let path = dir.join("pipe");
    if !named_pipe(&path, "opening_a_fifo_can_be_given_up") {
        return;
    }
    block_on(async {
        let before = descriptors(&dir);
        for round in 0..100 {
            let wait = Duration::from_micros(round * 20);
            let opened = corering::time::timeout(wait, File::open(&path)).await;
            assert!(opened.is_err(), "there is no writer");
        }
        let mut both = OpenOptions::new();
        let plain = both
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .await;
        assert!(plain.is_ok(), "who does not want to wait does not");
        drop(plain);
        corering::time::sleep(Duration::from_millis(20)).await;
        let (reader, writer) = corering::time::timeout(Duration::from_secs(5), async {
            let path = path.clone();
            let reader = corering::spawn(async move { File::open(path).await });
            let path = dir.join("pipe");
            let writer = OpenOptions::new().write(true).open(path).await.unwrap();
            (reader.await.unwrap().unwrap(), writer)
        })
        .await
        .expect("no worker is stuck");
        writer.write("through").await.0.unwrap();
        assert_eq!(reader.read(vec![0; 20]).await.1, b"through");
        drop((reader, writer));
        corering::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(descriptors(&dir), before);
    });
}

#[test]
fn no_thread_of_ours_appears() {
    let Some(dir) = child_argument() else {
        let dir = TempDir::new("threads");
        let output = child("no_thread_of_ours_appears", dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        return;
    };
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        let names = tasks.map(|task| name(task.unwrap()).unwrap_or_default());
        names.collect::<Vec<_>>()
    };
    let ours = threads().len();
    let after = block_on(async {
        let mut tasks = Vec::new();
        for i in 0..32 {
            let path = dir.join(format!("file-{i}"));
            tasks.push(corering::spawn(async move {
                fs::write_atomic(&path, vec![1; 100_000]).await.unwrap();
                fs::read(&path).await.unwrap();
                fs::metadata(&path).await.unwrap();
                fs::remove_file(&path).await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        threads()
    });
    let (kernel, user): (Vec<_>, Vec<_>) =
        after.iter().partition(|name| name.starts_with("iou-wrk-"));
    assert_eq!(user.len(), ours, "{after:?}");
    assert!(!kernel.is_empty(), "{after:?}");
}

/// H01.
#[test]
fn a_full_disk_says_so() {
    let mount = match Mount::tmpfs(1024) {
        Ok(mount) => mount,
        Err(why) => return skip("a_full_disk_says_so", &why),
    };
    let dir = &mount.0;
    block_on(async {
        fs::write(dir.join("old"), "as it was").await.unwrap();
        let error = fs::write_atomic(dir.join("old"), vec![1; 2 << 20])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(fs::read(dir.join("old")).await.unwrap(), b"as it was");
        corering::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(dir.names(), ["old"]);
        let error = fs::write(dir.join("new"), vec![1; 2 << 20])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    });
}

/// H03.
#[test]
fn a_failed_sync_is_not_forgotten() {
    const TEST: &str = "a_failed_sync_is_not_forgotten";
    let tmpfs = match Mount::tmpfs(24 << 10) {
        Ok(mount) => mount,
        Err(why) => return skip(TEST, &why),
    };
    let image = tmpfs.0.join("image");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    let disk = match Mount::ext4(&image) {
        Ok(mount) => mount,
        Err(why) => return skip(TEST, &why),
    };
    let path = disk.0.join("data");
    std::fs::write(&path, "old").unwrap();
    std::fs::File::open(&path).unwrap().sync_all().unwrap();
    // The image is sparse: from here on it cannot grow.
    let _ = std::fs::write(tmpfs.0.join("filler"), vec![1; 32 << 20]);
    block_on(async {
        let file = OpenOptions::new().write(true).open(&path).await.unwrap();
        let (result, _) = file.write_all_at(vec![2; 16 << 20], 0).await;
        if let Err(error) = result {
            return skip(TEST, &format!("the write itself failed: {error}"));
        }
        let clone = file.try_clone().unwrap();
        let Err(first) = file.sync_all().await else {
            return skip(TEST, "the sync did not fail");
        };
        assert!(first.raw_os_error().is_some(), "{first}");
        for _ in 0..3 {
            let later = file.sync_all().await.unwrap_err();
            assert!(later.to_string().contains("earlier sync"), "{later}");
            let later = clone.sync_data().await.unwrap_err();
            assert!(later.to_string().contains("earlier sync"), "{later}");
        }
        for _ in 0..3 {
            let result = fs::write_atomic(disk.0.join("atomic"), vec![3; 8 << 20]).await;
            assert!(result.is_err(), "nothing can reach this disk");
        }
    });
}

#[test]
fn an_atomic_write_keeps_the_mode_and_the_directory_clean() {
    let dir = TempDir::new("atomic");
    block_on(async {
        let path = dir.join("a");
        fs::write_atomic(&path, "first").await.unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604))
            .await
            .unwrap();
        fs::write_atomic(&path, "second").await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"second");
        assert_eq!(fs::metadata(&path).await.unwrap().mode() & 0o7777, 0o604);
        let error = fs::write_atomic(dir.path(), "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let error = fs::write_atomic(dir.join("no/a"), "x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(dir.names(), ["a"]);
    });
}

#[test]
fn an_atomic_write_that_is_dropped_leaves_old_or_new() {
    let dir = TempDir::new("dropped");
    let path = dir.join("a");
    let mut rng = Rng::new("an_atomic_write_that_is_dropped_leaves_old_or_new");
    for round in 0..100_u8 {
        let (polls, pause) = (rng.below(9), rng.below(3) as u64);
        std::fs::write(&path, vec![255; 50_000]).unwrap();
        block_on(async {
            poll_and_drop(fs::write_atomic(&path, vec![round; 60_000]), polls).await;
            // With and without time to clean up before the runtime ends.
            corering::time::sleep(Duration::from_millis(pause)).await;
        });
        assert_eq!(dir.names(), ["a"], "after {polls} polls and {pause} ms");
        let bytes = std::fs::read(&path).unwrap();
        let is = |byte, len| bytes.len() == len && bytes.iter().all(|&b| b == byte);
        assert!(
            is(255, 50_000) || is(round, 60_000),
            "{} bytes",
            bytes.len()
        );
    }
}

/// H06.
#[test]
fn a_killed_process_leaves_old_or_new() {
    const TEST: &str = "a_killed_process_leaves_old_or_new";
    const LEN: usize = 300_000;
    if let Some(dir) = child_argument() {
        block_on(async {
            for round in 0_u64.. {
                let bytes = vec![(round % 251) as u8; LEN];
                fs::write_atomic(dir.join("a"), bytes).await.unwrap();
            }
        });
    }
    let rounds = if std::env::var_os("CI").is_some() {
        50
    } else {
        200
    };
    let dir = TempDir::new("killed");
    let mut rng = Rng::new(TEST);
    std::fs::write(dir.join("a"), vec![0; LEN]).unwrap();
    let mut replaced = 0;
    for _ in 0..rounds {
        let mut victim = child(TEST, dir.path());
        let mut victim = victim.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(5_000 + rng.next() % 30_000));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let bytes = std::fs::read(dir.join("a")).unwrap();
        assert_eq!(bytes.len(), LEN);
        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        replaced += u32::from(bytes[0] != 0);
    }
    assert!(
        replaced > 0,
        "no child lived long enough to replace the file"
    );
}
