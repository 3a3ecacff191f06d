//! The runtime of this repository: what it does of the comparison.

mod echo;

struct Corering;

impl peer::Contender for Corering {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Corering)
}
