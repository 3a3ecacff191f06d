//! A network of the comparison's own, so that the system's settings do not shape its packets.
//!
//! Many systems pace even the loopback by default (BBR), which costs up to a third on large
//! messages. Here every route of the loopback asks for `cubic`, for both ends of a connection and
//! whatever a contender sets; no setting of the system changes.

use std::fmt;
use std::process::{Command, Stdio};

use crate::sys;

const CONGESTION: &str = "cubic";
const ROUTES: [&str; 2] = ["127.0.0.0/8", "127.0.0.1"];

/// Which network the comparison ran in.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    Own,
    /// Its own, but with the system's congestion control.
    OwnUnset(String),
    /// The system's, and why.
    Shared(String),
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
        let system = system.unwrap_or_default();
        let system = system.trim();
        match self {
            Self::Own => write!(out, "network namespace of its own, {CONGESTION}"),
            Self::OwnUnset(why) => write!(
                out,
                "network namespace of its own, but NOT {CONGESTION}: {system} ({why})"
            ),
            Self::Shared(why) => write!(
                out,
                "NOT in a network namespace of its own ({why}); {system}"
            ),
        }
    }
}

/// Moves this process, and what it starts, into a network of its own, if it is asked to and may.
pub(crate) fn isolate(wanted: bool) -> Network {
    if !wanted {
        return Network::Shared("not asked for".to_string());
    }
    if let Err(error) = sys::leave_network() {
        return Network::Shared(error.to_string());
    }
    if let Err(why) = ip(&["link", "set", "lo", "up"]) {
        eprintln!("compare: the loopback does not come up: {why}");
        std::process::exit(1);
    }
    // More ports, for the many connections of the accept-heavy load.
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "2048 65000");
    for route in ROUTES {
        let route = [
            "route",
            "replace",
            "local",
            route,
            "dev",
            "lo",
            "proto",
            "kernel",
            "scope",
            "host",
            "src",
            "127.0.0.1",
            "table",
            "local",
            "congctl",
            CONGESTION,
        ];
        if let Err(why) = ip(&route) {
            return Network::OwnUnset(why);
        }
    }
    Network::Own
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("`ip` failed").to_string())
}
