//! The bare ring: the limit that every contender is divided by.
//!
//! Its echo server is the very one that `benches/limit` measures the runtime against. Variants: the
//! ordinary one counts the sends it submits into its wait; `plain` waits for one completion.

mod download;
mod echo;
mod files;
#[path = "../../../limit/pool.rs"]
#[allow(unsafe_code)] // The yardstick talks to the kernel itself.
mod pool;
#[path = "../../../limit/server.rs"]
// Written for compilers that have no chains of `let` as well.
#[allow(unsafe_code, clippy::collapsible_if)]
mod server;
mod tasks;

struct Limit;

impl peer::Contender for Limit {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn download(&self, job: peer::Job) -> peer::Measured {
        download::measure(&job)
    }

    fn files(&self, job: peer::Job) -> peer::Measured {
        files::measure(&job)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Limit)
}
