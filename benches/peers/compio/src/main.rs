//! compio: what it does of the comparison.

mod echo;

struct Compio;

impl peer::Contender for Compio {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Compio)
}
