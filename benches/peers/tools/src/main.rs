//! Programs that are no runtimes (fio, nginx, wget, curl, aria2c), behind the common protocol.
//!
//! Each is a variant. What it costs is that of its process, which has ended by then:
//! `peer::Meter::of_children`.

struct Tools;

impl peer::Contender for Tools {}

fn main() -> std::process::ExitCode {
    peer::main(&Tools)
}
