//! `corering doctor`: prints what the library's doctor found, or writes a seccomp profile.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use corering::doctor::{Checkup, Report, Verdict, seccomp_profile};
use serde_json::{Value, json};

use crate::args::Doctor;
use crate::fail::{Failure, OrFail};

/// Examines the machine; the status says what came of it: 0 fine, 1 degraded, 2 refused.
pub(crate) fn run(args: &Doctor) -> Result<ExitCode, Failure> {
    if let Some(file) = &args.write_seccomp {
        write_seccomp(file, args.seccomp_base.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    let checkup = Checkup::new().cores(args.cores.into()).measure(!args.quick);
    let report = checkup.examine();
    let text = if args.json {
        as_json(&report)?
    } else {
        report.to_string()
    };
    println!("{}", text.trim_end());
    Ok(ExitCode::from(match report.verdict {
        Verdict::Fine => 0,
        Verdict::Degraded => 1,
        Verdict::Refused => 2,
    }))
}

fn as_json(report: &Report) -> Result<String, Failure> {
    serde_json::to_string_pretty(report)
        .map_err(|error| Failure::new("cannot write the report as JSON", error))
}

fn write_seccomp(file: &Path, base: Option<&Path>) -> Result<(), Failure> {
    let profile = match base {
        None => seccomp_profile(),
        Some(base) => {
            let name = base.display();
            let text = fs::read_to_string(base).or_fail(|| format!("cannot read {name}"))?;
            with_io_uring(&text).map_err(|why| {
                Failure::new(format!("{name} is no seccomp profile"), why)
                    .with_cure("give one in the form of Docker's default profile")
            })?
        }
    };
    fs::write(file, profile).or_fail(|| format!("cannot write {}", file.display()))?;
    println!(
        "wrote {}: docker run --security-opt seccomp={0} ..",
        file.display()
    );
    Ok(())
}

const CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// The profile with the three calls allowed, and named in no other of its rules.
fn with_io_uring(profile: &str) -> Result<String, String> {
    let mut profile: Value = serde_json::from_str(profile).map_err(|error| error.to_string())?;
    let action = &profile["defaultAction"];
    if !action.is_string() {
        return Err("it has no defaultAction".to_owned());
    }
    if profile["syscalls"].is_null() {
        profile["syscalls"] = json!([]);
    }
    let rules = profile["syscalls"].as_array_mut();
    let rules = rules.ok_or("its syscalls are no list")?;
    for names in rules
        .iter_mut()
        .filter_map(|rule| rule["names"].as_array_mut())
    {
        names.retain(|name| !CALLS.iter().any(|call| name == call));
    }
    // A rule without names would be a mistake of its own.
    rules.retain(|rule| {
        rule["names"]
            .as_array()
            .is_none_or(|names| !names.is_empty())
    });
    rules.push(json!({ "names": CALLS, "action": "SCMP_ACT_ALLOW" }));
    serde_json::to_string_pretty(&profile).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_calls_are_added_to_a_profile() {
        let base = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [],
            "syscalls": [
                { "names": ["read", "io_uring_enter"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["io_uring_setup"], "action": "SCMP_ACT_KILL" },
            ],
        });
        let made = with_io_uring(&base.to_string()).unwrap();
        let made: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(made["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(made["archMap"], json!([]));
        assert_eq!(
            made["syscalls"],
            json!([
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
                { "names": CALLS, "action": "SCMP_ACT_ALLOW" },
            ])
        );
        let empty = with_io_uring(r#"{"defaultAction": "SCMP_ACT_LOG"}"#).unwrap();
        assert!(empty.contains("io_uring_register"));
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for text in [
            "",
            "[]",
            "3",
            "{}",
            r#"{"defaultAction": "a", "syscalls": {}}"#,
        ] {
            assert!(with_io_uring(text).is_err(), "{text}");
        }
    }
}
