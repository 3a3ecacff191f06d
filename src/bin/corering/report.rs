//! The results of a benchmark: computed once, then shown as a table, as JSON or as a plot.
//!
//! ```text
//! Measurement (one per round, raw counters) --Report::new--> Report --publish--> table | JSON
//!                                                              '--plot::render--> SVG
//! ```
//!
//! Rules:
//! 1. Each figure is the median of the rounds, with the lowest and highest beside it.
//! 2. MB is 10^6 bytes; "per request" means per finished and checked request.
//! 3. What could not be measured is absent, not zero.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::args::Output;
use crate::fail::{Failure, OrFail};
use crate::load::Mode;
use crate::plot;

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// What one round measured.
#[derive(Debug)]
pub(crate) struct Measurement {
    /// The measured time, without the warm-up.
    pub(crate) elapsed: Duration,
    /// Requests that were answered, and whose answer was checked.
    pub(crate) requests: u64,
    /// The bytes of those answers, without protocol overhead.
    pub(crate) bytes: u64,
    /// Requests that failed or whose answer was wrong.
    pub(crate) errors: u64,
    /// In nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) server: Cost,
    pub(crate) load: Cost,
    /// The rate over time, for the plot.
    pub(crate) over_time: Vec<Sample>,
}

/// What one side used during a round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// The CPU time of its threads and of the kernel's workers for them.
    pub(crate) cpu: Option<Duration>,
    /// The times that its rings were entered (`io_uring_enter`).
    pub(crate) enters: Option<u64>,
}

/// The rate around one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Seconds since the start of the round.
    pub(crate) at_s: f64,
    pub(crate) requests_per_s: f64,
}

/// The results of all rounds and how they were made.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) machine: Machine,
    /// The command as it would be typed.
    pub(crate) command: String,
    pub(crate) options: serde_json::Value,
    pub(crate) mode: Mode,
    pub(crate) median: Figures,
    pub(crate) rounds: Vec<Round>,
}

/// Where the benchmark ran.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
}

/// One round.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    pub(crate) latency_curve: Vec<CurvePoint>,
    pub(crate) over_time: Vec<Sample>,
}

/// The share of the requests, in percent, that took at most so long.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CurvePoint {
    pub(crate) percentile: f64,
    pub(crate) us: f64,
}

/// The figures of a round, or their medians.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_s: f64,
    pub(crate) mb_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// CPU seconds per million requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load_cpu_s: Option<f64>,
    /// Ring enters per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_enters: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load_enters: Option<f64>,
}

impl Report {
    /// `options` is the struct of the command's options.
    ///
    /// # Panics
    /// Without any round.
    pub(crate) fn new(
        command: &str,
        options: &impl Serialize,
        mode: Mode,
        measurements: Vec<Measurement>,
    ) -> Self {
        assert!(
            !measurements.is_empty(),
            "a benchmark has at least one round"
        );
        let rounds: Vec<Round> = measurements.into_iter().map(Round::new).collect();
        Self {
            schema: SCHEMA,
            machine: Machine::this(),
            command: command.to_owned(),
            options: serde_json::to_value(options).expect("options are plain values"),
            mode,
            median: Figures::median(&rounds),
            rounds,
        }
    }

    /// The round whose rate is the median (the lower one of two).
    pub(crate) fn typical_round(&self) -> &Round {
        let mut order: Vec<&Round> = self.rounds.iter().collect();
        order.sort_by(|a, b| {
            a.figures
                .requests_per_s
                .total_cmp(&b.figures.requests_per_s)
        });
        order[(order.len() - 1) / 2]
    }

    /// The table for a terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n",
            self.command,
            self.machine.line(),
            self.options()
        );
        let _ = writeln!(text, "{}\n", self.mode.explanation());
        let spread = self.rounds.len() > 1;
        if spread {
            let median = format!("median of {}", self.rounds.len());
            let _ = writeln!(
                text,
                "{:<34}{median:>14}{:>14}{:>14}",
                "", "lowest", "highest"
            );
        }
        for row in ROWS {
            let Some(median) = (row.value)(&self.median) else {
                continue;
            };
            let _ = write!(text, "{:<34}{:>14}", row.label, readable(median));
            if spread {
                let (lowest, highest) = self.spread(row);
                let _ = write!(text, "{:>14}{:>14}", readable(lowest), readable(highest));
            }
            text.push('\n');
        }
        let total = |count: fn(&Round) -> u64| self.rounds.iter().map(count).sum::<u64>();
        let seconds: f64 = self.rounds.iter().map(|round| round.seconds).sum();
        let _ = writeln!(
            text,
            "\n{} requests in {seconds:.2} s, {} errors, every byte checked",
            grouped(total(|round| round.requests)),
            grouped(total(|round| round.errors)),
        );
        text
    }

    pub(crate) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain values");
        text.push('\n');
        text
    }

    /// The options on one line.
    pub(crate) fn options(&self) -> String {
        let Some(options) = self.options.as_object() else {
            return String::new();
        };
        let set = options.iter().filter(|(_, value)| !value.is_null());
        let words = set.map(|(name, value)| match value.as_str() {
            Some(text) => format!("{} {text}", name.replace('_', "-")),
            None => format!("{} {value}", name.replace('_', "-")),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn spread(&self, row: &Row) -> (f64, f64) {
        let values = self
            .rounds
            .iter()
            .filter_map(|round| (row.value)(&round.figures));
        values.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(lowest, highest), value| (value.min(lowest), value.max(highest)),
        )
    }
}

/// Shows a report as the options ask: a table or JSON on standard output, JSON and SVG into files.
///
/// # Errors
/// When a file cannot be written, or when a request failed: a benchmark with errors has no result.
pub(crate) fn publish(report: &Report, output: &Output) -> Result<(), Failure> {
    let stdout_is_json = output.json.as_deref().is_some_and(is_stdout);
    print(&if stdout_is_json {
        report.json()
    } else {
        report.table()
    })?;
    write_files(report, output)?;
    match report.rounds.iter().map(|round| round.errors).sum() {
        0_u64 => Ok(()),
        errors => Err(Failure::new(
            "the benchmark met errors",
            format!("{errors} of its requests"),
        )),
    }
}

fn write_files(report: &Report, output: &Output) -> Result<(), Failure> {
    let write = |path: &Path, text: String| {
        fs::write(path, text).or_fail(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = output.json.as_deref().filter(|path| !is_stdout(path)) {
        write(path, report.json())?;
    }
    if let Some(path) = &output.svg {
        write(path, plot::render(report))?;
    }
    Ok(())
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write the results", &error))
        }
        _ => Ok(()),
    }
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        Self {
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel,
        }
    }

    pub(crate) fn line(&self) -> String {
        let plural = if self.cores == 1 { "" } else { "s" };
        format!(
            "{}, {} core{plural}, Linux {}",
            self.cpu, self.cores, self.kernel
        )
    }
}

/// Absent on some architectures.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Round {
    fn new(measurement: Measurement) -> Self {
        let seconds = measurement.elapsed.as_secs_f64().max(1e-9);
        let requests = measurement.requests as f64;
        let us = |quantile| measurement.latency.value_at_quantile(quantile) as f64 / 1e3;
        let per_request = |amount: f64| (requests > 0.0).then(|| amount / requests);
        let cpu = |cost: Cost| per_request(cost.cpu?.as_secs_f64() * 1e6);
        let enters = |cost: Cost| per_request(cost.enters? as f64);
        let figures = Figures {
            requests_per_s: requests / seconds,
            mb_per_s: measurement.bytes as f64 / 1e6 / seconds,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: measurement.latency.max() as f64 / 1e3,
            server_cpu_s: cpu(measurement.server),
            load_cpu_s: cpu(measurement.load),
            server_enters: enters(measurement.server),
            load_enters: enters(measurement.load),
        };
        Self {
            seconds,
            requests: measurement.requests,
            bytes: measurement.bytes,
            errors: measurement.errors,
            figures,
            latency_curve: latency_curve(&measurement.latency),
            over_time: measurement.over_time,
        }
    }
}

/// Ten points for each nine of the percentile, up to the last request.
fn latency_curve(latency: &Histogram<u64>) -> Vec<CurvePoint> {
    const POINTS_PER_NINE: u32 = 10;
    let mut curve = Vec::new();
    for step in 0.. {
        // The share of requests that are slower: 1, 0.79, 0.63, ... 0.1, ...
        let slower = 10_f64.powf(-f64::from(step) / f64::from(POINTS_PER_NINE));
        if slower * (latency.len() as f64) < 1.0 {
            break;
        }
        let us = latency.value_at_quantile(1.0 - slower) as f64 / 1e3;
        curve.push(CurvePoint {
            percentile: 100.0 * (1.0 - slower),
            us,
        });
    }
    curve
}

impl Figures {
    fn median(rounds: &[Round]) -> Self {
        let of = |value: fn(&Figures) -> f64| {
            median(rounds.iter().map(|round| value(&round.figures)).collect())
        };
        let of_some = |value: fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = rounds
                .iter()
                .filter_map(|round| value(&round.figures))
                .collect();
            (!values.is_empty()).then(|| median(values))
        };
        Self {
            requests_per_s: of(|figures| figures.requests_per_s),
            mb_per_s: of(|figures| figures.mb_per_s),
            p50_us: of(|figures| figures.p50_us),
            p99_us: of(|figures| figures.p99_us),
            p999_us: of(|figures| figures.p999_us),
            max_us: of(|figures| figures.max_us),
            server_cpu_s: of_some(|figures| figures.server_cpu_s),
            load_cpu_s: of_some(|figures| figures.load_cpu_s),
            server_enters: of_some(|figures| figures.server_enters),
            load_enters: of_some(|figures| figures.load_enters),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

/// One line of the table.
struct Row {
    label: &'static str,
    value: fn(&Figures) -> Option<f64>,
}

const ROWS: &[Row] = &[
    Row {
        label: "requests/s",
        value: |figures| Some(figures.requests_per_s),
    },
    Row {
        label: "MB/s",
        value: |figures| Some(figures.mb_per_s),
    },
    Row {
        label: "latency p50, µs",
        value: |figures| Some(figures.p50_us),
    },
    Row {
        label: "latency p99, µs",
        value: |figures| Some(figures.p99_us),
    },
    Row {
        label: "latency p99.9, µs",
        value: |figures| Some(figures.p999_us),
    },
    Row {
        label: "latency max, µs",
        value: |figures| Some(figures.max_us),
    },
    Row {
        label: "server CPU, s per million requests",
        value: |figures| figures.server_cpu_s,
    },
    Row {
        label: "load CPU, s per million requests",
        value: |figures| figures.load_cpu_s,
    },
    Row {
        label: "server ring enters per request",
        value: |figures| figures.server_enters,
    },
    Row {
        label: "load ring enters per request",
        value: |figures| figures.load_enters,
    },
];

/// At least three significant digits, and none that mean nothing: `123,456`, `12.3`, `0.0123`.
pub(crate) fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => grouped(value.round() as u64),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.4}"),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
