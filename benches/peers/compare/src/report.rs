//! Writes a table as Markdown, JSON and SVG.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use crate::contenders::{Contender, Kind, LEFT_OUT};
use crate::options::Options;
use crate::plan::By;
use crate::plot;
use crate::table::{CaseRows, Row, Spread, Table, geometric_mean};

/// From which ratio to the best peer on a case is named as lost: less is noise.
const LOST_FROM: f64 = 1.05;
/// How far above the limit one case may be before it is named.
const FAR_FROM_LIMIT: f64 = 1.15;

pub(crate) fn write(table: &Table, options: &Options) -> io::Result<()> {
    let name = table.workload.name();
    let file = |ending: &str| options.out.join(format!("{name}.{ending}"));
    std::fs::write(file("md"), markdown(table))?;
    std::fs::write(file("json"), json(table)?)?;
    std::fs::write(file("svg"), plot::svg(table))?;
    eprintln!("compare: {}", file("md").display());
    Ok(())
}

fn markdown(table: &Table) -> String {
    let name = table.workload.name();
    let mut out = format!("# {name}\n\n");
    for (what, value) in &table.head {
        line(&mut out, &format!("- {what}: {value}"));
    }
    line(&mut out, &format!("\n![{name}]({name}.svg)\n"));
    means(&mut out, table);
    lost(&mut out, table);
    for case in &table.cases {
        case_table(&mut out, case);
    }
    line(&mut out, LEFT_OUT);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// The geometric means of the ratios, least first.
fn means(out: &mut String, table: &Table) {
    let count = table.mean_cases().count();
    if count < 2 {
        return;
    }
    let mut rows = Vec::new();
    for contender in table.contenders() {
        let ratios = |kind| {
            let ratios = table
                .mean_cases()
                .filter_map(|it| it.ratio(contender, kind));
            ratios.collect::<Vec<f64>>()
        };
        let (limit, peer) = (ratios(Kind::Limit), ratios(Kind::Peer));
        let worst = peer.iter().copied().max_by(f64::total_cmp);
        let mean = (geometric_mean(&limit), geometric_mean(&peer));
        rows.push((contender.name, mean.0, mean.1, worst, peer.len()));
    }
    let order = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
    rows.sort_by(|a, b| {
        order(a.1)
            .total_cmp(&order(b.1))
            .then(order(a.2).total_cmp(&order(b.2)))
    });
    line(out, "## Geometric means\n");
    line(
        out,
        "| | to the limit | to the best peer of each case | worst case to the best peer | cases |\n\
         |---|---|---|---|---|",
    );
    for (name, limit, peer, worst, cases) in rows {
        let (limit, peer, worst) = (ratio(limit), ratio(peer), ratio(worst));
        let row = format!("| {name} | {limit} | {peer} | {worst} | {cases} of {count} |");
        line(out, &row);
    }
    line(out, "");
}

/// Where the runtime of this repository is not ahead.
fn lost(out: &mut String, table: &Table) {
    let mut complaints = Vec::new();
    let own = |contender: &&Contender| contender.kind == Kind::Own;
    for contender in table.contenders().into_iter().filter(own) {
        for case in &table.cases {
            let found = behind(case, contender).into_iter();
            complaints.extend(found.map(|text| format!("- {}: {text}", case.case.name)));
        }
    }
    line(out, "## Where corering is behind\n");
    if complaints.is_empty() {
        complaints.push(format!(
            "Nowhere: at most {LOST_FROM} x the best peer and {FAR_FROM_LIMIT} x the limit."
        ));
    }
    line(out, &complaints.join("\n"));
    line(out, "");
}

/// What is to be said of one contender in one case.
fn behind(case: &CaseRows, contender: &Contender) -> Vec<String> {
    let who = contender.name;
    let own = case.key_of(contender).map_or(0.0, |own| own.median);
    let mut found = Vec::new();
    if let Some(target) = case.missed(contender) {
        found.push(format!("{who} has {own:.2}, the target is {target}"));
    }
    match (case.ratio(contender, Kind::Peer), case.best(Kind::Peer)) {
        (Some(ratio), Some((best, peer))) if ratio > LOST_FROM => {
            found.push(if case.case.by.is_more_better() {
                format!("{who} has {own:.2}, {peer} {best:.2}")
            } else {
                format!("{who} takes {ratio:.2} x {peer}")
            });
        }
        _ => {}
    }
    match case.ratio(contender, Kind::Limit) {
        Some(ratio) if ratio > FAR_FROM_LIMIT => {
            found.push(format!("{who} takes {ratio:.2} x the limit"));
        }
        _ => {}
    }
    if let Some(note) = case.note_of(contender) {
        found.push(format!("{who}: {note}"));
    }
    found
}

fn case_table(out: &mut String, case: &CaseRows) {
    line(out, &format!("## {}\n", case.case.name));
    let compared = match case.case.by {
        By::Cost => "CPU",
        By::P99 => "p99",
        By::IdleMemory => "memory of an idle connection",
        By::Gain => "two cores / one core (more is better)",
        By::Balance => "busiest core / mean core",
    };
    line(
        out,
        &format!("{}. Ratios compare: {compared}.\n", case.case.about),
    );
    if let Some(why) = &case.refused {
        line(out, &format!("Not run: {why}.\n"));
        return;
    }
    let more: BTreeSet<&str> = case
        .rows
        .iter()
        .flat_map(|row| &row.runs)
        .flat_map(|run| run.more.keys().map(String::as_str))
        .collect();
    let mut head = format!(
        "| | {}s/s (least–most) | CPU µs each (least–most) | to limit | to best peer \
         | p50 µs | p99 µs | p99.9 µs | peak MiB |",
        case.case.operation
    );
    for name in &more {
        let _ = write!(head, " {name} |");
    }
    line(out, &head);
    let columns = head.matches('|').count() - 1;
    line(out, &format!("|{}", "---|".repeat(columns)));
    for row in case.rows.iter().filter(|row| !row.runs.is_empty()) {
        line(out, &row_text(case, row, &more));
    }
    line(out, "");
    for row in &case.rows {
        if let Some(note) = &row.note {
            line(out, &format!("- {}: {note}", row.contender.name));
        }
    }
    line(out, "");
}

fn row_text(case: &CaseRows, row: &Row, more: &BTreeSet<&str>) -> String {
    let median = |spread: Option<Spread>| spread.map_or("–".to_string(), |it| short(it.median));
    let cells = [
        row.contender.name.to_string(),
        range(row.rate()),
        range(row.cost()),
        ratio(case.ratio(row.contender, Kind::Limit)),
        ratio(case.ratio(row.contender, Kind::Peer)),
        median(row.latency(|latency| latency.p50)),
        median(row.latency(|latency| latency.p99)),
        median(row.latency(|latency| latency.p999)),
        median(row.peak_memory()),
    ];
    let more = more.iter().map(|name| median(row.more(name)));
    let cells: Vec<String> = cells.into_iter().chain(more).collect();
    format!("| {} |", cells.join(" | "))
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or("–".to_string(), |it| {
        let (least, most) = (short(it.least), short(it.most));
        format!("{} ({least}–{most})", short(it.median))
    })
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("–".to_string(), |value| format!("{value:.2}"))
}

/// Three digits that say something.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_string(),
        100_000.0.. => format!("{:.0} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[derive(Serialize)]
struct JsonTable<'a> {
    workload: &'a str,
    head: &'a [(String, String)],
    cases: Vec<JsonCase<'a>>,
}

#[derive(Serialize)]
struct JsonCase<'a> {
    name: &'a str,
    about: &'a str,
    operation: &'a str,
    in_mean: bool,
    refused: Option<&'a str>,
    contenders: Vec<JsonRow<'a>>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    note: Option<&'a str>,
    cpu_us_each: Option<Spread>,
    per_second: Option<Spread>,
    to_limit: Option<f64>,
    to_best_peer: Option<f64>,
    runs: &'a [peer::Figures],
}

fn json(table: &Table) -> io::Result<String> {
    let table = JsonTable {
        workload: table.workload.name(),
        head: &table.head,
        cases: table.cases.iter().map(JsonCase::of).collect(),
    };
    let mut text = serde_json::to_string_pretty(&table)?;
    text.push('\n');
    Ok(text)
}

impl<'a> JsonCase<'a> {
    fn of(rows: &'a CaseRows) -> Self {
        Self {
            name: &rows.case.name,
            about: &rows.case.about,
            operation: rows.case.operation,
            in_mean: rows.case.in_mean,
            refused: rows.refused.as_deref(),
            contenders: rows.rows.iter().map(|row| JsonRow::of(rows, row)).collect(),
        }
    }
}

impl<'a> JsonRow<'a> {
    fn of(case: &CaseRows, row: &'a Row) -> Self {
        Self {
            name: row.contender.name,
            note: row.note.as_deref(),
            cpu_us_each: row.cost(),
            per_second: row.rate(),
            to_limit: case.ratio(row.contender, Kind::Limit),
            to_best_peer: case.ratio(row.contender, Kind::Peer),
            runs: &row.runs,
        }
    }
}
