//! Operations that wait for a socket: what one attempt comes to.

use super::entry::Sqe;
use super::memory;
use super::net::Ready;
use super::queue::{CQE_BUF_MORE, CQE_BUFFER, CQE_MORE, CQE_NOTIF, CQE_SOCK_NONEMPTY};
use super::rng::Rng;
use super::state::{Event, Object, Op, Phase, State, What};
use io_uring::opcode;
use std::cell::OnceCell;
use std::rc::Rc;

/// Completions that a multishot operation posts in a row, at most.
const SHOTS_MAX: u64 = 32;
/// Bytes of a stream that one attempt looks at: more than any socket has room for.
const SEND_MAX: usize = 256 * 1024;
/// The length of `struct io_uring_recvmsg_out`.
const RECVMSG_OUT_LEN: usize = 16;

/// What an attempt came to.
enum Attempt {
    /// Nothing can be done yet.
    Pending,
    /// A result, of an operation that ends with it.
    Last(i32, u32),
    /// A result, of a multishot operation that goes on.
    Shot(i32, u32),
    /// A result, of an operation whose buffer the network still reads.
    Lingering(i32),
}

impl State {
    /// Lets an operation go on, as far as it can.
    pub(super) fn run_op(&mut self, core: usize, id: u64) {
        let Some(mut op) = self.take_op(core, id) else {
            return;
        };
        for _ in 0..self.rng.between(1, SHOTS_MAX) {
            let attempt = match op.phase {
                Phase::Told(result) => Attempt::Last(result, 0),
                Phase::Notification(_) | Phase::Worker => Attempt::Pending,
                Phase::Socket => self.attempt(core, &mut op),
            };
            match attempt {
                Attempt::Pending => return self.keep(core, id, op),
                Attempt::Last(result, flags) => return self.end(core, op, result, flags),
                Attempt::Lingering(result) => {
                    self.post(core, op.sqe.user_data, result, CQE_MORE);
                    return self.linger(core, id, op);
                }
                Attempt::Shot(result, flags) => {
                    let ends = self.is_full(core) || self.roll(|faults| faults.multishot_ends);
                    if ends {
                        return self.end(core, op, result, flags);
                    }
                    self.post(core, op.sqe.user_data, result, flags | CQE_MORE);
                }
            }
        }
        // Others have their turn first.
        self.keep(core, id, op);
        self.cores[core].poked.insert(id);
    }

    fn keep(&mut self, core: usize, id: u64, op: Op) {
        if let Some(what) = op.files.first().and_then(|file| file.watched()) {
            self.watch(core, id, what);
        }
        self.cores[core].ops.insert(id, op);
    }

    fn attempt(&mut self, core: usize, op: &mut Op) -> Attempt {
        let Some(file) = op.files.first().cloned() else {
            return Attempt::Last(-libc::EBADF, 0);
        };
        let multishot = op.sqe.is_multishot();
        let result = match op.sqe.opcode {
            opcode::Read::CODE => self.try_read_pipe(&op.sqe, &file),
            opcode::Write::CODE => self.try_write_pipe(&op.sqe, &file),
            opcode::PollAdd::CODE => self.try_poll(op, &file),
            opcode::AcceptMulti::CODE => self.try_accept(core, &file),
            opcode::Connect::CODE => self.try_connect(op, &file),
            opcode::Recv::CODE if op.sqe.selects_buffer() => {
                return self.try_recv_into_pool(core, op, &file);
            }
            opcode::Recv::CODE => self.try_recv(&op.sqe, &file),
            opcode::RecvMsg::CODE if op.sqe.selects_buffer() => {
                return self.try_message_into_pool(core, op, &file);
            }
            opcode::RecvMsg::CODE => self.try_message(core, op, &file),
            opcode::Send::CODE | opcode::SendMsg::CODE | opcode::SendZc::CODE => {
                return self.try_send(core, op, &file);
            }
            other => unreachable!("operation {other} does not wait for a socket"),
        };
        match result {
            Err(libc::EAGAIN) => Attempt::Pending,
            Err(errno) => Attempt::Last(-errno, 0),
            Ok(n) if multishot => Attempt::Shot(n, 0),
            Ok(n) => Attempt::Last(n, 0),
        }
    }

    fn try_accept(&mut self, core: usize, file: &Rc<Object>) -> Result<i32, i32> {
        let listener = file.socket()?;
        if !self.net.ready(listener).acceptable {
            // Closed, or never listening: that is an error; otherwise nobody has come.
            return match self.net.accept(listener) {
                Some(Err(errno)) => Err(errno),
                _ => Err(libc::EAGAIN),
            };
        }
        if self.roll(|faults| faults.accept_fails) {
            const PASSING: [i32; 5] = [
                libc::ECONNABORTED,
                libc::ENFILE,
                libc::ENOBUFS,
                libc::EPROTO,
                libc::ENOMEM,
            ];
            return Err(PASSING[self.rng.index(PASSING.len())]);
        }
        let host = self.cores[core].host;
        if !self.has_number(host) {
            return Err(libc::EMFILE);
        }
        let id = self.net.accept(listener).ok_or(libc::EAGAIN)??;
        let What::Socket { kind, .. } = &file.what else {
            return Err(libc::ENOTSOCK);
        };
        let what = What::Socket {
            id,
            kind: *kind,
            options: OnceCell::new(),
        };
        self.install(host, what)
    }

    fn try_connect(&mut self, op: &mut Op, file: &Rc<Object>) -> Result<i32, i32> {
        let socket = file.socket()?;
        if op.done == 0 {
            op.done = 1;
            let address = memory::sock_addr(op.sqe.addr, op.sqe.off as usize)?;
            match self.net.connect(socket, &address, self.now) {
                Ok(()) | Err(libc::EINPROGRESS) => {}
                Err(errno) => {
                    op.done = 0;
                    return Err(errno);
                }
            }
        }
        let result = self.net.connect_result(socket).ok_or(libc::EAGAIN);
        if result.is_ok() {
            op.done = 0;
        }
        result?.map(|()| 0)
    }

    /// How much a receive takes this time.
    fn portion(&mut self, room: usize) -> usize {
        match room > 1 && self.roll(|faults| faults.short_recv) {
            true => 1 + self.rng.index(room),
            false => room,
        }
    }

    fn try_recv(&mut self, sqe: &Sqe, file: &Rc<Object>) -> Result<i32, i32> {
        let room = self.portion(sqe.len as usize);
        let bytes = self.net.recv(file.socket()?, room)?;
        memory::write(sqe.addr, &bytes);
        Ok(bytes.len() as i32)
    }

    /// The room of the next provided buffer; `None` is `ENOBUFS`.
    fn provided(&mut self, core: usize, group: u16) -> Option<usize> {
        if self.roll(|faults| faults.no_buffers) {
            return None;
        }
        self.cores[core].buffers.get(&group)?.room()
    }

    fn fill(&mut self, core: usize, group: u16, bytes: &[u8]) -> u32 {
        let buffers = self.cores[core].buffers.get_mut(&group);
        let filled = buffers.expect("there was room").fill(bytes);
        let more = if filled.more { CQE_BUF_MORE } else { 0 };
        CQE_BUFFER | more | u32::from(filled.bid) << 16
    }

    fn try_recv_into_pool(&mut self, core: usize, op: &Op, file: &Rc<Object>) -> Attempt {
        let Ok(socket) = file.socket() else {
            return Attempt::Last(-libc::ENOTSOCK, 0);
        };
        // Without a buffer it ends at once, even if there is nothing to be received.
        let Some(room) = self.provided(core, op.sqe.buf_group) else {
            return Attempt::Last(-libc::ENOBUFS, 0);
        };
        let room = match op.sqe.len {
            0 => room,
            len => room.min(len as usize),
        };
        let room = self.portion(room);
        match self.net.recv(socket, room) {
            Err(libc::EAGAIN) => Attempt::Pending,
            Err(errno) => Attempt::Last(-errno, 0),
            Ok(bytes) if bytes.is_empty() => Attempt::Last(0, 0),
            Ok(bytes) => {
                let mut flags = self.fill(core, op.sqe.buf_group, &bytes);
                if self.net.ready(socket).readable {
                    flags |= CQE_SOCK_NONEMPTY;
                }
                match op.sqe.is_multishot() {
                    true => Attempt::Shot(bytes.len() as i32, flags),
                    false => Attempt::Last(bytes.len() as i32, flags),
                }
            }
        }
    }

    fn try_message(&mut self, core: usize, op: &Op, file: &Rc<Object>) -> Result<i32, i32> {
        let mut header: libc::msghdr = memory::get(op.sqe.addr);
        let pieces = memory::pieces(header.msg_iov as u64, header.msg_iovlen);
        let room = pieces.iter().map(|piece| piece.1).sum();
        let message = self.receive_message(core, file, room, op.sqe.op_flags)?;
        memory::scatter(&pieces, &message.bytes);
        let name_room = header.msg_namelen as usize;
        header.msg_namelen = message.name.len() as u32;
        memory::write(header.msg_name as u64, clipped(&message.name, name_room));
        let control_room = header.msg_controllen;
        let fits = message.control.len() <= control_room;
        header.msg_controllen = message.control.len().min(control_room);
        memory::write(
            header.msg_control as u64,
            clipped(&message.control, control_room),
        );
        let cut = if fits { 0 } else { libc::MSG_CTRUNC };
        header.msg_flags = cut
            | if message.truncated {
                libc::MSG_TRUNC
            } else {
                0
            };
        memory::put(op.sqe.addr, header);
        Ok(message.len(op.sqe.op_flags) as i32)
    }

    /// A multishot `recvmsg`: a header, the name, the control data and the payload, one after the
    /// other in a provided buffer.
    fn try_message_into_pool(&mut self, core: usize, op: &Op, file: &Rc<Object>) -> Attempt {
        let header: libc::msghdr = memory::get(op.sqe.addr);
        let (name_room, control_room) = (header.msg_namelen as usize, header.msg_controllen);
        let Some(room) = self.provided(core, op.sqe.buf_group) else {
            return Attempt::Last(-libc::ENOBUFS, 0);
        };
        let head = RECVMSG_OUT_LEN + name_room + control_room;
        if room < head {
            return Attempt::Last(-libc::EFAULT, 0);
        }
        let message = match self.receive_message(core, file, room - head, op.sqe.op_flags) {
            Ok(message) => message,
            Err(libc::EAGAIN) => return Attempt::Pending,
            Err(errno) => return Attempt::Last(-errno, 0),
        };
        let flags = if message.truncated {
            libc::MSG_TRUNC
        } else {
            0
        };
        let words = [
            message.name.len() as u32,
            message.control.len() as u32,
            message.whole as u32,
            flags as u32,
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.extend(padded(&message.name, name_room));
        bytes.extend(padded(&message.control, control_room));
        bytes.extend(&message.bytes);
        let flags = self.fill(core, op.sqe.buf_group, &bytes);
        let result = bytes.len() as i32;
        // A datagram without bytes ends the shots, as it does on Linux.
        match op.sqe.is_multishot() && !message.bytes.is_empty() {
            true => Attempt::Shot(result, flags),
            false => Attempt::Last(result, flags),
        }
    }

    fn try_send(&mut self, core: usize, op: &mut Op, file: &Rc<Object>) -> Attempt {
        match self.send_some(core, op, file) {
            Err(libc::EAGAIN) if !op.sqe.must_not_wait() => Attempt::Pending,
            // What was sent before the failure is told first.
            Err(_) if op.done > 0 => self.sent(op, op.done as i32),
            Err(errno) => self.sent(op, -errno),
            Ok(()) => self.sent(op, op.done as i32),
        }
    }

    fn sent(&mut self, op: &Op, result: i32) -> Attempt {
        // A failed zero-copy send may or may not be followed by a notification.
        let zero_copy = op.sqe.opcode == opcode::SendZc::CODE;
        match zero_copy && (result >= 0 || self.rng.chance(0.5)) {
            true => Attempt::Lingering(result),
            false => Attempt::Last(result, 0),
        }
    }

    /// Sends what fits; `Ok` when the operation is over.
    fn send_some(&mut self, core: usize, op: &mut Op, file: &Rc<Object>) -> Result<(), i32> {
        let socket = file.socket()?;
        let flags = op.sqe.op_flags as i32;
        self.take_multicast_options(file);
        if op.sqe.opcode == opcode::SendMsg::CODE {
            if let Some(result) = self.send_message(core, op, file) {
                return result;
            }
        }
        let (bytes, left) = match op.sqe.opcode {
            opcode::SendMsg::CODE => {
                let header: libc::msghdr = memory::get(op.sqe.addr);
                let pieces = memory::pieces(header.msg_iov as u64, header.msg_iovlen);
                let bytes = memory::gather(&pieces).split_off(op.done);
                let left = bytes.len();
                (bytes, left)
            }
            _ => {
                let left = op.sqe.len as usize - op.done;
                let len = if self.is_stream(file) {
                    left.min(SEND_MAX)
                } else {
                    left
                };
                (memory::read(op.sqe.addr + op.done as u64, len), left)
            }
        };
        if self.roll(|faults| faults.connection_reset) {
            self.net.reset(socket, self.now);
        }
        let all = flags & libc::MSG_WAITALL != 0;
        let mut rest = &bytes[..];
        if rest.len() > 1 && !all && self.is_stream(file) && self.roll(|f| f.short_send) {
            rest = &rest[..1 + self.rng.index(rest.len())];
        }
        let n = self.net.send(socket, rest, self.now)?;
        op.done += n;
        match all && n < left {
            true => Err(libc::EAGAIN),
            false => Ok(()),
        }
    }

    pub(super) fn is_stream(&self, file: &Rc<Object>) -> bool {
        matches!(&file.what, What::Socket { kind, .. } if kind[1] == libc::SOCK_STREAM)
    }

    /// Keeps a zero-copy send until its notification.
    fn linger(&mut self, core: usize, id: u64, mut op: Op) {
        op.phase = Phase::Notification(hash(&op));
        self.cores[core].ops.insert(id, op);
        if self.roll(|faults| faults.no_notification) {
            return;
        }
        let late = self.roll(|faults| faults.late_notification);
        let longest = if late { 1_000_000_000 } else { 200_000 };
        let at = self.now + self.rng.below(longest);
        self.at(at, Event::Notify { core, op: id });
    }

    pub(super) fn notify(&mut self, core: usize, id: u64) {
        let Some(op) = self.cores[core].ops.remove(&id) else {
            return;
        };
        assert!(
            op.phase == Phase::Notification(hash(&op)),
            "the buffer of a zero-copy send was changed before the kernel was done with it"
        );
        self.end(core, op, 0, CQE_NOTIF);
    }

    fn try_poll(&mut self, op: &mut Op, file: &Rc<Object>) -> Result<i32, i32> {
        let wanted = op.sqe.op_flags as i16 | libc::POLLERR | libc::POLLHUP;
        let ready = match &file.what {
            What::Pipe(end) => end.ready(),
            What::Signals => self.new_signals(op, file.host),
            What::Socket { .. } | What::File(_) => events(self.net.ready(file.socket()?)),
        };
        match ready & wanted {
            0 => Err(libc::EAGAIN),
            events => Ok(events.into()),
        }
    }
}

/// What `poll` reports.
fn events(ready: Ready) -> i16 {
    let table = [
        (ready.readable || ready.acceptable, libc::POLLIN),
        (ready.writable, libc::POLLOUT),
        (ready.error, libc::POLLERR),
        (ready.hangup, libc::POLLHUP),
        (ready.peer_closed, libc::POLLRDHUP),
    ];
    let set = table.iter().filter(|(set, _)| *set);
    set.fold(0, |events, (_, event)| events | event)
}

/// A hash of the bytes that a zero-copy send has sent, and still lends.
fn hash(op: &Op) -> u64 {
    let mix = |hash: u64, chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        Rng::new(hash ^ u64::from_le_bytes(word)).next_u64()
    };
    memory::read(op.sqe.addr, op.done).chunks(8).fold(0, mix)
}

pub(super) fn clipped(bytes: &[u8], room: usize) -> &[u8] {
    &bytes[..bytes.len().min(room)]
}

fn padded(bytes: &[u8], room: usize) -> Vec<u8> {
    let mut field = clipped(bytes, room).to_vec();
    field.resize(room, 0);
    field
}
