//! About a second of measuring, on one core: how fast the ring, loopback and the page cache are.

use super::report::Measured;
use crate::driver::submit::Submit;
use crate::driver::survey::TempDir;
use crate::driver::{Driver, kernel};
use crate::fs::OpenOptions;
use crate::net::{TcpListener, TcpStream};
use crate::op::Nop;
use crate::task;
use std::io;
use std::path::Path;
use std::time::Duration;

const NOPS_NANOS: u64 = 250_000_000;
const ECHO_NANOS: u64 = 450_000_000;
const WRITES_NANOS: u64 = 150_000_000;
const ECHO_BYTES: usize = 64;
const MIB: usize = 1 << 20;
/// More than this are not needed for a percentile.
const SAMPLES_MAX: usize = 1 << 17;

/// Measures in the runtime of this thread. What cannot be measured is left out.
pub(super) async fn measure(dir: Option<&TempDir>) -> Measured {
    let mut measured = Measured::default();
    if let Ok(nops) = nops().await {
        measured.nops_per_second = nops.per_second();
    }
    if let Ok(echo) = echo().await {
        measured.echo_p50 = echo.percentile(50);
        measured.echo_p99 = echo.percentile(99);
    }
    if let Some(dir) = dir {
        let path = dir.free("measure");
        let median = |laps: io::Result<Laps>| laps.ok()?.percentile(50);
        measured.write_4k_p50 = median(writes(&path, 4096).await);
        measured.write_1m_p50 = median(writes(&path, MIB).await);
    }
    measured
}

/// The times of one thing done again and again.
struct Laps {
    begin: u64,
    last: u64,
    nanos: Vec<u64>,
}

impl Laps {
    fn start() -> Laps {
        let begin = kernel::now();
        Laps {
            begin,
            last: begin,
            nanos: Vec::new(),
        }
    }

    /// Whether there is time for another one.
    fn go_on(&self, limit_nanos: u64) -> bool {
        self.last - self.begin < limit_nanos && self.nanos.len() < SAMPLES_MAX
    }

    fn lap(&mut self) {
        let now = kernel::now();
        self.nanos.push(now - self.last);
        self.last = now;
    }

    fn per_second(&self) -> u64 {
        self.nanos.len() as u64 * 1_000_000_000 / (self.last - self.begin).max(1)
    }

    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut nanos = self.nanos.clone();
        nanos.sort_unstable();
        let at = nanos.len() * percent / 100;
        nanos.get(at).copied().map(Duration::from_nanos)
    }
}

async fn nops() -> io::Result<Laps> {
    let driver = Driver::current();
    let mut laps = Laps::start();
    while laps.go_on(NOPS_NANOS) {
        Submit::new(&driver, Nop).await?;
        laps.lap();
    }
    Ok(laps)
}

async fn echo() -> io::Result<Laps> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = task::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        while let Some(chunk) = stream.recv().await? {
            stream.send_all(chunk).await.0?;
        }
        io::Result::Ok(())
    });
    let mut client = TcpStream::connect(address).await?;
    let mut message = [0; ECHO_BYTES];
    let mut laps = Laps::start();
    while laps.go_on(ECHO_NANOS) {
        client.write_all(&message).await?;
        client.read_exact(&mut message).await?;
        laps.lap();
    }
    drop(client);
    // The client's side is what counts; the server ends with it.
    let _ = server.await;
    Ok(laps)
}

/// Writes of so many bytes over the same place of a file.
async fn writes(path: &Path, bytes: usize) -> io::Result<Laps> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true);
    let file = options.open(path).await?;
    let mut buf = vec![0x5a_u8; bytes];
    let mut laps = Laps::start();
    while laps.go_on(WRITES_NANOS) {
        let (result, back) = file.write_all_at(buf, 0).await;
        result?;
        buf = back;
        laps.lap();
    }
    Ok(laps)
}
