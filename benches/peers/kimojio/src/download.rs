//! A hand-written client.

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use kimojio::operations::{self, OFlags, RecvFlags, SendFlags};
use peer::download::{Plan, Wire, copy_some};
use peer::files::Turns;

peer::download_loops!(crate::runtime, some);

async fn some(plan: Arc<Plan>, turns: Arc<Turns>) -> io::Result<()> {
    copy_some::<Kimojio>(&plan, &turns).await
}

struct Kimojio;

impl Wire for Kimojio {
    type Stream = OwnedFd;
    type File = OwnedFd;

    async fn connect(origin: SocketAddr) -> io::Result<OwnedFd> {
        let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        let stream = OwnedFd::from(tcp);
        operations::connect(&stream, &origin).await?;
        Ok(stream)
    }

    async fn send(stream: &mut OwnedFd, bytes: Vec<u8>) -> io::Result<()> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let sent = operations::send(stream, rest, SendFlags::NOSIGNAL, None).await?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    async fn read(
        stream: &mut OwnedFd,
        mut buf: Vec<u8>,
        from: usize,
    ) -> io::Result<(usize, Vec<u8>)> {
        let room = &mut buf[from..];
        let read = operations::recv(stream, room, RecvFlags::empty(), None).await?;
        Ok((read, buf))
    }

    async fn create(path: PathBuf) -> io::Result<OwnedFd> {
        let path = CString::new(path.into_os_string().into_vec())?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC;
        Ok(operations::open(&path, flags, 0o666.into()).await?)
    }

    async fn write(
        file: &OwnedFd,
        buf: Vec<u8>,
        part: Range<usize>,
        offset: u64,
    ) -> io::Result<Vec<u8>> {
        crate::disk::write_all(file, &buf[part], offset).await?;
        Ok(buf)
    }

    async fn close(file: OwnedFd) -> io::Result<()> {
        Ok(operations::close(file).await?)
    }
}
