//! kimojio: what it does of the comparison.

mod disk;
mod download;
mod echo;
mod files;
mod runtime;
mod tasks;

struct Kimojio;

impl peer::Contender for Kimojio {
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
    peer::main(&Kimojio)
}
