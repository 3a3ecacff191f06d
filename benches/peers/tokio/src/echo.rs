//! Echo with a buffer per connection; `multi_thread` is the other scheduler, with a worker a core.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    let mut builder = if echo.is_variant("multi_thread")? {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(echo.cores);
        builder
    } else {
        echo.single_core()?;
        Builder::new_current_thread()
    };
    let listener = peer::serve::listen(echo.port)?;
    listener.set_nonblocking(true)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let work = echo.work;
    let runtime = builder.enable_io().build()?;
    runtime.block_on(async {
        // Accepting from a worker's task spares a wake from the thread that blocks.
        let accept = tokio::spawn(accept(listener, work));
        accept.await.map_err(io::Error::other)?
    })?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener, work: peer::Work) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        drop(tokio::spawn(echo(stream, work)));
    }
}

async fn echo(mut stream: TcpStream, work: peer::Work) -> io::Result<()> {
    let mut handler = work.handler();
    let mut buf = vec![0; BUFFER_BYTES];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        handler.handle(&buf[..n]);
        stream.write_all(&buf[..n]).await?;
    }
}
