//! Fetches twenty pages at once, and prints each as it comes.
//!
//! asyncio's `for coroutine in asyncio.as_completed(fetches): print(await coroutine)`.
//! Run it with `cargo run --example pages`; the pages are served by the program itself, some
//! slowly. With an URL behind it (`-- http://localhost:8000/`) it fetches `URL0` to `URL19`.

use corering::flow::as_completed;
use corering::http::{Client, Limits, serve};
use corering::net::TcpListener;
use corering::time::sleep;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

const PAGES: u64 = 20;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The page `/n`: the higher the number, the sooner it comes.
async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/');
    let number: u64 = path.parse().unwrap_or(0);
    sleep(Duration::from_millis(20 * PAGES.saturating_sub(number))).await;
    let text = "x".repeat(1000 + number as usize);
    Ok(Response::new(Full::new(Bytes::from(text))))
}

async fn start_origin() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    corering::spawn(serve(listener, service_fn(page), Limits::default()));
    Ok(url)
}

/// Returns the page's length in bytes.
async fn fetch(client: Client, url: String) -> Result<usize, Box<dyn Error>> {
    let mut answer = client.get(&url.parse()?).await?;
    Ok(answer.bytes(PAGE_BYTES_MAX).await?.len())
}

#[corering::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let base = match std::env::args().nth(1) {
        Some(url) => url,
        None => start_origin().await?,
    };
    let client = Client::default();
    let mut pages = as_completed((0..PAGES).map(|number| {
        let fetched = fetch(client.clone(), format!("{base}{number}"));
        async move { (number, fetched.await) }
    }));
    let mut total = 0;
    while let Some(page) = pages.next().await {
        match page? {
            (number, Ok(bytes)) => {
                println!("page {number}: {bytes} bytes");
                total += bytes;
            }
            (number, Err(error)) => println!("page {number}: {error}"),
        }
    }
    println!("{total} bytes in all");
    Ok(())
}
