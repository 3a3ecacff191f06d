//! A crawler that stores what it finds to a database: five workers on a queue of paths, and one
//! task that collects pages and commits them together, on a thread that may block.
//!
//! asyncio's crawler, with `asyncio.Queue`, a set of what was seen, and `run_in_executor` for the
//! database. Run it with `cargo run --example crawler`: it crawls a site of its own. With an URL
//! behind it (`-- http://localhost:8000/`) it crawls that host.

#![allow(
    clippy::result_large_err,
    reason = "the database's own error is large, and seldom"
)]

use corering::http::{Client, Limits, serve};
use corering::net::TcpListener;
use corering::sync::local::mpsc;
use corering::sync::queue::Queue;
use corering::{fs, spawn_blocking};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::cell::RefCell;
use std::collections::HashSet;
use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

const WORKERS: usize = 5;
const PAGES_MAX: usize = 200;
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Pages that are committed together, at most.
const BATCH_PAGES_MAX: usize = 16;

/// A path, and the status and the text that it gave.
const PAGES: TableDefinition<&str, (u16, &str)> = TableDefinition::new("pages");

struct Page {
    path: String,
    status: u16,
    text: String,
}

struct Crawl {
    client: Client,
    host: String,
    seen: RefCell<HashSet<String>>,
    paths: Queue<String>,
}

impl Crawl {
    /// Puts a path into the queue, unless it was there before.
    fn found(&self, path: &str) {
        let mut seen = self.seen.borrow_mut();
        if seen.len() < PAGES_MAX && seen.insert(path.to_string()) {
            self.paths
                .try_put(path.to_string())
                .expect("it has no limit and is open");
        }
    }

    async fn fetch(&self, path: String) -> Result<Page, Box<dyn Error>> {
        let url: Uri = format!("http://{}{path}", self.host).parse()?;
        let mut answer = self.client.get(&url).await?;
        let text = String::from_utf8_lossy(&answer.bytes(PAGE_BYTES_MAX).await?).into_owned();
        let status = answer.status().as_u16();
        Ok(Page { path, status, text })
    }

    async fn work(self: Rc<Self>, store: mpsc::Sender<Page>) {
        while let Ok(path) = self.paths.get().await {
            match self.fetch(path).await {
                Ok(page) => {
                    links(&page.text).for_each(|path| self.found(path));
                    // Waits while the database is behind.
                    store
                        .send(page)
                        .await
                        .unwrap_or_else(|_| println!("the store has ended"));
                }
                Err(error) => println!("failed: {error}"),
            }
            self.paths.task_done().expect("one for each get");
        }
    }
}

/// The paths on the same host that a page links to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    targets.filter(|target| target.starts_with('/') && !target.starts_with("//"))
}

/// A new database, with its table; blocks.
fn create(file: &Path) -> Result<Database, redb::Error> {
    let database = Database::create(file)?;
    commit(&database, &[])?;
    Ok(database)
}

/// Writes pages in one transaction; blocks.
fn commit(database: &Database, pages: &[Page]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(PAGES)?;
        for page in pages {
            table.insert(page.path.as_str(), (page.status, page.text.as_str()))?;
        }
    }
    Ok(transaction.commit()?)
}

/// Commits what comes, until nobody sends any more.
async fn store(
    database: Arc<Database>,
    mut pages: mpsc::Receiver<Page>,
) -> Result<(), Box<dyn Error>> {
    let mut batch = Vec::new();
    while pages.recv_many(&mut batch, BATCH_PAGES_MAX).await > 0 {
        let database = database.clone();
        let batch = std::mem::take(&mut batch);
        spawn_blocking(move || commit(&database, &batch)).await??;
    }
    Ok(())
}

/// What the database says about the crawl; blocks.
fn summary(database: &Database) -> Result<String, redb::Error> {
    let table = database.begin_read()?.open_table(PAGES)?;
    let mut text = format!("{} pages in the database", table.len()?);
    for row in table.iter()? {
        let (path, page) = row?;
        let (status, _) = page.value();
        if status != StatusCode::OK {
            text.push_str(&format!("\n{} is {status}", path.value()));
        }
    }
    Ok(text)
}

/// Crawls a host from its path `/` on.
async fn crawl(host: String, database: Arc<Database>) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel(BATCH_PAGES_MAX);
    let storing = corering::spawn(store(database, receiver));
    let crawl = Rc::new(Crawl {
        client: Client::default(),
        host,
        seen: RefCell::default(),
        paths: Queue::unbounded(),
    });
    crawl.found("/");
    for _ in 0..WORKERS {
        corering::spawn(crawl.clone().work(sender.clone()));
    }
    drop(sender);
    crawl.paths.join().await;
    crawl.paths.shutdown(false);
    storing.await?
}

/// A site of fifty pages: each links to two others and back to the first; two links are dead.
async fn site(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/');
    let number = if path.is_empty() {
        Some(0)
    } else {
        path.parse::<u32>().ok()
    };
    let (status, text) = match number.filter(|number| *number < 50) {
        None => (StatusCode::NOT_FOUND, "<h1>not here</h1>".to_string()),
        Some(n) => {
            let (a, b) = (2 * n + 1, 2 * n + 2);
            let (a, b) = (a.min(51), b.min(50));
            let links = [a.to_string(), b.to_string(), String::new()];
            let links = links.map(|target| format!("<a href=\"/{target}\">on</a>"));
            (StatusCode::OK, format!("<h1>{n}</h1>{}", links.concat()))
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

async fn start_site() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    corering::spawn(serve(listener, service_fn(site), Limits::default()));
    Ok(host)
}

#[corering::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let host = match std::env::args().nth(1) {
        Some(url) => url
            .parse::<Uri>()?
            .authority()
            .ok_or("the URL has no host")?
            .to_string(),
        None => start_site().await?,
    };
    let file = std::env::temp_dir().join(format!("corering-crawler-{}", std::process::id()));
    let path = file.clone();
    let database = Arc::new(spawn_blocking(move || create(&path)).await??);
    crawl(host, database.clone()).await?;
    println!("{}", spawn_blocking(move || summary(&database)).await??);
    fs::remove_file(&file).await?;
    Ok(())
}
