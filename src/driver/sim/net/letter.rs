//! Messages within a host: what an `AF_UNIX` socket has in its inbox.
//!
//! They arrive at once and are never lost. What is sent occupies the sender's buffer until it is
//! read, and that is what holds a sender back.

use std::collections::VecDeque;

use super::check::Discard;
use super::unix::{Unix, UnixState};
use super::{Body, DATAGRAM_COST, Errno, Net, Received, SocketId, name};

/// Bytes that were sent with one call. On a stream they join with their neighbours.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) bytes: Vec<u8>,
    /// How many of them a stream has given to its reader.
    read: usize,
    passed: Vec<u64>,
    from: name::UnixName,
    sender: SocketId,
    /// What it occupies of the sender's buffer besides its unread bytes.
    cost: usize,
}

impl Letter {
    pub(super) fn new(
        bytes: &[u8],
        passed: Vec<u64>,
        from: name::UnixName,
        sender: SocketId,
        is_stream: bool,
    ) -> Letter {
        let cost = if is_stream { 0 } else { DATAGRAM_COST };
        Letter {
            bytes: bytes.to_vec(),
            read: 0,
            passed,
            from,
            sender,
            cost,
        }
    }

    pub(super) fn unread(&self) -> usize {
        self.bytes.len() - self.read
    }

    pub(super) fn charge(&self) -> usize {
        self.unread() + self.cost
    }
}

impl Net {
    /// Puts a message into a socket of the same host, and charges its sender.
    pub(super) fn post(&mut self, to: SocketId, letter: Letter) {
        if let Ok(sender) = self.unix_mut(letter.sender) {
            sender.charged += letter.charge();
        }
        if let Ok(unix) = self.unix_mut(to) {
            unix.tally.accepted += letter.bytes.len() as u64;
            unix.inbox.push_back(letter);
            self.touch(to);
        }
    }

    /// Gives a sender a part of its buffer back.
    fn refund(&mut self, sender: SocketId, amount: usize) {
        if let Ok(unix) = self.unix_mut(sender) {
            unix.charged -= amount;
            self.touch(sender);
        }
    }

    /// Throws away what was in a socket's inbox.
    pub(super) fn discard_letters(
        &mut self,
        id: SocketId,
        letters: VecDeque<Letter>,
        why: Discard,
    ) {
        for letter in letters {
            if let Ok(unix) = self.unix_mut(id) {
                unix.tally.discard(why, letter.unread());
            }
            self.refund(letter.sender, letter.charge());
            self.dropped.extend(letter.passed);
        }
        self.touch_senders(id);
    }

    pub(super) fn recv_unix(
        &mut self,
        id: SocketId,
        max: usize,
        peek: bool,
    ) -> Result<Received, Errno> {
        let kind = self.get(id)?.kind;
        let unix = self.unix_mut(id)?;
        let is_open = unix.state == UnixState::Open;
        match kind {
            libc::SOCK_STREAM if !is_open => return Err(libc::EINVAL),
            libc::SOCK_SEQPACKET if !is_open => return Err(libc::ENOTCONN),
            libc::SOCK_STREAM => return self.recv_stream(id, max, peek),
            _ => {}
        }
        if let Some(error) = unix.error.take() {
            return Err(error);
        }
        if unix.inbox.is_empty() {
            let is_over = kind == libc::SOCK_SEQPACKET && unix.shut_read;
            return if is_over {
                Ok(Received::plain(Vec::new()))
            } else {
                Err(libc::EAGAIN)
            };
        }
        self.recv_letter(id, max, peek)
    }

    /// One message, however long it is.
    fn recv_letter(&mut self, id: SocketId, max: usize, peek: bool) -> Result<Received, Errno> {
        let socket = self.get_mut(id)?;
        let kind = socket.kind;
        let Body::Unix(unix) = &mut socket.body else {
            return Err(libc::EOPNOTSUPP);
        };
        let letter = match peek {
            true => unix.inbox.front().cloned(),
            false => unix.inbox.pop_front(),
        };
        let letter = letter.ok_or(libc::EAGAIN)?;
        let (full_len, charge) = (letter.bytes.len(), letter.charge());
        let mut bytes = letter.bytes;
        bytes.truncate(max);
        if !peek {
            unix.tally.delivered += bytes.len() as u64;
            unix.tally
                .discard(Discard::Truncated, full_len - bytes.len());
            self.refund(letter.sender, charge);
            self.touch_senders(id);
        }
        let is_named = letter.from != name::UnixName::Unnamed && kind == libc::SOCK_DGRAM;
        Ok(Received {
            truncated: bytes.len() < full_len,
            bytes,
            from: is_named.then(|| name::unix_out(&letter.from)),
            full_len,
            passed: letter.passed,
        })
    }

    /// Bytes of as many messages as fit, up to and including the first that carries something:
    /// what is passed stays with its bytes.
    fn recv_stream(&mut self, id: SocketId, max: usize, peek: bool) -> Result<Received, Errno> {
        let unix = self.unix_mut(id)?;
        if unix.inbox.is_empty() {
            if let Some(error) = unix.error.take() {
                return Err(error);
            }
            let is_over = unix.shut_read;
            return if is_over {
                Ok(Received::plain(Vec::new()))
            } else {
                Err(libc::EAGAIN)
            };
        }
        let mut received = Received::plain(Vec::new());
        let mut refunds = Vec::new();
        for letter in &mut unix.inbox {
            let len = letter.unread().min(max - received.bytes.len());
            received
                .bytes
                .extend(&letter.bytes[letter.read..letter.read + len]);
            let carries = !letter.passed.is_empty();
            if peek {
                received.passed.extend(&letter.passed);
            } else {
                received.passed.append(&mut letter.passed);
                letter.read += len;
                refunds.push((letter.sender, len));
            }
            if carries || received.bytes.len() == max {
                break;
            }
        }
        if !peek {
            unix.tally.delivered += received.bytes.len() as u64;
            while unix
                .inbox
                .front()
                .is_some_and(|letter| letter.unread() == 0)
            {
                unix.inbox.pop_front();
            }
        }
        for (sender, amount) in refunds {
            self.refund(sender, amount);
        }
        received.full_len = received.bytes.len();
        Ok(received)
    }

    /// A datagram was read: whoever found this queue full may try again.
    fn touch_senders(&mut self, id: SocketId) {
        let is_sender = |unix: &Unix| unix.peer == Some(id) || unix.blocked_on == Some(id);
        let senders = self
            .sockets
            .iter()
            .filter(|(_, socket)| match &socket.body {
                Body::Unix(unix) => is_sender(unix),
                Body::Tcp(_) | Body::Udp(_) => false,
            });
        let senders: Vec<SocketId> = senders.map(|(sender, _)| *sender).collect();
        senders.into_iter().for_each(|sender| self.touch(sender));
    }
}
