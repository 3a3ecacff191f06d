//! A room in which everybody hears everybody. The door is a Unix socket with an abstract name; who
//! comes in is handed a line into the room, as an open descriptor.
//!
//! asyncio's `start_unix_server` and `open_unix_connection`. Run it with
//! `cargo run --example unix_chat`.

use corering::net::{UnixListener, UnixStream};
use corering::sync::{Sender, channel};
use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;

/// What the guests are to hear.
type Room = Rc<RefCell<Vec<Sender<String>>>>;

fn say(room: &Room, words: &str) {
    // Who is gone, or does not listen, hears no more.
    room.borrow_mut()
        .retain(|guest| guest.try_send(words.to_string()).is_ok());
}

async fn keep_the_door(listener: UnixListener) -> io::Result<()> {
    let room = Room::default();
    loop {
        let (mut door, _) = listener.accept().await?;
        let (ours, theirs) = UnixStream::pair()?;
        corering::spawn(serve(room.clone(), ours));
        door.send_with_fds(b"welcome", &[theirs.as_fd()]).await?;
    }
}

async fn serve(room: Room, line: UnixStream) -> io::Result<()> {
    let (mut read, mut write) = line.into_split();
    let (sender, mut heard) = channel::<String>(16);
    room.borrow_mut().push(sender);
    corering::spawn(async move {
        while let Some(words) = heard.recv().await {
            if write.write_all(words.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    while let Some(words) = read.recv().await? {
        say(&room, &String::from_utf8_lossy(&words));
    }
    Ok(())
}

/// Comes in: the line into the room.
async fn enter(address: &SocketAddr) -> io::Result<UnixStream> {
    let mut door = UnixStream::connect_addr(address).await?;
    let mut greeting = [0; 64];
    let (_, fds) = door.recv_with_fds(&mut greeting).await?;
    let line = fds.into_iter().next();
    let line = line.ok_or_else(|| io::Error::other("nobody has given me a line"))?;
    UnixStream::from_std(line.into())
}

/// Waits until so many lines of text were heard.
async fn hear(line: &mut UnixStream, lines: usize) -> io::Result<String> {
    let mut text = String::new();
    while text.lines().count() < lines {
        match line.recv().await? {
            Some(words) => text.push_str(&String::from_utf8_lossy(&words)),
            None => break,
        }
    }
    Ok(text)
}

fn main() -> io::Result<()> {
    let name = format!("corering-chat-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    corering::block_on(async {
        let listener = UnixListener::bind_addr(&address)?;
        corering::spawn(keep_the_door(listener));
        let mut ann = enter(&address).await?;
        ann.write_all(b"ann: is anybody here?\n").await?;
        print!("ann hears  {}", hear(&mut ann, 1).await?);
        let mut bob = enter(&address).await?;
        bob.write_all(b"bob: I am\n").await?;
        print!("ann hears  {}", hear(&mut ann, 1).await?);
        print!("bob hears  {}", hear(&mut bob, 1).await?);
        Ok(())
    })
}
