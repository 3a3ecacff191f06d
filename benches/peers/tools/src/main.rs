//! Programs that are no runtimes (fio, nginx, wget, curl, aria2c), behind the common protocol.
//!
//! Each is a variant. What a job costs is what its processes cost, which have ended by then.

mod download;
mod fio;
mod nginx;

use std::io;
use std::process::Command;

use peer::Stop;

struct Tools;

impl peer::Contender for Tools {
    fn serve_files(&self, files: peer::ServeFiles) -> peer::Served {
        match files.variant.as_str() {
            "nginx" => nginx::run(&files),
            other => Err(not_for(other, "serving files")),
        }
    }

    fn files(&self, job: peer::Job) -> peer::Measured {
        match job.variant.as_str() {
            "fio" => fio::measure(&job),
            other => Err(not_for(other, "files")),
        }
    }

    fn download(&self, job: peer::Job) -> peer::Measured {
        download::measure(&job)
    }
}

fn not_for(variant: &str, what: &str) -> Stop {
    Stop::unsupported(format!("`{variant}` is no tool for {what}"))
}

/// Why a program could not be started: where it is not installed, that is not a failure.
fn not_started(program: &Command, error: io::Error) -> Stop {
    let name = program.get_program().display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Stop::unsupported(format!("`{name}` is not installed")),
        _ => io::Error::other(format!("`{name}`: {error}")).into(),
    }
}

fn main() -> std::process::ExitCode {
    peer::main(&Tools)
}
