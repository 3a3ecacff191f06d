//! The program's memory, as a kernel touches it: through raw addresses, at completion.
//!
//! A buffer that was freed too early is found by AddressSanitizer here, or by [`guard`], which
//! knows what the simulated kernel was lent.

use super::entry::Sqe;
use io_uring::opcode;
use io_uring::types::BufRingEntry;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bytes of the program, read by an operation that borrows them.
pub(super) fn read(addr: u64, len: usize) -> Vec<u8> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the entry's operation keeps `len` readable bytes there until its last completion.
    unsafe { std::slice::from_raw_parts(addr as *const u8, len) }.to_vec()
}

/// Writes into memory that an operation borrows.
pub(super) fn write(addr: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        // SAFETY: the entry's operation keeps that many writable bytes there until its last
        // completion, and nobody else touches them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), addr as *mut u8, bytes.len()) };
    }
}

/// A value that an operation borrows, such as a message header.
pub(super) fn get<T: Copy>(addr: u64) -> T {
    // SAFETY: the entry's operation keeps a `T` there until its last completion.
    unsafe { (addr as *const T).read_unaligned() }
}

/// Replaces a value that an operation borrows.
pub(super) fn put<T: Copy>(addr: u64, value: T) {
    // SAFETY: the entry's operation keeps room for a `T` there until its last completion.
    unsafe { (addr as *mut T).write_unaligned(value) };
}

/// An answer of `statx` that says nothing yet.
pub(super) fn empty_statx() -> libc::statx {
    // SAFETY: all fields are numbers, and zero is one.
    unsafe { std::mem::zeroed() }
}

/// A C string that an operation borrows, without its NUL.
pub(super) fn c_str(addr: u64) -> Vec<u8> {
    // SAFETY: the entry's operation keeps a string with a NUL there until its last completion.
    let text = unsafe { std::ffi::CStr::from_ptr(addr as *const libc::c_char) };
    text.to_bytes().to_vec()
}

/// A `struct iovec` list.
pub(super) fn pieces(addr: u64, count: usize) -> Vec<(u64, usize)> {
    (0..count)
        .map(|i| get::<libc::iovec>(addr + (i * size_of::<libc::iovec>()) as u64))
        .map(|piece| (piece.iov_base as u64, piece.iov_len))
        .collect()
}

/// All bytes of a list of pieces.
pub(super) fn gather(pieces: &[(u64, usize)]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|&(addr, len)| read(addr, len))
        .collect()
}

/// Spreads bytes over a list of pieces, in order.
pub(super) fn scatter(pieces: &[(u64, usize)], mut bytes: &[u8]) {
    for &(addr, len) in pieces {
        let (now, later) = bytes.split_at(len.min(bytes.len()));
        write(addr, now);
        bytes = later;
    }
}

/// The memory that an entry lends to the kernel: addresses and lengths.
pub(super) fn lent(sqe: &Sqe) -> Vec<(u64, usize)> {
    let plain = vec![(sqe.addr, sqe.len as usize)];
    match sqe.opcode {
        opcode::Recv::CODE if sqe.selects_buffer() => Vec::new(),
        opcode::Recv::CODE
        | opcode::Send::CODE
        | opcode::SendZc::CODE
        | opcode::Read::CODE
        | opcode::Write::CODE => plain,
        opcode::Readv::CODE | opcode::Writev::CODE => {
            let mut all = pieces(sqe.addr, sqe.len as usize);
            all.push((sqe.addr, sqe.len as usize * size_of::<libc::iovec>()));
            all
        }
        opcode::SendMsg::CODE | opcode::RecvMsg::CODE => {
            let header: libc::msghdr = get(sqe.addr);
            let count = header.msg_iovlen;
            let mut all = pieces(header.msg_iov as u64, count);
            all.push((sqe.addr, size_of::<libc::msghdr>()));
            all.push((header.msg_iov as u64, count * size_of::<libc::iovec>()));
            all.push((header.msg_name as u64, header.msg_namelen as usize));
            all.push((header.msg_control as u64, header.msg_controllen));
            all
        }
        opcode::Connect::CODE => vec![(sqe.addr, sqe.off as usize)],
        opcode::Statx::CODE => {
            let path = c_str(sqe.addr).len() + 1;
            vec![(sqe.addr, path), (sqe.off, size_of::<libc::statx>())]
        }
        opcode::OpenAt::CODE
        | opcode::OpenAt2::CODE
        | opcode::UnlinkAt::CODE
        | opcode::MkDirAt::CODE => vec![(sqe.addr, c_str(sqe.addr).len() + 1)],
        opcode::RenameAt::CODE | opcode::LinkAt::CODE | opcode::SymlinkAt::CODE => vec![
            (sqe.addr, c_str(sqe.addr).len() + 1),
            (sqe.off, c_str(sqe.off).len() + 1),
        ],
        _ => Vec::new(),
    }
}

/// The provided buffers of one core, as the kernel sees them: the program's ring of entries.
#[derive(Debug)]
pub(super) struct BufferRing {
    address: u64,
    entries: u16,
    incremental: bool,
    head: u16,
    /// How much of the buffer at the head is filled.
    filled: u32,
}

/// A piece of a provided buffer that was filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) bid: u16,
    /// The buffer goes on after this piece.
    pub(super) more: bool,
}

impl BufferRing {
    pub(super) fn new(address: u64, entries: u16, incremental: bool) -> BufferRing {
        BufferRing {
            address,
            entries,
            incremental,
            head: 0,
            filled: 0,
        }
    }

    fn tail(&self) -> u16 {
        // SAFETY: the program keeps the ring mapped until the kernel's side is closed.
        let tail = unsafe { BufRingEntry::tail(self.address as *const BufRingEntry) };
        // SAFETY: the tail is an aligned word of that mapping.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.load(Ordering::Acquire)
    }

    /// The room of the next buffer, if there is one.
    pub(super) fn room(&self) -> Option<usize> {
        (self.head != self.tail()).then(|| {
            let (_, len, _) = self.at_head();
            (len - self.filled) as usize
        })
    }

    fn at_head(&self) -> (u64, u32, u16) {
        let index = u64::from(self.head & (self.entries - 1));
        let entry = self.address + index * size_of::<BufRingEntry>() as u64;
        // SAFETY: the entry lies in the mapping, below the tail: the program does not touch it.
        let entry = unsafe { &*(entry as *const BufRingEntry) };
        (entry.addr(), entry.len(), entry.bid())
    }

    /// Puts bytes into the next buffer; they fit into its [`room`](BufferRing::room).
    pub(super) fn fill(&mut self, bytes: &[u8]) -> Filled {
        let (addr, len, bid) = self.at_head();
        write(addr + u64::from(self.filled), bytes);
        self.filled += bytes.len() as u32;
        let more = self.incremental && self.filled < len;
        if !more {
            self.head = self.head.wrapping_add(1);
            self.filled = 0;
        }
        Filled { bid, more }
    }
}

/// A socket address that an operation borrows.
pub(super) fn sock_addr(addr: u64, len: usize) -> Result<socket2::SockAddr, i32> {
    let bytes = read(addr, len);
    from_bytes(&bytes)
}

/// A socket address in the kernel's form.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<socket2::SockAddr, i32> {
    let mut storage = socket2::SockAddrStorage::zeroed();
    if bytes.len() < size_of::<libc::sa_family_t>() || bytes.len() > size_of_val(&storage) {
        return Err(libc::EINVAL);
    }
    let to: *mut socket2::SockAddrStorage = &mut storage;
    // SAFETY: the bytes fit into the storage, which is plain memory.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast::<u8>(), bytes.len()) };
    // SAFETY: the storage begins with a family, and as many bytes as `len` says are initialised.
    Ok(unsafe { socket2::SockAddr::new(storage, bytes.len() as libc::socklen_t) })
}

/// The bytes of a socket address, in the kernel's form.
pub(super) fn to_bytes(address: &socket2::SockAddr) -> Vec<u8> {
    read(address.as_ptr() as u64, address.len() as usize)
}
