//! The stream traits under random schedules, against the simplest model: bytes in order, once.
//!
//! One driver makes random calls (reads, looks, writes of one or many pieces, flushes, calls that
//! are polled once and dropped, calls under a time limit). Two plain threads stand at the other
//! end: one sends a known sequence, one checks that exactly what was accepted arrives. The driver
//! speaks the traits of `futures`; those of `tokio` and `hyper` are adapted to them here.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside, through plain system calls"
)]

mod harness;

use corering::net::{TcpStream, UnixStream};
use corering::time::{sleep, timeout};
use corering::{Metrics, Runtime, spawn};
use futures::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
};
use futures::{FutureExt, StreamExt};
use harness::net::{half, pair, small_pair};
use harness::{Case, Rng, check_coded, coded_bytes};
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

const LEN_IN: u64 = 400_000;
const LEN_OUT: u64 = 400_000;
const TO_US: u64 = 1;
const FROM_US: u64 = 2;

/// Two directions as one.
struct Both<R, W>(R, W);

impl<R: AsyncRead + Unpin, W: Unpin> AsyncRead for Both<R, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<R: Unpin, W: AsyncWrite + Unpin> AsyncWrite for Both<R, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.1).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.1).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.1).poll_close(cx)
    }
}

/// The other end: a thread that sends, a thread that receives; how many bytes it got.
fn peer(stream: OwnedFd, mut rng: Rng) -> std::thread::JoinHandle<u64> {
    let mut sending = File::from(stream.try_clone().expect("cloned"));
    let mut receiving = File::from(stream);
    let mut send_rng = Rng::from_seed(rng.next());
    std::thread::spawn(move || {
        let mut at = 0;
        while at < LEN_IN {
            let len = (1 + send_rng.below(25_000)).min(LEN_IN - at);
            let bytes = coded_bytes(TO_US, at, len as usize);
            sending.write_all(&bytes).expect("sent");
            at += len;
            if send_rng.once_in(3) {
                std::thread::sleep(Duration::from_micros(send_rng.below(400)));
            }
        }
        // SAFETY: touches no memory.
        let shut = unsafe { libc::shutdown(sending.as_raw_fd(), libc::SHUT_WR) };
        assert_eq!(shut, 0, "shut down");
    });
    std::thread::spawn(move || {
        let mut at = 0;
        let mut room = vec![0; 20_000];
        loop {
            let most = 1 + rng.below(20_000) as usize;
            let n = receiving.read(&mut room[..most]).expect("no reset");
            if n == 0 {
                return at;
            }
            check_coded(FROM_US, at, &room[..n]);
            at += n as u64;
            if rng.once_in(8) {
                std::thread::sleep(Duration::from_micros(rng.below(300)));
            }
        }
    })
}

/// One call: to its end, for a short time, or for a single poll with a waker that does nothing.
async fn call<F: Future>(rng: &mut Rng, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match rng.below(4) {
        0 => future.now_or_never(),
        1 => {
            if let Some(output) = future.as_mut().now_or_never() {
                return Some(output);
            }
            timeout(Duration::from_micros(rng.below(200)), future)
                .await
                .ok()
        }
        2 => timeout(Duration::from_micros(rng.below(300)), future)
            .await
            .ok(),
        _ => timeout(Duration::from_millis(2), future).await.ok(),
    }
}

/// What the model knows.
#[derive(Default)]
struct Model {
    read: u64,
    written: u64,
    ended: bool,
    closed: bool,
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, rng: &mut Rng) -> Model {
    let mut model = Model::default();
    let mut room = vec![0; 30_000];
    while !(model.ended && model.closed) {
        match rng.below(12) {
            0..5 => {
                let most = [0, 1, 17, 1_000, 30_000][rng.below(5) as usize];
                let Some(result) = call(rng, stream.read(&mut room[..most])).await else {
                    assert!(most > 0, "a read of nothing waits for nothing");
                    continue;
                };
                let n = result.expect("read");
                assert!(n <= most);
                assert!(!model.ended || n == 0, "the end stays the end");
                check_coded(TO_US, model.read, &room[..n]);
                model.read += n as u64;
                model.ended |= n == 0 && most > 0;
            }
            5 => {
                let (front, back) = room[..3_000].split_at_mut(rng.below(3_000) as usize);
                let mut slices = [
                    std::io::IoSliceMut::new(front),
                    std::io::IoSliceMut::new(back),
                ];
                if let Some(result) = call(rng, stream.read_vectored(&mut slices)).await {
                    let n = result.expect("read");
                    // The default reads into the first piece that has room.
                    check_coded(TO_US, model.read, &room[..n]);
                    model.read += n as u64;
                    model.ended |= n == 0;
                }
            }
            6..9 if !model.closed => {
                let left = LEN_OUT - model.written;
                let len = [0, 1, 100, 5_000, 100_000][rng.below(5) as usize].min(left);
                let bytes = coded_bytes(FROM_US, model.written, len as usize);
                if let Some(result) = call(rng, stream.write(&bytes)).await {
                    let n = result.expect("written");
                    assert!(n <= bytes.len() && (n > 0 || bytes.is_empty()));
                    model.written += n as u64;
                }
            }
            9 if !model.closed => {
                let left = LEN_OUT - model.written;
                let mut at = model.written;
                let pieces: Vec<Vec<u8>> = (0..rng.below(40))
                    .map(|_| {
                        let len = rng.below(300).min(LEN_OUT - at);
                        let piece = coded_bytes(FROM_US, at, len as usize);
                        at += len;
                        piece
                    })
                    .collect();
                let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                if let Some(result) = call(rng, stream.write_vectored(&slices)).await {
                    let n = result.expect("written") as u64;
                    assert!(n <= at - model.written && n <= left);
                    model.written += n;
                }
            }
            10 => {
                if let Some(result) = call(rng, stream.flush()).await {
                    result.expect("flushed");
                }
            }
            11 if model.written == LEN_OUT => {
                if let Some(result) = call(rng, stream.close()).await {
                    result.expect("closed; also twice");
                    model.closed = true;
                    let error = stream.write(b"x").await.expect_err("closed");
                    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                }
            }
            _ => corering::yield_now().await,
        }
    }
    model
}

/// A TCP stream to be tested, from a seed.
fn conformance<S, M>(name: &'static str, make: M)
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: Fn(TcpStream) -> S,
{
    let connect = async |rng: &mut Rng| match rng.once_in(2) {
        true => {
            let (ours, theirs) = half().await;
            (ours, OwnedFd::from(theirs))
        }
        false => {
            let (ours, theirs) = small_pair().await;
            (ours, theirs.into_std().await.expect("idle").into())
        }
    };
    conformance_over(name, connect, make);
}

/// A Unix stream to be tested.
async fn unix_half(rng: &mut Rng) -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().expect("made");
    if rng.once_in(2) {
        ours.set_send_buffer_size(4096).expect("set");
        theirs.set_send_buffer_size(4096).expect("set");
    }
    (ours, theirs.into_std().await.expect("idle").into())
}

/// Both ends of a stream to be tested; the other one is watched by the peer's threads.
fn conformance_over<R, S>(
    name: &'static str,
    connect: impl AsyncFn(&mut Rng) -> (R, OwnedFd),
    make: impl Fn(R) -> S,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    Case::new(name).quarantine().seconds(60).run(|| {
        let mut rng = Rng::new();
        for (count, len) in [(64, 4096), (4, 1024)] {
            let builder = Runtime::builder().recv_buffers(count, len);
            let mut runtime = builder.build().expect("io_uring works here");
            runtime.block_on(async {
                let (ours, theirs) = connect(&mut rng).await;
                let peer = peer(theirs, Rng::from_seed(rng.next()));
                let mut stream = make(ours);
                let limit = Duration::from_secs(25);
                let driven = timeout(limit, drive(&mut stream, &mut rng)).await;
                let model = driven.expect("it gets on");
                assert_eq!((model.read, model.written), (LEN_IN, LEN_OUT));
                while !peer.is_finished() {
                    sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(peer.join().expect("the peer is content"), LEN_OUT);
                drop(stream);
                sleep(Duration::from_millis(10)).await;
                let metrics = Metrics::current();
                assert_eq!(metrics.stale_completions, 0);
                assert_eq!(metrics.buffers_available, metrics.buffers);
            });
        }
    });
}

#[test]
fn futures_on_the_stream() {
    conformance("futures_on_the_stream", |stream| stream);
}

#[test]
fn futures_on_a_unix_stream() {
    conformance_over("futures_on_a_unix_stream", unix_half, |stream| stream);
}

#[test]
fn futures_on_owned_halves_of_a_unix_stream() {
    let name = "futures_on_owned_halves_of_a_unix_stream";
    conformance_over(name, unix_half, |stream| {
        let (read, write) = stream.into_split();
        Both(read, write)
    });
}

#[test]
fn futures_on_borrowed_halves() {
    conformance("futures_on_borrowed_halves", |stream| {
        // Leaked: the halves borrow it for as long as the process lives.
        let stream: &'static mut TcpStream = Box::leak(Box::new(stream));
        let (read, write) = stream.split();
        Both(read, write)
    });
}

#[test]
fn futures_on_owned_halves() {
    conformance("futures_on_owned_halves", |stream| {
        let (read, write) = stream.into_split();
        Both(read, write)
    });
}

/// The traits of `tokio` as those of `futures`.
#[cfg(feature = "tokio-io")]
struct Tokio<S>(S);

#[cfg(feature = "tokio-io")]
impl<S: tokio::io::AsyncRead + Unpin> AsyncRead for Tokio<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut room = tokio::io::ReadBuf::new(buf);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }
}

#[cfg(feature = "tokio-io")]
impl<S: tokio::io::AsyncWrite + Unpin> AsyncWrite for Tokio<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        assert!(self.0.is_write_vectored());
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(feature = "tokio-io")]
#[test]
fn tokio_on_the_stream() {
    conformance("tokio_on_the_stream", Tokio);
}

#[cfg(feature = "tokio-io")]
#[test]
fn tokio_on_a_unix_stream() {
    conformance_over("tokio_on_a_unix_stream", unix_half, Tokio);
}

#[cfg(feature = "tokio-io")]
#[test]
fn tokio_on_owned_halves() {
    conformance("tokio_on_owned_halves", |stream| {
        let (read, write) = stream.into_split();
        Both(Tokio(read), Tokio(write))
    });
}

/// The traits of `hyper` as those of `futures`.
#[cfg(feature = "hyper")]
struct Hyper<S>(S);

#[cfg(feature = "hyper")]
impl<S: hyper::rt::Read + Unpin> AsyncRead for Hyper<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut room = hyper::rt::ReadBuf::new(buf);
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, room.unfilled()))?;
        Poll::Ready(Ok(room.filled().len()))
    }
}

#[cfg(feature = "hyper")]
impl<S: hyper::rt::Write + Unpin> AsyncWrite for Hyper<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_on_the_stream() {
    conformance("hyper_on_the_stream", Hyper);
}

#[cfg(feature = "hyper")]
#[test]
fn hyper_on_a_unix_stream() {
    conformance_over("hyper_on_a_unix_stream", unix_half, Hyper);
}

/// `AsyncBufRead`: lines of all lengths, in pieces of all lengths.
#[test]
fn lines() {
    Case::new("lines").quarantine().seconds(60).run(|| {
        let mut rng = Rng::new();
        let mut runtime = Runtime::builder()
            .recv_buffers(8, 256)
            .build()
            .expect("io_uring");
        runtime.block_on(async {
            let (ours, mut theirs) = half().await;
            let mut expected = Vec::new();
            for i in 0..2_000u32 {
                let len = rng.below(if i % 50 == 0 { 4_000 } else { 60 }) as usize;
                expected.push(format!("{i}:{}", "x".repeat(len)));
            }
            let text = expected.join("\n");
            let mut their_rng = Rng::from_seed(rng.next());
            std::thread::spawn(move || {
                let mut rest = text.as_bytes();
                while !rest.is_empty() {
                    let len = (1 + their_rng.below(900) as usize).min(rest.len());
                    theirs.write_all(&rest[..len]).expect("sent");
                    rest = &rest[len..];
                }
            });
            fn is_buf_read<S: AsyncBufRead>(_: &S) {}
            is_buf_read(&ours);
            let mut lines = AsyncBufReadExt::lines(ours);
            for line in expected {
                assert_eq!(lines.next().await.expect("more").expect("read"), line);
            }
            assert!(lines.next().await.is_none());
        });
    });
}

/// `futures::io::copy` both ways through a proxy in the middle.
#[test]
fn a_proxy_in_the_middle() {
    Case::new("a_proxy_in_the_middle").seconds(60).run(|| {
        let mut runtime = Runtime::builder().build().expect("io_uring works here");
        runtime.block_on(async {
            let (mut client, proxy_in) = pair().await;
            let (proxy_out, mut server) = pair().await;
            spawn(async move {
                let (mut read_in, mut write_in) = proxy_in.into_split();
                let (mut read_out, mut write_out) = proxy_out.into_split();
                let up = async {
                    futures::io::copy(&mut read_in, &mut write_out)
                        .await
                        .expect("copied");
                    write_out.close().await.expect("closed");
                };
                let down = async {
                    futures::io::copy(&mut read_out, &mut write_in)
                        .await
                        .expect("copied");
                    write_in.close().await.expect("closed");
                };
                futures::join!(up, down);
            });
            spawn(async move {
                while let Some(chunk) = server.recv().await.expect("read") {
                    server.send_all(chunk).await.0.expect("sent");
                }
                server
                    .shutdown(std::net::Shutdown::Write)
                    .await
                    .expect("shut down");
            });
            let (mut read, mut write) = TcpStream::split(&mut client);
            let sending = async {
                for part in 0..300 {
                    write
                        .write_all(&coded_bytes(9, part * 10_000, 10_000))
                        .await
                        .expect("ok");
                }
                write.shutdown().await.expect("shut down");
            };
            let receiving = async {
                let mut at = 0;
                while let Some(chunk) = read.recv().await.expect("read") {
                    check_coded(9, at, &chunk);
                    at += chunk.len() as u64;
                }
                at
            };
            let ((), received) = futures::join!(sending, receiving);
            assert_eq!(received, 3_000_000);
        });
    });
}
