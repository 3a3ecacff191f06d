//! A lock that guards a cache: who comes while a page is being fetched waits, and finds it there.
//!
//! asyncio's `async with lock:` around "look it up, fetch it, keep it". Without the lock all three
//! would fetch. Run it with `cargo run --example cache_lock`.

use corering::flow::gather;
use corering::sync::Mutex;
use corering::time::sleep;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

#[derive(Default)]
struct Cache {
    pages: Mutex<HashMap<String, String>>,
}

impl Cache {
    async fn page(&self, who: &str, url: &str) -> String {
        let mut pages = self.pages.lock().await;
        if let Some(page) = pages.get(url) {
            println!("{who}: {url} is in the cache");
            return page.clone();
        }
        println!("{who}: fetching {url}");
        sleep(Duration::from_millis(50)).await; // the lock is held over this wait
        let page = format!("<h1>{url}</h1>");
        pages.insert(url.to_string(), page.clone());
        page
    }
}

#[corering::main]
async fn main() {
    // One core needs no atomics: `Rc`, and a mutex that the compiler keeps on this core.
    let cache = Rc::new(Cache::default());
    let pages = gather(["parse", "use", "log"].map(|who| {
        let cache = cache.clone();
        async move { cache.page(who, "/index").await }
    }));
    let pages: Vec<String> = pages.await.into_iter().flatten().collect();
    println!(
        "all have the same page: {}",
        pages.iter().all(|page| *page == pages[0])
    );
    println!("pages in the cache: {}", cache.pages.lock().await.len());
}
