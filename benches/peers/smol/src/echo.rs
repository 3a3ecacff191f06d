//! Echo with a buffer per connection, on an executor of one thread.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(accept(listener, Rc::clone(&executor))))?;
    Ok(())
}

async fn accept(listener: TcpListener, executor: Rc<LocalExecutor<'_>>) -> io::Result<()> {
    let listener = Async::new(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        executor.spawn(echo(stream)).detach();
    }
}

async fn echo(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buf = vec![0; BUFFER_BYTES];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}
