//! The bare ring: the limit that every contender is divided by.
//!
//! Its echo server is the very one that `benches/limit` measures the runtime against. Variants: the
//! ordinary one counts the sends it submits into its wait; `plain` waits for one completion.

mod echo;
#[path = "../../../limit/pool.rs"]
#[allow(unsafe_code)] // The yardstick talks to the kernel itself.
mod pool;
#[path = "../../../limit/server.rs"]
#[allow(unsafe_code)]
mod server;
mod tasks;

struct Limit;

impl peer::Contender for Limit {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Limit)
}
