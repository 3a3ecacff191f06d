//! What the documentation of `corering::fs` promises about files, on simulated disks: at each
//! operation the process is killed or the power fails, syncs and writes fail, disks are full.

#![cfg(feature = "sim")]

use corering::buf::AlignedBuf;
use corering::fs::{self, File, FileReader, FileWriter, OpenOptions};
use corering::sim::{Control, Faults, Host, Sim};
use futures::future::join_all;
use std::cell::Cell;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

corering::follow_the_seed!();

#[global_allocator]
static ALLOCATOR: corering::sim::GuardAlloc = corering::sim::GuardAlloc::new();

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// How far a program has been told that it came.
type Told = Rc<Cell<usize>>;

/// Runs `act` on a host that dies at each operation in turn, by a kill and by a power loss, and
/// then once to its end with a power loss behind it; after the restart, `check` gets to know how
/// far `act` was told that it came.
fn at_each_death<P, A, C>(
    prepare: impl Fn() -> P + Sync,
    act: impl Fn(Told) -> A + Sync,
    check: impl Fn(usize) -> C + Sync,
) where
    P: Future<Output = ()> + 'static,
    A: Future<Output = ()> + 'static,
    C: Future<Output = ()> + 'static,
{
    let deaths: [fn(&Control, &Host, u64); 2] = [Control::kill_at, Control::power_loss_at];
    corering::sim::seeds(0..6, |world| {
        for (die, at) in deaths.iter().flat_map(|die| (1..).map(move |at| (die, at))) {
            let mut sim = Sim::new(world.random());
            let host = sim.host("machine").boot(|_core| async {});
            sim.block_on(&host, prepare());
            let (told, done) = (Told::default(), Rc::new(Cell::new(false)));
            die(&sim, &host, sim.operations(&host) + at);
            let (work, is_done) = (act(told.clone()), done.clone());
            sim.spawn(&host, async move {
                work.await;
                is_done.set(true);
            });
            let control = sim.control();
            sim.run_until(|| done.get() || !control.is_up(&host));
            let survived = sim.is_up(&host);
            if survived {
                sim.power_loss(&host);
            }
            sim.restart(&host);
            sim.block_on(&host, check(told.get()));
            sim.finish();
            if survived {
                return;
            }
        }
    });
}

/// The names in a directory, in order.
async fn names(dir: &str) -> Vec<String> {
    let mut entries = fs::read_dir(dir).await.unwrap();
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names
}

async fn sync_dir(dir: &str) -> io::Result<()> {
    File::open(dir).await?.sync_all().await
}

/// Bytes that tell where they belong.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (at % 251) as u8 | 1;
    (from..from + len).map(byte).collect()
}

/// Sets faults for as long as a piece of the test goes on.
fn with_faults(sim: &mut Sim, change: impl FnOnce(&mut Faults)) {
    let mut faults = Faults::none();
    change(&mut faults);
    sim.set_faults(faults);
}

// ---------------------------------------------------------------------------------------------
// P11: syncs

#[test]
fn p11_sync_ok_means_durable() {
    const PIECE: usize = 1500;
    at_each_death(
        || async {
            File::create("/file").await.unwrap();
            sync_dir("/").await.unwrap();
        },
        |told| async move {
            let file = OpenOptions::new().write(true).open("/file").await.unwrap();
            for round in 0..6 {
                let bytes = pattern(round * PIECE, PIECE);
                let at = (round * PIECE) as u64;
                file.write_all_at(bytes, at).await.0.unwrap();
                match round % 2 {
                    0 => file.sync_all().await.unwrap(),
                    _ => file.sync_data().await.unwrap(),
                }
                told.set(round + 1);
            }
        },
        |told| async move {
            let bytes = fs::read("/file").await.unwrap();
            let expected = pattern(0, 6 * PIECE);
            let durable = told * PIECE;
            assert!(bytes.len() >= durable, "{} of {durable}", bytes.len());
            assert_eq!(bytes[..durable], expected[..durable]);
            // Behind them: what was written, or nothing yet.
            let legal = |(at, byte): (usize, &u8)| *byte == 0 || *byte == expected[at];
            assert!(bytes.iter().enumerate().all(legal));
        },
    );
}

/// A sync that joins others, and one that was dropped, hide nothing.
#[test]
fn p11_syncs_at_once() {
    corering::sim::seeds(0..30, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        let nth = 1 + sim.random() % 4;
        sim.block_on(&host, async {
            File::create("/file").await.unwrap();
            sync_dir("/").await.unwrap();
        });
        let mut faults = Faults::none();
        faults.fail("fsync", 1 + nth, EIO);
        sim.set_faults(faults);
        let control = sim.control();
        sim.block_on(&host, async move {
            let file = OpenOptions::new().write(true).open("/file").await.unwrap();
            let rounds = (0..8usize).map(|round| {
                let file = file.try_clone().unwrap();
                async move {
                    let bytes = pattern(round * 700, 700);
                    file.write_all_at(bytes, round as u64 * 700)
                        .await
                        .0
                        .unwrap();
                    file.sync_data().await.is_ok()
                }
            });
            let durable = join_all(rounds).await;
            control.set_faults(Faults::none());
            let failed = durable.contains(&false);
            assert_eq!(file.sync_all().await.is_err(), failed, "it stays failed");
            // What was told to be durable has to be there after the power loss below.
            let kept: Vec<u8> = durable.iter().map(|&durable| u8::from(durable)).collect();
            fs::write_atomic("/kept", kept).await.unwrap();
        });
        sim.power_loss(&host);
        sim.restart(&host);
        sim.block_on(&host, async {
            let kept = fs::read("/kept").await.unwrap();
            let bytes = fs::read("/file").await.unwrap();
            for (round, _) in kept.iter().enumerate().filter(|kept| *kept.1 == 1) {
                let range = round * 700..(round + 1) * 700;
                assert_eq!(bytes[range], pattern(round * 700, 700), "{kept:?}");
            }
        });
    });
}

#[test]
fn h03_a_failed_sync_stays_failed() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        let file = sim.block_on(&host, async {
            let file = File::create("/file").await.unwrap();
            fs::write_atomic("/atomic", b"old").await.unwrap();
            file.write_all_at(b"lost", 0).await.0.unwrap();
            file
        });
        with_faults(sim, |faults| faults.sync_fails = 1.0);
        let file = sim.block_on(&host, async move {
            assert_eq!(file.sync_all().await.unwrap_err().raw_os_error(), Some(EIO));
            fs::write_atomic("/atomic", b"new").await.unwrap_err();
            file
        });
        with_faults(sim, |_| {});
        sim.block_on(&host, async move {
            for handle in [&file, &file.try_clone().unwrap()] {
                let text = handle.sync_data().await.unwrap_err().to_string();
                assert!(text.contains("opened anew"), "{text}");
            }
            file.write_all_at(b"more", 4).await.0.unwrap();
            file.sync_all().await.unwrap_err();
            assert_eq!(fs::read("/atomic").await.unwrap(), b"old");
            // A file that is opened anew, and written anew, can be trusted.
            let again = OpenOptions::new().write(true).open("/file").await.unwrap();
            again.write_all_at(b"lostmore", 0).await.0.unwrap();
            again.sync_all().await.unwrap();
            sync_dir("/").await.unwrap();
            assert_eq!(names("/").await, ["atomic", "file", "tmp"]);
        });
        sim.power_loss(&host);
        sim.restart(&host);
        sim.block_on(&host, async {
            assert_eq!(fs::read("/file").await.unwrap(), b"lostmore");
        });
    });
}

// ---------------------------------------------------------------------------------------------
// write_atomic

fn version(number: usize) -> Vec<u8> {
    pattern(number, 1000 + 700 * number)
}

#[test]
fn h06_write_atomic_is_old_or_new() {
    at_each_death(
        || async { fs::write_atomic("/tmp/file", version(0)).await.unwrap() },
        |told| async move {
            for number in 1..4 {
                fs::write_atomic("/tmp/file", version(number))
                    .await
                    .unwrap();
                told.set(number);
            }
        },
        |told| async move {
            let bytes = fs::read("/tmp/file").await.unwrap();
            let next = version(told + 1);
            assert!(
                bytes == version(told) || bytes == next,
                "torn: {}",
                bytes.len()
            );
            for name in names("/tmp").await {
                assert!(name == "file" || name.ends_with(".tmp"), "{name}");
            }
        },
    );
}

/// Every operation of it fails once. No temporary file stays; a success is durable.
#[test]
fn write_atomic_tells_each_failure_and_tidies_up() {
    for name in ["openat", "openat2", "statx", "write", "fsync", "renameat"] {
        corering::sim::seeds(0..4, |world| {
            for nth in 1.. {
                // One fault alone: the other operations must not fail by others.
                let mut sim = Sim::new(world.random());
                let mut faults = Faults::none();
                faults.short_write = 0.5;
                faults.fail(name, nth, EIO);
                sim.set_faults(faults);
                let host = sim.host("machine").boot(|_core| async {});
                let first = sim.block_on(&host, fs::write_atomic("/tmp/file", version(1)));
                let second = sim.block_on(&host, fs::write_atomic("/tmp/file", version(2)));
                sim.set_faults(Faults::none());
                sim.run_for(Duration::from_secs(1));
                sim.block_on(&host, async {
                    let names = names("/tmp").await;
                    assert!(names.is_empty() || names == ["file"], "{names:?}");
                });
                sim.power_loss(&host);
                sim.restart(&host);
                let read = sim.block_on(&host, fs::read("/tmp/file"));
                match (first.is_ok(), second.is_ok()) {
                    (_, true) => assert_eq!(read.unwrap(), version(2)),
                    (true, false) => {
                        let bytes = read.unwrap();
                        assert!(bytes == version(1) || bytes == version(2));
                    }
                    (false, false) => panic!("{name}: one fault, two failures"),
                }
                sim.finish();
                if first.is_ok() && second.is_ok() {
                    return;
                }
            }
        });
    }
}

// ---------------------------------------------------------------------------------------------
// Full disks, failing disks

#[test]
fn h01_a_full_disk() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("machine").disk_bytes(1 << 20);
        let host = host.boot(|_core| async {});
        sim.block_on(&host, async {
            fs::write_atomic("/atomic", b"old").await.unwrap();
            let file = File::create("/file").await.unwrap();
            for round in 0..3u64 {
                let bytes = pattern(0, 300_000);
                file.write_all_at(bytes, round * 300_000).await.0.unwrap();
            }
            let (result, bytes) = file.write_all_at(pattern(0, 300_000), 900_000).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(bytes.len(), 300_000, "the buffer comes back");
            let len = file.metadata().await.unwrap().len();
            assert!((900_000..1 << 20).contains(&len), "{len}");
            let error = fs::write_atomic("/atomic", vec![1; 10_000])
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            let error = file.allocate(0, 2 << 20).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            let mut writer =
                FileWriter::with_chunk(File::create("/behind").await.unwrap(), 0, 4096);
            let mut told = Ok(());
            for _ in 0..100 {
                told = told.and(writer.write_all(&[7; 1000]).await);
            }
            told = told.and(writer.flush().await);
            assert_eq!(told.unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(
                writer.flush().await.unwrap_err().kind(),
                ErrorKind::StorageFull
            );
            let written = writer.written();
            assert_eq!(fs::read("/behind").await.unwrap().len() as u64, written);
        });
        // The removal of the temporary file goes on behind the error.
        sim.run_for(Duration::from_secs(1));
        sim.block_on(&host, async {
            assert_eq!(names("/").await, ["atomic", "behind", "file", "tmp"]);
            assert_eq!(fs::read("/atomic").await.unwrap(), b"old");
        });
    });
}

/// What a writer has accepted is written, or the error is told, now and at every later call.
#[test]
fn a_writer_loses_nothing_silently() {
    corering::sim::seeds(0..60, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        let rate = [0.0, 0.02, 0.2][sim.random() as usize % 3];
        with_faults(sim, |faults| {
            faults.short_write = 0.5;
            faults.slow_disk = rate;
            faults.write_fails = rate;
            faults.no_space = rate / 2.0;
        });
        let (chunk, appends) = (1 + sim.random() as usize % 6000, sim.random() % 3 == 0);
        let control = sim.control();
        let (result, written) = sim.block_on(&host, async move {
            let mut options = OpenOptions::new();
            options.create(true).write(!appends).append(appends);
            let file = options.open("/file").await.unwrap();
            let mut writer = FileWriter::with_chunk(file, 0, chunk);
            let mut accepted = 0;
            let mut result = Ok(());
            while result.is_ok() && accepted < 60_000 {
                let len = (control.random() % 5000) as usize;
                match writer.write(&pattern(accepted, len)).await {
                    Ok(n) => accepted += n,
                    Err(error) => result = Err(error.kind()),
                }
                assert_eq!(writer.accepted(), accepted as u64);
            }
            let result = result.and(writer.flush().await.map_err(|error| error.kind()));
            if let Err(kind) = result {
                assert_eq!(writer.write(b"more").await.unwrap_err().kind(), kind);
                assert_eq!(writer.sync_all().await.unwrap_err().kind(), kind);
            } else {
                assert_eq!(writer.written(), accepted as u64);
            }
            (result, writer.written() as usize)
        });
        let bytes = sim.read_file(&host, "/file").unwrap();
        assert!(bytes.len() >= written);
        assert_eq!(bytes[..written], pattern(0, written));
        match result {
            Ok(()) => assert_eq!(bytes.len(), written),
            Err(kind) => assert!(
                matches!(kind, ErrorKind::StorageFull | ErrorKind::Other)
                    || io::Error::from_raw_os_error(EIO).kind() == kind
            ),
        }
    });
}

/// `sync_all` of a writer covers everything that it has accepted.
#[test]
fn a_writers_sync_is_durable() {
    at_each_death(
        || async {
            File::create("/file").await.unwrap();
            sync_dir("/").await.unwrap();
        },
        |told| async move {
            let file = OpenOptions::new().write(true).open("/file").await.unwrap();
            let mut writer = FileWriter::with_chunk(file, 0, 1000);
            for round in 0..3 {
                writer
                    .write_all(&pattern(round * 2500, 2500))
                    .await
                    .unwrap();
                writer.sync_all().await.unwrap();
                told.set((round + 1) * 2500);
            }
        },
        |told| async move {
            let bytes = fs::read("/file").await.unwrap();
            assert!(bytes.len() >= told);
            assert_eq!(bytes[..told], pattern(0, told));
        },
    );
}

// ---------------------------------------------------------------------------------------------
// Reads and writes at once

/// A file that others cut off and make longer: every byte that is read stood there, and both ends
/// of the story are found.
#[test]
fn h05_short_and_growing() {
    corering::sim::seeds(0..40, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        with_faults(sim, |faults| faults.short_read = 0.3);
        let control = sim.control();
        sim.block_on(&host, async move {
            fs::write("/file", pattern(0, 20_000)).await.unwrap();
            let other = corering::spawn(async move {
                let file = OpenOptions::new().write(true).open("/file").await.unwrap();
                for _ in 0..20 {
                    let len = control.random() as usize % 40_000;
                    file.set_len(len as u64).await.unwrap();
                    file.write_all_at(pattern(0, len / 2), 0).await.0.unwrap();
                }
                file.set_len(0).await.unwrap();
                file.write_all_at(pattern(0, 30_000), 0).await.0.unwrap();
            });
            let stood_there = |bytes: &[u8], from: usize| {
                let expected = pattern(from, bytes.len());
                // Where it was made longer it has zeros.
                bytes
                    .iter()
                    .zip(&expected)
                    .all(|(byte, known)| *byte == 0 || byte == known)
            };
            while !other.is_finished() {
                let bytes = fs::read("/file").await.unwrap();
                assert!(stood_there(&bytes, 0));
                let file = File::open("/file").await.unwrap();
                let mut reader = FileReader::with_chunk(file, 0, 3000);
                let mut from = 0;
                while let Some(chunk) = reader.next_chunk().await.unwrap() {
                    assert!(stood_there(&chunk, from));
                    from += chunk.len();
                }
            }
            assert_eq!(fs::read("/file").await.unwrap(), pattern(0, 30_000));
        });
    });
}

#[test]
fn h08_disjoint_writes_and_appends() {
    corering::sim::seeds(0..30, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        with_faults(sim, |faults| {
            faults.short_write = 0.3;
            faults.slow_disk = 0.1;
        });
        sim.block_on(&host, async {
            let file = File::create("/file").await.unwrap();
            let writes =
                (0..64).map(|part| file.write_all_at(pattern(part * 900, 900), part as u64 * 900));
            assert!(
                join_all(writes)
                    .await
                    .into_iter()
                    .all(|(result, _)| result.is_ok())
            );
            assert_eq!(fs::read("/file").await.unwrap(), pattern(0, 64 * 900));
        });
        // Appends are in the order in which they were submitted, also where one is slow.
        with_faults(sim, |faults| faults.slow_disk = 0.3);
        sim.block_on(&host, async {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open("/log")
                .await
                .unwrap();
            let writes = (0..32).map(|part| file.write_at(pattern(part * 100, 100), 0));
            assert!(
                join_all(writes)
                    .await
                    .into_iter()
                    .all(|(result, _)| result.is_ok())
            );
            assert_eq!(fs::read("/log").await.unwrap(), pattern(0, 3200));
        });
    });
}

/// Around the page cache: what is not aligned is refused with the cure, and short counts keep to
/// the disk's block.
#[test]
fn h12_direct() {
    corering::sim::seeds(0..20, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        with_faults(sim, |faults| {
            faults.short_write = 0.5;
            faults.short_read = 0.5;
        });
        sim.block_on(&host, async {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).direct(true);
            let file = options.open("/file").await.unwrap();
            let whole = AlignedBuf::from_slice(&pattern(0, 8192));
            let (result, whole) = file.write_all_at(whole, 0).await;
            result.unwrap();
            let off_by_one = corering::buf::IoBuf::slice(whole, 1..4097);
            let (result, _) = file.write_at(off_by_one, 0).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("AlignedBuf"), "{error}");
            let (result, bytes) = file.read_exact_at(AlignedBuf::new(8192), 0).await;
            result.unwrap();
            assert_eq!(bytes[..], pattern(0, 8192));
        });
    });
}

// ---------------------------------------------------------------------------------------------
// Directories

/// Made, and synced from the top down, they stay; without, a part of the chain may.
#[test]
fn directories_that_were_synced_stay() {
    at_each_death(
        || async {},
        |told| async move {
            fs::create_dir_all("/a/b/c").await.unwrap();
            for (done, dir) in ["/", "/a", "/a/b"].into_iter().enumerate() {
                sync_dir(dir).await.unwrap();
                told.set(done + 1);
            }
        },
        |told| async move {
            let kept = ["/a", "/a/b", "/a/b/c"];
            for dir in &kept[..told] {
                assert!(fs::metadata(dir).await.unwrap().is_dir());
            }
            // The call is repeated after a crash, and finds its work half done.
            fs::create_dir_all("/a/b/c").await.unwrap();
        },
    );
}

#[test]
fn a_renamed_file_has_one_name() {
    at_each_death(
        || async {
            fs::create_dir("/from").await.unwrap();
            fs::create_dir("/to").await.unwrap();
            for dir in ["/from", "/to"] {
                fs::write_atomic(format!("{dir}/file"), dir.as_bytes().to_vec())
                    .await
                    .unwrap();
            }
            sync_dir("/").await.unwrap();
        },
        |told| async move {
            fs::rename("/from/file", "/to/file").await.unwrap();
            sync_dir("/to").await.unwrap();
            told.set(1);
        },
        |told| async move {
            let (from, to) = (
                fs::read("/from/file").await,
                fs::read("/to/file").await.unwrap(),
            );
            match from {
                Ok(from) => assert!(told == 0 && from == b"/from" && to == b"/to"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound);
                    assert_eq!(to, b"/from");
                }
            }
        },
    );
}

#[test]
fn a_removed_tree_takes_nothing_else_along() {
    at_each_death(
        || async {
            for dir in ["/tree/a", "/tree/b/c", "/other"] {
                fs::create_dir_all(dir).await.unwrap();
            }
            fs::symlink("/other", "/tree/b/link").await.unwrap();
            for file in ["/tree/one", "/tree/a/two", "/tree/b/c/three", "/other/four"] {
                fs::write_atomic(file, b"kept").await.unwrap();
            }
            for dir in ["/tree/b", "/tree", "/"] {
                sync_dir(dir).await.unwrap();
            }
        },
        |told| async move {
            fs::remove_dir_all("/tree").await.unwrap();
            sync_dir("/").await.unwrap();
            told.set(1);
        },
        |told| async move {
            assert_eq!(fs::read("/other/four").await.unwrap(), b"kept");
            match fs::remove_dir_all("/tree").await {
                Ok(()) => assert_eq!(told, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            assert_eq!(names("/").await, ["other", "tmp"]);
        },
    );
}

/// A copy makes nothing durable by itself, and never touches its source.
#[test]
fn a_copy_that_was_synced_stays() {
    at_each_death(
        || async {
            fs::write_atomic("/source", pattern(0, 9000)).await.unwrap();
        },
        |told| async move {
            assert_eq!(fs::copy("/source", "/copy").await.unwrap(), 9000);
            File::open("/copy").await.unwrap().sync_all().await.unwrap();
            sync_dir("/").await.unwrap();
            told.set(1);
        },
        |told| async move {
            assert_eq!(fs::read("/source").await.unwrap(), pattern(0, 9000));
            match fs::read("/copy").await {
                Ok(bytes) if told == 1 => assert_eq!(bytes, pattern(0, 9000)),
                Ok(bytes) => assert!(bytes.len() <= 9000),
                Err(error) => {
                    assert_eq!((error.kind(), told), (ErrorKind::NotFound, 0));
                }
            }
        },
    );
}

/// A copy onto a full disk, or from one that cannot be read, says so.
#[test]
fn a_copy_that_fails_says_so() {
    corering::sim::seeds(0..10, |sim| {
        let host = sim.host("machine").boot(|_core| async {});
        // Operations are counted below, so none of them may be short.
        with_faults(sim, |_| {});
        sim.block_on(&host, fs::write("/source", pattern(0, 9000)))
            .unwrap();
        let mut faults = Faults::none();
        faults.fail("read", 1, EIO);
        faults.fail("write", 2, ENOSPC);
        sim.set_faults(faults);
        sim.block_on(&host, async {
            let error = fs::copy("/source", "/copy").await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(EIO));
            let error = fs::copy("/source", "/copy").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            assert_eq!(fs::copy("/source", "/copy").await.unwrap(), 9000);
        });
    });
}
