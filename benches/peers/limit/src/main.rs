//! The bare ring, the limit that all are divided by: what it does of the comparison.

mod echo;

struct Limit;

impl peer::Contender for Limit {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Limit)
}
