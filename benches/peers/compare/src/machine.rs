//! What the figures hold for: the machine, the kernel, the commit, the command.

use std::fs;
use std::process::{Command, Stdio};

use crate::calls;
use crate::network::Network;
use crate::options::Options;
use crate::sys;

/// The name and the value of each line above a table.
pub(crate) fn describe(options: &Options, network: &Network) -> Vec<(String, String)> {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let changed = said("git", &["status", "--porcelain"]);
    let commit = match changed.as_str() {
        "" => commit,
        _ => format!("{commit}, with changes that are not committed"),
    };
    let command = std::env::var("COMPARE_COMMAND")
        .unwrap_or_else(|_| std::env::args().collect::<Vec<_>>().join(" "));
    let rows = [
        ("date", said("date", &["-u", "+%F %H:%M UTC"])),
        ("machine", machine()),
        ("kernel", said("uname", &["-sr"])),
        ("compiler", said("rustc", &["--version"])),
        ("commit", commit),
        ("command", format!("`{command}`")),
        ("network", network.to_string()),
        ("files on", file_system(options)),
        (
            "runs",
            format!(
                "{} rounds, A B C .. A B C .., medians; servers measured for {:.1} s each; the \
                 contender on CPU {} (with two cores: on both), load and origin on CPU {}",
                options.rounds,
                options.measured.as_secs_f64(),
                sys::PEER_CPU,
                sys::LOAD_CPU
            ),
        ),
        ("system calls", calls::describe()),
    ];
    let row = |(name, value): (&str, String)| (name.to_string(), value);
    rows.into_iter().map(row).collect()
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1));
    let count = cpus.matches("processor\t").count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).unwrap_or_default();
    let memory = memory.parse::<u64>().unwrap_or(0) >> 20;
    format!("{count} x {}, {memory} GiB", model.unwrap_or("CPU"))
}

fn file_system(options: &Options) -> String {
    let work = options.work.to_string_lossy().into_owned();
    let _ = fs::create_dir_all(&options.work);
    said("stat", &["--file-system", "--format=%T", &work])
}

/// What a command prints, in one line; empty when there is no such command.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_string()
}
