//! Frames over streams and pipes, by the codecs of other crates: the same bodies on the real ring
//! and in the simulation, where streams come in pieces of the seed's choice.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "tests look from outside"
)]

mod harness;

use corering::net::UnixStream;
use corering::spawn;
use futures::{SinkExt, StreamExt, TryStreamExt};
use harness::net::pair;
use harness::{coded_bytes, everywhere};

#[cfg(feature = "sim")]
corering::follow_the_seed!();

/// Frames of many lengths, the last ones longer than what a core receives at once.
fn frames() -> Vec<Vec<u8>> {
    let lens = [0, 1, 5, 300, 4096, 20_000, 70_000];
    let frame = |(number, &len): (usize, &usize)| coded_bytes(number as u64, 0, len);
    lens.iter().enumerate().map(frame).collect()
}

// ---------------------------------------------------------------------------------------------
// asynchronous-codec: the traits of `futures`

async fn futures_codecs() {
    use asynchronous_codec::{Framed, LengthCodec, LinesCodec};
    let (here, there) = pair().await;
    let echo = spawn(async move {
        let (mut out, mut lines) = Framed::new(there, LinesCodec).split();
        while let Some(line) = lines.try_next().await.expect("text") {
            out.send(line.to_uppercase()).await.expect("sent");
        }
    });
    let mut here = Framed::new(here, LinesCodec);
    for line in ["one\n", "\n", "third line\n"] {
        here.send(line.to_owned()).await.expect("sent");
        let answer = here.try_next().await.expect("text");
        assert_eq!(answer, Some(line.to_uppercase()));
    }
    here.close().await.expect("closed");
    echo.await.expect("no panic");
    let (here, there) = UnixStream::pair().expect("a pair");
    let mut here = Framed::new(here, LengthCodec);
    let sends = spawn(async move {
        for frame in frames() {
            here.send(frame.into()).await.expect("sent");
        }
        here.close().await.expect("closed");
    });
    let there = Framed::new(there, LengthCodec);
    let received: Vec<_> = there.try_collect().await.expect("whole frames");
    assert!(received.iter().map(|frame| frame.to_vec()).eq(frames()));
    sends.await.expect("no panic");
}

#[test]
fn asynchronous_codec_frames_a_stream() {
    everywhere("asynchronous_codec_frames_a_stream", futures_codecs);
}

// ---------------------------------------------------------------------------------------------
// tokio-util: the traits of `tokio::io`

#[cfg(feature = "tokio-io")]
mod tokio_traits {
    use super::*;
    use std::io::ErrorKind;
    use tokio_util::bytes::Bytes;
    use tokio_util::codec::{Framed, FramedRead, FramedWrite, LengthDelimitedCodec};
    use tokio_util::codec::{LinesCodec, LinesCodecError};

    const FRAME_BYTES_MAX: usize = 100_000;

    fn delimited() -> LengthDelimitedCodec {
        LengthDelimitedCodec::builder()
            .max_frame_length(FRAME_BYTES_MAX)
            .new_codec()
    }

    async fn lines() {
        const LINE_BYTES_MAX: usize = 64;
        let codec = || LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        let (here, there) = pair().await;
        let echo = spawn(async move {
            let mut there = Framed::new(there, codec());
            let (mut refused, mut paused) = (0, false);
            loop {
                let answer = match there.next().await {
                    Some(Ok(line)) => line.to_uppercase(),
                    Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                        (refused, paused) = (refused + 1, true);
                        "too long".to_owned()
                    }
                    Some(Err(LinesCodecError::Io(error))) => panic!("{error}"),
                    // Behind an error `Framed` says once that it has ended.
                    None if paused => {
                        paused = false;
                        continue;
                    }
                    None => break,
                };
                there.send(answer).await.expect("sent");
            }
            refused
        });
        let mut here = Framed::new(here, codec());
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        for line in ["one", "", "third line", &long, "after it"] {
            here.send(line).await.expect("sent");
            let answer = here.next().await.expect("it lives").expect("text");
            match line == long {
                true => assert_eq!(answer, "too long"),
                false => assert_eq!(answer, line.to_uppercase()),
            }
        }
        // The last line may lack its end.
        let mut stream = here.into_inner();
        stream.write_all(b"last").await.expect("sent");
        stream
            .shutdown(std::net::Shutdown::Write)
            .await
            .expect("shut down");
        let mut rest = FramedRead::new(stream, codec());
        assert_eq!(rest.next().await.expect("it lives").expect("text"), "LAST");
        assert!(rest.next().await.is_none());
        assert_eq!(echo.await.expect("no panic"), 1);
    }

    #[test]
    fn tokio_util_lines_over_tcp() {
        everywhere("tokio_traits::tokio_util_lines_over_tcp", lines);
    }

    async fn lengths() {
        let (here, there) = pair().await;
        let mut here = Framed::new(here, delimited());
        let sends = spawn(async move {
            for frame in frames() {
                here.send(Bytes::from(frame)).await.expect("sent");
            }
            let long = here.send(Bytes::from(vec![0; FRAME_BYTES_MAX + 1])).await;
            assert_eq!(long.expect_err("refused").kind(), ErrorKind::InvalidInput);
            // A length that a stranger names is refused before anything is read for it.
            let mut stream = here.into_inner();
            stream
                .write_all(&u32::MAX.to_be_bytes())
                .await
                .expect("sent");
            stream
        });
        let mut there = Framed::new(there, delimited());
        for frame in frames() {
            let received = there.next().await.expect("it lives").expect("whole");
            assert_eq!(received[..], frame);
        }
        let error = there.next().await.expect("it lives").expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(sends.await.expect("no panic"));
    }

    #[test]
    fn tokio_util_length_delimited_over_tcp() {
        everywhere(
            "tokio_traits::tokio_util_length_delimited_over_tcp",
            lengths,
        );
    }

    /// Halves of one stream, each with a codec; and an end in the midst of a frame.
    async fn halves() {
        let (here, there) = pair().await;
        let ((read, write), (theirs_in, theirs_out)) = (here.into_split(), there.into_split());
        let mut write = FramedWrite::new(write, delimited());
        let mut read = FramedRead::new(read, delimited());
        let echo = spawn(async move {
            let mut frames = FramedRead::new(theirs_in, delimited());
            let mut out = FramedWrite::new(theirs_out, delimited());
            while let Some(frame) = frames.try_next().await? {
                out.send(frame.freeze()).await?;
            }
            std::io::Result::Ok(())
        });
        for frame in frames() {
            write.send(Bytes::from(frame.clone())).await.expect("sent");
            let received = read.next().await.expect("it lives").expect("whole");
            assert_eq!(received[..], frame);
        }
        let mut write = write.into_inner();
        write.write_all(&[0, 0, 0, 9, b'x']).await.expect("sent");
        drop((write, read));
        let error = echo.await.expect("no panic").expect_err("cut off");
        assert_ne!(error.kind(), ErrorKind::InvalidData, "{error}");
    }

    #[test]
    fn tokio_util_codecs_of_halves() {
        everywhere("tokio_traits::tokio_util_codecs_of_halves", halves);
    }

    /// Pipes have the traits as well.
    async fn pipes() {
        let (sender, receiver) = corering::pipe::pipe().expect("a pipe");
        let mut out = FramedWrite::new(sender, delimited());
        let sends = spawn(async move {
            for frame in frames() {
                out.send(Bytes::from(frame)).await.expect("written");
            }
        });
        let received = FramedRead::new(receiver, delimited());
        let received: Vec<_> = received.try_collect().await.expect("whole frames");
        assert!(received.iter().map(|frame| frame.to_vec()).eq(frames()));
        sends.await.expect("no panic");
    }

    #[test]
    fn tokio_util_codecs_over_pipes() {
        everywhere("tokio_traits::tokio_util_codecs_over_pipes", pipes);
    }
}
