//! A disk that takes its time: what was given to it is given up, aborted and left behind by its
//! runtime, and the kernel never writes to, nor reads from, memory that is no longer lent.
//!
//! The disk is an ext4 in an image, behind a loop device whose bytes per second the block layer
//! limits for one control group (version 1, `blkio.throttle`). The test makes and removes it; the
//! child joins the group. Root only: elsewhere the cases say `SKIP`.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod fs_support;
mod harness;

use corering::buf::{IoBuf, IoBufMut};
use corering::fs::{File, OpenOptions};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use fs_support::{Mount, TempDir};
use futures::FutureExt;
use harness::{Case, Census, scaled};
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const PAGE: usize = 4096;
/// One request; at `BYTES_PER_SECOND` it takes a second.
const LEN: usize = 64 << 10;
const BYTES_PER_SECOND: u64 = 64 << 10;
const ONE_REQUEST: Duration = Duration::from_secs(1);
const OLD: u8 = 0x11;
const NEW: u8 = 0x22;
const GONE: u8 = 0xee;
/// The disk's folder and its control group, for the child.
const PATHS: &str = "CORERING_SLOW_DISK";

// ---------------------------------------------------------------------------------------------
// The disk

/// The throttled disk, in the test that watches; all of it is removed on drop.
struct SlowDisk {
    mount: Mount,
    group: PathBuf,
    device: String,
    _image: TempDir,
}

impl SlowDisk {
    fn new() -> Result<SlowDisk, String> {
        if !harness::is_root() {
            return Err("a loop device and a control group take root".into());
        }
        let blkio = Path::new("/sys/fs/cgroup/blkio");
        if !blkio.join("blkio.throttle.write_bps_device").exists() {
            return Err("no control groups of version 1 with blkio.throttle here".into());
        }
        let folder = TempDir::new("slow-disk");
        let image = folder.join("image");
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(32 << 20).map_err(|error| error.to_string())?;
        let mount = Mount::ext4(&image)?;
        let device = std::fs::metadata(mount.0.path()).map_err(|error| error.to_string())?;
        let number = device.dev();
        let device = format!("{}:{}", libc::major(number), libc::minor(number));
        let group = blkio.join(format!("corering-{}-{}", std::process::id(), device));
        std::fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let disk = SlowDisk {
            mount,
            group,
            device,
            _image: folder,
        };
        disk.limit(BYTES_PER_SECOND)?;
        Ok(disk)
    }

    fn limit(&self, bytes_per_second: u64) -> Result<(), String> {
        for what in ["read", "write"] {
            let file = self.group.join(format!("blkio.throttle.{what}_bps_device"));
            std::fs::write(&file, format!("{} {bytes_per_second}", self.device))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // What still waits goes on at full speed, and the group is empty once the child is gone.
        let _ = self.limit(0);
        for _ in 0..200 {
            if std::fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(5 * MS);
        }
        eprintln!("{} is left", self.group.display());
    }
}

/// The disk, in the child.
struct Slow {
    folder: PathBuf,
    group: PathBuf,
}

impl Slow {
    fn begin(&self) {
        self.join(&self.group);
    }

    /// This process waits no longer for what it asks from here on.
    fn end(&self) {
        self.join(self.group.parent().expect("the group of all others"));
    }

    fn join(&self, group: &Path) {
        let own = std::process::id().to_string();
        std::fs::write(group.join("cgroup.procs"), own).expect("the group can be joined");
    }

    /// A file whose blocks are there and hold `OLD`, on the disk itself.
    fn old_file(&self, name: &str, len: usize) -> PathBuf {
        self.end();
        let path = self.folder.join(name);
        std::fs::write(&path, vec![OLD; len]).expect("written");
        let file = std::fs::File::open(&path).expect("open");
        file.sync_all().expect("synced");
        self.begin();
        path
    }

    /// What is in the file: each block is old or new as a whole.
    fn old_or_new(&self, path: &Path) -> Vec<u8> {
        self.end();
        let found = std::fs::read(path).expect("read");
        for (i, page) in found.chunks(PAGE).enumerate() {
            let first = page[0];
            assert!(first == OLD || first == NEW, "block {i}: {first:#x}");
            assert!(page.iter().all(|&byte| byte == first), "block {i} is torn");
        }
        found
    }
}

/// Runs the case in a child that the disk is slow for.
fn on_a_slow_disk(name: &'static str, body: impl FnOnce(&Slow)) {
    if harness::is_child() {
        return Case::new(name).run(|| {
            let paths = std::env::var(PATHS).expect("the test that watches has set it");
            let (folder, group) = paths.split_once('|').expect("two paths");
            let (folder, group) = (folder.into(), group.into());
            body(&Slow { folder, group });
        });
    }
    let disk = match SlowDisk::new() {
        Ok(disk) => disk,
        Err(why) => return harness::skip(why),
    };
    let folder = disk.mount.0.path().display();
    Case::new(name)
        .seconds(90)
        .env(PATHS, format!("{folder}|{}", disk.group.display()))
        .run(|| unreachable!("this is not the child"));
}

async fn direct(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).direct(true);
    options.open(path).await.expect("open")
}

// ---------------------------------------------------------------------------------------------
// The buffer

/// Memory that stays mapped for ever, and a buffer of it whose end is written down.
struct Watched {
    memory: usize,
    init: usize,
    end: Arc<Mutex<Option<Instant>>>,
}

/// What is left to look at after the buffer.
struct Witness {
    memory: usize,
    end: Arc<Mutex<Option<Instant>>>,
}

impl Watched {
    fn new(fill: u8, init: usize) -> (Watched, Witness) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let none = std::ptr::null_mut();
        // SAFETY: a new anonymous mapping touches no memory that exists.
        let memory = unsafe { libc::mmap(none, LEN, access, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        // SAFETY: the mapping is new, and that long.
        unsafe { memory.cast::<u8>().write_bytes(fill, LEN) };
        let (memory, end) = (memory as usize, Arc::new(Mutex::new(None)));
        let watched = Watched {
            memory,
            init,
            end: end.clone(),
        };
        (watched, Witness { memory, end })
    }
}

// SAFETY: the mapping is never moved nor unmapped.
unsafe impl IoBuf for Watched {
    fn as_init(&self) -> &[u8] {
        // SAFETY: the mapping is that long and initialised.
        unsafe { std::slice::from_raw_parts(self.memory as *const u8, self.init) }
    }
}

// SAFETY: as above, and nobody else writes to it while the buffer lives.
unsafe impl IoBufMut for Watched {
    fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the mapping is that long.
        unsafe { std::slice::from_raw_parts_mut(self.memory as *mut MaybeUninit<u8>, LEN) }
    }

    unsafe fn set_len(&mut self, len: usize) {
        self.init = len;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Whoever still reads here finds bytes that nobody may see; whoever still writes here
        // changes them.
        // SAFETY: the mapping is that long, and the buffer's own.
        unsafe { (self.memory as *mut u8).write_bytes(GONE, LEN) };
        *self.end.lock().expect("not poisoned") = Some(Instant::now());
    }
}

impl Witness {
    fn end(&self) -> Option<Instant> {
        *self.end.lock().expect("not poisoned")
    }

    fn bytes(&self) -> Vec<u8> {
        // SAFETY: the mapping is never unmapped; the kernel may write to it, which a copy of
        // bytes may see in any state.
        unsafe { std::slice::from_raw_parts(self.memory as *const u8, LEN) }.to_vec()
    }

    /// No byte changes after the buffer's end, for twice as long as the disk takes.
    fn watch(&self, begin: Instant) {
        while begin.elapsed() < ONE_REQUEST * 2 {
            if self.end().is_some() {
                let all = self.bytes();
                assert!(
                    all.iter().all(|&byte| byte == GONE),
                    "written to after its end"
                );
            }
            std::thread::sleep(10 * MS);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The cases

/// How the runtime ends with a request on the disk.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// `drop`, which waits for as long as this.
    Drop(Duration),
    /// `shutdown`, with as long a grace.
    Shutdown(Duration),
}

/// Ends the runtime so, and checks what became of the buffer; whether it was leaked.
fn end_with_a_request(mut runtime: Runtime, ending: Ending, witness: &Witness) -> bool {
    assert!(witness.end().is_none(), "{ending:?}: the kernel has it");
    assert_eq!(runtime.block_on(async { Metrics::current().in_flight }), 1);
    let begin = Instant::now();
    let (report, grace) = match ending {
        Ending::Drop(grace) => {
            drop(runtime);
            (None, grace)
        }
        Ending::Shutdown(grace) => (Some(runtime.shutdown(Duration::ZERO)), grace),
    };
    let took = begin.elapsed();
    assert!(
        took < grace + Duration::from_secs(2),
        "{ending:?}: {took:?}"
    );
    let leaked = witness.end().is_none();
    if let Some(report) = report {
        assert_eq!(report.leaked_operations, usize::from(leaked), "{ending:?}");
    }
    assert_eq!(leaked, grace < ONE_REQUEST / 2, "{ending:?}: {took:?}");
    println!("{ending:?}: {took:?}, leaked: {leaked}");
    leaked
}

fn endings() -> &'static [Ending] {
    const LEAKING: Duration = Duration::from_millis(100);
    const PATIENT: Duration = Duration::from_secs(20);
    const ALL: [Ending; 4] = [
        Ending::Shutdown(LEAKING),
        Ending::Drop(PATIENT),
        Ending::Drop(LEAKING),
        Ending::Shutdown(PATIENT),
    ];
    &ALL[..scaled(2, 4)]
}

fn runtime_for(ending: Ending) -> Runtime {
    let (Ending::Drop(grace) | Ending::Shutdown(grace)) = ending;
    let builder = Runtime::builder().shutdown_grace(grace);
    builder.build().expect("io_uring works here")
}

#[test]
fn a05_drop_runtime_slow_direct_read() {
    on_a_slow_disk("a05_drop_runtime_slow_direct_read", |disk| {
        for (i, &ending) in (0..).zip(endings()) {
            let path = disk.old_file(&format!("read-{i}"), LEN);
            let (buf, witness) = Watched::new(0, 0);
            let mut runtime = runtime_for(ending);
            runtime.block_on(async {
                let file = direct(&path).await;
                let mut read = Box::pin(file.read_at(buf, 0));
                assert!(timeout(50 * MS, &mut read).await.is_err(), "it is slow");
            });
            let begin = Instant::now();
            let leaked = end_with_a_request(runtime, ending, &witness);
            witness.watch(begin);
            assert_eq!(leaked, witness.end().is_none(), "never freed later");
            if leaked {
                let read = witness.bytes();
                assert!(read.iter().all(|&byte| byte == OLD), "the read went on");
            }
        }
    });
}

#[test]
fn a05_drop_runtime_slow_direct_write() {
    on_a_slow_disk("a05_drop_runtime_slow_direct_write", |disk| {
        for (i, &ending) in (0..).zip(endings()) {
            let path = disk.old_file(&format!("write-{i}"), LEN);
            let (buf, witness) = Watched::new(NEW, LEN);
            let mut runtime = runtime_for(ending);
            runtime.block_on(async {
                let file = direct(&path).await;
                let mut write = Box::pin(file.write_at(buf, 0));
                assert!(timeout(50 * MS, &mut write).await.is_err(), "it is slow");
            });
            let begin = Instant::now();
            end_with_a_request(runtime, ending, &witness);
            witness.watch(begin);
            let found = disk.old_or_new(&path);
            assert!(found == [NEW; LEN], "the write went on");
        }
    });
}

/// A write is dropped while the disk has it; the file is cut, closed and removed, and its number
/// goes to others, whom nothing of that reaches.
#[test]
fn c08_cancel_file_write() {
    on_a_slow_disk("c08_cancel_file_write", |disk| {
        let path = disk.old_file("file", 2 * LEN);
        let kept = disk.folder.join("kept");
        std::fs::hard_link(&path, &kept).expect("a second name");
        let victims = TempDir::new("victims");
        let mut runtime = runtime_for(Ending::Drop(Duration::from_secs(20)));
        let census = Census::take();
        let witness = runtime.block_on(async {
            let file = direct(&path).await;
            let (buf, witness) = Watched::new(NEW, LEN);
            let mut write = Box::pin(file.write_at(buf, 0));
            assert!(timeout(50 * MS, &mut write).await.is_err(), "it is slow");
            drop(write);
            assert!(witness.end().is_none(), "the kernel still reads it");
            file.set_len(LEN as u64 + PAGE as u64).await.expect("cut");
            file.close().await.expect("closed");
            corering::fs::remove_file(&path).await.expect("removed");
            for i in 0..20u8 {
                let path = victims.join(&i.to_string());
                let victim = File::create(&path).await.expect("created");
                victim
                    .write_all_at(vec![i; 5000], 0)
                    .await
                    .0
                    .expect("no EBADF");
                victim.sync_all().await.expect("no EBADF");
                victim.close().await.expect("no EBADF");
                assert_eq!(corering::fs::read(&path).await.expect("read"), [i; 5000]);
            }
            witness
        });
        let begin = Instant::now();
        assert!(runtime.shutdown(Duration::ZERO).is_clean());
        assert!(witness.end().is_some(), "given back");
        witness.watch(begin);
        assert_eq!(disk.old_or_new(&kept).len(), LEN + PAGE);
        census.assert_same();
    });
}

/// Aborting a task that waits for the disk does not wait for the disk.
#[test]
fn c11_abort_a_wait_for_the_disk() {
    on_a_slow_disk("c11_abort_a_wait_for_the_disk", |disk| {
        let path = disk.old_file("file", 2 * LEN);
        let census = Census::take();
        let mut runtime = runtime_for(Ending::Drop(Duration::from_secs(20)));
        let (reads, writes) = runtime.block_on(async {
            let (read_buf, reads) = Watched::new(0, 0);
            let (write_buf, writes) = Watched::new(NEW, LEN);
            let read_path = path.clone();
            let reader =
                spawn(async move { direct(&read_path).await.read_at(read_buf, 0).await.0 });
            let writer = spawn(async move {
                let file = direct(&path).await;
                file.write_at(write_buf, LEN as u64).await.0
            });
            sleep(100 * MS).await;
            for task in [reader, writer] {
                assert!(!task.is_finished(), "it is slow");
                task.abort();
                let begin = Instant::now();
                let joined = timeout(ONE_REQUEST * 3, task)
                    .await
                    .expect("no longer than it");
                assert!(joined.expect_err("aborted").is_cancelled());
                assert!(begin.elapsed() < ONE_REQUEST / 2, "{:?}", begin.elapsed());
            }
            (reads, writes)
        });
        let begin = Instant::now();
        assert!(runtime.shutdown(Duration::ZERO).is_clean());
        assert!(
            reads.end().is_some() && writes.end().is_some(),
            "given back"
        );
        reads.watch(begin);
        writes.watch(begin);
        census.assert_same();
    });
}

/// A read that is cancelled after the disk has it comes to its end with its buffer, and a close
/// that was asked for meanwhile waits for it.
#[test]
fn c08_orphans_of_a_slow_disk_come_home() {
    on_a_slow_disk("c08_orphans_of_a_slow_disk_come_home", |disk| {
        let path = disk.old_file("file", LEN);
        let census = Census::take();
        let mut runtime = runtime_for(Ending::Drop(Duration::from_secs(20)));
        runtime.block_on(async {
            let file = direct(&path).await;
            let (buf, witness) = Watched::new(0, 0);
            {
                let mut read = pin!(file.read_at(buf, 0));
                assert!(read.as_mut().now_or_never().is_none());
                sleep(20 * MS).await;
            }
            drop(file);
            assert!(witness.end().is_none(), "the kernel still writes to it");
            let begin = Instant::now();
            while witness.end().is_none() {
                assert!(begin.elapsed() < ONE_REQUEST * 5, "it never came home");
                sleep(5 * MS).await;
            }
            let rest = Instant::now();
            while Metrics::current().in_flight > 0 {
                assert!(rest.elapsed() < ONE_REQUEST, "{:?}", Metrics::current());
                sleep(MS).await;
            }
        });
        assert!(runtime.shutdown(Duration::ZERO).is_clean());
        census.assert_same();
    });
}
