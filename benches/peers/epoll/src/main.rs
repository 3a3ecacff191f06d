//! A bare epoll loop: what it does of the comparison.

mod echo;

struct Epoll;

impl peer::Contender for Epoll {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Epoll)
}
