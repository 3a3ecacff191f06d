//! kimojio: what it does of the comparison.

mod echo;

struct Kimojio;

impl peer::Contender for Kimojio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Kimojio)
}
