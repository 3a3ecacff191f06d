//! An HTTP server and a client on one core: hyper on the runtime's own sockets.
//!
//! Run it with `cargo run --example http`.

use corering::http::{Client, ClientLimits, Limits, serve};
use corering::net::TcpListener;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::error::Error;

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("you asked for {}\n", request.uri().path());
    Ok(Response::new(Full::new(Bytes::from(text))))
}

fn main() -> Result<(), Box<dyn Error>> {
    corering::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        corering::spawn(serve(listener, service_fn(hello), Limits::default()));
        let client = Client::new(ClientLimits::default());
        for path in ["/one", "/two"] {
            let url = format!("http://{address}{path}").parse()?;
            let mut answer = client.get(&url).await?;
            let body = answer.bytes(1024).await?;
            print!("{}: {}", answer.status(), String::from_utf8_lossy(&body));
        }
        Ok(())
    })
}
