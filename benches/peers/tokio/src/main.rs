//! tokio: what it does of the comparison.

mod echo;
mod runtime;
mod tasks;

struct Tokio;

impl peer::Contender for Tokio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Tokio)
}
