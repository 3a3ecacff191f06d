//! How much CPU time the cgroup of this process may use, from both versions of cgroups.

use crate::driver::sys;

/// The smallest quota on the way up from this process's own cgroup, in CPUs, and the file that
/// has it.
pub(super) fn quota() -> Option<(f64, String)> {
    smallest(&sys::read_kernel_file)
}

fn smallest(read: &dyn Fn(&str) -> Option<String>) -> Option<(f64, String)> {
    let cgroups = read("/proc/self/cgroup").unwrap_or_else(|| "0::/\n".into());
    let mut found: Option<(f64, String)> = None;
    for (controllers, path) in cgroups.lines().filter_map(parts) {
        for file in files(controllers, path) {
            let quota = match controllers {
                "" => read(&file).and_then(|text| of_version_2(&text)),
                _ => of_version_1(&file, read),
            };
            match quota {
                Some(quota) if found.as_ref().is_none_or(|(least, _)| quota < *least) => {
                    found = Some((quota, file));
                }
                _ => {}
            }
        }
    }
    found
}

/// Of a line such as `3:cpu,cpuacct:/a/b`: the controllers (none in version 2) and the path.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let counts = controllers.is_empty() || controllers.split(',').any(|name| name == "cpu");
    counts.then_some((controllers, path))
}

/// Where the quota of this cgroup and of those above it may stand. Inside of a container the path
/// may be the host's, of which only the root is mounted: the way up ends there.
fn files(controllers: &str, path: &str) -> Vec<String> {
    let (mounts, name): (&[&str], _) = match controllers {
        "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "cpu.max"),
        _ => (
            &["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu"],
            "cpu.cfs_quota_us",
        ),
    };
    let mut found = Vec::new();
    let mut path = path.trim_end_matches('/');
    loop {
        found.extend(mounts.iter().map(|mount| format!("{mount}{path}/{name}")));
        match path.rfind('/') {
            Some(at) => path = &path[..at],
            None => return found,
        }
    }
}

/// `200000 100000`, or `max 100000`.
fn of_version_2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota, period)
}

fn of_version_1(file: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<f64> {
    let quota = read(file)?;
    let period = read(&file.replace("cfs_quota_us", "cfs_period_us"))?;
    share(quota.trim(), period.trim())
}

/// No quota is `max`, or -1.
fn share(quota: &str, period: &str) -> Option<f64> {
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(files: &[(&str, &str)]) -> Option<(f64, String)> {
        smallest(&|path| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_string())
        })
    }

    #[test]
    fn version_2() {
        let own = ("/proc/self/cgroup", "0::/system.slice/a.service\n");
        let max = "/sys/fs/cgroup/system.slice/a.service/cpu.max";
        let above = "/sys/fs/cgroup/system.slice/cpu.max";
        let found = quota_of(&[own, (max, "max 100000\n")]);
        assert_eq!(found, None);
        let found = quota_of(&[own, (max, "150000 100000\n"), (above, "max 100000\n")]);
        assert_eq!(found, Some((1.5, max.into())));
        let found = quota_of(&[own, (max, "150000 100000\n"), (above, "50000 100000\n")]);
        assert_eq!(found, Some((0.5, above.into())));
    }

    #[test]
    fn version_2_in_a_container_or_without_proc() {
        let root = ("/sys/fs/cgroup/cpu.max", "200000 100000\n");
        let hosts = ("/proc/self/cgroup", "0::/docker/0123\n");
        assert_eq!(quota_of(&[hosts, root]).map(|found| found.0), Some(2.0));
        assert_eq!(quota_of(&[root]).map(|found| found.0), Some(2.0));
        assert_eq!(quota_of(&[]), None);
    }

    #[test]
    fn version_1() {
        let own = (
            "/proc/self/cgroup",
            "4:memory:/x\n3:cpu,cpuacct:/a\n0::/\nnonsense\n",
        );
        let quota = "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us";
        let period = ("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota_of(&[own, (quota, "-1\n"), period]), None);
        assert_eq!(quota_of(&[own, (quota, "25000\n")]), None);
        let found = quota_of(&[own, (quota, "25000\n"), period]);
        assert_eq!(found, Some((0.25, quota.into())));
    }
}
