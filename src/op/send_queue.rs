//! The bytes that a stream or a pipe has accepted to send, and the operation that sends them.
//!
//! What is written in one turn leaves in one `SEND` at the end of the turn; what is written while
//! that is in flight leaves in the next one, which the completion starts by itself. So no task is
//! woken for a completed send unless it waits for room or for the end, and what was accepted is
//! sent whether or not anybody polls, or the stream still exists. One send is in flight at a time:
//! two would mix.
//!
//! ```text
//!   push ──► pending ──end of the turn──► in flight ──completion──► pending is empty: idle
//!              ▲                                         │
//!              └───── push, meanwhile ─────              └──► not empty: in flight again
//! ```

use super::clamp;
use super::socket::send_flags;
use crate::driver::children;
use crate::driver::fd::Fd;
use crate::driver::operations::Failure;
use crate::driver::slot::{Cqe, Orphan};
use crate::driver::sys;
use io_uring::{opcode, squeue};
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes that may wait behind those in flight; a writer that has more waits.
const PENDING_BYTES_MAX: usize = 64 * 1024;
/// Buffers that a thread keeps for its streams, and the largest that it keeps, in bytes.
const SPARE_BUFFERS_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 2 * PENDING_BYTES_MAX;

thread_local! {
    /// Empty buffers: an idle stream holds none.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take_spare() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn give_spare(mut buf: Vec<u8>) {
    if buf.capacity() == 0 || buf.capacity() > SPARE_BYTES_MAX {
        return;
    }
    buf.clear();
    // A thread that ends may have no thread-locals any more.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(buf);
        }
    });
}

/// A stream's queue of bytes to send.
pub(crate) struct SendQueue {
    fd: Fd,
    /// Made when something is written: who only sends what it owns has none.
    state: OnceCell<Rc<RefCell<State>>>,
}

/// How bytes leave.
#[derive(Clone, Copy, Debug, Default)]
enum Way {
    /// By `SEND`, which raises no signal.
    #[default]
    Socket,
    /// By `WRITE`: a pipe, or whatever a standard stream is.
    Pipe {
        /// A kernel worker does it: a terminal's write may wait, whatever the ring says.
        by_worker: bool,
        /// Wait for room first: somebody else has made the open file non-blocking.
        wait: bool,
    },
}

/// `RWF_NOSIGNAL`: a pipe without a reader is an error, and no signal. Since Linux 6.18.
const NO_SIGNAL: i32 = 0x100;

thread_local! {
    /// The flags of writes to pipes that this kernel takes.
    static PIPE_FLAGS: Cell<i32> = const { Cell::new(NO_SIGNAL) };
}

#[derive(Default)]
struct State {
    way: Way,
    pending: Vec<u8>,
    /// The operation, while it is not the driver's: its box is used again.
    idle: Option<Box<Job>>,
    busy: bool,
    /// What ended the sending; every later write says it.
    failed: Option<Failure>,
    /// Shut the write side down when all is sent.
    then_shutdown: bool,
    waker: Option<Waker>,
}

impl SendQueue {
    pub(crate) fn new(fd: Fd) -> SendQueue {
        SendQueue {
            fd,
            state: OnceCell::new(),
        }
    }

    /// Of what is written to: a pipe, a terminal, a file at its own position.
    pub(crate) fn of_pipe(fd: Fd, by_worker: bool) -> SendQueue {
        let wait = false;
        let state = State {
            way: Way::Pipe { by_worker, wait },
            ..State::default()
        };
        SendQueue {
            fd,
            state: OnceCell::from(Rc::new(RefCell::new(state))),
        }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    fn state(&self) -> &Rc<RefCell<State>> {
        self.state.get_or_init(Rc::default)
    }

    /// Takes as many bytes as there is room for; waits while there is none.
    pub(crate) fn poll_push(&self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.state().borrow_mut();
        if let Some(failure) = state.failed {
            return Poll::Ready(Err(failure.to_error()));
        }
        let room = PENDING_BYTES_MAX.saturating_sub(state.pending.len());
        if room == 0 {
            drop(state);
            self.wait(cx);
            return Poll::Pending;
        }
        let n = room.min(bytes.len());
        if n > 0 {
            if state.pending.capacity() == 0 {
                state.pending = take_spare();
            }
            state.pending.extend_from_slice(&bytes[..n]);
            self.start(&mut state);
        }
        Poll::Ready(Ok(n))
    }

    fn start(&self, state: &mut State) {
        if state.busy {
            return;
        }
        state.busy = true;
        let mut job = state.idle.take().unwrap_or_else(|| {
            Box::new(Job {
                fd: self.fd.clone(),
                way: state.way,
                bytes: Vec::new(),
                sent: 0,
                silence: Silence::No,
                queue: None,
            })
        });
        job.queue = Some(self.state().clone());
        // Only the end of the runtime completes it at once, with this state borrowed.
        let driver = self.fd.driver();
        if driver.is_closed() {
            state.fail(Failure::of(Cqe::GONE));
        } else {
            driver.submit_late(job);
        }
    }

    /// Ready when the kernel has taken everything.
    pub(crate) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(state) = self.state.get() else {
            return Poll::Ready(Ok(()));
        };
        let state = state.borrow();
        if let Some(failure) = state.failed {
            return Poll::Ready(Err(failure.to_error()));
        }
        if !state.busy {
            return Poll::Ready(Ok(()));
        }
        drop(state);
        self.wait(cx);
        Poll::Pending
    }

    /// Remembers whom to wake. A waker's `clone` and destructor may be the program's own, and
    /// write to this very stream: both run outside of the borrow.
    fn wait(&self, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        let replaced = self.state().borrow_mut().waker.replace(waker);
        drop(replaced);
    }

    /// Whether the kernel has taken everything, or nothing more can be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.get().is_none_or(|state| !state.borrow().busy)
    }

    /// Whether what is sent now, past the queue, would stand behind everything that was accepted.
    pub(crate) fn has_sent_all(&self) -> bool {
        let sent_all = |state: &Rc<RefCell<State>>| {
            let state = state.borrow();
            !state.busy && state.failed.is_none()
        };
        self.state.get().is_none_or(sent_all) && self.fd.driver().may_send_past_the_ring()
    }

    /// What was sent past the queue, which is idle, has failed: so does what comes later.
    pub(crate) fn fail(&self, error: &io::Error) {
        self.state().borrow_mut().fail(Failure::of_error(error));
    }

    /// Shuts the write side down as soon as everything is sent.
    pub(crate) fn shutdown_when_empty(&self) {
        match self.state.get() {
            Some(state) if state.borrow().busy => state.borrow_mut().then_shutdown = true,
            _ => {
                // A peer that is gone already is shut down too.
                let _ = sys::shutdown(&self.fd, Shutdown::Write);
            }
        }
    }

    /// Gives back what an idle queue holds of the descriptor, so that it can be unwrapped.
    pub(crate) fn release(self) -> Fd {
        if let Some(state) = self.state.get() {
            state.borrow_mut().idle = None;
        }
        self.fd
    }
}

impl std::fmt::Debug for SendQueue {
    /// Lengths, not contents: the halves of a stream show this.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.get().map(|state| state.borrow());
        let state = state.as_deref();
        f.debug_struct("SendQueue")
            .field("fd", &self.fd)
            .field("pending", &state.map_or(0, |state| state.pending.len()))
            .field("busy", &state.is_some_and(|state| state.busy))
            .field("failed", &state.and_then(|state| state.failed))
            .finish_non_exhaustive()
    }
}

impl State {
    fn fail(&mut self, failure: Failure) {
        self.failed = Some(failure);
        self.busy = false;
        give_spare(std::mem::take(&mut self.pending));
    }
}

/// The operation that sends a queue.
struct Job {
    fd: Fd,
    way: Way,
    /// What is in flight, and how much of it was sent before.
    bytes: Vec<u8>,
    sent: usize,
    silence: Silence,
    queue: Option<Rc<RefCell<State>>>,
}

/// Whether a send says nothing where it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    No,
    /// The one that is in flight does.
    Yes,
    /// The last one had no room: the next one waits for it.
    NotNow,
}

impl Job {
    fn queue(&self) -> &Rc<RefCell<State>> {
        self.queue
            .as_ref()
            .expect("a job in flight knows its queue")
    }

    fn take_pending(&self) -> Vec<u8> {
        std::mem::take(&mut self.queue().borrow_mut().pending)
    }

    /// Nothing is left to send: the queue keeps the box for the next time. What to wake.
    fn rest(mut self: Box<Self>) -> Option<Waker> {
        let queue = self.queue.take().expect("a job in flight knows its queue");
        let mut state = queue.borrow_mut();
        state.busy = false;
        if state.then_shutdown {
            // A peer that is gone already is shut down too.
            let _ = sys::shutdown(&self.fd, Shutdown::Write);
        }
        let waker = state.waker.take();
        state.idle = Some(self);
        waker
    }

    /// Whether nobody needs to know of the end of what is sent next: no task waits for it, nothing
    /// was written behind it, and the stream is still there, whose end would close the socket.
    fn may_be_silent(&self) -> bool {
        let state = self.queue().borrow();
        self.silence == Silence::No
            && matches!(self.way, Way::Socket)
            && state.waker.is_none()
            && state.pending.is_empty()
            && !state.then_shutdown
            && Rc::strong_count(self.queue()) > 1
    }

    /// Takes in a completion; whether there is more to send.
    fn advance(&mut self, cqe: Cqe) -> bool {
        if self.is_put_off(cqe) {
            return true;
        }
        let silence = std::mem::replace(&mut self.silence, Silence::No);
        match cqe.result {
            _ if silence == Silence::Yes && cqe == Cqe::SILENT => self.sent = self.bytes.len(),
            n if silence == Silence::Yes && (n >= 0 || n == -libc::EAGAIN) => {
                self.sent += n.max(0) as usize;
                self.silence = Silence::NotNow;
            }
            n if n >= 0 => self.sent += n as usize,
            _ => {
                give_spare(std::mem::take(&mut self.bytes));
                self.queue().borrow_mut().fail(Failure::of(cqe));
                return false;
            }
        }
        if self.sent < self.bytes.len() {
            return true;
        }
        self.sent = 0;
        give_spare(std::mem::take(&mut self.bytes));
        !self.queue().borrow().pending.is_empty()
    }

    /// Whether the completion says nothing yet of the bytes, which are to be written again.
    fn is_put_off(&mut self, cqe: Cqe) -> bool {
        let Way::Pipe { wait, .. } = &mut self.way else {
            return false;
        };
        if *wait {
            *wait = false;
            return cqe.result >= 0;
        }
        match -cqe.result {
            libc::EINTR => true,
            libc::EAGAIN => {
                *wait = true;
                true
            }
            libc::EOPNOTSUPP if PIPE_FLAGS.get() != 0 => {
                PIPE_FLAGS.set(0);
                children::hold_off_sigpipe();
                true
            }
            _ => false,
        }
    }
}

impl Orphan for Job {
    fn item(&mut self, _cqe: Cqe) {
        unreachable!("a send completes once");
    }

    fn last(mut self: Box<Self>, cqe: Cqe) -> Option<Box<dyn Orphan>> {
        if !self.advance(cqe) {
            if let Some(waker) = self.rest() {
                waker.wake();
            }
            return None;
        }
        // There is room again, as soon as the pending bytes are in flight.
        let waker = self.queue().borrow_mut().waker.take();
        if self.bytes.is_empty() {
            self.bytes = self.take_pending();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(self)
    }

    fn is_silent(&self) -> bool {
        self.silence == Silence::Yes
    }

    fn prepare(&mut self, may_be_silent: bool) -> squeue::Entry {
        if self.bytes.is_empty() {
            self.bytes = self.take_pending();
        }
        if may_be_silent && self.may_be_silent() {
            self.silence = Silence::Yes;
        }
        let bytes = &self.bytes[self.sent..];
        let (ptr, len) = (bytes.as_ptr(), clamp(bytes.len()));
        match self.way {
            Way::Socket if self.is_silent() => opcode::Send::new(self.fd.target(), ptr, len)
                .flags(send_flags(true) | libc::MSG_DONTWAIT)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS),
            Way::Socket => opcode::Send::new(self.fd.target(), ptr, len)
                .flags(send_flags(true))
                .build(),
            Way::Pipe { wait: true, .. } => {
                opcode::PollAdd::new(self.fd.target(), libc::POLLOUT as u32).build()
            }
            Way::Pipe { by_worker, .. } => {
                let entry = opcode::Write::new(self.fd.target(), ptr, len);
                // The file's own position, where it has one.
                let entry = entry.offset(u64::MAX).rw_flags(PIPE_FLAGS.get()).build();
                match by_worker {
                    true => entry.flags(squeue::Flags::ASYNC),
                    false => entry,
                }
            }
        }
    }
}
