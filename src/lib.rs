//! A completion-based, thread-per-core async runtime for Linux on io_uring.
//!
//! One thread per core, one io_uring per thread, tasks that never leave their core, timers local
//! to the core, and every socket and file operation submitted to the ring. There is no thread
//! pool behind the file API: file work goes to the kernel.
//!
//! ```no_run
//! use corering::net::{TcpListener, TcpStream};
//!
//! async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
//!     while let Some(chunk) = stream.recv().await? {
//!         stream.send_all(chunk).await.0?;
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> std::io::Result<()> {
//!     corering::block_on(async {
//!         let listener = TcpListener::bind("127.0.0.1:7000").await?;
//!         loop {
//!             let (stream, _peer) = listener.accept().await?;
//!             corering::spawn(echo(stream));
//!         }
//!     })
//! }
//! ```
//!
//! # Three ideas
//! 1. **The seam is the kernel's own interface**: entries in, completions out. Above it nobody
//!    knows whether the kernel is real. Adding an operation is one block in one file.
//! 2. **The resource owns the operation; a future only borrows the result.** A listener owns its
//!    accept and a queue of accepted sockets, a stream its receive and a queue of received chunks.
//!    Dropping `accept()` or `read()` therefore loses nothing: the next call returns it.
//! 3. **A late completion runs the same code as an awaited one, and its output is dropped.**
//!    Descriptors close themselves, pooled buffers go home; nothing leaks by being cancelled.
//!
//! # Coming from asyncio, tokio, monoio or glommio
//! A line of code on each side, for everything: [`migrate`]. The programs of asyncio's tutorials
//! are in `examples/`; each starts with `cargo run --example NAME`.
//!
//! # What dropping a call before it completes means
//! For every call it is written down, in its own documentation and in one table, with the tests
//! that check it: [`contract`]. In short: what waits (`accept`, `recv`, `read`, `recv_from`,
//! `connect`, `open`, timers, locks, channels) can be dropped at any point and loses nothing; what
//! sends from the caller's own buffer leaves the stream torn, and says so; what changes a disk may
//! still happen.
//!
//! Dropping, forgetting or aborting anything, in any order, never lets the kernel touch freed
//! memory: an operation's memory belongs to the driver's table until the operation's own last
//! completion, and past a deadline at the runtime's end it is leaked and counted
//! ([`ShutdownReport`]), never freed.
//!
//! # Errors
//! `std::io::Error` for what the kernel said, with its errno. Own types only where a caller
//! branches: [`BuildError`], [`JoinError`], [`time::Elapsed`], [`net::Torn`]. A machine that
//! refuses io_uring (the sysctl, a container's seccomp profile, the limit on locked memory, an old
//! kernel) gives a [`BuildError`] whose text names the cause and the cure. A single operation that
//! is not there has a substitute or gives `Unsupported`; one that a [`Restrict`] leaves out gives
//! `PermissionDenied`. Both name the cure.
//! [`doctor()`], and the command `corering doctor`, look at the whole machine: every operation that
//! the crate uses is performed once, limits and CPUs are held against what is needed, and each
//! finding comes with the lines that cure it in Docker, Kubernetes and systemd.
//!
//! # Security
//! A ring is a second way into the kernel, which a seccomp filter does not see. [`Restrict`] limits
//! a runtime's rings to what the program needs, for as long as they live. There is no SQPOLL: every
//! operation has the rights that its thread has when it asks. A forked child cannot reach the
//! parent's ring, and all descriptors are close-on-exec. Received bytes are shown exactly as long
//! as they are, whatever the memory was used for before; `Debug` shows lengths, not bytes. What can
//! pile up has a limit, listed in [`Builder`]. The whole model stands in `SECURITY.md`.
//!
//! # The map
//! ```text
//!   buf/      memory that may be lent to the kernel                      imports nothing
//!   threads   atomics and locks, where a model can replace them            nothing
//!   driver/   the kernel and what it borrows: slots, ring, buffers, bell   buf threads
//!   op/       what can be asked of the kernel, one block each              buf driver
//!   task/     futures that run: spawn, JoinHandle, executor                threads
//!   sync/     channels between cores; locks, queues, channels on one       threads
//!   time/     sleep, interval, timeout, the timer store                    driver
//!   net/      TCP, UDP, Unix sockets                                    buf driver io op time
//!   fs/       files and directories                                     buf driver io op
//!   io/       buffered reading and writing, copies, lines with a limit     buf
//!   pipe/     pipes                                                        driver op
//!   process/  children, and waiting for their end                          driver op pipe
//!   stdio     the standard streams                                         driver pipe
//!   poll_fd   the readiness of foreign descriptors                         driver op
//!   flow/     tasks together: gather, wait, groups, calls                   driver task time
//!   signal/   signals (feature `signal`)                                   buf driver op
//!   runtime/  the loop: builder, handle, cores, shutdown, metrics          driver op task time
//!   sim/      many cores of many hosts, simulated (feature `sim`)           driver task runtime
//!   doctor/   whether this machine does, and if not why       driver op task time net fs runtime
//!   server    a task for each connection, and an end in order              the public face
//!   http/     a file service and a client (feature `http`)                 the public face
//!   dns/      names looked up by the core itself (feature `dns-hickory`)   driver fs net task time
//!   tls       TLS over any stream (feature `tls`)                          the public face
//! ```
//! Arrows point down only; a test holds this table and fails on an import that is not in it.
//!
//! # Features
//! - `macros` (default): `#[corering::main]` and `#[corering::test]`.
//! - `bytes`: `RecvBuf` into `Bytes` without a copy; `Bytes` and `BytesMut` as buffers.
//! - `tokio-io`: the traits of `tokio::io` on streams (no tokio runtime).
//! - `hyper`: the traits of `hyper::rt` on streams, and an executor and a timer.
//! - `signal`: signals as futures. `http`: a static file service and a pooled client.
//! - `tls`: TLS over any stream, client and server, by rustls with the cryptography of `ring`. With
//!   `http` the client takes `https://` URLs.
//! - `dns-hickory`: names looked up on the core itself, in place of `getaddrinfo`; needs Rust 1.88.
//! - `blocking`: `spawn_blocking`, a pool of threads for the program's own blocking code.
//! - `sim`: a seeded simulation of machines, network, disks and clock, for tests.
//! - `cli`: the command `corering`.

#[allow(unsafe_code)]
pub mod buf;
#[cfg(feature = "dns-hickory")]
pub mod dns;
pub mod doctor;
#[allow(unsafe_code)]
mod driver;
pub mod flow;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "hyper")]
pub mod hyper_rt;
pub mod io;
#[cfg(all(test, loom))]
mod models;
pub mod net;
#[allow(unsafe_code)]
mod op;
pub mod pipe;
mod poll_fd;
pub mod process;
mod runtime;
pub mod server;
#[cfg(feature = "signal")]
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stdio;
pub mod sync;
#[allow(unsafe_code)]
pub mod task;
mod threads;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "macros")]
pub use corering_macros::{main, test};
pub use doctor::doctor;
pub use driver::refusal::{BuildError, BuildErrorKind};
pub use driver::restrict::Restrict;
#[cfg(feature = "blocking")]
pub use flow::spawn_blocking;
pub use poll_fd::{PollFd, Ready};
pub use runtime::{
    Builder, Handle, Metrics, Runtime, ShutdownReport, block_on, core_id, is_stopping, nop,
    spawn_on, stopping,
};
pub use task::{JoinError, JoinHandle, spawn, yield_now};

/// What the fuzz targets (`fuzz/`) reach beyond the public face; in their builds only.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// Runs the timer store against an ordered map; the bytes say what happens.
    pub fn timers(bytes: &[u8]) {
        crate::time::check_heap(bytes);
    }
}

#[doc = include_str!("../docs/contract.md")]
pub mod contract {}

#[doc = include_str!("../docs/migration.md")]
pub mod migrate {}

/// The README's programs, compiled.
#[cfg(all(doctest, feature = "macros", feature = "sim"))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
