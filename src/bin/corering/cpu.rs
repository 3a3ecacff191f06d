//! CPU time per thread of this process, the kernel's io_uring workers included.
//!
//! It is read from `/proc/self/task`, and not with `getrusage` or a thread's clock, for two
//! reasons: a thread can read only itself with those, and they do not see the workers. The kernel
//! runs the work that a ring cannot do without blocking in threads named `iou-wrk-<tid>` after the
//! thread that owns the ring (`iou-sqp-<tid>` for a polling thread); that time is a cost of the
//! owner.
//!
//! `schedstat` has nanoseconds. Where the kernel lacks it, `stat` has ticks of 10 ms.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A tick of `stat`: USER_HZ is 100 on every architecture that io_uring programs meet.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of every thread at one moment.
///
/// A worker that ends between two readings takes its last share along.
#[derive(Debug, Clone)]
pub(crate) struct CpuTimes {
    threads: BTreeMap<u32, Thread>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    /// The thread whose cost this is: itself, or the owner of the ring that it works for.
    charged_to: u32,
    time: Duration,
}

impl CpuTimes {
    /// Reads them now. A reading costs some ten microseconds per thread.
    pub(crate) fn read() -> io::Result<Self> {
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/task")? {
            let entry = entry?;
            let Some(tid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A thread may end between the listing and the reading.
            if let Ok(thread) = read_thread(tid, &entry.path()) {
                threads.insert(tid, thread);
            }
        }
        Ok(Self { threads })
    }

    /// What these threads, and the kernel's workers for them, have used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self, tids: &[u32]) -> Duration {
        let charged = self
            .threads
            .iter()
            .filter(|(_, thread)| tids.contains(&thread.charged_to));
        charged
            .map(|(tid, thread)| {
                let before = earlier
                    .threads
                    .get(tid)
                    .map_or(Duration::ZERO, |before| before.time);
                thread.time.saturating_sub(before)
            })
            .sum()
    }
}

/// The number of the calling thread, as it appears in `/proc`.
pub(crate) fn thread_id() -> io::Result<u32> {
    let link = fs::read_link("/proc/thread-self")?;
    let tid = link
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse().ok());
    tid.ok_or_else(|| malformed("/proc/thread-self"))
}

fn read_thread(tid: u32, task: &Path) -> io::Result<Thread> {
    let name = fs::read_to_string(task.join("comm"))?;
    let time = match fs::read_to_string(task.join("schedstat")) {
        Ok(text) => schedstat_time(&text)?,
        Err(_) => stat_time(&fs::read_to_string(task.join("stat"))?)?,
    };
    Ok(Thread {
        charged_to: owner(&name).unwrap_or(tid),
        time,
    })
}

/// The owner of the ring, for the name of one of the kernel's io_uring threads.
fn owner(name: &str) -> Option<u32> {
    let name = name.trim_end();
    name.strip_prefix("iou-wrk-")
        .or_else(|| name.strip_prefix("iou-sqp-"))?
        .parse()
        .ok()
}

/// The first of three numbers: nanoseconds on a CPU.
fn schedstat_time(text: &str) -> io::Result<Duration> {
    let nanos = text
        .split_ascii_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| malformed("schedstat"))
}

/// User and system time: fields 14 and 15. The name in field 2 may hold spaces and parentheses, so
/// that the fields are counted from its closing one.
fn stat_time(text: &str) -> io::Result<Duration> {
    let (_, fields) = text.rsplit_once(')').ok_or_else(|| malformed("stat"))?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok());
    match (ticks(), ticks()) {
        (Some(user), Some(system)) => Ok(TICK * user + TICK * system),
        _ => Err(malformed("stat")),
    }
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{file} is not as proc(5) says"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn texts_of_proc() {
        assert_eq!(
            schedstat_time("185846 77 1\n").unwrap(),
            Duration::from_nanos(185_846)
        );
        let stat = "5539 (a) b (c) R 1 2 3 0 -1 4194304 116 0 0 0 150 25 7 8 20 0 1 0 79796 31";
        assert_eq!(stat_time(stat).unwrap(), Duration::from_millis(1750));
        for broken in ["", ")", "1 (a) R 2", "x"] {
            assert!(stat_time(broken).is_err(), "{broken}");
        }
        assert!(schedstat_time("").is_err());
        assert_eq!(owner("iou-wrk-1234\n"), Some(1234));
        assert_eq!(owner("iou-sqp-77\n"), Some(77));
        assert_eq!(owner("corering-0\n"), None);
        assert_eq!(owner("iou-wrk-x"), None);
    }

    #[test]
    fn workers_are_charged_to_their_owner() {
        let thread = |charged_to, ms| Thread {
            charged_to,
            time: Duration::from_millis(ms),
        };
        let times = |threads: &[(u32, Thread)]| CpuTimes {
            threads: threads.iter().cloned().collect(),
        };
        let earlier = times(&[(1, thread(1, 10)), (2, thread(2, 20))]);
        let later = times(&[(1, thread(1, 15)), (2, thread(2, 120)), (9, thread(1, 3))]);
        assert_eq!(later.since(&earlier, &[1]), Duration::from_millis(8));
        assert_eq!(later.since(&earlier, &[2]), Duration::from_millis(100));
        assert_eq!(later.since(&earlier, &[1, 2]), Duration::from_millis(108));
        assert_eq!(earlier.since(&later, &[1, 2]), Duration::ZERO);
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let tid = thread_id().unwrap();
        let earlier = CpuTimes::read().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let used = CpuTimes::read().unwrap().since(&earlier, &[tid]);
        // Other tests share the cores.
        assert!(
            used > Duration::from_millis(5) && used < Duration::from_secs(5),
            "{used:?}"
        );
    }
}
