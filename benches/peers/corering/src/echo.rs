//! The echo server of the README, on each core with a listener of its own; `recv-write` copies what
//! it sends, `read-write` has a buffer of the task's own.

use std::io;

use corering::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    let way = match echo.variant.as_str() {
        "" => Way::RecvSend(echo.work),
        "recv-write" => Way::RecvWrite,
        _ => {
            echo.is_variant("read-write")?;
            Way::ReadWrite
        }
    };
    if !echo.variant.is_empty() {
        echo.single_core()?;
    }
    let mut listeners = peer::serve::listen_on_cores(echo)?.into_iter();
    let first = listeners.next().expect("a server has a core");
    let builder = corering::Runtime::builder().cores(1 + listeners.len());
    let mut runtime = builder.build().map_err(io::Error::from)?;
    let handle = runtime.handle();
    for (core, listener) in (1..).zip(listeners) {
        handle.spawn_on(core, move || async move {
            peer::or_end(accept(listener, way).await.map_err(peer::Stop::from));
        });
    }
    peer::serve::ready(first.local_addr()?.port())?;
    runtime.block_on(accept(first, way))?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    RecvSend(peer::Work),
    RecvWrite,
    ReadWrite,
}

async fn accept(listener: std::net::TcpListener, way: Way) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        match way {
            Way::RecvSend(work) => drop(corering::spawn(echo(stream, work))),
            Way::RecvWrite => drop(corering::spawn(echo_copying(stream))),
            Way::ReadWrite => drop(corering::spawn(echo_own_buffer(stream))),
        }
    }
}

async fn echo(mut stream: TcpStream, work: peer::Work) -> io::Result<()> {
    let mut handler = work.handler();
    while let Some(chunk) = stream.recv().await? {
        handler.handle(&chunk);
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
