//! A hand-written client.

use monoio::buf::{IoBuf, IoBufMut};
use monoio::fs::File;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

peer::download_by_owned_buffers!(crate::runtime, TcpStream, File, slice_mut);
