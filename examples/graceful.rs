//! A server on two cores that ends in order: it stops accepting, lets a slow request finish, and
//! reports that nothing was given up.
//!
//! asyncio's `server.close()` and `await server.wait_closed()`.
//! Run it with `cargo run --example graceful`.

use corering::net::{TcpListener, TcpStream};
use corering::time::sleep;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

async fn answer_slowly(mut stream: TcpStream) -> io::Result<()> {
    let mut question = [0; 4];
    stream.read_exact(&mut question).await?;
    sleep(Duration::from_millis(100)).await;
    stream.write_all(b"done").await
}

/// Accepts until the runtime is asked to end.
async fn serve(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind_reuse_port(address).await?;
    while let Ok((stream, _)) = listener.accept().await {
        corering::spawn(answer_slowly(stream));
    }
    Ok(())
}

/// A port that is free now; the sockets of both cores will share it.
async fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind_reuse_port("127.0.0.1:0")
        .await?
        .local_addr()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runtime = corering::Runtime::builder().cores(2).build()?;
    let address = runtime.block_on(free_port())?;
    for core in 0..2 {
        runtime.handle().spawn_on(core, move || serve(address));
    }
    let client = runtime.block_on(async move {
        sleep(Duration::from_millis(20)).await;
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"ping").await?;
        sleep(Duration::from_millis(20)).await;
        Ok::<_, io::Error>(corering::spawn(async move {
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await.map(|()| answer)
        }))
    })?;
    drop(client);
    let report = runtime.shutdown(Duration::from_secs(5));
    println!("ended in order: {}", report.is_clean());
    Ok(())
}
