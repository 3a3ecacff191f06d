//! Connections for the tests: both ends here, or one of them a plain socket of another thread.

use corering::net::{TcpListener, TcpSocket, TcpStream};
use std::net::SocketAddr;

/// A listener on a free port.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

/// Both ends of a connection.
pub async fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener().await;
    pair_of(&listener, address).await
}

/// Both ends of one more connection of this listener.
pub async fn pair_of(listener: &TcpListener, address: SocketAddr) -> (TcpStream, TcpStream) {
    let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connected"), server.expect("accepted").0)
}

/// Both ends, with small buffers in the kernel: so that short sends and full windows happen.
pub async fn small_pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("set");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("bound");
    let listener = socket.listen(16).expect("listens");
    let address = listener.local_addr().expect("it has an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(8 << 10).expect("set");
    let (client, server) = futures::join!(socket.connect(address), listener.accept());
    (client.expect("connected"), server.expect("accepted").0)
}

/// One end here, the other a blocking socket of the standard library.
pub async fn half() -> (TcpStream, std::net::TcpStream) {
    let (ours, theirs) = pair().await;
    (ours, theirs.into_std().await.expect("nothing is in flight"))
}

/// Resets the connection.
pub fn reset(stream: std::net::TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    use std::os::fd::AsRawFd;
    // SAFETY: the kernel reads one option.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    };
}
