//! The runtime under test: the echo server that a user would write with it.

use super::server::Stats;
use corering::Metrics;
use corering::net::{TcpListener, TcpStream};
use corering::time::timeout;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the counters are published; seldom enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    stats: &Stats,
    face: Face,
) -> io::Result<()> {
    let mut runtime = corering::Runtime::new()?;
    let receives = Rc::new(std::cell::Cell::new(0));
    let result = runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let Ok(accepted) = timeout(LOOK_EVERY, listener.accept()).await else {
                stats.receives.store(receives.get(), Ordering::Relaxed);
                stats
                    .enters
                    .store(Metrics::current().enters, Ordering::Relaxed);
                continue;
            };
            let (stream, _peer) = accepted?;
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let receives = receives.clone();
            corering::spawn(async move {
                match face {
                    Face::Recv => echo_buffers(stream, &receives).await,
                    Face::ReadWrite => echo_slices(stream, &receives).await,
                }
            });
        }
    });
    result
}

async fn echo_buffers(mut stream: TcpStream, receives: &std::cell::Cell<u64>) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        receives.set(receives.get() + 1);
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn echo_slices(mut stream: TcpStream, receives: &std::cell::Cell<u64>) -> io::Result<()> {
    let mut buf = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        receives.set(receives.get() + 1);
        stream.write_all(&buf[..n]).await?;
    }
}
