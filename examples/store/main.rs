//! A durable key-value store over TCP and files: a server, a few clients, a second life.
//!
//! The service (`service/`) is the same code that `tests/store.rs` runs on simulated machines
//! whose power fails. Run it with `cargo run --example store`.

mod service;

use corering::net::TcpListener;
use corering::sync::oneshot;
use service::{Client, serve};
use std::error::Error;
use std::path::Path;

/// Serves the store in `dir`, and runs a session of clients against it.
async fn life(dir: &Path, session: impl AsyncFnOnce(&str)) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (stop, stopped) = oneshot::<()>();
    let dir = dir.to_owned();
    let server = corering::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        serve(listener, &dir, stop).await
    });
    session(&address).await;
    let _ = stop.send(());
    server.await??;
    Ok(())
}

async fn write_some(address: String, client: u32) -> Result<(), service::Error> {
    let mut connection = Client::connect(&address).await?;
    for round in 0..50 {
        let key = format!("client-{client}");
        connection.set(&key, &format!("round {round}")).await?;
    }
    connection.set("gone", "soon").await?;
    connection.remove("gone").await
}

async fn read_all(address: &str) -> Result<(), service::Error> {
    let mut connection = Client::connect(address).await?;
    for key in ["client-0", "client-7", "gone"] {
        println!("{key}: {:?}", connection.get(key).await?);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("corering-store-{}", std::process::id()));
    corering::block_on(async {
        life(&dir, async |address| {
            let clients = (0..8).map(|client| write_some(address.to_owned(), client));
            let written = futures::future::join_all(clients).await;
            let written = written.iter().filter(|result| result.is_ok()).count();
            println!("{written} clients have written 52 times each, all of it durable");
        })
        .await?;
        println!("stopped; the second life:");
        life(&dir, async |address| {
            if let Err(error) = read_all(address).await {
                println!("cannot read: {error}");
            }
        })
        .await?;
        corering::fs::remove_dir_all(&dir).await?;
        Ok(())
    })
}
