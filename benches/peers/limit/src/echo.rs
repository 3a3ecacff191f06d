//! The echo server of `benches/limit` behind the protocol.

use std::sync::atomic::AtomicBool;

use crate::server::{self, Stats, Wait};

pub(crate) fn serve(echo: &peer::Echo) -> peer::Served {
    echo.single_core()?;
    let wait = if echo.is_variant("plain")? {
        Wait::One
    } else {
        Wait::SendsAndOne
    };
    let listener = peer::serve::listen(echo.port)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    server::run(listener, &AtomicBool::new(false), &Stats::default(), wait)?;
    Ok(())
}
