//! Live progress on the terminal, drawn from counters.
//!
//! Rules:
//! 1. The I/O code adds to a counter and does nothing else; whoever owns the display calls its
//!    `tick` ten times a second ([`TICK`]).
//! 2. Nothing is drawn when standard error is no terminal, or when the user asked for quiet.
//! 3. Time comes in as a value.
//!
//! On drop a display takes its lines away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::Uri;
use indicatif::{
    HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};

use crate::report::{Sample, grouped, readable};

/// How often a display is brought up to date.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Draws per second; a little more than ticks, so that none waits for the next.
const DRAWS_PER_SECOND: u8 = 12;

/// The samples that are kept for the plot; then every other one is dropped, again and again.
const SAMPLES_MAX: usize = 1200;

fn target(quiet: bool) -> ProgressDrawTarget {
    // indicatif itself draws nothing when standard error is no terminal.
    if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants that indicatif takes")
        .progress_chars("━╸ ")
}

/// Turns a growing counter into rates.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    last: (Instant, u64),
    samples: Vec<Sample>,
    /// The time that one sample covers; it doubles when there are too many of them.
    interval: Duration,
}

impl Meter {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            last: (start, 0),
            samples: Vec::new(),
            interval: TICK,
        }
    }

    /// Takes a reading of the counter. Too early a call (before half an interval) does nothing.
    pub(crate) fn observe(&mut self, now: Instant, requests: u64) {
        let since = now.saturating_duration_since(self.last.0);
        if since < self.interval / 2 {
            return;
        }
        let requests_per_s = requests.saturating_sub(self.last.1) as f64 / since.as_secs_f64();
        let at_s = now.saturating_duration_since(self.start).as_secs_f64();
        self.samples.push(Sample {
            at_s,
            requests_per_s,
        });
        self.last = (now, requests);
        if self.samples.len() >= SAMPLES_MAX {
            self.thin_out();
        }
    }

    /// The rate of the last interval.
    pub(crate) fn current(&self) -> f64 {
        self.samples
            .last()
            .map_or(0.0, |sample| sample.requests_per_s)
    }

    pub(crate) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }

    /// Makes one sample of two. Both cover the same time, so that their mean is the rate of both.
    fn thin_out(&mut self) {
        let halved = self.samples.chunks_exact(2).map(|pair| Sample {
            at_s: pair[1].at_s,
            requests_per_s: (pair[0].requests_per_s + pair[1].requests_per_s) / 2.0,
        });
        self.samples = halved.collect();
        self.interval *= 2;
    }
}

/// The one line of a benchmark.
#[derive(Debug)]
pub(crate) struct BenchLine {
    bar: ProgressBar,
    meter: Meter,
    /// How much there is to do: requests, or milliseconds.
    goal: Goal,
}

/// When a benchmark round is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// After this time.
    Time(Duration),
    /// After this many requests.
    Requests(u64),
}

impl BenchLine {
    pub(crate) fn new(label: impl Into<String>, goal: Goal, start: Instant, quiet: bool) -> Self {
        let len = match goal {
            Goal::Time(time) => time.as_millis() as u64,
            Goal::Requests(requests) => requests,
        };
        let bar = ProgressBar::with_draw_target(Some(len), target(quiet))
            .with_style(style("{prefix} {bar:28.blue/dim} {msg}"))
            .with_prefix(label.into());
        Self {
            bar,
            meter: Meter::new(start),
            goal,
        }
    }

    /// The warm-up is over: the time counts from here.
    pub(crate) fn begin(&mut self, start: Instant) {
        self.meter = Meter::new(start);
    }

    /// Brings the line up to date; to be called every [`TICK`].
    pub(crate) fn tick(&mut self, now: Instant, requests: u64, bytes: u64, errors: u64) {
        self.meter.observe(now, requests);
        if self.bar.is_hidden() {
            return;
        }
        let elapsed = now.saturating_duration_since(self.meter.start);
        let (position, shown) = match self.goal {
            Goal::Time(time) => (
                elapsed.as_millis() as u64,
                format!("{:.1}/{:.1} s", elapsed.as_secs_f64(), time.as_secs_f64()),
            ),
            Goal::Requests(total) => (
                requests,
                format!("{}/{}", grouped(requests), grouped(total)),
            ),
        };
        let mb_per_s = bytes as f64 / 1e6 / elapsed.as_secs_f64().max(0.001);
        let mut message = format!(
            "{shown}  {} requests/s  {} MB/s",
            readable(self.meter.current()),
            readable(mb_per_s)
        );
        if errors > 0 {
            message.push_str(&format!("  {} errors", grouped(errors)));
        }
        self.bar.set_message(message);
        self.bar.set_position(position);
    }

    /// Takes the line away and hands out the samples of the rate.
    pub(crate) fn finish(self) -> Vec<Sample> {
        self.bar.finish_and_clear();
        self.meter.into_samples()
    }
}

/// The bars of many downloads on one core: one for each that runs, and one for all together.
#[derive(Debug)]
pub(crate) struct DownloadBars {
    screen: MultiProgress,
    total: ProgressBar,
    running: RefCell<Vec<Rc<Running>>>,
    tally: RefCell<Tally>,
    start: Instant,
    files: usize,
}

/// The state that a download and its bar share.
#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    done: Cell<u64>,
}

/// How the downloads ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) complete: usize,
    pub(crate) failed: usize,
    /// The bytes of the complete ones.
    pub(crate) bytes: u64,
}

/// One download that runs. When it is dropped without [`Download::complete`] or
/// [`Download::failed`] (a cancelled one), its bar goes away and nothing is counted.
#[derive(Debug)]
pub(crate) struct Download {
    bars: Rc<DownloadBars>,
    shared: Rc<Running>,
}

impl DownloadBars {
    pub(crate) fn new(files: usize, start: Instant, quiet: bool) -> Rc<Self> {
        let screen = MultiProgress::with_draw_target(target(quiet));
        let total = screen.add(ProgressBar::new(files as u64));
        total.set_style(style("{bar:28.green/dim} {pos}/{len} files  {msg}"));
        Rc::new(Self {
            screen,
            total,
            running: RefCell::default(),
            tally: RefCell::default(),
            start,
            files,
        })
    }

    /// Starts a bar; `len` is the announced length.
    pub(crate) fn start(self: &Rc<Self>, name: &str, len: Option<u64>) -> Download {
        let bar = match len {
            Some(len) => ProgressBar::new(len).with_style(style(
                "{bar:28.blue/dim} {bytes:>11}/{total_bytes:11} {bytes_per_sec:>12}  {wide_msg}",
            )),
            // An empty prefix in the place of the bar and of the total, which nobody knows.
            None => ProgressBar::no_length().with_style(style(
                "{prefix:28} {bytes:>11} {prefix:11} {bytes_per_sec:>12}  {wide_msg}",
            )),
        };
        let bar = self.screen.insert_before(&self.total, bar);
        bar.set_message(name.to_owned());
        let shared = Rc::new(Running {
            bar,
            done: Cell::new(0),
        });
        self.running.borrow_mut().push(Rc::clone(&shared));
        Download {
            bars: Rc::clone(self),
            shared,
        }
    }

    /// Brings all bars up to date; to be called every [`TICK`].
    pub(crate) fn tick(&self, now: Instant) {
        if self.screen.is_hidden() {
            return;
        }
        let mut bytes = self.tally.borrow().bytes;
        for running in self.running.borrow().iter() {
            running.bar.set_position(running.done.get());
            bytes += running.done.get();
        }
        let tally = self.tally.borrow();
        let seconds = now
            .saturating_duration_since(self.start)
            .as_secs_f64()
            .max(0.001);
        let rate = HumanBytes((bytes as f64 / seconds) as u64);
        let failed = match tally.failed {
            0 => String::new(),
            failed => format!("  {failed} failed"),
        };
        self.total
            .set_message(format!("{}  {rate}/s{failed}", HumanBytes(bytes)));
        self.total
            .set_position((tally.complete + tally.failed) as u64);
    }

    /// A line above the bars, on standard error whether or not there is a terminal.
    pub(crate) fn say(&self, line: &str) {
        self.screen.suspend(|| eprintln!("{line}"));
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Takes the bars away; returns the last line.
    pub(crate) fn finish(&self, now: Instant) -> String {
        self.total.finish_and_clear();
        self.tally
            .borrow()
            .summary(self.files, now.saturating_duration_since(self.start))
    }
}

impl Tally {
    /// `38 of 40 files, 1.20 MiB in 2 seconds, 2 failed`.
    fn summary(&self, files: usize, elapsed: Duration) -> String {
        let plural = if files == 1 { "" } else { "s" };
        let bytes = HumanBytes(self.bytes);
        let time = if elapsed < Duration::from_secs(10) {
            format!("{:.2} s", elapsed.as_secs_f64())
        } else {
            HumanDuration(elapsed).to_string()
        };
        let mut text = format!(
            "{} of {files} file{plural}, {bytes} in {time}",
            self.complete
        );
        if self.failed > 0 {
            text.push_str(&format!(", {} failed", self.failed));
        }
        text
    }
}

impl Download {
    /// Counts bytes that are written. Cheap enough for every chunk: nothing is drawn.
    pub(crate) fn add(&self, bytes: u64) {
        self.shared.done.set(self.shared.done.get() + bytes);
    }

    /// The bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.done.get()
    }

    /// The file is there under its name.
    pub(crate) fn complete(self) {
        let mut tally = self.bars.tally.borrow_mut();
        tally.complete += 1;
        tally.bytes += self.bytes();
    }

    /// Reports the failure at once, above the bars.
    pub(crate) fn failed(self, url: &Uri, why: impl std::fmt::Display) {
        self.bars.tally.borrow_mut().failed += 1;
        self.bars.say(&format!("corering: {url}: {why}"));
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.bars
            .running
            .borrow_mut()
            .retain(|running| !Rc::ptr_eq(running, &self.shared));
        self.shared.bar.finish_and_clear();
        self.bars.screen.remove(&self.shared.bar);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_measures_each_interval() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        meter.observe(start + TICK, 1000);
        meter.observe(start + TICK + TICK / 10, 5000);
        meter.observe(start + TICK * 3, 1000);
        assert_eq!(meter.current(), 0.0);
        let samples = meter.into_samples();
        assert_eq!(samples.len(), 2);
        assert!((samples[0].requests_per_s - 10_000.0).abs() < 1e-6);
        assert!((samples[1].at_s - 0.3).abs() < 1e-9);
    }

    #[test]
    fn a_long_run_keeps_a_bounded_number_of_samples() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        for n in 1..=100_000 {
            meter.observe(start + TICK * n, u64::from(n) * 50);
        }
        let samples = meter.into_samples();
        assert!(
            (SAMPLES_MAX / 2 - 1..SAMPLES_MAX).contains(&samples.len()),
            "{}",
            samples.len()
        );
        assert!(
            samples
                .iter()
                .all(|sample| (sample.requests_per_s - 500.0).abs() < 1.0)
        );
        assert!(samples.windows(2).all(|pair| pair[0].at_s < pair[1].at_s));
    }

    #[test]
    fn a_hidden_line_still_samples() {
        let start = Instant::now();
        let mut line = BenchLine::new("echo", Goal::Time(TICK * 3), start, true);
        for n in 1..=3 {
            line.tick(start + TICK * n, u64::from(n) * 10, 640, 0);
        }
        assert_eq!(line.finish().len(), 3);
    }

    #[test]
    fn downloads_are_counted_once() {
        let start = Instant::now();
        let bars = DownloadBars::new(4, start, true);
        let first = bars.start("a", Some(10));
        let second = bars.start("b", None);
        let third = bars.start("c", Some(5));
        first.add(4);
        first.add(6);
        second.add(3);
        third.add(5);
        bars.tick(start + TICK);
        assert_eq!((first.bytes(), bars.running.borrow().len()), (10, 3));
        first.complete();
        second.failed(&"http://a/b".parse().unwrap(), "the test says so");
        drop(third);
        assert_eq!(
            bars.tally(),
            Tally {
                complete: 1,
                failed: 1,
                bytes: 10
            }
        );
        assert!(bars.running.borrow().is_empty());
        let last = bars.finish(start + Duration::from_millis(1500));
        assert_eq!(last, "1 of 4 files, 10 B in 1.50 s, 1 failed");
    }

    #[test]
    fn summaries() {
        let tally = Tally {
            complete: 1,
            failed: 0,
            bytes: 2048,
        };
        assert_eq!(
            tally.summary(1, Duration::from_secs(61)),
            "1 of 1 file, 2.00 KiB in 61 seconds"
        );
    }

    #[test]
    fn lines_are_drawn() {
        let term = indicatif::InMemoryTerm::new(5, 100);
        let mut line = BenchLine::new("echo", Goal::Requests(50), Instant::now(), false);
        line.bar
            .set_draw_target(ProgressDrawTarget::term_like(Box::new(term.clone())));
        let start = line.meter.start;
        line.tick(start + TICK, 25, 2_000_000, 1);
        assert_eq!(
            term.contents(),
            "echo ━━━━━━━━━━━━━━╸              25/50  250 requests/s  20.0 MB/s  1 errors"
        );
        line.finish();
        assert_eq!(term.contents(), "");
    }
}
