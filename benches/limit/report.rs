//! The figures as a Markdown table and as JSON.

use std::fmt::Write;
use std::time::Duration;

use crate::Run;
use crate::measure::Histogram;

/// One line for each case and contender, in the order of the runs.
pub(crate) fn markdown(runs: &[Run], size: usize, depth: usize) -> String {
    let mut out = format!("Echo of {size} B, {depth} under way per connection.\n\n");
    out.push_str(
        "| connections | contender | CPU ns a message, median [min..max] | requests/s | p50 µs \
         | p99 µs | enters a message | cost / limit |\n|---|---|---|---|---|---|---|---|\n",
    );
    for (connections, contender) in cases(runs) {
        let of = |name: &str| -> Vec<&Run> {
            let is_it = |run: &&Run| run.connections == connections && run.contender == name;
            runs.iter().filter(is_it).collect()
        };
        let mine = of(contender);
        let limit = of(runs[0].contender);
        let costs = sorted(&mine, cost);
        let rates = sorted(&mine, rate);
        let enters = sorted(&mine, |run| {
            run.enters as f64 / run.outcome.requests.max(1) as f64
        });
        let mut latency = Histogram::default();
        mine.iter()
            .for_each(|run| latency.merge(&run.outcome.latency));
        let enters = median(&enters);
        let enters = if enters > 0.0 {
            format!("{enters:.2}")
        } else {
            "–".to_string()
        };
        writeln!(
            out,
            "| {connections} | {contender} | {:.0} [{:.0}..{:.0}] | {:.0} | {:.1} | {:.1} \
             | {enters} | {:.2} |",
            median(&costs),
            costs[0],
            costs[costs.len() - 1],
            median(&rates),
            micros(latency.quantile(0.50)),
            micros(latency.quantile(0.99)),
            median(&costs) / median(&sorted(&limit, cost)),
        )
        .expect("writing to a string cannot fail");
    }
    out
}

/// Every run by itself.
pub(crate) fn json(runs: &[Run], size: usize, depth: usize) -> String {
    let rows: Vec<String> = runs.iter().map(|run| json_row(run, size, depth)).collect();
    format!("[\n  {}\n]\n", rows.join(",\n  "))
}

fn json_row(run: &Run, size: usize, depth: usize) -> String {
    let outcome = &run.outcome;
    format!(
        "{{\"contender\": \"{}\", \"connections\": {}, \"size\": {size}, \"depth\": {depth}, \
         \"requests\": {}, \"elapsed_ns\": {}, \"cpu_ns\": {}, \"worker_cpu_ns\": {}, \
         \"enters\": {}, \"p50_ns\": {}, \"p99_ns\": {}, \"p999_ns\": {}, \
         \"least_served\": {}, \"most_served\": {}}}",
        run.contender,
        run.connections,
        outcome.requests,
        outcome.elapsed.as_nanos(),
        run.cpu.as_nanos(),
        run.worker_cpu.as_nanos(),
        run.enters,
        outcome.latency.quantile(0.50).as_nanos(),
        outcome.latency.quantile(0.99).as_nanos(),
        outcome.latency.quantile(0.999).as_nanos(),
        outcome.per_connection.0,
        outcome.per_connection.1,
    )
}

/// Each pair of case and contender once, as they first ran.
fn cases(runs: &[Run]) -> Vec<(usize, &'static str)> {
    let mut cases = Vec::new();
    for case in runs.iter().map(|run| (run.connections, run.contender)) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    cases
}

fn cost(run: &Run) -> f64 {
    run.cpu.as_nanos() as f64 / run.outcome.requests.max(1) as f64
}

fn rate(run: &Run) -> f64 {
    run.outcome.requests as f64 / run.outcome.elapsed.as_secs_f64()
}

fn sorted(runs: &[&Run], figure: impl Fn(&Run) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = runs.iter().map(|run| figure(run)).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
