//! The echo server of the README; `read-write` is the one with a buffer of the task's own.

use std::io;

use corering::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let own_buffer = echo.is_variant("read-write")?;
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let mut runtime = corering::Runtime::new().map_err(io::Error::from)?;
    runtime.block_on(accept(listener, own_buffer))?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener, own_buffer: bool) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        if own_buffer {
            drop(corering::spawn(echo_own_buffer(stream)));
        } else {
            drop(corering::spawn(echo(stream)));
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn echo_own_buffer(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER_BYTES];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}
