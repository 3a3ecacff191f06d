//! hyper and `tokio::fs`: a file of up to one chunk is read whole, a larger one chunk by chunk.

use std::convert::Infallible;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

const CHUNK_BYTES: usize = 64 << 10;

type Body = BoxBody<Bytes, io::Error>;

pub(crate) fn run(files: &peer::ServeFiles) -> peer::Served {
    let mut builder = match files.variant.as_str() {
        "" => Builder::new_current_thread(),
        "multi_thread" => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        }
        other => return Err(peer::Stop::unsupported(format!("no variant `{other}`"))),
    };
    let listener = peer::serve::listen(files.port)?;
    listener.set_nonblocking(true)?;
    peer::serve::ready(listener.local_addr()?.port())?;
    let runtime = builder.enable_all().build()?;
    let root = Arc::new(files.root.clone());
    runtime.block_on(async {
        let accept = tokio::spawn(accept(listener, root));
        accept.await.map_err(io::Error::other)?
    })?;
    Ok(())
}

async fn accept(listener: std::net::TcpListener, root: Arc<PathBuf>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        drop(tokio::spawn(serve(stream, Arc::clone(&root))));
    }
}

async fn serve(stream: TcpStream, root: Arc<PathBuf>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let root = Arc::clone(&root);
        async move { Ok::<_, Infallible>(answer(&root, request.uri().path()).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // Its errors are the client's.
    let _ = connection.await;
}

async fn answer(root: &Path, path: &str) -> Response<Body> {
    let opened = match below(root, path) {
        Some(file) => body(&file).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    opened.unwrap_or_else(|_| {
        let mut answer = Response::new(Full::default().map_err(|never| match never {}).boxed());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        answer
    })
}

/// Only plain names, so nothing is above the root.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let path = Path::new(path.strip_prefix('/')?);
    let is_plain = |part| matches!(part, Component::Normal(_));
    path.components().all(is_plain).then(|| root.join(path))
}

async fn body(path: &Path) -> io::Result<Response<Body>> {
    let mut file = File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let len = metadata.len();
    let body = if len <= CHUNK_BYTES as u64 {
        let mut bytes = Vec::with_capacity(len as usize);
        file.read_to_end(&mut bytes).await?;
        Full::from(bytes).map_err(|never| match never {}).boxed()
    } else {
        BodyExt::boxed(StreamBody::new(chunks(file).map_ok(Frame::data)))
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_LENGTH, len.into());
    Ok(answer)
}

fn chunks(mut file: File) -> impl Stream<Item = io::Result<Bytes>> {
    // One hop to the pool a chunk.
    file.set_max_buf_size(CHUNK_BYTES);
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (chunk.freeze(), file)))
    })
}
