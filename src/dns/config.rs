//! What a resolver knows before it asks: the name servers, and what is in two files of `/etc`.

use super::provider::Provider;
use crate::fs;
use hickory_resolver::Hosts;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What a [`Resolver`](super::Resolver) is made of. It may be read once and given to every core.
///
/// ```
/// use corering::dns::Config;
///
/// let config = Config {
///     servers: vec!["127.0.0.53:53".parse().unwrap()],
///     hosts: "192.0.2.7 printer printer.local".to_owned(),
///     ..Config::default()
/// };
/// assert_eq!(config.timeout.as_secs(), 5);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name servers. Two are asked at the same time, those that answer fast first; the first
    /// answer counts.
    pub servers: Vec<SocketAddr>,
    /// Domains in which names are looked for that have too few dots.
    pub search: Vec<String>,
    /// Names with so many dots are looked up as they stand first. 1.
    pub ndots: usize,
    /// How long the name servers have for one question. 5 s. (Whoever has less time puts a
    /// [`timeout`](crate::time::timeout()) around the lookup.)
    pub timeout: Duration,
    /// How often a question is asked that nobody answers. 2.
    pub attempts: usize,
    /// Names that are known without asking: lines as in `/etc/hosts` (`hosts(5)`). They are the
    /// last word: nobody is asked for a name's other family, nor for the name in another domain.
    pub hosts: String,
    /// Answers that are kept, for as long as they are good. 1024.
    pub cache_size: usize,
}

impl Default for Config {
    /// Without a name server, with which it is of no use yet.
    fn default() -> Config {
        Config {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            hosts: String::new(),
            cache_size: 1024,
        }
    }
}

impl Config {
    /// What this machine is configured to do, by `/etc/resolv.conf` and, if it is there,
    /// `/etc/hosts`. They are read by the ring, and not watched. A name server that is named with
    /// its interface (`fe80::1%eth0`) loses that, and cannot be reached.
    ///
    /// # Errors
    /// `NotFound` if there is no `/etc/resolv.conf`, `InvalidData` if it names no server, and what
    /// else the kernel says of the two files.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn from_system() -> io::Result<Config> {
        const RESOLV_CONF: &str = "/etc/resolv.conf";
        const HOSTS: &str = "/etc/hosts";
        let text = fs::read(RESOLV_CONF)
            .await
            .map_err(|error| in_file(RESOLV_CONF, error.kind(), error))?;
        let config = Config::parse(&text)
            .map_err(|why| in_file(RESOLV_CONF, io::ErrorKind::InvalidData, why))?;
        let hosts = match fs::read(HOSTS).await {
            Ok(hosts) => String::from_utf8_lossy(&hosts).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(in_file(HOSTS, error.kind(), error)),
        };
        Ok(Config { hosts, ..config })
    }

    /// The form of `resolv.conf(5)`. Its lines that nobody understands are left out.
    fn parse(text: &[u8]) -> Result<Config, String> {
        let (parsed, options) = parse_resolv_conf(text).map_err(|error| error.to_string())?;
        let (domain, mut search, servers) = parsed.into_parts();
        if search.is_empty() {
            search.extend(domain);
        }
        let port = |server: &NameServerConfig| server.connections.first().map_or(53, |c| c.port);
        let default = Config::default();
        Ok(Config {
            servers: servers
                .iter()
                .map(|server| SocketAddr::new(server.ip, port(server)))
                .collect(),
            search: search.iter().map(Name::to_string).collect(),
            ndots: options.ndots,
            timeout: options.timeout.max(Duration::from_secs(1)),
            attempts: options.attempts.max(1),
            ..default
        })
    }

    /// The resolver's engine, and what is known without it.
    pub(super) fn build(self) -> io::Result<(hickory_resolver::Resolver<Provider>, Hosts)> {
        if self.servers.is_empty() {
            let what = "the resolver has no name server: give it one (Config::servers), or use \
                        Resolver::from_system";
            return Err(invalid(what));
        }
        if self.timeout.is_zero() || self.attempts == 0 {
            return Err(invalid(
                "a question needs some time and at least one attempt",
            ));
        }
        let search = self.search.iter().map(|domain| {
            Name::from_utf8(domain)
                .map_err(|error| invalid(format!("the search domain {domain:?}: {error}")))
        });
        let search = search.collect::<io::Result<Vec<_>>>()?;
        let servers = self.servers.into_iter().map(name_server).collect();
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(self.hosts.as_bytes())?;
        let config = ResolverConfig::from_parts(None, search, servers);
        let mut builder = hickory_resolver::Resolver::builder_with_config(config, Provider);
        let options = builder.options_mut();
        options.ndots = self.ndots;
        options.timeout = self.timeout;
        // The engine counts what comes after the first.
        options.attempts = self.attempts - 1;
        options.cache_size = self.cache_size as u64;
        // It would read the file itself, and block; and it asks for all that is not in it: the
        // other family of a name, and before a short name that name in each domain.
        options.use_hosts_file = ResolveHosts::Never;
        let engine = builder
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok((engine, hosts))
    }
}

/// A server that is asked over UDP, and over TCP for what is too long for that.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    NameServerConfig::new(address.ip(), true, connections.map(at_port).into())
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}

fn in_file(path: &str, kind: io::ErrorKind, why: impl fmt::Display) -> io::Error {
    io::Error::new(kind, format!("{path}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Resolver;

    #[test]
    fn the_machines_file_is_understood() {
        let text = b"# made by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n\
                     search example.org example.com\noptions ndots:2 timeout:3 attempts:4\n";
        let config = Config::parse(text).unwrap();
        let servers = ["192.0.2.1:53", "[2001:db8::1]:53"];
        assert_eq!(config.servers, servers.map(|text| text.parse().unwrap()));
        assert_eq!(config.search.len(), 2);
        assert_eq!(config.search[0].trim_end_matches('.'), "example.org");
        assert_eq!((config.ndots, config.attempts), (2, 4));
        assert_eq!(config.timeout, Duration::from_secs(3));
        assert!(Resolver::new(config).is_ok());
        let error = Config::parse(b"search example.org\n").unwrap_err();
        assert!(error.contains("no nameservers"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Config {
            servers: vec!["192.0.2.1:53".parse().unwrap()],
            ..Config::default()
        };
        let wrong = [
            Config::default(),
            Config {
                timeout: Duration::ZERO,
                ..good.clone()
            },
            Config {
                attempts: 0,
                ..good.clone()
            },
            Config {
                search: vec!["a..b".to_owned()],
                ..good.clone()
            },
        ];
        for config in wrong {
            let error = Resolver::new(config).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
        assert!(Resolver::new(good).is_ok());
    }
}
