//! Signals as futures.
//!
//! Rules:
//! 1. The handler only adds to a counter and writes to one eventfd, which the process opens once
//!    and never closes. Nothing else is safe in a handler.
//! 2. Nobody reads the eventfd: each [`Signal`] has the ring poll it (multishot), and each write
//!    wakes all of them, on whatever core. Whether it was *its* signal, the counter says.
//! 3. A signal between the making of a [`Signal`] and its first `recv` is not lost: the counter is
//!    read when it is made, and a poll of a readable eventfd completes at once.
//!
//! ```text
//!   kernel ──► handler: COUNTS[n] += 1, write(eventfd)
//!                                            │ poll, one a listener
//!                    recv ◄── COUNTS[n] has grown ◄── completion on each core
//! ```
//!
//! A host of a simulation gets the signals that `sim::Control::signal` sends it, and none of the
//! real process': its counters and its descriptor are the simulation's.

use crate::driver::Driver;
use crate::driver::fd::Fd;
use crate::driver::submit::SubmitMulti;
use crate::driver::sys;
use crate::op::PollReadable;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

/// One more than the highest signal number of Linux on any architecture.
const SIGNALS_MAX: usize = 129;

/// How often each signal has arrived since somebody asked for it.
static COUNTS: [AtomicU64; SIGNALS_MAX] = [const { AtomicU64::new(0) }; SIGNALS_MAX];

/// What is there once per process.
struct Process {
    eventfd: OwnedFd,
    /// The signals whose handler is in place.
    handled: Mutex<[bool; SIGNALS_MAX]>,
}

impl Process {
    fn get() -> io::Result<&'static Process> {
        static PROCESS: OnceLock<Process> = OnceLock::new();
        if let Some(process) = PROCESS.get() {
            return Ok(process);
        }
        // Two threads may both make one; the loser's is closed before any handler knows it.
        let process = Process {
            eventfd: sys::eventfd()?,
            handled: Mutex::new([false; SIGNALS_MAX]),
        };
        Ok(PROCESS.get_or_init(|| process))
    }

    fn handle(&'static self, number: usize) -> io::Result<()> {
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        if !handled[number] {
            sys::count_signal(number as i32, &COUNTS[number], &self.eventfd)?;
            handled[number] = true;
        }
        Ok(())
    }
}

/// A kind of signal.
///
/// ```
/// use corering::signal::SignalKind;
/// assert_eq!(SignalKind::terminate().as_raw_value(), 15);
/// assert_eq!(SignalKind::from_raw(2), SignalKind::interrupt());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $($(#[$doc])*
            #[must_use]
            pub const fn $name() -> SignalKind {
                SignalKind(libc::$number)
            })*
        }
    };
}

kinds! {
    /// `SIGALRM`: a timer of the process has run out.
    alarm = SIGALRM;
    /// `SIGCHLD`: a child process has changed its state.
    child = SIGCHLD;
    /// `SIGHUP`: the terminal is gone, or a daemon shall read its configuration again.
    hangup = SIGHUP;
    /// `SIGINT`: Ctrl-C.
    interrupt = SIGINT;
    /// `SIGIO`: a descriptor is ready.
    io = SIGIO;
    /// `SIGPIPE`: a write to a pipe without a reader. (Rust programs ignore it from the start.)
    pipe = SIGPIPE;
    /// `SIGQUIT`: Ctrl-\.
    quit = SIGQUIT;
    /// `SIGTERM`: the process shall end.
    terminate = SIGTERM;
    /// `SIGUSR1`: what the program makes of it.
    user_defined1 = SIGUSR1;
    /// `SIGUSR2`: what the program makes of it.
    user_defined2 = SIGUSR2;
    /// `SIGWINCH`: the terminal has another size.
    window_change = SIGWINCH;
}

impl SignalKind {
    /// The signal of this number, such as one of `libc`'s constants, or a real-time signal.
    #[must_use]
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }
}

impl From<SignalKind> for i32 {
    /// The number.
    fn from(kind: SignalKind) -> i32 {
        kind.0
    }
}

/// Listens for a signal, from this call on.
///
/// The first call for a kind replaces what the signal does by default (`sigaction(2)`), for the
/// whole process and for good: after it, Ctrl-C ends the program only if the program does so. In a
/// simulation the process is that of the host, until it is restarted.
///
/// # Errors
/// `InvalidInput` for a number that is no signal, or one that cannot be caught (`SIGKILL`,
/// `SIGSTOP`, `SIGSEGV`, `SIGILL`, `SIGFPE`); `EMFILE` if no descriptor is left.
///
/// # Panics
/// Outside of a runtime.
///
/// ```no_run
/// use corering::signal::{SignalKind, signal};
/// # async fn f() -> std::io::Result<()> {
/// let mut hangups = signal(SignalKind::hangup())?;
/// while hangups.recv().await.is_some() {
///     println!("reading the configuration again");
/// }
/// # Ok(()) }
/// ```
#[track_caller]
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let driver = Driver::current();
    let number = usize::try_from(kind.0)
        .ok()
        .filter(|number| (1..SIGNALS_MAX).contains(number))
        .ok_or_else(|| {
            let what = format!("{} is no signal: they count from 1 to 64", kind.0);
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
    sys::check_signal(kind.0)?;
    let fd = match sys::listen_simulated(kind.0) {
        Some(number) => Fd::from_number(number?, &driver),
        None => {
            let process = Process::get()?;
            // A clone: closing it must not close the one that the handler writes to.
            let fd = Fd::new(process.eventfd.try_clone()?, &driver);
            process.handle(number)?;
            fd
        }
    };
    Ok(Signal {
        kind,
        seen: count(kind),
        poll: SubmitMulti::new(&driver, PollReadable { fd }),
    })
}

/// How often a signal that is listened for has arrived.
fn count(kind: SignalKind) -> u64 {
    let real = || COUNTS[kind.0 as usize].load(Ordering::SeqCst);
    sys::count_simulated(kind.0).unwrap_or_else(real)
}

/// Waits for Ctrl-C (`SIGINT`), from its first poll on; see [`signal`].
///
/// # Errors
/// As [`signal`].
///
/// # Cancel safety
/// Safe, but a Ctrl-C between two calls is lost. To miss none, keep a [`Signal`].
///
/// ```no_run
/// # async fn f() -> std::io::Result<()> {
/// corering::signal::ctrl_c().await?;
/// println!("good bye");
/// # Ok(()) }
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    match interrupts.recv().await {
        Some(()) => Ok(()),
        None => Err(io::Error::other("the runtime of this signal has ended")),
    }
}

/// A listener for one kind of signal; made by [`signal`].
///
/// Every listener sees every signal. Signals that arrive faster than `recv` is called count as one.
///
/// ```no_run
/// use corering::signal::{SignalKind, signal};
/// # async fn f() -> std::io::Result<()> {
/// let mut terminations = signal(SignalKind::terminate())?;
/// terminations.recv().await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Signal {
    kind: SignalKind,
    /// The count that the last `recv` has told of.
    seen: u64,
    poll: SubmitMulti<PollReadable>,
}

impl Signal {
    /// Waits until the signal arrives, or has arrived since the last call. `None` once the runtime
    /// has ended.
    ///
    /// # Cancel safety
    /// Safe: a signal that has arrived is told of by the next call.
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Signal::recv), for code that polls.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let count = count(self.kind);
            if count != self.seen {
                self.seen = count;
                return Poll::Ready(Some(()));
            }
            match self.poll.poll_next(cx) {
                Poll::Ready(Some(Ok(()))) | Poll::Ready(None) => {}
                // The kernel ends a poll that it has no memory for: it is armed anew.
                Poll::Ready(Some(Err(error))) if error.raw_os_error().is_some() => {}
                Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> SignalKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::timeout;
    use std::time::Duration;

    /// Sends this process a signal, and waits until the handler has run on some thread.
    fn raise(kind: SignalKind) {
        let count = &COUNTS[kind.as_raw_value() as usize];
        let before = count.load(Ordering::SeqCst);
        let status = std::process::Command::new("kill")
            .arg(format!("-{}", kind.as_raw_value()))
            .arg(std::process::id().to_string())
            .status()
            .expect("there is a `kill`");
        assert!(status.success());
        while count.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_listener_on_every_core_sees_a_signal_once() {
        let kind = SignalKind::user_defined1();
        let mut runtime = crate::Runtime::builder()
            .cores(2)
            .pin(false)
            .build()
            .unwrap();
        let told = runtime.run(move |core| async move {
            let mut first = signal(kind).unwrap();
            let mut second = signal(kind).unwrap();
            if core == 0 {
                // The other core listens by then, or finds the signal counted when it does not.
                crate::time::sleep(Duration::from_millis(100)).await;
                raise(kind);
            }
            for listener in [&mut first, &mut second] {
                let limit = Duration::from_secs(5);
                assert_eq!(timeout(limit, listener.recv()).await, Ok(Some(())));
                let again = timeout(Duration::from_millis(20), listener.recv()).await;
                assert!(again.is_err(), "told twice");
            }
        });
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn a_signal_before_the_first_recv_is_told_and_nonsense_is_refused() {
        crate::block_on(async {
            let kind = SignalKind::user_defined2();
            let mut listener = signal(kind).unwrap();
            raise(kind);
            raise(kind);
            let limit = Duration::from_secs(5);
            assert_eq!(timeout(limit, listener.recv()).await, Ok(Some(())));
            drop(listener);
            let mut late = signal(kind).unwrap();
            let none = timeout(Duration::from_millis(50), late.recv()).await;
            assert!(none.is_err(), "an old signal was told of");
            for number in [0, -1, 129, 9, 11] {
                let error = signal(SignalKind::from_raw(number)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
            }
        });
    }
}
