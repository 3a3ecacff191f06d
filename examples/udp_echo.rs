//! An echo server for datagrams: each goes back in the very buffer in which it came.
//!
//! asyncio's `create_datagram_endpoint` with an `EchoServerProtocol`.
//! Run it with `cargo run --example udp_echo`: it talks to itself. With an address behind it
//! (`-- 127.0.0.1:7000`) it serves until it is ended.

use corering::net::UdpSocket;
use corering::time::timeout;
use std::io;
use std::time::Duration;

async fn echo(socket: UdpSocket) -> io::Result<()> {
    loop {
        let datagram = socket.recv_datagram().await?;
        // A client that is gone is no reason to end.
        let _ = socket.send_buf_to(datagram.buf, datagram.from).await.0;
    }
}

/// A datagram may be lost on its way, so the question is asked again.
async fn ask(socket: &UdpSocket, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = vec![0; 1500];
    for _ in 0..5 {
        socket.send(question).await?;
        if let Ok(n) = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await {
            answer.truncate(n?);
            return Ok(answer);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    corering::block_on(async {
        let socket = UdpSocket::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let address = socket.local_addr()?;
        println!("waiting for datagrams on {address}");
        let server = corering::spawn(echo(socket));
        if std::env::args().len() > 1 {
            return server.await?;
        }
        let client = UdpSocket::bind("127.0.0.1:0").await?;
        client.connect(address).await?;
        let answer = ask(&client, b"hello, ring").await?;
        println!("{}", String::from_utf8_lossy(&answer));
        Ok(())
    })
}
