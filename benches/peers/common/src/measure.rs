//! Reads the clocks of the process.

use std::time::{Duration, Instant};

use crate::{Figures, Latency};

/// Measures what happens between its begin and its end.
#[derive(Debug)]
pub struct Meter {
    whose: libc::c_int,
    begin: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins to measure this process, all of its threads and its kernel workers.
    #[must_use]
    pub fn begin() -> Self {
        Self::of(libc::RUSAGE_SELF)
    }

    /// Begins to measure the children that end, and are waited for, before the meter's end.
    #[must_use]
    pub fn of_children() -> Self {
        Self::of(libc::RUSAGE_CHILDREN)
    }

    fn of(whose: libc::c_int) -> Self {
        let (cpu, _) = usage(whose);
        Self {
            whose,
            begin: Instant::now(),
            cpu,
        }
    }

    /// Ends it: `operations` were done.
    #[must_use]
    pub fn end(self, operations: u64) -> Figures {
        let wall = self.begin.elapsed();
        let (cpu, peak_rss_bytes) = usage(self.whose);
        Figures {
            operations,
            wall_ns: wall.as_nanos() as u64,
            cpu_ns: (cpu - self.cpu).as_nanos() as u64,
            peak_rss_bytes,
            ..Figures::default()
        }
    }

    /// Ends it, with how many nanoseconds each operation took.
    #[must_use]
    pub fn end_with(self, samples: Vec<u64>) -> Figures {
        let figures = self.end(samples.len() as u64);
        Figures {
            latency: Latency::of(samples),
            ..figures
        }
    }
}

/// CPU time (user and system) of the calling thread.
#[allow(unsafe_code)]
pub(crate) fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// User and system time, and the peak of resident memory in bytes.
#[allow(unsafe_code)]
fn usage(whose: libc::c_int) -> (Duration, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the place is as large as the call writes.
    let result = unsafe { libc::getrusage(whose, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "every Linux counts this");
    // SAFETY: zeros are a valid `rusage`, and the call has written a whole one.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    (cpu, usage.ru_maxrss as u64 * 1024)
}
