//! tokio-uring: what it does of the comparison.

mod echo;

struct TokioUring;

impl peer::Contender for TokioUring {
    fn echo(&self, echo: peer::Echo) -> peer::Served {
        echo::serve(&echo)
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&TokioUring)
}
