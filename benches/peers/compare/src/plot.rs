//! The picture of a table: a panel a case, a bar a contender, a whisker from least to most.

use std::fmt::Write as _;

use crate::contenders::Kind;
use crate::plan::By;
use crate::table::{CaseRows, Row, Spread, Table};

const COLUMNS: usize = 3;
const PANEL_WIDTH: f64 = 420.0;
const LABEL_WIDTH: f64 = 150.0;
const VALUE_WIDTH: f64 = 50.0;
const BAR_HEIGHT: f64 = 12.0;
const BAR_PITCH: f64 = 16.0;
const TITLE_HEIGHT: f64 = 34.0;
const MARGIN: f64 = 16.0;

struct Bar {
    name: &'static str,
    kind: Kind,
    value: Spread,
}

/// The whole picture.
pub(crate) fn svg(table: &Table) -> String {
    let panels: Vec<(&CaseRows, Vec<Bar>)> = table
        .cases
        .iter()
        .map(|case| (case, bars(case)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let most = panels.iter().map(|(_, bars)| bars.len()).max().unwrap_or(0);
    let panel_height = TITLE_HEIGHT + most as f64 * BAR_PITCH + MARGIN;
    let columns = panels.len().clamp(1, COLUMNS);
    let width = columns as f64 * PANEL_WIDTH + MARGIN;
    let height = panels.len().div_ceil(COLUMNS) as f64 * panel_height + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (index, (case, bars)) in panels.iter().enumerate() {
        let left = (index % COLUMNS) as f64 * PANEL_WIDTH + MARGIN;
        let top = (index / COLUMNS) as f64 * panel_height + MARGIN;
        let _ = writeln!(out, "<g transform=\"translate({left:.0} {top:.0})\">");
        panel(&mut out, case, bars);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// The best bar first.
fn bars(case: &CaseRows) -> Vec<Bar> {
    let bar = |row: &Row| {
        Some(Bar {
            name: row.contender.name,
            kind: row.contender.kind,
            value: case.key(row)?,
        })
    };
    let mut bars: Vec<Bar> = case.rows.iter().filter_map(bar).collect();
    bars.sort_by(|one, other| case.compare(one.value.median, other.value.median));
    bars
}

fn panel(out: &mut String, case: &CaseRows, bars: &[Bar]) {
    let unit = match case.case.by {
        By::Cost => format!("CPU µs a {}", case.case.operation),
        By::P99 => "p99, µs".to_string(),
        By::IdleMemory => "bytes of an idle connection".to_string(),
        By::Gain => "requests/s on two cores, as a multiple of one: more is better".to_string(),
        By::Balance => "CPU time of the busiest core, as a multiple of the mean".to_string(),
    };
    let title = &case.case.name;
    let _ = writeln!(
        out,
        "<text y=\"10\" font-weight=\"bold\">{title}</text>\n\
         <text y=\"24\" fill=\"#666\">{unit}</text>"
    );
    let longest = bars.iter().map(|bar| bar.value.median);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    let room = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH - 2.0 * MARGIN;
    let scale = room / longest;
    for (index, bar) in bars.iter().enumerate() {
        let top = TITLE_HEIGHT + index as f64 * BAR_PITCH;
        draw(out, bar, top, scale, room);
    }
}

fn draw(out: &mut String, bar: &Bar, top: f64, scale: f64, room: f64) {
    let base = top + BAR_HEIGHT - 2.0;
    let middle = top + BAR_HEIGHT / 2.0;
    let length = bar.value.median * scale;
    // A whisker may leave the panel; its end is then where the room ends.
    let least = LABEL_WIDTH + bar.value.least * scale;
    let most = LABEL_WIDTH + (bar.value.most * scale).min(room);
    let color = match bar.kind {
        Kind::Limit => "#999",
        Kind::Loop => "#ccc",
        Kind::Own => "#d9480f",
        Kind::Peer => "#4c78a8",
    };
    let (name, median) = (bar.name, bar.value.median);
    let digits = if median < 10.0 { 2 } else { 0 };
    let end = PANEL_WIDTH - 2.0 * MARGIN;
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{name}</text>\n\
         <rect x=\"{LABEL_WIDTH}\" y=\"{top:.0}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" \
         fill=\"{color}\"/>\n\
         <line x1=\"{least:.1}\" x2=\"{most:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
         stroke=\"black\"/>\n\
         <text x=\"{end:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{median:.digits$}</text>",
        LABEL_WIDTH - 6.0
    );
}
