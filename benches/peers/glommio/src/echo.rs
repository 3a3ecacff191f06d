//! Echo with a buffer per connection, on each core with an executor and a listener of its own. The
//! executors are not placed: the driver pins the process, and `peer` the threads of several.

use std::io;
use std::sync::Barrier;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

const BUFFER_BYTES: usize = 16 << 10;
const RING_DEPTH: usize = 4096;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    peer::serve::prepare()?;
    let (_reserved, port) = peer::serve::reserve(echo.port)?;
    let (cores, work) = (echo.cores.max(1), echo.work);
    let listening = Barrier::new(cores);
    peer::serve::on_cores(vec![(); cores], |()| {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .ring_depth(RING_DEPTH)
            .make()
            .map_err(io::Error::from)?;
        executor.run(accept(port, &listening, work))?;
        Ok(())
    })
}

/// Its listener cannot be handed over safely: it listens with a backlog of 1,024 of its own, and
/// with others on the same port.
async fn accept(port: u16, listening: &Barrier, work: peer::Work) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    // A connection that came before would be the first one's.
    if listening.wait().is_leader() {
        peer::serve::ready(port)?;
    }
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true)?;
        glommio::spawn_local(echo(stream, work)).detach();
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
