//! The yardstick: an echo server written straight on the ring, with no executor.
//!
//! Rules:
//! 1. One `io_uring_enter` a turn submits everything and waits. Nothing is allocated per message.
//! 2. One multishot accept, one multishot receive a connection, one send in flight a connection.
//! 3. A message is sent from the buffer that it was received into; neighbouring pieces leave in
//!    one send.
//! 4. A connection is freed only when neither its receive nor its send is in flight.
//!
//! ```text
//! accept --> receive --> pieces --settle--> send --> give the buffer back
//!               ^ ENOBUFS: starved, re-armed first-in first-out when buffers are back
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{
    CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue,
};
use slab::Slab;

use crate::pool::{GROUP, Piece, Pool};

const SUBMISSION_ENTRIES: u32 = 1024;
const COMPLETION_ENTRIES: u32 = 8192;
/// How long a wait that counts on sends to complete may be wrong. Longer than a tick on purpose:
/// a nearer deadline makes every sleep set the hardware's timer, which doubled the cost of a
/// message on a virtual machine.
const COUNTED_WAIT_NS: u32 = 100_000_000;

/// The upper half of `user_data`: whose completion it is. The lower half: which connection.
const ACCEPT: u64 = 0 << 32;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const CANCEL: u64 = 3 << 32;

/// What a server counts, read by another thread while it runs.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Receives that brought bytes.
    pub(crate) receives: AtomicU64,
    /// Calls of `io_uring_enter`; 0 where a server does not say.
    pub(crate) enters: AtomicU64,
}

/// What ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// One completion, be it only that of a send just submitted.
    One,
    /// One completion more than there were sends submitted, since those complete at once.
    SendsAndOne,
}

/// Echoes until `stop` is set and one more connection has come in to end the wait.
pub(crate) fn run(
    listener: TcpListener,
    stop: &AtomicBool,
    stats: &Stats,
    wait: Wait,
) -> io::Result<()> {
    let mut pool = Pool::new()?; // Declared before the ring, so dropped after it.
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_clamp()
        .setup_cqsize(COMPLETION_ENTRIES)
        .dontfork()
        .build(SUBMISSION_ENTRIES)?;
    let mut enter_flags = EnterFlags::GETEVENTS;
    if ring.params().is_feature_no_iowait() {
        enter_flags |= EnterFlags::NO_IOWAIT;
    }
    let (mut submitter, submissions, completions) = ring.split();
    submitter.register_ring_fd()?;
    pool.register(&submitter)?;
    let mut server = Server {
        submitter,
        submissions,
        completions,
        enter_flags,
        wait,
        sends_counted: 0,
        pool: &mut pool,
        listener: listener.as_raw_fd(),
        accepting: false,
        stopping: false,
        connections: Slab::with_capacity(1024),
        dirty: Vec::with_capacity(1024),
        starved: VecDeque::with_capacity(1024),
        stats,
    };
    server.arm_accept()?;
    while !stop.load(Ordering::Relaxed) {
        server.turn()?;
    }
    server.drain()
}

struct Server<'a> {
    submitter: Submitter<'a>,
    submissions: SubmissionQueue<'a>,
    completions: CompletionQueue<'a>,
    enter_flags: EnterFlags,
    wait: Wait,
    /// Sends pushed since the last enter after which their connection only waits to receive.
    sends_counted: u32,
    pool: &'a mut Pool,
    listener: RawFd,
    accepting: bool,
    stopping: bool,
    connections: Slab<Connection>,
    /// Connections to look at before the next enter, each once.
    dirty: Vec<usize>,
    /// Connections whose receive found no buffer, oldest first.
    starved: VecDeque<usize>,
    stats: &'a Stats,
}

struct Connection {
    fd: OwnedFd,
    /// Received and not yet sent, in order. A send in flight has begun with the front.
    pieces: VecDeque<Piece>,
    receiving: bool,
    sending: bool,
    starved: bool,
    dirty: bool,
    /// Nothing more will be received.
    ended: bool,
    /// Nothing more can be sent.
    broken: bool,
}

impl Server<'_> {
    /// Submits, waits and delivers once.
    fn turn(&mut self) -> io::Result<()> {
        self.enter()?;
        self.completions.sync();
        while let Some(completion) = self.completions.next() {
            self.deliver(&completion)?;
        }
        self.completions.sync();
        self.settle_dirty()?;
        self.rearm_starved()
    }

    fn enter(&mut self) -> io::Result<()> {
        self.pool.publish();
        self.submissions.sync();
        let sends = std::mem::take(&mut self.sends_counted);
        let want = match self.wait {
            // The kernel has completions that it can only deliver inside an enter.
            _ if self.submissions.taskrun() => 0,
            Wait::SendsAndOne => 1 + sends,
            Wait::One => 1,
        };
        let to_submit = self.submissions.len() as u32;
        let entered = if want > 1 {
            let limit = Timespec::new().nsec(COUNTED_WAIT_NS);
            let arguments = SubmitArgs::new().timespec(&limit);
            let flags = (self.enter_flags | EnterFlags::EXT_ARG).bits();
            // SAFETY: the argument is what EXT_ARG announces, and lives until the call returns.
            unsafe {
                self.submitter
                    .enter(to_submit, want, flags, Some(&arguments))
            }
        } else {
            let flags = self.enter_flags.bits();
            // SAFETY: without EXT_ARG an absent argument means "no signal mask".
            unsafe {
                self.submitter
                    .enter::<libc::sigset_t>(to_submit, want, flags, None)
            }
        };
        self.stats.enters.fetch_add(1, Ordering::Relaxed);
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            Err((Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn deliver(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let (result, flags) = (completion.result(), completion.flags());
        let connection = (completion.user_data() & u64::from(u32::MAX)) as usize;
        match completion.user_data() >> 32 << 32 {
            ACCEPT => self.on_accept(result, flags),
            RECEIVE => self.on_receive(connection, result, flags),
            SEND => {
                self.on_send(connection, result);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_accept(&mut self, result: i32, flags: u32) -> io::Result<()> {
        self.accepting = cqueue::more(flags);
        if result >= 0 {
            // SAFETY: a non-negative result is a new descriptor that nobody else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            let index = self.connections.insert(Connection::new(fd));
            self.arm_receive(index)?;
        }
        // With no descriptor left, accepting goes on when a connection has been closed.
        let exhausted = result == -libc::EMFILE || result == -libc::ENFILE;
        if !self.accepting && !self.stopping && !exhausted {
            self.arm_accept()?;
        }
        Ok(())
    }

    fn on_receive(&mut self, index: usize, result: i32, flags: u32) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.receiving = cqueue::more(flags);
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let len = result.max(0) as u32;
            let piece = self.pool.take(buffer, len, cqueue::buffer_more(flags));
            if connection.joins(piece) {
                self.pool.give_back(buffer);
            }
        }
        match result {
            1.. => {
                self.stats.receives.fetch_add(1, Ordering::Relaxed);
                if !connection.receiving && !connection.broken {
                    self.arm_receive(index)?;
                }
            }
            _ if result == -libc::ENOBUFS && !connection.broken => {
                connection.starved = true;
                self.starved.push_back(index);
            }
            _ => {
                connection.ended = true;
                connection.broken |= result < 0;
            }
        }
        self.mark_dirty(index);
        Ok(())
    }

    fn on_send(&mut self, index: usize, result: i32) {
        let connection = &mut self.connections[index];
        connection.sending = false;
        match result {
            1.. => {
                let front = connection
                    .pieces
                    .front_mut()
                    .expect("a send began with the front");
                front.start += result as u32;
                front.len -= result as u32;
                if front.len == 0 {
                    let buffer = front.buffer;
                    connection.pieces.pop_front();
                    self.pool.give_back(buffer);
                }
            }
            _ if result == -libc::EINTR || result == -libc::EAGAIN => {}
            _ => {
                connection.broken = true;
                connection.shut_down();
            }
        }
        self.mark_dirty(index);
    }

    fn mark_dirty(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    fn settle_dirty(&mut self) -> io::Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            self.connections[index].dirty = false;
            self.settle(index)?;
        }
        self.dirty = dirty;
        Ok(())
    }

    /// Starts the next send of a connection, or frees it when all is done.
    fn settle(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        if connection.sending {
            return Ok(());
        }
        if connection.broken {
            for piece in connection.pieces.drain(..) {
                self.pool.give_back(piece.buffer);
            }
        }
        if let Some(&piece) = connection.pieces.front() {
            connection.sending = true;
            let fd = Fd(connection.fd.as_raw_fd());
            let entry = opcode::Send::new(fd, self.pool.address(piece), piece.len)
                .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                .build();
            // With more pieces behind it, this very completion is what the wait must bring.
            self.sends_counted += u32::from(connection.pieces.len() == 1);
            return self.push(entry.user_data(SEND | index as u64));
        }
        if !connection.receiving && (connection.ended || connection.broken) {
            self.connections.remove(index);
            if !self.accepting && !self.stopping {
                return self.arm_accept();
            }
        }
        Ok(())
    }

    fn rearm_starved(&mut self) -> io::Result<()> {
        for _ in 0..self.pool.available().min(self.starved.len()) {
            let Some(index) = self.starved.pop_front() else {
                break;
            };
            // The connection may be gone, and its place taken by one that is not starved.
            let connection = self.connections.get_mut(index);
            if connection.is_some_and(|it| std::mem::take(&mut it.starved) && !it.broken) {
                self.arm_receive(index)?;
            }
        }
        Ok(())
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        self.accepting = true;
        let entry = opcode::AcceptMulti::new(Fd(self.listener))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.push(entry.user_data(ACCEPT))
    }

    fn arm_receive(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.receiving = true;
        let entry = opcode::RecvMulti::new(Fd(connection.fd.as_raw_fd()), GROUP).build();
        self.push(entry.user_data(RECEIVE | index as u64))
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        while self.submissions.is_full() {
            self.submissions.sync();
            self.submitter.submit()?;
            self.submissions.sync();
        }
        // SAFETY: the only memory that an entry names is the pool's: a piece is not lent again
        // before its send has completed, and the pool outlives the ring.
        unsafe { self.submissions.push(&entry) }.map_err(io::Error::other)
    }

    /// Ends every operation, so that nothing is in flight when the ring is closed.
    fn drain(&mut self) -> io::Result<()> {
        self.stopping = true;
        if self.accepting {
            let cancel = opcode::AsyncCancel::new(ACCEPT).build();
            self.push(cancel.user_data(CANCEL))?;
        }
        while self.accepting || !self.connections.is_empty() {
            let indices: Vec<usize> = self.connections.iter().map(|(index, _)| index).collect();
            for index in indices {
                self.connections[index].shut_down();
                self.connections[index].broken = true;
                self.mark_dirty(index);
            }
            self.settle_dirty()?;
            if self.accepting || !self.connections.is_empty() {
                self.turn()?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            pieces: VecDeque::with_capacity(16),
            receiving: false,
            sending: false,
            starved: false,
            dirty: false,
            ended: false,
            broken: false,
        }
    }

    /// Queues a piece; true when it went into the last one, so that one claim on the buffer is
    /// enough. The last one may grow while it is being sent: the rest follows in the next send.
    fn joins(&mut self, piece: Piece) -> bool {
        if let Some(last) = self.pieces.back_mut() {
            if last.buffer == piece.buffer && last.start + last.len == piece.start {
                last.len += piece.len;
                return true;
            }
        }
        if piece.len > 0 {
            self.pieces.push_back(piece);
        }
        piece.len == 0
    }

    /// Ends the receive that is in flight.
    fn shut_down(&self) {
        // SAFETY: the descriptor is open, and the call takes no memory.
        unsafe { libc::shutdown(self.fd.as_raw_fd(), libc::SHUT_RDWR) };
    }
}
