//! monoio: what it does of the comparison.

mod echo;

struct Monoio;

impl peer::Contender for Monoio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Monoio)
}
