//! reqwest and `tokio::fs`.

use std::io;
use std::sync::{Arc, OnceLock};

use peer::download::{GATHER_BYTES, Plan};
use peer::files::Turns;
use reqwest::Client;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

peer::download_loops!(crate::runtime, some);

/// One client for all tasks, as its documentation asks for.
static CLIENT: OnceLock<Client> = OnceLock::new();

async fn some(plan: Arc<Plan>, turns: Arc<Turns>) -> io::Result<()> {
    let client = CLIENT.get_or_init(Client::new);
    while let Some(object) = turns.take() {
        let answer = client.get(plan.url(object)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(io::Error::other)?;
        let file = File::create(plan.path(object)).await?;
        let mut writer = BufWriter::with_capacity(GATHER_BYTES, file);
        while let Some(chunk) = answer.chunk().await.map_err(io::Error::other)? {
            writer.write_all(&chunk).await?;
        }
        // The file's own flush waits for its last write.
        writer.flush().await?;
    }
    Ok(())
}
