//! An echo server: what comes is sent back in the very buffer in which it came.
//!
//! `cargo run --release --example echo -- 127.0.0.1:7000`; without an address it talks to itself.

use corering::net::{TcpListener, TcpStream};
use std::io;

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _peer) = listener.accept().await?;
        corering::spawn(echo(stream));
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    corering::block_on(async {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
        let address = listener.local_addr()?;
        println!("listening on {address}");
        let server = corering::spawn(serve(listener));
        if std::env::args().len() > 1 {
            return server.await?;
        }
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"hello, ring").await?;
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).await?;
        println!("{}", String::from_utf8_lossy(&answer));
        Ok(())
    })
}
