//! `corering serve`: servers that other programs can use.

use crate::args::{ServeEcho, ServeFiles};
use crate::fail::Failure;

/// Sends back whatever arrives, until Ctrl-C.
pub(crate) fn echo(args: &ServeEcho) -> Result<(), Failure> {
    unimplemented!("needs the runtime: {args:?}")
}

/// Serves a directory over HTTP/1.1, until Ctrl-C.
pub(crate) fn files(args: &ServeFiles) -> Result<(), Failure> {
    unimplemented!("needs the runtime: {args:?}")
}
