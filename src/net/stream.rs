//! What the streams of all families share: written once, for TCP and for Unix sockets.

use super::receiver::Receiver;
use super::sender::Sender;
use super::tcp::TcpStream;
use crate::driver::fd::{Fd, Number};
use std::fmt;
use std::future::poll_fn;
use std::io;

/// [`into_std`](TcpStream::into_std) found bytes that were received but not read, or a send in
/// flight: here is the stream again, with nothing lost.
///
/// ```no_run
/// # async fn f(stream: corering::net::TcpStream) -> std::io::Result<()> {
/// match stream.into_std().await {
///     Ok(std_stream) => std_stream.set_nonblocking(true),
///     Err(kept) => {
///         let mut stream = kept.stream;
///         let unread = stream.recv().await?;
///         Ok(())
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct IntoStdError<S = TcpStream> {
    /// The stream (or the socket), as it was.
    pub stream: S,
    /// Why it cannot leave the runtime now.
    pub error: io::Error,
}

impl<S> IntoStdError<S> {
    pub(super) fn in_flight(stream: S) -> IntoStdError<S> {
        let what = "an operation that was dropped is still in flight: try again later";
        IntoStdError {
            stream,
            error: io::Error::new(io::ErrorKind::ResourceBusy, what),
        }
    }
}

impl<S> fmt::Display for IntoStdError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the socket cannot leave the runtime now: {}", self.error)
    }
}

impl<S: fmt::Debug> std::error::Error for IntoStdError<S> {}

impl<S> From<IntoStdError<S>> for io::Error {
    fn from(error: IntoStdError<S>) -> io::Error {
        error.error
    }
}

/// Nothing is in flight any more, nothing waits to be read.
pub(super) async fn quiet(halves: &mut Halves) -> io::Result<()> {
    let Halves { rx, tx } = halves;
    poll_fn(|cx| tx.poll_flush(cx)).await?;
    let something_came = poll_fn(|cx| rx.poll_stop(cx)).await?;
    // The end of the stream is no loss: whoever reads next finds it again.
    if something_came && rx.current_mut().is_some() {
        let what = "received bytes were not read yet: read them first";
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
    }
    Ok(())
}

/// The descriptor of a quiet stream.
pub(super) fn unwrap(halves: Halves) -> Result<Number, Fd> {
    let Halves { rx, tx } = halves;
    let fd = rx.fd().clone();
    drop(rx);
    tx.release();
    fd.try_unwrap()
}

/// Fills `buf` from what the half receives.
pub(super) async fn read_exact(rx: &mut Receiver, buf: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buf.len() {
        let n = poll_fn(|cx| rx.poll_read(cx, &mut buf[filled..])).await?;
        if n == 0 {
            let what = format!("the stream ended after {filled} of {} bytes", buf.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        filled += n;
    }
    Ok(())
}

/// Hands all of `buf` to the half.
pub(super) async fn write_all(tx: &Sender, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let n = poll_fn(|cx| tx.poll_write(cx, buf)).await?;
        buf = &buf[n..];
    }
    Ok(())
}

/// The two directions of a stream. In a box: a task has room for its stream more than once, as the
/// argument of each `async` function that it goes through, and as the variable there.
#[derive(Debug)]
pub(super) struct Halves {
    pub(super) rx: Receiver,
    pub(super) tx: Sender,
}

/// With what an allocator adds these are 128 bytes.
const _: () = assert!(size_of::<Halves>() <= 120);

impl Halves {
    pub(super) fn of(fd: Fd) -> Box<Halves> {
        Box::new(Halves {
            rx: Receiver::new(fd.clone()),
            tx: Sender::new(fd),
        })
    }
}

/// What every connected stream can do, TCP's or a Unix socket's: one with the field `halves`. The
/// standard library's stream, the type of addresses, and how an address is found.
macro_rules! stream_methods {
    ($std:ty, $address:ty, $to_address:path) => {
        pub(super) fn from_fd(fd: Fd) -> Self {
            Self {
                halves: Halves::of(fd),
            }
        }

        /// Takes over a connected stream of the standard library, for this core.
        ///
        /// # Panics
        /// Outside of a runtime.
        pub fn from_std(stream: $std) -> io::Result<Self> {
            let fd = Fd::new(OwnedFd::from(stream), &Driver::current());
            Ok(Self::from_fd(fd))
        }

        /// Gives the connection to the standard library, in blocking mode. Sends what was accepted
        /// and ends the receive first, so no operation of the runtime touches the descriptor any
        /// more.
        ///
        /// # Errors
        /// [`IntoStdError`], with the stream, if received bytes were not read yet (they would be
        /// lost), if the queue could not be sent, or while an orphaned operation has the
        /// descriptor.
        ///
        /// # Cancel safety
        /// Dropping it drops the stream.
        pub async fn into_std(mut self) -> Result<$std, IntoStdError<Self>> {
            if let Err(error) = quiet(&mut self.halves).await {
                return Err(IntoStdError {
                    stream: self,
                    error,
                });
            }
            unwrap(*self.halves)
                .map(|fd| <$std>::from(fd.into_owned()))
                .map_err(|fd| IntoStdError::in_flight(Self::from_fd(fd)))
        }

        /// The next bytes, in the buffer into which the kernel put them; `None` at the end of the
        /// stream. Bytes that stand behind each other in one buffer come together.
        ///
        /// # Errors
        /// `ConnectionReset` and what else `recv(2)` says.
        ///
        /// # Cancel safety
        /// Safe: the bytes are returned by the next call.
        pub fn recv(&mut self) -> impl Future<Output = io::Result<Option<RecvBuf>>> {
            poll_fn(|cx| self.halves.rx.poll_recv(cx))
        }

        /// Reads what there is, at most `buf.len()` bytes; 0 at the end of the stream.
        ///
        /// # Errors
        /// `ConnectionReset` and what else `recv(2)` says.
        ///
        /// # Cancel safety
        /// Safe: the bytes are returned by the next call.
        pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            poll_fn(|cx| self.halves.rx.poll_read(cx, buf)).await
        }

        /// Fills `buf`.
        ///
        /// # Errors
        /// `UnexpectedEof` if the stream ends first; what was read until then is in `buf`.
        ///
        /// # Cancel safety
        /// Not safe: what was read before the drop is in `buf`, and how much that is, is lost. Use
        /// [`fill_buf`](Self::fill_buf) and [`consume`](Self::consume) where that matters.
        pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
            read_exact(&mut self.halves.rx, buf).await
        }

        /// Lends what there is, without a copy; empty at the end of the stream. Take off what was
        /// used with [`consume`](Self::consume).
        ///
        /// # Errors
        /// `ConnectionReset` and what else `recv(2)` says.
        ///
        /// # Cancel safety
        /// Safe: nothing is taken off by it.
        pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
            poll_fn(|cx| self.halves.rx.poll_fill(cx).map_ok(|_| ())).await?;
            Ok(self.halves.rx.current_mut().as_deref().unwrap_or_default())
        }

        /// Takes `n` bytes off what [`fill_buf`](Self::fill_buf) lent.
        ///
        /// # Panics
        /// If it lent fewer.
        pub fn consume(&mut self, n: usize) {
            self.halves.rx.consume(n);
        }

        /// Reads straight from the kernel into `buf` (`IORING_OP_RECV`), and sets its length to
        /// what was read: 0 at the end of the stream. Bytes that came before are copied.
        ///
        /// # Errors
        /// `ConnectionReset` and what else `recv(2)` says.
        ///
        /// # Cancel safety
        /// Dropping it keeps the bytes for the next read, but not `buf`; see [`ReadOwned`].
        pub fn read_owned<B: IoBufMut>(&mut self, buf: B) -> ReadOwned<'_, B> {
            ReadOwned::new(&mut self.halves.rx, buf)
        }

        /// Copies what there is to `buf` and leaves it in the stream.
        ///
        /// # Errors
        /// `ConnectionReset` and what else `recv(2)` says.
        ///
        /// # Cancel safety
        /// Safe: nothing is taken off by it.
        pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let there = self.fill_buf().await?;
            let n = there.len().min(buf.len());
            buf[..n].copy_from_slice(&there[..n]);
            Ok(n)
        }

        /// Takes `buf`, or as much of it as there is room for, to be sent: `Ok(n)` says that `n`
        /// bytes are the stream's now. They leave at the end of this turn, together with what else
        /// is written in it; waits only while 64 KiB wait already.
        ///
        /// They are sent even if the stream is dropped right after. The kernel's own rule holds,
        /// though: a connection that is closed with unread input is reset, and what the peer has
        /// not received by then may be lost to it. Where the peer may still be talking,
        /// [`shutdown`](Self::shutdown) writing and read to the end before the drop.
        ///
        /// # Errors
        /// What ended the sending earlier: `BrokenPipe`, `ConnectionReset`. A [`Torn`](super::Torn)
        /// stream. What goes wrong later is told by the next call, or by [`flush`](Self::flush).
        ///
        /// # Cancel safety
        /// Safe: dropped before it is ready, it has taken nothing.
        pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            poll_fn(|cx| self.halves.tx.poll_write(cx, buf)).await
        }

        /// Takes all of `buf` to be sent; see [`write`](Self::write).
        ///
        /// # Errors
        /// As [`write`](Self::write).
        ///
        /// # Cancel safety
        /// Not safe: any part of `buf`, from its start, may have been taken.
        pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
            write_all(&self.halves.tx, buf).await
        }

        /// Takes several pieces, one after the other, as [`write`](Self::write) does.
        ///
        /// # Errors
        /// As [`write`](Self::write).
        ///
        /// # Cancel safety
        /// Safe: dropped before it is ready, it has taken nothing.
        pub async fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
            poll_fn(|cx| self.halves.tx.poll_write_vectored(cx, pieces)).await
        }

        /// Waits until the kernel has taken everything that was written.
        ///
        /// # Errors
        /// What ended the sending.
        ///
        /// # Cancel safety
        /// Safe: the bytes leave whether or not anybody waits for it.
        pub async fn flush(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.halves.tx.poll_flush(cx)).await
        }

        /// Sends from `buf` itself, without a copy (`IORING_OP_SEND`), behind what was written;
        /// says how many bytes the kernel took, which may be fewer than there are.
        ///
        /// # Errors
        /// `BrokenPipe`, `ConnectionReset`; a [`Torn`](super::Torn) stream.
        ///
        /// # Cancel safety
        /// Not safe: dropped in flight, any part of `buf` may be sent, and the stream is
        /// [torn](super::Torn).
        pub fn send<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> {
            self.halves.tx.send(buf)
        }

        /// Sends all of `buf`, without a copy.
        ///
        /// # Errors
        /// As [`send`](Self::send).
        ///
        /// # Cancel safety
        /// Not safe: as [`send`](Self::send).
        pub fn send_all<B: IoBuf>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> {
            self.halves.tx.send_all(buf)
        }

        /// Sends from several buffers in one call (`IORING_OP_SENDMSG`), at most 1024 of them.
        ///
        /// # Errors
        /// As [`send`](Self::send).
        ///
        /// # Cancel safety
        /// Not safe: as [`send`](Self::send).
        pub async fn send_vectored<B: IoBuf>(&mut self, bufs: Vec<B>) -> BufResult<usize, Vec<B>> {
            self.halves.tx.send_vectored(bufs).await
        }

        /// Sends from `buf` without copying it into the kernel either (`IORING_OP_SEND_ZC`). The
        /// result does not wait for the kernel to be done with the buffer; [`ZeroCopyBuf`] does.
        /// Worth it for some 16 KiB and more on a real network; on loopback the kernel copies
        /// anyway. Beyond [`Builder::zero_copy_bytes`](crate::Builder::zero_copy_bytes) in flight
        /// it is an ordinary send.
        ///
        /// # Errors
        /// As [`send`](Self::send); `Unsupported` where the kernel lacks it.
        ///
        /// # Cancel safety
        /// Not safe: as [`send`](Self::send). The buffer stays with the runtime until the
        /// kernel is done with it.
        pub async fn send_zc<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, ZeroCopyBuf<B>> {
            self.halves.tx.send_zc(buf).await
        }

        /// Lets a [torn](super::Torn) stream send again; whether it was torn.
        pub fn clear_torn(&mut self) -> bool {
            self.halves.tx.clear_torn()
        }

        /// Shuts down reading, writing or both (`shutdown(2)`). What was written is sent first.
        ///
        /// # Errors
        /// What ended the sending.
        ///
        /// # Cancel safety
        /// Safe: call it again.
        pub async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
            if how != Shutdown::Read {
                poll_fn(|cx| self.halves.tx.poll_shutdown(cx)).await?;
            }
            if how != Shutdown::Write {
                match sys::shutdown(self.halves.rx.fd(), Shutdown::Read) {
                    // The peer had ended its side: with ours the connection is down.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                    result => result?,
                }
            }
            Ok(())
        }

        /// The two directions, borrowed, for use by two futures of one task.
        pub fn split(&mut self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
            halves(&mut self.halves)
        }

        /// The two directions, owned, for use by two tasks. Dropping the write half shuts down
        /// writing.
        pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
            owned_halves(*self.halves)
        }

        /// The peer's address.
        pub fn peer_addr(&self) -> io::Result<$address> {
            $to_address(sys::peer_addr(self.halves.rx.fd())?)
        }

        fn fd(&self) -> &Fd {
            self.halves.rx.fd()
        }
    };
}

pub(super) use stream_methods;
