//! Counts a process' system calls with the kernel's trace point of all of them.
//!
//! Counting makes each call dearer, so it has a run of its own.

use std::io;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

const TRACE_POINT: &str = "events/raw_syscalls/sys_enter/id";
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// One counter a thread: a thread that begins later is not seen, and no contender's does.
pub(crate) struct Calls(Vec<Counter>);

impl Calls {
    /// Counters of every thread of the process, which do not count yet.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let id = trace_point()?;
        let mut counters = Vec::new();
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.file_name();
            let thread = thread.to_str().and_then(|name| name.parse().ok());
            let thread = thread.ok_or_else(|| io::Error::other("not the number of a thread"))?;
            let mut builder = Builder::new(Tracepoint::with_id(id));
            builder.observe_pid(thread).any_cpu().include_kernel();
            counters.push(builder.build()?);
        }
        Ok(Self(counters))
    }

    pub(crate) fn enable(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Counter::enable)
    }

    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Counter::disable)
    }

    pub(crate) fn read(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

/// Says how system calls are counted, for the lines above a table.
pub(crate) fn describe() -> String {
    match Calls::of(std::process::id()) {
        Ok(_) => "the kernel's trace point of all of them, in a short run of its own".to_string(),
        Err(error) => format!("NOT counted: the kernel's trace point is out of reach ({error})"),
    }
}

fn trace_point() -> io::Result<u64> {
    let texts = PLACES.map(|place| std::fs::read_to_string(format!("{place}/{TRACE_POINT}")));
    let id = texts
        .iter()
        .flatten()
        .find_map(|text| text.trim().parse().ok());
    id.ok_or_else(|| io::Error::other("no tracefs, or not allowed to read it"))
}
