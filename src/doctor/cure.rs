//! From what was found to what to do: findings, and the lines that cure them where they are set.

use super::report::{Cpus, Finding, Limits, Outcome, Remedy, Trial, Verdict};
use crate::driver::machine::Diagnosis;
use crate::driver::refusal::BuildErrorKind;

/// Locked memory that is worth asking for: some hundred cores, and what else a process locks.
const MEMLOCK_WANTED: &str = "64M";
/// Fewer descriptors than this, and a server soon has none left.
const DESCRIPTORS_MIN: u64 = 1024;
const DESCRIPTORS_WANTED: u64 = 65536;

/// The refusal, word for word as a [`BuildError`](crate::BuildError) gives it.
pub(super) fn refused(diagnosis: &Diagnosis) -> Finding {
    let remedies = match diagnosis.kind {
        BuildErrorKind::Disabled => sysctl(),
        BuildErrorKind::Blocked => seccomp(),
        BuildErrorKind::LockedMemory => memlock(),
        BuildErrorKind::Descriptors => descriptors(),
        _ => Vec::new(),
    };
    Finding {
        verdict: Verdict::Refused,
        kind: Some(diagnosis.kind),
        cause: diagnosis.cause.clone(),
        cure: diagnosis.cure.clone(),
        remedies,
    }
}

/// What is less than it could be, where a runtime can be built.
pub(super) fn degraded(limits: &Limits, cpus: &Cpus, trials: &[Trial]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(of_trials(trials));
    findings.extend(of_memlock(limits, cpus.cores_asked));
    findings.extend(of_descriptors(limits));
    findings.extend(of_cpus(cpus));
    findings
}

fn finding(cause: String, cure: impl Into<String>, remedies: Vec<Remedy>) -> Finding {
    Finding {
        verdict: Verdict::Degraded,
        kind: None,
        cause,
        cure: cure.into(),
        remedies,
    }
}

fn of_trials(trials: &[Trial]) -> Vec<Finding> {
    let with = |outcome, optional: &[bool]| {
        let rows = trials.iter().filter(|row| row.outcome == outcome);
        let rows = rows.filter(|row| optional.contains(&row.optional));
        rows.collect::<Vec<_>>()
    };
    let mut findings = Vec::new();
    let broken = with(Outcome::Fails, &[false]);
    if !broken.is_empty() {
        findings.push(finding(
            format!("what the runtime needs does not work: {}", names(&broken)),
            "run on a full kernel of Linux 6.1 or newer; if it is one, the detail beside each \
             says what is in the way",
            Vec::new(),
        ));
    }
    let missing = with(Outcome::Fails, &[true]);
    if !missing.is_empty() {
        let newest = missing.iter().max_by_key(|row| version(row.since));
        let newest = newest.map_or("", |row| row.since);
        findings.push(finding(
            format!(
                "the kernel does not have {}; the runtime does without",
                names(&missing)
            ),
            format!("Linux {newest} or newer has all of it"),
            Vec::new(),
        ));
    }
    let masked = with(Outcome::Masked, &[true, false]);
    if !masked.is_empty() {
        findings.push(finding(
            format!(
                "the environment variable CORERING_MASK forbids {}",
                names(&masked)
            ),
            "unset it",
            one("shell", "unset CORERING_MASK"),
        ));
    }
    findings.extend(of_untried(&with(Outcome::NotTried, &[true, false])));
    findings
}

/// How the text of a system's error ends.
fn number(errno: i32) -> String {
    format!("(os error {errno})")
}

/// One finding for each reason.
fn of_untried(rows: &[&Trial]) -> Vec<Finding> {
    let mut reasons: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.detail.as_deref())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    let of_reason = |reason: &str| {
        let of = |row: &&&Trial| row.detail.as_deref() == Some(reason);
        let rows: Vec<_> = rows.iter().filter(of).copied().collect();
        let cure = if reason.contains("temporary files") {
            "name a directory that can be written to in TMPDIR"
        } else if reason.ends_with(&number(libc::EMFILE)) {
            "raise the limit on descriptors"
        } else if reason.ends_with(&number(libc::ENETUNREACH)) {
            "bring loopback up (`ip link set lo up`)"
        } else {
            "remove what is in the way, and ask again"
        };
        finding(
            format!("{} could not be tried: {reason}", names(&rows)),
            cure,
            Vec::new(),
        )
    };
    reasons.into_iter().map(of_reason).collect()
}

fn names(rows: &[&Trial]) -> String {
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    names.join(", ")
}

fn version(since: &str) -> (u32, u32) {
    let number = |text: &str| text.parse().unwrap_or(0);
    since
        .split_once('.')
        .map_or((0, 0), |(major, minor)| (number(major), number(minor)))
}

fn of_memlock(limits: &Limits, cores: usize) -> Option<Finding> {
    let fit = limits.rings_fit?;
    (fit < cores as u64).then(|| {
        finding(
            format!(
                "the limit on locked memory ({} KiB) holds {fit} rings of {} KiB, and {cores} \
                 cores were asked for; smaller rings are made in their place",
                limits.memlock_bytes.unwrap_or(0) / 1024,
                limits.ring_bytes / 1024
            ),
            "raise it (`ulimit -l`, `LimitMEMLOCK=`, Docker's `--ulimit memlock`)",
            memlock(),
        )
    })
}

fn of_descriptors(limits: &Limits) -> Option<Finding> {
    let few = limits.descriptors < DESCRIPTORS_MIN;
    few.then(|| {
        finding(
            format!(
                "the limit on descriptors is {}: few connections",
                limits.descriptors
            ),
            "raise it (`ulimit -n`, `LimitNOFILE=`)",
            descriptors(),
        )
    })
}

fn of_cpus(cpus: &Cpus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (asked, allowed) = (cpus.cores_asked, cpus.allowed.len());
    if asked > allowed && allowed > 0 {
        findings.push(finding(
            format!("{asked} cores were asked for, but there is a CPU for {allowed} only"),
            format!("build with `.cores({allowed})` or `.all_cores()`, or allow more CPUs"),
            vec![
                remedy("docker run", format!("--cpuset-cpus 0-{}", asked - 1)),
                remedy(
                    "systemd unit",
                    format!("[Service]\nAllowedCPUs=0-{}", asked - 1),
                ),
            ],
        ));
    }
    let (quota, from) = match (cpus.quota, &cpus.quota_from) {
        (Some(quota), Some(from)) if quota < asked as f64 => (quota, from),
        _ => return findings,
    };
    findings.push(finding(
        format!(
            "{asked} cores were asked for, but the cgroup may use the time of {quota:.2} CPUs \
             ({from}): the kernel stops all cores for the rest of each period"
        ),
        format!(
            "raise the quota to {asked} CPUs, or build with `.cores({})`",
            (quota.floor() as usize).max(1)
        ),
        vec![
            remedy("docker run", format!("--cpus {asked}")),
            remedy(
                "compose.yaml",
                format!("services:\n  app:\n    cpus: {asked}"),
            ),
            remedy(
                "Kubernetes",
                format!("resources:\n  requests: {{cpu: {asked}}}\n  limits: {{cpu: {asked}}}"),
            ),
            remedy(
                "systemd unit",
                format!("[Service]\nCPUQuota={}%", 100 * asked),
            ),
        ],
    ));
    findings
}

fn remedy(place: &'static str, lines: impl Into<String>) -> Remedy {
    let lines = lines.into();
    Remedy { place, lines }
}

fn one(place: &'static str, lines: &str) -> Vec<Remedy> {
    vec![remedy(place, lines)]
}

fn sysctl() -> Vec<Remedy> {
    vec![
        remedy(
            "now, as root on the host",
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        remedy(
            "/etc/sysctl.d/90-io-uring.conf",
            "kernel.io_uring_disabled = 0",
        ),
    ]
}

fn seccomp() -> Vec<Remedy> {
    vec![
        remedy(
            "a profile that allows it",
            "corering doctor --write-seccomp corering-seccomp.json",
        ),
        remedy("docker run", "--security-opt seccomp=corering-seccomp.json"),
        remedy(
            "compose.yaml",
            "services:\n  app:\n    security_opt:\n      - seccomp:corering-seccomp.json",
        ),
        remedy(
            "Kubernetes (the file in /var/lib/kubelet/seccomp on each node)",
            "securityContext:\n  seccompProfile:\n    type: Localhost\n    \
             localhostProfile: corering-seccomp.json",
        ),
        remedy(
            "systemd unit (where it has a SystemCallFilter=)",
            "[Service]\nSystemCallFilter=io_uring_setup io_uring_enter io_uring_register",
        ),
    ]
}

fn memlock() -> Vec<Remedy> {
    vec![
        remedy(
            "systemd unit",
            format!("[Service]\nLimitMEMLOCK={MEMLOCK_WANTED}"),
        ),
        remedy("docker run", "--ulimit memlock=67108864:67108864"),
        remedy(
            "compose.yaml",
            "services:\n  app:\n    ulimits:\n      memlock: 67108864",
        ),
        remedy(
            "Kubernetes (the container runtime's own unit on each node hands it on)",
            format!("[Service]\nLimitMEMLOCK={MEMLOCK_WANTED}"),
        ),
        remedy(
            "/etc/security/limits.d/90-io-uring.conf (in KiB, at the next login)",
            "* - memlock 65536",
        ),
    ]
}

fn descriptors() -> Vec<Remedy> {
    let wanted = DESCRIPTORS_WANTED;
    vec![
        remedy("shell", format!("ulimit -n {wanted}")),
        remedy("systemd unit", format!("[Service]\nLimitNOFILE={wanted}")),
        remedy("docker run", format!("--ulimit nofile={wanted}:{wanted}")),
        remedy(
            "compose.yaml",
            format!("services:\n  app:\n    ulimits:\n      nofile: {wanted}"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(name: &'static str, since: &'static str, outcome: Outcome, why: &str) -> Trial {
        Trial {
            name,
            since,
            optional: since == "6.12" || since == "6.9",
            outcome,
            detail: Some(why.into()),
        }
    }

    #[test]
    fn trials_are_gathered_by_what_came_of_them() {
        let found = of_trials(&[
            trial("nop", "5.1", Outcome::Works, ""),
            trial("ftruncate", "6.9", Outcome::Fails, ""),
            trial("incremental", "6.12", Outcome::Fails, ""),
            trial("abs_timer", "6.12", Outcome::Masked, ""),
            trial("send", "5.6", Outcome::Fails, ""),
            trial(
                "read",
                "5.6",
                Outcome::NotTried,
                "no directory for temporary files: x",
            ),
            trial(
                "write",
                "5.6",
                Outcome::NotTried,
                "no directory for temporary files: x",
            ),
            trial(
                "recv",
                "5.6",
                Outcome::NotTried,
                "Too many open files (os error 24)",
            ),
        ]);
        let causes: Vec<_> = found.iter().map(|found| found.cause.as_str()).collect();
        assert_eq!(causes.len(), 5, "{causes:?}");
        assert!(causes[0].ends_with(": send"), "{causes:?}");
        assert!(causes[1].contains("ftruncate, incremental"), "{causes:?}");
        assert!(found[1].cure.contains("Linux 6.12"));
        assert!(
            causes[2].contains("CORERING_MASK forbids abs_timer"),
            "{causes:?}"
        );
        assert!(
            causes[3].starts_with("recv could not be tried"),
            "{causes:?}"
        );
        assert!(
            causes[4].starts_with("read, write could not be tried"),
            "{causes:?}"
        );
    }

    #[test]
    fn cores_are_held_against_cpus_and_quota() {
        let cpus = |asked, quota: Option<f64>| Cpus {
            allowed: vec![0, 1],
            quota,
            quota_from: quota.map(|_| "cpu.max".into()),
            cores_asked: asked,
        };
        assert!(of_cpus(&cpus(2, None)).is_empty());
        assert!(of_cpus(&cpus(2, Some(2.0))).is_empty());
        assert!(of_cpus(&cpus(3, None))[0].cure.contains(".cores(2)"));
        let found = &of_cpus(&cpus(2, Some(1.5)))[0];
        assert!(
            found.cause.contains("1.50 CPUs (cpu.max)"),
            "{}",
            found.cause
        );
        assert!(found.cure.contains(".cores(1)"), "{}", found.cure);
    }
}
