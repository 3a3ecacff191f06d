//! Echo with an owned buffer per connection, on each core with a runtime and a listener of its own.

use std::io;

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

const BUFFER_BYTES: usize = 16 << 10;
const RING_ENTRIES: u32 = 4096;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    let listeners = peer::serve::listen_on_cores(echo)?;
    peer::serve::ready(listeners[0].local_addr()?.port())?;
    peer::serve::on_cores(listeners, |listener| serve_on_core(listener, echo.work))
}

fn serve_on_core(listener: std::net::TcpListener, work: peer::Work) -> peer::Served {
    listener.set_nonblocking(true)?;
    let mut flags = io_uring::IoUring::builder();
    flags.setup_single_issuer().setup_coop_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .uring_builder(flags)
        .with_entries(RING_ENTRIES)
        .build()?;
    runtime.block_on(accept(listener, work))?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener, work: peer::Work) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        drop(monoio::spawn(echo(stream, work)));
    }
}

async fn echo(mut stream: TcpStream, work: peer::Work) -> io::Result<()> {
    let mut handler = work.handler();
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        handler.handle(&filled[..n]);
        let (written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buf = slice.into_inner();
        buf.clear();
    }
}
