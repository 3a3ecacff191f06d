//! The runtime under test: the echo server that a user would write with it.

use super::server::Stats;
use corering::Metrics;
use corering::net::{TcpListener, TcpStream};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// After how many receives the ring's counter is published; seldom enough to cost nothing.
const PUBLISH_EVERY: u64 = 1024;

/// Which of a stream's faces the server uses.
#[derive(Clone, Copy)]
pub(crate) enum Face {
    /// Received buffers go back as they are.
    Recv,
    /// `read` into the task's own buffer, `write_all` from it.
    ReadWrite,
}

/// Serves echo until the flag is set and one more connection has come in.
pub(crate) fn run(
    listener: std::net::TcpListener,
    stop: &AtomicBool,
    stats: &'static Stats,
    face: Face,
) -> io::Result<()> {
    let mut runtime = corering::Runtime::new()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            match face {
                Face::Recv => drop(corering::spawn(echo_buffers(stream, stats))),
                Face::ReadWrite => drop(corering::spawn(echo_slices(stream, stats))),
            }
        }
    })
}

/// Counts a receive; publishes the core's own counter now and then.
fn count(stats: &Stats) {
    let receives = stats.receives.load(Ordering::Relaxed) + 1;
    stats.receives.store(receives, Ordering::Relaxed);
    if receives % PUBLISH_EVERY == 0 {
        let enters = Metrics::current().enters;
        stats.enters.store(enters, Ordering::Relaxed);
    }
}

async fn echo_buffers(mut stream: TcpStream, stats: &Stats) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        count(stats);
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn echo_slices(mut stream: TcpStream, stats: &Stats) -> io::Result<()> {
    let mut buf = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        count(stats);
        stream.write_all(&buf[..n]).await?;
    }
}
