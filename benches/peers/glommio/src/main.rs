//! glommio: what it does of the comparison.

mod echo;

struct Glommio;

impl peer::Contender for Glommio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Glommio)
}
