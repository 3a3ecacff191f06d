//! The protocol: lines over TCP.
//!
//! | request           | answer                    |
//! |-------------------|---------------------------|
//! | `SET key value`   | `OK`                      |
//! | `DEL key`         | `OK`                      |
//! | `GET key`         | `VALUE value`, or `NONE`  |
//! | anything wrong    | `ERR why`                 |

use super::store::Store;
use corering::net::{TcpListener, TcpStream};
use corering::sync::Notify;
use corering::task::JoinSet;
use corering::time::timeout;
use futures::{FutureExt, select_biased};
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const LINE_BYTES_MAX: usize = 64 * 1024;
/// A client that says nothing for so long is sent away.
const IDLE: Duration = Duration::from_secs(60);
/// How long a stop waits for requests under way.
const GRACE: Duration = Duration::from_secs(5);

/// Opens the store in `dir` and serves it until `stop` is done: then requests under way are
/// answered, and everything is closed. An error says that the store has failed, or could not be
/// opened.
pub async fn serve(
    listener: TcpListener,
    dir: &Path,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (store, committer) = Store::open(dir).await?;
    let mut commits = corering::spawn(committer.run()).fuse();
    let mut stop = pin!(stop.fuse());
    let stopping = Rc::new(Stopping::default());
    let mut connections = JoinSet::new();
    loop {
        // Biased: `select!` draws the order from random numbers that no seed decides.
        select_biased! {
            ended = commits => return ended.unwrap_or_else(|error| Err(error.into())),
            () = stop => break,
            accepted = listener.accept().fuse() => {
                let (stream, _) = accepted?;
                connections.spawn(converse(stream, store.clone(), stopping.clone()));
                while connections.try_join_next().is_some() {}
            }
        }
    }
    drop(listener);
    stopping.begin();
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, all_gone).await.is_err() {
        connections.shutdown().await;
    }
    store.close();
    commits.await.unwrap_or_else(|error| Err(error.into()))
}

/// One client, until it goes away or the server stops.
async fn converse(mut stream: TcpStream, store: Store, stopping: Rc<Stopping>) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            let Some(answer) = answer(&line[..end], &store).await else {
                // Nobody knows what became of it, so nothing is said.
                return Ok(());
            };
            stream.send_all(answer.into_bytes()).await.0?;
        }
        if input.len() > LINE_BYTES_MAX {
            return stream.write_all(b"ERR the line is too long\n").await;
        }
        // Dropping a receive loses nothing, so it may compete with the stop.
        let received = select_biased! {
            () = stopping.wait().fuse() => return Ok(()),
            received = timeout(IDLE, stream.recv()).fuse() => received,
        };
        match received {
            Ok(Ok(Some(chunk))) => input.extend_from_slice(&chunk),
            Ok(Ok(None)) | Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        }
    }
}

async fn answer(line: &[u8], store: &Store) -> Option<String> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Some("ERR not UTF-8\n".into());
    };
    let mut words = line.splitn(3, ' ');
    let words = (words.next(), words.next(), words.next());
    let outcome = match words {
        (Some("GET"), Some(key), None) => {
            return Some(match store.get(key) {
                Some(value) => format!("VALUE {value}\n"),
                None => "NONE\n".into(),
            });
        }
        (Some("SET"), Some(key), Some(value)) => store.set(key, Some(value)).await?,
        (Some("DEL"), Some(key), None) => store.set(key, None).await?,
        _ => Err("say GET key, SET key value, or DEL key".into()),
    };
    Some(match outcome {
        Ok(()) => "OK\n".into(),
        Err(why) => format!("ERR {why}\n"),
    })
}

/// A signal that stays.
#[derive(Default)]
struct Stopping {
    begun: Cell<bool>,
    told: Notify,
}

impl Stopping {
    fn begin(&self) {
        self.begun.set(true);
        self.told.notify_waiters();
    }

    async fn wait(&self) {
        if !self.begun.get() {
            self.told.notified().await;
        }
    }
}
