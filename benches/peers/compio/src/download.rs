//! A hand-written client. (cyper, that of its authors, was tried first, and was slower.)

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::fs::File;
use compio::io::{AsyncRead, AsyncWriteAtExt, AsyncWriteExt};
use compio::net::TcpStream;
use peer::download::{Plan, Wire, copy_some};
use peer::files::Turns;

peer::download_loops!(crate::runtime, some);

async fn some(plan: Arc<Plan>, turns: Arc<Turns>) -> io::Result<()> {
    copy_some::<Compio>(&plan, &turns).await
}

struct Compio;

impl Wire for Compio {
    type Stream = TcpStream;
    type File = File;

    async fn connect(origin: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(origin).await
    }

    async fn send(stream: &mut TcpStream, bytes: Vec<u8>) -> io::Result<()> {
        stream.write_all(bytes).await.0
    }

    async fn read(
        stream: &mut TcpStream,
        buf: Vec<u8>,
        from: usize,
    ) -> io::Result<(usize, Vec<u8>)> {
        let BufResult(read, slice) = stream.read(buf.slice(from..)).await;
        Ok((read?, slice.into_inner()))
    }

    async fn create(path: PathBuf) -> io::Result<File> {
        File::create(path).await
    }

    async fn write(
        mut file: &File,
        buf: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> io::Result<Vec<u8>> {
        let BufResult(written, slice) = file.write_all_at(buf.slice(part), offset).await;
        written?;
        Ok(slice.into_inner())
    }

    async fn close(file: File) -> io::Result<()> {
        file.close().await
    }
}
