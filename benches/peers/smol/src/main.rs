//! smol: what it does of the comparison.

mod disk;
mod echo;
mod files;
mod runtime;
mod tasks;

struct Smol;

impl peer::Contender for Smol {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn files(&self, job: peer::Job) -> peer::Measured {
        files::measure(&job)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Smol)
}
