//! What hickory wants of a runtime: sockets, timers and tasks, all of which it wants `Send`.
//!
//! Ours are of one core, and so is the resolver: nothing of it ever leaves the thread. [`Affine`]
//! says so to the compiler, and checks it.

use crate::net::{TcpSocket, TcpStream, UdpSocket};
use crate::task::{self, Affine};
use crate::time::{sleep, timeout};
use async_trait::async_trait;
use futures_io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// To connect, where the engine names no time.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A future of the engine's, which it may carry about.
type Carriable<T> = Pin<Box<dyn Send + Future<Output = T>>>;

/// A future of this core that says it may be carried about, and stays.
struct Carried<F: 'static>(Affine<Pin<Box<F>>>);

impl<F: Future + 'static> Carried<F> {
    fn new(future: F) -> Carried<F> {
        Carried(Affine::new(Box::pin(future)))
    }
}

impl<F: Future + 'static> Future for Carried<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.get_mut().as_mut().poll(cx)
    }
}

/// This runtime, of whatever core it is used on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Provider;

impl RuntimeProvider for Provider {
    type Handle = Provider;
    type Timer = Timer;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Provider {
        Provider
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Carriable<io::Result<Tcp>> {
        let limit = limit.unwrap_or(CONNECT_TIME);
        Box::pin(Carried::new(async move {
            let stream = match timeout(limit, connect(server, from)).await {
                Ok(connected) => connected?,
                Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
            };
            stream.set_nodelay(true)?;
            Ok(Tcp(Affine::new(stream)))
        }))
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Carriable<io::Result<Udp>> {
        Box::pin(Carried::new(async move {
            let socket = Rc::new(UdpSocket::bind(local).await?);
            Ok(Udp(Affine::new(UdpInner {
                socket,
                receiving: RefCell::default(),
                sending: RefCell::default(),
            })))
        }))
    }
}

async fn connect(server: SocketAddr, from: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = from {
        socket.bind(from)?;
    }
    socket.connect(server).await
}

impl Spawn for Provider {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }
}

/// The core's timers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer;

#[async_trait]
impl Time for Timer {
    async fn delay_for(duration: Duration) {
        Carried::new(sleep(duration)).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        future: F,
    ) -> io::Result<F::Output> {
        let limited = Carried::new(timeout(duration, future)).await;
        limited.map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed))
    }
}

/// A connection to a name server.
pub(super) struct Tcp(Affine<TcpStream>);

impl DnsTcpStream for Tcp {
    type Time = Timer;
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(self.0.get_mut()), cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self.0.get_mut()), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self.0.get_mut()), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(Pin::new(self.0.get_mut()), cx)
    }
}

/// A datagram socket of one question.
pub(super) struct Udp(Affine<UdpInner>);

struct UdpInner {
    socket: Rc<UdpSocket>,
    /// What was begun and is not done: the engine asks by polling.
    receiving: Begun<(Vec<u8>, SocketAddr)>,
    sending: Begun<usize>,
}

type Begun<T> = RefCell<Option<Pin<Box<dyn Future<Output = io::Result<T>>>>>>;

/// Polls what was begun, or begins it. It does not poll itself, so that it may be borrowed.
fn go_on<T, F: Future<Output = io::Result<T>> + 'static>(
    begun: &Begun<T>,
    begin: impl FnOnce() -> F,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    let mut begun = begun.borrow_mut();
    let future = begun.get_or_insert_with(|| Box::pin(begin()));
    let poll = future.as_mut().poll(cx);
    if poll.is_ready() {
        *begun = None;
    }
    poll
}

#[async_trait]
impl DnsUdpSocket for Udp {
    type Time = Timer;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let inner = self.0.get();
        let begin = || {
            let socket = inner.socket.clone();
            async move {
                let datagram = socket.recv_datagram().await?;
                Ok((datagram.buf.to_vec(), datagram.from))
            }
        };
        go_on(&inner.receiving, begin, cx).map_ok(|(bytes, from)| {
            let len = bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&bytes[..len]);
            (len, from)
        })
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let inner = self.0.get();
        let begin = || {
            let (socket, bytes) = (inner.socket.clone(), buf.to_vec());
            async move { socket.send_buf_to(bytes, to).await.0 }
        };
        go_on(&inner.sending, begin, cx)
    }
}
