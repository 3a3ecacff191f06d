//! Names looked up by the core itself: hickory's resolver on our sockets.
//!
//! By default names go to `getaddrinfo`, on one helper thread of the process: it knows all that the
//! machine is configured to do (mDNS, LDAP, containers), and asks one question at a time. A
//! [`Resolver`] asks the name servers itself, as many questions at a time as there are, without a
//! thread, and keeps the answers for as long as they are good: it is for programs that look up
//! many names, such as crawlers and proxies.
//!
//! Rules
//! 1. A resolver belongs to the core that made it: each core has its own, and its own cache.
//! 2. Nothing of it blocks: files are read by the ring, questions go through [`UdpSocket`], and
//!    through [`TcpStream`] where an answer was cut off.
//! 3. Every lookup ends: each question has a time, and a number of tries.
//!
//! ```text
//!   lookup_host ──► address? ──► hosts ──► cache ──► name servers, two at a time: UDP, then TCP
//!        ▲                                                        │ none answers, in time
//!   TcpStream::connect, where the resolver is installed           └──► next try ──► LookupError
//! ```
//!
//! ```no_run
//! use corering::dns::Resolver;
//! use corering::net::TcpStream;
//!
//! # async fn f() -> std::io::Result<()> {
//! Resolver::from_system().await?.install();
//! let stream = TcpStream::connect("example.org:80").await?; // looked up by the resolver
//! # Ok(()) }
//! ```
//!
//! # In a simulation
//! It runs in a simulation (`corering::sim`), against name servers that are simulated as well. Its
//! timeouts, and the numbers of its questions and ports, follow the seed where the test crate has
//! `follow_the_seed!` and each run has a thread of its own, as with `sim::seeds`: the generator of
//! the numbers lives as long as its thread.
//!
//! [`UdpSocket`]: crate::net::UdpSocket
//! [`TcpStream`]: crate::net::TcpStream

mod config;
mod error;
mod provider;

pub use config::Config;
pub use error::LookupError;

use crate::driver::Driver;
use crate::driver::lookup::Lookup;
use hickory_resolver::Hosts;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use provider::Provider;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// Looks names up, on the core that made it. Clones share one cache.
///
/// ```no_run
/// use corering::dns::{Config, Resolver};
///
/// # async fn f() -> std::io::Result<()> {
/// let resolver = Resolver::new(Config {
///     servers: vec!["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()],
///     ..Config::default()
/// })?;
/// for address in resolver.lookup_host("example.org", 443).await? {
///     println!("{address}");
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Resolver {
    inner: Rc<Inner>,
}

struct Inner {
    hickory: hickory_resolver::Resolver<Provider>,
    hosts: Hosts,
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// A resolver with this configuration.
    ///
    /// # Errors
    /// `InvalidInput` if there is no name server in it, or what it has is nonsense.
    pub fn new(config: Config) -> io::Result<Resolver> {
        let servers = config.servers.clone();
        let (hickory, hosts) = config.build()?;
        let inner = Rc::new(Inner {
            hickory,
            hosts,
            servers,
        });
        Ok(Resolver { inner })
    }

    /// A resolver that is configured as this machine is, by `/etc/resolv.conf` and `/etc/hosts`.
    ///
    /// # Errors
    /// As [`Config::from_system`] and [`new`](Resolver::new).
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn from_system() -> io::Result<Resolver> {
        Resolver::new(Config::from_system().await?)
    }

    /// The addresses of a host, of both families, each with this port. The families are asked for
    /// at the same time; what is known of IPv6 comes first.
    ///
    /// # Errors
    /// [`LookupError`]: whether there is no such name, or nobody could tell.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing; the question is given up.
    pub async fn lookup_host(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        let found = match self.inner.known(name) {
            known if known.is_empty() => self.inner.ask(name).await?,
            known => known,
        };
        match found.is_empty() {
            true => Err(LookupError::NoAddress(name.to_owned())),
            false => Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect()),
        }
    }

    /// Looks up all names of this core from now on: those given to
    /// [`connect`](crate::net::TcpStream::connect), [`lookup_host`](crate::net::lookup_host) and
    /// everything else that takes a host. It replaces the one that was installed before; other
    /// cores have their own.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn install(&self) {
        let resolver = self.clone();
        let lookup: Rc<Lookup> = Rc::new(move |name, port| {
            let (resolver, name) = (resolver.clone(), name.to_owned());
            Box::pin(async move { Ok(resolver.lookup_host(&name, port).await?) })
        });
        Driver::current().set_lookup(Some(lookup));
    }

    /// Leaves the names of this core to the machine's own resolver again.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn uninstall() {
        Driver::current().set_lookup(None);
    }
}

impl Inner {
    /// What stands in the lines of hosts.
    fn known(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(name) else {
            return Vec::new();
        };
        let mut known = Vec::new();
        for family in [RecordType::AAAA, RecordType::A] {
            let query = Query::query(name.clone(), family);
            if let Some(lines) = self.hosts.lookup_static_host(&query) {
                let ips = lines.answers().iter().map(|line| line.data.ip_addr());
                known.extend(ips.flatten());
            }
        }
        known
    }

    /// What the name servers say, or have said.
    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match self.hickory.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => Err(LookupError::of(name, &self.servers, error)),
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("servers", &self.inner.servers)
            .finish_non_exhaustive()
    }
}
