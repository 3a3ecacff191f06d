//! Operations on messages: bytes with an address, and with descriptors or a segment length beside
//! them (`sendmsg`, `recvmsg`).

use crate::buf::{BufResult, IoBuf};
use crate::driver::Driver;
use crate::driver::buf_ring::{Group, MESSAGE_HEAD_BYTES, RecvBuf};
use crate::driver::fd::{Fd, Number};
use crate::driver::slot::{Cqe, Limit};
use crate::driver::submit::{Multi, Op, Single};
use crate::driver::sys::{SOL_UDP, UDP_GRO, UDP_SEGMENT};
use io_uring::types::RecvMsgOut;
use io_uring::{opcode, squeue};
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::os::fd::AsRawFd;

/// The most descriptors that one message carries: the kernel's `SCM_MAX_FD`.
pub(crate) const FDS_MAX: usize = 253;

/// What stands before the data of one piece of control data: its length (with this head), its
/// level and its type, in the machine's own form.
const CONTROL_HEAD: usize = size_of::<libc::cmsghdr>();
const _: () = assert!(CONTROL_HEAD == size_of::<usize>() + 8);

/// The room that control data of `len` bytes takes; a piece begins at a whole word.
const fn control_space(len: usize) -> usize {
    CONTROL_HEAD + len.next_multiple_of(size_of::<usize>())
}

/// Room for the length of segments.
pub(crate) const CONTROL_OF_SEGMENTS: usize = control_space(size_of::<i32>());
/// Room for as many descriptors as come in one message.
pub(crate) const CONTROL_OF_FDS: usize = control_space(FDS_MAX * size_of::<i32>());

const _: () =
    assert!(16 + size_of::<SockAddrStorage>() + CONTROL_OF_SEGMENTS <= MESSAGE_HEAD_BYTES as usize);

fn push_control(control: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    control.extend_from_slice(&(CONTROL_HEAD + data.len()).to_ne_bytes());
    control.extend_from_slice(&level.to_ne_bytes());
    control.extend_from_slice(&kind.to_ne_bytes());
    control.extend_from_slice(data);
    control.resize(control.len().next_multiple_of(size_of::<usize>()), 0);
}

/// A four-byte word of control data.
fn word(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Takes the first piece off control data: its level, its type and its data.
fn take_control<'a>(control: &mut &'a [u8]) -> Option<(i32, i32, &'a [u8])> {
    let (head, at) = (*control, size_of::<usize>());
    let len = usize::from_ne_bytes(head.get(..at)?.try_into().ok()?);
    let (level, kind) = (word(head, at)?, word(head, at + 4)?);
    let data = head.get(CONTROL_HEAD..len)?;
    let next = len.next_multiple_of(size_of::<usize>());
    *control = head.get(next..).unwrap_or_default();
    Some((level, kind, data))
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: RecvBuf,
    pub(crate) from: SockAddr,
    /// The kernel joined datagrams of this length (the last may be shorter): `UDP_GRO`.
    pub(crate) segment_len: Option<usize>,
    /// The message was longer than there was room (`MSG_TRUNC`): the rest is gone.
    pub(crate) truncated: bool,
    /// Descriptors that came along. Who does not take them closes them.
    pub(crate) fds: Vec<Fd>,
    /// More came along than could be given to this process (`MSG_CTRUNC`).
    pub(crate) fds_lost: bool,
}

impl Message {
    fn new(bytes: RecvBuf, from: SockAddr, flags: i32, control: &[u8], driver: &Driver) -> Self {
        let mut message = Message {
            bytes,
            from,
            segment_len: None,
            truncated: flags & libc::MSG_TRUNC != 0,
            fds: Vec::new(),
            fds_lost: flags & libc::MSG_CTRUNC != 0,
        };
        let mut control = control;
        while let Some((level, kind, data)) = take_control(&mut control) {
            match (level, kind) {
                (SOL_UDP, UDP_GRO) => {
                    let len = word(data, 0).and_then(|len| usize::try_from(len).ok());
                    message.segment_len = len.filter(|&len| len > 0);
                }
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let numbers = data.chunks_exact(4).filter_map(|raw| word(raw, 0));
                    let fds = numbers.map(|raw| Fd::from_number(Number::new(raw), driver));
                    message.fds.extend(fds);
                }
                _ => {}
            }
        }
        message
    }
}

/// An address of which the kernel wrote so many bytes.
fn sender(storage: SockAddrStorage, len: usize) -> SockAddr {
    let len = len.min(size_of::<SockAddrStorage>());
    // SAFETY: the kernel wrote the address, and what it did not write is zero.
    unsafe { SockAddr::new(storage, len as libc::socklen_t) }
}

/// The address in these bytes.
fn sender_in(bytes: &[u8]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    let len = bytes.len().min(size_of::<SockAddrStorage>());
    // SAFETY: the storage is as large as this array, and any bytes make one.
    let room = unsafe { storage.view_as::<[u8; size_of::<SockAddrStorage>()]>() };
    room[..len].copy_from_slice(&bytes[..len]);
    sender(storage, len)
}

fn empty_header() -> libc::msghdr {
    // SAFETY: an all-zero header is a valid, empty one.
    unsafe { std::mem::zeroed() }
}

/// What a multishot receive of messages reports.
#[allow(
    clippy::large_enum_variant,
    reason = "taken apart at once: a box would cost an allocation for each datagram"
)]
#[derive(Debug)]
pub(crate) enum Arrived {
    Message(Message),
    /// No buffer was left (`ENOBUFS`), or the runtime asked for a pause: nothing is lost.
    Paused {
        starved: bool,
    },
    Failed(io::Error),
}

/// Receives messages into the core's buffers until it is told to stop (`recvmsg`, multishot).
#[derive(Debug)]
pub(crate) struct RecvMsgMulti {
    fd: Fd,
    /// Says how much room the sender's address and the control data have in each buffer.
    header: Box<libc::msghdr>,
    limit: Limit,
}

impl RecvMsgMulti {
    /// Every buffer has room for `control_len` bytes of control data; none of it may be
    /// descriptors, because messages that nobody reads are dropped as bytes.
    pub(crate) fn new(fd: Fd, control_len: usize, limit: Limit) -> RecvMsgMulti {
        debug_assert!(control_len <= CONTROL_OF_SEGMENTS);
        let mut header = Box::new(empty_header());
        header.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        header.msg_controllen = control_len;
        RecvMsgMulti { fd, header, limit }
    }

    fn message(&self, mut chunk: RecvBuf) -> Arrived {
        let Ok(out) = RecvMsgOut::parse(&chunk, &self.header) else {
            let what = "the kernel reported a message without its header";
            return Arrived::Failed(io::Error::new(io::ErrorKind::InvalidData, what));
        };
        let mut flags = 0;
        if out.is_payload_truncated() {
            flags |= libc::MSG_TRUNC;
        }
        if out.is_control_data_truncated() {
            flags |= libc::MSG_CTRUNC;
        }
        let (from, control) = (sender_in(out.name_data()), out.control_data().to_vec());
        let len = out.payload_data().len();
        let head = size_of::<SockAddrStorage>() + self.header.msg_controllen + 16;
        chunk.advance(head);
        chunk.truncate(len);
        Arrived::Message(Message::new(chunk, from, flags, &control, self.fd.driver()))
    }
}

// SAFETY: the header has its own box; the buffers are the driver's pool, which outlives it.
unsafe impl Op for RecvMsgMulti {
    fn prepare(&mut self) -> squeue::Entry {
        opcode::RecvMsgMulti::new(self.fd.target(), &*self.header, Group::Datagrams.id())
            .flags(libc::MSG_CMSG_CLOEXEC as u32)
            .build()
    }
}

impl Multi for RecvMsgMulti {
    type Item = Arrived;

    fn item(&mut self, cqe: Cqe) -> Arrived {
        let driver = self.fd.driver();
        let chunk = driver.with_pool(Group::Datagrams, |pool| pool.take(cqe));
        match (cqe.count(), chunk.flatten()) {
            (Ok(_), Some(chunk)) => self.message(chunk),
            // The buffers went with the runtime.
            (Ok(_), None) => Arrived::Failed(crate::driver::gone()),
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => Arrived::Paused { starved: true },
                Some(libc::ECANCELED) => Arrived::Paused { starved: false },
                _ => Arrived::Failed(error),
            },
        }
    }

    fn limit(&self) -> Limit {
        self.limit
    }
}

/// Receives one message into memory of its own (`recvmsg`).
#[derive(Debug)]
pub(crate) struct RecvMsg {
    fd: Fd,
    room: Vec<u8>,
    frame: Box<RecvFrame>,
}

/// What the entry of a [`RecvMsg`] points at, beside the bytes.
struct RecvFrame {
    header: libc::msghdr,
    piece: libc::iovec,
    name: SockAddrStorage,
    control: Vec<u8>,
}

impl std::fmt::Debug for RecvFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvFrame").finish_non_exhaustive()
    }
}

impl RecvMsg {
    /// Has room for `len` bytes, and for so many bytes of control data.
    pub(crate) fn new(fd: Fd, len: usize, control_len: usize) -> RecvMsg {
        let frame = RecvFrame {
            header: empty_header(),
            piece: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            name: SockAddrStorage::zeroed(),
            control: vec![0; control_len],
        };
        RecvMsg {
            fd,
            room: Vec::with_capacity(len),
            frame: Box::new(frame),
        }
    }
}

// SAFETY: header, piece and address stand in one box, the bytes and the control data have heap
// memory of their own: all of it is owned and stays where it is.
unsafe impl Op for RecvMsg {
    fn prepare(&mut self) -> squeue::Entry {
        let (frame, room) = (&mut *self.frame, self.room.spare_capacity_mut());
        frame.piece.iov_base = room.as_mut_ptr().cast();
        frame.piece.iov_len = room.len();
        frame.header.msg_name = std::ptr::from_mut(&mut frame.name).cast();
        frame.header.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        frame.header.msg_iov = &mut frame.piece;
        frame.header.msg_iovlen = 1;
        frame.header.msg_control = frame.control.as_mut_ptr().cast();
        frame.header.msg_controllen = frame.control.len();
        opcode::RecvMsg::new(self.fd.target(), &mut frame.header)
            .flags(libc::MSG_CMSG_CLOEXEC as u32)
            .build()
    }
}

impl Single for RecvMsg {
    type Output = io::Result<Message>;

    fn complete(mut self, cqe: Cqe) -> io::Result<Message> {
        let n = cqe.count()?;
        assert!(
            n <= self.room.capacity(),
            "the kernel reported more bytes than there was room"
        );
        // SAFETY: the kernel wrote `n` bytes from the start of the memory.
        unsafe { self.room.set_len(n) };
        // What a program keeps shall not keep the room of the longest message.
        self.room.shrink_to_fit();
        let RecvFrame {
            header,
            name,
            control,
            ..
        } = *self.frame;
        let control_len = header.msg_controllen.min(control.len());
        Ok(Message::new(
            RecvBuf::from(self.room),
            sender(name, header.msg_namelen as usize),
            header.msg_flags,
            &control[..control_len],
            self.fd.driver(),
        ))
    }
}

/// Sends one message from the caller's buffer (`sendmsg`).
#[derive(Debug)]
pub(crate) struct SendMsg<B> {
    fd: Fd,
    buf: B,
    frame: Box<SendFrame>,
    /// Kept open until the kernel has taken them: the control data has only their numbers.
    passed: Vec<Fd>,
}

/// What the entry of a [`SendMsg`] points at, beside the bytes.
struct SendFrame {
    header: libc::msghdr,
    piece: libc::iovec,
    to: Option<SockAddr>,
    control: Vec<u8>,
}

impl std::fmt::Debug for SendFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendFrame").finish_non_exhaustive()
    }
}

impl<B: IoBuf> SendMsg<B> {
    /// To this address, or to the one to which the socket is connected.
    pub(crate) fn new(fd: Fd, buf: B, to: Option<SockAddr>) -> SendMsg<B> {
        let frame = SendFrame {
            header: empty_header(),
            piece: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            to,
            control: Vec::new(),
        };
        SendMsg {
            fd,
            buf,
            frame: Box::new(frame),
            passed: Vec::new(),
        }
    }

    /// As datagrams of so many bytes, the last of what is left.
    pub(crate) fn in_segments(mut self, len: u16) -> SendMsg<B> {
        let data = len.to_ne_bytes();
        push_control(&mut self.frame.control, SOL_UDP, UDP_SEGMENT, &data);
        self
    }

    /// With these descriptors.
    pub(crate) fn passing(mut self, fds: Vec<Fd>) -> SendMsg<B> {
        if !fds.is_empty() {
            let data: Vec<u8> = fds
                .iter()
                .flat_map(|fd| fd.as_raw_fd().to_ne_bytes())
                .collect();
            let control = &mut self.frame.control;
            push_control(control, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data);
        }
        self.passed = fds;
        self
    }
}

// SAFETY: the buffer's memory stays where it is (`IoBuf`); header, piece and address stand in one
// box, and the control data has heap memory of its own.
unsafe impl<B: IoBuf> Op for SendMsg<B> {
    fn prepare(&mut self) -> squeue::Entry {
        let (frame, bytes) = (&mut *self.frame, self.buf.as_init());
        frame.piece.iov_base = bytes.as_ptr().cast_mut().cast();
        frame.piece.iov_len = bytes.len();
        if let Some(to) = &frame.to {
            frame.header.msg_name = to.as_ptr().cast_mut().cast();
            frame.header.msg_namelen = to.len();
        }
        frame.header.msg_iov = &mut frame.piece;
        frame.header.msg_iovlen = 1;
        if !frame.control.is_empty() {
            frame.header.msg_control = frame.control.as_mut_ptr().cast();
            frame.header.msg_controllen = frame.control.len();
        }
        opcode::SendMsg::new(self.fd.target(), &frame.header)
            .flags(super::socket::send_flags(false) as u32)
            .build()
    }
}

impl<B: IoBuf> Single for SendMsg<B> {
    type Output = BufResult<usize, B>;

    fn complete(self, cqe: Cqe) -> BufResult<usize, B> {
        debug_assert!(self.passed.len() <= FDS_MAX);
        (cqe.count(), self.buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_data_comes_out_as_it_went_in() {
        let mut control = Vec::new();
        push_control(&mut control, 1, 2, &[1, 2, 3, 4, 5]);
        push_control(&mut control, SOL_UDP, UDP_GRO, &7i32.to_ne_bytes());
        assert_eq!(
            control.len(),
            control_space(5) + CONTROL_OF_SEGMENTS,
            "as the C library counts"
        );
        let mut rest = &control[..];
        assert_eq!(take_control(&mut rest), Some((1, 2, &[1, 2, 3, 4, 5][..])));
        let (level, kind, data) = take_control(&mut rest).expect("a second one");
        assert_eq!((level, kind, word(data, 0)), (SOL_UDP, UDP_GRO, Some(7)));
        assert_eq!(take_control(&mut rest), None);
    }

    #[test]
    fn control_data_that_lies_about_its_length_is_the_end() {
        for len in [0, 3, CONTROL_HEAD - 1, CONTROL_HEAD + 9, usize::MAX] {
            let mut control = Vec::new();
            push_control(&mut control, 1, 2, &[0; 8]);
            control[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(take_control(&mut &control[..]), None, "{len}");
        }
    }
}
