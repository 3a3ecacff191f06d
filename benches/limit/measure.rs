//! Clocks, the histogram and the pinning: what a measurement needs besides a load.

use std::io;
use std::time::Duration;

/// Buckets per power of two: a value is known to 1.6 %.
const STEPS: usize = 64;

/// Latencies in nanoseconds, in logarithmic buckets.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * STEPS],
            total: 0,
        }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The latency that the share `part` (0.0 to 1.0) of all requests did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(lowest(index));
            }
        }
        Duration::ZERO
    }
}

/// Small values are their own bucket; above, the highest seven bits choose it.
fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(STEPS.ilog2() + 1);
    shift as usize * STEPS + (value >> shift) as usize
}

fn lowest(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    ((bucket - shift * STEPS) as u64) << shift
}

/// CPU time (user and system) of the whole process, kernel workers included.
pub(crate) fn process_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time (user and system) of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to.
    let result = unsafe { libc::clock_gettime(id, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = [0_u64; 16];
    set[cpu / 64] = 1 << (cpu % 64);
    // SAFETY: the set is as long as said, and the call only reads it.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The CPU time of kernel workers (io-wq) of this process, from the names of its threads.
///
/// They live and die with the load, so a difference of two readings misses what has ended. The
/// cost in the table is [`process_cpu`] less the load, which misses nothing; this tells how much
/// of it were workers.
pub(crate) fn worker_cpu() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    tasks
        .flatten()
        .filter_map(|task| worker_task_cpu(&task.path()))
        .sum()
}

fn worker_task_cpu(task: &std::path::Path) -> Option<Duration> {
    let name = std::fs::read_to_string(task.join("comm")).ok()?;
    if !name.starts_with("iou-wrk") {
        return None;
    }
    let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
    times
        .split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}
