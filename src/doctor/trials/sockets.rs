//! Trials of operations on sockets, of waiting and of cancelling, over loopback or a pair; and of
//! the wait for a child.

use super::{How, Place, Row, Tried, Trouble, check, feature, given, next, row};
use crate::driver::buf_ring::{Group, Pool};
use crate::driver::fd::Fd;
use crate::driver::submit::{Submit, SubmitMulti};
use crate::driver::{children, survey, sys};
use crate::op::{
    AcceptMulti, Connect, Deadline, Readiness, Received, Recv, RecvMulti, Send, SendQueue,
    SendVectored, SendZc, SendZcItem, WaitChild,
};
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

const BYTES: &[u8] = b"what the doctor sent";

pub(super) const ROWS: &[Row] = &[
    row(
        "accept_multishot",
        "5.19",
        How::Perform(|place| Box::pin(accept(place))),
    ),
    row(
        "connect",
        "5.5",
        How::Perform(|place| Box::pin(connect(place))),
    ),
    row("send", "5.6", How::Perform(|place| Box::pin(send(place)))),
    row(
        "send_waitall",
        "5.19",
        How::Perform(|place| Box::pin(send_waitall(place))),
    ),
    row(
        "sendmsg",
        "5.3",
        How::Perform(|place| Box::pin(sendmsg(place))),
    ),
    feature(
        "send_zc",
        "6.0",
        |has| has.offers("send_zc"),
        How::Perform(|place| Box::pin(send_zc(place))),
    ),
    row("recv", "5.6", How::Perform(|place| Box::pin(recv(place)))),
    feature(
        "recv_multishot",
        "6.0",
        |has| has.buffer_ring,
        How::Perform(|place| Box::pin(recv_multishot(place))),
    ),
    row(
        "poll_add",
        "5.1",
        How::Perform(|place| Box::pin(poll(place))),
    ),
    #[cfg(feature = "signal")]
    row(
        "poll_multishot",
        "5.13",
        How::Perform(|place| Box::pin(poll_multishot(place))),
    ),
    feature(
        "waitid",
        "6.7",
        |has| has.offers("waitid"),
        How::Perform(|place| Box::pin(waitid(place))),
    ),
    row(
        "link_timeout",
        "5.5",
        How::Perform(|place| Box::pin(link_timeout(place))),
    ),
    row(
        "async_cancel",
        "5.5",
        How::Perform(|place| Box::pin(async_cancel(place))),
    ),
];

/// Both ends of a connection over loopback, or where there is no such network without one.
fn pair(place: &Place) -> Result<(Fd, Fd), Trouble> {
    let (one, other) = given(survey::tcp_pair().or_else(|_| survey::socket_pair()))?;
    Ok((place.fd(one), place.fd(other)))
}

/// The bytes arrive at the other end.
async fn arrives(place: &Place, fd: Fd, bytes: &[u8]) -> Tried {
    let mut came = Vec::new();
    while came.len() < bytes.len() {
        let buf = Vec::with_capacity(bytes.len() - came.len());
        let fd = fd.clone();
        let (result, buf) = Submit::new(&place.driver, Recv { fd, buf }).await;
        check(given(result)? > 0, "the connection ended early")?;
        came.extend(buf);
    }
    check(came == bytes, "other bytes than those that were sent")
}

/// Two connections by one accept, each with a way to say something.
async fn accept(place: &Place) -> Tried {
    let (listener, address) = given(survey::listener())?;
    let op = AcceptMulti {
        fd: place.fd(listener),
        queue_max: 8,
    };
    let mut accept = SubmitMulti::new(&place.driver, op);
    for _ in 0..2 {
        let client = given(survey::connect(address))?;
        let server = next(&mut accept).await.unwrap_or_else(|| Err(ended()))?;
        let op = Send {
            fd: server,
            buf: BYTES,
            all: false,
        };
        given(Submit::new(&place.driver, op).await.0)?;
        arrives(place, place.fd(client), BYTES).await?;
    }
    Ok(())
}

fn ended() -> io::Error {
    io::Error::other("it ended after one answer")
}

async fn connect(place: &Place) -> Tried {
    // Whether there is such a network at all, the plain way.
    given(survey::tcp_pair())?;
    let (_listener, address) = given(survey::listener())?;
    let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
    let fd = Fd::from_number(given(sys::socket(domain, kind, None))?, &place.driver);
    let fd = Submit::new(&place.driver, Connect::new(fd, address.into())).await?;
    let peer = given(sys::peer_addr(&fd))?;
    check(
        peer.as_socket() == Some(address),
        "connected to another address",
    )
}

async fn send(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    let op = Send {
        fd,
        buf: BYTES,
        all: false,
    };
    Submit::new(&place.driver, op).await.0?;
    arrives(place, peer, BYTES).await
}

/// By the queue that every stream writes through.
async fn send_waitall(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    let queue = SendQueue::new(fd);
    poll_fn(|cx| queue.poll_push(BYTES, cx)).await?;
    poll_fn(|cx| queue.poll_empty(cx)).await?;
    arrives(place, peer, BYTES).await
}

async fn sendmsg(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    let op = SendVectored::new(fd, vec![&BYTES[..4], &BYTES[4..]]);
    Submit::new(&place.driver, op).await.0?;
    arrives(place, peer, BYTES).await
}

/// Only a network socket has it.
async fn send_zc(place: &Place) -> Tried {
    let (fd, peer) = given(survey::tcp_pair())?;
    let (fd, peer) = (place.fd(fd), place.fd(peer));
    let mut op = SubmitMulti::new(&place.driver, SendZc::new(fd, BYTES));
    match next(&mut op).await {
        Some(SendZcItem::Sent(result)) => result?,
        _ => return Err(ended().into()),
    };
    arrives(place, peer, BYTES).await?;
    let released = matches!(next(&mut op).await, Some(SendZcItem::Released));
    check(released, "the buffer was not given back")
}

async fn recv(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    let op = Recv {
        fd,
        buf: Vec::with_capacity(BYTES.len()),
    };
    let mut recv = Submit::new(&place.driver, op);
    // Asked for first, sent then.
    let _ = Pin::new(&mut recv).poll(&mut Context::from_waker(Waker::noop()));
    let op = Send {
        fd: peer,
        buf: BYTES,
        all: true,
    };
    given(Submit::new(&place.driver, op).await.0)?;
    let (result, buf) = recv.await;
    result?;
    check(buf == BYTES, "other bytes than those that were sent")
}

/// Two pieces and the end, by one receive into the core's buffers.
async fn recv_multishot(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    if place
        .driver
        .with_pool(Group::Streams, Pool::available)
        .is_none()
    {
        return Err(Trouble::NotTried(
            "there is no memory for receive buffers".into(),
        ));
    }
    let mut recv = SubmitMulti::new(&place.driver, RecvMulti { fd });
    for _ in 0..2 {
        let op = Send {
            fd: peer.clone(),
            buf: BYTES,
            all: true,
        };
        given(Submit::new(&place.driver, op).await.0)?;
        match next(&mut recv).await {
            Some(Received::Data(chunk)) => check(*chunk == *BYTES, "other bytes than sent")?,
            Some(Received::Failed(error)) => return Err(error.into()),
            other => return Err(Trouble::Fails(format!("{other:?} in place of bytes"))),
        }
    }
    given(sys::shutdown(&peer, Shutdown::Write))?;
    let end = next(&mut recv).await;
    check(
        matches!(end, Some(Received::Eof)),
        "the end was not reported",
    )
}

async fn poll(place: &Place) -> Tried {
    let (fd, _peer) = pair(place)?;
    let op = Readiness {
        fd,
        events: libc::POLLOUT,
    };
    let events = Submit::new(&place.driver, op).await?;
    check(
        events & libc::POLLOUT != 0,
        "it is ready for something else",
    )
}

#[cfg(feature = "signal")]
async fn poll_multishot(place: &Place) -> Tried {
    let (fd, peer) = pair(place)?;
    let mut op = SubmitMulti::new(&place.driver, crate::op::PollReadable { fd });
    for _ in 0..2 {
        let send = Send {
            fd: peer.clone(),
            buf: BYTES,
            all: true,
        };
        given(Submit::new(&place.driver, send).await.0)?;
        next(&mut op).await.unwrap_or_else(|| Err(ended()))?;
    }
    Ok(())
}

/// The end of a child, with its code.
async fn waitid(place: &Place) -> Tried {
    const CODE: i32 = 7;
    let (pid, pidfd) = given(survey::child(CODE))?;
    let op = WaitChild::new(place.fd(pidfd), pid, Rc::default(), false);
    let (status, _) = Submit::new(&place.driver, op).await;
    if status.is_err() {
        children::leave(pid);
    }
    check(
        status?.code() == Some(CODE),
        "the child has ended otherwise",
    )
}

/// A receive that nothing comes for, with a time limit of the kernel's own.
async fn link_timeout(place: &Place) -> Tried {
    let (fd, _peer) = pair(place)?;
    let op = Recv {
        fd,
        buf: Vec::with_capacity(1),
    };
    let op = Deadline::new(op, Duration::from_millis(1));
    let (_, cancelled) = Submit::new(&place.driver, op).await;
    check(cancelled, "the time was over, but not the operation")
}

async fn async_cancel(place: &Place) -> Tried {
    let (fd, _peer) = pair(place)?;
    let op = Recv {
        fd,
        buf: Vec::with_capacity(1),
    };
    let mut recv = Submit::new(&place.driver, op);
    let _ = Pin::new(&mut recv).poll(&mut Context::from_waker(Waker::noop()));
    recv.cancel();
    let errno = recv.await.0.err().and_then(|error| error.raw_os_error());
    check(errno == Some(libc::ECANCELED), "what was cancelled went on")
}
