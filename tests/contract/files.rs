//! D and H: descriptors, and files.

use crate::world::{MS, World, comes_to_rest};
use corering::fs::{self, File, OpenOptions};
use corering::{Metrics, spawn};
use futures::FutureExt;
use std::ffi::OsStr;
use std::io::{ErrorKind, SeekFrom};
use std::os::unix::ffi::OsStrExt;

both!(
    d01_queued_then_closed_no_victim,
    h05_short_and_growing,
    h08_disjoint_writes,
    h11_path_errors,
    h11_nul,
);

/// A read is begun and dropped with its file; another file gets the number before the kernel has
/// seen the read: nobody reads or closes that one.
async fn d01_queued_then_closed_no_victim(world: World) {
    let (own, other) = (world.dir.join("own"), world.dir.join("victim"));
    fs::write(&own, vec![b'o'; 4096]).await.expect("written");
    fs::write(&other, vec![b'v'; 4096]).await.expect("written");
    for round in 0..world.rounds(500, 30) {
        let file = File::open(&own).await.expect("opened");
        let mut read = Box::pin(file.read_at(vec![0; 4096], 0));
        assert!(read.as_mut().now_or_never().is_none());
        let kept = (round % 2 == 0).then(|| file.try_clone().expect("cloned"));
        drop(read);
        drop(file);
        let victim = File::open(&other).await.expect("opened");
        let (result, bytes) = victim.read_at(vec![0; 4096], 0).await;
        assert_eq!(result.expect("it is open"), bytes.len());
        assert!(bytes.iter().all(|&byte| byte == b'v'), "its own bytes");
        if let Some(kept) = kept {
            let (result, bytes) = kept.read_at(vec![0; 10], 0).await;
            assert!(result.expect("still open") > 0 && bytes[0] == b'o');
        }
    }
    comes_to_rest().await;
}

/// A file that grows, shrinks and has holes while it is read.
async fn h05_short_and_growing(world: World) {
    let path = world.dir.join("a");
    let plain = File::create(&path).await.expect("created");
    plain.write_all_at("first", 0).await.0.expect("written");
    let mut reader = fs::FileReader::new(File::open(&path).await.expect("opened"));
    let mut text = Vec::new();
    reader.read_to_end(&mut text).await.expect("read");
    plain.write_all_at(" second", 5).await.0.expect("written");
    reader.read_to_end(&mut text).await.expect("read");
    assert_eq!(text, b"first second");
    // Truncated while it is read ahead: the end is where the file ends now.
    plain.set_len(3 << 20).await.expect("longer");
    let mut reader = fs::FileReader::new(File::open(&path).await.expect("opened"));
    for _ in 0..4 {
        assert!(reader.next_chunk().await.expect("read").is_some());
    }
    plain.set_len(100).await.expect("shorter");
    while reader.next_chunk().await.expect("read").is_some() {}
    assert!(reader.position() <= 3 << 20);
    assert_eq!(reader.seek(SeekFrom::End(-50)).expect("sought"), 50);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.expect("read");
    assert_eq!(rest.len(), 50);
    // A hole reads as zeros.
    plain.set_len(1 << 20).await.expect("longer");
    let bytes = fs::read(&path).await.expect("read");
    assert_eq!(bytes.len(), 1 << 20);
    assert!(bytes[100..].iter().all(|&byte| byte == 0));
}

async fn h08_disjoint_writes(world: World) {
    let range = world.rounds(30_000, 3_000) as usize;
    let path = world.dir.join("a");
    let file = File::create_new(&path).await.expect("created");
    let mut tasks = Vec::new();
    for i in 0..64_u8 {
        let file = file.try_clone().expect("cloned");
        tasks.push(spawn(async move {
            let at = usize::from(i) * range;
            file.write_all_at(vec![i; range], at as u64).await.0
        }));
    }
    for task in tasks {
        task.await.expect("no panic").expect("written");
    }
    let bytes = fs::read(&path).await.expect("read");
    assert_eq!(bytes.len(), 64 * range);
    for (i, range) in bytes.chunks(range).enumerate() {
        assert!(range.iter().all(|&byte| usize::from(byte) == i));
    }
    // In append mode the order is that of the submissions.
    let path = world.dir.join("b");
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(&path).await;
    let file = file.expect("created");
    let mut tasks = Vec::new();
    for i in 0..64_u8 {
        let file = file.try_clone().expect("cloned");
        tasks.push(spawn(async move { file.write_at(vec![i], 0).await.0 }));
    }
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("written"), 1);
    }
    let bytes = fs::read(&path).await.expect("read");
    assert!(bytes.len() == 64 && bytes.is_sorted(), "{bytes:?}");
}

async fn h11_path_errors(world: World) {
    let dir = &world.dir;
    let file = dir.join("file");
    fs::write(&file, "x").await.expect("written");
    fs::symlink("loop", dir.join("loop")).await.expect("made");
    let below = dir.join("dir");
    fs::create_dir(&below).await.expect("made");
    fs::write(below.join("x"), "x").await.expect("written");
    let long = dir.join("x".repeat(300));
    let cases = [
        (File::open(dir.join("missing")).await, libc::ENOENT),
        (File::create_new(&file).await, libc::EEXIST),
        (File::open(file.join("below")).await, libc::ENOTDIR),
        (File::open(dir.join("loop")).await, libc::ELOOP),
        (File::open(&long).await, libc::ENAMETOOLONG),
        (File::create(&below).await, libc::EISDIR),
    ];
    for (result, errno) in cases {
        let error = result.expect_err("a bad path");
        assert_eq!(error.raw_os_error(), Some(errno), "{error}");
    }
    let kinds = [
        (fs::read(&below).await.err(), ErrorKind::IsADirectory),
        (fs::remove_file(&below).await.err(), ErrorKind::IsADirectory),
        (
            fs::remove_dir(&below).await.err(),
            ErrorKind::DirectoryNotEmpty,
        ),
        (fs::remove_dir(&file).await.err(), ErrorKind::NotADirectory),
        (fs::read_dir(&file).await.err(), ErrorKind::NotADirectory),
        (fs::read_link(&file).await.err(), ErrorKind::InvalidInput),
        (fs::create_dir(&below).await.err(), ErrorKind::AlreadyExists),
        (
            fs::hard_link(&below, dir.join("l")).await.err(),
            ErrorKind::PermissionDenied,
        ),
        (
            fs::rename(&file, &below).await.err(),
            ErrorKind::IsADirectory,
        ),
        (
            fs::rename(&below, &file).await.err(),
            ErrorKind::NotADirectory,
        ),
        (
            OpenOptions::new().open(&file).await.err(),
            ErrorKind::InvalidInput,
        ),
    ];
    for (i, (error, kind)) in kinds.into_iter().enumerate() {
        let error = error.expect("a bad path");
        assert_eq!(error.kind(), kind, "{i}: {error}");
    }
    // A name that is no text is a name.
    let odd = dir.join(OsStr::from_bytes(b"\xff\xfe"));
    fs::write(&odd, "odd").await.expect("written");
    assert_eq!(fs::read(&odd).await.expect("read"), b"odd");
}

/// A name with a NUL asks nothing of the kernel.
async fn h11_nul(world: World) {
    let bad = world.dir.join("a\0b");
    let good = world.dir.join("a");
    // What the core's begin still does is over.
    corering::time::sleep(10 * MS).await;
    let before = Metrics::current().operations;
    let errors = [
        File::open(&bad).await.err(),
        fs::read(&bad).await.err(),
        fs::write(&bad, "x").await.err(),
        fs::write_atomic(&bad, "x").await.err(),
        fs::metadata(&bad).await.err(),
        fs::rename(&good, &bad).await.err(),
        fs::remove_file(&bad).await.err(),
        fs::remove_dir_all(&bad).await.err(),
        fs::create_dir_all(&bad).await.err(),
        fs::symlink("x", &bad).await.err(),
        fs::hard_link(&bad, "x").await.err(),
        fs::read_dir(&bad).await.err(),
        fs::read_link(&bad).await.err(),
        fs::canonicalize(&bad).await.err(),
    ];
    for error in errors {
        assert_eq!(error.expect("no such path").kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(Metrics::current().operations, before);
}
