//! The headers of several hosts at once, over raw sockets: each line is printed as it comes.
//!
//! asyncio's `wget_headers`: `open_connection`, `writer.write`, `reader.readline`. Run it with
//! `cargo run --example headers` for three origins of its own, or with names of hosts behind it:
//! `cargo run --example headers -- www.python.org www.rust-lang.org`.

use corering::flow::gather;
use corering::io::BufReader;
use corering::net::{TcpListener, TcpStream};
use corering::time::sleep;
use std::io;
use std::time::Duration;

/// Prints the headers that `address` (`host:port`) sends, each line behind `name`.
async fn print_headers(name: &str, address: String) -> io::Result<()> {
    println!("asking {name}");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("HEAD / HTTP/1.0\r\nHost: {name}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(stream);
    while let Some(line) = lines.next_line().await? {
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        println!("{name}: {line}");
    }
    Ok(())
}

/// A host that takes its time over each line.
async fn origin(listener: TcpListener, pause: Duration) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = BufReader::new(&mut stream);
    while request
        .next_line()
        .await?
        .is_some_and(|line| !line.trim_end().is_empty())
    {}
    for line in [
        "HTTP/1.0 200 OK",
        "Server: an example",
        "Content-Length: 0",
        "",
    ] {
        sleep(pause).await;
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// Starts an origin: its name, and where it listens.
async fn start_origin(number: u64) -> io::Result<(String, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    corering::spawn(origin(listener, Duration::from_millis(15 * number)));
    Ok((format!("origin-{number}"), address))
}

#[corering::main]
async fn main() -> io::Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut hosts: Vec<_> = names
        .into_iter()
        .map(|name| (name.clone(), format!("{name}:80")))
        .collect();
    if hosts.is_empty() {
        for number in 1..=3 {
            hosts.push(start_origin(number).await?);
        }
    }
    let answers = gather(hosts.into_iter().map(|(name, address)| async move {
        let answer = print_headers(&name, address).await;
        answer
            .inspect_err(|error| println!("{name}: {error}"))
            .is_ok()
    }));
    let answers: Vec<bool> = answers.await.into_iter().flatten().collect();
    let answered = answers.iter().filter(|answered| **answered).count();
    println!("{answered} of {} hosts have answered", answers.len());
    Ok(())
}
