//! Who takes part.

use std::path::Path;
use std::process::Command;

use crate::options::{Options, Workload};

/// What a contender is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Hand-written on the ring: the least of these, case by case, is the limit.
    Limit,
    /// Hand-written on something else, to compare with; neither limit nor peer.
    Loop,
    /// The runtime of this repository.
    Own,
    /// Everybody else.
    Peer,
}

/// One row of the tables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// How the tables call it.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The program beside this one, or the script in `benches/peers/python`.
    program: &'static str,
    /// Empty for the ordinary one.
    variant: &'static str,
    /// Where it differs from the ordinary one, or can take part at all.
    pub(crate) workloads: &'static [Workload],
}

/// What echoes.
const ECHOES: &[Workload] = &[
    Workload::Echo,
    Workload::Accept,
    Workload::Idle,
    Workload::Firehose,
];

const fn row(name: &'static str, kind: Kind, program: &'static str) -> Contender {
    Contender {
        name,
        kind,
        program,
        variant: "",
        workloads: &Workload::ALL,
    }
}

const fn variant(
    name: &'static str,
    kind: Kind,
    program: &'static str,
    variant: &'static str,
    workloads: &'static [Workload],
) -> Contender {
    Contender {
        name,
        kind,
        program,
        variant,
        workloads,
    }
}

/// A program that is no runtime: `peer-tools`.
const fn tool(name: &'static str, workloads: &'static [Workload]) -> Contender {
    variant(name, Kind::Peer, "peer-tools", name, workloads)
}

/// Everybody, in the order of each round.
pub(crate) const CONTENDERS: &[Contender] = &[
    row("limit", Kind::Limit, "peer-limit"),
    variant(
        "limit, plain wait",
        Kind::Limit,
        "peer-limit",
        "plain",
        ECHOES,
    ),
    row("epoll loop", Kind::Loop, "peer-epoll"),
    row("corering", Kind::Own, "peer-corering"),
    variant(
        "corering, copied",
        Kind::Own,
        "peer-corering",
        "recv-write",
        ECHOES,
    ),
    variant(
        "corering, own buffer",
        Kind::Own,
        "peer-corering",
        "read-write",
        ECHOES,
    ),
    variant(
        "corering, inline files",
        Kind::Own,
        "peer-corering",
        "inline-files",
        &[Workload::Files, Workload::Download],
    ),
    row("tokio current_thread", Kind::Peer, "peer-tokio"),
    variant(
        "tokio multi_thread",
        Kind::Peer,
        "peer-tokio",
        "multi_thread",
        &Workload::ALL,
    ),
    row("monoio", Kind::Peer, "peer-monoio"),
    row("glommio", Kind::Peer, "peer-glommio"),
    row("compio", Kind::Peer, "peer-compio"),
    variant(
        "compio, tuned",
        Kind::Peer,
        "peer-compio",
        "tuned",
        &Workload::ALL,
    ),
    row("tokio-uring", Kind::Peer, "peer-tokio-uring"),
    row("kimojio", Kind::Peer, "peer-kimojio"),
    row("smol", Kind::Peer, "peer-smol"),
    row("asyncio", Kind::Peer, "asyncio_peer.py"),
    variant(
        "uvloop",
        Kind::Peer,
        "asyncio_peer.py",
        "uvloop",
        &Workload::ALL,
    ),
    variant(
        "uvloop, protocol",
        Kind::Peer,
        "asyncio_peer.py",
        "uvloop-protocol",
        ECHOES,
    ),
    tool("fio", &[Workload::Files]),
    tool("nginx", &[Workload::ServeFiles]),
    tool("wget", &[Workload::Download]),
    tool("curl", &[Workload::Download]),
    tool("aria2c", &[Workload::Download]),
];

/// Who else was considered, and why it is not in [`CONTENDERS`].
pub(crate) const LEFT_OUT: &str =
    "nuclei 0.5 is left out: it asks for Rust 1.99, which is newer than the compiler used here.";

/// The one who serves the objects of the downloads.
pub(crate) fn origin() -> &'static Contender {
    let nginx = CONTENDERS.iter().find(|row| row.name == "nginx");
    nginx.expect("it stands in the table")
}

impl Contender {
    /// Calls it with its variant; what is missing for that is the error.
    pub(crate) fn command(&self, options: &Options) -> Result<Command, String> {
        let mut command = if self.program.ends_with(".py") {
            let script = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../python")
                .join(self.program);
            let mut command = Command::new(&options.python);
            command.arg(script);
            command
        } else {
            let own = std::env::current_exe().map_err(|error| error.to_string())?;
            let program = own.with_file_name(self.program);
            if !program.exists() {
                return Err(format!("`{}` is not built", self.program));
            }
            Command::new(program)
        };
        if !self.variant.is_empty() {
            command.args(["--variant", self.variant]);
        }
        Ok(command)
    }
}
