//! Messages with names and control data: `sendmsg` and `recvmsg` on datagram and Unix sockets.

use super::memory;
use super::net::Received;
use super::state::{Object, Op, State};
use std::rc::Rc;

/// The length of `struct cmsghdr`.
const HEADER_LEN: usize = 16;
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;
/// Datagrams that are joined at most.
const JOINED_MAX: usize = 64;

/// A message as it is given to the program.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// The sender's address, in the kernel's form.
    pub(super) name: Vec<u8>,
    pub(super) control: Vec<u8>,
    pub(super) truncated: bool,
    /// How long the message was when it was sent.
    pub(super) whole: usize,
}

impl Message {
    /// What the call returns: the length that was received, or was sent (`MSG_TRUNC`).
    pub(super) fn len(&self, flags: u32) -> usize {
        match flags as i32 & libc::MSG_TRUNC != 0 {
            true => self.whole,
            false => self.bytes.len(),
        }
    }
}

/// One item of control data.
struct Control {
    level: i32,
    kind: i32,
    data: Vec<u8>,
}

fn parse(mut bytes: &[u8]) -> Vec<Control> {
    let mut items = Vec::new();
    let word = |bytes: &[u8], at: usize| {
        let four = bytes[at..at + 4].try_into().expect("four bytes");
        i32::from_ne_bytes(four)
    };
    while bytes.len() >= HEADER_LEN {
        let len = usize::from_ne_bytes(bytes[..8].try_into().expect("eight bytes"));
        if len < HEADER_LEN || len > bytes.len() {
            break;
        }
        items.push(Control {
            level: word(bytes, 8),
            kind: word(bytes, 12),
            data: bytes[HEADER_LEN..len].to_vec(),
        });
        bytes = &bytes[len.next_multiple_of(8).min(bytes.len())..];
    }
    items
}

fn format(item: &Control) -> Vec<u8> {
    let len = HEADER_LEN + item.data.len();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(item.level.to_ne_bytes());
    bytes.extend(item.kind.to_ne_bytes());
    bytes.extend(&item.data);
    bytes.resize(len.next_multiple_of(8), 0);
    bytes
}

impl State {
    pub(super) fn receive_message(
        &mut self,
        core: usize,
        file: &Rc<Object>,
        room: usize,
        flags: u32,
    ) -> Result<Message, i32> {
        let peek = flags as i32 & libc::MSG_PEEK != 0;
        let mut received = self.net.recv_message(file.socket()?, room, peek)?;
        let name = received.from.as_ref().map(memory::to_bytes);
        let control = match received.passed.is_empty() || peek {
            true if peek => Vec::new(),
            true => self.join_more(file, &mut received, room)?,
            false => self.take_passed(core, &received.passed),
        };
        Ok(Message {
            bytes: received.bytes,
            name: name.unwrap_or_default(),
            control,
            truncated: received.truncated,
            whole: received.full_len,
        })
    }

    /// Joins some of the datagrams that follow to this one, as a kernel may where the program has
    /// asked for it (`UDP_GRO`): how many, the seed decides. Their length is the control data.
    fn join_more(
        &mut self,
        file: &Object,
        received: &mut Received,
        room: usize,
    ) -> Result<Vec<u8>, i32> {
        let socket = file.socket()?;
        let segment = received.bytes.len();
        if received.truncated || segment == 0 || !self.net.options(socket)?.joins {
            return Ok(Vec::new());
        }
        let mut count = 1;
        while count < JOINED_MAX && self.rng.chance(0.8) {
            let from = received.from.as_ref();
            let Some(len) = self.net.joinable(socket, from, segment) else {
                break;
            };
            if received.bytes.len() + len > room.min(usize::from(u16::MAX)) {
                break;
            }
            let next = self.net.recv_message(socket, len, false)?;
            received.bytes.extend(next.bytes);
            count += 1;
            // A shorter one is the last.
            if len < segment {
                break;
            }
        }
        received.full_len = received.bytes.len();
        if count == 1 {
            return Ok(Vec::new());
        }
        Ok(format(&Control {
            level: SOL_UDP,
            kind: UDP_GRO,
            data: (segment as i32).to_ne_bytes().to_vec(),
        }))
    }

    /// Gives the receiving host descriptors of what was passed, as far as it has numbers.
    fn take_passed(&mut self, core: usize, passed: &[u64]) -> Vec<u8> {
        let host = self.cores[core].host;
        let mut data = Vec::new();
        for id in passed {
            let Some(object) = self.passed.remove(id) else {
                continue;
            };
            match self.has_number(host) {
                true => data.extend(self.install_object(host, object).to_ne_bytes()),
                false => self.put(object),
            }
        }
        format(&Control {
            level: libc::SOL_SOCKET,
            kind: libc::SCM_RIGHTS,
            data,
        })
    }

    /// Sends a message that has a name or control data, or goes to a socket of messages; `None`
    /// where it is only a piece of a stream.
    pub(super) fn send_message(
        &mut self,
        core: usize,
        op: &mut Op,
        file: &Rc<Object>,
    ) -> Option<Result<(), i32>> {
        let header: libc::msghdr = memory::get(op.sqe.addr);
        let control = memory::read(header.msg_control as u64, header.msg_controllen);
        let stream = self.is_stream(file);
        if stream && control.is_empty() {
            return None;
        }
        Some(self.send_as_message(core, op, file, &header, &parse(&control)))
    }

    fn send_as_message(
        &mut self,
        core: usize,
        op: &mut Op,
        file: &Rc<Object>,
        header: &libc::msghdr,
        control: &[Control],
    ) -> Result<(), i32> {
        let socket = file.socket()?;
        let bytes = memory::gather(&memory::pieces(header.msg_iov as u64, header.msg_iovlen));
        let to = match header.msg_namelen {
            0 => None,
            len => Some(memory::sock_addr(header.msg_name as u64, len as usize)?),
        };
        let segment = control
            .iter()
            .find(|item| item.level == SOL_UDP && item.kind == UDP_SEGMENT);
        if let Some(segment) = segment {
            let size = segment.data.get(..2).ok_or(libc::EINVAL)?;
            let size = u16::from_ne_bytes(size.try_into().expect("two bytes"));
            let (len, each) = (bytes.len(), usize::from(size.max(1)));
            self.net.check_segments(socket, len, each, to.as_ref())?;
            for chunk in bytes[op.done..].chunks(each) {
                let n = self
                    .net
                    .send_message(socket, chunk, to.as_ref(), Vec::new(), self.now)?;
                op.done += n;
            }
            return Ok(());
        }
        let passed = self.pass(core, control)?;
        let sent = self.net.send_message(
            socket,
            &bytes[op.done..],
            to.as_ref(),
            passed.clone(),
            self.now,
        );
        match sent {
            Ok(n) => {
                op.done += n;
                Ok(())
            }
            Err(errno) => {
                for id in passed {
                    if let Some(object) = self.passed.remove(&id) {
                        self.put(object);
                    }
                }
                Err(errno)
            }
        }
    }

    /// Takes a count of every descriptor that is to be passed.
    fn pass(&mut self, core: usize, control: &[Control]) -> Result<Vec<u64>, i32> {
        let host = self.cores[core].host;
        let rights = control
            .iter()
            .filter(|item| item.level == libc::SOL_SOCKET && item.kind == libc::SCM_RIGHTS);
        let mut objects = Vec::new();
        for number in rights.flat_map(|item| item.data.chunks_exact(4)) {
            let number = i32::from_ne_bytes(number.try_into().expect("four bytes"));
            objects.push(self.object(host, number)?);
        }
        let ids = objects.into_iter().map(|object| {
            let id = self.next_number();
            self.passed.insert(id, object);
            id
        });
        Ok(ids.collect())
    }

    /// What was passed and will never be received is closed.
    pub(super) fn drop_passed(&mut self) {
        for id in self.net.take_dropped() {
            if let Some(object) = self.passed.remove(&id) {
                self.put(object);
            }
        }
    }
}
