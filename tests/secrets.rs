//! Nobody sees bytes that are not theirs: not in a recycled buffer, and not in a log.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::buf::{AlignedBuf, IoBuf};
use corering::net::{RecvBuf, TcpStream};
use corering::sync::{channel, oneshot};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, fs};
use harness::net::{half, pair, small_pair};
use harness::{Case, panic_of};
use std::fmt::Debug;
use std::io::Write;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECRET: &[u8] = b"SECRET";

fn secret() -> Vec<u8> {
    SECRET.iter().copied().cycle().take(4096).collect()
}

fn runtime() -> Runtime {
    // Two buffers of 4 KiB: what the next connection gets is what the last one has left.
    let builder = Runtime::builder().recv_buffers(2, 4096);
    builder.build().expect("io_uring works here")
}

/// Sends the secret over a connection of its own, and ends that.
async fn leave_a_secret() {
    let (mut ours, mut theirs) = half().await;
    theirs.write_all(&secret()).expect("sent");
    let mut left = 4096;
    while left > 0 {
        let chunk = ours.recv().await.expect("received").expect("bytes");
        assert!(chunk.windows(6).any(|six| six == SECRET) || chunk.len() < 11);
        left -= chunk.len();
    }
}

/// A connection that sent one byte.
async fn one_byte(byte: u8) -> (TcpStream, std::net::TcpStream) {
    let (ours, mut theirs) = half().await;
    theirs.write_all(&[byte]).expect("sent");
    sleep(MS).await;
    (ours, theirs)
}

/// Whatever safe code can do with a chunk of one byte, it gets at that byte only.
fn only_this_byte(mut chunk: RecvBuf, byte: u8) {
    assert_eq!(chunk[..], [byte]);
    assert_eq!(chunk.as_ref(), [byte]);
    assert_eq!(IoBuf::as_init(&chunk), [byte]);
    hides(&chunk);
    chunk.truncate(4096);
    assert_eq!(chunk.len(), 1, "it does not grow");
    assert!(panic_of(|| chunk.split_to(2)).is_some());
    assert!(panic_of(|| chunk.advance(2)).is_some());
    assert!(panic_of(|| chunk[1]).is_some());
    let empty = chunk.split_to(0);
    assert!(empty.is_empty() && empty.is_followed_by(&chunk));
    let mut whole = empty;
    whole.unsplit(chunk).expect("it follows");
    assert_eq!(whole[..], [byte]);
    assert_eq!(whole.to_vec(), [byte]);
    whole.advance(1);
    assert!(whole.is_empty());
}

#[cfg(feature = "bytes")]
fn only_this_byte_as_bytes(chunk: RecvBuf, byte: u8) {
    let bytes = chunk.into_bytes();
    assert_eq!(bytes[..], [byte]);
    assert!(panic_of(|| bytes::Bytes::slice(&bytes, ..2)).is_some());
    let vec = Vec::from(bytes.clone());
    assert_eq!(vec, [byte]);
    let mut mutable = bytes::BytesMut::from(bytes);
    mutable.resize(4096, 0);
    assert_eq!(mutable[0], byte);
    assert!(
        mutable[1..].iter().all(|&byte| byte == 0),
        "it grows by zeros"
    );
}

#[cfg(not(feature = "bytes"))]
fn only_this_byte_as_bytes(chunk: RecvBuf, byte: u8) {
    only_this_byte(chunk, byte);
}

#[test]
fn k01_recycled_bytes_everywhere() {
    const MASKS: [&str; 3] = ["", "incremental", "buffer_ring"];
    Case::run_masked("k01_recycled_bytes_everywhere", &MASKS, || {
        runtime().block_on(async {
            for round in 0..12u8 {
                leave_a_secret().await;
                let (mut ours, _theirs) = one_byte(round).await;
                hides(&ours);
                match round % 6 {
                    0 => {
                        let chunk = ours.recv().await.expect("received").expect("a byte");
                        only_this_byte(chunk, round);
                    }
                    1 => {
                        let chunk = ours.recv().await.expect("received").expect("a byte");
                        only_this_byte_as_bytes(chunk, round);
                    }
                    2 => {
                        let mut room = [0xee; 4096];
                        assert_eq!(ours.read(&mut room).await.expect("read"), 1);
                        assert_eq!(room[0], round);
                        assert!(room[1..].iter().all(|&byte| byte == 0xee), "left as it was");
                    }
                    3 => {
                        let (result, buf) = ours.read_owned(vec![0xee; 4096]).await;
                        let n = result.expect("read");
                        assert_eq!((n, &buf[..n]), (1, &[round][..]));
                        assert!(buf[n..].iter().all(|&byte| byte == 0xee), "left as it was");
                    }
                    4 => {
                        let (result, buf) = ours.read_owned(Vec::with_capacity(4096)).await;
                        assert_eq!((result.expect("read"), &buf[..]), (1, &[round][..]));
                    }
                    _ => {
                        let mut room = [0xee; 4096];
                        assert_eq!(ours.peek(&mut room).await.expect("peeked"), 1);
                        assert!(room[1..].iter().all(|&byte| byte == 0xee), "left as it was");
                        assert_eq!(ours.fill_buf().await.expect("lent"), [round]);
                        ours.consume(1);
                        assert!(
                            timeout(MS, ours.fill_buf()).await.is_err(),
                            "there is no more"
                        );
                    }
                }
            }
        });
    });
}

/// Neither the text nor its numbers are shown.
#[track_caller]
fn hides(value: &impl Debug) {
    let list = format!("{SECRET:?}");
    let numbers = list.trim_matches(['[', ']']);
    let (flat, deep) = (format!("{value:?}"), format!("{value:#?}"));
    let one_line = deep.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [&flat, &one_line] {
        assert!(!text.contains("SECRET"), "{text}");
        assert!(!text.contains(numbers), "{text}");
    }
    assert!(!flat.is_empty());
}

#[test]
fn k07_streams_show_lengths() {
    Case::run_masked("k07_streams_show_lengths", &["", "buffer_ring"], || {
        runtime().block_on(async {
            // Received and not read, and accepted for sending while the peer takes nothing.
            let (mut ours, mut theirs) = small_pair().await;
            theirs.write_all(&secret()).await.expect("written");
            theirs.flush().await.expect("sent");
            assert_eq!(ours.peek(&mut [0; 4]).await.expect("peeked"), 4);
            let large = secret().repeat(100);
            assert!(timeout(5 * MS, ours.write_all(&large)).await.is_err());
            hides(&ours);
            let (read, write) = ours.split();
            hides(&read);
            hides(&write);
            let (mut read, write) = ours.into_split();
            hides(&read);
            hides(&write);
            let chunk = read.recv().await.expect("received").expect("bytes");
            hides(&chunk);
            hides(&Some(vec![chunk]));
            let unmatched = pair().await.0.into_split().1;
            hides(&read.reunite(unmatched).expect_err("of different streams"));
            drop(write);

            let (mut ours, mut theirs) = pair().await;
            let (result, lent) = ours.send_zc(secret()).await;
            hides(&result);
            hides(&lent);
            let reading = theirs.read_owned(secret());
            hides(&reading);
            drop(reading);
            theirs.read_exact(&mut [0; 4096]).await.expect("read");
            let dropped = timeout(Duration::ZERO, ours.send(secret().repeat(10_000))).await;
            hides(&dropped.map(|(result, _)| result));
            hides(&ours.write(b"x").await);
            theirs.write_all(&secret()).await.expect("written");
            theirs.flush().await.expect("sent");
            assert_eq!(ours.peek(&mut [0; 4]).await.expect("peeked"), 4);
            hides(&ours.into_std().await.expect_err("bytes would be lost"));
        });
    });
}

#[test]
fn k07_files_and_buffers_show_lengths() {
    Case::new("k07_files_and_buffers_show_lengths").run(|| {
        let dir = std::env::temp_dir().join(format!("corering-k07-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let path = dir.join("a");
        runtime().block_on(async {
            let file = fs::File::create(&path).await.expect("made");
            let mut writer = fs::FileWriter::new(file);
            writer.write_all(&secret()).await.expect("taken");
            hides(&writer);
            let file = writer.finish().await.expect("written");
            hides(&file);
            let mut reader = fs::FileReader::new(fs::File::open(&path).await.expect("opened"));
            reader.read(&mut [0; 10]).await.expect("read");
            hides(&reader);
            hides(&fs::metadata(&path).await.expect("known"));
        });
        std::fs::remove_dir_all(&dir).expect("removed");
        hides(&AlignedBuf::from_slice(&secret()));
        hides(&secret().slice(3..4000));
        hides(&RecvBuf::from(secret()));
        hides(&Metrics::default());
    });
}

#[test]
fn k07_channels_show_no_values() {
    Case::new("k07_channels_show_no_values").run(|| {
        let (sender, receiver) = channel(1);
        sender.try_send(secret()).expect("there is room");
        let refused = sender.try_send(secret()).expect_err("it is full");
        hides(&refused);
        hides(&sender);
        hides(&receiver);
        drop(receiver);
        hides(&sender.try_send(secret()).expect_err("it is closed"));
        let (tx, rx) = oneshot();
        tx.send(secret()).expect("it is there");
        hides(&rx);
        corering::block_on(async {
            let task = corering::spawn(async { secret() });
            corering::yield_now().await;
            hides(&task);
            let remote = corering::spawn_on(0, || async { secret() });
            sleep(MS).await;
            hides(&remote);
            let panic = corering::spawn(async { panic!("a text of the program's own") });
            let error: Result<(), _> = panic.await;
            hides(&error.expect_err("it panicked"));
        });
    });
}

#[cfg(feature = "http")]
#[test]
fn k07_http_shows_lengths() {
    use corering::http::FileBody;
    Case::new("k07_http_shows_lengths").run(|| {
        let text = String::from_utf8(secret()).expect("letters");
        hides(&FileBody::from(text));
        hides(&FileBody::empty());
    });
}
