//! tokio: what it does of the comparison.

mod disk;
mod download;
mod echo;
mod files;
mod runtime;
mod serve_files;
mod tasks;

struct Tokio;

impl peer::Contender for Tokio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn download(&self, job: peer::Job) -> peer::Measured {
        download::measure(&job)
    }

    fn serve_files(&self, files: peer::ServeFiles) -> peer::Served {
        serve_files::run(&files)
    }

    fn files(&self, job: peer::Job) -> peer::Measured {
        files::measure(&job)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Tokio)
}
