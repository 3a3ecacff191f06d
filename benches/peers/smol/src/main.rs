//! smol: what it does of the comparison.

mod echo;

struct Smol;

impl peer::Contender for Smol {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Smol)
}
