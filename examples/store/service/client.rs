//! The client's side of the protocol.

use corering::net::TcpStream;
use std::fmt;
use std::io::{self, ErrorKind};

/// A connection to a store.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug)]
pub enum Error {
    /// The server has refused: it was not done, and will not be.
    Refused(String),
    /// The connection is lost: it was done, or will be, or not; nobody knows.
    Unknown(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(why) => write!(f, "refused: {why}"),
            Error::Unknown(error) => write!(f, "the outcome is unknown: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Unknown(error)
    }
}

impl Client {
    pub async fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        let input = Vec::new();
        Ok(Client { stream, input })
    }

    pub async fn get(&mut self, key: &str) -> Result<Option<String>, Error> {
        let answer = self.ask(format!("GET {key}\n")).await?;
        match answer.split_once(' ') {
            None if answer == "NONE" => Ok(None),
            Some(("VALUE", value)) => Ok(Some(value.into())),
            _ => Err(Error::Refused(answer)),
        }
    }

    /// Done when it is durable.
    pub async fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let answer = self.ask(format!("SET {key} {value}\n")).await?;
        ok(answer)
    }

    /// Done when it is durable.
    pub async fn remove(&mut self, key: &str) -> Result<(), Error> {
        let answer = self.ask(format!("DEL {key}\n")).await?;
        ok(answer)
    }

    /// One line there, one line back.
    async fn ask(&mut self, line: String) -> io::Result<String> {
        self.stream.send_all(line.into_bytes()).await.0?;
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                return String::from_utf8(line)
                    .map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
            }
            match self.stream.recv().await? {
                Some(chunk) => self.input.extend_from_slice(&chunk),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

fn ok(answer: String) -> Result<(), Error> {
    match answer.as_str() {
        "OK" => Ok(()),
        _ => Err(Error::Refused(answer)),
    }
}
