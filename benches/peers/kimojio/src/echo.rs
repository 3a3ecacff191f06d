//! The echo server.

pub(crate) fn serve(_echo: peer::Echo) -> peer::Served {
    Err(peer::Stop::unsupported("not written yet"))
}
