//! tokio-uring: what it does of the comparison.

mod disk;
mod download;
mod echo;
mod files;
mod runtime;
mod tasks;

struct TokioUring;

impl peer::Contender for TokioUring {
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
    peer::main(&TokioUring)
}
