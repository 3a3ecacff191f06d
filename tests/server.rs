//! Servers: the limit on connections, and each way to end.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "the harness looks at memory"
)]

mod harness;

use corering::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use corering::server::{Builder, Listener, Server};
use corering::sync::Event;
use corering::task::run_until_cancelled;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn, task};
use harness::net::listener;
use harness::{Case, everywhere};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(10);

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    while let Some(chunk) = run_until_cancelled(stream.recv()).await {
        let Some(chunk) = chunk? else { break };
        stream.send_all(chunk).await.0?;
    }
    Ok(())
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

#[test]
fn each_connection_has_a_task_and_its_peer() {
    everywhere("each_connection_has_a_task_and_its_peer", || async {
        let (listener, address) = listener().await;
        let peers = Rc::new(RefCell::new(Vec::new()));
        let seen = peers.clone();
        let server = Server::start(listener, move |stream, peer| {
            seen.borrow_mut().push(peer);
            echo(stream)
        });
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = TcpStream::connect(address).await.unwrap();
            ask(&mut client).await;
            clients.push(client);
        }
        assert!(server.is_serving() && server.connections() == 5);
        let own: Vec<_> = clients.iter().map(|c| c.local_addr().unwrap()).collect();
        assert_eq!(*peers.borrow(), own);
        clients.truncate(2);
        while server.connections() > 2 {
            sleep(MS).await;
        }
        assert_eq!(server.shutdown(LIMIT).await.unwrap(), 0);
        assert!(!server.is_serving() && server.connections() == 0);
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // Its address is free.
        TcpListener::bind(address)
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
    });
}

#[test]
fn what_is_over_the_limit_waits() {
    everywhere("what_is_over_the_limit_waits", || async {
        let (listener, address) = listener().await;
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let seen = (now.clone(), most.clone());
        let builder = Builder::new().max_connections(3);
        let server = builder.start(listener, move |stream, _| {
            let (now, most) = seen.clone();
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            async move {
                let result = echo(stream).await;
                now.set(now.get() - 1);
                result
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|_| {
                spawn(async move {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    ask(&mut client).await;
                    sleep(MS).await;
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(most.get(), 3);
        server.shutdown(LIMIT).await.unwrap();
        assert_eq!(now.get(), 0);
    });
}

#[test]
fn a_close_lets_finish_what_has_begun() {
    everywhere("a_close_lets_finish_what_has_begun", || async {
        let (listener, address) = listener().await;
        let server = Server::start(listener, |mut stream, _| async move {
            let mut question = [0; 4];
            stream.read_exact(&mut question).await?;
            sleep(20 * MS).await;
            stream.write_all(&question).await
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"slow").await.unwrap();
        while server.connections() == 0 {
            sleep(MS).await;
        }
        server.close();
        let waiting = timeout(MS, server.wait_closed()).await;
        assert!(waiting.is_err(), "it waits for the answer");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"slow");
        server.wait_closed().await.unwrap();
        server.wait_closed().await.unwrap();
    });
}

#[test]
fn who_does_not_hear_is_aborted_and_counted() {
    everywhere("who_does_not_hear_is_aborted_and_counted", || async {
        let (listener, address) = listener().await;
        let ended = Rc::new(Cell::new(0));
        let seen = ended.clone();
        let server = Server::start(listener, move |stream, _| {
            let ended = Ended(seen.clone());
            async move {
                let _both = (stream, ended);
                pending::<()>().await;
            }
        });
        let mut clients = Vec::new();
        for at in 0..4 {
            clients.push(TcpStream::connect(address).await.unwrap());
            while server.connections() <= at {
                sleep(MS).await;
            }
        }
        assert_eq!(server.shutdown(5 * MS).await.unwrap(), 4);
        assert_eq!(ended.get(), 4);
        for client in &mut clients {
            assert!(client.recv().await.is_ok_and(|end| end.is_none()));
        }
    });
}

/// Counts its drops.
struct Ended(Rc<Cell<u32>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_panic_is_its_connections_own() {
    everywhere("a_panic_is_its_connections_own", || async {
        let (listener, address) = listener().await;
        let first = Cell::new(true);
        let builder = Builder::new().max_connections(1);
        let server = builder.start(listener, move |stream, _| {
            assert!(!first.replace(false), "the first one is unlucky");
            echo(stream)
        });
        let mut unlucky = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(unlucky.recv().await, Ok(Some(_))));
        let mut next = TcpStream::connect(address).await.unwrap();
        ask(&mut next).await;
        server.shutdown(LIMIT).await.unwrap();
    });
}

#[test]
fn it_ends_with_the_task_that_has_started_it() {
    everywhere("it_ends_with_the_task_that_has_started_it", || async {
        let (listener, address) = listener().await;
        let task = spawn(async move {
            let server = Server::start(listener, |stream, _| echo(stream));
            server.wait_closed().await.unwrap();
            task::is_cancelled()
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        ask(&mut client).await;
        task.cancel();
        assert!(task.await.unwrap());
    });
}

/// A listener that breaks.
struct Breaks(TcpListener, Cell<u32>);

impl Listener for Breaks {
    type Stream = TcpStream;
    type Address = std::net::SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, std::net::SocketAddr)> {
        if self.1.replace(self.1.get() + 1) == 1 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.0.accept().await
    }
}

#[test]
fn a_useless_listener_closes_the_server() {
    everywhere("a_useless_listener_closes_the_server", || async {
        let (listener, address) = listener().await;
        let listener = Breaks(listener, Cell::new(0));
        let server = Server::start(listener, |stream, _| echo(stream));
        let _client = TcpStream::connect(address).await.unwrap();
        let error = server.wait_closed().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!server.is_serving());
    });
}

#[test]
fn unix_sockets_are_served_too() {
    everywhere("unix_sockets_are_served_too", || async {
        let address = SocketAddr::from_abstract_name("corering-server").unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let done = Rc::new(Event::new());
        let heard = done.clone();
        let server = Server::start(listener, move |mut stream: UnixStream, _| {
            let heard = heard.clone();
            async move {
                stream.write_all(b"hello").await?;
                heard.set();
                io::Result::Ok(())
            }
        });
        let mut client = UnixStream::connect_addr(&address).await.unwrap();
        let mut word = [0; 5];
        client.read_exact(&mut word).await.unwrap();
        done.wait().await;
        server.shutdown(LIMIT).await.unwrap();
    });
}

/// The runtime's own end is a close, also while the limit is reached and while nothing happens.
#[test]
fn the_end_of_the_runtime_ends_it() {
    Case::new("the_end_of_the_runtime_ends_it").run(|| {
        for connections in [1, 10] {
            let mut runtime = Runtime::new().unwrap();
            let client = runtime.block_on(async move {
                let (listener, address) = listener().await;
                let builder = Builder::new().max_connections(connections);
                drop(builder.start(listener, |stream, _| echo(stream)));
                let mut client = TcpStream::connect(address).await.unwrap();
                ask(&mut client).await;
                client
            });
            let report = runtime.shutdown(LIMIT);
            assert!(report.is_clean(), "{report:?}");
            drop(client);
        }
    });
}

#[test]
fn a_server_without_connections_is_refused() {
    let text = harness::panic_of(|| Builder::new().max_connections(0)).unwrap();
    assert!(text.contains("allow at least one"), "{text}");
}
