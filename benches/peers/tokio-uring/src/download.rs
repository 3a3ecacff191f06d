//! A hand-written client.

use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;
use tokio_uring::net::TcpStream;

peer::download_by_owned_buffers!(crate::runtime, TcpStream, File, slice);
