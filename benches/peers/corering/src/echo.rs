//! The echo server of the README; `recv-write` copies what it sends, `read-write` has a buffer of
//! the task's own.

use std::io;

use corering::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let way = match echo.variant.as_str() {
        "recv-write" => Way::RecvWrite,
        _ if echo.is_variant("read-write")? => Way::ReadWrite,
        _ => Way::RecvSend,
    };
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let mut runtime = corering::Runtime::new().map_err(io::Error::from)?;
    runtime.block_on(accept(listener, way))?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    RecvSend,
    RecvWrite,
    ReadWrite,
}

async fn accept(listener: std::net::TcpListener, way: Way) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        match way {
            Way::RecvSend => drop(corering::spawn(echo(stream))),
            Way::RecvWrite => drop(corering::spawn(echo_copying(stream))),
            Way::ReadWrite => drop(corering::spawn(echo_own_buffer(stream))),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn echo_copying(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.write_all(&chunk).await?;
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
