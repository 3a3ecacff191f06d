//! Names by the ring: errors, links, directories.

#![allow(clippy::disallowed_methods)] // Tests compare with the plain way.

mod fs_support;

use corering::fs::{self, DirBuilder, File, OpenOptions};
use corering::{Metrics, block_on};
use fs_support::{TempDir, descriptors};
use futures::StreamExt;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// H11.
#[test]
fn errors_are_the_kernels() {
    let dir = TempDir::new("errors");
    block_on(async {
        let file = dir.join("file");
        fs::write(&file, "x").await.unwrap();
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        let long = dir.join(&"x".repeat(300));
        let cases = [
            (File::open(dir.join("missing")).await, libc::ENOENT),
            (File::create_new(&file).await, libc::EEXIST),
            (File::open(file.join("below")).await, libc::ENOTDIR),
            (File::open(dir.join("loop")).await, libc::ELOOP),
            (File::open(&long).await, libc::ENAMETOOLONG),
            (File::create(dir.path()).await, libc::EISDIR),
        ];
        for (result, errno) in cases {
            let error = result.expect_err("a bad path");
            assert_eq!(error.raw_os_error(), Some(errno), "{error}");
        }
        let error = fs::read(dir.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let error = fs::remove_file(dir.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let error = fs::remove_dir(dir.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
        let error = fs::read_dir(&file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        let error = fs::read_link(&file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = OpenOptions::new().open(&file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        // A name that is no text is a name.
        let odd = dir.path().join(OsStr::from_bytes(b"\xff\xfe"));
        fs::write(&odd, "odd").await.unwrap();
        assert_eq!(fs::read(&odd).await.unwrap(), b"odd");
    });
}

#[test]
fn a_nul_asks_nothing_of_the_kernel() {
    block_on(async {
        let bad = Path::new("/tmp/a\0b");
        let before = Metrics::current().operations;
        let errors = [
            File::open(bad).await.err(),
            fs::read(bad).await.err(),
            fs::write(bad, "x").await.err(),
            fs::write_atomic(bad, "x").await.err(),
            fs::metadata(bad).await.err(),
            fs::rename("/tmp/a", bad).await.err(),
            fs::remove_file(bad).await.err(),
            fs::remove_dir_all(bad).await.err(),
            fs::create_dir_all(bad).await.err(),
            fs::symlink("x", bad).await.err(),
            fs::hard_link(bad, "x").await.err(),
            fs::read_dir(bad).await.err(),
            fs::read_link(bad).await.err(),
            fs::canonicalize(bad).await.err(),
        ];
        for error in errors {
            assert_eq!(error.expect("no such path").kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(Metrics::current().operations, before);
    });
}

#[test]
fn links_and_renames() {
    let dir = TempDir::new("links");
    block_on(async {
        let (a, b, link) = (dir.join("a"), dir.join("b"), dir.join("link"));
        fs::write(&a, "text").await.unwrap();
        fs::hard_link(&a, &b).await.unwrap();
        assert_eq!(fs::metadata(&b).await.unwrap().nlink(), 2);
        fs::symlink("a", &link).await.unwrap();
        assert_eq!(fs::read_link(&link).await.unwrap(), Path::new("a"));
        assert!(fs::symlink_metadata(&link).await.unwrap().is_symlink());
        assert!(fs::metadata(&link).await.unwrap().is_file());
        let path = fs::canonicalize(dir.path().join("../").join(dir.path()).join("./link")).await;
        assert_eq!(path.unwrap(), a.canonicalize().unwrap());
        fs::rename(&a, &b).await.unwrap();
        assert!(
            fs::try_exists(&a).await.unwrap(),
            "two names of one file stay"
        );
        fs::remove_file(&a).await.unwrap();
        assert!(!fs::try_exists(&link).await.unwrap(), "a link to nothing");
        assert!(fs::canonicalize(&link).await.is_err());
        fs::rename(&b, &a).await.unwrap();
        assert_eq!(dir.names(), ["a", "link"]);
    });
}

#[test]
fn directories_are_made_and_listed() {
    let dir = TempDir::new("list");
    block_on(async {
        fs::create_dir_all(dir.join("x/y/z")).await.unwrap();
        fs::create_dir_all(dir.join("x/y/z")).await.unwrap();
        assert!(fs::create_dir(dir.join("x")).await.is_err());
        DirBuilder::new()
            .mode(0o700)
            .create(dir.join("private"))
            .await
            .unwrap();
        assert_eq!(
            std::fs::metadata(dir.join("private")).unwrap().mode() & 0o777,
            0o700
        );
        fs::write(dir.join("x/file"), "1234").await.unwrap();
        let error = fs::create_dir_all(dir.join("x/file/below"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert!(fs::create_dir_all(dir.join("x/file")).await.is_err());
        fs::symlink("file", dir.join("x/link")).await.unwrap();

        let mut seen = BTreeSet::new();
        let mut entries = fs::read_dir(dir.join("x")).await.unwrap();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            let kind = entry.file_type().await.unwrap();
            let metadata = entry.metadata().await.unwrap();
            assert_eq!((kind, entry.ino()), (metadata.file_type(), metadata.ino()));
            seen.insert((entry.path(), kind.is_dir(), kind.is_symlink()));
        }
        assert!(
            entries.next_entry().await.unwrap().is_none(),
            "the end stays"
        );
        let expected = [
            (dir.join("x/file"), false, false),
            (dir.join("x/link"), false, true),
            (dir.join("x/y"), true, false),
        ];
        assert_eq!(seen, BTreeSet::from(expected));
    });
}

#[test]
fn long_listings_come_whole() {
    let dir = TempDir::new("long");
    let names: BTreeSet<_> = (0..3000)
        .map(|i| format!("a-file-with-number-{i}"))
        .collect();
    for name in &names {
        std::fs::write(dir.join(name), "").unwrap();
    }
    block_on(async {
        let entries = fs::read_dir(dir.path()).await.unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let found: Vec<_> = entries.map(name).collect().await;
        assert_eq!(found.len(), names.len());
        assert_eq!(BTreeSet::from_iter(found), names);
    });
}

#[test]
fn trees_are_removed_but_links_are_not_followed() {
    let (dir, outside) = (TempDir::new("tree"), TempDir::new("outside"));
    std::fs::write(outside.join("precious"), "x").unwrap();
    block_on(async {
        let before = descriptors(&dir);
        let root = dir.join("root");
        let mut deep = root.clone();
        for level in 0..60 {
            deep.push(format!("level-{level}"));
        }
        fs::create_dir_all(&deep).await.unwrap();
        for i in 0..1000 {
            std::fs::write(root.join(format!("file-{i}")), "x").unwrap();
        }
        fs::symlink(outside.path(), root.join("to-directory"))
            .await
            .unwrap();
        fs::symlink(outside.path(), deep.join("to-directory"))
            .await
            .unwrap();
        fs::remove_dir_all(&root).await.unwrap();
        // A link itself is removed, a file is refused.
        fs::symlink(outside.path(), dir.join("link")).await.unwrap();
        fs::remove_dir_all(dir.join("link")).await.unwrap();
        let error = fs::remove_dir_all(outside.join("precious"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert!(
            fs::remove_dir_all(&root).await.is_err(),
            "there is nothing any more"
        );
        corering::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(descriptors(&dir), before);
    });
    assert!(dir.names().is_empty());
    assert_eq!(outside.names(), ["precious"]);
}
