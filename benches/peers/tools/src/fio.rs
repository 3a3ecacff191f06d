//! fio's io_uring engine on the one large file. Its figures are its own, without its start.

use std::io;
use std::process::{Command, Stdio};

use peer::files::{BLOCK_BYTES, IN_FLIGHT, Large, Plan};
use peer::{Figures, Job, Latency, Measured, Stop};
use serde_json::Value;

pub(crate) fn measure(job: &Job) -> Measured {
    let plan = Plan::of(job)?;
    let Plan::Large(large) = &plan else {
        return Err(Stop::unsupported("fio does not make files"));
    };
    let mut fio = command(large, job.case.name.contains("rand"));
    let output = fio
        .output()
        .map_err(|error| crate::not_started(&fio, error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("fio: {} {said}", output.status)).into());
    }
    let report: Value = serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
    let side = if large.write { "write" } else { "read" };
    let figures = figures(&report["jobs"][0], side)
        .ok_or_else(|| io::Error::other("fio's report has other fields"))?;
    if figures.operations != large.order.len() as u64 {
        let done = figures.operations;
        return Err(io::Error::other(format!("fio did {done} blocks")).into());
    }
    Ok(figures)
}

fn command(large: &Large, random: bool) -> Command {
    let order = match (random, large.write) {
        (false, false) => "read",
        (false, true) => "write",
        (true, false) => "randread",
        (true, true) => "randwrite",
    };
    let mut fio = Command::new("fio");
    fio.args(["--name=one", "--ioengine=io_uring", "--output-format=json"])
        .arg(format!("--rw={order}"))
        .arg(format!("--bs={BLOCK_BYTES}"))
        .arg(format!("--iodepth={IN_FLIGHT}"))
        .arg(format!("--size={}", large.order.len() * BLOCK_BYTES))
        .arg(format!("--direct={}", u8::from(large.direct)))
        // The file is there, and in the page cache, as for everybody.
        .args(["--invalidate=0", "--overwrite=0", "--fallocate=none"])
        .arg(format!("--filename={}", large.path.display()))
        .stdin(Stdio::null());
    fio
}

/// Its time is in milliseconds, its CPU time in percent of that.
fn figures(job: &Value, side: &str) -> Option<Figures> {
    let of_side = &job[side];
    let wall_ms = of_side["runtime"].as_f64()?;
    let percent = job["usr_cpu"].as_f64()? + job["sys_cpu"].as_f64()?;
    let elapsed_ms = job["job_runtime"].as_f64()?;
    let quantile = |name: &str| of_side["clat_ns"]["percentile"][name].as_u64();
    let latency = || {
        Some(Latency {
            p50: quantile("50.000000")?,
            p99: quantile("99.000000")?,
            p999: quantile("99.900000")?,
        })
    };
    Some(Figures {
        operations: of_side["total_ios"].as_u64()?,
        wall_ns: (wall_ms * 1e6) as u64,
        cpu_ns: (percent / 100.0 * elapsed_ms * 1e6) as u64,
        latency: latency(),
        ..Figures::default()
    })
}
