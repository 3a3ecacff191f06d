//! Echo with an owned buffer per connection; `tuned` has the ring's better flags.

use std::io;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let mut proactor = ProactorBuilder::new();
    if echo.is_variant("tuned")? {
        proactor
            .capacity(4096)
            .single_issuer(true)
            .defer_taskrun(true)
            .coop_taskrun(true)
            .taskrun_flag(true);
    }
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    runtime.block_on(accept(listener))?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        compio::runtime::spawn(echo(stream)).detach();
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let BufResult(read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let BufResult(written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buf = slice.into_inner();
        buf.clear();
    }
}
