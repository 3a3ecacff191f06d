//! tokio: what it does of the comparison.

mod echo;

struct Tokio;

impl peer::Contender for Tokio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Tokio)
}
