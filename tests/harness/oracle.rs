//! What can be seen of a process from outside: descriptors, memory, CPU time, where it hangs.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// The open descriptors of this process, with what they name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census(BTreeMap<i32, String>);

impl Census {
    pub fn take() -> Census {
        let mut found = BTreeMap::new();
        let own = fs::canonicalize("/proc/self/fd").expect("/proc is mounted");
        let entries: Vec<_> = fs::read_dir("/proc/self/fd")
            .expect("/proc is mounted")
            .collect();
        for entry in entries {
            let entry = entry.expect("/proc can be read");
            let target = fs::read_link(entry.path()).unwrap_or_default();
            // The directory's own descriptor is open while its entries are.
            if target != own {
                let number = entry.file_name().to_string_lossy().parse().expect("number");
                found.insert(number, target.to_string_lossy().into_owned());
            }
        }
        Census(found)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The highest number that is open.
    pub fn highest(&self) -> i32 {
        self.0.keys().next_back().copied().unwrap_or(-1)
    }

    /// How many descriptors name something that contains `text`.
    pub fn count(&self, text: &str) -> usize {
        self.0.values().filter(|name| name.contains(text)).count()
    }

    /// What is open now and was not then.
    pub fn added(&self) -> Vec<String> {
        let now = Census::take().0;
        now.into_iter()
            .filter(|(number, name)| self.0.get(number) != Some(name))
            .map(|(number, name)| format!("{number} -> {name}"))
            .collect()
    }

    /// Nothing more is open than then; closes may take up to 2 s.
    pub fn assert_same(&self) {
        let begin = Instant::now();
        loop {
            let added = self.added();
            if added.is_empty() {
                return;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(2),
                "descriptors were leaked: {added:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One line of `/proc/self/status`, in KiB.
fn status_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Resident memory.
pub fn memory_kib() -> u64 {
    status_kib("VmRSS:")
}

/// The most resident memory since the last [`reset_peak`].
pub fn memory_peak_kib() -> u64 {
    status_kib("VmHWM:")
}

/// The peak starts over.
pub fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
}

/// Threads of this process.
pub fn threads() -> u64 {
    status_kib("Threads:")
}

/// So many threads are left; a joined thread may be counted a moment longer.
pub fn assert_threads(expected: u64) {
    let begin = Instant::now();
    while threads() != expected {
        let late = begin.elapsed() > Duration::from_secs(2);
        assert!(!late, "{} threads, expected {expected}", threads());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// CPU time that this process has used, kernel and all threads included.
pub fn cpu_time() -> Duration {
    usage(libc::RUSAGE_SELF)
}

/// CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    usage(libc::RUSAGE_THREAD)
}

fn usage(who: libc::c_int) -> Duration {
    // SAFETY: an all-zero rusage is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one rusage.
    unsafe { libc::getrusage(who, &mut usage) };
    let of = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Prints where every thread of a process is, and what its rings have in flight.
pub fn dump(pid: u32) {
    let read = |path: String| fs::read_to_string(path).unwrap_or_else(|error| format!("{error}"));
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return println!("process {pid} is gone");
    };
    for task in tasks.flatten() {
        let path = task.path().to_string_lossy().into_owned();
        println!("--- thread {path}");
        for file in ["comm", "wchan", "syscall", "stack"] {
            println!("{file}: {}", read(format!("{path}/{file}")).trim_end());
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if target.to_string_lossy().contains("io_uring") {
            let number = entry.file_name().to_string_lossy().into_owned();
            println!(
                "--- ring {number}\n{}",
                read(format!("/proc/{pid}/fdinfo/{number}"))
            );
        }
    }
}
