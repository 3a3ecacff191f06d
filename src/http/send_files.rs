//! Who may answer with stand-ins for parts of files: both sides must have said so.
//!
//! ```text
//!   ServeDir::sendfile(true) ──► wanted on this core ──► a connection of `serve` prepares itself
//!                                                           │ marks its requests
//!   a request with the mark, to a ServeDir that was asked ◄─┘   anything else: real contents
//! ```
//! So what serves no files pays nothing, and a request that came another way (over TLS, through
//! hyper alone, in a simulation) has no mark.

use crate::net::TcpStream;
use hyper::Request;
use std::cell::Cell;

thread_local! {
    /// Whether a [`ServeDir`](super::ServeDir) of this core was ever asked.
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// The mark: the connection that this request came by can send parts of files.
#[derive(Clone, Copy, Debug)]
struct SendsFiles;

/// A file service of this core makes stand-ins where it may.
pub(super) fn want() {
    WANTED.set(true);
}

/// Prepares a connection to send what they stand for, if anybody makes them; whether it can.
pub(super) fn prepare(stream: &TcpStream) -> bool {
    WANTED.get() && stream.prepare_for_files()
}

pub(super) fn mark<B>(request: &mut Request<B>) {
    request.extensions_mut().insert(SendsFiles);
}

pub(super) fn is_marked<B>(request: &Request<B>) -> bool {
    request.extensions().get::<SendsFiles>().is_some()
}
