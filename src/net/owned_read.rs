//! Reading straight from the kernel into the caller's own buffer.

use super::receiver::Receiver;
use crate::buf::{BufResult, IoBufMut};
use crate::driver::buf_ring::drain_into;
use crate::driver::submit::Submit;
use crate::op::Recv;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A receive into a buffer whose owner is gone: what it brings belongs to the next read.
pub(super) trait LateRead {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>>;
}

impl<B: IoBufMut> LateRead for Submit<Recv<B>> {
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let (result, buf) = ready!(Pin::new(self).poll(cx));
        Poll::Ready(result.map(|n| buf.as_init()[..n].to_vec()))
    }
}

/// The future of [`TcpStream::read_owned`](super::TcpStream::read_owned).
///
/// Dropping it keeps what was received for the next read, but not the buffer;
/// [`cancel`](ReadOwned::cancel) and a further await give the buffer back too.
///
/// ```no_run
/// # async fn f(mut stream: corering::net::TcpStream) -> std::io::Result<()> {
/// use corering::time::{sleep, timeout};
/// use std::time::Duration;
///
/// let mut read = stream.read_owned(vec![0; 4096]);
/// let late = timeout(Duration::from_secs(1), &mut read).await;
/// let (result, buf) = match late {
///     Ok(in_time) => in_time,
///     Err(_) => {
///         read.cancel();
///         read.await
///     }
/// };
/// # Ok(()) }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct ReadOwned<'a, B: IoBufMut> {
    receiver: &'a mut Receiver,
    state: State<B>,
    cancelled: bool,
}

enum State<B: IoBufMut> {
    /// The stream's own receive has to end first.
    Stopping(B),
    Receiving(Submit<Recv<B>>),
    Done,
}

impl<'a, B: IoBufMut> ReadOwned<'a, B> {
    pub(super) fn new(receiver: &'a mut Receiver, buf: B) -> ReadOwned<'a, B> {
        ReadOwned {
            receiver,
            state: State::Stopping(buf),
            cancelled: false,
        }
    }

    /// Asks for the end of the read. Await it again: it gives the buffer back, with what was
    /// received after all, or with an error of the kind `Interrupted` and nothing lost.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        if let State::Receiving(submit) = &mut self.state {
            submit.cancel();
        }
    }

    fn result(result: io::Result<usize>) -> io::Result<usize> {
        result.map_err(|error| match error.raw_os_error() {
            Some(libc::ECANCELED) => cancelled(),
            _ => error,
        })
    }
}

fn cancelled() -> io::Error {
    io::Error::new(
        io::ErrorKind::Interrupted,
        "the read was cancelled; nothing is lost",
    )
}

impl<B: IoBufMut> Future for ReadOwned<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        let this = &mut *self;
        if let State::Stopping(_) = this.state {
            let stopped = match this.cancelled {
                true => Err(cancelled()),
                false => ready!(this.receiver.poll_stop(cx)),
            };
            let State::Stopping(mut buf) = std::mem::replace(&mut this.state, State::Done) else {
                unreachable!("matched above");
            };
            match stopped {
                Err(error) => return Poll::Ready((Err(error), buf)),
                Ok(true) => {
                    let n = take_current(this.receiver, &mut buf);
                    return Poll::Ready((Ok(n), buf));
                }
                // The kernel would say 0, which is the end of the stream for whoever reads next.
                Ok(false) if buf.buf_capacity() == 0 && !cfg!(break_zero_length) => {
                    return Poll::Ready((Ok(0), buf));
                }
                Ok(false) => {}
            }
            let fd = this.receiver.fd().clone();
            let driver = fd.driver().clone();
            let op = Recv { fd, buf };
            this.state = State::Receiving(Submit::new(&driver, op));
            this.receiver.lend(true);
        }
        let State::Receiving(submit) = &mut this.state else {
            panic!("a read was polled after it had completed");
        };
        let (result, buf) = ready!(Pin::new(submit).poll(cx));
        this.state = State::Done;
        this.receiver.lend(false);
        Poll::Ready((Self::result(result), buf))
    }
}

/// Copies what has come already.
fn take_current<B: IoBufMut>(receiver: &mut Receiver, buf: &mut B) -> usize {
    let current = receiver.current_mut();
    let Some(chunk) = current else {
        return crate::buf::fill(buf, &[]);
    };
    let n = drain_into(chunk, buf);
    if chunk.is_empty() {
        *current = None;
    }
    n
}

impl<B: IoBufMut> Drop for ReadOwned<'_, B> {
    fn drop(&mut self) {
        if let State::Receiving(mut submit) = std::mem::replace(&mut self.state, State::Done) {
            if submit.in_flight() {
                submit.cancel();
                self.receiver.adopt(Box::new(submit));
            } else {
                self.receiver.lend(false);
            }
        }
    }
}

impl<B: IoBufMut> fmt::Debug for ReadOwned<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOwned")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}
