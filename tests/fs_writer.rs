//! Sequential writing and reading: order, errors, drops, random schedules against a model.

#![allow(clippy::disallowed_methods)] // Tests compare with the plain way.

mod fs_support;

use corering::fs::{self, File, FileReader, FileWriter, OpenOptions};
use corering::{Metrics, block_on};
use fs_support::{Mount, Rng, TempDir, named_pipe, skip};
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use std::io::{ErrorKind, SeekFrom};

#[test]
fn less_than_a_chunk_is_one_write() {
    let dir = TempDir::new("one");
    block_on(async {
        let mut writer = FileWriter::new(File::create(dir.join("a")).await.unwrap());
        let before = Metrics::current().operations;
        for _ in 0..1000 {
            writer.write_all(b"0123456789").await.unwrap();
        }
        assert_eq!((writer.accepted(), writer.written()), (10_000, 0));
        writer.flush().await.unwrap();
        assert_eq!(writer.written(), 10_000);
        writer.flush().await.unwrap();
        assert_eq!(Metrics::current().operations - before, 1);
        writer.finish().await.unwrap().close().await.unwrap();
    });
    assert_eq!(std::fs::metadata(dir.join("a")).unwrap().len(), 10_000);
}

#[test]
fn random_writes_against_a_model() {
    let dir = TempDir::new("model");
    let mut rng = Rng::new("random_writes_against_a_model");
    for round in 0..60 {
        let chunk = 300 + rng.size(300_000);
        let start = rng.size(100_000);
        let path = dir.join("a");
        let mut model = vec![0; start];
        block_on(async {
            let file = File::create(&path).await.unwrap();
            let mut writer = FileWriter::with_chunk(file, start as u64, chunk);
            for _ in 0..rng.below(40) {
                let len = 1 + rng.size(200_000);
                let bytes = rng.bytes(len);
                model.extend_from_slice(&bytes);
                match rng.below(8) {
                    0..4 => writer.write_all(&bytes).await.unwrap(),
                    4 | 5 => writer.write_owned(bytes).await.unwrap(),
                    6 => AsyncWriteExt::write_all(&mut writer, &bytes).await.unwrap(),
                    _ => {
                        writer.write_all(&bytes).await.unwrap();
                        writer.flush().await.unwrap();
                        assert_eq!(writer.written(), (model.len() - start) as u64);
                    }
                }
                assert!(writer.written() <= writer.accepted());
            }
            writer.sync_data().await.unwrap();
            writer.finish().await.unwrap();
        });
        let bytes = std::fs::read(&path).unwrap();
        let same = bytes == model || (bytes.is_empty() && model.len() == start);
        assert!(same, "round {round}, chunk {chunk}: {} bytes", bytes.len());
    }
}

#[test]
fn random_reads_against_a_model() {
    let dir = TempDir::new("reads");
    let mut rng = Rng::new("random_reads_against_a_model");
    for round in 0..60 {
        let len = rng.size(3_000_000);
        let model = rng.bytes(len);
        std::fs::write(dir.join("a"), &model).unwrap();
        let chunk = 300 + rng.size(200_000);
        block_on(async {
            let file = File::open(dir.join("a")).await.unwrap();
            let mut reader = FileReader::with_chunk(file, 0, chunk);
            let mut at = 0_usize;
            for step in 0..60 {
                let rest = &model[at.min(model.len())..];
                let wanted = 1 + rng.size(300_000);
                let got = match rng.below(6) {
                    0 => {
                        at = rng.below(model.len() + model.len() / 8 + 1);
                        let to = match rng.below(3) {
                            0 => SeekFrom::Start(at as u64),
                            1 => SeekFrom::Current(at as i64 - reader.position() as i64),
                            _ => SeekFrom::End(at as i64 - model.len() as i64),
                        };
                        assert_eq!(reader.seek(to).unwrap(), at as u64);
                        continue;
                    }
                    1 => {
                        let (n, buf) = reader.read_owned(vec![0; wanted]).await;
                        buf[..n.unwrap()].to_vec()
                    }
                    2 => reader.next_chunk().await.unwrap().unwrap_or_default(),
                    3 => {
                        let n = reader.fill_buf().await.unwrap().len().min(wanted);
                        let bytes = reader.fill_buf().await.unwrap()[..n].to_vec();
                        reader.consume_unpin(n);
                        bytes
                    }
                    4 => {
                        let mut buf = vec![0; wanted];
                        let n = AsyncReadExt::read(&mut reader, &mut buf).await.unwrap();
                        buf.truncate(n);
                        buf
                    }
                    _ => {
                        let mut buf = vec![0; wanted.min(rest.len())];
                        reader.read_exact(&mut buf).await.unwrap();
                        buf
                    }
                };
                assert!(
                    rest.starts_with(&got),
                    "round {round}, step {step}, at {at}"
                );
                assert!(
                    !got.is_empty() || rest.is_empty() || wanted == 0,
                    "an early end"
                );
                at += got.len();
                assert_eq!(reader.position(), at as u64);
            }
            let mut all = Vec::new();
            reader.seek(SeekFrom::Start(0)).unwrap();
            reader.read_to_end(&mut all).await.unwrap();
            assert!(all == model);
        });
    }
}

#[test]
fn reading_ahead_adapts() {
    let dir = TempDir::new("ahead");
    std::fs::write(dir.join("a"), vec![1; 16 << 20]).unwrap();
    block_on(async {
        let mut reader = FileReader::new(File::open(dir.join("a")).await.unwrap());
        let before = Metrics::current().operations;
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 16 << 20);
        assert_eq!(
            Metrics::current().operations - before,
            128,
            "each byte is read once"
        );
    });
}

#[test]
fn a_dropped_writer_loses_only_its_buffer() {
    const CHUNK: usize = 256 * 1024;
    let dir = TempDir::new("dropped");
    block_on(async {
        let file = File::create(dir.join("a")).await.unwrap();
        let mut writer = FileWriter::with_chunk(file, 0, CHUNK);
        writer.write_all(&vec![1; 3 * CHUNK + 1000]).await.unwrap();
        drop(writer);
    });
    let bytes = std::fs::read(dir.join("a")).unwrap();
    assert!(bytes.len() == 3 * CHUNK && bytes.iter().all(|&byte| byte == 1));
}

#[test]
fn appends_and_pipes_stay_in_order() {
    let dir = TempDir::new("append");
    let mut rng = Rng::new("appends_and_pipes_stay_in_order");
    let bytes = rng.bytes(2_000_000);
    std::fs::write(dir.join("a"), "head").unwrap();
    block_on(async {
        let file = OpenOptions::new()
            .append(true)
            .open(dir.join("a"))
            .await
            .unwrap();
        let mut writer = FileWriter::with_chunk(file, 0, 10_000);
        for part in bytes.chunks(7_777) {
            writer.write_all(part).await.unwrap();
        }
        writer.finish().await.unwrap();
    });
    let found = std::fs::read(dir.join("a")).unwrap();
    assert!(found.starts_with(b"head") && found[4..] == bytes);

    let pipe = dir.join("pipe");
    if !named_pipe(&pipe, "appends_and_pipes_stay_in_order") {
        return;
    }
    block_on(async {
        let path = pipe.clone();
        let reading = corering::spawn(async move {
            let mut reader = FileReader::new(File::open(path).await.unwrap());
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.unwrap();
            all
        });
        let file = OpenOptions::new().write(true).open(&pipe).await.unwrap();
        let mut writer = FileWriter::with_chunk(file, 0, 100_000);
        writer.write_all(&bytes).await.unwrap();
        writer.finish().await.unwrap().close().await.unwrap();
        assert!(reading.await.unwrap() == bytes);
    });
}

/// H01.
#[test]
fn a_full_disk_stops_the_writer_for_good() {
    let mount = match Mount::tmpfs(1024) {
        Ok(mount) => mount,
        Err(why) => return skip("a_full_disk_stops_the_writer_for_good", &why),
    };
    let path = mount.0.join("a");
    block_on(async {
        let mut writer = FileWriter::with_chunk(File::create(&path).await.unwrap(), 0, 300_000);
        let error = loop {
            if let Err(error) = writer.write_all(&[5; 10_000]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        let calls = [
            writer.write(b"x").await.map(drop),
            writer.write_owned(vec![0; 100_000]).await,
            writer.flush().await,
            writer.sync_all().await,
        ];
        for result in calls {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
        }
        let written = writer.written();
        assert!((900_000..=1024 * 1024).contains(&written), "{written}");
        let bytes = fs::read(&path).await.unwrap();
        assert!(bytes[..written as usize].iter().all(|&byte| byte == 5));
        assert_eq!(
            writer.finish().await.unwrap_err().kind(),
            ErrorKind::StorageFull
        );
    });
}

#[test]
fn a_file_that_cannot_be_written_says_so_later() {
    let dir = TempDir::new("readonly");
    std::fs::write(dir.join("a"), "x").unwrap();
    block_on(async {
        let mut writer = FileWriter::new(File::open(dir.join("a")).await.unwrap());
        writer.write_all(b"accepted").await.unwrap();
        let error = writer.flush().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(writer.written(), 0);
    });
}
