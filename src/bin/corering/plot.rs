//! The plot of a report, as SVG: latency by percentile, and throughput over time.
//!
//! The percentile axis is logarithmic in the share of slower requests, so that each nine (90, 99,
//! 99.9 %) takes the same room; the latency axis is logarithmic as well. The throughput axis starts
//! at zero, so that a dip looks as deep as it is. The bold lines are the typical round; the other
//! rounds stand behind them in grey.
//!
//! The text is written by hand: two line charts need less code than a plotting library needs
//! options, and the fonts stay the reader's.

use std::fmt::Write as _;

use crate::report::{Report, Round, grouped, readable};

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 480.0;

const LATENCY_COLOR: &str = "#2f6fde";
const THROUGHPUT_COLOR: &str = "#d9662b";
const OTHER_ROUNDS_COLOR: &str = "#c3c9d4";

/// The plot as a complete SVG document.
pub(crate) fn render(report: &Report) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#fff\"/>\n"
    );
    let headline = format!(
        "{} requests/s · {} MB/s · p50 {} · p99 {} · p99.9 {}",
        readable(report.median.requests_per_s),
        readable(report.median.mb_per_s),
        time(report.median.p50_us),
        time(report.median.p99_us),
        time(report.median.p999_us),
    );
    let left = WIDTH * 0.025;
    text(
        &mut svg,
        (left, 36.0),
        "font-size=\"19\" font-weight=\"600\"",
        &report.command,
    );
    text(
        &mut svg,
        (left, 60.0),
        "font-size=\"14\" fill=\"#333b4a\"",
        &headline,
    );
    let mut typical_last: Vec<&Round> = report.rounds.iter().collect();
    let typical = report.typical_round();
    typical_last.sort_by_key(|round| std::ptr::eq(*round, typical));

    latency_chart(&typical_last).draw(&mut svg);
    throughput_chart(&typical_last).draw(&mut svg);

    let small = "font-size=\"11.5\" fill=\"#6b7485\"";
    let how = format!("{} · {}", report.options(), report.mode.explanation());
    text(&mut svg, (left, HEIGHT - 32.0), small, &how);
    text(
        &mut svg,
        (left, HEIGHT - 14.0),
        small,
        &report.machine.line(),
    );
    svg.push_str("</svg>\n");
    svg
}

fn latency_chart(rounds: &[&Round]) -> Chart {
    // Half a nine at least, so that an almost empty round has an axis.
    let mut nines: f64 = 0.5;
    let (mut lowest, mut highest) = (f64::INFINITY, 0.0_f64);
    let mut lines = Vec::new();
    for round in rounds {
        let points: Vec<(f64, f64)> = round
            .latency_curve
            .iter()
            .map(|point| (nines_of(point.percentile), point.us.max(0.001)))
            .collect();
        for &(x, us) in &points {
            nines = nines.max(x);
            lowest = lowest.min(us);
            highest = highest.max(us);
        }
        lines.push(points);
    }
    if lowest > highest {
        (lowest, highest) = (1.0, 10.0);
    }
    let ladder = ladder(lowest, highest);
    let (bottom, top) = (ladder[0], ladder[ladder.len() - 1]);
    let whole_nines = nines.floor() as u32;
    let percentiles = std::iter::once((nines_of(50.0), "50 %".to_owned()));
    let percentiles = percentiles.chain((1..=whole_nines).map(|n| (f64::from(n), percent(n))));
    Chart {
        left: 74.0,
        width: 440.0,
        title: "Latency by percentile",
        color: LATENCY_COLOR,
        filled: false,
        x_range: (0.0, nines),
        y_range: (bottom.log10(), top.log10()),
        x_ticks: percentiles.collect(),
        y_ticks: ladder.iter().map(|us| (us.log10(), time(*us))).collect(),
        lines: lines
            .into_iter()
            .map(|line| line.into_iter().map(|(x, us)| (x, us.log10())).collect())
            .collect(),
    }
}

fn throughput_chart(rounds: &[&Round]) -> Chart {
    let lines: Vec<Vec<(f64, f64)>> = rounds
        .iter()
        .map(|round| {
            round
                .over_time
                .iter()
                .map(|s| (s.at_s, s.requests_per_s))
                .collect()
        })
        .collect();
    let all = || lines.iter().flatten();
    let end = all().map(|point| point.0).fold(0.0, f64::max).max(0.001);
    let highest = all().map(|point| point.1).fold(0.0, f64::max).max(1.0);
    let rates = even_ticks(highest * 1.02);
    let top = rates[rates.len() - 1];
    Chart {
        left: 610.0,
        width: 440.0,
        title: "Requests per second over time",
        color: THROUGHPUT_COLOR,
        filled: true,
        x_range: (0.0, end),
        y_range: (0.0, top),
        x_ticks: even_ticks_within(end)
            .into_iter()
            .map(|s| (s, format!("{s} s")))
            .collect(),
        y_ticks: rates
            .iter()
            .map(|rate| (*rate, rate_label(*rate)))
            .collect(),
        lines,
    }
}

/// A line chart in the coordinates of its data.
struct Chart {
    left: f64,
    width: f64,
    title: &'static str,
    color: &'static str,
    /// Whether the room below the last line is tinted.
    filled: bool,
    x_range: (f64, f64),
    y_range: (f64, f64),
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
    /// The last one is drawn in colour, over the others.
    lines: Vec<Vec<(f64, f64)>>,
}

impl Chart {
    const TOP: f64 = 118.0;
    const BOTTOM: f64 = HEIGHT - 84.0;

    fn draw(&self, svg: &mut String) {
        let title = "font-size=\"13.5\" font-weight=\"600\" fill=\"#333b4a\"";
        text(svg, (self.left, Self::TOP - 18.0), title, self.title);
        self.draw_grid(svg);
        for (index, line) in self.lines.iter().enumerate() {
            if index + 1 == self.lines.len() {
                self.draw_line(svg, line, self.color, 2.2);
            } else {
                self.draw_line(svg, line, OTHER_ROUNDS_COLOR, 1.3);
            }
        }
    }

    fn draw_grid(&self, svg: &mut String) {
        let (left, right) = (self.left, self.left + self.width);
        let label = "font-size=\"11.5\" fill=\"#6b7485\"";
        for (value, name) in &self.y_ticks {
            let y = self.y(*value);
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#e6e9ef\" fill=\"none\"/>"
            );
            let attributes = format!("{label} text-anchor=\"end\"");
            text(svg, (left - 8.0, y + 4.0), &attributes, name);
        }
        let bottom = Self::BOTTOM;
        for (value, name) in &self.x_ticks {
            let x = self.x(*value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {bottom:.1}v5\" stroke=\"#9aa3b2\" fill=\"none\"/>"
            );
            let attributes = format!("{label} text-anchor=\"middle\"");
            text(svg, (x, bottom + 20.0), &attributes, name);
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {bottom:.1}H{right:.1}\" stroke=\"#9aa3b2\" fill=\"none\"/>"
        );
    }

    fn draw_line(&self, svg: &mut String, line: &[(f64, f64)], color: &str, width: f64) {
        let (Some(first), Some(last)) = (line.first(), line.last()) else {
            return;
        };
        let mut path = String::new();
        for (index, (x, y)) in line.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x(*x), self.y(*y));
        }
        if self.filled && color == self.color {
            let (from, to, bottom) = (self.x(first.0), self.x(last.0), Self::BOTTOM);
            let _ = writeln!(
                svg,
                "<path d=\"{path}L{to:.1} {bottom:.1}L{from:.1} {bottom:.1}Z\" \
                 fill=\"{color}\" fill-opacity=\".09\"/>"
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
        );
    }

    fn x(&self, value: f64) -> f64 {
        self.left + self.width * share(value, self.x_range)
    }

    fn y(&self, value: f64) -> f64 {
        Self::BOTTOM - (Self::BOTTOM - Self::TOP) * share(value, self.y_range)
    }
}

fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>"
    );
}

/// 90 % is one nine, 99 % two, 50 % a third of one.
fn nines_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-12).log10()
}

/// `90 %`, `99 %`, `99.9 %` for 1, 2, 3.
fn percent(nines: u32) -> String {
    match nines {
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

/// Microseconds in a fitting unit: `850 ns`, `12.3 µs`, `4 ms`.
fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 0.9995 => (us * 1e3, "ns"),
        us if us < 999.5 => (us, "µs"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let number = match value {
        value if value >= 99.95 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    let number = if number.contains('.') {
        number.trim_end_matches('0')
    } else {
        &number
    };
    format!("{} {unit}", number.trim_end_matches('.'))
}

/// `500`, `250k`, `1.5M`.
fn rate_label(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{}k", rate / 1e3),
        rate => grouped(rate as u64),
    }
}

/// 1, 2, 5, 10, ... from the last at or below `lowest` to the first at or above `highest`; the
/// powers of ten only, where that would be too many.
fn ladder(lowest: f64, highest: f64) -> Vec<f64> {
    const STEPS_MAX: usize = 10;
    let steps = |mantissas: &[f64]| {
        let first = lowest.log10().floor() as i32 - 1;
        let last = highest.log10().ceil() as i32 + 1;
        let all: Vec<f64> = (first..=last)
            .flat_map(|power| mantissas.iter().map(move |m| m * 10_f64.powi(power)))
            .collect();
        let below = all.iter().rposition(|step| *step <= lowest).unwrap_or(0);
        let above = all
            .iter()
            .position(|step| *step >= highest && *step > all[below]);
        all[below..=above.unwrap_or(all.len() - 1)].to_vec()
    };
    let fine = steps(&[1.0, 2.0, 5.0]);
    if fine.len() <= STEPS_MAX {
        fine
    } else {
        steps(&[1.0])
    }
}

/// About five even steps from zero to at least `highest`.
fn even_ticks(highest: f64) -> Vec<f64> {
    let step = even_step(highest);
    (0..=(highest / step).ceil() as u32)
        .map(|n| rounded(f64::from(n) * step))
        .collect()
}

/// About five even steps from zero to at most `end`.
fn even_ticks_within(end: f64) -> Vec<f64> {
    let step = even_step(end);
    let last = (end / step + 1e-9).floor() as u32;
    (0..=last).map(|n| rounded(f64::from(n) * step)).collect()
}

fn even_step(highest: f64) -> f64 {
    let rough = highest / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let mantissa = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .find(|m| m * power >= rough * 0.999);
    mantissa.unwrap_or(10.0) * power
}

/// Without the last digits, which would show as 0.30000000000000004.
fn rounded(value: f64) -> f64 {
    if value.abs() >= 1.0 {
        (value * 1e3).round() / 1e3
    } else {
        (value * 1e9).round() / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn every_report_has_a_plot_without_broken_numbers() {
        for rates in [
            &[100_000_u64, 120_000, 90_000] as &[u64],
            &[0],
            &[1],
            &[7, 0],
        ] {
            let svg = render(&report(rates));
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    /// Writes an example for the eye: `CORERING_EXAMPLE_PLOT=a.svg cargo test --features cli plot`.
    #[test]
    fn example() {
        let svg = render(&report(&[410_000, 402_000, 371_000]));
        if let Some(path) = std::env::var_os("CORERING_EXAMPLE_PLOT") {
            std::fs::write(path, &svg).unwrap();
        }
        assert_eq!(svg.matches(LATENCY_COLOR).count(), 1);
        assert_eq!(svg.matches(OTHER_ROUNDS_COLOR).count(), 4);
    }

    #[test]
    fn text_is_escaped() {
        let mut svg = String::new();
        text(&mut svg, (0.0, 0.0), "", "a<b & c");
        assert!(svg.contains("a&lt;b &amp; c"));
    }

    #[test]
    fn ticks() {
        assert_eq!(even_ticks(1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(even_ticks(420_000.0), [0.0, 1e5, 2e5, 3e5, 4e5, 5e5]);
        assert_eq!(even_ticks_within(5.02), [0.0, 2.0, 4.0]);
        assert_eq!(even_ticks_within(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let steps: Vec<f64> = ladder(17.0, 130.0).into_iter().map(rounded).collect();
        assert_eq!(steps, [10.0, 20.0, 50.0, 100.0, 200.0]);
        let steps: Vec<f64> = ladder(0.5, 1e6).into_iter().map(rounded).collect();
        assert_eq!((steps.len(), steps[0]), (8, 0.1));
        assert_eq!(ladder(10.0, 10.0).len(), 2);
    }

    #[test]
    fn labels() {
        assert_eq!(
            ["90 %", "99 %", "99.9 %", "99.99 %"],
            [1, 2, 3, 4].map(percent).as_slice()
        );
        for (us, label) in [
            (0.85, "850 ns"),
            (12.34, "12.3 µs"),
            (100.0, "100 µs"),
            (999.7, "1 ms"),
            (4e6, "4 s"),
        ] {
            assert_eq!(time(us), label);
        }
        for (rate, label) in [
            (0.0, "0"),
            (5000.0, "5,000"),
            (2.5e5, "250k"),
            (1.5e6, "1.5M"),
        ] {
            assert_eq!(rate_label(rate), label);
        }
    }
}
