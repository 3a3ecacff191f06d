//! Signals of a host's process: which it handles, how often each has come, and what one does that
//! nobody handles.

use super::state::{Op, State, Watched, What};
use super::{World, here};
use std::io;
use std::os::fd::RawFd;

/// What a signal does to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Who listens for it is told, or nothing is to be done.
    Goes,
    /// Nobody handles it: the process ends.
    Ends,
    /// Nobody handles it: the process would stop until it is told to go on.
    Stops,
}

impl World {
    /// The process of a host gets this signal.
    pub(crate) fn raise(&self, host: usize, signal: i32) -> Reaction {
        let mut state = self.0.borrow_mut();
        if !state.hosts[host].alive {
            return Reaction::Goes;
        }
        state.note(usize::MAX, "signal", host as i64, signal.into());
        let Some(count) = state.hosts[host].signals.get_mut(&signal) else {
            return by_default(signal);
        };
        *count += 1;
        state.poke(Watched::Signals(host));
        Reaction::Goes
    }
}

/// `signal(7)`; and as in a Rust program, `SIGPIPE` is ignored.
fn by_default(signal: i32) -> Reaction {
    match signal {
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT | libc::SIGPIPE => {
            Reaction::Goes
        }
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Reaction::Stops,
        _ => Reaction::Ends,
    }
}

impl State {
    /// Whether a signal has come since this poll was told last, as `poll` says it.
    pub(super) fn new_signals(&mut self, op: &mut Op, host: usize) -> i16 {
        let all: u64 = self.hosts[host].signals.values().sum();
        let told = std::mem::replace(&mut op.done, all as usize);
        if told < op.done { libc::POLLIN } else { 0 }
    }
}

/// From now on this host's process handles the signal; a descriptor that becomes readable with
/// each one that it handles.
pub(crate) fn listen(signal: i32) -> io::Result<RawFd> {
    let here = here();
    let mut state = here.world.0.borrow_mut();
    let number = state.install(here.host, What::Signals);
    let number = number.map_err(io::Error::from_raw_os_error)?;
    state.hosts[here.host].signals.entry(signal).or_default();
    Ok(number)
}

/// How often this host's process has got a signal that it handles.
pub(crate) fn count(signal: i32) -> u64 {
    let here = here();
    let state = here.world.0.borrow();
    let count = state.hosts[here.host].signals.get(&signal);
    count.copied().unwrap_or(0)
}
