//! A TCP echo server that knows its peers by name, and many clients at once. What comes is sent
//! back in the very buffer in which it came.
//!
//! asyncio's `start_server(handle_echo, ..)` and `writer.get_extra_info("peername")`.
//! Run it with `cargo run --example echo`: it talks to itself. With an address behind it
//! (`-- 127.0.0.1:7000`) it serves until it is ended.

use corering::flow::gather;
use corering::net::{TcpListener, TcpStream};
use std::io;
use std::net::SocketAddr;

const CLIENTS: usize = 20;

async fn echo(mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        println!("received {:?} from {peer}", String::from_utf8_lossy(&chunk));
        stream.send_all(chunk).await.0?;
    }
    println!("{peer} has closed");
    Ok(())
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept().await?;
        corering::spawn(echo(stream, peer));
    }
}

/// Says hello; returns whether that came back.
async fn client(number: usize, server: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(server).await?;
    let hello = format!("hello from client {number}");
    stream.write_all(hello.as_bytes()).await?;
    let mut answer = vec![0; hello.len()];
    stream.read_exact(&mut answer).await?;
    println!("client {number} is {}", stream.local_addr()?);
    Ok(answer == hello.as_bytes())
}

#[corering::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let server = listener.local_addr()?;
    println!("listening on {server}");
    if address.is_some() {
        return serve(listener).await;
    }
    corering::spawn(serve(listener));
    let answers = gather((1..=CLIENTS).map(|number| client(number, server))).await;
    let right = answers
        .into_iter()
        .flatten()
        .flatten()
        .filter(|right| *right)
        .count();
    println!("{right} of {CLIENTS} clients have their words back");
    Ok(())
}
