//! Echo with an owned buffer per connection, on each core with a runtime and a listener of its own;
//! `tuned` has the ring's better flags.

use std::io;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    let mut proactor = ProactorBuilder::new();
    if echo.is_variant("tuned")? {
        proactor
            .capacity(4096)
            .single_issuer(true)
            .defer_taskrun(true)
            .coop_taskrun(true)
            .taskrun_flag(true);
    }
    let listeners = peer::serve::listen_on_cores(echo)?;
    peer::serve::ready(listeners[0].local_addr()?.port())?;
    peer::serve::on_cores(listeners, |listener| {
        let mut builder = RuntimeBuilder::new();
        let runtime = builder.with_proactor(proactor.clone()).build()?;
        runtime.block_on(accept(listener, echo.work))?;
        Ok(())
    })
}

async fn accept(listener: std::net::TcpListener, work: peer::Work) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        compio::runtime::spawn(echo(stream, work)).detach();
    }
}

async fn echo(mut stream: TcpStream, work: peer::Work) -> io::Result<()> {
    let mut handler = work.handler();
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let BufResult(read, filled) = stream.read(buf).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        handler.handle(&filled[..n]);
        let BufResult(written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buf = slice.into_inner();
        buf.clear();
    }
}
