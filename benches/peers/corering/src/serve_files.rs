//! What `corering serve files` does, on one core.

use std::io;

use corering::http::{Limits, ServeDir, serve};
use corering::net::TcpListener;

pub(crate) fn run(files: &peer::ServeFiles) -> peer::Served {
    let listener = peer::serve::listen(files.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let mut runtime = corering::Runtime::new().map_err(io::Error::from)?;
    runtime.block_on(async {
        let service = ServeDir::open(&files.root)
            .await?
            .sendfile(true)
            .into_service();
        serve(TcpListener::from_std(listener)?, service, Limits::default()).await
    })?;
    Ok(())
}
