//! The cases of every workload, and who runs them.

use std::io;
use std::time::Duration;

use peer::Figures;

use crate::child::Refusal;
use crate::contenders::Contender;
use crate::echo::Shape;
use crate::options::{Options, Workload};
use crate::serve::Context;
use crate::{accept, echo, jobs, serve, spread};

const KIB: usize = 1 << 10;
/// The rounds of cases that say the same every time, like the memory of a connection.
const STEADY_ROUNDS: usize = 2;

/// What a case's ratios compare: less is better, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// CPU time an operation.
    Cost,
    /// The latency that one operation in a hundred exceeds.
    P99,
    /// User memory of an idle connection.
    IdleMemory,
    /// Requests a second on two cores, as a multiple of those on one: more is better.
    Gain,
    /// CPU time of the busiest core, as a multiple of the mean core's.
    Balance,
}

impl By {
    pub(crate) fn is_more_better(self) -> bool {
        self == Self::Gain
    }

    /// What the runtime of this repository shall reach, whatever others do.
    pub(crate) fn target(self) -> Option<f64> {
        match self {
            Self::Gain => Some(spread::GAIN_MIN),
            Self::Balance => Some(spread::BALANCE_MAX),
            Self::Cost | Self::P99 | Self::IdleMemory => None,
        }
    }
}

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) workload: Workload,
    pub(crate) name: String,
    pub(crate) about: String,
    /// What one operation is.
    pub(crate) operation: &'static str,
    pub(crate) by: By,
    /// Whether it counts in the geometric mean.
    pub(crate) in_mean: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Echo(Shape),
    Accept,
    Idle,
    Spread(spread::Way),
    Job(&'static peer::Case),
    ServeFiles(serve::Object),
}

/// How one run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Measured(Figures),
    /// The contender says that it cannot, and why.
    Unsupported(String),
    Failed(String),
}

/// The cases of a workload that the options leave in.
pub(crate) fn cases(workload: Workload, options: &Options) -> Vec<Case> {
    let mut cases = match workload {
        Workload::Echo => echo_cases(options.all),
        Workload::Accept => vec![accept_case()],
        Workload::Idle => vec![idle_case()],
        Workload::Firehose => vec![firehose_case()],
        Workload::Spread => spread::WAYS.iter().map(spread_case).collect(),
        Workload::Files => job_cases(workload, peer::files::CASES),
        Workload::Tasks => job_cases(workload, peer::tasks::CASES),
        Workload::Download => job_cases(workload, peer::download::CASES),
        Workload::ServeFiles => serve::OBJECTS.iter().map(serve_case).collect(),
    };
    let is_wanted = |case: &Case| {
        let mut wanted = options.cases.iter();
        options.cases.is_empty() || wanted.any(|text| case.name.contains(text.as_str()))
    };
    cases.retain(is_wanted);
    cases
}

/// 12 of the 24 cases count: each number of connections with small messages one at a time, with
/// middling ones in a deep pipeline, and with large ones in turn like this and like that.
fn echo_cases(all: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (row, connections) in [1, 32, 256, 1_000].into_iter().enumerate() {
        let large_depth = if row % 2 == 0 { 1 } else { 16 };
        for (bytes, depth_in_mean) in [(64, 1), (KIB, 16), (16 * KIB, large_depth)] {
            for depth in [1, 16] {
                let in_mean = depth == depth_in_mean;
                if in_mean || all {
                    cases.push(echo_case(connections, bytes, depth, in_mean));
                }
            }
        }
    }
    cases
}

fn echo_case(connections: usize, bytes: usize, depth: usize, in_mean: bool) -> Case {
    let size = match bytes {
        0..KIB => format!("{bytes} B"),
        _ => format!("{} KiB", bytes / KIB),
    };
    Case {
        workload: Workload::Echo,
        name: format!("{connections} x {size} x {depth}"),
        about: format!("{connections} connections, {size}, {depth} under way on each"),
        operation: "request",
        by: By::Cost,
        in_mean,
        what: What::Echo(Shape {
            connections,
            bytes,
            depth,
            firehose_bytes: 0,
            idle: 0,
        }),
    }
}

fn accept_case() -> Case {
    Case {
        workload: Workload::Accept,
        name: "accept".to_string(),
        about: format!(
            "connect, one request of 64 B, close; {} at a time",
            accept::IN_FLIGHT
        ),
        operation: "connection",
        by: By::Cost,
        in_mean: true,
        what: What::Accept,
    }
}

fn idle_case() -> Case {
    Case {
        workload: Workload::Idle,
        name: "10000 idle".to_string(),
        about: "10,000 connections that were served once and are silent since, 32 busy ones (64 B)"
            .to_string(),
        operation: "request",
        by: By::IdleMemory,
        in_mean: true,
        what: What::Idle,
    }
}

fn firehose_case() -> Case {
    Case {
        workload: Workload::Firehose,
        name: "firehose".to_string(),
        about: "100 connections that ping with 64 B, beside one with 4 MiB always under way"
            .to_string(),
        operation: "ping",
        by: By::P99,
        in_mean: true,
        what: What::Echo(Shape {
            connections: 100,
            bytes: 64,
            depth: 1,
            firehose_bytes: 4 << 20,
            idle: 0,
        }),
    }
}

fn spread_case(way: &spread::Way) -> Case {
    Case {
        workload: Workload::Spread,
        name: way.name().to_string(),
        about: way.about(),
        operation: "request",
        by: match way {
            spread::Way::Gain => By::Gain,
            spread::Way::Skewed => By::Balance,
        },
        in_mean: false,
        what: What::Spread(*way),
    }
}

fn job_cases(workload: Workload, rows: &'static [peer::Case]) -> Vec<Case> {
    let case = |row: &'static peer::Case| Case {
        workload,
        name: row.name.to_string(),
        about: row.about.to_string(),
        operation: row.operation,
        by: By::Cost,
        in_mean: true,
        what: What::Job(row),
    };
    rows.iter().map(case).collect()
}

fn serve_case(object: &serve::Object) -> Case {
    Case {
        workload: Workload::ServeFiles,
        name: object.name.to_string(),
        about: format!("one file of {} bytes, asked for by wrk", object.bytes),
        operation: "request",
        by: By::Cost,
        in_mean: true,
        what: What::ServeFiles(*object),
    }
}

impl Case {
    pub(crate) fn rounds(&self, options: &Options) -> usize {
        match self.what {
            What::Idle => options.rounds.min(STEADY_ROUNDS),
            _ => options.rounds,
        }
    }

    /// What all contenders of the case share.
    pub(crate) fn prepare(&self, options: &Options) -> io::Result<Context> {
        match &self.what {
            What::Job(row) if self.workload == Workload::Download => serve::origin(row, options),
            What::ServeFiles(object) => serve::document(object, options),
            What::Spread(_) => Ok(Context::of_work(spread::work())),
            _ => Ok(Context::default()),
        }
    }

    /// One run of one contender; the first also counts its system calls and checks every byte that
    /// takes long to check.
    pub(crate) fn run(
        &self,
        contender: &Contender,
        options: &Options,
        context: &Context,
        is_first: bool,
    ) -> Outcome {
        let result = match &self.what {
            What::Echo(shape) => echo::run(contender, shape, options, is_first),
            What::Idle => echo::run(contender, &Shape::idle(), options, is_first),
            What::Spread(way) => spread::run(contender, *way, options, context.work),
            What::Accept => accept::run(contender, options),
            What::Job(row) => jobs::run(contender, self.workload, row, options, context, is_first),
            What::ServeFiles(object) => serve::run(contender, object, options, context),
        };
        match result {
            Ok(figures) => Outcome::Measured(figures),
            Err(Refusal::Unsupported(why)) => Outcome::Unsupported(why),
            Err(Refusal::Failed(error)) => Outcome::Failed(error.to_string()),
        }
    }
}

/// Figures of a server's run, from what the load and the clocks say.
pub(crate) fn figures(
    operations: u64,
    wall: Duration,
    cpu: Duration,
    latency: Option<&crate::measure::Histogram>,
) -> Figures {
    let at =
        |histogram: &crate::measure::Histogram, part| histogram.quantile(part).as_nanos() as u64;
    Figures {
        operations,
        wall_ns: wall.as_nanos() as u64,
        cpu_ns: cpu.as_nanos() as u64,
        latency: latency.map(|histogram| peer::Latency {
            p50: at(histogram, 0.5),
            p99: at(histogram, 0.99),
            p999: at(histogram, 0.999),
        }),
        ..Figures::default()
    }
}
