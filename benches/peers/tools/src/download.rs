//! curl and aria2c with 20 transfers at a time, and 20 processes of wget.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};

use peer::download::{IN_FLIGHT, Plan};
use peer::{Job, Measured, Meter, Stop};

pub(crate) fn measure(job: &Job) -> Measured {
    let plan = Plan::of(job);
    let calls = match job.variant.as_str() {
        "curl" => vec![curl(&plan)],
        "aria2c" => vec![aria2c(&plan, job)],
        "wget" => (0..IN_FLIGHT.min(plan.objects))
            .map(|process| wget(&plan, job, process))
            .collect(),
        other => return Err(crate::not_for(other, "downloads")),
    };
    let meter = Meter::of_children();
    let mut children = Vec::new();
    for call in calls {
        children.push(call.start()?);
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("it ended with {status}")).into());
        }
    }
    Ok(meter.end(plan.objects as u64))
}

/// A program, and the list that it reads from its standard input.
struct Call {
    command: Command,
    list: String,
}

impl Call {
    fn start(mut self) -> Result<Child, Stop> {
        let child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut child = child.map_err(|error| crate::not_started(&self.command, error))?;
        let input = child.stdin.take();
        // Dropped after the write: that is the end of the list.
        input
            .expect("it was asked for as a pipe")
            .write_all(self.list.as_bytes())?;
        Ok(child)
    }
}

fn curl(plan: &Plan) -> Call {
    let mut list = String::new();
    for object in 0..plan.objects {
        let (url, path) = (plan.url(object), plan.path(object));
        writeln!(list, "url = \"{url}\"\noutput = \"{}\"", path.display())
            .expect("a string takes all");
    }
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--fail", "--parallel"])
        .args(["--parallel-max", &IN_FLIGHT.to_string(), "--config", "-"]);
    Call { command, list }
}

fn aria2c(plan: &Plan, job: &Job) -> Call {
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--quiet", "--input-file=-", "--split=1"])
        .args(["--file-allocation=none", "--auto-file-renaming=false"])
        .arg(format!("--max-concurrent-downloads={IN_FLIGHT}"))
        .arg("--dir")
        .arg(&job.dir);
    let list = urls(plan, 0..plan.objects);
    Call { command, list }
}

/// The process of this number has every 20th object.
fn wget(plan: &Plan, job: &Job, process: usize) -> Call {
    let mut command = Command::new("wget");
    command
        .args(["--no-config", "--quiet", "--input-file=-"])
        .arg("--directory-prefix")
        .arg(&job.dir);
    let list = urls(plan, (process..plan.objects).step_by(IN_FLIGHT));
    Call { command, list }
}

fn urls(plan: &Plan, objects: impl Iterator<Item = usize>) -> String {
    objects.map(|object| plan.url(object) + "\n").collect()
}
