//! What a job measured, as it travels to the driver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How often the case's operation was done.
    pub operations: u64,
    /// How long all of them took.
    pub wall_ns: u64,
    /// CPU time, user and system, of all threads of the process, kernel workers too.
    pub cpu_ns: u64,
    /// The most memory that the process had in its whole life.
    pub peak_rss_bytes: u64,
    /// How long one operation took, where that makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Further figures worth a line in the JSON, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, f64>,
}

impl Figures {
    /// The line that a job prints.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("figures are numbers and names")
    }
}

/// How long single operations took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: u64,
    /// One in a hundred took longer.
    pub p99: u64,
    /// One in a thousand took longer.
    pub p999: u64,
}

impl Latency {
    /// From one value per operation, in nanoseconds and any order. `None` without a value.
    #[must_use]
    pub fn of(mut samples: Vec<u64>) -> Option<Self> {
        samples.sort_unstable();
        let last = samples.len().checked_sub(1)?;
        let at = |part: f64| samples[(last as f64 * part).round() as usize];
        Some(Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        })
    }
}
