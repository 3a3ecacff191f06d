//! Echo with a buffer per connection.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use kimojio::operations::{self, RecvFlags, SendFlags};
use kimojio::{Errno, Runtime, configuration::Configuration};

const BUFFER_BYTES: usize = 16 << 10;

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let mut runtime = Runtime::new(0, Configuration::new());
    match runtime.block_on(accept(listener)) {
        Some(Ok(ended)) => Ok(ended.map_err(io::Error::from)?),
        _ => Err(io::Error::other("the runtime ended").into()),
    }
}

async fn accept(listener: TcpListener) -> Result<(), Errno> {
    loop {
        let stream = operations::accept(&listener).await?;
        drop(operations::spawn_task(echo(stream)));
    }
}

async fn echo(stream: OwnedFd) -> Result<(), Errno> {
    let mut buf = vec![0; BUFFER_BYTES];
    loop {
        let n = operations::recv(&stream, &mut buf, RecvFlags::empty(), None).await?;
        if n == 0 {
            return operations::close(stream).await;
        }
        let mut rest = &buf[..n];
        while !rest.is_empty() {
            let sent = operations::send(&stream, rest, SendFlags::NOSIGNAL, None).await?;
            rest = &rest[sent..];
        }
    }
}
