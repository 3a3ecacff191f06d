//! cyper, the client of compio's authors, and a write a gathered buffer.

use std::io;
use std::sync::Arc;

use compio::BufResult;
use compio::fs::File;
use compio::io::AsyncWriteAtExt;
use cyper::Client;
use futures_util::StreamExt;
use peer::download::{GATHER_BYTES, Plan};
use peer::files::Turns;

peer::download_loops!(crate::runtime, some);

async fn some(plan: Arc<Plan>, turns: Arc<Turns>) -> io::Result<()> {
    let client = Client::new().map_err(io::Error::other)?;
    let mut gathered = Vec::with_capacity(GATHER_BYTES);
    while let Some(object) = turns.take() {
        let request = client.get(plan.url(object)).map_err(io::Error::other)?;
        let answer = request.send().await.map_err(io::Error::other)?;
        if answer.status() != 200 {
            return Err(io::Error::other(format!("{}", answer.status())));
        }
        let mut file = File::create(plan.path(object)).await?;
        let mut offset = 0;
        let mut body = std::pin::pin!(answer.bytes_stream());
        while let Some(chunk) = body.next().await {
            let mut chunk = &chunk.map_err(io::Error::other)?[..];
            while !chunk.is_empty() {
                let (now, later) = chunk.split_at(chunk.len().min(GATHER_BYTES - gathered.len()));
                gathered.extend_from_slice(now);
                chunk = later;
                if gathered.len() == GATHER_BYTES {
                    gathered = write(&mut file, gathered, &mut offset).await?;
                }
            }
        }
        gathered = write(&mut file, gathered, &mut offset).await?;
        file.close().await?;
    }
    Ok(())
}

/// Writes what was gathered, and returns the buffer empty.
async fn write(file: &mut File, bytes: Vec<u8>, offset: &mut u64) -> io::Result<Vec<u8>> {
    let len = bytes.len() as u64;
    let BufResult(written, mut bytes) = file.write_all_at(bytes, *offset).await;
    written?;
    *offset += len;
    bytes.clear();
    Ok(bytes)
}
