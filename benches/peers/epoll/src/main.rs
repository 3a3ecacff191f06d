//! A bare epoll loop: what it does of the comparison.

mod echo;
mod tasks;

struct Epoll;

impl peer::Contender for Epoll {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }

    fn tasks(&self, job: peer::Job) -> peer::Measured {
        tasks::measure(&job)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Epoll)
}
