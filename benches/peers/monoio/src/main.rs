//! monoio: what it does of the comparison.

mod echo;
mod runtime;
mod tasks;

struct Monoio;

impl peer::Contender for Monoio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Monoio)
}
