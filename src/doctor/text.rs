//! The report as text, for people.

use super::report::{Finding, Limits, Measured, Outcome, Report, Ring, Trial, Verdict};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Several lines, the last without its end.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.verdict)?;
        writeln!(f, "kernel")?;
        let old = if self.kernel.old_enough {
            ""
        } else {
            ": too old"
        };
        let needed = format!("{} or newer is needed{old}", self.kernel.oldest);
        line(f, "release", &format!("{} ({needed})", self.kernel.release))?;
        if self.kernel.gvisor {
            line(f, "gVisor", &"yes")?;
        }
        ring(f, &self.ring)?;
        limits(f, &self.limits)?;
        writeln!(f, "\ncores")?;
        line(f, "CPUs", &list(&self.cpus.allowed))?;
        match (self.cpus.quota, &self.cpus.quota_from) {
            (Some(quota), Some(from)) => line(f, "quota", &format!("{quota:.2} CPUs ({from})"))?,
            _ => line(f, "quota", &"none")?,
        }
        line(f, "asked for", &self.cpus.cores_asked)?;
        trials(f, &self.trials)?;
        if let Some(measured) = &self.measured {
            writeln!(f, "\nmeasured, on one core")?;
            measurement(f, measured)?;
        }
        findings(f, &self.findings)
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Fine => "fine: corering runs here, with everything",
            Verdict::Degraded => "degraded: corering runs here, with less than everything",
            Verdict::Refused => "refused: corering cannot run here",
        })
    }
}

/// How wide the names on the left are.
const NAMES: usize = 26;

fn line(f: &mut Formatter<'_>, name: &str, value: &dyn Display) -> fmt::Result {
    writeln!(f, "  {name:NAMES$}{value}")
}

fn ring(f: &mut Formatter<'_>, ring: &Ring) -> fmt::Result {
    for call in &ring.calls {
        match &call.error {
            None => line(f, call.name, &"works")?,
            Some(error) => line(f, call.name, &format!("refused: {error}"))?,
        }
    }
    let number = |number: Option<i64>| number.map_or("unknown".to_string(), |n| n.to_string());
    line(
        f,
        "kernel.io_uring_disabled",
        &number(ring.sysctl.map(i64::from)),
    )?;
    line(f, "kernel.io_uring_group", &number(ring.sysctl_group))?;
    line(f, "seccomp", &ring.seccomp.unwrap_or("unknown"))?;
    let container = ring.container.join(", ");
    let none = "no sign of one";
    line(
        f,
        "container",
        &if container.is_empty() {
            none
        } else {
            &container
        },
    )
}

fn limits(f: &mut Formatter<'_>, limits: &Limits) -> fmt::Result {
    writeln!(f, "\nlimits")?;
    let ring = format!("a ring takes {} KiB", limits.ring_bytes / 1024);
    let fit = match (limits.memlock_exempt, limits.rings_fit) {
        (true, _) => "not counted: this process has CAP_IPC_LOCK".to_string(),
        (false, None) => "any number".to_string(),
        (false, Some(rings)) => format!("{rings} fit, in all processes of this user"),
    };
    let limit = limits
        .memlock_bytes
        .map(|bytes| format!("{} KiB", bytes / 1024));
    let limit = limit.unwrap_or_else(|| "no limit".into());
    line(f, "locked memory", &format!("{limit}; {ring}: {fit}"))?;
    let raised = format!(
        "{}, may be raised to {}",
        limits.descriptors, limits.descriptors_max
    );
    line(f, "descriptors", &raised)?;
    let somaxconn = limits.somaxconn.map(|number| number.to_string());
    line(
        f,
        "net.core.somaxconn",
        &somaxconn.as_deref().unwrap_or("unknown"),
    )
}

fn list(cpus: &[usize]) -> String {
    let cpus: Vec<_> = cpus.iter().map(usize::to_string).collect();
    match cpus.is_empty() {
        true => "unknown".into(),
        false => cpus.join(", "),
    }
}

fn trials(f: &mut Formatter<'_>, trials: &[Trial]) -> fmt::Result {
    writeln!(
        f,
        "\noperations and flags, each performed (with the Linux that brought it)"
    )?;
    if let Some(why) = all_untried(trials) {
        return writeln!(f, "  none could be tried: {why}");
    }
    for trial in trials {
        let outcome = match trial.outcome {
            Outcome::Works => "works",
            Outcome::Masked => "masked",
            Outcome::Fails => "FAILS",
            Outcome::NotTried => "not tried",
        };
        let detail = trial.detail.as_deref();
        let detail = detail.map_or(String::new(), |detail| format!("  {detail}"));
        writeln!(
            f,
            "  {:NAMES$}{:<6}{outcome}{detail}",
            trial.name, trial.since
        )?;
    }
    Ok(())
}

/// The one reason for which no row was tried.
fn all_untried(trials: &[Trial]) -> Option<&str> {
    let why = trials.first()?.detail.as_deref()?;
    let same = |row: &Trial| row.outcome == Outcome::NotTried && row.detail.as_deref() == Some(why);
    trials.iter().all(same).then_some(why)
}

fn measurement(f: &mut Formatter<'_>, measured: &Measured) -> fmt::Result {
    let micros = |time: Option<Duration>| match time {
        Some(time) => format!("{:.1} µs", time.as_nanos() as f64 / 1000.0),
        None => "not measured".to_string(),
    };
    line(f, "nop", &format!("{} a second", measured.nops_per_second))?;
    let (p50, p99) = (micros(measured.echo_p50), micros(measured.echo_p99));
    line(f, "echo of 64 bytes", &format!("median {p50}, p99 {p99}"))?;
    line(
        f,
        "write of 4 KiB",
        &format!("median {}", micros(measured.write_4k_p50)),
    )?;
    line(
        f,
        "write of 1 MiB",
        &format!("median {}", micros(measured.write_1m_p50)),
    )
}

fn findings(f: &mut Formatter<'_>, findings: &[Finding]) -> fmt::Result {
    for (index, finding) in findings.iter().enumerate() {
        let kind = match finding.verdict {
            Verdict::Refused => "refused",
            _ => "degraded",
        };
        writeln!(f, "\n{}. {kind}: {}", index + 1, finding.cause)?;
        writeln!(f, "   cure: {}", finding.cure)?;
        for remedy in &finding.remedies {
            writeln!(f, "\n   {}:", remedy.place)?;
            for line in remedy.lines.lines() {
                writeln!(f, "       {line}")?;
            }
        }
    }
    Ok(())
}
