//! G: TCP as programs meet it. I: many at once.

use crate::harness::net::small_pair;
use crate::harness::{check_coded, coded, coded_bytes};
use crate::world::{MS, World, comes_to_rest, listener, pair, reset, soon};
use corering::net::TcpStream;
use corering::spawn;
use corering::sync::Semaphore;
use corering::task::JoinSet;
use corering::time::sleep;
use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;

both!(
    g01_half_close,
    g02_rst_on_recv,
    g05_partial_send / 20,
    g06_vectored_partial / 5,
    g07_read_exact,
    g21_frame_limits,
    i01_max_connections,
);

async fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await.expect("an orderly end, no reset") {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn g01_half_close(world: World) {
    let len = world.rounds(1 << 20, 200_000) as usize;
    for how in 0..3 {
        let (mut ours, mut peer) = pair().await;
        let peer = spawn(async move {
            peer.write_all(b"question").await.expect("sent");
            peer.shutdown(Shutdown::Write).await.expect("shut down");
            read_to_end(peer).await
        });
        let mut question = Vec::new();
        while let Some(chunk) = ours.recv().await.expect("read") {
            question.extend_from_slice(&chunk);
        }
        assert_eq!(question, b"question");
        for _ in 0..3 {
            assert_eq!(ours.read(&mut [0; 9]).await.expect("the end stays"), 0);
            assert!(ours.fill_buf().await.expect("the end stays").is_empty());
        }
        let answer = coded_bytes(1, 0, len);
        match how {
            0 => {
                ours.write_all(&answer).await.expect("written");
                drop(ours);
            }
            1 => {
                ours.send_all(answer).await.0.expect("sent");
                ours.shutdown(Shutdown::Write).await.expect("shut down");
                ours.shutdown(Shutdown::Write).await.expect("twice is fine");
                let error = ours.write(b"x").await.expect_err("shut down");
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            _ => {
                let (read, mut write) = ours.into_split();
                write.write_all(&answer).await.expect("written");
                drop((write, read));
            }
        }
        let all = soon(peer).await.expect("no panic");
        assert_eq!(all.len(), len);
        check_coded(1, 0, &all);
    }
}

/// A reset ends whatever waits for bytes, with its name.
async fn g02_rst_on_recv(world: World) {
    let mut rng = world.rng();
    for _ in 0..world.rounds(200, 20) {
        let (mut ours, peer) = pair().await;
        let how = rng.below(4);
        let reader = spawn(async move {
            let error = match how {
                0 => ours.recv().await.map(drop).expect_err("a reset"),
                1 => ours.read(&mut [0; 10]).await.expect_err("a reset"),
                2 => ours.read_owned(vec![0; 10]).await.0.expect_err("a reset"),
                _ => ours.fill_buf().await.map(drop).expect_err("a reset"),
            };
            // It is reported once; after that the connection is at its end.
            assert!(ours.recv().await.is_ok_and(|chunk| chunk.is_none()));
            error
        });
        if rng.once_in(2) {
            sleep(MS / 2).await;
        }
        reset(peer);
        let error = soon(reader).await.expect("no panic");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    comes_to_rest().await;
}

/// Both ends of a connection whose buffers are small. In the simulation they are so anyway.
async fn narrow_pair(world: &World) -> (TcpStream, TcpStream) {
    match world.is_simulated() {
        true => pair().await,
        false => small_pair().await,
    }
}

/// Far more than any buffer holds, in every way of sending, to a reader that takes its time.
async fn g05_partial_send(world: World) {
    let len = world.rounds(4 << 20, 1 << 20) as usize;
    // On the real ring a window that closes costs the time until somebody asks for it again.
    let pauses = world.is_simulated();
    for how in 0..3 {
        let (mut ours, mut peer) = narrow_pair(&world).await;
        let reader = spawn(async move {
            let mut at = 0u64;
            while let Some(chunk) = peer.recv().await.expect("received") {
                check_coded(2, at, &chunk);
                at += chunk.len() as u64;
                if pauses && at % 7 == 0 {
                    sleep(MS / 10).await;
                }
            }
            at
        });
        let bytes = coded_bytes(2, 0, len);
        match how {
            0 => ours.write_all(&bytes).await.expect("written"),
            1 => ours.send_all(bytes).await.0.expect("sent"),
            _ => send_zc_all(&mut ours, bytes).await,
        }
        drop(ours);
        let at = reader.await.expect("no panic");
        assert_eq!(at, len as u64, "way {how}");
    }
}

async fn send_zc_all(stream: &mut TcpStream, mut rest: Vec<u8>) {
    while !rest.is_empty() {
        let (result, lent) = stream.send_zc(rest).await;
        rest = lent.await;
        match result {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return stream.send_all(rest).await.0.expect("sent");
            }
            n => rest = rest.split_off(n.expect("sent")),
        }
    }
}

/// Lists of pieces of any number and length, also of none.
async fn g06_vectored_partial(world: World) {
    let mut rng = world.rng();
    let (mut ours, peer) = narrow_pair(&world).await;
    let reader = spawn(read_to_end(peer));
    let mut at = 0;
    for _ in 0..world.rounds(60, 8) {
        let pieces = rng.below(1_300);
        let mut bufs = Vec::new();
        let mut end = at;
        for _ in 0..pieces {
            let len = match rng.below(20) {
                0 => 5_000,
                1..6 => 0,
                _ => rng.below(60),
            };
            bufs.push(coded_bytes(6, end, len as usize));
            end += len;
        }
        let n = if rng.once_in(2) {
            let slices: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
            ours.write_vectored(&slices).await.expect("written")
        } else {
            ours.send_vectored(bufs).await.0.expect("sent")
        };
        assert!(at + n as u64 <= end);
        at += n as u64;
    }
    drop(ours);
    let all = soon(reader).await.expect("no panic");
    assert_eq!(all.len() as u64, at);
    check_coded(6, 0, &all);
}

async fn g07_read_exact(_world: World) {
    let (mut ours, mut theirs) = pair().await;
    theirs.set_nodelay(true).expect("set");
    drop(spawn(async move {
        for at in 0..500 {
            theirs.write_all(&[coded(7, at)]).await.expect("taken");
            theirs.flush().await.expect("sent");
            if at % 10 == 0 {
                sleep(MS / 10).await;
            }
        }
    }));
    let mut at = 0;
    for len in [1, 7, 64, 128, 200] {
        let mut bytes = vec![0; len];
        ours.read_exact(&mut bytes).await.expect("read");
        check_coded(7, at, &bytes);
        at += len as u64;
    }
    // 100 bytes are left; what was read until the end is in the buffer.
    let mut bytes = vec![0; 150];
    let error = ours.read_exact(&mut bytes).await.expect_err("the end");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("100 of 150"), "{error}");
    check_coded(7, at, &bytes[..100]);
    let (mut ours, mut theirs) = pair().await;
    theirs.write_all(b"part").await.expect("taken");
    theirs.flush().await.expect("sent");
    reset(theirs);
    let mut bytes = [0; 9];
    let error = ours.read_exact(&mut bytes).await.expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Reads a line of at most `max` bytes, its end included.
async fn line_within(
    stream: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> std::io::Result<String> {
    let mut line = Vec::new();
    let n = stream.take(max as u64).read_until(b'\n', &mut line).await?;
    if n == max && line.last() != Some(&b'\n') {
        return Err(std::io::Error::new(
            ErrorKind::InvalidData,
            "a line is too long",
        ));
    }
    String::from_utf8(line).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// A line without an end is refused at the limit, and what comes behind it is not taken in.
async fn g21_frame_limits(world: World) {
    let (mut ours, mut theirs) = pair().await;
    let len = world.rounds(8 << 20, 1 << 20) as usize;
    let sender = spawn(async move {
        theirs.write_all(b"short\n").await.expect("taken");
        // The peer leaves in the midst of it.
        let _ = theirs.send_all(vec![b'x'; len]).await;
    });
    let line = line_within(&mut ours, 100).await.expect("a line");
    assert_eq!(line, "short\n");
    let error = line_within(&mut ours, 100).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    drop(ours);
    soon(sender).await.expect("no panic");
}

/// More clients than may be served at once: the rest waits, and is served in its turn.
async fn i01_max_connections(world: World) {
    const AT_ONCE: usize = 8;
    let (listener, address) = listener().await;
    let count = world.rounds(AT_ONCE as u64 + 100, 40);
    let mut clients = JoinSet::new();
    for i in 0..count {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it may wait");
            stream.write_all(&i.to_le_bytes()).await.expect("taken");
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).await.expect("served");
            assert_eq!(u64::from_le_bytes(answer), i);
        });
    }
    let room = Rc::new(Semaphore::new(AT_ONCE));
    let server = spawn({
        let room = room.clone();
        async move {
            loop {
                let place = room.clone().acquire_owned().await.expect("open");
                let (mut stream, _) = listener.accept().await.expect("accepted");
                drop(spawn(async move {
                    let _place = place;
                    let mut number = [0; 8];
                    stream.read_exact(&mut number).await.expect("read");
                    sleep(MS / 4).await;
                    stream.write_all(&number).await.expect("taken");
                    stream.flush().await.expect("sent");
                }));
            }
        }
    });
    while let Some(client) = soon(clients.join_next()).await {
        client.expect("served");
    }
    server.abort();
    let _ = server.await;
    assert_eq!(soon(room.acquire_many(AT_ONCE)).await.map(drop), Ok(()));
}
