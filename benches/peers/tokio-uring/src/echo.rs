//! Echo with an owned buffer per connection.

use std::io;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 << 10;
const RING_ENTRIES: u32 = 4096;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let mut flags = tokio_uring::uring_builder();
    flags.setup_single_issuer().setup_coop_taskrun();
    tokio_uring::builder()
        .entries(RING_ENTRIES)
        .uring_builder(&flags)
        .start(accept(listener))?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener);
    loop {
        let (stream, _peer) = listener.accept().await?;
        drop(tokio_uring::spawn(echo(stream)));
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buf = slice.into_inner();
        buf.clear();
    }
}
