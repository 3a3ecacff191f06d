//! Echo with a buffer per connection, on an executor that is not placed: the driver pins it.

use std::io;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

const BUFFER_BYTES: usize = 16 << 10;
const RING_DEPTH: usize = 4096;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    peer::serve::prepare()?;
    let port = echo.port;
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(RING_DEPTH)
        .make()
        .map_err(io::Error::from)?;
    executor.run(accept(port))?;
    Ok(())
}

/// Its listener cannot be handed over safely, and listens with a backlog of 1,024 of its own.
async fn accept(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    peer::serve::ready(listener.local_addr()?.port())?;
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        glommio::spawn_local(echo(stream)).detach();
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; BUFFER_BYTES];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}
