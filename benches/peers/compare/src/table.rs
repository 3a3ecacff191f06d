//! What was measured, and the figures that are derived from it.

use std::cmp::Ordering;

use peer::Figures;
use serde::Serialize;

use crate::contenders::{Contender, Kind};
use crate::options::Workload;
use crate::plan::{By, Case, Outcome};
use crate::spread::{BALANCE, GAIN};

/// The row of `more` that the ratios of idle connections compare.
pub(crate) const IDLE_MEMORY: &str = "B an idle connection";

/// Everything about one workload.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) workload: Workload,
    /// Machine, kernel, commit, command: a name and a value each.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) cases: Vec<CaseRows>,
}

/// One case with everybody's runs.
#[derive(Debug)]
pub(crate) struct CaseRows {
    pub(crate) case: Case,
    /// Why it was not run at all.
    pub(crate) refused: Option<String>,
    pub(crate) rows: Vec<Row>,
}

/// One contender's runs of one case.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) contender: &'static Contender,
    pub(crate) runs: Vec<Figures>,
    /// Why there are no more of them.
    pub(crate) note: Option<String>,
}

/// Median, least and most of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Table {
    pub(crate) fn new(workload: Workload, head: Vec<(String, String)>) -> Self {
        Self {
            workload,
            head,
            cases: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self, case: Case, refused: Option<String>) {
        self.cases.push(CaseRows {
            case,
            refused,
            rows: Vec::new(),
        });
    }

    /// Adds a run to the case that was begun last.
    pub(crate) fn add(&mut self, contender: &'static Contender, outcome: Outcome) {
        let rows = &mut self.cases.last_mut().expect("a case was begun").rows;
        let at = rows.iter().position(|row| row.contender == contender);
        let at = at.unwrap_or_else(|| {
            rows.push(Row {
                contender,
                runs: Vec::new(),
                note: None,
            });
            rows.len() - 1
        });
        match outcome {
            Outcome::Measured(figures) => rows[at].runs.push(figures),
            Outcome::Unsupported(why) => rows[at].note = Some(why),
            Outcome::Failed(why) => rows[at].note = Some(format!("failed: {why}")),
        }
    }

    /// The cases that count in the geometric mean and were run.
    pub(crate) fn mean_cases(&self) -> impl Iterator<Item = &CaseRows> {
        let counts = |rows: &&CaseRows| rows.case.in_mean && rows.refused.is_none();
        self.cases.iter().filter(counts)
    }

    /// Who was measured in at least one case, in the order of the rounds.
    pub(crate) fn contenders(&self) -> Vec<&'static Contender> {
        crate::contenders::CONTENDERS
            .iter()
            .filter(|contender| {
                let mut rows = self.cases.iter().flat_map(|case| &case.rows);
                rows.any(|row| row.contender == *contender && !row.runs.is_empty())
            })
            .collect()
    }
}

impl CaseRows {
    /// What the ratios compare, for one row.
    pub(crate) fn key(&self, row: &Row) -> Option<Spread> {
        match self.case.by {
            By::Cost => row.cost(),
            By::P99 => row.latency(|latency| latency.p99),
            By::IdleMemory => row.more(IDLE_MEMORY),
            By::Gain => row.more(GAIN),
            By::Balance => row.more(BALANCE),
        }
    }

    pub(crate) fn key_of(&self, contender: &Contender) -> Option<Spread> {
        let row = self.rows.iter().find(|row| row.contender == contender)?;
        self.key(row)
    }

    /// Why a contender has no, or not all, runs.
    pub(crate) fn note_of(&self, contender: &Contender) -> Option<&str> {
        let row = self.rows.iter().find(|row| row.contender == contender)?;
        row.note.as_deref()
    }

    /// The best median among the contenders of that kind, and whose it is.
    pub(crate) fn best(&self, kind: Kind) -> Option<(f64, &'static str)> {
        self.rows
            .iter()
            .filter(|row| row.contender.kind == kind)
            .filter_map(|row| Some((self.key(row)?.median, row.contender.name)))
            .filter(|(value, _)| *value > 0.0)
            .min_by(|one, other| self.compare(one.0, other.0))
    }

    /// The better one is the lesser.
    pub(crate) fn compare(&self, one: f64, other: f64) -> Ordering {
        if self.case.by.is_more_better() {
            other.total_cmp(&one)
        } else {
            one.total_cmp(&other)
        }
    }

    /// How much worse than the best of that kind a contender's median is: 2.0 is half as good.
    pub(crate) fn ratio(&self, contender: &Contender, kind: Kind) -> Option<f64> {
        let (own, best) = (self.key_of(contender)?.median, self.best(kind)?.0);
        Some(if self.case.by.is_more_better() {
            best / own
        } else {
            own / best
        })
    }

    /// The target that a contender's median misses.
    pub(crate) fn missed(&self, contender: &Contender) -> Option<f64> {
        let (own, target) = (self.key_of(contender)?.median, self.case.by.target()?);
        (self.compare(own, target) == Ordering::Greater).then_some(target)
    }
}

impl Row {
    fn spread(&self, value: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        let mut values: Vec<f64> = self.runs.iter().filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            len if len % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Spread {
            median,
            least: values[0],
            most: values[values.len() - 1],
        })
    }

    /// Microseconds of CPU time an operation: CPU-seconds a million.
    pub(crate) fn cost(&self) -> Option<Spread> {
        self.spread(|it| Some(it.cpu_ns as f64 / 1e3 / it.operations.max(1) as f64))
    }

    /// Operations a second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        self.spread(|it| Some(it.operations as f64 * 1e9 / it.wall_ns.max(1) as f64))
    }

    /// Microseconds.
    pub(crate) fn latency(&self, which: impl Fn(&peer::Latency) -> u64) -> Option<Spread> {
        self.spread(|it| {
            it.latency
                .as_ref()
                .map(|latency| which(latency) as f64 / 1e3)
        })
        .filter(|spread| spread.median > 0.0)
    }

    /// MiB.
    pub(crate) fn peak_memory(&self) -> Option<Spread> {
        self.spread(|it| Some(it.peak_rss_bytes as f64 / f64::from(1 << 20)))
    }

    pub(crate) fn more(&self, name: &str) -> Option<Spread> {
        self.spread(|it| it.more.get(name).copied())
    }
}

/// The geometric mean; `None` of nothing.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logs / values.len() as f64).exp())
}
